"""benchmark.py in small: what it writes is whole and fits together. Nothing here asks how fast anything is."""

import json

import pytest
import torch

import benchmark


def test_rows_ratios_and_shares_belong_together(tmp_path):
    words = ["--lengths", "3", "--rounds", "1", "--batch-size", "4", "--hidden-size", "8", "--device", "cpu"]
    words += ["--threads", str(torch.get_num_threads()), "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    benchmark.main(words)
    result = json.loads((tmp_path / "benchmark.json").read_text())
    times = {row["peer"]: row["milliseconds"] for row in result["rows"]}
    assert list(times) == benchmark.PEERS
    for a, b in benchmark.RATIOS:
        assert result["ratios"][f"{a} / {b}"]["3"] == pytest.approx(times[a] / times[b])
    for peers in result["shares"].values():
        for parts in peers.values():
            assert sum(parts.values()) == pytest.approx(1)
            assert 0 < parts["products"] < 1
    assert (tmp_path / "lstm_speed.png").read_bytes().startswith(b"\x89PNG")
