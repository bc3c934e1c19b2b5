"""Runs and studies that survive: kills, full disks, two at once, bad input and files, several processes."""

import errno
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import matplotlib
import pytest
import torch
from conftest import PART, contents, fork

import compare
import files
import runs
import train
import utils
from studies import repetition

TINY = ["--input-length", "5", "--hidden-size", "8", "--total-len", "300", "--batch-size", "64", "--stop-at", "2"]
TINY += ["--device", "cpu"]
SWEEP = ["--lengths", "5", "3", "--seeds", "1", "--epochs", "1", "--device", "cpu"]
PATIENCE = 300  # seconds until a process that should have ended is a failure


def run_here(folder, *options):
    train.main([*TINY, "--out-dir", str(folder), *options])


def study_here(folder, *options):
    compare.main([*SWEEP, "--workers", "1", "--out-dir", str(folder), *options])


def start(main, options, trouble=lambda: None, **where):
    """Start a script in a fork, after calling `trouble`."""

    def work():
        sys.argv = [f"{main.__module__}.py", *map(str, options)]
        trouble()
        utils.run(main)

    return fork(work, **where)


def ended(process):
    """Exit code of a fork, negative for a signal."""
    process.join(PATIENCE)
    return process.exitcode


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def checkpoint_in(folder):
    (path,) = folder.glob("*/checkpoint.pt")
    return path


def epochs_in(folder):
    return len(files.load(checkpoint_in(folder))["history"])


def bits(folder):
    """What a run leaves, but for the seconds that it took."""
    path = checkpoint_in(folder)
    state, row = (files.load(path.with_name(name)) | {"seconds": 0} for name in ("checkpoint.pt", "result.json"))
    return json.dumps(state, default=torch.Tensor.tolist), row, path.with_name("curve.png").read_bytes()


def rows_in(folder):
    """The rows of a study, but for the seconds."""
    return {name: row | {"seconds": 0} for name, row in runs.load_rows(folder / "compare.json").items()}


def assert_refused(script, folder, named, main, *options):
    """By exit code 2 and one line with `named` in it; every file in the folder stays as it is."""
    before = contents(folder)
    code, said = script(main, *options)
    assert (code, said.count("\n")) == (2, 1)
    assert named in said
    assert contents(folder) == before


@pytest.fixture(scope="module")
def run4(tmp_path_factory):
    """A run of four epochs."""
    run_here(folder := tmp_path_factory.mktemp("run"), "--epochs", "4")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of eight runs."""
    study_here(folder := tmp_path_factory.mktemp("study"))
    return folder


def die_at(number, half):
    """SIGKILL this process at the checkpoint of that epoch, with half of it written, or before it gets its name."""
    write_bytes, count = Path.write_bytes, itertools.count(1)

    def write(path, data):
        if "checkpoint" in path.name and next(count) == number:
            os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            if half:
                write_bytes(path, data[: len(data) // 2])
                os.replace()
        write_bytes(path, data)

    Path.write_bytes = write


@pytest.mark.parametrize(("number", "half"), [(1, False), (3, False), (3, True)])
def test_a_killed_run_goes_on_to_the_bit(tmp_path, run4, number, half):
    options = [*TINY, "--epochs", "4", "--out-dir", tmp_path]
    assert ended(start(train.main, options, lambda: die_at(number, half))) == -signal.SIGKILL
    assert len(list(tmp_path.rglob(".*.tmp"))) == 1
    if number > 1:
        assert epochs_in(tmp_path) == number - 1
    run_here(tmp_path, "--epochs", "4", *["--resume"] * (number > 1))
    assert bits(tmp_path) == bits(run4)
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("options", [["--cell", "rnn"], ["--optimizer", "adam"], ["--palindromes", "fresh"]])
def test_a_run_that_is_trained_for_longer_is_the_longer_run(tmp_path, options):
    run_here(tmp_path / "whole", *options, "--epochs", "2")
    run_here(tmp_path / "parts", *options, "--epochs", "1")
    assert epochs_in(tmp_path / "parts") == 1
    torch.manual_seed(99)  # what else the process did must not matter
    run_here(tmp_path / "parts", *options, "--epochs", "2", "--resume")
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")


def test_a_start_where_a_run_lies(tmp_path, run4, script):
    """One line that names both ways on; --resume of a run that has ended changes nothing but the seconds."""
    shutil.copytree(run4, tmp_path, dirs_exist_ok=True)
    options = [*TINY, "--epochs", "4", "--out-dir", tmp_path]
    assert_refused(script, tmp_path, "--resume goes on with it, --restart replaces it", train.main, *options)
    for more in "--resume", "--restart":
        assert script(train.main, *options, more)[0] == 0
        assert bits(tmp_path) == bits(run4)


def small_files():
    """No file may grow beyond 3 kB: what writes to one then meets an error, as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # its default is to kill
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


