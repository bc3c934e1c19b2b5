"""The verdicts on the report's claims, from planted results and from the committed ones."""

import json
import subprocess

import pytest

import claims
import report
import utils

ROOT = utils.RESULTS.parent.parent


def as_committed():
    """Whether README and results are here, and as they were committed: runs of one's own may change them."""
    command = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", "README.md", "results"]
    files = ROOT / "README.md", utils.RESULTS / "claims.json"
    return all(file.exists() for file in files) and subprocess.run(command, capture_output=True).returncode == 0


def epoch(d_loss, g_loss, d_accuracy, g_grad_norm):
    return {"last_epoch": {"d_loss": d_loss, "g_loss": g_loss, "d_accuracy": d_accuracy, "g_grad_norm": g_grad_norm}}


def results_of(initial, balanced, control):
    runs = {"initial": epoch(*initial), "initial_alternating": epoch(*initial)}
    runs |= {"balanced": epoch(*balanced), "initial_mended": epoch(*control)}
    return {"study": {"runs": runs}, "grid": None, "evaluate": None, "recipes": None}


REPORT = results_of((0.05, 5, 0.99, 0.01), (0.69, 0.7, 0.505, 1), (0.05, 5, 0.99, 0.01))  # as the report has it
OTHER = results_of((0.3, 1, 0.7, 5), (0.5, 2, 0.9, 1), (0.6, 1, 0.6, 1))


@pytest.mark.parametrize(
    "ask",
    [
        claims.d_loss_falls,
        claims.g_loss_high,
        claims.d_overpowers,
        claims.no_gradient,
        claims.capacity_is_the_cure,
        claims.near_log2,
        claims.d_guesses,
    ],
    ids=lambda ask: ask.__name__,
)
def test_verdicts_follow_the_numbers(ask):
    measured, verdict = ask(REPORT)
    assert verdict == claims.HOLDS
    assert measured
    assert ask(OTHER)[1] in (claims.NOT, claims.PART)
    assert ask(OTHER)[0] != measured


@pytest.mark.parametrize("histogram", [[0] * 10, [90, 10, *[0] * 8]])
def test_samples_of_which_none_is_surely_read(histogram):
    entry = {"frechet_distance": 300.0, "floor": 5.0, "histogram": histogram, "confident_share": sum(histogram) / 1000}
    measured, verdict = claims.unsatisfactory({"evaluate": {"initial": entry}})
    assert verdict == claims.HOLDS
    assert ("90 % of these as one digit" in measured) == any(histogram)


def test_missing_results_are_not_judged(tmp_path):
    judged = claims.judge(report.read(tmp_path))
    assert len(judged) == len(claims.CLAIMS)
    assert {claim["verdict"] for claim in judged} == {claims.UNTESTED}
    (tmp_path / "study.json").write_text(json.dumps(REPORT["study"]))
    verdicts = {claim["says"]: claim["verdict"] for claim in claims.judge(report.read(tmp_path))}
    assert verdicts["the loss of both networks hovers around log 2"] == claims.HOLDS
    assert verdicts["7 - 1 + 6 is about 9"] == claims.UNTESTED
    assert list(verdicts.values()).count(claims.UNTESTED) == len(judged) - 7  # the architecture needs the config


def test_report_file(tmp_path):
    judged = claims.judge(report.read(tmp_path))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "fig7_roof_to_6.png").touch()
    report.write(judged, report.read(tmp_path), report.Path("figures"), tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert text.count("![") == 1
    assert "](figures/fig7_roof_to_6.png)" in text
    assert all(f"| {claim['says']} | {claim['measured']} | **not tested** |" in text for claim in judged)


@pytest.mark.skipif(not as_committed(), reason="the results here are not those of the repository")
def test_committed_claims_follow_from_committed_results_and_stand_in_the_readme():
    judged = claims.judge(report.read(utils.RESULTS))
    assert judged == json.loads((utils.RESULTS / "claims.json").read_text())["claims"]
    assert claims.UNTESTED not in {claim["verdict"] for claim in judged}
    readme = (ROOT / "README.md").read_text()
    assert [claim["id"] for claim in judged if f"| {claim['says']} | **{claim['verdict']}** |" not in readme] == []
    assert "lacks some" not in (utils.RESULTS / "report.md").read_text()
