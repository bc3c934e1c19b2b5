"""benchmark.py in small: what it writes is whole and fits together. Nothing here asks how fast anything is."""

import json

import pytest
import torch

import benchmark
from utils import InputError


def small(monkeypatch, folder, *options):
    words = ["benchmark.py", "--dataset", "typeset", "--limit", "300", "--archs", "balanced", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", [*words, "--batch-size", "20", "--out-dir", str(folder), *options])
    benchmark.main()


def test_ratios_and_shares_belong_to_the_times(tmp_path, monkeypatch):
    small(monkeypatch, tmp_path, "--steps", "3", "--device", "cpu", "--threads", str(torch.get_num_threads()))
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["config"] == {"batch_size": 20, "steps": 3, "rounds": 1, "seed": 0, "dataset": "typeset"}
    found = result["archs"]["balanced"]
    times = found["milliseconds_a_step"]
    assert set(times) == {"usual", "fp32", "bf16", "products", "products bf16"}
    for a, b in benchmark.RATIOS:
        assert found["ratios"][f"{a} / {b}"] == pytest.approx(times[a] / times[b])
    for parts in found["shares"].values():
        assert sum(parts.values()) == pytest.approx(1)
        assert min(parts["products"], parts["Adam"], parts["batch norm"]) > 0


def test_more_steps_than_images_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="16 steps of 20 need more than the 300 images"):
        small(monkeypatch, tmp_path, "--steps", "16")
