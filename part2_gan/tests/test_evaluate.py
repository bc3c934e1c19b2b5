"""The metrics against closed forms and at their extremes: real digits, noise, one digit only, copies."""

import pytest
import torch

import dataset
import metrics
import utils
from classifier import load_classifier
from gan import Generator


def test_frechet_distance_of_gaussians():
    """Diagonal covariances have the closed form |m - m'|^2 + sum (s - s')^2."""
    torch.manual_seed(0)
    base = torch.randn(20_000, 6).double()
    base = (base - base.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(base.T.cov())).T  # exactly white
    scale, shift = torch.tensor([1.0, 2, 3, 0.5, 1, 0]).double(), torch.tensor([0.0, 1, 0, 2, 0, 0]).double()
    expected = (shift.square().sum() + (scale - 1).square().sum()).item()
    assert metrics.frechet_distance(base, base * scale + shift) == pytest.approx(expected, rel=1e-6)
    assert metrics.frechet_distance(base, base) == pytest.approx(0, abs=1e-6)
    rotation = torch.linalg.qr(torch.randn(6, 6).double())[0]
    rotated = metrics.frechet_distance(base @ rotation, (base * scale + shift) @ rotation)
    assert rotated == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_covariances_that_do_not_commute():
    """The trace of (C C')^1/2 from the eigenvalues of C C' itself; many Gaussians at a time."""
    torch.manual_seed(0)
    roots, means = torch.randn(4, 5, 5).double(), torch.randn(4, 5).double()
    covariances = roots @ roots.mT
    crosses = torch.linalg.eigvals(covariances[:3] @ covariances[3]).real.sqrt().sum(-1)
    traces = covariances.diagonal(dim1=1, dim2=2).sum(1)
    expected = (means[:3] - means[3]).square().sum(1) + traces[:3] + traces[3] - 2 * crosses
    torch.testing.assert_close(metrics.frechet((means[:3], covariances[:3]), (means[3], covariances[3])), expected)


def test_score_at_its_extremes():
    assert metrics.score(torch.eye(10).repeat(30, 1)) == pytest.approx(10, rel=1e-4)  # sure, all classes
    assert metrics.score(torch.eye(10)[:1].repeat(30, 1)) == pytest.approx(1, rel=1e-4)  # sure, one class
    assert metrics.score(torch.full((30, 10), 0.1)) == pytest.approx(1, rel=1e-4)  # unsure
    assert metrics.score(torch.eye(10)[:5].repeat(30, 1)) == pytest.approx(5, rel=1e-4)
    twice = metrics.score(torch.eye(10)[[0, 1, 2]], weights=torch.tensor([1.0, 2, 0]))
    assert twice == pytest.approx(metrics.score(torch.eye(10)[[0, 1, 1]]))


def test_unsure_samples_are_no_zeros():
    sure, unsure = torch.eye(10), torch.full((5, 10), 0.1)
    figures = metrics.describe(torch.cat([sure[[3]].repeat(10, 1), sure[[0]].repeat(15, 1), unsure]))
    assert figures["histogram"] == [15, 0, 0, 10, 0, 0, 0, 0, 0, 0]
    assert figures["unsure"] == 5
    assert figures["confident_share"] == pytest.approx(25 / 30)


@pytest.mark.parametrize("metric", ["frechet distance", "score"])
def test_interval_is_as_wide_as_fresh_samples_scatter(metric):
    """95 of 100 distances of fresh sets lie within half the width of the interval, and it narrows with n."""
    torch.manual_seed(0)
    other = torch.zeros(6).double(), torch.eye(6).double()

    def draw(count):
        if metric == "score":
            return (2 * torch.randn(count, 10)).softmax(1)
        return torch.randn(count, 6) * torch.tensor([1, 2, 3, 0.5, 1, 1]) + torch.tensor([1.0, 0, 0, 0, 0, 2])

    def value(drawn):
        if metric == "score":
            return metrics.score(drawn)
        return metrics.frechet(metrics.gaussian(drawn), other).item()

    def half_width(count, seed):
        drawn = draw(count)
        if metric == "score":
            low, high = metrics.score_interval(drawn, seed=seed)
        else:
            low, high = metrics.frechet_interval(drawn, other, seed=seed)
        assert low < value(drawn) < high
        return (high - low) / 2

    scatter = 1.96 * torch.tensor([value(draw(1000)) for _ in range(200)]).std().item()
    widths = [half_width(1000, seed) for seed in range(5)]
    assert sum(widths) / 5 == pytest.approx(scatter, rel=0.2)
    assert half_width(16_000, 5) == pytest.approx(scatter / 4, rel=0.3)


def test_interval_is_not_fooled_by_drawing_with_replacement():
    """Near the floor all resampled distances lie above the distance itself; the interval lies around it."""
    torch.manual_seed(0)
    features, other = torch.randn(400, 20), (torch.zeros(20).double(), torch.eye(20).double())
    value = metrics.frechet(metrics.gaussian(features), other).item()
    drawn = [features[torch.randint(400, (400,))] for _ in range(50)]
    assert min(metrics.frechet(metrics.gaussian(of), other).item() for of in drawn) > value
    low, high = metrics.frechet_interval(features, other)
    assert low < value < high


def test_share_interval():
    assert metrics.share_interval(0.5, 10) == pytest.approx([0.2366, 0.7634], abs=1e-4)  # Wilson 1927
    assert metrics.share_interval(0.0, 10) == pytest.approx([0, 0.2775], abs=1e-4)


