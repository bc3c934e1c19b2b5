"""The report's statements: verdicts, counts on planted rows with a known answer, the committed counts."""

import pytest
from conftest import RESULTS

import claims
import files
import report

LSTM, RNN = {"cell": "lstm", "forget_bias": None}, {"cell": "rnn", "forget_bias": None}


def figure_1():
    """Six seeds, all of them right but for what is changed below; what must not count is 0."""
    rows = {
        (side, cell, length, seed): {"side": side, "cell": cell, "input_length": length, "seed": seed}
        | {"accuracy": 1.0 * (side == "code"), "val_accuracy": 1.0 * (side == "text" and length <= 7)}
        | {"test_accuracy": None if length <= 7 else 1.0, "reached": True, "epochs_trained": 29}
        for side in claims.SIDES
        for cell in ("lstm", "rnn")
        for length in (3, 7, 13, 15, 19, 25)
        for seed in range(6)
    }
    changes = [("lstm", 15, 0, 0.99), ("lstm", 19, 1, 0.9899), ("lstm", 13, 2, 0.5), ("rnn", 7, 0, 0.8)]
    changes += [("rnn", 13, 1, 0.7999), ("rnn", 19, 2, 0.89), ("rnn", 25, 2, 0.89)]
    changes += [("rnn", 19, 3, 0.91), ("rnn", 25, 3, 0.91)]
    for side in claims.SIDES:
        for cell, length, seed, value in changes:
            name = "accuracy" if side == "code" else "val_accuracy" if length <= 7 else "test_accuracy"
            rows[side, cell, length, seed][name] = value
        rows[side, "lstm", 25, 0]["test_accuracy"] = 0.9999
        rows[side, "lstm", 3, 0]["epochs_trained"] = 30
        rows[side, "lstm", 3, 1].update(epochs_trained=10, reached=False)
    return list(rows.values())


def repetition():
    rows = []
    for cell in LSTM, RNN:
        for size, end in (0, 2000), (8000, 6300):  # what counts as the end of training
            rows += [
                {**cell, "input_length": 15, "size": size, "updates_to_99": reached, "gradients": gradients}
                for reached, gradients in [
                    (None, [[500, 1], [end, 1001], [end + 500, 1]]),
                    (None, [[end, None]]),  # nothing is left of the gradient
                    (None, [[500, 2000], [end, 1000]]),
                    (end + 100, [[end, 5000], [end + 100, 1]]),
                    (end, [[end, 2000]]),
                    (300, [[300, 1]]),
                ]
            ]
    rows += [row | change for row in rows for change in ({"input_length": 13}, {"input_length": 50})]
    rows += [row | {"forget_bias": 4.0} for row in rows]
    ends = (900, [[500, 1001]]), (None, [[500, None]]), (700, [[500, 1000]]), (300, [[300, 9999]])
    big = {**LSTM, "input_length": 25, "size": 64_000}
    return rows + [big | {"updates_to_99": reached, "gradients": gradients} for reached, gradients in ends]


def three_digits():
    rows, seeds = [], [(0.99, 1, 160, 150), (0.97, 0.99, 160, 160), (1, 1, None, 400), (0.9, 1, 300, None)]
    for seed, (budget, end, whole, half) in enumerate(seeds):
        row = {"cell": "lstm", "seed": seed, "accuracy_at_100": budget, "accuracy_at_end": end}
        rows += [row | {"hidden_size": 128, "updates_to_99": whole}, row | {"hidden_size": 64, "updates_to_99": half}]
        rows += [row | {"cell": "rnn", "hidden_size": 128, "updates_to_99": 5}]
    return rows


