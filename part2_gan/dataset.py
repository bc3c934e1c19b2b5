"""The digits: MNIST, or a stand-in that needs no download (typeset.py).

    python dataset.py                                           # download MNIST into data/, or check what is there
    python dataset.py --dataset typeset --preview sheet.png     # draw the first 100 digits

Exit code 2 if MNIST's files are damaged or incomplete, 3 if there are none and they cannot be downloaded.

Both data sets come as one tensor, so that no training loop runs Python code for every image:

    images (n, 784) uint8, 0 = background, 255 = ink      labels (n,) int64, 0 to 9

Reads the files of --data-dir, in the folder itself or in MNIST/raw below it, where torchvision puts them; under
torchvision's names or Kaggle's (train-images.idx3-ubyte), unpacked or as .gz. A damaged file does no harm where another
one of the same content is whole.
"""

import argparse
import contextlib
import gzip
import math
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

import plots
import typeset
import utils


class Missing(utils.InputError):
    """MNIST is not here and cannot be downloaded."""


def add_data_options(parser):
    """Add the options that choose the data: --dataset, --data-dir and --limit."""
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="typeset: the stand-in, no download")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("MNIST_DIR", utils.HERE.parent / "data")),
        help="where MNIST lies or is downloaded to (environment variable MNIST_DIR)",
    )
    parser.add_argument(
        "--limit", type=utils.number(int, low=0), default=0, help="use the first so many images only (0: all)"
    )


def png_file(text):
    """An argparse type: the path of a PNG file to write, in a folder that is there."""
    path = Path(text)
    if path.suffix != ".png" or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a .png file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {path.parent}")
    return path


def load(args, train=True):
    """The images (n, 784) uint8 and labels (n,) int64 that the options in `args` name.

    Raises utils.InputError, in one line, as `mnist` does.
    """
    count = 60_000 if train else 10_000
    if args.limit:
        count = min(count, args.limit)
    images, labels = typeset.digits(count, train) if args.dataset == "typeset" else mnist(args.data_dir, train)
    return images[:count], labels[:count]


def scale(images):
    """uint8 images, 0 to 255, as floats in [-1, 1], the range of the generator's Tanh."""
    return images.float() / 127.5 - 1


def find_files(data_dir, part, train):
    """The files in which MNIST's `part`, "images" or "labels", may lie: those that exist, then the names tried."""
    stem, kind = f"{'train' if train else 't10k'}-{part}", f"idx{3 if part == 'images' else 1}-ubyte"
    names = [f"{stem}{joint}{kind}{suffix}" for suffix in ("", ".gz") for joint in "-."]
    paths = [folder / name for folder in (data_dir / "MNIST" / "raw", data_dir) for name in names]
    return [path for path in paths if path.is_file()], names


def mnist(data_dir, train=True):
    """MNIST's images (n, 784) and labels (n,) from the folder `data_dir`, downloaded if there are none.

    Raises Missing where there are none and they cannot be downloaded, and utils.InputError where one of the files is
    missing or damaged.
    """
    if not all(find_files(data_dir, part, train)[0] for part in ("images", "labels")):
        download(data_dir, train)
    images, labels = (read_first(find_files(data_dir, part, train)[0]) for part in ("images", "labels"))
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max() > 9:
        raise utils.InputError(
            f"{data_dir}: these are not MNIST's digits: images {tuple(images.shape)}, labels {tuple(labels.shape)} "
            f"up to {labels.max()}, where images (n, 28, 28) and labels (n,) up to 9 are needed"
        )
    return images.flatten(1), labels.long()


def download(data_dir, train):
    """Let torchvision download MNIST into `data_dir`; raises as `mnist` does."""
    try:
        from torchvision.datasets import MNIST  # here, since it takes seconds and is needed only once
    except (ImportError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise utils.InputError(
            f"torchvision, which downloads MNIST, does not go with this torch ({reason}); take both from one place: "
            "pip uninstall torch torchvision"
        ) from None
    folders = [data_dir / "MNIST" / "raw", data_dir / "MNIST", data_dir]
    made = [folder for folder in folders if not folder.exists()]
    try:
        MNIST(data_dir, train=train, download=True)
    except Exception as error:  # torchvision raises many kinds
        for folder in made:  # empty ones, which the download has left behind
            with contextlib.suppress(OSError):
                folder.rmdir()
        reason = str(error).strip().split("\n")[0].rstrip(":")
        advice = f"needed in {folders[0]} or {data_dir}, also as .gz; or use --dataset typeset"
        found, wanted = [], []
        for part in "images", "labels":
            paths, names = find_files(data_dir, part, train)
            found += [str(path) for path in paths]
            wanted += [] if paths else [f"{names[0]} (or {names[1]})"]
        wanted = " and ".join(wanted)
        if found:
            raise utils.InputError(f"MNIST is incomplete ({reason}): {found[0]} is there, {wanted} {advice}") from None
        raise Missing(f"MNIST is not here and cannot be downloaded ({reason}): {wanted} {advice}") from None


def read_first(paths):
    """The array that the first whole file of `paths` holds; raises utils.InputError if all are damaged."""
    reasons = []
    for path in paths:
        try:
            return read_idx(path)
        except (EOFError, OSError, ValueError, zlib.error) as error:
            reasons.append(f"{path} is damaged ({error})")
    those = "it" if len(reasons) == 1 else "them"
    raise utils.InputError(f"{'; '.join(reasons)}: delete {those}, so that MNIST can be downloaded again")


def read_idx(path):
    """The array uint8 in a file of the idx format, packed by gzip or not; raises ValueError if it is not whole."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        data = file.read()
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 3:
        raise ValueError("it does not begin as an idx file does")
    start = 4 + 4 * data[3]  # behind the magic number and the size of each dimension
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if len(data) != start + math.prod(shape) or not math.prod(shape):
        raise ValueError(f"{len(data):,} bytes, where {' x '.join(map(str, shape))} and a head of {start} are needed")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def main(argv=None):
    parser = utils.Parser("Download and check MNIST, or draw a data set.")
    add_data_options(parser)
    parser.add_argument("--preview", type=png_file, help="draw the first 100 training digits into this PNG file")
    args = parser.parse_args(argv)
    try:
        (images, labels), (test_images, _) = (load(args, train) for train in (True, False))
    except Missing as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(3)
    counts = ", ".join(f"{count:,}" for count in labels.bincount(minlength=10).tolist())
    print(
        f"{utils.TITLES[args.dataset]}: {len(images):,} training images ({counts} of the digits 0 to 9) and "
        f"{len(test_images):,} test images"
    )
    if args.preview:
        figure, ax = utils.plt.subplots(figsize=(5, 5))
        plots.draw_images(ax, images[:100], columns=10)
        title = f"{utils.TITLES[args.dataset]}: the first 100 training digits"
        utils.save_figure(figure, args.preview, title, args.dataset)


if __name__ == "__main__":
    utils.run(main)