def test_a_full_disk_costs_no_checkpoint(tmp_path, run4):
    shutil.copytree(run4, out := tmp_path / "out")
    before, log = contents(out), tmp_path / "log"
    options = [*TINY, "--epochs", "5", "--resume", "--out-dir", out]
    assert ended(start(train.main, options, small_files, log=log)) == 1
    assert log.read_text().endswith(f"\ntrain.py: [Errno 27] File too large: '{checkpoint_in(out)}'\n")
    assert "Traceback" not in log.read_text()
    assert contents(out) == before


def test_two_at_once_in_a_folder(run4, study, script):
    for out, folder, main in (run4, checkpoint_in(run4).parent, train.main), (study, study / "compare", compare.main):
        options = [*(TINY if main is train.main else SWEEP), "--out-dir", out, "--restart"]
        with files.hold(folder):
            assert_refused(script, out, f"{folder}: another run is at work in this folder", main, *options)


def test_a_run_that_diverges_costs_no_checkpoint(tmp_path, monkeypatch, script):
    code, said = script(train.main, *TINY, "--out-dir", tmp_path, "--lr", "1e37")
    assert code == 1
    assert re.search(r"epoch 1: the loss or the weights are not finite \(loss .*\); try a smaller --lr\n\Z", said)
    assert not contents(tmp_path)
    losses = iter([1.0, float("nan")])
    monkeypatch.setattr(train, "train_epoch", lambda *_: (next(losses), 0.5, 1.0))
    assert script(train.main, *TINY, "--out-dir", tmp_path)[0] == 1
    assert epochs_in(tmp_path) == 1


