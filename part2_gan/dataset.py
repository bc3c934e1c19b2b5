"""The digits: MNIST, or a stand-in that needs no download (typeset.py).

    python dataset.py           # download MNIST into data/, or check what is there

Exit code 2 if MNIST's files are damaged or incomplete, 3 if there are none and they cannot be downloaded. They lie in
--data-dir, or in MNIST/raw below it, where torchvision puts them, unpacked or as .gz.

    images (n, 784) uint8, 0 = background, 255 = ink      labels (n,) int64, 0 to 9
"""

import base64
import contextlib
import gzip
import math
import os
import re
import socket
import sys
import zlib

import numpy as np
import torch

import typeset
import utils
from files import InputError, fcntl, first_line

SILENCE = 15  # seconds that each of the two servers may take to answer


class Missing(InputError):
    """MNIST is not here and cannot be downloaded."""


def add_data_dir(parser):
    """Add --data-dir, for MNIST; the environment variable MNIST_DIR is its default."""
    default = os.environ.get("MNIST_DIR") or str(utils.HERE.parent / "data")
    parser.add_argument("--data-dir", type=utils.path, default=default, help="where MNIST lies, or is downloaded to")


def add_options(parser):
    """Add the options that choose the digits: --dataset, --data-dir and --limit."""
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="typeset: the stand-in, no download")
    add_data_dir(parser)
    parser.add_argument("--limit", type=utils.number(int, low=0), default=0, help="the first so many images (0: all)")


def load(args, train=True):
    """The images (n, 784) uint8 and labels (n,) int64 that `args` names; raises InputError as `mnist` does."""
    count = min(60_000 if train else 10_000, args.limit or 60_000)
    images, labels = typeset.digits(count, train) if args.dataset == "typeset" else mnist(args.data_dir, train)
    return images[:count], labels[:count]


def scale(images):
    """uint8 images, 0 to 255, as floats in [-1, 1], the range of the generator's Tanh."""
    return images.float() / 127.5 - 1


def to_bytes(images):
    """Images in [-1, 1] as uint8, 0 to 255, on the CPU."""
    return ((images + 1) * 127.5).round().to(torch.uint8).cpu()


def pack(images):
    """Images (n, 784) uint8 as text for a JSON file."""
    return base64.b64encode(zlib.compress(images.numpy().tobytes(), 9)).decode()


def unpack(text):
    """The images (n, 784) uint8 that `pack` made this text of."""
    data = zlib.decompress(base64.b64decode(text))
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).reshape(-1, 784)


def mnist(data_dir, train=True):
    """MNIST's images (n, 784) and labels (n,) from the folder `data_dir`, downloaded if they are not there.

    Raises Missing if there are none and they cannot be downloaded, InputError if a file is damaged or one is missing.
    """
    names = [f"{'train' if train else 't10k'}-{part}-ubyte" for part in ("images-idx3", "labels-idx1")]
    if not all(find(data_dir, name) for name in names):
        download(data_dir, names)
    images, labels = (read_idx(find(data_dir, name)) for name in names)
    return images.flatten(1), labels.long()


def find(data_dir, name):
    """The path of one of MNIST's files, unpacked or as .gz; None if there is none."""
    for folder in (data_dir / "MNIST" / "raw", data_dir):
        if (folder / name).is_file():
            return folder / name
        packed = folder / f"{name}.gz"
        # What is not gzip is a page that a server sent in the file's place.
        if packed.is_file() and packed.open("rb").read(2) == b"\x1f\x8b":
            return packed


def download(data_dir, names):
    """Let torchvision download MNIST into `data_dir`; raises as `mnist` does if the files `names` cannot be had."""
    print(f"Downloading MNIST into {data_dir} ...", flush=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        from torchvision.datasets import MNIST  # here, since it takes seconds and is needed only once

        data_dir.mkdir(parents=True, exist_ok=True)
        with open(data_dir / ".lock", "w") as lock:  # the other workers of a study wait until the first one has it
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl and fcntl.flock(lock, fcntl.LOCK_EX)
            MNIST(data_dir, download=True)
    except Exception as error:  # torchvision raises many kinds
        reasons = re.findall(r"got:\n<?(.*?)>?\n", f"{error}\n") or [first_line(error)]
        missing = [name for name in names if not find(data_dir, name)]
        wanted = f"put {' and '.join(missing)} into {data_dir}, also as .gz, or use --dataset typeset"
        text = f"cannot be downloaded ({'; '.join(dict.fromkeys(reasons))}); {wanted}"
        if found := set(names) - set(missing):
            raise InputError(f"MNIST is incomplete, {found.pop()} is there, and {text}") from None
        raise Missing(f"MNIST is not here and {text}") from None
    finally:
        socket.setdefaulttimeout(before)


def read_idx(path):
    """The uint8 tensor in a file of the idx format, packed by gzip or not; raises InputError if it is damaged."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
        start = 4 + 4 * data[3]  # after the magic number and the size of each dimension
        shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
        if data[:3] != b"\0\0\x08" or not shape or not len(data) == start + math.prod(shape) > start:
            raise ValueError("not a whole idx file")
    except (EOFError, IndexError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): delete it, so that MNIST can be downloaded again") from None
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def main(argv=None):
    parser = utils.Parser("Download and check MNIST.")
    add_options(parser)
    parser.set_defaults(out_dir=None, figures_dir=None)  # it writes nothing
    args = parser.parse_args(argv)
    try:
        train, test = load(args)[0], load(args, train=False)[0]
    except Missing as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(3)
    print(f"{utils.TITLES[args.dataset]}: {len(train):,} training and {len(test):,} test images")


if __name__ == "__main__":
    utils.run(main)
