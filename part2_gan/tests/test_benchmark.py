"""benchmark.py in small: what it writes is whole and fits together. Nothing here asks how fast anything is."""

import json

import pytest

import benchmark
from utils import InputError


def small(folder, *options):
    words = ["--dataset", "typeset", "--limit", "300", "--archs", "balanced", "--rounds", "1", "--device", "cpu"]
    benchmark.main([*words, "--batch-size", "20", "--out-dir", str(folder), "--threads", "1", *options])


def test_every_rung_is_measured(tmp_path):
    small(tmp_path, "--steps", "3")
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["config"] == {"batch_size": 20, "steps": 3, "rounds": 1, "seed": 0, "dataset": "typeset"}
    rows = {row["rung"]: row for row in result["rows"]}
    assert set(rows) >= {*benchmark.RUNGS, "train.py", benchmark.PRODUCTS}
    usual = rows["usual script"]
    assert usual["times_the_usual"] == 1
    for row in rows.values():
        assert row["times_the_usual"] == pytest.approx(usual["milliseconds"] / row["milliseconds"])


def test_more_steps_than_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="16 steps of 20 need more than the 300 images"):
        small(tmp_path, "--steps", "16")
