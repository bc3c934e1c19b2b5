"""The grid of discriminators: which runs there are, and effects on planted outcomes."""

import itertools
import math

import pytest

import grid
import recipes
import study
import train


def test_every_cell_has_every_seed():
    args = grid.parse_args(["--dataset", "typeset", "--seeds", "2", "--seed", "5", "--epochs", "3"])
    runs = grid.plan(args)
    assert len(runs) == 2 * (8 + 2 + 2)
    options = [train.parse_args(words) for words in runs.values()]
    found = {(o.arch, o.dropout, o.bn_eps, o.loss, o.scheme, o.seed) for o in options}
    wanted = [
        (*cell, "non-saturating", "alternating") for cell in itertools.product(grid.WIDTHS, grid.DROPOUTS, grid.EPS)
    ]
    wanted += [("initial", 0, eps, "minimax", "alternating") for eps in grid.EPS]
    wanted += [("initial", 0, eps, "non-saturating", "simultaneous") for eps in grid.EPS]
    assert found == {(*cell, seed) for cell in wanted for seed in (5, 6)}
    assert {(o.epochs, o.evaluate_every) for o in options} == {(3, 5)}


def test_effects_of_planted_outcomes():
    """Additive factors: each effect is found exactly, whatever the seeds add to all of their cells."""
    seeds, outcomes = [0, 1, 2], {}
    for arch, dropout, eps, seed in itertools.product(grid.WIDTHS, grid.DROPOUTS, grid.EPS, seeds):
        linear = 1 + 0.25 * (arch == "balanced") - 0.5 * (dropout > 0) + 2 * (eps > 0.1) + 10 * seed
        slope = 0.1 * seed * (eps > 0.1)  # eps does a little more in one seed than in the other
        outcomes[grid.name_of(arch, dropout, eps, "plain", seed)] = {
            "d_accuracy": linear + slope,
            "g_grad_norm": math.exp(linear),
        }
    for eps, seed in itertools.product(grid.EPS, seeds):
        plain = outcomes[grid.name_of("initial", 0.0, eps, "plain", seed)]
        outcomes[grid.name_of("initial", 0.0, eps, "simultaneous", seed)] = {"d_accuracy": plain["d_accuracy"] + 0.75}
    order = grid.effect(outcomes, 3, "d_accuracy", seeds)
    assert (order["mean"], order["pairs"], order["same_sign"]) == (pytest.approx(0.75), 6, 6)
    width, dropout, eps = (grid.effect(outcomes, k, "d_accuracy", seeds) for k in range(3))
    assert (width["mean"], dropout["mean"], eps["mean"]) == pytest.approx((0.25, -0.5, 2.1))
    assert width["interval"] == pytest.approx([0.25, 0.25])
    assert eps["interval"] == pytest.approx([2.1 - 4.303 * 0.1 / 3**0.5, 2.1 + 4.303 * 0.1 / 3**0.5])
    assert (eps["pairs"], eps["same_sign"]) == (12, 12)
    assert grid.effect(outcomes, 2, "g_grad_norm", seeds)["mean"] == pytest.approx(2)  # of the logarithms
    assert grid.effect(outcomes, 2, "d_accuracy", [0])["interval"] is None


def test_near_log2_says_what_the_losses_do_not_show():
    looks = [
        {"arch": "initial", "eps": 1e-5, "dropout": 0.0, "epoch": epoch, "off": off, "frechet": frechet}
        for epoch, off, frechet in ((1, 0.02, 300.0), (9, 0.08, 40.0), (5, 0.3, 20.0))
    ]
    text = grid.near_log2(looks)
    assert "2 of 3 looks; Frechet distance 40 (epoch 9) to 300 (epoch 1)" in text
    assert "the best of all looks, 20, has losses 0.30" in text
    assert "too few" in grid.near_log2(looks[1:])


def test_final_runs_share_study_and_every_change_is_planned(tmp_path):
    """The report's final run of seed 0 is study.py's own; three of the changes are grid.py's runs, option by option."""
    words = ["--out-dir", str(tmp_path)]
    planned = recipes.plan(recipes.parse_args([*words, "--seeds", "2"]))
    runs = {name: train.parse_args(options) for name, options in planned.items()}
    assert len(runs) == 2 * (len(recipes.FINAL) + len(recipes.RECIPES))
    for other in study, grid:
        for name, options in other.plan(other.parse_args(words)).items():
            if name in runs:
                mine, theirs = (vars(o) | {"recipe": None} for o in (runs[name], train.parse_args(options)))
                assert mine == theirs
                del runs[name]
    assert len(runs) == 2 * (len(recipes.FINAL) + len(recipes.RECIPES)) - 1 - 3 * 2
