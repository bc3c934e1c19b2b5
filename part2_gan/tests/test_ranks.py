"""Training in several processes: the same gradients, written once, resumed, ended together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import PART, fork_ranks, free_port
from test_reliability import RUN, assert_same_run, checkpoint, options_of, train_here, train_until

import train
import utils
from gan import DISCRIMINATORS, Discriminator, Generator


def compare_gradients():
    """A step on two shares of a batch against the step on the whole of it.

    Each process normalises its own share (see train.py), so both shares have the same latents here.
    """

    def fresh():
        torch.manual_seed(0)
        pair = Generator().double(), Discriminator(**DISCRIMINATORS["initial"]).double()
        return pair, [torch.optim.SGD(network.parameters(), lr=0.1) for network in pair]

    args = train.parse_args([])
    torch.manual_seed(1)
    real, z = torch.rand(16, 784).double() * 2 - 1, torch.randn(16, 100).double()
    real[1::2], z[1::2] = -real[::2], z[::2]
    alone, shared = fresh(), fresh()
    alone_row = train.train_step(*alone, real, z, args)
    rank, world = utils.join_ranks()
    row = train.train_step(*shared, real[rank::world], z[rank::world], args)
    train.average([row])
    for network, other in zip(alone[0], shared[0], strict=True):
        for one, two in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
            torch.testing.assert_close(one.grad, two.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(row, alone_row, rtol=1e-9, atol=1e-12)
    dist.destroy_process_group()


def test_two_processes_have_the_gradient_of_one():
    assert fork_ranks(compare_gradients) == [0, 0]


def test_a_batch_too_small_for_the_processes_is_refused(tmp_path, capfd):
    """Two images each, for BatchNorm; nothing is written."""
    arguments = [*RUN, "--batch-size", "3", "--out-dir", str(tmp_path / "out")]
    assert fork_ranks(utils.run, lambda: train.main(arguments)) == [2, 2]
    # The other process may say that the first one has gone.
    assert "--batch-size 3: 2 processes need two images each, 4" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def torchrun(*launcher_and_options):
    """Start torchrun; returns the process."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--master-port={free_port()}", *launcher_and_options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_resume_and_write_once(tmp_path):
    """By torchrun without a stop; then in two processes that end after an epoch, and in two that continue."""
    process = torchrun("--nproc-per-node=2", str(PART / "train.py"), *options_of(tmp_path / "whole", "--ema", "0.9"))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    assert output.count("checkpoint, samples and losses") == 1

    stop = "train_epoch", 3, tmp_path / "parts", "--ema", "0.9"

    def start(resume):
        utils.join_ranks()
        if resume:
            train_here(tmp_path / "parts", "--ema", "0.9", "--resume")
        else:
            train_until(train, *stop)
        dist.destroy_process_group()

    assert -signal.SIGKILL in fork_ranks(start, False)
    assert checkpoint(tmp_path / "parts")["epoch"] in (1, 2)
    assert fork_ranks(start, True) == [0, 0]
    assert_same_run(tmp_path / "whole", tmp_path / "parts", pictures=())
    assert checkpoint(tmp_path / "whole")["generator"]["layers.1.running_mean"].abs().sum() > 0


@pytest.mark.long
def test_a_killed_rank_ends_the_job_and_resume_goes_on(tmp_path):
    options = [str(PART / "train.py"), *RUN, "--epochs", "30", "--out-dir"]
    assert torchrun("--nproc-per-node=2", *options, str(tmp_path / "whole")).wait() == 0
    folder = tmp_path / "killed"
    job = torchrun("--nproc-per-node=2", *options, str(folder))
    while not (folder / "run" / "checkpoint.pt").exists():
        time.sleep(0.1)
    time.sleep(2)
    tasks = Path(f"/proc/{job.pid}/task").iterdir()
    os.kill(max(int(child) for task in tasks for child in (task / "children").read_text().split()), signal.SIGKILL)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "SIGKILL" in errors
    assert checkpoint(folder)["epoch"] < 30
    assert torchrun("--nproc-per-node=2", *options, str(folder), "--resume").wait() == 0
    assert_same_run(tmp_path / "whole", folder, pictures=())


@pytest.mark.long
def test_two_nodes_train_as_two_processes_do(tmp_path):
    """Two torchrun agents on the loopback address, one process each."""
    options = [str(PART / "train.py"), *RUN, "--out-dir"]
    assert torchrun("--nproc-per-node=2", *options, str(tmp_path / "one")).wait() == 0
    nodes = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    agents = [torchrun(*nodes, f"--node-rank={rank}", *options, str(tmp_path / "two")) for rank in range(2)]
    for agent in agents:
        assert agent.wait(300) == 0
    assert_same_run(tmp_path / "one", tmp_path / "two", pictures=())
