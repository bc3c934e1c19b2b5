"""The studies overpowering and recipes: which runs there are, and effects on planted outcomes."""

import functools
import itertools
import math

import pytest

import metrics
import runs
import train
import utils
from studies import overpowering, recipes
from studies.overpowering import DROPOUTS, EPS, WIDTHS, name_of


def test_every_cell_has_every_seed():
    args = overpowering.parse_args(["--dataset", "typeset", "--seeds", "2", "--seed", "5", "--epochs", "3"])
    runs = overpowering.plan(args)
    assert len(runs) == 2 * (8 + 2 + 2)
    options = [train.parse_args([str(word) for word in words]) for words in runs.values()]
    found = {(o.arch, o.dropout, o.bn_eps, o.loss, o.scheme, o.seed) for o in options}
    wanted = [(*cell, "non-saturating", "alternating") for cell in itertools.product(WIDTHS, DROPOUTS, EPS)]
    wanted += [("initial", 0, eps, "minimax", "alternating") for eps in EPS]
    wanted += [("initial", 0, eps, "non-saturating", "simultaneous") for eps in EPS]
    assert found == {(*cell, seed) for cell in wanted for seed in (5, 6)}
    assert {(o.epochs, o.evaluate_every) for o in options} == {(3, 5)}


def test_effects_of_planted_outcomes():
    """Additive factors: each effect is found exactly, whatever the seeds add to all of their cells."""
    seeds, outcomes = [0, 1, 2], {}
    for arch, dropout, eps, seed in itertools.product(WIDTHS, DROPOUTS, EPS, seeds):
        linear = 1 + 0.25 * (arch == "balanced") - 0.5 * (dropout > 0) + 2 * (eps > 0.1) + 10 * seed
        slope = 0.1 * seed * (eps > 0.1)  # eps does a little more in one seed than in the other
        outcomes[name_of(arch, dropout, eps, "plain", seed)] = {
            "d_accuracy": linear + slope,
            "g_grad_norm": math.exp(linear),
        }
    for eps, seed in itertools.product(EPS, seeds):
        plain = outcomes[name_of("initial", 0.0, eps, "plain", seed)]
        outcomes[name_of("initial", 0.0, eps, "simultaneous", seed)] = {"d_accuracy": plain["d_accuracy"] + 0.75}
    order = overpowering.effect(outcomes, 3, "d_accuracy", seeds)
    assert (order["mean"], order["pairs"], order["same_sign"]) == (pytest.approx(0.75), 6, 6)
    width, dropout, eps = (overpowering.effect(outcomes, k, "d_accuracy", seeds) for k in range(3))
    assert (width["mean"], dropout["mean"], eps["mean"]) == pytest.approx((0.25, -0.5, 2.1))
    assert width["interval"] == pytest.approx([0.25, 0.25])
    assert eps["interval"] == pytest.approx([2.1 - 4.303 * 0.1 / 3**0.5, 2.1 + 4.303 * 0.1 / 3**0.5])
    assert (eps["pairs"], eps["same_sign"]) == (12, 12)
    assert overpowering.effect(outcomes, 2, "g_grad_norm", seeds)["mean"] == pytest.approx(2)  # of the logarithms
    assert overpowering.effect(outcomes, 2, "d_accuracy", [0])["interval"] is None


def test_near_log2_says_what_the_losses_do_not_show():
    evaluations = [
        {"arch": "initial", "eps": 1e-5, "dropout": 0.0, "epoch": epoch, "off": off, "frechet": frechet}
        for epoch, off, frechet in ((1, 0.02, 300.0), (9, 0.08, 40.0), (5, 0.3, 20.0))
    ]
    text = overpowering.near_log2(evaluations)
    assert "2 of 3 evaluations; Frechet distance 40 (epoch 9) to 300 (epoch 1)" in text
    assert "the best of all evaluations, 20, has losses 0.30" in text
    assert "too few" in overpowering.near_log2(evaluations[1:])


def test_recipes_share_the_runs_of_overpowering(tmp_path):
    """Three of the changes are runs of overpowering, option by option."""
    words = ["--out-dir", str(tmp_path), "--seeds", "2"]
    planned = recipes.plan(recipes.parse_args(words))
    assert len(planned) == 2 * (len(recipes.FINAL) + len(recipes.RECIPES))
    others = overpowering.plan(overpowering.parse_args(words))
    parse = train.parse_args
    shared = {folder.name: options for folder, options in planned.items() if folder.name in others}
    assert len(shared) == 3 * 2
    for name, options in shared.items():
        assert parse([str(word) for word in options]) == parse([str(word) for word in others[name]])


def test_small_studies_end_to_end(trained, tmp_path, monkeypatch):
    """A damaged recipes.json is refused before any run; what a study finds is kept beside what the other found."""
    words = ["--dataset", "typeset", "--limit", "256", "--seeds", "1", "--epochs", "1", "--workers", "1"]
    words += ["--classifier", str(trained / "classifier.pt")]
    words += ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]
    (tmp_path / "recipes.json").write_text("{")
    with pytest.raises(utils.InputError, match=r"recipes\.json"):
        recipes.main(words)
    assert [path.name for path in tmp_path.iterdir()] == ["recipes.json"]

    (tmp_path / "recipes.json").write_text('{"final": "as it was"}')

    def train_here(plan, args):  # worker processes would import torch
        for run in [train.parse_args([str(word) for word in options]) for options in plan.values()]:
            if not (run.out_dir / run.name / "result.json").exists():
                train.train(run)
        utils.make_folder(args.figures_dir)
        return 0

    monkeypatch.setattr(runs, "train_all", train_here)
    monkeypatch.setattr(metrics, "quality", functools.partial(metrics.quality, samples=500))
    overpowering.main(words)
    recipes.main([*words, "--studies", "changes", "--recipes", "as_reported", "wide", "penalty"])
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        *("losses_and_quality.png", "minimax.png", "overpowering.png", "overpowering_curves.png", "recipes.png")
    }
    result = utils.load_json(tmp_path / "recipes.json")
    assert result["final"] == "as it was"
    assert list(result["changes"]["changes"]) == ["as_reported", "wide", "penalty"]
    cells = utils.load_json(tmp_path / "overpowering.json")["runs"]
    found = result["changes"]["changes"]["wide"]["at_end"]["frechet_distance"]["seeds"]
    assert found == [cells["initial_dropout0_eps1e-05_seed0"]["frechet_distance"]]
