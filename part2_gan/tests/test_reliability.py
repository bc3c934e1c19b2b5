"""Runs that survive: kills, a full disk, two runs in one folder, damaged files."""

import argparse
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import PART, TYPESET, fork
from test_train import equal

import run_folder
import runs
import train
import utils
from studies import latent_rates

RUN = [*TYPESET, "--limit", "300", "--batch-size", "32", "--epochs", "4", "--grid-epochs", "2", "--name", "run"]


def options_of(folder, *options):
    return [*RUN, "--out-dir", str(folder), *options]


def train_here(folder, *options):
    return train.train(train.parse_args(options_of(folder, *options)))


def checkpoint(folder):
    return utils.load_checkpoint(folder / "run" / "checkpoint.pt", "gan")


def assert_same_run(one, other, pictures=("losses.png", "samples.png")):
    """Weights, optimizers, random states, history and pictures, bit for bit; only the clock may differ.

    Pictures name the commit, as the process that drew them knows it.
    """
    first, second = checkpoint(one), checkpoint(other)
    for name in first.keys() - {"seconds"}:
        assert equal(first[name], second[name]), name
    for name in pictures:
        assert (one / "run" / name).read_bytes() == (other / "run" / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that is never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train_here(folder)
    return folder


def train_until(module, name, times, folder, *options):
    """Train, and die at the call number `times` of module.name, before it does anything."""
    function, calls = getattr(module, name), [0]

    def die(*args, **kwargs):
        calls[0] += 1
        if calls[0] == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(module, name, die)
    train_here(folder, *options)


@pytest.mark.parametrize(
    ("module", "name", "times", "epoch"),
    # The files of a run that are renamed: config.json, then the checkpoints of epochs 0, 1, ...
    [(train, "train_step", 25, 2), (os, "replace", 4, 1), (os, "replace", 2, None)],
    ids=["in an epoch", "before a checkpoint has its name", "before there is one"],
)
def test_killed_and_resumed_is_as_if_never_stopped(whole, tmp_path, module, name, times, epoch):
    process = fork(train_until, module, name, times, tmp_path)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "run").glob(".*.tmp.*"))) == (name == "replace")
    if epoch is None:
        assert not (tmp_path / "run" / "checkpoint.pt").exists()
        train_here(tmp_path)
    else:
        assert checkpoint(tmp_path)["epoch"] == epoch
        train_here(tmp_path, "--resume")
    assert_same_run(whole, tmp_path)
    assert not list((tmp_path / "run").glob(".*.tmp.*"))


