"""The studies overpowering and recipes: which runs there are, effects and correlations on planted outcomes."""

import functools
import json
import math
import operator
import shutil

import pytest

import metrics
import report
import runs
import train
import utils
from studies import overpowering, recipes
from studies.overpowering import CELLS, FACTORS, name_of


def test_every_cell_has_every_seed():
    args = overpowering.parse_args(["--dataset", "typeset", "--seeds", "2", "--seed", "5", "--epochs", "3"])
    runs = overpowering.plan(args)
    options = [train.parse_args([str(word) for word in words]) for words in runs.values()]
    found = [((o.arch, o.dropout, o.bn_eps, o.scheme, o.generator, o.loss), o.seed) for o in options]
    assert len({*CELLS}) == len(CELLS) == 21
    assert found == [(cell, seed) for seed in (5, 6) for cell in CELLS]  # the first seeds first
    assert list(runs) == [o.name for o in options]
    assert {(o.epochs, o.evaluate_every) for o in options} == {(3, 2)}


def planted(cell, seed):
    """The evaluations of a run in a world of additive factors, in which the seed shifts all cells."""
    value = 1 + 0.25 * (cell.arch == "balanced") - 0.5 * (cell.dropout > 0) + 0.75 * (cell.scheme == "simultaneous")
    value += (2 + 0.1 * seed) * (cell.eps > 0.1) + 3 * (cell.loss == "minimax") + 4 * (cell.generator == "published")
    near = [{"from_log2": 0.3 - 0.1 * epoch, "frechet_distance": 90 - 9 * epoch} for epoch in range(2)]
    last = {"d_accuracy": value + 10 * seed, "frechet_distance": math.exp(value + 10 * seed), "from_log2": 1 / value}
    return [*near, last]


def test_effects_and_correlations_of_planted_outcomes():
    outcomes = {name_of(cell, seed): planted(cell, seed) for cell in CELLS for seed in range(3)}
    effects = {factor: overpowering.effect(outcomes, factor, "d_accuracy", [0, 1, 2]) for factor in FACTORS}
    means = {
        "eps": (2.1, 3),
        "scheme": (0.75, 2),
        "discriminator": (-0.25, 3),
        "width": (0.25, 2),
        "dropout": (-0.5, 2),
    }
    for name, (mean, pairs) in means.items():
        found = [of for factor, of in effects.items() if factor.startswith(name)]
        assert [(of["mean"], of["pairs"]) for of in found] == [(pytest.approx(mean), pairs)] * 2
    for name, mean, pairs in ("g_first", 0, 4), ("generator", 4, 2), ("loss", 3, 3):
        assert (effects[name]["mean"], effects[name]["pairs"]) == (pytest.approx(mean), pairs)
    half = 16.0781 * 0.1 / 3**0.5  # Student's t, 2 degrees of freedom, two-sided 5 % / 13
    assert effects["eps_initial"]["interval"] == pytest.approx([2.1 - half, 2.1 + half], rel=1e-4)
    logarithmic = overpowering.effect(outcomes, "dropout_torch", "frechet_distance", [0])
    assert (logarithmic["mean"], logarithmic["interval"]) == (pytest.approx(-0.5), None)
    assert overpowering.tell(logarithmic, logarithmic=True) == "x 0.61"
    found = overpowering.correlations(outcomes, [0, 1, 2])
    assert {name: of["n"] for name, of in found.items()} == {
        "within runs": 3,
        "between runs": 18,
        "between runs with eps 1e-05": 9,
        "between runs with eps 0.8": 9,
    }
    assert all(of["mean"] == pytest.approx(-1) for name, of in found.items() if name.startswith("between"))
    alone = overpowering.correlations({name: run[:2] for name, run in outcomes.items()}, [0])
    assert alone["within runs"] == {"mean": pytest.approx(1), "interval": None, "n": 2, "seeds": [pytest.approx(1)]}


def test_recipes_are_compared_on_digits_that_they_are_not_trained_on():
    """Other options of the two studies' runs are those of the recipes."""
    args = recipes.parse_args(["--seeds", "2", "--seed", "7", "--final-seeds", "1", "--evaluate-every", "3"])
    options = [train.parse_args([str(word) for word in words]) for words in recipes.plan(args, 60_000).values()]
    assert len(options) == 1 + 2 * len(recipes.RECIPES)
    final, *changes = options
    assert (final.name, final.recipe, final.lr, final.epochs) == ("final_best_lr_seed7", "best", 4e-4, 60)
    assert (final.limit, final.evaluate_every) == (0, 3)
    assert {(o.limit, o.epochs, o.evaluate_every) for o in changes} == {(50_000, 10, 0)}
    assert {o.seed for o in changes} == {7, 8}


