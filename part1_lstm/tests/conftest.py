"""Put the part's folder on the path, so that the tests import it as the scripts import each other; forked processes."""

import multiprocessing
import os
import sys
import threading
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


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
