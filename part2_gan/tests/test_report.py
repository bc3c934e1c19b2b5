"""The statements of the report: their rules on planted results, the verdicts, and the committed ones."""

import operator

import pytest

import claims
import metrics
import report
import utils


def run(
    d_loss=0.69, g_loss=0.7, d_accuracy=0.5, d_fake=0.5, norm=1.0, frechet=10.0, confident=0.8, epochs=20, spike=1.0,
    d_real=0.5, precision=0.8,
):  # fmt: skip
    """What dynamics.json holds of a run that stays as it is for all its epochs."""
    norms = {loss: {"norm": norm, "coherence": 0.3} for loss in ("non-saturating", "minimax")}
    evaluation = {"frechet_distance": frechet, "confident_share": confident, "g_gradients": norms}
    columns = {"d_loss": d_loss, "g_loss": g_loss, "d_accuracy": d_accuracy, "d_fake": d_fake, "d_real": d_real}
    return {
        "epochs": epochs,
        "by_epoch": {name: [value] * epochs for name, value in columns.items()},
        "last_epoch": columns,
        "quality": [evaluation | {"epoch": epoch} for epoch in range(1, epochs + 1)],
        "largest_g_loss": spike,
        "stages": {"epochs": [1, 10, 20], "confident": [0, 20, 25]},
        "precision_recall": {"precision": precision, "recall": 0.5},
    }


def results_of(initial, balanced, seeds=5):
    runs = {f"written_initial_seed{seed}": run(**initial) for seed in range(seeds)}
    runs |= {f"written_balanced_seed{seed}": run(**balanced) for seed in range(seeds)}
    real = {"frechet_distance": 5.0, "precision": 0.86, "recall": 0.87, "confident_share": 0.95}
    return results_with(dynamics={"runs": runs, "real": real, "record": None})


def results_with(**found):
    """What report.load returns where nothing else is there."""
    return dict.fromkeys(report.RESULTS) | {"record": utils.load_json(utils.HERE / "report_record.json")} | found


def verdicts(results, side="written"):
    """What every count says, those included that decide nothing."""
    found = {c.id: claims.measured(c._replace(decides=claims.SIDES), results, side) for c in claims.CLAIMS if c.measure}
    return {name: of and of["verdict"] for name, of in found.items()}


# As the report tells it, and the contrary.
COLLAPSED = {"d_loss": 0.05, "g_loss": 4.0, "d_accuracy": 0.99, "norm": 0.01, "confident": 0.2, "spike": 14.0}
COLLAPSED |= {"frechet": 50.0, "d_real": 0.9, "d_fake": 0.1}
HEALTHY = {"d_loss": 0.6, "g_loss": 1.0, "d_accuracy": 0.6, "norm": 5.0, "confident": 0.9, "spike": 1.2}
ABOUT_D = ("d_too_strong", "d_loss_falls", "d_loss_near_zero", "g_loss_spikes", "g_loss_high", "no_gradient")
ABOUT_D += ("no_gradient_minimax", "unsatisfactory", "balances", "dynamics_improved", "distinguishes")
ABOUT_D += ("samples_improved", "too_confident")


def test_verdicts_follow_the_numbers():
    as_told, contrary = verdicts(results_of(COLLAPSED, {})), verdicts(results_of(HEALTHY, {"d_accuracy": 0.58}))
    assert {as_told[name] for name in ABOUT_D} == {"holds"}
    where_confident = {"no_gradient", "no_gradient_minimax"}
    assert {contrary[name] for name in {*ABOUT_D} - where_confident - {"dynamics_improved"}} == {"does not hold"}
    assert {contrary[name] for name in where_confident} == {None}
    assert (as_told["overcame"], contrary["overcame"]) == ("holds", None)
    one_good = results_of(COLLAPSED, {})
    one_good["dynamics"]["runs"]["written_initial_seed0"]["quality"][-1]["frechet_distance"] = 15.0
    assert verdicts(one_good)["overcame"] == "does not hold"  # against the best run of the initial D
    others = {"near_log2", "stable", "d_guesses", "fools_d", "stage_b", "no_longer_too_strong", "resemble_real_singly"}
    assert {as_told[name] for name in others} == {"holds"}
    planted = {"g_loss": 0.9, "d_accuracy": 0.7, "d_fake": 0.3, "frechet": 40.0, "confident": 0.4, "precision": 0.6}
    other = verdicts(results_of(COLLAPSED, planted))
    false = others - {"stable", "no_longer_too_strong"} | {"resemble_real", "high_quality"}
    assert {other[name] for name in false} == {"does not hold"}


def test_losses_and_quality_go_together_or_not():
    better = run(epochs=10)
    better["by_epoch"]["g_loss"] = [1.6 - 0.09 * epoch for epoch in range(10)]
    for epoch, entry in enumerate(better["quality"]):
        entry["frechet_distance"] = 100 - 9 * epoch
    assert claims.losses_and_quality(better) == pytest.approx(1)
    assert abs(claims.losses_and_quality(better, changes=True)) < 1  # a shared trend alone
    better["by_epoch"]["g_loss"].reverse()
    assert claims.losses_and_quality(better) == pytest.approx(-1)
    assert claims.losses_and_quality(run()) == 0


