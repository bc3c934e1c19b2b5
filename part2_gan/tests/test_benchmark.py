"""benchmark.py in small: what it writes is whole and consistent. Nothing here asks how fast anything is."""

import json

import pytest
from conftest import TYPESET

import benchmark
import dataset
import train
from utils import InputError

SMALL = [*TYPESET, "--limit", "300", "--archs", "balanced", "--rounds", "1", "--device", "cpu", "--batch-size", "20"]


def test_every_rung_is_measured(tmp_path, monkeypatch):
    images, _ = dataset.load(train.parse_args([*TYPESET, "--limit", "300"]))

    def measure_here(rung, arch, args, device):
        """In this process: a new one for each rung takes seconds to start."""
        return benchmark.peak_mib(rung, arch, images, args, device)

    monkeypatch.setattr(benchmark, "measure_memory", measure_here)
    benchmark.main([*SMALL, "--out-dir", str(tmp_path), "--steps", "3"])
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["config"] == {"batch_size": 20, "steps": 3, "rounds": 1, "seed": 0, "dataset": "typeset"}
    rows = {row["rung"]: row for row in result["rows"]}
    assert set(rows) >= {*benchmark.RUNGS, "train.py", benchmark.PRODUCTS}
    usual = rows["usual script"]
    assert usual["times_the_usual"] == 1
    for row in rows.values():
        assert row["times_the_usual"] == pytest.approx(usual["milliseconds"] / row["milliseconds"])
        assert (row["peak_mib"] is None) == (row["rung"] == benchmark.PRODUCTS)


def test_memory_of_one_rung_is_printed(capsys):
    """What a process of its own does for the table."""
    benchmark.main([*SMALL, "--steps", "2", "--memory-of", "train.py"])
    assert 0 <= json.loads(capsys.readouterr().out) < 2000


def test_more_steps_than_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="--steps 16 of --batch-size 20 need 320 images, and there are 300"):
        benchmark.main([*SMALL, "--out-dir", str(tmp_path), "--steps", "16"])
