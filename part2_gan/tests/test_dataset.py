"""MNIST's files, whole, damaged and missing, and the typeset stand-in."""

import gzip
import os
import struct
import sys
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

import dataset
import typeset
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
    assert (images.shape, images.dtype, labels.dtype) == ((12, 784), torch.uint8, torch.int64)
    assert images[0, :4].tolist() == [0, 1, 2, 3]
    assert labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_other_names_and_places_are_read(tmp_path, offline):
    """Kaggle's names without MNIST/raw, and packed files."""
    write_idx(tmp_path / "whole")
    for k, path in enumerate(sorted((tmp_path / "whole" / "MNIST" / "raw").iterdir())):
        name = path.name.replace("-idx", ".idx")
        if k % 2:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        else:
            (tmp_path / name).write_bytes(path.read_bytes())
    for found, expected in zip(dataset.mnist(tmp_path), dataset.mnist(tmp_path / "whole"), strict=True):
        assert torch.equal(found, expected)


def test_no_mnist_is_one_line_with_every_remedy(tmp_path, offline, capsys):
    with pytest.raises(SystemExit) as caught:
        dataset.main(["--data-dir", str(tmp_path / "nowhere")])
    message = capsys.readouterr().err
    assert caught.value.code == 3
    assert message.count("\n") == 1
    for told in "train-images-idx3-ubyte", "train-labels.idx1-ubyte", "MNIST/raw", ".gz", "--dataset typeset":
        assert told in message
    assert not list(tmp_path.iterdir())


def test_a_torchvision_of_another_torch_is_one_line(tmp_path, monkeypatch):
    """It does not stand for missing digits, which a stand-in would replace."""
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # its import fails
    with pytest.raises(utils.InputError, match="does not go with this torch") as caught:
        dataset.mnist(tmp_path)
    assert not isinstance(caught.value, dataset.Missing)
    assert "\n" not in str(caught.value)


def test_incomplete_mnist_is_not_missing(tmp_path, offline):
    write_idx(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(utils.InputError, match=r"incomplete.*train-images-idx3-ubyte is there") as caught:
        dataset.mnist(tmp_path)
    assert not isinstance(caught.value, dataset.Missing)


@pytest.mark.parametrize("fault", [{"cut": 100}, {"magic": 1234}, {"cut": 12 * 784 + 14}])
def test_damaged_mnist_names_the_file(tmp_path, offline, fault):
    write_idx(tmp_path, **fault)
    with pytest.raises(utils.InputError, match=r"train-images-idx3-ubyte is damaged.*delete it") as caught:
        dataset.mnist(tmp_path)
    assert not isinstance(caught.value, dataset.Missing)


def test_damaged_file_gives_way_to_a_whole_packed_one(tmp_path, offline):
    write_idx(tmp_path)
    images, _ = dataset.mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(path.read_bytes()[:1000])
    path.with_name(f"{path.name}.gz").write_bytes(packed)
    assert torch.equal(dataset.mnist(tmp_path)[0], images)
    path.with_name(f"{path.name}.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(utils.InputError, match="delete them"):
        dataset.mnist(tmp_path)


@pytest.mark.parametrize("name", ["sheet", "sheet.bmp", ".", "nowhere/sheet.png"])
def test_bad_preview_is_one_line(tmp_path, capsys, name):
    with pytest.raises(SystemExit) as caught:
        dataset.main(["--dataset", "typeset", "--preview", str(tmp_path / name)])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_preview(tmp_path, monkeypatch):
    monkeypatch.setattr(typeset, "CHUNK", 200)
    dataset.main(["--dataset", "typeset", "--limit", "150", "--preview", str(tmp_path / "sheet.png")])
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif("MNIST_DIR" not in os.environ, reason="the environment variable MNIST_DIR names no MNIST here")
def test_real_mnist():
    for train, counts in (True, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]), (False, None):
        images, labels = dataset.mnist(Path(os.environ["MNIST_DIR"]), train)
        assert images.shape == (60_000 if train else 10_000, 784)
        assert counts is None or labels.bincount().tolist() == counts


def test_typeset_is_deterministic_and_a_short_set_begins_a_long_one(monkeypatch):
    monkeypatch.setattr(typeset, "CHUNK", 400)
    images, labels = typeset.digits(1000)
    again, same = typeset.digits(300)
    assert len(images) == len(labels) == 1000
    assert torch.equal(images[:300], again)
    assert torch.equal(labels[:300], same)
    assert not torch.equal(typeset.digits(300, train=False)[0], again)


def test_typeset_resembles_digits():
    images, labels = typeset.digits(10_000)
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
    monkeypatch.setattr(typeset, "CHUNK", 400)
    parser = utils.Parser("test")
    dataset.add_data_options(parser)
    args = parser.parse_args(["--dataset", "typeset", "--limit", "50"])
    assert [len(tensor) for tensor in dataset.load(args)] == [50, 50]
    assert not torch.equal(dataset.load(args)[0], dataset.load(args, train=False)[0])
