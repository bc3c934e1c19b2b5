"""What the tests share: the part's folder on the path, small trained networks; scripts called here or in a fork."""

import functools
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

PART = Path(__file__).resolve().parent.parent
RESULTS = PART.parent / "results" / PART.name
sys.path.insert(0, str(PART))
torch.set_num_threads(1)  # more would be missing in a fork
TYPESET = ["--dataset", "typeset", "--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="session")
def committed():
    """Skip the test unless the results are here as they were committed: runs of one's own may change them."""
    if subprocess.run(["git", "-C", PART, "diff", "--quiet", "HEAD", "--", RESULTS], capture_output=True).returncode:
        pytest.skip("the results here are not those of the repository")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with classifier.pt, of typeset digits, and generator.pt, of a run of two epochs."""
    import classifier
    import latents
    import train

    folder = tmp_path_factory.mktemp("trained")
    common = [*TYPESET, "--limit", "2000", "--out-dir", str(folder)]
    classifier.main([*common, "--epochs", "3", "--batch-size", "64"])
    train.main([*common, "--epochs", "2", "--batch-size", "32", "--recipe", "code"])
    latents.export(next(folder.glob("*/checkpoint.pt")), folder / "generator.pt")
    return folder


@pytest.fixture(scope="module")
def small(trained):  # whose networks are whole
    """Smaller networks and fewer samples, so that runs with all that belongs to them take a moment."""
    import gan
    import metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan, "GENERATOR_WIDTHS", (16, 16, 16, 16))
        for name, options in list(gan.DISCRIMINATORS.items()):
            patch.setitem(gan.DISCRIMINATORS, name, options | {"widths": (16, 8)})
        patch.setattr(metrics, "quality", functools.partial(metrics.quality, samples=300))
        yield


def fork(main, options, trouble):
    """Start a script in a process that has all modules already, after calling `trouble`; its output goes nowhere."""
    import utils

    def work():
        tqdm.set_lock(threading.RLock())  # its own one is shared by processes: a killed one would keep it for ever
        with open(os.devnull, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            sys.argv = ["script.py", *map(str, options)]
            trouble()
            utils.run(main)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@pytest.fixture
def script(capsys, monkeypatch):
    """A function that calls a script's main with options, here: its exit code and what it said, for a 2 in one line."""
    import utils

    def call(main, *options):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, options)])
        try:
            code = utils.run(main) or 0
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr().err
        assert code != 2 or said.count("\n") == 1
        return code, said

    return call


def contents(folder):
    """Every file below `folder` with its bytes, locks left out."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
