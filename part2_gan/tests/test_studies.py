"""The studies: which runs they have, what is on which digits, rates and collapses with a known answer."""

import argparse

import pytest
import torch
from conftest import RESULTS, TYPESET, contents
from test_latents import Rounding, World, at

import classifier as classifiers
import dataset
import dynamics
import files
import gan
import latents
import metrics
import runs
import train
from studies import latent_rates, overpowering, recipes

TINY = [*TYPESET, "--limit", "300", "--workers", "1", "--seeds", "1"]
pytestmark = pytest.mark.usefixtures("small")


def test_a_run_of_dynamics_counts_its_sure_samples(monkeypatch):
    """In the planted world: none at first, then 15, at last all 25. Of a second seed the last samples stay."""
    images = torch.zeros(3, 25, 784, dtype=torch.uint8)
    images[0, :, 1] = images[1, :10, 1] = 255  # unsure
    packed = {epoch: dataset.pack(part) for epoch, part in zip(("1", "2", "4"), images, strict=True)}
    row = train.options(epochs=4, seed=1) | {"samples": packed | {"3": ""}}
    monkeypatch.setattr(train, "train", lambda args: row)
    monkeypatch.setattr(dynamics, "with_test_digits", lambda args, device: (Rounding(), None))
    result = dynamics.run(argparse.Namespace(**row, first=0, evaluate_every=1, device="cpu", threads=1))
    assert result["sure"] == {"1": 0, "2": 15, "4": 25}
    assert list(result["samples"]) == ["4"]


def test_stages_are_among_the_drawn_samples():
    """Of a run that was stopped at 170 of 200 epochs, and went on to 300."""
    row = {"epochs": 300, "samples": dict.fromkeys(["1", "50", "146", "162", "213", "300"])}
    assert dynamics.stages_of(row) == ["1", "146", "300"]


@pytest.mark.usefixtures("committed")
def test_two_committed_runs_have_collapsed():
    rows = runs.load_rows(RESULTS / "dynamics.json")
    assert [name for name, row in rows.items() if dynamics.collapsed(row)] == [f"code_balanced_seed{k}" for k in (1, 5)]


def test_overpowering_has_every_setting_with_every_seed():
    """Five of them are the figure's columns: both slips of the code, each one repaired, both, a smaller D instead."""
    plan = overpowering.plan(overpowering.parse_args(["--seeds", "2", "--seed", "5", "--epochs", "3"]))
    assert [(o["seed"], o["epochs"]) for o in plan.values()] == [(5, 3)] * 21 + [(6, 3)] * 21
    for setting in overpowering.SETTINGS:
        chosen = overpowering.of_setting(list(plan.values())[::-1], setting)
        assert [options["seed"] for options in chosen] == [5, 6]
        assert all(options.items() >= setting.items() for options in chosen)
    columns = [overpowering.of_setting(plan.values(), setting)[0] for setting in overpowering.COLUMNS.values()]
    initial = [("initial", eps, scheme) for scheme in ("simultaneous", "alternating") for eps in (0.8, 1e-5)]
    assert [(c["arch"], c["bn_eps"], c["scheme"]) for c in columns] == [*initial, ("balanced", 0.8, "simultaneous")]


def test_recipes_in_small(trained, tmp_path):
    """Of 300 digits 250 are trained on and the last 50 compared with; the best recipe is trained on all of them."""
    options = [*TINY, "--best-seeds", "1", "--epochs", "1", "--best-epochs", "2", "--recipes", "start"]
    options += ["--evaluate-every", "1", "--classifier", str(trained / "classifier.pt"), "--out-dir", str(tmp_path)]
    with pytest.raises(files.InputError, match="none.pt: there is no such file"):
        recipes.main([*options, "--classifier", "none.pt"])
    assert not list(tmp_path.rglob("*.pt"))  # it was found out before any training
    recipes.main(options)
    changed, best = (runs.load_rows(tmp_path / f"{name}.json") for name in ("recipes", "recipes_best"))
    changed, best = changed["start_seed0"], best["best_seed0"]
    assert (changed["limit"], changed["bn_eps"], changed["epochs"], changed["quality"]) == (250, 0.8, 1, [])
    assert (best["limit"], best["recipe"], best["epochs"], "samples" in best) == (300, "best", 2, False)
    assert [evaluation["epoch"] for evaluation in best["quality"]] == [1, 2]

    classifier, _ = classifiers.load_classifier(trained / "classifier.pt", "cpu")
    args = argparse.Namespace(dataset="typeset", limit=300)
    digits, test = (dataset.scale(dataset.load(args, train=part)[0]) for part in (True, False))
    generator, _ = latents.load_generator(tmp_path / "recipes" / "start_seed0" / "checkpoint.pt", "cpu")
    z = torch.randn(50, 100, generator=torch.Generator().manual_seed(20_000))
    parts = digits, test, digits[:50], digits[250:], gan.sample(generator, z)
    train_features, test_features, known, held_out, samples = (metrics.outputs(classifier, part)[0] for part in parts)
    assert best["floor"] == pytest.approx(metrics.frechet_distance(train_features, test_features))
    assert changed["floor"] == pytest.approx(metrics.frechet_distance(known, held_out))
    distance = metrics.frechet_distance(samples, held_out)
    assert changed["end"]["frechet_distance"] == pytest.approx(distance, rel=1e-4)
    paths = tmp_path / "generator_best.pt", tmp_path / "recipes_best" / "best_seed0" / "checkpoint.pt"
    exported, whole = (gan.sample(latents.load_generator(path, "cpu")[0], z) for path in paths)
    assert (exported - whole).abs().max() < 0.05  # the average of its weights, in half precision
    for name in "recipes.png", "recipes_best.png":
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    before = contents(tmp_path)
    recipes.main(["--draw", "--out-dir", str(tmp_path)])  # the rows say that they are of typeset digits
    assert contents(tmp_path) == before


