"""What the tests share: the part's folder on the path, as the scripts have it, processes without a new import."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tqdm import tqdm

PART = Path(__file__).resolve().parent.parent
RESULTS = PART.parent / "results" / PART.name
sys.path.insert(0, str(PART))


@pytest.fixture(scope="session")
def committed():
    """Skip the test unless the results are here as they were committed: runs of one's own may change them."""
    command = ["git", "-C", str(PART), "diff", "--quiet", "HEAD", "--", str(RESULTS)]
    if not (RESULTS / "claims.json").exists() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("the results here are not those of the repository")


def fork(function, log=os.devnull):
    """Start a function in a process that has all modules already, with its output in the file `log`."""

    def work():
        tqdm.set_lock(threading.RLock())  # its own one is shared by processes: a killed one would keep it for ever
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            function()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process