def test_a_disk_with_habits(tmp_path, monkeypatch, run4):
    """A virus scanner that reads each file for a moment; no fsync; no locks. And ~ is the home folder."""
    replace, refused = os.replace, set()

    def once(old, new):
        if new not in refused:
            refused.add(new)
            raise PermissionError(errno.EACCES, "Permission denied")
        replace(old, new)

    monkeypatch.setattr(os, "replace", once)
    monkeypatch.setattr(os, "fsync", mock.Mock(side_effect=OSError(errno.EINVAL, "Invalid argument")))
    monkeypatch.setattr(files.fcntl, "flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run_here("~/x", "--epochs", "4")
    assert bits(tmp_path / "x") == bits(run4)
    assert len(refused) == 3 < os.fsync.call_count


@pytest.mark.skipif(torch.cuda.is_available(), reason="it can be used")
def test_a_gpu_that_torch_sees_but_cannot_use(tmp_path, monkeypatch, script):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert_refused(script, tmp_path, "; use --device cpu", train.main, *TINY[:-2], "--out-dir", tmp_path)


def test_in_a_log_there_are_lines_and_no_bars(tmp_path, script):
    code, said = script(train.main, *TINY, "--epochs", "3", "--out-dir", tmp_path)
    assert (code, "\r" in said) == (0, False)
    assert re.match(r"lstm_T5_.*_seed0: 0 of 3 epochs, .* to go\n", said)
    assert re.search(r": 3 of 3 epochs, .*validation accuracy 0\.\d{4}\n$", said)


def test_no_stderr_a_full_one_and_names_that_cannot_be_printed(tmp_path, run4):
    """Real commands, from another folder; and one whose output takes ASCII alone."""
    command = [sys.executable, str(PART / "train.py"), *TINY, "--epochs", "4", "--out-dir"]
    shells = [
        subprocess.Popen(["sh", "-c", f'"$@" {where}', "sh", *command, name], cwd=tmp_path)
        for name, where in (("closed", "2>&-"), ("full", "2>/dev/full"))
    ]
    options = [*TINY, "--epochs", "4", "--out-dir", tmp_path / "ö"]
    assert ended(start(train.main, options, log=tmp_path / "log", encoding="ascii")) == 0
    assert (tmp_path / "log").read_text().splitlines()[-1].startswith(str(tmp_path / "\\xf6"))
    assert [shell.wait(PATIENCE) for shell in shells] == [0, 0]
    assert bits(tmp_path / "closed") == bits(tmp_path / "full") == bits(tmp_path / "ö") == bits(run4)


def test_a_study_whose_rows_are_there_trains_nothing(tmp_path, monkeypatch, study):
    shutil.copy(study / "compare.json", tmp_path)
    monkeypatch.setattr(train, "run", mock.Mock(side_effect=AssertionError("a run was started")))
    for more in [], ["--draw"], ["--draw", "--seed", "5"]:
        study_here(tmp_path, *more)
        assert (tmp_path / "fig1_lstm_vs_rnn.png").read_bytes() == (study / "fig1_lstm_vs_rnn.png").read_bytes()
        (tmp_path / "fig1_lstm_vs_rnn.png").unlink()
    assert (tmp_path / "compare.json").read_bytes() == (study / "compare.json").read_bytes()
    with pytest.raises(AssertionError, match="started"):
        study_here(tmp_path, "--seeds", "2")
    changed = [name for name, value in matplotlib.rcParamsOrig.items() if matplotlib.rcParams[name] != value]
    assert set(changed) <= {"backend"}  # what else this process draws looks as it did


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"{", [], "this file cannot be read"),
        (b'{"runs": [{"cell": "lstm"}], "summary": []}', [], "this file has no 'study'; is it another script's"),
        (None, ["--epochs", "2"], "its row code_lstm_T5_data-seed-0_seed0 has epochs 1, not 2; give another --out-dir"),
    ],
)
def test_files_that_a_study_does_not_go_on_with(tmp_path, script, study, content, options, said):
    """One line that names the file, and nothing is overwritten."""
    path = tmp_path / "compare.json"
    path.write_bytes(content or (study / "compare.json").read_bytes())
    for more in [options, ["--draw"]] if content else [options]:
        assert_refused(script, tmp_path, f"{path}: {said}", compare.main, *SWEEP, "--out-dir", tmp_path, *more)


@pytest.mark.parametrize("killed", ["study", "worker"])
def test_a_killed_study_leaves_no_worker_and_goes_on(tmp_path, monkeypatch, study, killed):
    process = start(compare.main, [*SWEEP, "--workers", "2", "--out-dir", tmp_path], log=tmp_path / "log")
    wait_for((tmp_path / "compare.json").exists)
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    workers = [Path("/proc", pid) for pid in listing.split()]
    os.kill(process.pid if killed == "study" else int(workers[-1].name), signal.SIGKILL)
    assert ended(process) == (-signal.SIGKILL if killed == "study" else 1)
    wait_for(lambda: not any(worker.exists() for worker in workers))
    if killed == "worker":
        said = r"(?s)(?!.*Traceback).*\ncompare.py: a worker was killed, .* fewer --workers\n"
        assert re.fullmatch(said, (tmp_path / "log").read_text())
    there, started, run = rows_in(tmp_path), [], train.run
    monkeypatch.setattr(train, "run", lambda args: started.append(args) or run(args))
    study_here(tmp_path)
    assert 1 <= len(there) == 8 - len(started) < 8
    assert rows_in(tmp_path) == rows_in(study)


def test_torchrun_gives_the_rows_of_one_process(tmp_path, study):
    """With --restart, in place of all that were there."""
    rows = {name: row | {"accuracy": -1} for name, row in rows_in(study).items()}
    files.save(tmp_path / "compare.json", {"study": "compare", "rows": rows})
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line += [str(PART / "compare.py"), *SWEEP, "--restart", "--out-dir", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr.count("compare: 4 of 4 runs")) == (0, 2), done.stderr
    assert rows_in(tmp_path) == rows_in(study)
    assert (tmp_path / "fig1_lstm_vs_rnn.png").read_bytes() == (study / "fig1_lstm_vs_rnn.png").read_bytes()
    assert [path.name for path in tmp_path.glob("*.json")] == ["compare.json"]


