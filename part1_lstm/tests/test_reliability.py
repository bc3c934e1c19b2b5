"""Runs that survive: kills, full disks, two runs in one folder, bad input, several processes.

The short forms run by themselves; the long ones (more kills, more inputs, two machines) with -m long.
"""

import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import child
import pytest
import torch

import compare
import sweep
import train
import utils

HERE = Path(__file__).resolve().parent
TINY = ["--input-length", "5", "--hidden-size", "8", "--total-len", "300", "--batch-size", "64", "--stop-at", "2"]
TINY += ["--device", "cpu", "--threads", "1"]
SWEEP = ["--lengths", "3", "8", "--seeds", "1", "--hidden-size", "4", "--total-len", "60", "--device", "cpu"]
NAME = "lstm_T5_rmsprop_seed0"  # the folder of a run with the options TINY
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PATIENCE = 120  # seconds until a process that should have ended is a failure


# --- processes and files ---


@pytest.fixture(scope="module")
def forkserver():
    """start(arguments of child.script): real processes without the seconds that importing torch takes.

    They are forks of one that has imported the scripts, and what these import late (optimizers: torch._dynamo).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), str(HERE)]))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["train", "child", "pytest", "torch._dynamo"])

        def start(*arguments):
            process = context.Process(target=child.script, args=arguments)
            process.start()
            return process

        yield start


def command(folder, *options):
    """The command line of a real `python train.py`."""
    return [sys.executable, train.__file__, *TINY, "--out-dir", str(folder), *options]


def ended(process):
    """Exit code of a process of `forkserver`, negative for a signal."""
    process.join(PATIENCE)
    return process.exitcode


def run_here(folder, *options):
    return train.train(train.parse_args([*TINY, "--out-dir", str(folder), *options]), progress=False)


def script(monkeypatch, capsys, main, *options):
    """Exit code (0 for a normal end) and standard error of a script, in this process."""
    monkeypatch.setattr(sys, "argv", ["script.py", *map(str, options)])
    capsys.readouterr()
    try:
        utils.run(main)
        code = 0
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().err


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def state(folder, kind=train.CHECKPOINT_KIND):
    return utils.load_checkpoint(folder / NAME / "checkpoint.pt", kind)


def assert_same_run(first, second):
    """The same bits in everything but the seconds and where a run came from."""
    one, other = state(first), state(second)
    for entry in one.keys() - {"seconds"}:
        assert same(one[entry], other[entry]), entry
    for name in ("history.json", "curve.png"):
        assert (first / NAME / name).read_bytes() == (second / NAME / name).read_bytes(), name
    results = [json.loads((folder / NAME / "result.json").read_text()) for folder in (first, second)]
    for result in results:
        del result["seconds"], result["provenance"]
    assert results[0] == results[1]


def snapshot(folder):
    """Every path below `folder` with its bytes, None for a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# --- killed and resumed ---


def kill_again_and_again(start, wait, end, folder, kills, draw):
    """Kill a run `kills` times, let it come to its end, return the epochs at which it was met (-1: at its beginning).

    start(options) starts a process, wait(process, share) waits until that share of the time between two kills is over
    (a random one), end(process) returns its exit code.
    """
    met = []
    checkpoint = folder / NAME / "checkpoint.pt"
    for _ in range(kills):
        process = start(["--resume"] if checkpoint.exists() else [])
        wait(process, draw.random())
        process.kill()
        assert end(process) == -signal.SIGKILL, f"the run came to its end after {len(met)} of {kills} kills"
        met.append(state(folder)["epoch"] if checkpoint.exists() else -1)  # none of them damaged
    assert end(start(["--resume"] if checkpoint.exists() else [])) == 0
    return met


