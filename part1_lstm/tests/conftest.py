"""What the tests share: the part's folder on the path, as the scripts have it; scripts called here or in a fork."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest
import torch
from tqdm import tqdm

PART = Path(__file__).resolve().parent.parent
RESULTS = PART.parent / "results" / PART.name
sys.path.insert(0, str(PART))
torch.set_num_threads(1)  # a fork would miss the others
os.environ["OMP_NUM_THREADS"] = "1"

import utils  # noqa: E402


@pytest.fixture(scope="session")
def committed():
    """Skip the test unless the results are here as they were committed: runs of one's own may change them."""
    if subprocess.run(["git", "-C", PART, "diff", "--quiet", "HEAD", "--", RESULTS], capture_output=True).returncode:
        pytest.skip("the results here are not those of the repository")


def fork(function, log=os.devnull, encoding="utf-8"):
    """Start a function in a process that has all modules already, with its output in the file `log`."""

    def work():
        tqdm.set_lock(threading.RLock())  # its own one is shared by processes: a killed one would keep it for ever
        with open(log, "w", encoding=encoding) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            function()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@pytest.fixture
def script(capsys):
    """A function that calls a script's main with options, here: its exit code, and what it wrote to stderr."""

    def call(main, *options):
        capsys.readouterr()
        with mock.patch.object(sys, "argv", ["script.py", *map(str, options)]):
            try:
                utils.run(main)
                return 0, capsys.readouterr().err
            except SystemExit as end:
                return end.code, capsys.readouterr().err

    return call


def digits_of(rows, time, seed=1):
    return torch.randint(10, (rows, time), generator=torch.Generator().manual_seed(seed))


def train_usually(model, optimizer, digits, targets, batches):
    """The lines that everybody writes; returns how many answers were right, each before its batch's update."""
    right = 0
    for batch in batches:
        logits = model(digits[batch].long())
        right += (logits.argmax(1) == targets[batch]).sum().item()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, targets[batch]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    return right


def contents(folder):
    """Every file below `folder` with its bytes, locks left out."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
