"""Rates in the latent space: planted networks whose every reading is known, and the scripts end to end."""

import importlib
import json
import math
import sys

import pytest
import torch

import arithmetic_rates
import classifier as reader
import directions
import interpolate_rates
import rates
import utils
from gan import Generator, sample


class Planted(torch.nn.Module):
    """G of a world whose images are their latents: the first 100 pixels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, z):
        return torch.nn.functional.pad(z * self.scale, (0, 684))


class Rounding(torch.nn.Module):
    """Reads round(z_0), below 0 and above 9 as 0; z_1 = 1 makes it unsure. Its one feature is z_0."""

    def features(self, images):
        return images[:, :2]

    def out(self, features):
        digit = features[:, 0].round()
        digit = digit.where((digit >= 0) & (digit <= 9), 0).long()
        return torch.nn.functional.one_hot(digit, 10) * torch.where(features[:, 1:] > 0.4, 1.0, 50.0)

    def forward(self, images):
        return self.out(self.features(images))


def line_of_digits(count=40):
    """Pools in which every latent of digit d is d times the first unit vector."""
    return {digit: torch.eye(100)[:1].repeat(count, 1) * digit for digit in range(10)}


def test_wilson_against_published_intervals():
    """Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3."""
    for count, total, low, high in (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718):
        assert rates.wilson(count, total) == pytest.approx((low, high), abs=5e-5)
        assert rates.wilson(total - count, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert rates.wilson(0, 20) == (0, pytest.approx(0.1611, abs=5e-5))
    assert rates.wilson(20, 20)[1] == 1
    assert rates.wilson(0, 0) == (0, 1)


def test_slerp_stays_on_the_sphere_and_meets_its_ends():
    start, end = rates.on_shell(torch.randn(2, 50, 100, generator=torch.Generator().manual_seed(0)))
    path = interpolate_rates.slerp(start, end, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path.norm(dim=2), torch.full((50, 5), 10.0))
    torch.testing.assert_close(path[:, 0], start)
    torch.testing.assert_close(path[:, -1], end)
    middle = interpolate_rates.line(start, end, torch.tensor([0.5]))[:, 0]
    torch.testing.assert_close(torch.cosine_similarity(path[:, 2], middle), torch.ones(50))
    assert (middle.norm(dim=1) < 9).all()


def test_slerp_of_a_right_angle_and_of_none():
    x, y = torch.eye(2)
    third = interpolate_rates.slerp(x[None], y[None], torch.tensor([1 / 3]))[0, 0]
    torch.testing.assert_close(third, torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]))
    for end in 3 * x, -x, x:
        path = interpolate_rates.slerp(x[None], end[None], torch.tensor([0.25]))[0, 0]
        torch.testing.assert_close(path, 0.75 * x + 0.25 * end)


def test_draw_deals_every_latent_equally_often():
    pool = torch.arange(5.0).reshape(5, 1)
    dealt = rates.draw(pool, 15, torch.Generator().manual_seed(0)).flatten()
    assert dealt.long().bincount().tolist() == [3] * 5
    assert rates.draw(pool, 7, torch.Generator().manual_seed(1), mean_of=5).flatten().tolist() == [2.0] * 7


def test_pools_hold_what_is_read_and_a_missing_digit_is_an_error():
    pools = reader.pool_latents(Planted(), Rounding(), [0, 1, 2], seed=3, confidence=0.9, tries=4000)
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(3))
    first = z[(z[:, 0].round() == 1) & (z[:, 1] <= 0.4)]
    torch.testing.assert_close(pools[1][: len(first)], first)
    assert len(pools[9]) == 0
    with pytest.raises(utils.InputError, match=r"\[9\]"):
        reader.pool_latents(Planted(), Rounding(), [1, 9], seed=3, confidence=0.9, tries=4000)


def test_interpolation_rates_of_a_known_world():
    """From 7 to 6 past 1, from end to end: here as -1, 0, 1, and in 3 of 10 cases the middle is no sure 1."""

    class Thirds(Rounding):
        def out(self, features):
            digits = torch.tensor([7, 1, 6])[(features[:, 0] / 0.6).round().clamp(-1, 1).long() + 1]
            return torch.nn.functional.one_hot(digits, 10) * torch.where(features[:, 1:] > 0.4, 3.0, 50.0)

        def features(self, images):
            return torch.cat([images[:, :1], images[:, 1:2].clamp(max=0.5)], 1)

    pools = {digit: torch.zeros(0, 100) for digit in range(10)}
    pools[7], pools[6] = -torch.eye(100)[:1].repeat(10, 1), torch.eye(100)[:1].repeat(10, 1)
    pools[7][:3, 1] = 1.0  # falls along the way, 0.5 in the middle
    raw = interpolate_rates.measure(Planted(), Thirds(), pools, torch.Generator().manual_seed(0), 10, None)
    summary = interpolate_rates.summarise(raw)
    for way in "line", "fade":
        assert (summary[way]["middle_reads_1"]["count"], summary[way]["middle_surely_reads_1"]["count"]) == (10, 7)
        assert summary[way]["passes_digit"]["count"] == [0, 10, 0, 0, 0, 0, 10, 10, 0, 0]
        assert summary[way]["along"]["read"][0] == [0, 0, 0, 0, 0, 0, 0, 10, 0, 0]
        assert summary[way]["along"]["sure"][10] == [0, 7, 0, 0, 0, 0, 0, 0, 0, 0]
        # Seven paths are straight, with 20 equal steps.
        assert summary[way]["length_over_distance"][:2] == pytest.approx([1, 1], abs=1e-5)
        assert summary[way]["largest_step"][:2] == pytest.approx([0.05, 0.05], abs=1e-5)
    assert "real" not in summary
    pairs = summary["middles_line"]["pairs"]
    assert [ends for ends, of in zip(pairs["ends"], pairs["of"], strict=True) if of] == [(6, 6), (6, 7), (7, 7)]
    assert pairs["read"][pairs["ends"].index((6, 7))][1] == 2  # a fifth of the pairs, and all of them read 1
    assert summary["middles_line"]["reads_third_digit"]["rate"] == 1
    assert summary["middles_line"]["reads_1_between_others"]["rate"] is None


def test_arithmetic_rates_of_a_known_world():
    """6 + s (7 - 1) is 6 + 6 s: a 9 at s = 1/2 and at no other strength; on the shell everything is 10, read as 0."""
    raw = arithmetic_rates.measure(Planted(), Rounding(), line_of_digits(), torch.Generator().manual_seed(0), 40)
    summary = arithmetic_rates.summarise(raw)
    expected = [1.0 if strength == 0.5 else 0.0 for strength in arithmetic_rates.STRENGTHS]
    for way, (_, _, shell) in arithmetic_rates.WAYS.items():
        assert summary[way]["roof"]["reads_9"]["rate"] == ([0.0] * 22 if shell else expected), way
        assert summary[way]["roof"]["surely_reads_9"] == summary[way]["roof"]["reads_9"]
        assert summary[way]["median_norms"] == {"z_6": 6, "z_roof": 6, "sum": 12}
        assert summary[way]["written"]["along"]["read"] == [[40] + [0] * 9]  # 1.8 x 6 + 0.96 x 6 is above 9
        assert summary[way]["random"]["along"]["read"][0][0 if shell else 6] == 10
    expected_at_once = [0, 0, 0, 0, 0, 0, 40, 0, 0, 0]
    assert summary["one"]["roof"]["along"]["read"][0] == expected_at_once


def test_other_differences_leave_out_nine_and_the_roof():
    pools = {digit: torch.tensor([[float(digit), 2.0**digit]]) for digit in range(10)}
    pools[4] = pools[4][:0]
    found = arithmetic_rates.other_differences(pools, 4000, torch.Generator().manual_seed(0), 1)
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
    pools = line_of_digits()
    pools[5] = pools[5][:0]
    raw = directions.measure(Planted(), Rounding(), pools, torch.Generator().manual_seed(0), 10)
    summary = directions.summarise(raw)
    after = summary["roof_on_every_digit"]["one"]["after"]
    for digit in (0, 1, 2, 3, 4, 6, 7, 8, 9):
        assert after["read"][digit][digit + 6 if digit < 4 else 0] == 10
        for shift, counts in zip(directions.SHIFTS, summary["shift"]["read"][digit], strict=True):
            if shift == int(shift):
                assert counts[max(0, digit - shift)] == 10
    assert (after["of"][5], sum(after["read"][5]), summary["class_means"]["norms"][5]) == (0, 0, None)
    means = summary["class_means"]
    assert means["norms"][7] == means["norms_less_noise"][7] == 7
    assert (means["norm of m_6 - m_7"], means["norm of m_7 - m_1"]) == (1, 6)
    assert means["cosine of these two"] == pytest.approx(-1)
    assert directions.headlines(summary)["7 + m_6 - m_7: reads 6"] == 1


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Two untrained generators, mirror images, and a reader that tells their images apart into all ten digits."""
    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(0)
    model, generator = reader.Classifier().eval(), Generator().eval()
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