def test_ctrl_c_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, str(PART / "train.py"), *options_of(tmp_path, "--epochs", "1000")]
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **ignored)
    while not (tmp_path / "run" / "checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert checkpoint(tmp_path)["kind"] == "gan"


def error_of(capsys, *arguments):
    """The last line and the exit code of train.py with these options."""
    with pytest.raises(SystemExit) as caught:
        utils.run(lambda: train.main([*arguments]))
    return capsys.readouterr().err.splitlines()[-1], caught.value.code


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(tmp_path, capsys, monkeypatch):
    """A limit on the size of a file stands for the disk: the checkpoints of epochs 0 and 1 fit, then none does."""
    save, saved = utils.save_checkpoint, []

    def shrink(path, data):
        if len(saved) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        save(path, data)
        saved.append(data["epoch"])

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    monkeypatch.setattr(utils, "save_checkpoint", shrink)
    try:
        line, code = error_of(capsys, *options_of(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (code, saved) == (1, [0, 1])
    assert "File too large" in line
    assert checkpoint(tmp_path)["epoch"] == 1
    assert not list((tmp_path / "run").glob(".*.tmp.*"))


def test_folders_that_vanish_or_cannot_be_made(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder")
    line, code = error_of(capsys, *options_of(tmp_path / "file"))
    assert "Not a directory" in line
    assert code == 2
    epoch = train.train_epoch

    def delete(*args):
        for path in (tmp_path / "run").iterdir():
            path.unlink()
        (tmp_path / "run").rmdir()
        return epoch(*args)

    monkeypatch.setattr(train, "train_epoch", delete)
    line, code = error_of(capsys, *options_of(tmp_path))
    assert "No such file or directory" in line
    assert code == 1


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    with utils.hold(tmp_path / "run"), pytest.raises(utils.InputError, match="another run is at work"):
        train_here(tmp_path)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    train_here(tmp_path, "--epochs", "1")  # the lock is free again, and its file does not matter


def test_finished_runs_of_other_code_are_named(whole, capsys, monkeypatch):
    study, plan = argparse.Namespace(out_dir=whole, figures_dir=whole, workers=1), {"run": options_of(whole)}
    runs.train_all(plan, study)
    assert "other code" not in capsys.readouterr().out
    monkeypatch.setattr(run_folder, "CODE", "another")
    runs.train_all(plan, study)
    told = "1 of the finished runs come from other code than the present one; to train them again, delete in"
    assert capsys.readouterr().out == f"{told} {whole}: run\n"


def test_the_digest_is_of_networks_training_and_data_whatever_the_line_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "HERE", tmp_path)
    paths = [tmp_path / name for name in ("gan.py", "train.py", "dataset.py")]
    for path in paths:
        path.write_bytes(b"a\n")
    digests = {run_folder.code_digest()}
    for path in paths:
        path.write_bytes(b"a\r\n")
        digests.add(run_folder.code_digest())
    assert len(digests) == 1
    for path in paths:
        path.write_bytes(b"b\n")
        digests.add(run_folder.code_digest())
    assert len(digests) == 4


def test_rates_of_more_generators_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(utils, "RESULTS", tmp_path)
    utils.save_json(tmp_path / "latent_rates.json", {"generators": {"a": {}, "b": {}}})
    with pytest.raises(SystemExit, match="2"):
        latent_rates.parse_args([])
    assert "holds 2 generators, here are 1" in capsys.readouterr().err
    latent_rates.parse_args(["--checkpoints", "a.pt", "b.pt"])
    latent_rates.parse_args(["--out-dir", str(tmp_path)])


FAULTS = {
    "other part": lambda data: data | {"kind": "part1 run"},
    "other arch": lambda data: data | {"config": data["config"] | {"arch": "initial"}},
    "no config": lambda data: data | {"config": 3},
    "no optimizer": lambda data: {name: value for name, value in data.items() if name != "adam_g"},
    "optimizer of another kind": lambda data: data | {"adam_g": [1, 2]},
    "weights of another shape": lambda data: data | {"generator": {"layers.0.weight": torch.zeros(2)}},
    "an epoch in words": lambda data: data | {"epoch": "two"},
    "history of another shape": lambda data: data | {"history": torch.zeros(3)},
    "no random states": lambda data: data | {"rng": {}},
    "short random states": lambda data: data | {"rng": {"cpu": torch.zeros(3, dtype=torch.uint8), "device": None}},
    "a list": lambda data: [data],
    "code": lambda data: data | {"code": Code()},
}


class Code:
    """Unpickled without care it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("this code was run",)


@pytest.mark.parametrize("fault", ["missing", "empty", "cut", "text", *FAULTS])
def test_bad_checkpoints_are_refused(whole, tmp_path, fault, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run" / "checkpoint.pt"
    path.parent.mkdir()
    if fault in FAULTS:
        torch.save(FAULTS[fault](checkpoint(whole)), path)
    elif fault != "missing":
        good = (whole / "run" / "checkpoint.pt").read_bytes()
        path.write_bytes({"empty": b"", "cut": good[: len(good) // 2], "text": b"no checkpoint"}[fault])
    before = sorted(tmp_path.rglob("*"))
    line, code = error_of(capsys, *options_of(tmp_path, "--resume"))
    assert str(path.parent) in line
    assert code == 2
    assert sorted(tmp_path.rglob("*")) == before
