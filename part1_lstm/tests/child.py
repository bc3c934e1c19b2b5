"""What test_reliability.py runs in processes of its own: a script, if wished with a trouble made on purpose.

Not a test module, so that such a process starts without pytest.
"""

import importlib
import os
import resource
import signal
import sys
from pathlib import Path

import utils


def small_files(limit):
    """No file may grow beyond `limit` bytes: what writes to one then meets an error, as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # its default is to kill
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def die_in_checkpoint(number, moment):
    """SIGKILL this process while it writes its checkpoint of that number (the first is 1), at one of three moments.

    `half`: half of the bytes are in the temporary file; `written`: all of them are; `renaming`: they are on the disk.
    """
    write_bytes, fsync, replace = Path.write_bytes, os.fsync, os.replace
    count = 0

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def counting_write(path, data):
        nonlocal count
        count += 1  # nothing but checkpoints is written as bytes
        write_bytes(path, data[: len(data) // 2] if (count, moment) == (number, "half") else data)
        if (count, moment) == (number, "half"):
            die()

    Path.write_bytes = counting_write
    os.fsync = lambda file: die() if (count, moment) == (number, "written") else fsync(file)
    os.replace = lambda *paths: die() if (count, moment) == (number, "renaming") else replace(*paths)


def script(name, options, log, trouble=None, *details):
    """`python NAME.py OPTIONS`, with its output in the file `log`, and `trouble` (a function of this module) before."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [f"{name}.py", *options]
    if trouble:
        globals()[trouble](*details)
    utils.run(importlib.import_module(name).main)
