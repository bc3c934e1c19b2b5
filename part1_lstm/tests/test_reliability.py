"""Runs that survive: kills, full disks, two runs in one folder, bad input, several processes.

Processes are forks of this one, which spares them the seconds that importing torch takes. The long forms (torchrun
on two machines, a killed rank) run with -m long.
"""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
from conftest import fork
from test_train import same

import benchmark
import compare
import run_folder
import sweep
import train
import utils
from studies import gradients, long_inputs, protocols, repetition, sweep_speed, three_digits

TINY = ["--input-length", "5", "--hidden-size", "8", "--total-len", "300", "--batch-size", "64", "--stop-at", "2"]
TINY += ["--device", "cpu", "--threads", "1"]
SWEEP = ["--lengths", "3", "8", "--seeds", "1", "--hidden-size", "4", "--total-len", "60", "--device", "cpu"]
SWEEP += ["--updates", "100", "--batch-size", "8"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PATIENCE = 120  # seconds until a process that should have ended is a failure


# --- processes and files ---


def start(main, options, trouble=None, log=os.devnull, **variables):
    """Start a script in a process of its own, with its output in `log`, after calling `trouble`."""

    def script():
        os.environ |= {name: str(value) for name, value in variables.items()}
        sys.argv = [f"{main.__module__}.py", *map(str, options)]
        if trouble:
            trouble()
        utils.run(main)

    return fork(script, log)


def ended(process):
    """Exit code of a process, negative for a signal."""
    process.join(PATIENCE)
    return process.exitcode


def folder_of(*options):
    """The name of the folder of a run with the options TINY and `options`."""
    return train.run_name(train.parse_args([*TINY, *options]))


def run_here(folder, *options):
    return train.train(train.parse_args([*TINY, "--out-dir", str(folder), *options]), progress=False)


def script(capsys, main, *options):
    """Exit code (0 for a normal end) and standard error of a script, in this process."""
    capsys.readouterr()
    with mock.patch.object(sys, "argv", ["script.py", *map(str, options)]):
        try:
            utils.run(main)
            code = 0
        except SystemExit as stop:
            code = stop.code
    return code, capsys.readouterr().err


def planned(*options):
    """The runs of a sweep under the protocol of the text."""
    pairs = compare.plan(compare.parse_args([*SWEEP, *options]))
    return [run_args for side, run_args in pairs if side == "written"]


def checkpoint_in(folder):
    (path,) = folder.glob("*/checkpoint.pt")
    return path


def state(folder):
    return utils.load_checkpoint(checkpoint_in(folder), run_folder.KIND)


def epochs_in(folder):
    return len(state(folder)["history"])


def assert_same_run(first, second):
    """The same bits in everything but the seconds and where a run came from."""
    one, other = state(first), state(second)
    for entry in one.keys() - {"seconds"}:
        assert same(one[entry], other[entry]), entry
    names = [checkpoint_in(folder).parent for folder in (first, second)]
    assert (names[0] / "curve.png").read_bytes() == (names[1] / "curve.png").read_bytes()
    results = [json.loads((name / "result.json").read_text()) for name in names]
    for result in results:
        del result["seconds"], result["provenance"]
    assert results[0] == results[1]


def snapshot(folder):
    """Every path below `folder` with its bytes, None for a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def wait_for(pattern, folder, process):
    """Return when a path in the folder matches; fail if the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not list(folder.glob(pattern)):
        alive = process.is_alive() if hasattr(process, "is_alive") else process.poll() is None
        assert alive
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- killed and resumed ---


def die_in_checkpoint(number, moment):
    """SIGKILL this process while it writes its checkpoint of that number (the first is 1), at one of three moments.

    `half`: half of the bytes are in the temporary file; `written`: all of them are; `renaming`: they are on the disk.
    """
    save, write_bytes, fsync, replace = utils.save_checkpoint, Path.write_bytes, os.fsync, os.replace
    count = 0

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def counting_save(path, data):
        nonlocal count
        count += path.name == "checkpoint.pt"
        save(path, data)

    def now(path, at):
        return (count, moment) == (number, at) and "checkpoint.pt" in str(path)

    def half_write(path, data):
        write_bytes(path, data[: len(data) // 2] if now(path, "half") else data)
        if now(path, "half"):
            die()

    utils.save_checkpoint = counting_save
    Path.write_bytes = half_write
    os.fsync = lambda file: die() if now(os.readlink(f"/proc/self/fd/{file}"), "written") else fsync(file)
    os.replace = lambda old, new: die() if now(new, "renaming") else replace(old, new)


@pytest.mark.parametrize(("number", "moment"), [(1, "written"), (2, "half"), (3, "written"), (3, "renaming")])
def test_killed_while_it_writes_a_checkpoint(tmp_path, number, moment):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_here(whole, "--epochs", "4")
    options = [*TINY, "--epochs", "4", "--out-dir", str(parts)]
    assert ended(start(train.main, options, lambda: die_in_checkpoint(number, moment))) == -signal.SIGKILL
    assert len(list(parts.rglob(".*.tmp.checkpoint.pt"))) == 1
    if number == 1:  # that before the first epoch
        run_here(parts, "--epochs", "4")
    else:
        assert epochs_in(parts) == number - 2
        run_here(parts, "--epochs", "4", "--resume")
    assert_same_run(whole, parts)
    assert not list(parts.rglob(".*.tmp.*"))


def test_ctrl_c_on_a_command_line(tmp_path):
    """A real command, started from another folder: it says how to continue, its exit code is 130, and it continues."""

    def heed_ctrl_c():  # a shell that runs the tests in the background makes its children ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)

    line = [sys.executable, train.__file__, *TINY, "--epochs", "100000", "--out-dir", "parts"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(line, env=ENVIRONMENT, preexec_fn=heed_ctrl_c, cwd=tmp_path, **pipes)
    wait_for("parts/*/history.pt", tmp_path, process)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("train.py: stopped; the same command with --resume continues")
    assert epochs_in(tmp_path / "parts") >= 1


def test_a_killed_sweep_trains_what_is_missing(tmp_path):
    """A folder without result.json, one with half of it and one of other options are trained again, no other."""
    runs = planned("--epochs", "1", "--out-dir", str(tmp_path))
    first = sweep.train_all(runs, 1)
    paths = [sweep.folder_of(run_args) / "result.json" for run_args in runs]
    paths[0].unlink()
    text = paths[1].read_text()
    paths[1].write_text(text[: len(text) // 2])
    paths[2].write_text(text)
    with mock.patch.object(train, "train", wraps=train.train) as started:
        second = sweep.train_all(runs, 1)
    trained = [train.run_name(call.args[0]) for call in started.call_args_list]
    assert trained == [train.run_name(run_args) for run_args in runs[:3]]
    for one, other in zip(first, second, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_a_sweep_continues_a_checkpoint_and_never_replaces_one_of_other_options(tmp_path):
    (run_args,) = planned("--epochs", "3", "--out-dir", str(tmp_path))[:1]
    (whole,) = sweep.train_all([run_args], 1, result_only=False)
    folder = sweep.folder_of(run_args)
    (folder / "result.json").unlink()
    (again,) = sweep.train_all([run_args], 1)
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}
    (folder / "result.json").unlink()
    run_args.seed = 7
    folder.rename(sweep.folder_of(run_args))
    before = snapshot(tmp_path)
    with pytest.raises(utils.InputError, match="--seed is 7 but was 0"):
        sweep.train_all([run_args], 1)
    assert snapshot(tmp_path) == before


# --- disks, folders, memory ---


def small_files(limit):
    """No file may grow beyond `limit` bytes: what writes to one then meets an error, as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # its default is to kill
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def test_disk_full(tmp_path):
    """config.json fits, the checkpoint does not."""
    options = [*TINY, "--epochs", "4", "--out-dir", str(tmp_path)]
    assert ended(start(train.main, options, lambda: die_in_checkpoint(3, "half"))) == -signal.SIGKILL
    path, log = checkpoint_in(tmp_path), tmp_path / "log"
    before = path.read_bytes()
    assert ended(start(train.main, [*options, "--resume"], lambda: small_files(3000), log)) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith(f"train.py: [Errno 27] File too large: '{path.parent}")
    assert "Traceback" not in log.read_text()
    assert path.read_bytes() == before
    assert not list(tmp_path.rglob(".*.tmp.*"))
    run_here(tmp_path, "--epochs", "4", "--resume")
    assert epochs_in(tmp_path) == 4


def test_disk_full_from_the_start(tmp_path):
    log, out = tmp_path / "log", tmp_path / "out"
    assert ended(start(train.main, [*TINY, "--out-dir", str(out)], lambda: small_files(2000), log)) == 1
    assert log.read_text().splitlines()[-1].startswith("train.py: [Errno 27] File too large: ")
    assert [path.name for path in out.glob("*/*")] == [".lock"]


def test_too_little_memory(tmp_path):
    def little_memory():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))

    log = tmp_path / "log"
    options = ["--hidden-size", "20000", "--threads", "1", "--out-dir", tmp_path]
    assert ended(start(train.main, options, little_memory, log)) == 1
    assert log.read_text().count("\n") == 1
    assert "too little memory" in log.read_text()


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
    code, error = script(capsys, main, *options)
    assert (code, error.count("\n")) == (2, 1)
    assert "this folder cannot be made (Not a directory)" in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_deleted_while_running(tmp_path, capsys):
    real = train.evaluate

    def delete(*arguments):
        shutil.rmtree(tmp_path / folder_of("--epochs", "3"), ignore_errors=True)
        return real(*arguments)

    with mock.patch.object(train, "evaluate", delete):
        code, error = script(capsys, train.main, *TINY, "--out-dir", tmp_path, "--epochs", "3")
    assert code == 1
    assert "No such file or directory" in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_second_run_in_the_same_folder(tmp_path, capsys):
    """Refused in one line while the first is at work, and nothing is changed; a killed one is no obstacle."""
    options = [*TINY, "--out-dir", tmp_path, "--epochs", "100000"]
    process = start(train.main, options)
    wait_for("*/history.pt", tmp_path, process)
    for more in "--restart", "--resume":
        code, error = script(capsys, train.main, *options, more)
        assert (code, error.count("\n")) == (2, 1)
        assert f"{checkpoint_in(tmp_path).parent}: another run is at work" in error
    process.kill()
    assert ended(process) == -signal.SIGKILL
    with utils.hold(tmp_path / "compare"):
        before = snapshot(tmp_path)
        places = ["--epochs", "1", "--out-dir", tmp_path, "--figures-dir", tmp_path, "--workers", "1"]
        code, error = script(capsys, compare.main, *SWEEP, *places)
        assert (code, error.count("\n")) == (2, 1)
        assert f"{tmp_path / 'compare'}: another run is at work" in error
        assert snapshot(tmp_path) == before
    args = train.parse_args([*map(str, options), "--resume"])
    with mock.patch.object(train, "most_epochs", return_value=epochs_in(tmp_path) + 1):
        train.train(args, progress=False)


# --- bad input ---

NUMBERS = ["--hidden-size", "--batch-size", "--lr", "--epochs", "--clip", "--total-len", "--train-portion", "--stop-at"]
BAD_NUMBERS = ["0", "-1", "nan", "inf", "1e400", "many", "", "1\n2"]
BAD = [[option, value] for option in NUMBERS for value in BAD_NUMBERS]
BAD += [["--optimizer", "sgd"], ["--device", "tpu"], ["--hidden", "5"], ["--train-portion", "0.9999"], ["surplus"]]
BAD += [["--seed", "-1"], ["--seed", str(10**30)], ["--data-seed", "x"], ["--threads", "-1"], ["--lr", "1e39"]]
BAD += [["--device", name] for name, here in [("cuda", torch.cuda.is_available())] if not here]
BAD_TRAIN = [["--cell", "gru"], ["--input-length", "1001"], ["--input-length", "2.5"], ["--figures-dir", "x"]]
BAD_TRAIN += [["--resume"], ["--forget-bias", "inf"], ["--forget-bias", "1", "--cell", "rnn"], ["--protocol", "both"]]
BAD_TRAIN += [["--updates", "0"], ["--updates", "150", "--protocol", "fresh"]]
BAD_TRAIN += [["--batch-size", "10001", "--protocol", "fresh"]]
BAD_COMPARE = [["--lengths"], ["--lengths", "3", "1001"], ["--lengths", "3", "x"], ["--cell", "lstm"], ["--resume"]]
BAD_COMPARE += [["--seeds", "1001"], ["--workers", "0"], ["--train-portion", "0.99", "--lengths", "25", "1"]]


@pytest.mark.parametrize(
    ("main", "usual", "inputs"),
    [
        (train.main, [*TINY, "--epochs", "1"], BAD + BAD_TRAIN),
        (compare.main, SWEEP, BAD[-11:] + BAD_COMPARE),
        (protocols.main, SWEEP, [["--updates", "150"], ["--optimizer", "adam"], ["--total-len", "1"]]),
        (long_inputs.main, SWEEP, [["--far-lengths", "1001"], ["--forget-biases", "nan"], ["--far-epochs", "0"]]),
        (three_digits.main, [], [["--updates", "50"], ["--updates", "102"], ["--seeds", "0"]]),
        (gradients.main, [], [["--input-length", "1"], ["--train-length"], ["--forget-bias", "x"]]),
        (repetition.main, [], [["--updates", "150"], ["--epochs", "5"], ["--sizes", "-1"]]),
        (sweep_speed.main, [], [["--rounds", "0"], ["--figures-dir", "x"]]),
        (benchmark.main, [], [["--lengths", "0"], ["--memory-of", "all"]]),
    ],
    ids=lambda value: getattr(value, "__module__", ""),
)
def test_bad_input(tmp_path, monkeypatch, capsys, main, usual, inputs):
    """One line that names it, exit code 2, nothing on disk changed."""
    monkeypatch.chdir(tmp_path)
    for bad in inputs:
        code, error = script(capsys, main, *usual, "--out-dir", "out", *bad)
        assert (code, error.count("\n")) == (2, 1), (bad, error)
        assert any(word in error for word in [bad[0], "checkpoint"]), (bad, error)
        assert not list(tmp_path.iterdir()), bad


class RunsCode:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def weights_of(cell, hidden_size):
    return cell(hidden_size=hidden_size).state_dict()


OTHER, UNREADABLE = "its contents are not those of such a run", "not a checkpoint that can be read"
SPOILED_FILES = [
    (lambda path: path.unlink(), "there is no such file"),
    (lambda path: (path.unlink(), path.mkdir()), UNREADABLE),
    (lambda path: torch.save(RunsCode(path.parent / "ran"), path), UNREADABLE),
    (lambda path: torch.save({"kind": "gan"}, path), "kind 'part1 run' is needed, this file holds 'gan'"),
    (lambda path: torch.save([1, 2], path), "holds a list"),
    (lambda path: torch.save({"kind": run_folder.KIND}, path), OTHER),
]
SPOILED_ENTRIES = [
    (lambda data: data["config"].update(hidden_size=9), "--hidden-size is 8 but was 9"),
    (lambda data: data.update(model=weights_of(train.CELLS["rnn"].fast, 8)), OTHER),
    (lambda data: data.update(model=weights_of(train.CELLS["lstm"].fast, 9)), OTHER),
    (lambda data: data.update(model=None), OTHER),
    (lambda data: data.pop("rng"), OTHER),
    (lambda data: data["rng"].update(torch=torch.zeros(3)), OTHER),
    (lambda data: data.update(config=None), OTHER),
    (lambda data: data["config"].pop("lr"), OTHER),
    (lambda data: data.update(history=[{"epoch": 1}]), OTHER),
    (lambda data: data.update(history=data["history"][:, :3]), OTHER),
    (lambda data: data.update(seconds="long"), OTHER),
    (lambda data: data["optimizer"].update(state={}), OTHER),
    (lambda data: data["optimizer"]["state"][0].update(square_avg=torch.zeros(5)), OTHER),
    (lambda data: data.update(optimizer=3), OTHER),
]


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    """A folder with a run of two epochs that wants a third."""
    folder = tmp_path_factory.mktemp("stopped")
    options = [*TINY, "--epochs", "3", "--out-dir", folder]
    assert ended(start(train.main, options, lambda: die_in_checkpoint(4, "half"))) == -signal.SIGKILL
    return folder


@pytest.mark.parametrize("spoil", range(len(SPOILED_FILES) + len(SPOILED_ENTRIES)))
def test_bad_checkpoint(tmp_path, capsys, stopped_run, spoil):
    shutil.copytree(stopped_run, tmp_path, dirs_exist_ok=True)
    change, told = (SPOILED_FILES + SPOILED_ENTRIES)[spoil]
    path = checkpoint_in(tmp_path)
    if spoil < len(SPOILED_FILES):
        change(path)
    else:
        data = torch.load(path, weights_only=True)
        change(data)
        torch.save(data, path)
    before = snapshot(tmp_path)
    code, error = script(capsys, train.main, *TINY, "--out-dir", tmp_path, "--epochs", "3", "--resume")
    assert (code, error.count("\n")) == (2, 1)
    assert told in error
    assert snapshot(tmp_path) == before


# --- more than one process ---


def free_port():
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


def assert_same_sweep(first, second):
    """The same runs and summary, apart from the seconds."""
    one, other = (json.loads((folder / "compare.json").read_text()) for folder in (first, second))
    for run in [*one["runs"], *other["runs"]]:
        del run["seconds"]
    assert one["runs"] == other["runs"]
    assert one["summary"] == other["summary"]
    assert (first / "fig1_lstm_vs_rnn.png").read_bytes() == (second / "fig1_lstm_vs_rnn.png").read_bytes()


def alone(folder, *options, workers="1"):
    """The same sweep without torchrun."""
    compare.main([*SWEEP, *options, "--workers", workers, "--out-dir", str(folder), "--figures-dir", str(folder)])
    return folder


def test_two_processes_share_a_sweep(tmp_path):
    """With the variables that torchrun sets: the same numbers as by one process."""
    options = [*SWEEP, "--epochs", "3", "--out-dir", tmp_path, "--figures-dir", tmp_path]
    job = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    logs = [tmp_path / "0", tmp_path / "1"]
    ranks = [start(compare.main, options, None, logs[rank], RANK=rank, LOCAL_RANK=rank, **job) for rank in range(2)]
    assert [ended(process) for process in ranks] == [0, 0], logs[0].read_text() + logs[1].read_text()
    assert ["compare.json" in log.read_text() for log in logs] == [True, False]  # one process writes
    assert_same_sweep(tmp_path, alone(tmp_path / "alone", "--epochs", "3"))


def torchrun(folder, *launch, options=()):
    """Start a sweep under torchrun, its folders in `folder`."""
    line = [sys.executable, "-m", "torch.distributed.run", *launch, compare.__file__]
    line += [*SWEEP, *options, "--out-dir", str(folder), "--figures-dir", str(folder)]
    return subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


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
    assert [len(list((node / "compare").glob("*/result.json"))) for node in nodes] == [8, 8]
    assert_same_sweep(nodes[0], alone(tmp_path / "alone", "--epochs", "3", "--seeds", "2", workers="2"))


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_rank_ends_the_job(tmp_path, rank):
    """Within seconds, with a message; the same command then trains what is missing."""
    launch = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    job = torchrun(tmp_path, *launch, options=["--epochs", "1000000", "--stop-at", "2"])
    for name in "rnn_T8", "lstm_T8":  # both ranks are at work
        wait_for(f"compare/{name}*/config.json", tmp_path, job)
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
    for name, value in ("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", 4):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert utils.pick_device(train.parse_args([])).type == "cuda"
    assert taken == [rank % 2]
    assert compare.parse_args([]).workers == 1  # torchrun's processes are workers already
