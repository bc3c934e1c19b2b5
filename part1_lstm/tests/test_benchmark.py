"""benchmark.py in small: what it writes is whole and fits together. Nothing here asks how fast anything is."""

import json

import pytest

import benchmark
import report


def test_every_peer_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "PEERS", [peer for peer in benchmark.PEERS if "compiled" not in peer])
    words = ["--lengths", "3", "--rounds", "1", "--batch-size", "4", "--hidden-size", "8", "--device", "cpu"]
    words += ["--threads", "1", "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    benchmark.main(words)
    result = json.loads((tmp_path / "benchmark.json").read_text())
    rows = {row["peer"]: row for row in result["rows"]}
    assert list(rows) == benchmark.PEERS
    for row in rows.values():
        assert row["of_nn_lstm"] == pytest.approx(row["milliseconds"] / rows["nn.LSTM"]["milliseconds"])
    assert (tmp_path / "lstm_speed.png").read_bytes().startswith(b"\x89PNG")
    assert any("1 thread" in line for line in report.speed(result))
