"""Metrics against closed forms and at their extremes (digits, noise, one digit only, copies); evaluate.py itself."""

import json

import pytest
import torch
from conftest import TYPESET

import dataset
import evaluate
import metrics
import train
import utils
from classifier import load_classifier
from gan import DISCRIMINATORS, Discriminator, Generator


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


@pytest.fixture(scope="module")
def digits():
    """A classifier and typeset digits, {"train" or "test": (images, labels, features, probabilities)}."""
    classifier, _ = load_classifier(utils.RESULTS / "classifier.pt", "cpu")
    images, labels = dataset.load(train.parse_args([*TYPESET, "--limit", "6000"]))
    images = dataset.scale(images)
    everything = images, labels, *metrics.outputs(classifier, images)
    return classifier, {"train": [of[:3000] for of in everything], "test": [of[3000:] for of in everything]}


def test_real_digits_noise_and_a_collapsed_generator(digits):
    """What every figure says of the extremes, with digits of the training set as the best that samples can be."""
    classifier, found = digits
    images, labels, train_features, train_probabilities = found["train"]
    _, _, features, probabilities = found["test"]
    reference = metrics.reference(features, probabilities, train_features)
    known, manifold = (reference["mean"], reference["covariance"]), metrics.manifold(features)
    torch.manual_seed(0)
    noise, _ = metrics.outputs(classifier, torch.rand(3000, 784) * 2 - 1)
    threes = labels == 3

    real = metrics.frechet(metrics.gaussian(train_features), known).item()
    assert real == reference["floor"]
    assert metrics.frechet(metrics.gaussian(noise), known).item() > 20 * real
    assert metrics.frechet(metrics.gaussian(train_features[threes]), known).item() > 20 * real

    assert min(metrics.precision_recall(metrics.manifold(train_features), manifold)) > 0.75
    precision, recall = metrics.precision_recall(metrics.manifold(noise), manifold)
    assert precision < 0.6  # noise has no digit's features, but a CNN gives it some of them
    assert recall < 0.01
    precision, recall = metrics.precision_recall(metrics.manifold(train_features[threes]), manifold)
    assert precision > 0.75
    assert recall < 0.2

    collapsed = metrics.describe(train_probabilities[threes])
    assert collapsed["histogram"][3] > 0.9 * sum(collapsed["histogram"])
    assert collapsed["score"] < 3 < metrics.describe(train_probabilities)["score"]


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_copies_of_training_digits_are_found_out(digits, space):
    """Copies with a little noise are; fresh digits are not, nor ones alone, which lie closer together than others."""
    classifier, found = digits
    column = {"pixels": 0, "features": 2}[space]
    train, test = found["train"], found["test"]
    torch.manual_seed(0)
    copies = train[0][:500] + 0.01 * torch.randn(500, 784)
    samples = {
        "copies": (copies, None, *metrics.outputs(classifier, copies)),
        "fresh": [of[1000:] for of in test],
        "ones": [of[1000:][test[1][1000:] == 1] for of in test],
    }
    test_distances, test_classes = (
        metrics.nearest(test[column][:1000], train[column])[0][:, 0],
        test[3][:1000].argmax(1),
    )
    numbers = {}
    for name, of in samples.items():
        distances = metrics.nearest(of[column], train[column])[0][:, 0]
        numbers[name] = metrics.memorised(distances, of[3].argmax(1), test_distances, test_classes)
    assert numbers["copies"]["median_ratio"] < 0.1
    assert numbers["copies"]["closer_share"] > 0.95
    for name in "fresh", "ones":
        assert numbers[name]["median_ratio"] == pytest.approx(1, abs=0.15)
        assert numbers[name]["closer_share"] < 0.06


def test_quality_leaves_training_as_it_was(digits):
    """It takes no random number of torch's own, keeps the generator's mode and statistics, and repeats itself."""
    classifier, found = digits
    generator, (features, probabilities) = Generator().train(), found["test"][2:]
    reference, manifold = metrics.reference(features, probabilities), metrics.manifold(features[:500])
    state, weights = torch.get_rng_state(), [of.clone() for of in generator.state_dict().values()]
    first = metrics.quality(generator, classifier, reference, manifold, samples=500, seed=1)
    assert generator.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, generator.state_dict().values(), weights))
    assert first == metrics.quality(generator, classifier, reference, manifold, samples=500, seed=1)
    assert first != metrics.quality(generator, classifier, reference, manifold, samples=500, seed=2)
    assert {*first} == {"frechet_distance", "score", "confident_share", "precision", "recall"}


def test_gradients_of_the_generator_leave_training_as_it_was():
    """Dropout draws its masks, yet the random states, the networks and BatchNorm's statistics stay."""
    pair = Generator().train(), Discriminator(**DISCRIMINATORS["balanced"]).train()
    state, weights = torch.get_rng_state(), [of.clone() for net in pair for of in net.state_dict().values()]
    first = metrics.generator_gradients(pair, batch_size=16, seed=1, batches=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, (of for net in pair for of in net.state_dict().values()), weights))
    assert first == metrics.generator_gradients(pair, batch_size=16, seed=1, batches=4)
    assert {*first} == {"non-saturating", "minimax"}
    assert all(0 < numbers["coherence"] <= 1 and numbers["norm"] > 0 for numbers in first.values())


