"""benchmark.py and studies/sweep_speed.py in small: what they write is complete. Nothing here tests speed."""

import json

import pytest
import torch

import benchmark
import report
from studies import sweep_speed


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


def test_a_step_trains_the_model_that_it_is_given():
    for form in benchmark.training_step, benchmark.own_training_step:
        model = benchmark.FastLSTM(hidden_size=4)
        step = form(model, torch.randint(10, (8, 5)), torch.randint(10, (8,)))
        before = [parameter.clone() for parameter in model.parameters()]
        step(1)
        step(5)
        assert not any(map(torch.equal, before, model.parameters()))


def test_the_usual_script_learns(tmp_path):
    args = sweep_speed.parse_args(["--lengths", "3", "--epochs", "60", "--out-dir", str(tmp_path)])
    for options in sweep_speed.plan(args, tmp_path):
        assert sweep_speed.usual_run(options, torch.device("cpu")) > 0.9
