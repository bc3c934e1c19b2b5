"""Runs and studies that survive: kills, two at once, other code, bad input and files. Part 1 has more of them."""

import functools
import importlib
import itertools
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from conftest import RESULTS, TYPESET, contents, fork

import dynamics
import files
import runs
import train

TINY = [*TYPESET, "--limit", "300", "--batch-size", "64"]
RUN = [*TINY, "--recipe", "best", "--arch", "balanced", "--epochs", "4"]  # with dropout, an average, a falling lr
pytestmark = pytest.mark.usefixtures("small")


def checkpoint_in(folder):
    (path,) = folder.glob("*/checkpoint.pt")
    return path


def bits(folder):
    """What a run leaves, but for the seconds that it took."""
    path = checkpoint_in(folder)
    state, row = files.load(path), files.load(path.with_name("result.json"))
    del state["seconds"], row["seconds"]
    pictures = [path.with_name(f"{name}.png").read_bytes() for name in ("samples", "losses")]
    return json.dumps(state, default=torch.Tensor.tolist), row, pictures


@pytest.fixture(scope="module")
def evaluated(trained):
    return ["--evaluate-every", "2", "--classifier", str(trained / "classifier.pt")]


@pytest.fixture(scope="module")
def run4(tmp_path_factory, evaluated):
    """A run of four epochs."""
    folder = tmp_path_factory.mktemp("run")
    train.main([*RUN, *evaluated, "--out-dir", str(folder)])
    return folder