def options_of(folder, trained, *options):
    networks = ["--checkpoint", str(trained / "generator.pt"), "--classifier", str(trained / "classifier.pt")]
    small = [*TYPESET, "--samples", "500", "--limit", "2000"]
    return [*small, *networks, "--out-dir", str(folder), "--figures-dir", str(folder), *options]


def test_evaluate_tells_digits_from_samples(trained, tmp_path, capsys):
    """Training digits are near the floor by construction; a generator of two epochs is far above it."""
    (tmp_path / "evaluate.json").write_text("{")
    with pytest.raises(utils.InputError, match="evaluate.json"):  # before anything is measured
        evaluate.main(options_of(tmp_path, trained))
    (tmp_path / "evaluate.json").write_text('{"other": 1}')
    evaluate.main(options_of(tmp_path, trained))
    entries = json.loads((tmp_path / "evaluate.json").read_text())
    assert entries["other"] == 1
    entry = entries["generator"]
    assert sum(entry["histogram"]) + entry["unsure"] == entry["samples"] == 500
    low, high = entry["frechet_distance_interval"]
    assert 3 * entry["floor"] < low < entry["frechet_distance"] < high
    assert entry["test_digits"]["score"] > entry["score"]
    assert entry["precision_recall"]["training_digits"]["recall"] > entry["precision_recall"]["samples"]["recall"]
    assert entry["neighbours"]["pixels"]["closer_share"] < 0.1
    assert entry["discriminator"] is None
    assert "the checkpoint holds none" in capsys.readouterr().out
    assert (tmp_path / "nearest_neighbours.png").read_bytes().startswith(b"\x89PNG")


def missing(*args, **kwargs):
    raise dataset.Missing("MNIST is not there")


def test_evaluate_without_digits(trained, tmp_path, monkeypatch, capsys):
    """What the classifier's checkpoint knows of the test digits gives the same numbers as the digits themselves."""
    whole = utils.load_checkpoint(trained / "classifier.pt", "classifier")
    bare = {name: whole[name] for name in whole if name != "reference"}
    utils.save_checkpoint(tmp_path / "classifier.pt", bare)
    options = options_of(tmp_path, trained, "--checkpoint", str(trained / "run" / "checkpoint.pt"))
    options += ["--classifier", str(tmp_path / "classifier.pt")]

    evaluate.main([*options, "--name", "digits"])
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "load", missing)
        with pytest.raises(utils.InputError, match=r"MNIST is not there.*holds no measured test digits"):
            evaluate.main(options)
    classifier, _ = load_classifier(trained / "classifier.pt", "cpu")
    args = train.parse_args([*TYPESET, "--limit", "2000"])
    test, train_digits = (dataset.scale(dataset.load(args, train=which)[0]) for which in (False, True))
    reference = metrics.reference(*metrics.outputs(classifier, test), metrics.outputs(classifier, train_digits)[0])
    utils.save_checkpoint(tmp_path / "classifier.pt", bare | {"reference": reference})
    monkeypatch.setattr(dataset, "load", missing)
    capsys.readouterr()
    evaluate.main([*options, "--name", "no digits"])
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert "D: not measured" in output.out

    known, unknown = json.loads((tmp_path / "evaluate.json").read_text()).values()
    for number in "frechet_distance", "frechet_distance_interval", "score", "floor":
        assert unknown[number] == pytest.approx(known[number], rel=1e-4), number
    assert unknown["histogram"] == known["histogram"]
    assert [unknown[what] for what in ("precision_recall", "neighbours", "discriminator")] == [None, None, None]
    assert all(0 <= accuracy <= 1 for accuracy in known["discriminator"].values())
    evaluate.main([*options, "--name", "digits"])
    assert json.loads((tmp_path / "evaluate.json").read_text())["digits"] == known  # measured with more, it stays


def test_accuracy_of_the_discriminator(trained, tmp_path):
    """One that calls everything real is right about all digits and no sample; it is measured in eval mode."""
    path = trained / "run" / "checkpoint.pt"
    checkpoint = utils.load_checkpoint(path, "gan")
    config, images = (
        checkpoint["config"],
        {"digits": (torch.rand(200, 784), True), "samples": (torch.rand(200, 784), False)},
    )
    found = evaluate.discriminator_accuracy(path, config, images)
    assert found == evaluate.discriminator_accuracy(path, config, images)
    for weights in checkpoint["discriminator"].values():
        weights.zero_()
    *_, last_bias = checkpoint["discriminator"].values()
    last_bias.fill_(1)
    utils.save_checkpoint(tmp_path / "checkpoint.pt", checkpoint)
    assert evaluate.discriminator_accuracy(tmp_path / "checkpoint.pt", config, images) == {"digits": 1, "samples": 0}