@pytest.mark.parametrize(("kills", "epochs"), [(6, 100), pytest.param(60, 1000, marks=pytest.mark.long)])
def test_killed_at_random_moments_and_resumed(tmp_path, forkserver, kills, epochs):
    """The kills are so many, and so early, that they meet a run at its start, in its epochs and in its writing."""
    options = [*TINY, "--epochs", str(epochs), "--out-dir"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert ended(forkserver("train", ["--help"], os.devnull)) == 0  # the start of the fork server is not to be counted
    begun = time.perf_counter()
    assert ended(forkserver("train", [*options, str(whole)], os.devnull)) == 0
    between = 1.4 * (time.perf_counter() - begun) / kills  # on average it is done for seven tenths after all kills

    met = kill_again_and_again(
        start=lambda resume: forkserver("train", [*options, str(parts), *resume], os.devnull),
        wait=lambda process, share: process.join(share * between),
        end=ended, folder=parts, kills=kills, draw=random.Random(0),
    )  # fmt: skip
    print(f"{kills} kills survived, up to {between:.2f} s after a start, at the epochs {met} of {epochs}")
    assert max(met) > 0, "no kill met the run after its first epoch"
    assert_same_run(whole, parts)
    assert not list(parts.rglob(".*.tmp.*"))  # what the killed processes left half written


@pytest.mark.long
def test_killed_command_lines(tmp_path):
    """The same with `python train.py` itself; the moments count from the end of its imports, which take longest."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_here(whole, "--epochs", "400")
    config = parts / NAME / "config.json"  # written anew at every start

    def start(resume):
        config.unlink(missing_ok=True)
        line = command(parts, "--epochs", "400", *resume)
        return subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(process, share):
        wait_for(config, process)
        time.sleep(0.3 * share)

    met = kill_again_and_again(start, wait, lambda process: process.wait(PATIENCE), parts, 6, random.Random(1))
    print(f"{len(met)} kills of command lines survived, at the epochs {met} of 400")
    assert_same_run(whole, parts)


@pytest.mark.parametrize("moment", ["half", "written", "renaming"])
def test_killed_while_it_writes_a_checkpoint(tmp_path, forkserver, moment):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_here(whole, "--epochs", "4")
    options = [*TINY, "--epochs", "4", "--out-dir", str(parts)]
    died = ended(forkserver("train", options, os.devnull, "die_in_checkpoint", 3, moment))
    assert died == -signal.SIGKILL
    assert len(list(parts.rglob(".*.tmp.checkpoint.pt"))) == 1
    assert state(parts)["epoch"] == 1  # number 1 is that before the first epoch, number 3 was not finished
    run_here(parts, "--epochs", "4", "--resume")
    assert_same_run(whole, parts)
    assert not list(parts.rglob(".*.tmp.*"))


def test_killed_before_the_first_epoch(tmp_path, forkserver):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_here(whole, "--epochs", "2")
    options = [*TINY, "--epochs", "2", "--out-dir", str(parts)]
    assert ended(forkserver("train", options, os.devnull, "die_in_checkpoint", 2, "half")) == -signal.SIGKILL
    assert state(parts)["epoch"] == 0
    run_here(parts, "--epochs", "2", "--resume")
    assert_same_run(whole, parts)


def wait_for(path, process):
    """Return when `path` is there; fail if the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c(tmp_path):
    """A real command line: it says how to go on, its exit code is 130, and it does go on."""
    line = command(tmp_path / "parts", "--epochs", "100000")
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}

    def heed_ctrl_c():  # a shell that runs the tests in the background makes its children ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = subprocess.Popen(line, env=ENVIRONMENT, preexec_fn=heed_ctrl_c, **pipes)
    wait_for(tmp_path / "parts" / NAME / "history.json", process)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("train.py: stopped; the same command with --resume goes on")
    epochs = str(state(tmp_path / "parts")["epoch"] + 1)
    run_here(tmp_path / "parts", "--epochs", epochs, "--resume")
    run_here(tmp_path / "whole", "--epochs", epochs)
    parts, whole = state(tmp_path / "parts"), state(tmp_path / "whole")
    assert all(same(parts[entry], whole[entry]) for entry in ("model", "optimizer", "rng", "history"))


