"""The verdicts on the report's claims, from planted results."""

import copy
import json
import subprocess

import pytest

import report
from utils import RESULTS

ROOT = RESULTS.parent.parent


def runs_of(cell, length, accuracies, epochs):
    return [
        {"cell": cell, "input_length": length, "accuracy": a, "test_accuracy": a, "epochs": e, "reached": a >= 0.99}
        for a, e in zip(accuracies, epochs, strict=True)
    ]


def row_of(cell, length, accuracies, updates, **others):
    return others | {
        "cell": cell,
        "input_length": length,
        "runs": len(accuracies),
        "median": sorted(accuracies)[len(accuracies) // 2],
        "mean": sum(accuracies) / len(accuracies),
        "success_rate": sum(a >= 0.99 for a in accuracies) / len(accuracies),
        "median_updates_to_99": updates,
    }


COMPARE = {
    "config": {"optimizer": "rmsprop", "seeds": 3, "epochs": 100},
    "provenance": {"git_commit": "0123456789"},
    "runs": runs_of("lstm", 3, [0.95, 1, 0.95], [100, 28, 100])
    + runs_of("rnn", 3, [1, 1, 1], [5, 5, 5])
    + runs_of("lstm", 25, [1, 1, 1], [20, 21, 22])
    + runs_of("rnn", 25, [1, 0.2, 0.3], [9, 100, 100]),
    "summary": [
        row_of("lstm", 3, [0.95, 1, 0.95], 40),
        row_of("rnn", 3, [1, 1, 1], 5),
        row_of("lstm", 25, [1, 1, 1], 1200),
        row_of("rnn", 25, [1, 0.2, 0.3], 500),
    ],
}


def changed(where, value):
    """COMPARE with one run's or row's numbers replaced."""
    compare = copy.deepcopy(COMPARE)
    (part, index), name = where
    compare[part][index][name] = value
    return compare


@pytest.mark.parametrize(
    ("ask", "compare", "verdict"),
    [
        (report.exactly_100, COMPARE, report.HOLDS),
        (report.exactly_100, changed((("runs", 6), "accuracy"), 0.999), report.PART),
        (report.early_stop, COMPARE, report.HOLDS),
        (report.early_stop, changed((("runs", 6), "epochs"), 31), report.NOT),
        (report.short_of_100, COMPARE, report.HOLDS),
        (report.short_of_100, changed((("runs", 0), "accuracy"), 1), report.PART),
        (report.stays_high, COMPARE, report.HOLDS),
        (report.stays_high, changed((("summary", 2), "success_rate"), 2 / 3), report.PART),
        (report.superior, COMPARE, report.PART),  # more runs, but the RNN is quicker where it gets there
        (report.superior, changed((("summary", 3), "median_updates_to_99"), 1300), report.HOLDS),
    ],
)
def test_verdicts(ask, compare, verdict):
    measured, found = ask(compare)
    assert found == verdict
    assert measured


@pytest.mark.parametrize(("lstm", "verdict"), [(50, report.HOLDS), (1e19, report.PART)])
def test_the_gradient_has_to_vanish_in_the_rnn_alone(lstm, verdict):
    """An LSTM with another forget bias does not count for the plain one."""
    summary = [
        {"trained_on": trained, "network": network, "last_over_first": {"h": {"median": ratio}}}
        for trained in (None, 25)
        for network, ratio in (("vanilla RNN", 1e25), ("LSTM", lstm), ("LSTM, forget bias 4", 2))
    ]
    assert report.vanishing({"answer": ["..."], "summary": summary}) == ("...", verdict)


def test_the_model_is_what_the_report_says():
    measured, verdict = report.from_scratch()
    assert verdict == report.HOLDS
    assert "72,458" in measured


def test_missing_results_are_not_claims(tmp_path, capsys):
    (tmp_path / "compare.json").write_text(json.dumps(COMPARE))
    report.main(["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")])
    claims = json.loads((tmp_path / "claims.json").read_text())["claims"]
    verdicts = {claim["says"]: claim["verdict"] for claim in claims}
    assert len(claims) == len(report.CLAIMS)
    assert {claim["verdict"] for claim in claims if claim["source"] not in ("compare.json", None)} == {report.UNTESTED}
    assert verdicts["exactly 100% accuracy on sequences of length 25"] == report.HOLDS
    text = (tmp_path / "report.md").read_text()
    assert all(claim["says"] in text and claim["measured"] in text for claim in claims)
    assert "run studies/protocols.py" in text
    assert report.UNTESTED in capsys.readouterr().out


def as_committed():
    """Whether README and results are here, and as they were committed: runs of one's own may change them."""
    command = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", "README.md", "results"]
    files = ROOT / "README.md", RESULTS / "claims.json"
    return all(file.exists() for file in files) and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not as_committed(), reason="the results here are not those of the repository")
def test_committed_claims_follow_from_committed_results_and_stand_in_the_readme():
    claims = report.verdicts(report.load(RESULTS))
    assert claims == json.loads((RESULTS / "claims.json").read_text())["claims"]
    assert report.UNTESTED not in {claim["verdict"] for claim in claims}
    readme = (ROOT / "README.md").read_text()
    assert [claim["id"] for claim in claims if f"| {claim['says']} | **{claim['verdict']}** |" not in readme] == []
