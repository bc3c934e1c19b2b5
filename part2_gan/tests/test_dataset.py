"""MNIST's data policy and the typeset stand-in."""

import os
import struct
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

import dataset
import utils


@pytest.fixture
def offline(monkeypatch):
    """No machine reaches MNIST's mirrors in these tests, whatever network it has."""

    def download(self):
        if not self._check_exists():
            raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nfrom any mirror")

    monkeypatch.setattr(MNIST, "download", download)


def write_idx(folder, images=12, cut=0, magic=2051):
    """A small MNIST folder in idx format, with faults on request."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in "train", "t10k":
        pixels = struct.pack(">4i", magic, images, 28, 28) + bytes(range(256)) * (images * 784 // 256 + 1)
        pixels = pixels[: 16 + images * 784 - cut]
        (raw / f"{name}-images-idx3-ubyte").write_bytes(pixels)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 2049, images) + bytes(i % 10 for i in range(images))
        )


def test_mnist_folder_is_read(tmp_path):
    write_idx(tmp_path)
    images, labels = dataset.mnist(tmp_path)
    assert images.shape == (12, 784)
    assert images.dtype == torch.uint8
    assert images[0, :4].tolist() == [0, 1, 2, 3]
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_no_mnist_is_one_line_with_both_ways_out(tmp_path, offline):
    with pytest.raises(utils.InputError) as caught:
        dataset.mnist(tmp_path / "nowhere")
    message = str(caught.value)
    assert "--data-dir" in message
    assert "--dataset typeset" in message
    assert "\n" not in message


@pytest.mark.parametrize("fault", [{"cut": 100}, {"magic": 1234}])
def test_damaged_mnist_is_refused(tmp_path, offline, fault):
    write_idx(tmp_path, **fault)
    with pytest.raises(utils.InputError, match="MNIST"):
        dataset.mnist(tmp_path)


@pytest.mark.skipif("MNIST_DIR" not in os.environ, reason="the environment variable MNIST_DIR names no MNIST here")
def test_real_mnist():
    for train, counts in (True, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]), (False, None):
        images, labels = dataset.mnist(Path(os.environ["MNIST_DIR"]), train)
        assert images.shape == (60_000 if train else 10_000, 784)
        assert counts is None or labels.bincount().tolist() == counts


def test_typeset_is_deterministic_and_a_short_set_begins_a_long_one(monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 400)
    images, labels = dataset.typeset(1000)
    again, same = dataset.typeset(300)
    assert len(images) == len(labels) == 1000
    assert torch.equal(images[:300], again)
    assert torch.equal(labels[:300], same)
    assert not torch.equal(dataset.typeset(300, train=False)[0], again)


def test_typeset_looks_like_digits():
    images, labels = dataset.typeset(10_000)
    assert images.shape == (10_000, 784)
    assert images.dtype == torch.uint8
    assert labels.bincount(minlength=10).min() > 900
    ink = images.float() / 255
    assert 0.05 < ink.mean() < 0.3  # MNIST: 0.13
    assert images.amax(1).float().median() > 200
    edge = ink.reshape(-1, 28, 28)
    assert edge[:, [0, -1]].mean() < 0.01  # nothing is cut off
    assert edge[:, :, [0, -1]].mean() < 0.01
    assert len(images.unique(dim=0)) > 9_990  # variation, not copies
    means = torch.stack([ink[labels == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(ink, means).argmin(1)
    assert (nearest == labels).float().mean() > 0.5  # a class is a shape: guessing gives 0.1


def test_scale_is_the_range_of_tanh():
    assert dataset.scale(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_limit_and_split(monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 400)
    parser = utils.Parser("test")
    dataset.add_data_options(parser)
    args = parser.parse_args(["--dataset", "typeset", "--limit", "50"])
    assert [len(tensor) for tensor in dataset.load(args)] == [50, 50]
    assert not torch.equal(dataset.load(args)[0], dataset.load(args, train=False)[0])