def test_rates_of_known_worlds():
    """Where each digit has its place 7 - 1 is a 6, and 6 + 7 - 1 at 12 no digit, so a 0; elsewhere it is otherwise."""
    groups = {digit: at(*[digit] * 40) for digit in range(10)}
    shares = latent_rates.rates(latent_rates.make_latents(groups, 40), World(), Rounding())
    assert (shares["middle_1"], shares["roof_7"], shares["shift_6"]) == (0, 0, 1)
    assert shares["strip_9"] == 1  # from 13.2 down to 6
    assert shares["sum"] == [1] + [0] * 9
    assert shares["sum_random"][6] > 0.2  # most of a random direction is across the line of digits
    assert (sum(shares["sum_others"][:1] + shares["sum_others"][7:]), shares["zero_digit"]) == (pytest.approx(1), 0)
    groups |= {7: at(*[8] * 40), 6: at(*[-6] * 40)}
    shares = latent_rates.rates(latent_rates.make_latents(groups, 40), World(), Rounding())
    assert (shares["middle_1"], shares["roof_7"], shares["shift_6"], shares["strip_9"]) == (1, 1, 0, 0)
    assert shares["sum"][1] == 1


def test_controls_are_as_long_and_point_elsewhere():
    source = torch.Generator().manual_seed(0)
    z = latent_rates.make_latents({d: torch.randn(40, 100, generator=source) + 3 * d for d in range(10)}, 40)
    for vectors, random in (z["middle"], z["same_norm"]), (z["roof"], z["roof_random"]):
        torch.testing.assert_close(random.norm(dim=1), vectors.norm(dim=1))
        assert torch.cosine_similarity(random, vectors).abs().max() < 0.5
    six = z["sum"] - z["roof"]
    torch.testing.assert_close(z["sum_random"], six + z["roof_random"])
    for strip, roof in (z["strip"], z["roof"]), (z["strip_random"], z["roof_random"]):
        torch.testing.assert_close(strip[:, [0, 4, 8]], torch.stack([six + 1.2 * roof, six + 0.6 * roof, six], 1))


def test_latent_rates_in_small(tmp_path, monkeypatch, capsys):
    """Of two planted generators one draws no 6 and no 7: it has a row without rates."""
    known = {"code.pt": (World(4.0), train.options("code")), "text.pt": (World(), train.options("text"))}
    monkeypatch.setattr(latents, "load_generator", lambda path, _: known[path.name])
    monkeypatch.setattr(latents, "load_networks", lambda args: (known[args.checkpoint.name][0], Rounding(), {}, ""))
    monkeypatch.setattr(latent_rates, "load_classifier", lambda *_: (Rounding(), {}))
    options = ["--count", "20", "--tries", "8000", "--workers", "1", "--out-dir", str(tmp_path)]
    latent_rates.main(["--checkpoints", *known, *options])
    assert "1 of 2 generators draw 1, 6 and 7 often enough to have rates" in capsys.readouterr().out
    rows = runs.load_rows(tmp_path / "latent_rates.json")
    whole, without = rows["code_balanced_seed0"], rows["text_balanced_seed0"]
    assert "are classified as 6, 7 with confidence 0.999" in without["without_rates"]
    assert latent_rates.RATES.keys() | {*latent_rates.SUMS} < whole["mlp"].keys()
    assert whole.items() >= (whole["mlp"] | {"recipe": "code", "count": 20, "code": latent_rates.CODE}).items()
    for name in "latent_rates.png", "sum_classes.png":
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