def test_a_killed_sweep_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    """A folder without result.json, one with half of it and one of other options are run again, no other."""
    args = compare.parse_args([*SWEEP, "--epochs", "1", "--out-dir", str(tmp_path)])
    runs = compare.plan(args)
    first = sweep.train_all(runs, 1)
    folders = [run_args.out_dir / train.run_name(run_args) for run_args in runs]
    (folders[0] / "result.json").unlink()
    text = (folders[1] / "result.json").read_text()
    (folders[1] / "result.json").write_text(text[: len(text) // 2])
    (folders[2] / "result.json").write_text(text)
    started = []
    real = train.train

    def counted(run_args, **keywords):
        started.append(run_args)
        return real(run_args, **keywords)

    monkeypatch.setattr(train, "train", counted)
    second = sweep.train_all(runs, 1)
    assert started == runs[:3]
    for one, other in zip(first, second, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


# --- disks and folders ---


def test_disk_full(tmp_path, forkserver):
    """No file may grow beyond 3000 bytes: config.json fits, the checkpoint does not."""
    run_here(tmp_path, "--epochs", "2")
    path = tmp_path / NAME / "checkpoint.pt"
    before, log = path.read_bytes(), tmp_path / "log"
    options = [*TINY, "--epochs", "4", "--out-dir", str(tmp_path), "--resume"]
    assert ended(forkserver("train", options, str(log), "small_files", 3000)) == 1
    last = log.read_text().splitlines()[-1]
    assert last == f"train.py: [Errno 27] File too large: '{path}'"
    assert "Traceback" not in log.read_text()
    assert path.read_bytes() == before
    assert state(tmp_path)["epoch"] == 2
    assert not list(tmp_path.rglob(".*.tmp.*"))
    run_here(tmp_path, "--epochs", "4", "--resume")
    assert state(tmp_path)["epoch"] == 4


def test_disk_full_from_the_start(tmp_path, forkserver):
    log = tmp_path / "log"
    options = [*TINY, "--epochs", "2", "--out-dir", str(tmp_path / "out")]
    assert ended(forkserver("train", options, str(log), "small_files", 200)) == 1
    assert log.read_text().splitlines()[-1].startswith("train.py: [Errno 27] File too large: ")
    assert [path.name for path in (tmp_path / "out" / NAME).iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("main", "options"),
    [
        (train.main, ["--out-dir", "file/x"]),
        (compare.main, ["--out-dir", "file/x", "--figures-dir", "."]),
        (compare.main, ["--out-dir", ".", "--figures-dir", "file/x"]),
    ],
)
def test_folder_that_cannot_be_made(tmp_path, monkeypatch, capsys, main, options):
    """Below a file, for anybody; a folder that is not writable is met at the same place."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    code, error = script(monkeypatch, capsys, main, *options)
    assert code == 2
    assert error.count("\n") == 1
    assert "this folder cannot be made (Not a directory)" in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_deleted_while_running(tmp_path, monkeypatch, capsys):
    real = train.evaluate

    def delete(*arguments):
        shutil.rmtree(tmp_path / NAME, ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(train, "evaluate", delete)
    code, error = script(monkeypatch, capsys, train.main, *TINY, "--out-dir", tmp_path, "--epochs", "3")
    assert code == 1
    assert error.splitlines()[-1].endswith(f"No such file or directory: '{tmp_path / NAME / 'history.json'}'")
    assert "Traceback" not in error
    assert not (tmp_path / NAME).exists()


def test_second_run_in_the_same_folder(tmp_path, monkeypatch, capsys):
    """Refused by name, and nothing is changed; once the other has ended the folder is free."""
    run_here(tmp_path, "--epochs", "1")
    sweep = [*SWEEP, "--epochs", "1", "--out-dir", tmp_path, "--figures-dir", tmp_path, "--workers", "1"]
    with utils.hold(tmp_path / NAME), utils.hold(tmp_path / "compare"):
        before = snapshot(tmp_path)
        for main, options, folder in (
            (train.main, [*TINY, "--out-dir", tmp_path, "--epochs", "2", "--restart"], NAME),
            (train.main, [*TINY, "--out-dir", tmp_path, "--epochs", "2", "--resume"], NAME),
            (compare.main, sweep, "compare"),
        ):
            code, error = script(monkeypatch, capsys, main, *options)
            assert code == 2
            assert error.count("\n") == 1
            assert f"{tmp_path / folder}: another run is at work" in error
        assert snapshot(tmp_path) == before
    run_here(tmp_path, "--epochs", "2", "--resume")


def test_lock_of_a_killed_process(tmp_path, forkserver):
    """A run in another process keeps this one out; when it is killed its lock is no obstacle."""
    options = [*TINY, "--epochs", "100000", "--out-dir", str(tmp_path)]
    process = forkserver("train", options, os.devnull)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / NAME / "history.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(utils.InputError, match="another run is at work"):
        run_here(tmp_path, "--epochs", "100000", "--resume")
    process.kill()
    assert ended(process) == -signal.SIGKILL
    epochs = str(state(tmp_path)["epoch"] + 1)
    assert run_here(tmp_path, "--epochs", epochs, "--resume")["epochs"] == int(epochs)


def test_diverged_run_names_the_last_good_checkpoint(tmp_path, monkeypatch, capsys):
    real, calls = train.evaluate, []

    def spoiled(*arguments):
        calls.append(arguments)
        loss, accuracy = real(*arguments)
        return (math.inf if len(calls) == 3 else loss), accuracy

    monkeypatch.setattr(train, "evaluate", spoiled)
    code, error = script(monkeypatch, capsys, train.main, *TINY, "--out-dir", tmp_path, "--epochs", "5")
    assert code == 1
    last = error.splitlines()[-1]
    assert "epoch 3, update 12: the loss is 2." in last
    assert "on validation inf" in last
    assert f"last good checkpoint: {tmp_path / NAME / 'checkpoint.pt'}, epoch 2" in last
    assert state(tmp_path)["epoch"] == 2
    assert not (tmp_path / NAME / "result.json").exists()


# --- bad input ---

NUMBERS = {  # option: the values that are allowed and so are no bad input
    "--hidden-size": [],
    "--batch-size": [],
    "--lr": [],
    "--epochs": [],
    "--clip": [],
    "--total-len": [],
    "--train-portion": [],
    "--stop-at": [],
    "--data-seed": ["0"],
    "--seed": ["0"],
    "--threads": ["0"],
}
BAD_NUMBERS = ["0", "-1", "-0.5", "nan", "inf", "-inf", "1e400", str(10**30), "many", "", " ", "0x10", "1\n2"]
FRACTIONS = ["--lr", "--clip", "--stop-at"]  # 10**30 is a number like any other there
BAD_WORDS = [
    ["--optimizer", "sgd"],
    ["--optimizer", "nan"],
    ["--device", "tpu"],
    ["--hidden", "5"],
    ["--train-portion", "0.9999"],
    ["--train-portion", "1e-9"],
    ["surplus"],
]


def bad_inputs(own, words):
    """Every bad value of every numeric option, of the script's own as well, then its bad words."""
    for option, allowed in {**NUMBERS, **own}.items():
        for value in BAD_NUMBERS:
            if value not in allowed and not (option in FRACTIONS and value == str(10**30)):
                yield [option, value]
    yield from BAD_WORDS
    yield from words
    if not torch.cuda.is_available():
        yield ["--device", "cuda"]
    if not torch.backends.mps.is_available():
        yield ["--device", "mps"]


TRAIN_INPUTS = [["--cell", "gru"], ["--cell", "0"], ["--input-length", "1001"], ["--figures-dir", "x"], ["--resume"]]
COMPARE_INPUTS = [["--lengths"], ["--lengths", "3", "1001"], ["--lengths", "3", "0"], ["--lengths", "3", "x"]]
COMPARE_INPUTS += [["--cell", "lstm"], ["--seeds", "1001"], ["--resume"]]


@pytest.mark.parametrize(
    ("main", "usual", "inputs"),
    [
        (train.main, [*TINY, "--epochs", "1"], list(bad_inputs({"--input-length": []}, TRAIN_INPUTS))),
        (compare.main, SWEEP, list(bad_inputs({"--seeds": [], "--workers": []}, COMPARE_INPUTS))),
    ],
    ids=["train", "compare"],
)
def test_bad_input(tmp_path, monkeypatch, capsys, main, usual, inputs):
    """One line that names it, exit code 2, nothing on disk changed."""
    monkeypatch.chdir(tmp_path)
    for bad in inputs:
        code, error = script(monkeypatch, capsys, main, *usual, "--out-dir", "out", *bad)
        assert code == 2, bad
        assert error.count("\n") == 1, (bad, error)
        assert bad[0] in error or (bad == ["--resume"] and "checkpoint" in error), (bad, error)
        assert not list(tmp_path.iterdir()), bad
    print(f"{len(inputs)} bad inputs refused")


def test_bad_input_on_the_command_line(tmp_path):
    """As above, by a real process: nothing but the line goes to the terminal."""
    line = command(tmp_path / "out", "--epochs", "1", "--train-portion", "0.9999")
    answer = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "train.py: --train-portion 0.9999: of 300 palindromes it leaves none for validation\n"
    assert not list(tmp_path.iterdir())


class RunsCode:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def other_weights(checkpoint):
    checkpoint["model"] = train.CELLS["rnn"].fast(hidden_size=8).state_dict()


def other_shape(checkpoint):
    checkpoint["model"] = train.CELLS["lstm"].fast(hidden_size=9).state_dict()


def other_size(checkpoint):
    checkpoint["config"]["hidden_size"] = 9


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda path: path.unlink(), "there is no such checkpoint"),
        (lambda path: path.write_bytes(b""), "not a checkpoint that can be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not a checkpoint that can be read"),
        (lambda path: path.write_text("text\n"), "not a checkpoint that can be read"),
        (lambda path: (path.unlink(), path.mkdir()), "not a checkpoint that can be read"),
        (lambda path: torch.save(RunsCode(path.parent / "ran"), path), "not a checkpoint that can be read"),
        (lambda path: torch.save({"kind": "gan"}, path), "kind 'part1 run' is needed, this file holds 'gan'"),
        (lambda path: torch.save([1, 2], path), "this file holds 'list'"),
        (lambda path: torch.save({"kind": train.CHECKPOINT_KIND}, path), "its contents are not those of such a run"),
        (lambda path: change(path, other_size), "--hidden-size is 8 but was 9"),
        (lambda path: change(path, other_weights), "its contents are not those of such a run"),
        (lambda path: change(path, other_shape), "its contents are not those of such a run"),
        (lambda path: change(path, lambda data: data.pop("rng")), "its contents are not those of such a run"),
        (lambda path: change(path, lambda data: data.update(config=None)), "its contents are not those of such a run"),
    ],
)
def test_bad_checkpoint(tmp_path, monkeypatch, capsys, spoil, named):
    run_here(tmp_path, "--epochs", "2")
    spoil(tmp_path / NAME / "checkpoint.pt")
    before = snapshot(tmp_path)
    code, error = script(monkeypatch, capsys, train.main, *TINY, "--out-dir", tmp_path, "--epochs", "3", "--resume")
    assert code == 2
    assert error.count("\n") == 1
    assert named in error
    assert snapshot(tmp_path) == before


