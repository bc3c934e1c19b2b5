"""Loading networks, latents of a digit, paths, strips in a planted world, and figures 6 to 8."""

import pytest
import torch
from conftest import TYPESET

import arithmetic
import classifier as classifiers
import files
import interpolate
import latents
import strips
from gan import sample


class World(torch.nn.Module):
    """A generator whose images are its latents, the first 100 pixels."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, z):
        return torch.nn.functional.pad(z * self.scale, (0, 684))


class Rounding(torch.nn.Module):
    """Classifies as round(z_0), below 0 and above 9 as 0; it is sure, but not where z_1 is 1."""

    def features(self, images):
        return images[:, :2]

    def out(self, features):
        digit = features[:, 0].round().clamp(-1, 10).long() % 11 % 10
        return torch.nn.functional.one_hot(digit, 10) * torch.where(features[:, 1:] > 0.4, 1.0, 50.0)


def at(*digits, unsure=0):
    """Latents of the planted world that have these digits."""
    z = torch.zeros(len(digits), 100)
    z[:, 0], z[:, 1] = torch.tensor(digits), torch.tensor(unsure)
    return z


def test_latents_are_the_first_sure_ones_of_their_digit_in_the_order_of_the_seed():
    """In the planted world; of a digit that is not drawn, or too seldom, there are none."""
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(3))
    groups = latents.find_latents(World(), Rounding(), (1, 2), seed=3, count=20)
    for digit in 1, 2:
        assert torch.equal(groups[digit], z[(z[:, 0].round() == digit) & (z[:, 1] <= 0.4)][:20])
    for digits, least, said in ((1, 9), 20, "classified as 9 with"), ((1, 2), 2000, "classified as 1, 2 with"):
        with pytest.raises(files.InputError, match=said):
            latents.find_latents(World(), Rounding(), digits, seed=0, count=10**6, least=least, tries=4000)


def options_of(folder, trained, *options):
    networks = ["--checkpoint", trained / "generator.pt", "--classifier", trained / "classifier.pt"]
    strip = ["--confidence", "0", "--examples", "2", "--steps", "5"]
    return [str(option) for option in (*TYPESET, *networks, *strip, "--out-dir", folder, *options)]


def test_figure_6_of_a_trained_generator(trained, tmp_path):
    """From the digit that it draws most to itself: each end has a latent of its own."""
    generator, _ = latents.load_generator(trained / "generator.pt", "cpu")
    classifier, _ = classifiers.load_classifier(trained / "classifier.pt", "cpu")
    often = latents.classify(classifier, sample(generator, torch.randn(500, 100)))[0].mode().values.item()
    interpolate.main(options_of(tmp_path, trained, "--pairs", f"{often}-{often}"))
    assert (tmp_path / "fig6_interpolation.png").read_bytes().startswith(b"\x89PNG")
    for strip in files.load(tmp_path / "interpolate.json", "torch")["strips"][f"{often}-{often}"]["by_seed"]:
        assert (strip["digits"][0], strip["digits"][-1], len(strip["confidences"])) == (often, often, 5)
        assert strip["confidences"][0] != strip["confidences"][-1]


def planted(monkeypatch, z):
    """Let the scripts find these latents, {digit: (n, 100)}, in the planted world; what they draw is listed as well."""
    drawn, draw = [], strips.draw
    monkeypatch.setattr(latents, "load_networks", lambda args: (World(), Rounding(), {}, "a planted world"))
    monkeypatch.setattr(latents, "find_latents", lambda *_, **__: z)
    monkeypatch.setattr(strips, "draw", lambda groups, *rest: drawn.append(groups) or draw(groups, *rest))
    return drawn


def test_figure_6_picks_the_first_path_that_passes_a_1_alone(tmp_path, monkeypatch, trained):
    """Two do; of one the 1 is unsure; one ends in its only 1; two go to 4, where 2 and 3 lie as well."""
    cases = [([2, 1.8], [0, 0], 2, 1, [0, 0, 1, 2, 2]), ([2, 1.8], [1, 0], 1, 2, [0, 0, 1, 1, 2])]
    cases += [([0.6, 1.8], [0, 0], 1, 2, [0, 0, 1, 1, 2]), ([4, 4], [0, 0], 0, None, None)]
    for ends, unsure, fitting, number, digits in cases:
        planted(monkeypatch, {0: at(0, 0), 2: at(*ends, unsure=unsure)})
        interpolate.main(options_of(tmp_path, trained, "--pairs", "0-2"))
        group = files.load(tmp_path / "interpolate.json")["strips"]["0-2"]
        picked = group["picked"] or {"number": None, "digits": None}
        assert (group["tried"], group["fitting"], len(group["by_seed"])) == (2, fitting, 2)
        assert (picked["number"], picked["digits"]) == (number, digits)


def test_figures_7_and_8_by_equations_8_and_9(tmp_path, monkeypatch, trained):
    """z_7 - z_1 lies at 6, in the second strip at 7; the hybrids, 6 + 1.2 of that, at 13.2 and 14.4: no digits."""
    drawn = planted(monkeypatch, {7: at(7, 8.4), 1: at(1, 1.4), 6: at(6, 6)})
    arithmetic.main(options_of(tmp_path, trained))
    (roof,), (hybrid,) = drawn
    images = [strip["images"][:, 0] for strip in roof["by_seed"] + hybrid["by_seed"]]
    assert [strip[0].item() for strip in images] == pytest.approx([6, 7, 13.2, 14.4])
    assert [strip[-1].item() for strip in images] == pytest.approx([6] * 4)
    assert (roof["fitting"], roof["picked"]["number"]) == (1, 2)
    assert [strip["digits"] for strip in hybrid["by_seed"]] == [[0, 0, 0, 8, 6]] * 2
    assert (hybrid["fitting"], hybrid["picked"]) == (0, None)
    shown = {name: image[0].item() for name, image in hybrid["by_seed"][0]["shown"].items()}
    assert shown == {"$z_7$": 7, "$z_1$": 1, "$z_6$": 6}
    for name in "fig7_roof_to_6.png", "fig8_hybrid_to_6.png":
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
