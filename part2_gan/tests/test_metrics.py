"""Metrics against closed forms and at their extremes: digits, noise, one digit only, copies; evaluate.py."""

import argparse

import pytest
import torch
from conftest import TYPESET

import classifier as classifiers
import dataset
import evaluate
import files
import metrics
from gan import Generator


def test_frechet_distance_of_known_gaussians():
    """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), that root's trace by the eigenvalues of C C'; C is A'A of white A."""
    torch.manual_seed(0)
    white = torch.randn(5000, 6).double()
    white = (white - white.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(white.T.cov())).T  # exactly
    roots, means = torch.randn(2, 6, 6).double(), torch.randn(2, 6).double()
    one, other = roots.mT @ roots
    cross = torch.linalg.eigvals(one @ other).real.sqrt().sum()
    expected = (means[0] - means[1]).square().sum() + one.trace() + other.trace() - 2 * cross
    distance = metrics.frechet_distance(white @ roots[0] + means[0], white @ roots[1] + means[1])
    assert distance == pytest.approx(expected.item())
    assert metrics.frechet_distance(white, white * 2 + 1) == pytest.approx(12)
    assert 0 <= metrics.frechet_distance(white, white) < 1e-6


def test_histogram():
    every, unsure = torch.eye(10), torch.full((5, 10), 0.1)
    limits = torch.zeros(2, 10)
    limits[:, 0], limits[:, 1] = torch.tensor([0.9901, 0.9899]), torch.tensor([0.0099, 0.0101])
    figures = metrics.describe(torch.cat([every[[3] * 10 + [0] * 14], unsure, limits]))
    assert figures["histogram"] == [15, 0, 0, 10, 0, 0, 0, 0, 0, 0]  # what is unsure is no 0
    assert (figures["unsure"], figures["sure_share"]) == (6, pytest.approx(25 / 31))


def test_precision_and_recall_by_hand():
    """On a line: digits 0 1 2 3 have radius 1 for k = 1; of the samples .5 10 11 12 the first has 9.5, the others 1."""
    digits = metrics.manifold(torch.tensor([[0.0], [1], [2], [3]]), k=1)
    samples = metrics.manifold(torch.tensor([[0.5], [10], [11], [12]]), k=1)
    assert (digits[1].tolist(), samples[1].tolist()) == ([1, 1, 1, 1], [9.5, 1, 1, 1])
    assert metrics.precision_recall(samples, digits) == (0.25, 1)
    assert metrics.precision_recall(digits, samples) == (1, 0.25)


@pytest.fixture(scope="module")
def digits(trained):
    """A classifier and typeset digits for training and test: images, labels, features, probabilities of each."""
    classifier, _ = classifiers.load_classifier(trained / "classifier.pt", "cpu")
    images, labels = dataset.load(argparse.Namespace(dataset="typeset", limit=4000))
    everything = (images := dataset.scale(images)), labels, *metrics.outputs(classifier, images)
    return classifier, [part[:2000] for part in everything], [part[2000:] for part in everything]


def test_real_digits_noise_and_one_digit_only(digits):
    """What every number says of the extremes, with training digits as the best that samples can be."""
    classifier, (_, labels, train, train_seen), (_, _, test, _) = digits
    noise, threes = metrics.outputs(classifier, torch.rand(2000, 784) * 2 - 1)[0], labels == 3
    floor = metrics.frechet_distance(train, test)
    assert min(metrics.frechet_distance(part, test) for part in (noise, train[threes])) > 20 * floor
    manifolds = [metrics.manifold(part) for part in (train, noise, train[threes])]
    real, of_noise, of_threes = (metrics.precision_recall(part, metrics.manifold(test)) for part in manifolds)
    assert min(real) > 0.75
    assert of_noise[1] < 0.01
    assert of_threes[1] < 0.3 < 0.75 < of_threes[0]
    collapsed = metrics.describe(train_seen[threes])
    assert collapsed["histogram"][3] >= 0.9 * sum(collapsed["histogram"])


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_copies_of_training_digits_are_found_out(digits, space):
    """Copies with a little noise are; fresh digits are not, nor ones alone, which lie closer together than others."""
    classifier, train, (images, labels, *seen) = digits
    copies = train[0][:500] + 0.01 * torch.randn(500, 784)
    fresh, ones = [part[1000:] for part in (images, *seen)], labels[1000:] == 1
    numbers = [
        evaluate.find_neighbours(samples, [part[:1000] for part in (images, *seen)], (train[0], train[2]))[0][space]
        for samples in ((copies, *metrics.outputs(classifier, copies)), fresh, [part[ones] for part in fresh])
    ]
    share, *shares = (row["closer_share"] for row in numbers)
    assert max(shares) < 0.07 < 0.95 < share


def test_a_device_without_doubles(digits, monkeypatch):
    """Such as Apple's GPU: a double is made of what .cpu() gave, and of nothing else."""
    double, cpu, copies = torch.Tensor.double, torch.Tensor.cpu, []

    def guarded(tensor):
        assert any(tensor is copy for copy in copies)
        return double(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copies.append(cpu(tensor).detach()) or copies[-1])
    monkeypatch.setattr(torch.Tensor, "double", guarded)
    classifier, _, (*_, features, _) = digits
    reference = metrics.gaussian(features)
    metrics.quality(Generator(), classifier, reference, metrics.manifold(features[:200]), samples=300)
    assert len(copies) == 2  # for two Gaussians


def test_evaluate_tells_digits_from_samples(trained, tmp_path):
    """Training digits are near the floor by construction; a generator of two epochs is far above it."""
    networks = ["--checkpoint", str(trained / "generator.pt"), "--classifier", str(trained / "classifier.pt")]
    evaluate.main([*TYPESET, "--samples", "500", "--limit", "1500", *networks, "--out-dir", str(tmp_path)])
    row = files.load(tmp_path / "evaluate.json")
    assert sum(row["histogram"]) + row["unsure"] == row["samples"] == 500
    assert row["frechet_distance"] > 3 * row["real"]["frechet_distance"]
    assert row["recall"] < row["real"]["recall"]
    assert row["neighbours"]["pixels"]["closer_share"] < 0.1
    assert (row["generator"]["recipe"], row["generator"]["epochs"]) == ("code", 2)
    drawn = (tmp_path / "nearest_neighbours.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    evaluate.main(["--draw", "--out-dir", str(tmp_path)])
    assert (tmp_path / "nearest_neighbours.png").read_bytes() == drawn