def test_nearest_is_the_nearest():
    torch.manual_seed(0)
    points, queries = torch.randn(700, 30).double(), torch.randn(300, 30).double()
    distances, picked = metrics.nearest(queries, points, k=3)
    expected, indices = torch.cdist(queries, points).topk(3, largest=False)
    torch.testing.assert_close(distances, expected)
    assert torch.equal(picked, indices)
    copies, picked = metrics.nearest(points[:50].float(), points.float())
    assert not copies.any()
    assert picked[:, 0].tolist() == list(range(50))


def test_precision_and_recall_by_hand():
    """On a line: digits 0 1 2 3 have radius 1 for k = 1; of the samples .5 10 11 12 the first has 9.5, the others 1."""
    digits = metrics.manifold(torch.tensor([[0.0], [1], [2], [3]]), k=1)
    samples = metrics.manifold(torch.tensor([[0.5], [10], [11], [12]]), k=1)
    assert digits[1].tolist() == [1, 1, 1, 1]
    assert samples[1].tolist() == [9.5, 1, 1, 1]
    assert metrics.precision_recall(samples, digits) == (0.25, 1)
    assert metrics.precision_recall(digits, samples) == (1, 0.25)


def test_precision_and_recall_at_their_extremes():
    torch.manual_seed(0)
    one, other = (metrics.manifold(torch.randn(1000, 16)) for _ in range(2))
    far = metrics.manifold(torch.randn(1000, 16) + 100)
    assert metrics.precision_recall(one, one) == (1, 1)
    assert metrics.precision_recall(far, one) == (0, 0)
    assert min(metrics.precision_recall(one, other)) > 0.75
    narrow = metrics.manifold(other[0] / 10)  # in the middle of the digits, and nowhere else
    precision, recall = metrics.precision_recall(narrow, one)
    assert precision > 0.99
    assert recall < 0.01


@pytest.fixture(scope="module")
def seen():
    """A classifier, and stand-in digits as it sees them, {which: (images, labels, features, probabilities)}."""
    classifier, _ = load_classifier(utils.RESULTS / "classifier.pt", "cpu")
    images, labels = dataset.typeset(6000)
    images = dataset.scale(images)
    everything = images, labels, *metrics.look(classifier, images)
    return classifier, {"train": [of[:3000] for of in everything], "test": [of[3000:] for of in everything]}


def test_real_digits_noise_and_a_collapsed_generator(seen):
    """What every figure says of the extremes, with digits of the training set as the best that samples can be."""
    classifier, found = seen
    images, labels, train_features, train_probabilities = found["train"]
    _, _, features, probabilities = found["test"]
    reference = metrics.reference(features, probabilities, train_features)
    known, digits = (reference["mean"], reference["covariance"]), metrics.manifold(features)
    torch.manual_seed(0)
    noise, _ = metrics.look(classifier, torch.rand(3000, 784) * 2 - 1)
    threes = labels == 3

    real = metrics.frechet(metrics.gaussian(train_features), known).item()
    assert real == reference["floor"]
    assert metrics.frechet(metrics.gaussian(noise), known).item() > 20 * real
    assert metrics.frechet(metrics.gaussian(train_features[threes]), known).item() > 20 * real

    assert min(metrics.precision_recall(metrics.manifold(train_features), digits)) > 0.75
    precision, recall = metrics.precision_recall(metrics.manifold(noise), digits)
    assert precision < 0.25
    assert recall < 0.01
    precision, recall = metrics.precision_recall(metrics.manifold(train_features[threes]), digits)
    assert precision > 0.75
    assert recall < 0.2

    collapsed = metrics.describe(train_probabilities[threes])
    assert collapsed["histogram"][3] > 0.9 * sum(collapsed["histogram"])
    assert collapsed["score"] < 3 < metrics.describe(train_probabilities)["score"]


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_copies_of_training_digits_are_found_out(seen, space):
    """Copies with a little noise are; fresh digits are not, nor ones alone, which lie closer together than others."""
    classifier, found = seen
    column = {"pixels": 0, "features": 2}[space]
    train, test = found["train"], found["test"]
    torch.manual_seed(0)
    copies = train[0][:500] + 0.01 * torch.randn(500, 784)
    samples = {
        "copies": (copies, None, *metrics.look(classifier, copies)),
        "fresh": [of[1000:] for of in test],
        "ones": [of[1000:][test[1][1000:] == 1] for of in test],
    }
    digits = test[column][:1000]
    test_distances, test_read = metrics.nearest(digits, train[column])[0][:, 0], test[3][:1000].argmax(1)
    numbers = {}
    for name, of in samples.items():
        distances = metrics.nearest(of[column], train[column])[0][:, 0]
        numbers[name] = metrics.memorised(distances, of[3].argmax(1), test_distances, test_read)
    assert numbers["copies"]["median_ratio"] < 0.1
    assert numbers["copies"]["closer_share"] > 0.95
    for name in "fresh", "ones":
        assert numbers[name]["median_ratio"] == pytest.approx(1, abs=0.15)
        assert numbers[name]["closer_share"] < 0.06


def test_quality_leaves_training_as_it_was(seen):
    """It takes no random number of torch's own, keeps the generator's mode and statistics, and repeats itself."""
    classifier, found = seen
    generator, (features, probabilities) = Generator().train(), found["test"][2:]
    reference, digits = metrics.reference(features, probabilities), metrics.manifold(features[:500])
    state, weights = torch.get_rng_state(), [of.clone() for of in generator.state_dict().values()]
    first = metrics.quality(generator, classifier, reference, digits, samples=500, seed=1)
    assert generator.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, generator.state_dict().values(), weights))
    assert first == metrics.quality(generator, classifier, reference, digits, samples=500, seed=1)
    assert first != metrics.quality(generator, classifier, reference, digits, samples=500, seed=2)
    assert {*first} == {"frechet_distance", "score", "confident_share", "precision", "recall"}
