"""Rates in the latent space: planted networks whose every class is known, and the scripts end to end."""

import json

import pytest
import torch

import latents
import metrics
import utils
from classifier import CNN
from gan import Generator, sample
from studies import arithmetic_rates, directions, interpolation_rates, rates


class Planted(torch.nn.Module):
    """G of a world whose images are their latents: the first 100 pixels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, z):
        return torch.nn.functional.pad(z * self.scale, (0, 684))


class Rounding(torch.nn.Module):
    """Classifies as round(z_0), below 0 and above 9 as 0; z_1 = 1 makes it unsure. Its features are z_0 and z_1."""

    suffix, title = "", "a planted classifier"

    def features(self, images):
        return images[:, :2]

    def out(self, features):
        digit = features[:, 0].round()
        digit = digit.where((digit >= 0) & (digit <= 9), 0).long()
        return torch.nn.functional.one_hot(digit, 10) * torch.where(features[:, 1:] > 0.4, 1.0, 50.0)

    def forward(self, images):
        return self.out(self.features(images))


def line_of_digits(count=40):
    """Groups in which every latent of digit d is d times the first unit vector."""
    return {digit: torch.eye(100)[:1].repeat(count, 1) * digit for digit in range(10)}


def test_wilson_against_published_intervals():
    """Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3."""
    for count, total, low, high in (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718):
        assert metrics.wilson(count, total) == pytest.approx((low, high), abs=5e-5)
        assert metrics.wilson(total - count, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert metrics.wilson(0, 20) == (0, pytest.approx(0.1611, abs=5e-5))
    assert metrics.wilson(20, 20)[1] == 1
    assert metrics.wilson(0, 0) == (0, 1)


def test_deal_uses_every_latent_equally_often():
    pool = torch.arange(5.0).reshape(5, 1)
    dealt = rates.deal(pool, 15, torch.Generator().manual_seed(0)).flatten()
    assert dealt.long().bincount().tolist() == [3] * 5
    assert rates.deal(pool, 7, torch.Generator().manual_seed(1), mean_of=5).flatten().tolist() == [2.0] * 7


def test_groups_hold_their_class_and_a_missing_digit_is_an_error():
    groups = latents.group_latents(Planted(), Rounding(), [0, 1, 2], seed=3, confidence=0.9, tries=4000)
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(3))
    first = z[(z[:, 0].round() == 1) & (z[:, 1] <= 0.4)]
    torch.testing.assert_close(groups[1][: len(first)], first)
    assert len(groups[9]) == 0
    with pytest.raises(utils.InputError, match="classified as 9 with"):
        latents.group_latents(Planted(), Rounding(), [1, 9], seed=3, confidence=0.9, tries=4000)


def test_interpolation_rates_of_a_known_world():
    """From 7 to 6 past 1, from end to end: here as -1, 0, 1, and in 3 of 10 cases the middle is no sure 1."""

    class Thirds(Rounding):
        def out(self, features):
            digits = torch.tensor([7, 1, 6])[(features[:, 0] / 0.6).round().clamp(-1, 1).long() + 1]
            return torch.nn.functional.one_hot(digits, 10) * torch.where(features[:, 1:] > 0.4, 3.0, 50.0)

        def features(self, images):
            return torch.cat([images[:, :1], images[:, 1:2].clamp(max=0.5)], 1)

    groups = {digit: torch.zeros(0, 100) for digit in range(10)}
    groups[7], groups[6] = -torch.eye(100)[:1].repeat(10, 1), torch.eye(100)[:1].repeat(10, 1)
    groups[7][:3, 1] = 1.0  # falls along the path, 0.5 in the middle
    raw = interpolation_rates.measure(Planted(), Thirds(), groups, torch.Generator().manual_seed(0), 10, None)
    summary = interpolation_rates.summarise(raw)
    for path in "line", "fade":
        assert (summary[path]["middle_is_1"]["count"], summary[path]["middle_is_confidently_1"]["count"]) == (10, 7)
        assert summary[path]["passes_digit"]["count"] == [0, 10, 0, 0, 0, 0, 10, 10, 0, 0]
        assert summary[path]["along"]["classified"][0] == [0, 0, 0, 0, 0, 0, 0, 10, 0, 0]
        assert summary[path]["along"]["confident"][10] == [0, 7, 0, 0, 0, 0, 0, 0, 0, 0]
        # Seven paths are straight, with 20 equal steps.
        assert summary[path]["length_over_distance"][:2] == pytest.approx([1, 1], abs=1e-5)
        assert summary[path]["largest_step"][:2] == pytest.approx([0.05, 0.05], abs=1e-5)
    assert "real" not in summary
    pairs = summary["middles_line"]["pairs"]
    assert [ends for ends, of in zip(pairs["ends"], pairs["of"], strict=True) if of] == [(6, 6), (6, 7), (7, 7)]
    assert pairs["classified"][pairs["ends"].index((6, 7))][1] == 2  # a fifth of the pairs, and all of them are 1
    assert summary["middles_line"]["is_third_digit"]["rate"] == 1
    assert summary["middles_line"]["is_1_between_others"]["rate"] is None


def test_arithmetic_rates_of_a_known_world():
    """6 + s (7 - 1) is 6 + 6 s: a 9 at s = 1/2 and at no other strength; on the sphere everything is 10, a 0."""
    raw = arithmetic_rates.measure(Planted(), Rounding(), line_of_digits(), torch.Generator().manual_seed(0), 40)
    summary = arithmetic_rates.summarise(raw)
    expected = [1.0 if strength == 0.5 else 0.0 for strength in arithmetic_rates.STRENGTHS]
    for kind, (_, _, sphere) in arithmetic_rates.SUMS.items():
        assert summary[kind]["roof"]["is_9"]["rate"] == ([0.0] * 22 if sphere else expected), kind
        assert summary[kind]["roof"]["is_confidently_9"] == summary[kind]["roof"]["is_9"]
        assert summary[kind]["median_norms"] == {"z_6": 6, "z_roof": 6, "sum": 12}
        assert summary[kind]["written"]["along"]["classified"] == [[40] + [0] * 9]  # 1.8 x 6 + 0.96 x 6 is above 9
        assert summary[kind]["random"]["along"]["classified"][0][0 if sphere else 6] == 10
    expected_at_once = [0, 0, 0, 0, 0, 0, 40, 0, 0, 0]
    assert summary["one"]["roof"]["along"]["classified"][0] == expected_at_once


def test_other_differences_leave_out_nine_and_the_roof():
    groups = {digit: torch.tensor([[float(digit), 2.0**digit]]) for digit in range(10)}
    groups[4] = groups[4][:0]
    found = arithmetic_rates.other_differences(groups, 4000, torch.Generator().manual_seed(0), 1)
    digits = [0, 1, 2, 3, 5, 6, 7, 8]
    wanted = {(a - b, 2.0**a - 2.0**b) for a in digits for b in digits if a != b and (a, b) != (7, 1)}
    assert {tuple(row) for row in found.tolist()} == wanted


def test_random_directions_are_as_long_and_point_elsewhere():
    vectors = torch.randn(300, 100, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 301).unsqueeze(1)
    random = arithmetic_rates.random_like(vectors, torch.Generator().manual_seed(1))
    torch.testing.assert_close(random.norm(dim=1), vectors.norm(dim=1))
    assert torch.cosine_similarity(random, vectors).abs().max() < 0.5


def test_directions_in_a_known_world():
    """The roof adds 6, m_6 - m_7 takes 1 away; there is no 5."""
    groups = line_of_digits()
    groups[5] = groups[5][:0]
    raw = directions.measure(Planted(), Rounding(), groups, torch.Generator().manual_seed(0), 10)
    summary = directions.summarise(raw)
    after = summary["roof_on_every_digit"]["one"]["after"]
    for digit in (0, 1, 2, 3, 4, 6, 7, 8, 9):
        assert after["classified"][digit][digit + 6 if digit < 4 else 0] == 10
        for shift, counts in zip(directions.SHIFTS, summary["shift"]["classified"][digit], strict=True):
            if shift == int(shift):
                assert counts[max(0, digit - shift)] == 10
    assert (after["of"][5], sum(after["classified"][5]), summary["class_means"]["norms"][5]) == (0, 0, None)
    means = summary["class_means"]
    assert means["norms"][7] == means["norms_less_noise"][7] == 7
    assert (means["norm of m_6 - m_7"], means["norm of m_7 - m_1"]) == (1, 6)
    assert means["cosine of these two"] == pytest.approx(-1)
    assert directions.headlines(summary)["7 + m_6 - m_7: is a 6"] == 1


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Two untrained generators, mirror images, and a classifier that tells their images apart into all ten digits."""
    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(0)
    model, generator = CNN().eval(), Generator().eval()
    with torch.no_grad():
        logits = model(sample(generator, torch.randn(1000, 100)))
        model.out.weight /= logits.std(0).unsqueeze(1)
        model.out.bias.copy_((model.out.bias - logits.mean(0)) / logits.std(0))
    for number in 0, 1:
        generator.layers[0].weight.data *= -1  # the second draws of -z what the first draws of z
        config = {"arch": "initial", "bn_eps": 1e-5, "seed": number, "epochs": 0, "dataset": "typeset"}
        state = {"kind": "gan", "config": config, "epoch": 0, "generator": generator.state_dict()}
        (folder / f"run{number}").mkdir()
        utils.save_checkpoint(folder / f"run{number}" / "checkpoint.pt", state)
    result = {"dataset": "typeset", "test_accuracy": 0.1}
    utils.save_checkpoint(
        folder / "classifier.pt", {"kind": "classifier", "model": model.state_dict(), "result": result}
    )
    return folder