def run(name, options, untrained, folder, monkeypatch, seed=0):
    """Run a script in this process on both generators; returns its section of latent_study.json."""
    checkpoints = [str(untrained / f"run{number}" / "checkpoint.pt") for number in (0, 1)]
    command = [f"{name}.py", "--checkpoints", *checkpoints, "--classifier", str(untrained / "classifier.pt")]
    command += ["--dataset", "typeset", "--confidence", "0", "--tries", "2000", "--seed", str(seed), *options]
    monkeypatch.setattr(sys, "argv", [*command, "--out-dir", str(folder), "--figures-dir", str(folder / "figures")])
    importlib.import_module(name).main()
    return json.loads((folder / "latent_study.json").read_text())


def test_scripts_end_to_end(untrained, tmp_path, monkeypatch, capsys):
    run("interpolate_rates", ["--pairs", "20"], untrained, tmp_path, monkeypatch)
    run("arithmetic_rates", ["--triples", "20"], untrained, tmp_path, monkeypatch)
    sections = run("directions", ["--latents", "10"], untrained, tmp_path, monkeypatch)
    assert list(sections) == ["interpolation", "arithmetic", "directions"]
    for section in sections.values():
        assert [entry["config"]["seed"] for entry in section["generators"]] == [0, 1]
        assert [entry["checkpoint"] for entry in section["generators"]] == ["run0/checkpoint.pt", "run1/checkpoint.pt"]
        assert [sum(entry["pools"]) for entry in section["generators"]] == [2000, 2000]
        for what, values in section["spread"].items():
            assert values["min"] <= values["pooled"] <= values["max"] or "median" in what, what
    ways = sections["interpolation"]
    assert ways["pooled"]["real"]["middle_reads_1"]["of"] == 40  # the stand-in's own test digits
    counts = [entry["rates"]["line"]["middle_reads_1"]["count"] for entry in ways["generators"]]
    assert ways["pooled"]["line"]["middle_reads_1"]["count"] == sum(counts)
    names = ("interpolation_7_6", "interpolation_pairs", "arithmetic_rates", "roof_on_every_digit")
    for name in (*names, "class_mean_direction"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size < 400_000
    assert capsys.readouterr().out.count("| --- |") > 5


def test_seed_fixes_every_number(untrained, tmp_path, monkeypatch):
    for name in "draw_every_digit", "draw_shift":
        monkeypatch.setattr(directions, name, lambda *args: None)
    first, again, other = (
        run("directions", ["--latents", "10"], untrained, tmp_path, monkeypatch, seed)["directions"]
        for seed in (4, 4, 5)
    )
    assert first["pooled"] == again["pooled"] != other["pooled"]