def die_at(epoch):
    """SIGKILL this process when half of that epoch's checkpoint is written."""
    write_bytes, count = Path.write_bytes, itertools.count(1)

    def write(path, data):
        half = "checkpoint" in path.name and next(count) == epoch
        write_bytes(path, data[: len(data) // 2] if half else data)
        if half:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes = write


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_run_goes_on_to_the_bit(tmp_path, run4, evaluated, epoch):
    options = [*RUN, *evaluated, "--out-dir", str(tmp_path)]
    process = fork(train.main, options, functools.partial(die_at, epoch))
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert [files.load(path)["epoch"] for path in tmp_path.glob("*/checkpoint.pt")] == [2] * (epoch > 1)
    train.main([*options, *["--resume"] * (epoch > 1)])
    assert bits(tmp_path) == bits(run4)
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_run_that_is_trained_for_longer_is_the_longer_run(tmp_path):
    for folder, epochs, *more in ("whole", "4"), ("parts", "2"), ("parts", "4", "--resume"):
        torch.rand(9)  # what else the process did must not matter
        train.main([*TINY, "--epochs", epochs, "--out-dir", str(tmp_path / folder), *more])
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")


def test_a_start_where_a_run_lies(tmp_path, run4, evaluated, script):
    """One line that names both ways on, or says that it is at work. In a log the others have plain lines."""
    shutil.copytree(run4, tmp_path, dirs_exist_ok=True)
    before, options = contents(tmp_path), [*RUN, *evaluated, "--out-dir", tmp_path]
    said = f"{checkpoint_in(tmp_path).parent}: a run lies here; --resume goes on with it, --restart replaces it"
    assert script(train.main, *options) == (2, f"script.py: {said}\n")
    with files.hold(checkpoint_in(tmp_path).parent):
        assert "another run is at work in this folder" in script(train.main, *options, "--restart")[1]
    assert contents(tmp_path) == before
    for more in "--resume", "--restart":
        code, said = script(train.main, *options, more)
        assert (code, "\r" in said) == (0, False)
        assert bits(tmp_path) == bits(run4)
    assert re.fullmatch(r"\S+_seed0: 0 of 4 .* to go\n\S+: 4 of 4 .*, D's loss \d.\d\d, G's \d.\d\d\n", said)


def test_a_run_that_goes_on_with_other_code_says_so(tmp_path, monkeypatch, capsys):
    """Once: the third start has the code of the second."""
    for epochs, code, saved in ("1", "old", "old"), ("2", "new", "old+new"), ("3", "new", "old+new"):
        monkeypatch.setattr(train, "CODE", code)
        train.main([*TINY, "--out-dir", str(tmp_path), "--epochs", epochs, *["--resume"] * (epochs > "1")])
        message = "the code has changed; the remaining epochs are trained by the present code\n"
        assert capsys.readouterr().out.count(message) == (epochs == "2")
        assert files.load(checkpoint_in(tmp_path))["code"] == saved


def test_numbers_that_are_not_finite_cost_no_checkpoint(tmp_path, monkeypatch, script):
    """In a loss, or in a weight after the last update, which no loss shows."""
    epoch, count = train.train_epoch, itertools.count(1)

    def spoiled(networks, *rest):
        rows = epoch(networks, *rest)
        if next(count) == 3:
            networks[0].layers[0].bias.data[0] = float("inf")
        return rows

    monkeypatch.setattr(train, "train_epoch", spoiled)
    for options, number in (["--lr", "1e30"], 1), ([], 2):
        code, said = script(train.main, *RUN, "--out-dir", tmp_path / str(number), *options)
        assert code == 1
        assert re.search(rf"checkpoint.pt: epoch {number}, step \d: not finite .*smaller --lr$", said.splitlines()[-1])
    assert not list((tmp_path / "1").rglob("*.*t"))
    saved = files.load(checkpoint_in(tmp_path / "2"))
    assert saved["epoch"] == 1
    assert all(weight.isfinite().all() for weight in saved["generator"].values())


def test_every_option_off_its_default(tmp_path):
    """A name that a file system takes."""
    changed = {"recipe": "code", "arch": "initial", "generator": "text", "scheme": "g-first", "loss": "minimax"}
    changed |= {"dataset": "typeset", "epochs": 1, "batch_size": 33, "limit": 123, "seed": 123456789}
    changed |= {name: 0.0123456789 for name in train.OPTIONS if name not in changed}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]
    train.main([*TYPESET, *options, "--out-dir", str(tmp_path)])
    assert files.load(checkpoint_in(tmp_path))["options"] == changed


def test_figures_2_to_5_in_small(tmp_path, evaluated):
    """Drawn again with another --seed, the figures say which seed the samples are of."""
    options = [*TINY, *evaluated, "--epochs-initial", "2", "--epochs-balanced", "3", "--workers", "1"]
    dynamics.main([*options, "--out-dir", str(tmp_path)])
    rows = runs.load_rows(tmp_path / "dynamics.json")
    kept = {name.partition("_data")[0]: "".join(row["samples"]) for name, row in rows.items()}  # the first is animated
    assert kept == {"code_balanced": "123", "text_balanced": "13", "code_initial": "12", "text_initial": "12"}
    assert all(list(row["sure"]) == dynamics.stages_of(row) for row in rows.values())
    assert files.load(tmp_path / "generator.pt", kind="gan")["options"].items() <= rows[min(rows)].items()
    before = contents(tmp_path)
    pictures = {path.name: content for path, content in before.items() if path.parent == tmp_path}
    assert all(pictures[f"{name}.png"].startswith(b"\x89PNG") for name in dynamics.NAMES)
    assert pictures["training.gif"].startswith(b"GIF")
    dynamics.main(["--draw", "--seed", "7", "--out-dir", str(tmp_path)])
    assert contents(tmp_path) == before


# --- bad input ---

NUMBERS = ["--epochs", "--batch-size", "--lr", "--bn-eps", "--gradient-penalty", "--dropout", "--decay-from", "--limit"]
BAD = {f"train {name}={value}": f"argument {name}: " for name in NUMBERS for value in ("-1", "nan", "inf", "x", "")}
BAD |= {
    "train --epochs 0": "argument --epochs: 0 is out of range: it must be at least 1",
    "train --beta1 1": "argument --beta1: 1 is out of range: it must be at least 0 and less than 1",
    "train --arch huge": "argument --arch: invalid choice: 'huge'",
    "train --batch-size 301": "--batch-size 301 is larger than the 300 training images",
    "train --evaluate-every 1 --limit 100 --classifier TYPESET": "--limit 100: 100 test digits, at least 200 are",
    "train --evaluate-every 1 --classifier none.pt": "none.pt: there is no such file; classifier.py, with its",
    "train --evaluate-every 1 --classifier MNIST": "was trained on mnist, not on typeset",
    "train --resume": "--resume: no run of these options lies in out/text_balanced_",
    "classifier --kind svm": "argument --kind: invalid choice: 'svm'",
    "evaluate --checkpoint none.pt": "none.pt: there is no such file",
    "interpolate --pairs 7to6": "argument --pairs: '7to6' is not a pair of digits such as 7-6",
    "interpolate --steps 2": "argument --steps: 2 is out of range: it must be at least 3",
    "arithmetic --strength 101": "argument --strength: 101 is out of range",
    "studies.overpowering --epochs 0": "argument --epochs: 0 is out of range",
    "studies.recipes --recipes worst": "argument --recipes: invalid choice: 'worst'",
    "studies.latent_rates --checkpoints none.pt": "none.pt: there is no such file",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input(tmp_path, monkeypatch, script, trained, command):
    """One line that names it, exit code 2, and nothing is written."""
    files_of = {"MNIST": RESULTS / "classifier.pt", "TYPESET": trained / "classifier.pt"}
    name, *options = [files_of.get(word, word) for word in command.split()]
    monkeypatch.chdir(tmp_path)
    main, tiny = importlib.import_module(name).main, TINY if name == "train" else []
    code, said = script(main, "--out-dir", "out", *tiny, *options)
    assert (code, BAD[command] in said) == (2, True), said
    assert not contents(tmp_path)


def changed(name, **entries):
    return lambda path: files.save(path, (state := files.load(path)) | {name: state[name] | entries})


CHECKPOINTS = {
    "other options": (changed("options", lr=1.0), "the run there has lr 1.0, not 0.0004; --restart replaces that run"),
    "other shape": (changed("generator", **{"layers.0.weight": torch.zeros(2)}), "its contents do not fit"),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints_of_another_run(tmp_path, run4, script, case):
    """One line that names the file, which stays as it is."""
    spoil, named = CHECKPOINTS[case]
    shutil.copytree(run4, tmp_path, dirs_exist_ok=True)
    spoil(path := checkpoint_in(tmp_path))
    before = contents(tmp_path)
    code, said = script(train.main, *RUN, "--epochs", "5", "--resume", "--out-dir", tmp_path)
    assert (code, f"{path}: " in said, named in said) == (2, True, True), said
    assert contents(tmp_path) == before
