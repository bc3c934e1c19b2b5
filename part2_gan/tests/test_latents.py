"""Classifiers, latents of a digit, paths, and figures 6 to 8."""

import json
import math

import pytest
import torch
from conftest import TYPESET

import arithmetic
import classifier as classifiers
import dataset
import interpolate
import latents
import utils
from gan import Generator, sample


@pytest.fixture(scope="module")
def networks(trained):
    """The small generator and its classifier."""
    generator, _ = latents.load_generator(trained / "generator.pt", "cpu")
    return generator, classifiers.load_classifier(trained / "classifier.pt", "cpu")[0]


def strip_options(folder, trained):
    options = [*TYPESET, "--confidence", "0", "--out-dir", folder, "--figures-dir", folder]
    options += ["--checkpoint", trained / "generator.pt", "--classifier", trained / "classifier.pt"]
    return [str(word) for word in options]


def test_accuracy_is_that_of_the_saved_classifier(trained, networks):
    result = utils.load_json(trained / "classifier.json", "test_accuracy", "config")
    assert result["test_accuracy"] > 0.85
    images, labels = dataset.typeset.digits(3000, train=False)
    digits, confidences = latents.classify(networks[1], dataset.scale(images))
    assert (digits == labels).float().mean().item() == pytest.approx(result["test_accuracy"], abs=1e-3)
    assert 0.1 <= confidences.min() <= confidences.max() <= 1


def test_mlp_is_saved_beside_the_cnn(tmp_path):
    classifiers.main([*TYPESET, "--kind", "mlp", "--limit", "3000", "--epochs", "3", "--out-dir", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier_mlp.json", "classifier_mlp.pt"]
    classifier, result = classifiers.load_classifier(tmp_path / "classifier_mlp.pt", "cpu")
    assert isinstance(classifier, classifiers.MLP)
    assert result["test_accuracy"] > 0.7
    assert (tmp_path / "classifier_mlp.pt").stat().st_size < 1e6


def test_classifier_that_diverged_is_not_saved(tmp_path):
    options = [*TYPESET, "--limit", "300", "--epochs", "1", "--lr", "1e30", "--out-dir", str(tmp_path)]
    with pytest.raises(FloatingPointError, match="nothing was saved"):
        classifiers.main(options)
    assert not list(tmp_path.iterdir())


def test_damaged_networks_are_named(trained, tmp_path):
    whole = (trained / "generator.pt").read_bytes()
    odd = {"kind": "gan", "epoch": 1, "config": {"bn_eps": 1e-5}, "generator": {"layers": 3}}
    utils.save_checkpoint(tmp_path / "odd.pt", odd)
    utils.save_checkpoint(tmp_path / "odd_classifier.pt", {"kind": "classifier", "network": "svm"})
    for name, content in {"cut.pt": whole[:1000], "empty.pt": b"", "text.pt": b"not a checkpoint"}.items():
        (tmp_path / name).write_bytes(content)
    for name in "cut.pt", "empty.pt", "text.pt", "odd.pt", "nowhere.pt":
        with pytest.raises(utils.InputError, match=name):
            latents.load_generator(tmp_path / name, "cpu")
    with pytest.raises(utils.InputError, match="odd_classifier.pt"):
        classifiers.load_classifier(tmp_path / "odd_classifier.pt", "cpu")
    with pytest.raises(utils.InputError, match="'gan' is needed, this file holds 'classifier'"):
        latents.load_generator(trained / "classifier.pt", "cpu")


def test_latents_are_the_first_of_their_class_in_the_order_of_the_seed(networks):
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(3))
    digits, confidences = latents.classify(networks[1], sample(networks[0], z))
    wanted = digits.bincount().argmax().item()
    expected = z[(digits == wanted) & (confidences >= 0.3)][:2]
    found = latents.find_latents(*networks, [wanted], seed=3, count=2, confidence=0.3)
    torch.testing.assert_close(found[wanted], expected)


def test_a_digit_that_is_never_drawn_is_an_error_and_not_another_digit():
    fours = classifiers.CNN().eval()
    torch.nn.init.zeros_(fours.out.weight)
    fours.out.bias.data = 20 * torch.eye(10)[4]
    with pytest.raises(utils.InputError, match="classified as 0 with confidence"):
        latents.find_latents(Generator().eval(), fours, [4, 0], seed=0, tries=4000)


def test_slerp_stays_on_the_sphere_and_meets_its_ends():
    start, end = latents.on_sphere(torch.randn(2, 50, 100, generator=torch.Generator().manual_seed(0)))
    path = latents.slerp(start, end, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path.norm(dim=2), torch.full((50, 5), 10.0))
    torch.testing.assert_close(path[:, 0], start)
    torch.testing.assert_close(path[:, -1], end)
    middle = latents.line(start, end, torch.tensor([0.5]))[:, 0]
    torch.testing.assert_close(torch.cosine_similarity(path[:, 2], middle), torch.ones(50))
    assert (middle.norm(dim=1) < 9).all()


def test_slerp_of_a_right_angle_and_of_none():
    x, y = torch.eye(2)
    third = latents.slerp(x[None], y[None], torch.tensor([1 / 3]))[0, 0]
    torch.testing.assert_close(third, torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]))
    for end in 3 * x, -x, x:
        path = latents.slerp(x[None], end[None], torch.tensor([0.25]))[0, 0]
        torch.testing.assert_close(path, 0.75 * x + 0.25 * end)


def test_figure_6_goes_from_digit_to_digit(trained, networks, tmp_path):
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(0))
    counts = latents.classify(networks[1], sample(networks[0], z))[0].bincount(minlength=10)
    first, second = counts.topk(2).indices.tolist()
    pairs = [f"{first}-{second}", f"{first}-{first}"]
    interpolate.main(["--pairs", *pairs, "--examples", "2", *strip_options(tmp_path, trained)])
    assert (tmp_path / "fig6_interpolation.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "interpolate.json").read_text())["pairs"]
    for name, ends in (f"{first} to {second}", [first, second]), (f"{first} to {first}", [first, first]):
        assert len(result[name]) == 2
        for strip in result[name]:
            assert [strip[0]["digit"], strip[-1]["digit"]] == ends
            assert [found["alpha"] for found in strip] == pytest.approx([i / 9 for i in range(10)])
    assert result[f"{first} to {first}"][0][5]["confidence"] != result[f"{first} to {first}"][1][5]["confidence"]


def test_equations_8_and_9(trained, tmp_path, monkeypatch):
    """The strips start where equations (8) and (9) say; every latent is handed in, none is searched."""
    z = {digit: torch.full((1, 100), float(digit)) for digit in (1, 6, 7)}
    starts = []

    def strip(generator, classifier, start, end, steps):
        starts.append((start[0].item(), end[0].item()))
        return torch.zeros(steps, 784), [{"alpha": 0.0, "digit": 0, "confidence": 1.0}] * steps

    monkeypatch.setattr(latents, "find_latents", lambda *args, **kwargs: z)
    monkeypatch.setattr(latents, "strip", strip)
    arithmetic.main(["--examples", "1", *strip_options(tmp_path, trained)])
    assert starts == [(7 - 1, 6), (pytest.approx(6 + 1.2 * (7 - 1)), 6)]
