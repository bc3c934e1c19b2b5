"""Files that are written whole or not at all, and read with errors of one line. The same file in both parts."""

import contextlib
import errno
import hashlib
import io
import json
import os
import sys
import time
import zipfile

import torch

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class InputError(Exception):
    """A bad option or input file; utils.run prints it as one line and exits with code 2."""


def first_line(error):
    """The first line of an exception's message, shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def digest(*paths):
    """Twelve characters that change with the contents of text files, whatever their line ends."""
    text = b"".join(path.read_bytes().replace(b"\r\n", b"\n") for path in sorted(set(paths)))
    return hashlib.sha256(text).hexdigest()[:12]


def short_name(name):
    """The name of a folder; a long one is cut where a file system would refuse it, a digest at its end."""
    return name if len(name) < 150 else f"{name[:130]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def hold(folder):
    """Make `folder` and keep other processes out of it until the block ends; raises InputError if one is at work there.

    The operating system frees the lock when its process ends, however it ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as error:
        raise InputError(f"{folder}: nothing can be written there ({error.strerror}); name another folder") from None
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl and fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is at work in this folder; wait, or name another one") from None
        except OSError:
            print(f"{folder}: this file system has no locks; start no second run there", file=sys.stderr)
        for leftover in folder.glob(".*.tmp"):  # half-written files of a run that was killed
            leftover.unlink()
        yield


@contextlib.contextmanager
def written_whole(path):
    """Yield a temporary path that replaces `path` once its bytes are on disk: readers see the old file or the new one.

    The folder has to exist: one that was deleted under a run is an error, not something to make again unasked.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "r+b") as file:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS):  # a file system that cannot
                    raise
        for _ in range(9):
            with contextlib.suppress(PermissionError):  # Windows, while a virus scanner reads the file
                return os.replace(temporary, path)
            time.sleep(0.1)
        os.replace(temporary, path)
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def save(path, data):
    """Write a dictionary whole or not at all: as JSON with a line for each entry of its entries, or by torch.save."""
    if path.suffix == ".json":
        lines = []
        for key, value in data.items():
            text = json.dumps(value)
            if isinstance(value, dict) and value:
                entries = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
                text = "{\n  " + ",\n  ".join(entries) + "\n }"
            lines.append(f"{json.dumps(key)}: {text}")
        content = ("{\n " + ",\n ".join(lines) + "\n}\n").encode()
    else:
        buffer = io.BytesIO()  # in memory first: writing by itself, torch answers a full disk with an error in C++
        torch.save(data, buffer)
        content = buffer.getbuffer()
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def load(path, *keys, kind=None, device="cpu"):
    """The dictionary in a file that `save` wrote, which has all of `keys`; nothing in the file is run.

    Raises InputError, in one line, if the file is missing or damaged, has not all keys, or its entry "kind" is another.
    """
    try:
        if path.suffix == ".json":
            data = json.loads(path.read_text(encoding="utf-8"))
        else:
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():  # torch reads flipped bits without a word
                    raise ValueError(f"{damaged} in it is damaged")
            data = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except Exception as error:  # torch raises many kinds for a damaged or foreign file
        raise InputError(f"{path}: this file cannot be read ({first_line(error)})") from None
    content = data.get("kind") if isinstance(data, dict) else type(data).__name__
    if not isinstance(data, dict) or (kind and content != kind):
        raise InputError(f"{path}: a file of kind {kind or 'dictionary'!r} is needed, this one holds {content!r}")
    if missing := [key for key in keys if key not in data]:
        raise InputError(f"{path}: this file has no {missing[0]!r}; is it another script's, or an older version's?")
    return data


@contextlib.contextmanager
def fitting(path):
    """Around the use of what `path` holds: contents of another shape become an InputError that names the file."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its contents do not fit ({first_line(error)})") from None