PLANTED = {
    "compare": figure_1(),
    "repetition": repetition(),
    "long_inputs": [
        {"cell": cell, "forget_bias": bias, "input_length": length, "test_accuracy": accuracy}
        for cell, bias, length, accuracy in [("lstm", None, 35, 0.99), ("lstm", None, 35, 0.9899)]
        + [("lstm", None, 50, 0.5), ("rnn", None, 35, 1), ("lstm", 4.0, 50, 1)]
    ],
    "three_digits": three_digits(),
    "gradients": [
        {"network": network, "trained_on": trained, "curve": [1e-9] * 75 + [first] + [1.0] * 24}
        for network, trained, first in [("LSTM", None, 1e-3), ("LSTM", None, 9e-4), ("LSTM", None, 0)]
        + [("LSTM", 25, 1), ("vanilla RNN", None, 1)]
    ],
}
BOTH = {"under_30_epochs": (34, 36), "rnn_short": (11, 12), "rnn_degrades": (1, 6), "vanishing": (3, 4)}
BOTH |= {"vanishing_learned": (1, 2), "lstm_stays_high": (17, 18), "exactly_100": (5, 6), "lstm_superior": (3, 6)}
TEXT = {"vanishing_recovers": (1, 2), "few_updates": (2, 3), "lighter": (2, 4), "long_term": (1, 2)}
TEXT |= {"longer_term": (0, 1), "addressed_before": (1, 3), "addressed": (2, 6), "addressed_fresh": (2, 6)}


def counted(counts, side):
    """{claim: (true, units)} of the claims that were counted."""
    return {name: (claim[side]["k"], claim[side]["n"]) for name, claim in counts.items() if claim[side]}


def test_counts_on_planted_rows():
    """Every claim but that of what was built; without rows none."""
    counts = claims.count(report.CLAIMS, PLANTED)
    assert (counted(counts, "code"), counted(counts, "text")) == (BOTH, BOTH | TEXT)
    assert counts.keys() - (BOTH | TEXT).keys() == {"from_scratch"}
    assert not any(counted(claims.count(report.CLAIMS, {}), side) for side in claims.SIDES)


def test_verdicts():
    """From five in six on, up to one in six; none below five units."""
    table = {(5, 6): "yes", (25, 30): "yes", (5, 5): "yes", (24, 30): "mixed", (4, 5): "mixed", (6, 30): "mixed"}
    table |= {(5, 30): "no", (1, 6): "no", (0, 5): "no", (4, 4): "", (0, 1): ""}
    for (k, n), said in table.items():
        assert claims.verdict([True] * k + [False] * (n - k)) == {"k": k, "n": n, "verdict": said}


def test_report_of_planted_rows(tmp_path, monkeypatch, script):
    def write():
        return claims.main("Title", "Text.", report.CLAIMS, report.CAPTIONS, report.load)

    monkeypatch.setattr(claims.utils, "RESULTS", tmp_path)
    nothing = f"script.py: {tmp_path}: no study's rows are here; run a study first\n"
    assert script(write, "--out-dir", tmp_path) == (2, nothing)
    for study, rows in PLANTED.items():
        files.save(tmp_path / f"{study}.json", {"study": study, "rows": {str(n): row for n, row in enumerate(rows)}})
    (tmp_path / "fig1_lstm_vs_rnn.png").touch()
    assert script(write, "--out-dir", tmp_path) == (0, "")
    counts = files.load(tmp_path / "claims.json")["claims"]
    assert counted(counts, "text") == BOTH | TEXT
    text = (tmp_path / "report.md").read_text()
    assert (
        "| no error on 10,000 test palindromes (the author's own mean is .9998) | LSTM run | yes 5 of 6 | yes 5 of 6 |"
        in text
    )
    assert text.count("![") == text.count("![fig1_lstm_vs_rnn](fig1_lstm_vs_rnn.png)") == 1

    counts["exactly_100"]["text"]["k"], counts["lighter"]["text"]["k"] = 4, 3
    assert claims.agreement(counts, tmp_path / "claims.json") == [
        "lighter, text: 3 of 4 here, 2 of 4 in the repository",
        "part1_lstm: 23 of 24 counts agree with the repository's",
    ]


@pytest.mark.usefixtures("committed")
def test_committed_counts_are_those_of_the_committed_rows():
    assert claims.count(report.CLAIMS, report.load(RESULTS)) == files.load(RESULTS / "claims.json")["claims"]