NUMBERS = ["--hidden-size", "--batch-size", "--lr", "--epochs", "--clip", "--total-len", "--train-portion", "--stop-at"]
NAMED = [(option, value) for option in NUMBERS for value in ("0", "-1", "nan", "inf", "1e400", "many", "", "1\n2")]
NAMED += [("--input-length", "0"), ("--input-length", "1001"), ("--input-length", "2.5"), ("--forget-bias", "inf")]
NAMED += [("--total-len", "1000001"), ("--lr", "1e39"), ("--seed", "-1"), ("--seed", str(10**30)), ("--threads", "0")]
NAMED += [("--data-seed", "x"), ("--cell", "gru"), ("--optimizer", "sgd"), ("--palindromes", "both")]
NAMED += [("--device", "tpu"), ("--out-dir",)]
BAD = [(train.main, [*TINY, *options], f"argument {options[0]}: ") for options in NAMED]
BAD += [
    (train.main, [*TINY, "--hidden", "5"], "unrecognized arguments: --hidden 5"),
    (train.main, [*TINY, "--train-portion", "0.9999"], "0.9999: it leaves no palindromes for validation"),
    (train.main, [*TINY, "--forget-bias", "1", "--cell", "rnn"], "--forget-bias 1: --cell rnn has no forget gate"),
    (train.main, [*TINY, "--resume"], "--resume: no run of these options lies in out/lstm_T5_"),
    (train.main, [*TINY, "--resume", "--restart"], "argument --restart: not allowed with argument --resume"),
    (compare.main, ["--draw"], "out/compare.json: there is no such file"),
    (compare.main, ["--draw", "--restart"], "argument --restart: not allowed with argument --draw"),
    (compare.main, ["--out-dir", "/dev/null/x"], "/dev/null/x/compare: nothing can be written there"),
    (repetition.main, ["--lengths", "7", "--sizes", "6001"], "--sizes 6001: with 4000 more that is over the 10000 pal"),
]
if not torch.cuda.is_available():
    BAD += [(train.main, [*TINY, "--device", "cuda"], "--device cuda: torch cannot use it")]


@pytest.mark.parametrize("place", range(len(BAD)), ids=lambda place: " ".join(BAD[place][1][-2:]))
def test_bad_input(tmp_path, monkeypatch, script, place):
    """One line that names it, exit code 2, and nothing is written."""
    main, options, named = BAD[place]
    monkeypatch.chdir(tmp_path)
    assert_refused(script, tmp_path, named, main, "--out-dir", "out", *options)


def rewritten(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def saved_anew(change):
    return lambda path: files.save(path, (state := files.load(path)) | change(state))


CHECKPOINTS = [
    (rewritten(lambda content: content[:-200]), "this file cannot be read"),
    (rewritten(lambda content: content.replace(content[5000:5016], 16 * b"?")), "this file cannot be read"),
    (saved_anew(lambda _: {"kind": "gan"}), "a file of kind 'part1 run' is needed, this one holds 'gan'"),
    (saved_anew(lambda state: {"options": state["options"] | {"hidden_size": 9}}), "the run there has hidden_size 9"),
    (saved_anew(lambda state: {"model": state["model"] | {"W_ph.bias": torch.zeros(3)}}), "its contents do not fit"),
]


@pytest.mark.parametrize(("spoil", "named"), CHECKPOINTS, ids=["cut", "byte", "foreign", "options", "shape"])
def test_bad_checkpoints(tmp_path, run4, script, spoil, named):
    """One line that names the file, which stays as it is."""
    shutil.copytree(run4, tmp_path, dirs_exist_ok=True)
    spoil(path := checkpoint_in(tmp_path))
    options = [*TINY, "--epochs", "5", "--resume", "--out-dir", tmp_path]
    assert_refused(script, tmp_path, f"{path}: {named}", train.main, *options)
