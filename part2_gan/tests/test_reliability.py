"""Runs that survive: kills, a full disk, two runs in one folder, two processes, random options."""

import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_train import equal

import dataset
import train
import utils

PART = Path(__file__).resolve().parent.parent
RUN = [
    "--dataset",
    "typeset",
    "--limit",
    "400",
    "--batch-size",
    "32",
    "--epochs",
    "6",
    "--grid-epochs",
    "2",
    "--name",
    "run",
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(folder, *options, **popen):
    command = [sys.executable, str(PART / "train.py"), *RUN, "--out-dir", str(folder), *options]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, **popen
    )


def train_here(folder, *options):
    return train.train(train.parse_args([*RUN, "--threads", "1", "--out-dir", str(folder), *options]))


def checkpoint(folder):
    return torch.load(folder / "run" / "checkpoint.pt", weights_only=True)


def assert_same_run(one, other):
    """Weights, optimizers, random states, history and pictures, bit for bit; only the clock may differ."""
    first, second = checkpoint(one), checkpoint(other)
    for name in first.keys() - {"seconds"}:
        assert equal(first[name], second[name]), name
    for name in "losses.png", "samples.png":
        assert (one / "run" / name).read_bytes() == (other / "run" / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that is never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train_here(folder)
    return folder


def kill_and_resume(folder, kills, source):
    """Kill a run `kills` times, each at a random moment after its start, then let it end. Returns kills that hit."""
    hit = 0
    for _ in range(kills):
        resumable = (folder / "run" / "checkpoint.pt").exists()
        process = start(folder, *(["--resume"] if resumable else []))
        seen = time.time()
        while process.poll() is None and time.time() - seen < 60:  # the time to import varies: wait for its folder
            if (
                (folder / "run" / ".lock").exists()
                and not resumable
                or "epoch" in os.read(process.stderr.fileno(), 4096).decode()
            ):
                break
        time.sleep(source.uniform(0, 1.2))
        hit += process.poll() is None
        process.kill()
        process.communicate()
    if (folder / "run" / "checkpoint.pt").exists():
        train_here(folder, "--resume")
    else:
        train_here(folder)
    return hit


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_killed_and_resumed_is_as_if_never_stopped(whole, tmp_path, kills):
    source = random.Random(kills)
    hit = 0
    for number in range(max(1, kills // 3)):
        folder = tmp_path / str(number)
        hit += kill_and_resume(folder, 3, source)
        assert_same_run(whole, folder)
    print(f"{hit} of {kills} kills hit a run at work")
    assert hit > 0


def test_killed_while_a_checkpoint_is_written(whole, tmp_path):
    """The process dies between the bytes of the third checkpoint and its new name: the second one is still there."""
    driver = (
        f"import os, signal, sys; sys.path.insert(0, {str(PART)!r}); import train, utils\n"
        "replace, count = os.replace, [0]\n"
        "def die(source, target):\n"
        "    count[0] += str(target).endswith('checkpoint.pt')\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if count[0] == 3 else replace(source, target)\n"
        "utils.os.replace = die\n"
        "train.main()\n"
    )
    command = [sys.executable, "-c", driver, *RUN, "--threads", "1", "--out-dir", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, env=ENVIRONMENT).returncode == -signal.SIGKILL
    assert checkpoint(tmp_path)["epoch"] == 1  # epochs 0 and 1 were saved, 2 was not
    assert len(list((tmp_path / "run").glob(".*.tmp.*"))) == 1
    train_here(tmp_path, "--resume")
    assert_same_run(whole, tmp_path)


def test_ctrl_c_says_how_to_go_on(tmp_path):
    process = start(
        tmp_path, "--epochs", "1000", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    while not (tmp_path / "run" / "checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert checkpoint(tmp_path)["kind"] == "gan"


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
        with pytest.raises(SystemExit) as caught:
            utils.run(lambda: train_here(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.code == 1
    assert "File too large" in capsys.readouterr().err.splitlines()[-1]
    assert saved == [0, 1]
    assert checkpoint(tmp_path)["epoch"] == 1
    assert not list((tmp_path / "run").glob(".*.tmp.*"))


def test_a_folder_deleted_under_a_run_ends_it(tmp_path, monkeypatch, capsys):
    epoch = train.train_epoch

    def delete(*args):
        for path in (tmp_path / "run").iterdir():
            path.unlink()
        (tmp_path / "run").rmdir()
        return epoch(*args)

    monkeypatch.setattr(train, "train_epoch", delete)
    with pytest.raises(SystemExit) as caught:
        utils.run(lambda: train_here(tmp_path))
    assert caught.value.code == 1
    assert "No such file or directory" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SystemExit) as caught:
        utils.run(lambda: train_here(tmp_path / "file"))
    assert caught.value.code == 2
    assert "Not a directory" in capsys.readouterr().err.splitlines()[-1]


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    with utils.hold(tmp_path / "run"), pytest.raises(utils.InputError, match="another run is at work"):
        train_here(tmp_path)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    train_here(tmp_path, "--epochs", "1")  # the lock is free again, and its file does not matter


BAD_CHECKPOINTS = ["missing", "empty", "cut", "text", "other part", "other kind", "other arch", "no optimizer", "code"]


@pytest.mark.parametrize("fault", BAD_CHECKPOINTS)
def test_bad_checkpoints_are_refused(whole, tmp_path, fault, capsys):
    path = tmp_path / "run" / "checkpoint.pt"
    path.parent.mkdir()
    good, data = (whole / "run" / "checkpoint.pt").read_bytes(), checkpoint(whole)

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "this code was run"),)

    contents = {"empty": b"", "cut": good[: len(good) // 2], "text": b"no checkpoint"}
    data |= {"other part": {"kind": "part1 run"}, "other kind": {"kind": "classifier"}, "code": {"x": Code()}}.get(
        fault, {}
    )
    if fault == "other arch":
        data["config"]["arch"] = "initial"
    if fault == "no optimizer":
        del data["adam_g"]
    if fault in contents:
        path.write_bytes(contents[fault])
    elif fault != "missing":
        torch.save(data, path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        utils.run(lambda: train_here(tmp_path, "--resume"))
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_flipped_bits_are_noticed_or_harmless(whole, tmp_path):
    good = (whole / "run" / "checkpoint.pt").read_bytes()
    source, refused = random.Random(0), 0
    for _ in range(20):
        bad = bytearray(good)
        bad[source.randrange(len(bad))] ^= 1 << source.randrange(8)
        (tmp_path / "flipped.pt").write_bytes(bad)
        try:
            loaded = utils.load_checkpoint(tmp_path / "flipped.pt", "gan")
        except utils.InputError:
            refused += 1
        else:
            assert equal(loaded["generator"], checkpoint(whole)["generator"])
    assert refused > 0


def random_options(source):
    """A command line of real and made-up options with good and bad values."""
    names = (
        "arch epochs batch-size lr beta1 bn-eps loss grid-epochs name resume dataset data-dir limit seed device threads"
    )
    names = [*(f"--{name}" for name in names.split()), "--unknown", "-x", "word"]
    values = [
        "",
        "0",
        "1",
        "-1",
        "3",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1" + "0" * 30,
        "0x10",
        "balanced",
        "typeset",
        "cpu",
    ]
    values += ["minimax", "../up", "a/b", ".", "é", "\n", "--lr", "None", "True", "1.5"]
    words = []
    for _ in range(source.randrange(6)):
        words.append(source.choice(names))
        words += source.choices(values, k=source.choice([0, 1, 1, 1, 2]))
    return words


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_random_options_never_give_a_traceback(count, capsys):
    source, accepted = random.Random(count), 0
    for _ in range(count):
        words, code = random_options(source), None
        try:
            train.parse_args(words)
        except SystemExit as stop:
            code = stop.code
        accepted += code is None
        assert code in (None, 2), words
        assert len(capsys.readouterr().err.splitlines()) == (code == 2), words
    assert 0 < accepted < count


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launch(launcher, script, *options):
    """Start torchrun with the options `launcher`, running a script."""
    command = [sys.executable, "-m", "torch.distributed.run", *launcher, str(script), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def torchrun(processes, script, *options):
    """Run a script in several processes on this machine."""
    started = launch([f"--nproc-per-node={processes}", f"--master-port={free_port()}"], script, *options)
    stdout, stderr = started.communicate(timeout=300)
    return subprocess.CompletedProcess(started.args, started.returncode, stdout, stderr)


GRADIENTS = """
import sys, torch, torch.distributed as dist
sys.path.insert(0, {part!r})
import train
from gan import DISCRIMINATORS, Discriminator, Generator
def fresh():
    torch.manual_seed(0)
    networks = Generator().double(), Discriminator(**DISCRIMINATORS["initial"]).double()
    return networks, [torch.optim.SGD(network.parameters(), lr=0.1) for network in networks]
args = train.parse_args([])
torch.manual_seed(1)
real, z = torch.rand(16, 784).double() * 2 - 1, torch.randn(16, 100).double()
real[1::2], z[1::2] = -real[::2], z[::2]  # as many of each z on both sides, but other digits
alone, shared = fresh(), fresh()
alone_row = train.train_step(*alone, real, z, args)
dist.init_process_group("gloo")
row = train.train_step(*shared, real[dist.get_rank()::2], z[dist.get_rank()::2], args)
train.average([row])
for network, other in zip(alone[0], shared[0]):
    for one, two in zip(network.parameters(), other.parameters()):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
        torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=1e-12)
torch.testing.assert_close(row, alone_row, rtol=1e-9, atol=1e-12)
print("same gradients")
"""


def test_two_processes_have_the_gradient_of_one(tmp_path):
    """Each process normalises its own share (see train.py), so both shares have the same latents here."""
    (tmp_path / "gradients.py").write_text(GRADIENTS.format(part=str(PART)))
    done = torchrun(2, tmp_path / "gradients.py")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("same gradients") == 2


def test_two_processes_train_resume_and_write_once(tmp_path):
    options = [*RUN, "--threads", "1", "--epochs", "2"]
    for folder, epochs in ("whole", 2), ("parts", 1):
        done = torchrun(2, PART / "train.py", *options, "--out-dir", tmp_path / folder, "--epochs", epochs)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("checkpoint, samples and losses") == 1
    result = checkpoint(tmp_path / "whole")
    assert result["history"].shape == (2 * 13, len(train.HISTORY))
    assert equal(result["history"][:13], checkpoint(tmp_path / "parts")["history"])
    assert result["generator"]["layers.1.running_mean"].abs().sum() > 0


def test_real_data_files_with_faults(tmp_path, monkeypatch):
    from test_dataset import write_idx

    monkeypatch.setattr(dataset.MNIST, "download", lambda self: None)
    labels = tmp_path / "labels" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    write_idx(tmp_path / "labels")
    labels.write_bytes(labels.read_bytes()[:-1] + bytes([12]))
    with pytest.raises(utils.InputError, match="up to 12"):
        dataset.mnist(tmp_path / "labels")
    write_idx(tmp_path / "gzip")
    images = tmp_path / "gzip" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(b"\x1f\x8b\x08\x08" + images.read_bytes())
    write_idx(tmp_path / "shape")
    images = tmp_path / "shape" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(struct.pack(">4i", 2051, 12, 14, 56) + images.read_bytes()[16:])
    with pytest.raises(utils.InputError, match=r"images \(12, 14, 56\)"):
        dataset.mnist(tmp_path / "shape")
    (tmp_path / "file").write_text("not a folder")
    for name in "gzip", "file":
        with pytest.raises(utils.InputError, match="MNIST"):
            dataset.mnist(tmp_path / name)


def test_share_sizes_do_not_depend_on_the_process():
    """Without torchrun nothing is averaged and every row is used."""
    tensor = torch.arange(3.0)
    train.average([tensor])
    assert tensor.tolist() == [0, 1, 2]
    args = train.parse_args(["--batch-size", "32"])
    history = train.train_epoch(*train.build(args, torch.device("cpu")), torch.zeros(65, 784, dtype=torch.uint8), args)
    assert len(history) == 2  # 32 + 32, and the one left over is skipped: BatchNorm needs two


def children(pid):
    """The processes that process `pid` has started (Linux)."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers through /proc")
def test_killed_study_leaves_no_worker_and_goes_on_in_two_processes(tmp_path):
    """Killed while its runs are under way; then torchrun goes on with them, one run to a process."""
    options = ["--dataset", "typeset", "--limit", "400", "--epochs-initial", "3", "--epochs-balanced", "60"]
    options += ["--batch-size", "32", "--workers", "2", "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    options += ["--evaluate-every", "0"]
    study = subprocess.Popen(
        [sys.executable, str(PART / "study.py"), *options], env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    deadline = time.time() + 120
    while not (tmp_path / "initial" / "result.json").exists() and time.time() < deadline:
        time.sleep(0.1)
    workers = children(study.pid)
    study.kill()
    study.communicate()
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.time() < deadline:
        time.sleep(0.1)
    assert workers
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not (tmp_path / "study.json").exists()
    finished = (tmp_path / "initial" / "checkpoint.pt").stat().st_mtime_ns
    assert torch.load(tmp_path / "balanced" / "checkpoint.pt", weights_only=True)["epoch"] < 60

    done = torchrun(2, PART / "study.py", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "study.json").exists()
    assert (tmp_path / "initial" / "checkpoint.pt").stat().st_mtime_ns == finished
    assert done.stdout.count("fig2_initial_losses") == 1


@pytest.mark.long
def test_a_killed_rank_ends_the_job_and_resume_goes_on(tmp_path):
    options = [*RUN, "--threads", "1", "--epochs", "30"]
    assert torchrun(2, PART / "train.py", *options, "--out-dir", tmp_path / "whole").returncode == 0
    folder = tmp_path / "killed"
    job = launch(
        ["--nproc-per-node=2", f"--master-port={free_port()}"], PART / "train.py", *options, "--out-dir", folder
    )
    while not (folder / "run" / "checkpoint.pt").exists():
        time.sleep(0.1)
    time.sleep(2)
    os.kill(max(children(job.pid)), signal.SIGKILL)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "SIGKILL" in errors
    assert checkpoint(folder)["epoch"] < 30
    done = torchrun(2, PART / "train.py", *options, "--out-dir", folder, "--resume")
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_run(tmp_path / "whole", folder)


@pytest.mark.long
def test_two_nodes_train_as_two_processes_do(tmp_path):
    """Two torchrun agents on the loopback address, one process each."""
    options = [*RUN, "--threads", "1"]
    assert torchrun(2, PART / "train.py", *options, "--out-dir", tmp_path / "one").returncode == 0
    nodes = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    agents = [
        launch([*nodes, f"--node-rank={rank}"], PART / "train.py", *options, "--out-dir", tmp_path / "two")
        for rank in range(2)
    ]
    for agent in agents:
        _, errors = agent.communicate(timeout=300)
        assert agent.returncode == 0, errors[-2000:]
    assert_same_run(tmp_path / "one", tmp_path / "two")