def run(study, options, untrained, folder, seed=0, generators=2):
    """Run a study on both generators, or one; returns its JSON file."""
    checkpoints = [str(untrained / f"run{number}" / "checkpoint.pt") for number in range(generators)]
    words = ["--checkpoints", *checkpoints, "--classifier", str(untrained / "classifier.pt"), "--seed", str(seed)]
    words += ["--dataset", "typeset", "--confidence", "0", "--tries", "2000", *options]
    study.main([*words, "--out-dir", str(folder), "--figures-dir", str(folder / "figures")])
    return json.loads((folder / f"{study.__name__.split('.')[-1]}.json").read_text())


def test_studies_end_to_end(untrained, tmp_path, capsys):
    studies = {
        "interpolation": run(interpolation_rates, ["--pairs", "20", "--limit", "1000"], untrained, tmp_path),
        "arithmetic": run(arithmetic_rates, ["--triples", "20"], untrained, tmp_path),
        "directions": run(directions, ["--latents", "10"], untrained, tmp_path),
    }
    for result in studies.values():
        assert [entry["config"]["seed"] for entry in result["generators"]] == [0, 1]
        assert [entry["checkpoint"] for entry in result["generators"]] == ["run0/checkpoint.pt", "run1/checkpoint.pt"]
        assert [sum(entry["latents"]) for entry in result["generators"]] == [2000, 2000]
        for what, values in result["ranges"].items():
            assert values["min"] <= values["pooled"] <= values["max"] or "median" in what, what
    paths = studies["interpolation"]
    assert paths["pooled"]["real"]["middle_is_1"]["of"] == 40  # the stand-in's own test digits
    counts = [entry["rates"]["line"]["middle_is_1"]["count"] for entry in paths["generators"]]
    assert paths["pooled"]["line"]["middle_is_1"]["count"] == sum(counts)
    names = ("interpolation_7_6", "interpolation_pairs", "arithmetic_rates", "roof_on_every_digit")
    for name in (*names, "class_mean_direction"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size < 400_000
    assert capsys.readouterr().out.count("| --- |") > 5


def test_seed_fixes_every_number(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "save_figures", lambda *args: None)
    options = ["--latents", "10"]
    first, again, other = (run(directions, options, untrained, tmp_path, seed, generators=1) for seed in (4, 4, 5))
    assert first["pooled"] == again["pooled"] != other["pooled"]
