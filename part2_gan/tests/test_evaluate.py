"""The metrics at their extremes, and against closed forms."""

import pytest
import torch

import evaluate


def test_frechet_distance_of_gaussians():
    """Diagonal covariances have the closed form |m - m'|^2 + sum (s - s')^2."""
    torch.manual_seed(0)
    base = torch.randn(20_000, 6).double()
    base = (base - base.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(base.T.cov())).T  # exactly white
    scale, shift = torch.tensor([1.0, 2, 3, 0.5, 1, 0]).double(), torch.tensor([0.0, 1, 0, 2, 0, 0]).double()
    expected = (shift.square().sum() + (scale - 1).square().sum()).item()
    assert evaluate.frechet_distance(base, base * scale + shift) == pytest.approx(expected, rel=1e-6)
    assert evaluate.frechet_distance(base, base) == pytest.approx(0, abs=1e-6)
    rotation = torch.linalg.qr(torch.randn(6, 6).double())[0]
    rotated = evaluate.frechet_distance(base @ rotation, (base * scale + shift) @ rotation)
    assert rotated == pytest.approx(expected, rel=1e-6)


def test_score_at_its_extremes():
    assert evaluate.score(torch.eye(10).repeat(30, 1)) == pytest.approx(10, rel=1e-4)  # sure, all classes
    assert evaluate.score(torch.eye(10)[:1].repeat(30, 1)) == pytest.approx(1, rel=1e-4)  # sure, one class
    assert evaluate.score(torch.full((30, 10), 0.1)) == pytest.approx(1, rel=1e-4)  # unsure
    assert evaluate.score(torch.eye(10)[:5].repeat(30, 1)) == pytest.approx(5, rel=1e-4)


class Reader(torch.nn.Module):
    """Reads the first pixel: its ten steps are the ten digits, and a 1 in the second pixel makes it unsure."""

    def features(self, images):
        digit = (images[:, 0] * 10).round().long()
        return torch.nn.functional.one_hot(digit, 10) * 50.0 * (1 - images[:, 1:2])

    def out(self, features):
        return features

    def forward(self, images):
        return self.out(self.features(images))


def test_unsure_samples_are_no_zeros():
    images = torch.zeros(30, 784)
    images[:10, 0] = 0.3  # ten threes
    images[10:15, 1] = 1  # five that nobody can read, fifteen zeros
    _, figures = evaluate.describe(Reader(), images)
    assert figures["histogram"] == [15, 0, 0, 10, 0, 0, 0, 0, 0, 0]
    assert figures["unsure"] == 5