@pytest.fixture
def small(trained, tmp_path, monkeypatch):
    """The options of a small study in tmp_path; its runs are trained in this process, workers would import torch."""

    def train_here(plan, args):
        for run in [train.parse_args([str(word) for word in options]) for options in plan.values()]:
            if not (run.out_dir / run.name / "result.json").exists():
                train.train(run)
        utils.make_folder(args.figures_dir)
        return 0

    monkeypatch.setattr(runs, "train_all", train_here)
    monkeypatch.setattr(metrics, "generator_gradients", functools.partial(metrics.generator_gradients, batches=1))
    monkeypatch.setattr(metrics, "quality", functools.partial(metrics.quality, samples=500))
    words = ["--dataset", "typeset", "--limit", "256", "--seeds", "1", "--classifier", str(trained / "classifier.pt")]
    return [*words, "--workers", "1", "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]


def test_small_study_of_overpowering(small, tmp_path, monkeypatch):
    few = [cell for cell in CELLS if sum(map(operator.ne, cell, CELLS[0])) < 2 or cell == CELLS[2]]  # all factors
    monkeypatch.setattr(overpowering, "CELLS", few)
    monkeypatch.setattr(overpowering, "GRID", few[:5])
    factors = {factor: of for factor, of in FACTORS.items() if overpowering.pairs_of(factor)}
    assert len(factors) >= 8
    monkeypatch.setattr(overpowering, "FACTORS", factors)
    overpowering.main([*small, "--epochs", "1"])
    names = ("losses_and_quality.png", "minimax.png", "overpowering.png", "overpowering_curves.png")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {*names}
    with pytest.raises(utils.InputError, match="its results have epochs 1, not 2; leave out --keep"):
        overpowering.main([*small, "--epochs", "2", "--keep"])
    first = utils.load_json(tmp_path / "overpowering.json")
    shutil.rmtree(tmp_path / "overpowering")
    overpowering.main([*small, "--epochs", "1", "--keep", "--seeds", "2"])  # of the first seed's runs nothing is left
    both = utils.load_json(tmp_path / "overpowering.json")
    with pytest.raises(utils.InputError, match="seed1; with --keep give --seed and --seeds that include its seeds"):
        overpowering.main([*small, "--epochs", "1", "--keep"])
    assert both["config"] == first["config"] | {"seeds": 2}
    assert both["runs"].items() > first["runs"].items()
    assert len(both["runs"]) == 2 * len(first["runs"])
    assert both["seconds"] > first["seconds"]
    assert both["provenance_of_kept_runs"] == first["provenance"]
    (tmp_path / "overpowering.json").write_text(json.dumps(first))
    report.main(small[-4:])  # with the intervals of a single seed, None
    assert "the balanced D instead of the initial one" in (tmp_path / "report.md").read_text()


def test_small_study_of_recipes(small, tmp_path):
    """A damaged recipes.json is refused before any run; what a study finds is kept beside what the other found."""
    path, few = tmp_path / "recipes.json", ["--epochs", "1", "--recipes", "wide", "best"]
    path.write_text("{")
    with pytest.raises(utils.InputError, match=r"recipes\.json"):
        recipes.main([*small, *few])
    assert [*tmp_path.iterdir()] == [path]

    path.write_text('{"final": "as it was"}')
    recipes.main([*small, *few, "--studies", "changes"])
    found = utils.load_json(path)
    assert found["final"] == "as it was"
    found = found["changes"]
    assert (found["trained_on"], found["held_out"]) == (214, 42)
    ends = {recipe: entry["at_end"]["frechet_distance"]["median"] for recipe, entry in found["changes"].items()}
    assert found["chosen"] == min(ends, key=ends.get)

    recipes.main([*small, "--studies", "final", "--final", "wide", "--final-epochs", "1", "--final-seeds", "1"])
    result = utils.load_json(path)
    assert result["changes"] == found
    final = result["final"]
    assert (final["recipe"], [*final["runs"]]) == ("wide", ["0"])
    run = final["runs"]["0"]
    assert (run["config"]["epochs"], run["config"]["arch"]) == (1, "initial")
    assert run["end"].keys() > {"frechet_distance", "distance_from_half", "precision", "recall"}
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"recipes.png", "recipes_best.png"}
    report.main(small[-4:])
    assert f"| {final['what']} | 1 |" in (tmp_path / "report.md").read_text()


def test_report_runs_are_the_evaluated_ones():
    names = ["published_balanced_seed3", "published_initial_seed3", "written_balanced_seed10"]
    entries = {name: {"precision_recall": {}, "name": name} for name in names} | {"written_balanced_seed1": {}}
    found = recipes.report_runs({"runs": entries})
    assert {recipe: [entry["name"] for entry in of] for recipe, of in found.items()} == {
        "published_balanced": ["published_balanced_seed3"],
        "written_balanced": ["written_balanced_seed10"],
        "written_initial": [],
    }