def test_a_share_counts_as_larger_from_two_standard_errors_on():
    """Of 1,000 images each: .30 and .26 differ by less than two standard errors, .30 and .25 by more."""
    sevens = [0.1] * 7 + [0.3, 0.0, 0.0]
    rates = [{"strip_9": 0.3, "strip_9_random": share, "samples": sevens} for share in (0.26, 0.25)]
    generators = {str(i): {"recipe": "published", "classifiers": {"cnn": of}} for i, of in enumerate(rates)}
    generators["2"] = {"recipe": "published, without rates"}
    counted = claims.count(results_with(latent_rates={"count": 1000, "generators": generators}))
    found = {claim["id"]: claim for claim in counted}
    strip = found["strip_beats_chance"]
    assert (strip["published"]["k"], strip["published"]["n"], strip["written"]) == (1, 2, None)
    assert strip["unit"] == "generator that draws 1, 6 and 7 (2 of 3 as published)"
    assert found["sevens_space"]["published"]["values"] == pytest.approx([0.3, 0.3])


def test_a_verdict_rests_on_no_limit_of_ours():
    def verdict(holds, *values, **more):
        unit = claims.Unit("", lambda results, side: [(value,) for value in values])
        return claims.measured(claims.Claim("", "", "", unit, float, holds, **more), {}, "written")["verdict"]

    below, near = claims.Rule(operator.lt, 0.1), claims.Rule(claims.near(0.5), 0.05)
    assert below.limits() == pytest.approx([0.1, 0.09, 0.11])
    assert claims.Rule(operator.gt, 0).limits() == [0, 0, 0]
    assert [verdict(below, *[value] * 5) for value in (0.08, 0.095, 0.105, 0.2)] == [
        *("holds", "open", "open", "does not hold")
    ]
    assert [verdict(near, *[value] * 5) for value in (0.5, 0.447, 0.56)] == ["holds", "open", "does not hold"]
    assert verdict(below._replace(ours=False), *[0.105] * 5) == "does not hold"
    assert verdict(below, *[0.2] * 5, decides=("published",)) == "open"


@pytest.mark.parametrize(
    ("k", "n", "wanted"),
    [(5, 5, "holds"), (0, 5, "does not hold"), (4, 5, "open"), (3, 3, "open"), (9, 10, "holds"), (8, 10, "open")],
)
def test_verdict_is_that_of_the_interval_and_of_no_single_unit(k, n, wanted):
    assert claims.verdict(k, n) == wanted
    if wanted != "open":
        for left_out in {min(k, 1), 0} if k < n else {1}:
            low, high = metrics.wilson(k - left_out, n - 1)
            assert low > 0.5 if wanted == "holds" else high < 0.5


def test_what_is_not_there_is_not_counted(tmp_path):
    counted = claims.count(report.load(tmp_path))
    sides = [claim[side] for claim in counted for side in report.SIDES if claim["id"] != "minimax"]
    assert sides == [None] * len(sides)
    rows = report.claim_rows(counted)
    assert sum("not tested" in row for row in rows) == len(rows) - 5  # four are implemented, one is of the record


def test_more_than_five_values_are_told_by_their_median():
    assert report.told([0.1, 0.2, 0.4, 0.5, 0.7]) == "0.1, 0.2, 0.4, 0.5, 0.7"
    assert report.told([0.1, 0.2, 0.4, 0.5, 0.7, 0.9]) == "median 0.45"


def test_report_file_agrees_with_what_was_published(tmp_path, capsys):
    words = ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]
    utils.save_json(tmp_path / "dynamics.json", results_of(COLLAPSED, {})["dynamics"])
    report.main([*words, "--publish"])
    assert "the committed ones" not in capsys.readouterr().out
    utils.save_json(tmp_path / "dynamics.json", results_of(HEALTHY, {})["dynamics"])
    report.main(words)
    out = capsys.readouterr().out
    assert "d_too_strong, as written: true of 0 of 5 here, of 5 of 5 in the committed results" in out
    assert "have the same majority as the committed ones" in (tmp_path / "report.md").read_text()
    assert "**does not hold** (0 of 5: 0.6, 0.6, 0.6, 0.6, 0.6)" in (tmp_path / "report.md").read_text()


def test_a_run_without_evaluations_has_gaps_and_a_foreign_file_is_named(tmp_path):
    (tmp_path / "fig2_initial_losses.png").touch()
    words = ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    found = results_of(COLLAPSED, {})["dynamics"]
    found["runs"]["written_initial_seed0"]["quality"] = []
    utils.save_json(tmp_path / "dynamics.json", found)
    report.main(words)
    assert (
        "| as written | initial | 0 | 20 | 0.05 | 4.00 | 99 % |  |  |  |  |  |" in (tmp_path / "report.md").read_text()
    )
    utils.save_json(tmp_path / "dynamics.json", {"runs": {"a_b_seed0": {}}})
    with pytest.raises(utils.InputError, match="not what dynamics.py writes"):
        report.main(words)


@pytest.mark.usefixtures("committed")
def test_committed_claims_follow_from_committed_results():
    counted = claims.count(report.load(utils.RESULTS))
    assert counted == utils.load_json(utils.RESULTS / "claims.json", "claims")["claims"]
    assert report.agreement(counted, utils.load_json(utils.RESULTS / "published.json", "claims")["claims"])[1:] == []
