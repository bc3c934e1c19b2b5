"""What the tests share: the part's folder on the path, small trained networks, processes without a new import."""

import multiprocessing
import multiprocessing.connection
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

PART = Path(__file__).resolve().parent.parent
RESULTS = PART.parent / "results" / PART.name
sys.path.insert(0, str(PART))

torch.set_num_threads(1)
TYPESET = ["--dataset", "typeset", "--threads", "1"]


@pytest.fixture(scope="session")
def committed():
    """Skip the test unless the results are here as they were committed: runs of one's own may change them."""
    command = ["git", "-C", str(PART), "diff", "--quiet", "HEAD", "--", str(RESULTS)]
    if not (RESULTS / "claims.json").exists() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("the results here are not those of the repository")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with a classifier of typeset digits, classifier.pt, a small run, run/, its generator, generator.pt."""
    import classifier
    import dynamics
    import train

    folder = tmp_path_factory.mktemp("trained")
    common = [*TYPESET, "--limit", "3000", "--out-dir", str(folder)]
    classifier.main([*common, "--epochs", "2"])
    train.main([*common, "--recipe", "published", "--batch-size", "32", "--epochs", "2", "--name", "run"])
    dynamics.export_generator(folder / "run", folder / "generator.pt")
    return folder


def fork(function, *args):
    """Start a function in a process that has all modules already; returns the process."""

    def start():
        tqdm.set_lock(threading.RLock())  # its own is shared by processes: a killed one would keep it
        function(*args)

    process = multiprocessing.get_context("fork").Process(target=start)
    process.start()
    return process


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def fork_ranks(function, *args, world=2):
    """Run a function in processes with the environment that torchrun gives them; returns their exit codes.

    When one fails the others are ended, as torchrun does.
    """
    port = free_port()

    def start(rank):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
        function(*args)

    ranks = [fork(start, rank) for rank in range(world)]
    while any(process.is_alive() for process in ranks):
        multiprocessing.connection.wait([process.sentinel for process in ranks if process.is_alive()], timeout=120)
        time.sleep(0.5)  # for another one that fails for the same reason
        if any(process.exitcode for process in ranks):
            for process in ranks:
                process.kill()
    return [process.exitcode for process in ranks]
