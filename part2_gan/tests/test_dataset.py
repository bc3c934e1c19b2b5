"""MNIST's files, whole, damaged and missing, and the typeset stand-in."""

import argparse
import fcntl
import gzip
import socket
import struct

import pytest
import torch
from torchvision.datasets import MNIST

import dataset
import train
import typeset


def write_idx(folder, images=12, test_images=12):
    """A small MNIST in idx files; returns the path of the training images."""
    folder.mkdir(parents=True)
    for name, count in ("train", images), ("t10k", test_images):
        pixels = (bytes(range(256)) * (count * 784 // 256 + 1))[: count * 784]
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels)
        labels = bytes(i % 10 for i in range(count))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)
    return folder / "train-images-idx3-ubyte"


def pack(path):
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return path.with_name(f"{path.name}.gz")


@pytest.mark.parametrize("place", ["m", "m/MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_and_read(tmp_path, monkeypatch, place, packed):
    """Without a download, in either folder, by an environment variable with ~ in it."""
    monkeypatch.setattr(MNIST, "download", lambda _: pytest.fail("a download"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MNIST_DIR", "~/m")
    write_idx(tmp_path / place)
    for path in list((tmp_path / place).iterdir()) if packed else []:
        pack(path)
    images, labels = dataset.load(train.parse_args([]))
    assert (images.shape, images.dtype, labels.dtype) == ((12, 784), torch.uint8, torch.int64)
    assert images.flatten().tolist() == [i % 256 for i in range(12 * 784)]
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize("left", ["nothing", "a page", "images"])
def test_what_is_not_there(tmp_path, monkeypatch, script, left):
    """One line with the cause and every remedy. Exit code 3 for no file at all, and a page in one's place is none."""

    def download(_):
        assert 0 < socket.getdefaulttimeout() <= 30  # a server that never answers
        with pytest.raises(BlockingIOError), open(folder / ".lock") as lock:  # one worker at a time
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\ngot:\n<urlopen error no network>\n")

    monkeypatch.setattr(MNIST, "download", download)
    write_idx(folder := tmp_path / "m")
    for path in folder.iterdir():
        if left != "images" or "labels" in path.name:
            path.unlink()
    if left == "a page":
        (folder / "train-images-idx3-ubyte.gz").write_text("<html>Please log in</html>")
    start, put = "not here and", "train-images-idx3-ubyte and train-labels-idx1-ubyte"
    if left == "images":
        start, put = "incomplete, train-images-idx3-ubyte is there, and", "train-labels-idx1-ubyte"
    said = f"MNIST is {start} cannot be downloaded (urlopen error no network); put {put} into {folder}, also as .gz"
    expected = (2 if left == "images" else 3, f"script.py: {said}, or use --dataset typeset\n")
    assert script(dataset.main, "--data-dir", folder) == expected
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("left", [slice(-100), slice(15), slice(2), slice(3, None), slice(None)])
def test_damaged_files_are_named(tmp_path, script, left, packed):
    """Cut, with a header alone or half of it, without its beginning; with a byte too much."""
    path = write_idx(tmp_path / "m")
    path.write_bytes(path.read_bytes()[left] + b"0")
    path = pack(path) if packed else path
    code, said = script(dataset.main, "--data-dir", tmp_path / "m")
    assert (code, said.startswith(f"script.py: {path} is damaged (")) == (2, True)
    assert said.endswith("): delete it, so that MNIST can be downloaded again\n")


def test_too_few_test_digits_are_refused_before_the_first_epoch(tmp_path, script):
    """A covariance of one image is not finite. Folder and count are named."""
    write_idx(tmp_path / "m", images=64, test_images=1)
    options = ["--data-dir", tmp_path / "m", "--evaluate-every", "1", "--out-dir", tmp_path / "out", "--device", "cpu"]
    said = f"script.py: {tmp_path / 'm'}: 1 test digits, at least 200 are needed\n"
    assert script(train.main, *options) == (2, said)
    assert not list(tmp_path.rglob("*.pt"))


def test_typeset_digits_are_fixed_and_a_short_set_begins_a_long_one(monkeypatch):
    monkeypatch.setattr(typeset, "CHUNK", 400)
    images, labels = typeset.digits(1000)
    args = argparse.Namespace(dataset="typeset", limit=500)
    again, same = dataset.load(args)
    assert all(map(torch.equal, (images[:500], labels[:500]), (again, same)))
    assert not torch.equal(dataset.load(args, train=False)[0], again)
