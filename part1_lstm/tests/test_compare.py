"""The sweep behind figure 1."""

import json

import pytest

import compare
import sweep
import train
from run_folder import settings

TINY = ["--lengths", "3", "8", "--seeds", "1", "--hidden-size", "4", "--total-len", "60", "--workers", "1"]
TINY += ["--updates", "100"]


def test_sweep_writes_figure_and_summary_and_skips_finished_runs(tmp_path, monkeypatch, capsys):
    options = [*TINY, "--epochs", "2", "--out-dir", str(tmp_path / "out"), "--figures-dir", str(tmp_path / "figures")]
    compare.main(options)
    first = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [(entry["side"], entry["cell"], entry["input_length"], entry["seed"]) for entry in first["runs"]] == [
        (side, cell, length, 0) for side in ("published", "written") for cell in ("lstm", "rnn") for length in (3, 8)
    ]
    assert [entry["updates"] for entry in first["runs"] if (entry["side"], entry["cell"]) == ("published", "rnn")] == [
        100, 100
    ]  # fmt: skip
    assert first["config"]["total_len"] == 60
    figure = tmp_path / "figures" / "fig1_lstm_vs_rnn.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert 10_000 < figure.stat().st_size < 400_000

    def refuse(*_, **__):
        raise AssertionError("a run was started")

    figure.unlink()
    monkeypatch.setattr(train, "train", refuse)
    compare.main(options)
    second = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (second["runs"], second["summary"]) == (first["runs"], first["summary"])
    assert figure.exists()

    for changed in (["--epochs", "3"], ["--seeds", "2"], ["--lr", "0.1"]):  # other runs than the finished ones
        with pytest.raises(AssertionError, match="a run was started"):
            compare.main([*options, *changed])


def test_a_run_of_the_sweep_is_the_run_of_train(tmp_path):
    """Same options, same numbers: the sweep has no training of its own."""
    plans = compare.plan(compare.parse_args([*TINY, "--epochs", "2", "--seed", "5", "--out-dir", str(tmp_path)]))
    assert [(run.input_length, run.cell, run.seed) for _, run in plans] == [
        (length, cell, 5) for length in (8, 3) for cell in ("rnn", "lstm") for _ in compare.SIDES
    ]
    options = ["--cell", "rnn", "--input-length", "8", "--hidden-size", "4", "--total-len", "60", "--epochs", "2"]
    alone = train.parse_args([*options, "--seed", "5", "--out-dir", str(tmp_path)])
    assert settings(plans[0][1]) == settings(alone)


def test_default_sweep_has_the_protocols_of_the_report():
    """As written those of its text, for both cells; as published those of its code, one for each."""
    plans = compare.plan(compare.parse_args([]))
    assert len(plans) == len({train.run_name(run) for _, run in plans}) == 2 * 9 * 2 * 5
    text = {"batch_size": 128, "hidden_size": 128, "lr": 0.001, "epochs": 100, "clip": 10.0, "total_len": 10_000}
    text |= {"train_portion": 0.8, "optimizer": "rmsprop"}
    for side, run in plans:
        own = {"protocol": "split", "stop_at": 0.99, "data_seed": 42}
        if side == "published" and run.cell == "lstm":
            own |= {"stop_at": 0.999, "data_seed": run.seed}
        elif side == "published":
            own |= {"protocol": "fresh", "updates": 2000}
        assert {name: getattr(run, name) for name in text | own} == text | own


def test_summary():
    runs = [
        {"cell": cell, "input_length": 9, "accuracy": best, "test_accuracy": test, "reached": best > 0.9}
        | {"epochs": epochs, "updates_to_99": updates}
        for cell, best, test, epochs, updates in (
            ("lstm", 1.0, 0.9, 3, 189), ("lstm", 0.4, 0.2, 100, None), ("lstm", 0.95, 0.7, 5, 63),
            ("rnn", 0.5, None, 100, None),
        )
    ]  # fmt: skip
    lstm, rnn = compare.summarise(runs, ("cell", "input_length"))
    assert (lstm["median"], lstm["median_test_accuracy"], lstm["median_epochs"], lstm["runs"]) == (0.95, 0.7, 5, 3)
    assert lstm["mean"] == pytest.approx(2.35 / 3)
    assert lstm["std"] == pytest.approx(0.33292, abs=1e-5)
    assert lstm["success_rate"] == pytest.approx(2 / 3)
    assert lstm["success_interval"] == sweep.wilson(2, 3)
    assert (lstm["median_updates_to_99"], lstm["updates_to_99"]) == (189, [63, 189, None])
    assert (rnn["std"], rnn["median_test_accuracy"], rnn["success_rate"]) == (0.0, None, 0.0)
    assert (rnn["median_updates_to_99"], rnn["updates_to_99"]) == (None, [None])


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(5, 5, 0.5655, 1), (0, 5, 0, 0.4345), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)]
    + [(0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_against_published_values(successes, count, low, high):
    """All but the first two: Newcombe 1998, Two-sided confidence intervals for the single proportion, table I."""
    assert sweep.wilson(successes, count) == pytest.approx((low, high), abs=5e-5)
