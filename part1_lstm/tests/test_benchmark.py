"""benchmark.py and studies/sweep_speed.py in small: what they write is complete. Nothing here tests speed."""

import json

import pytest

import benchmark
import report


def test_every_variant_is_measured(tmp_path, monkeypatch, capsys):
    variants = [variant for variant in benchmark.VARIANTS if "compiled" not in variant]
    monkeypatch.setattr(benchmark, "VARIANTS", variants)
    monkeypatch.setattr(benchmark, "measure_memory", benchmark.peak_mib)  # in this process: less exact, much faster
    words = ["--lengths", "3", "--rounds", "1", "--batch-size", "4", "--hidden-size", "8", "--device", "cpu"]
    words += ["--threads", "1", "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    benchmark.main(words)
    result = json.loads((tmp_path / "benchmark.json").read_text())
    rows = {row["variant"]: row for row in result["rows"]}
    assert list(rows) == benchmark.VARIANTS
    for row in rows.values():
        assert row["of_nn_lstm"] == pytest.approx(row["milliseconds"] / rows["nn.LSTM"]["milliseconds"])
    assert (tmp_path / "lstm_speed.png").read_bytes().startswith(b"\x89PNG")
    assert any("1 thread" in line for line in report.speed({"benchmark": result}))
    capsys.readouterr()
    benchmark.main([*words, "--memory-of", "fast"])
    assert float(capsys.readouterr().out) >= 0