def change(path, how):
    checkpoint = torch.load(path, weights_only=True)
    how(checkpoint)
    torch.save(checkpoint, path)


def test_resume_below_the_epochs_that_are_done(tmp_path, monkeypatch, capsys):
    run_here(tmp_path, "--epochs", "3")
    before = snapshot(tmp_path)
    code, error = script(monkeypatch, capsys, train.main, *TINY, "--out-dir", tmp_path, "--epochs", "2", "--resume")
    assert code == 2
    assert "--epochs is 2 but was 3 already" in error
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("flips", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_flipped_bits_are_refused_or_harmless(tmp_path, flips):
    """Anywhere in the file, and at two places that torch.load passes over: a weight, and the flag `is a folder`."""
    run_here(tmp_path, "--epochs", "1")
    path = tmp_path / NAME / "checkpoint.pt"
    good, whole = path.read_bytes(), state(tmp_path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        places = [(good.index(archive.read(largest)), 4), (archive.start_dir + 38, 4)]
    draw, refused = random.Random(0), []
    places += [(draw.randrange(len(good)), draw.randrange(8)) for _ in range(flips)]
    for place, bit in places:
        bad = bytearray(good)
        bad[place] ^= 1 << bit
        path.write_bytes(bad)
        try:
            assert same(state(tmp_path), whole), (place, bit)
        except utils.InputError:
            refused.append((place, bit))
    print(f"{len(refused)} of {len(places)} flipped bits refused, the others harmless")
    assert refused[:2] == places[:2]


WORDS = ["--cell", "--input-length", "--lengths", "--seeds", "--workers", "--resume", "--device", "--optimizer"]
WORDS += [
    "--out-dir",
    "--figures-dir",
    "--help-me",
    "--lr=",
    "-1",
    "--",
    "-",
    "-x",
    "",
    " ",
    "lstm",
    "rnn",
    "cpu",
    "tpu",
]
WORDS += [*NUMBERS, *BAD_NUMBERS, "1", "3", "0.5", "1e-3", "%", "%s", "{}", "\u2028", "\u00e9", "\u0663", "1_0"]
GOOD = [["--lr", "1e-4"], ["--seed", "7"], ["--device", "cpu"], ["--epochs=3"], ["--out-dir", "x"], ["--threads", "2"]]


@pytest.mark.parametrize("count", [200, pytest.param(3000, marks=pytest.mark.long)])
def test_random_options_never_end_in_a_traceback(monkeypatch, capsys, count):
    """Options, or one line and exit code 2, for whatever stands on the command line."""
    draw, refused = random.Random(0), 0
    for number in range(count):
        parse_args = (train.parse_args, compare.parse_args)[number % 2]
        words = []
        for _ in range(draw.randrange(1, 5)):
            words += draw.choice([draw.choices(WORDS, k=2), [draw.choice([*NUMBERS]), draw.choice(WORDS)], *GOOD])
        try:
            parse_args(words)
            code = None
        except SystemExit as stop:
            code = stop.code
            refused += 1
        assert code in (None, 2), words
        assert len(capsys.readouterr().err.splitlines()) == (code == 2), words
    print(f"{refused} of {count} random command lines refused, the others parsed")
    assert 0 < refused < count


# --- more than one process ---


def free_port():
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


def torchrun(folder, *launch, options=(), **keywords):
    """Start a sweep under torchrun, its folders in `folder`."""
    line = [sys.executable, "-m", "torch.distributed.run", *launch, compare.__file__]
    line += [*SWEEP, *options, "--out-dir", str(folder), "--figures-dir", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(line, env=ENVIRONMENT, **pipes, **keywords)


def assert_same_sweep(first, second):
    """The same runs and summary, apart from the seconds."""
    one, other = (json.loads((folder / "compare.json").read_text()) for folder in (first, second))
    for run in [*one["runs"], *other["runs"]]:
        del run["seconds"]
    assert one["runs"] == other["runs"]
    assert one["summary"] == other["summary"]
    assert (first / "fig1_lstm_vs_rnn.png").read_bytes() == (second / "fig1_lstm_vs_rnn.png").read_bytes()


def alone(folder, *options):
    """The same sweep in this process and two workers of its own."""
    compare.main([*SWEEP, *options, "--workers", "2", "--out-dir", str(folder), "--figures-dir", str(folder)])
    return folder


def test_two_processes_share_a_sweep(tmp_path):
    job = torchrun(tmp_path, "--nproc-per-node", "2", "--master-port", str(free_port()), options=["--epochs", "3"])
    alone(tmp_path / "alone", "--epochs", "3")
    output = job.communicate(timeout=PATIENCE)[0]
    assert job.returncode == 0, output
    assert output.count("compare.json") == 1  # one process writes
    assert_same_sweep(tmp_path, tmp_path / "alone")


@pytest.mark.long
def test_two_machines_share_a_sweep(tmp_path):
    """Two torchrun agents on loopback, two processes each, with folders of their own as without a shared disk."""
    nodes, port = [tmp_path / "0", tmp_path / "1"], str(free_port())
    jobs = [
        torchrun(
            node, "--nnodes", "2", "--node-rank", node.name, "--nproc-per-node", "2",
            "--master-addr", "127.0.0.1", "--master-port", port, options=["--epochs", "3", "--seeds", "2"],
        )
        for node in nodes
    ]  # fmt: skip
    outputs = [job.communicate(timeout=PATIENCE)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], outputs
    assert not (nodes[1] / "compare.json").exists()
    assert [len(list((node / "compare").glob("*/result.json"))) for node in nodes] == [4, 4]
    assert_same_sweep(nodes[0], alone(tmp_path / "alone", "--epochs", "3", "--seeds", "2"))


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_rank_ends_the_job(tmp_path, rank):
    """Within seconds, with a message; the same command then goes on with what is missing."""
    launch = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    endless = ["--epochs", "1000000", "--stop-at", "2"]
    job = torchrun(tmp_path, *launch, options=endless)
    for name in ("rnn_T8_rmsprop_seed0", "lstm_T8_rmsprop_seed0"):  # the first run of each rank is at work
        wait_for(tmp_path / "compare" / name / "config.json", job)
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True)
    ranks = sorted(map(int, listing.stdout.split()))  # in the order of their start
    assert len(ranks) == 2
    os.kill(ranks[rank], signal.SIGKILL)
    output = job.communicate(timeout=60)[0]
    assert job.returncode != 0
    assert "Signal 9 (SIGKILL)" in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)
    assert not (tmp_path / "compare.json").exists()


@pytest.mark.parametrize("rank", [0, 3])
def test_each_rank_takes_a_gpu(monkeypatch, rank):
    taken = []
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert utils.pick_device(train.parse_args([])).type == "cuda"
    assert taken == [rank % 2]


def test_workers_under_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert compare.parse_args([]).workers == 1
    assert compare.parse_args(["--workers", "3"]).workers == 3
