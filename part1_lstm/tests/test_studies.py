"""The studies that are sweeps: protocols, long_inputs and repetition."""

import json
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

import compare
import dataset
import sweep
import train
import utils
from rnn import VanillaRNN
from run_folder import settings
from studies import gradients, long_inputs, protocols, repetition

TINY = ["--hidden-size", "4", "--total-len", "60", "--batch-size", "32", "--epochs", "2", "--workers", "1"]


def run_of(run_args):
    return sweep.folder_of(run_args), settings(run_args)


def test_the_studies_share_runs_with_figure_1():
    """And no two different runs have one folder."""
    figure1 = [run_of(run_args) for _, run_args in compare.plan(compare.parse_args([]))]
    planned = list(map(run_of, protocols.plan(protocols.parse_args([]))))
    planned += list(map(run_of, long_inputs.plan(long_inputs.parse_args([]))))
    assert len(planned) == 7 * 45 + (4 + 4 + 5) * 5
    assert len({folder for folder, _ in planned}) == len(planned)
    assert sum(run not in planned for run in figure1) == 45  # the LSTM as published alone


def test_protocols(tmp_path, monkeypatch):
    places = ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    options = [*TINY, *places, "--lengths", "3", "5", "--seeds", "1", "--updates", "100"]
    with mock.patch.object(compare, "plot"):
        compare.main(options)
    started, real = [], train.train

    def counted(run_args, **keywords):
        started.append(train.run_name(run_args))
        return real(run_args, **keywords)

    monkeypatch.setattr(train, "train", counted)
    protocols.main(options)
    found = json.loads((tmp_path / "protocols.json").read_text())
    assert len(started) == len(set(started)) == (7 - 3) * 2  # three series are figure 1's
    groups = [tuple(row[key] for key in protocols.KEYS) for row in found["summary"]]
    assert len(groups) == len(set(groups)) == len(found["runs"]) == 7 * 2
    assert {(run["protocol"], run["updates"]) for run in found["runs"] if run["protocol"] == "fresh"} == {
        ("fresh", 100)
    }
    for name in "protocols", "updates_to_99":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.png").stat().st_size < 400_000


def test_long_inputs(tmp_path):
    options = ["--lengths", "5", "--far-lengths", "5", "6", "--farthest-lengths", "7", "--far-epochs", "1"]
    options += ["--seeds", "2", "--forget-biases", "1", "3"]
    long_inputs.main([*TINY, *options, "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)])
    found = json.loads((tmp_path / "long_inputs.json").read_text())
    assert [row["input_length"] for row in found["summary"]] == [5, 6, 5, 6, 5, 6, 7, 5, 6, 7]
    assert {row["forget_bias"] for row in found["summary"]} == {None, 1.0, 3.0}
    assert {row["runs"] for row in found["summary"]} == {2}
    assert {(run["input_length"], run["epochs"]) for run in found["runs"]} == {(5, 2), (6, 1), (7, 1)}
    assert (tmp_path / "long_inputs.png").read_bytes().startswith(b"\x89PNG")


REPETITION = ["--lengths", "7", "--sizes", "500", "0", "--seeds", "1", "--updates", "10", "--every", "2"]
REPETITION += ["--hidden-size", "4", "--batch-size", "32", "--workers", "1"]


def test_repetition(tmp_path, monkeypatch):
    """Every run, its gradient after the fifth evaluation, the figure; a second call trains only what is missing."""
    places = ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    repetition.main([*REPETITION, *places])
    found = utils.load_json(tmp_path / "repetition.json", "config", "provenance", "summary", "runs")
    groups = [(cell, 7, size) for cell in ("lstm", "rnn") for size in (500, 0)]
    assert [(row["cell"], row["input_length"], row["size"]) for row in found["summary"]] == groups
    assert [(run["cell"], run["input_length"], run["size"]) for run in found["runs"]] == groups
    assert all([updates for updates, _ in run["gradients"]] == [10] for run in found["runs"])
    assert str(tmp_path) not in (tmp_path / "repetition.json").read_text()
    assert (tmp_path / "repetition.png").read_bytes().startswith(b"\x89PNG")

    (tmp_path / "repetition" / "rnn_T7_500_seed0.json").unlink()
    monkeypatch.setattr(repetition, "draw", lambda *_: None)
    with mock.patch.object(train, "train_epoch", wraps=train.train_epoch) as trained:
        repetition.main([*REPETITION, *places])
    assert trained.call_count == 5
    assert utils.load_json(tmp_path / "repetition.json")["runs"] == found["runs"]
    with pytest.raises(utils.InputError, match="6001: with 4000 more that is over the 10000 palindromes of 8 digits"):
        repetition.main([*REPETITION, *places, "--sizes", "6001"])


def test_repetition_by_hand(tmp_path):
    """A run on fresh batches, compared with the usual loop over batches."""
    args = repetition.parse_args([*REPETITION, "--sizes", "0", "--out-dir", str(tmp_path), "--optimizer", "adam"])
    job = next(job for job in repetition.plan(args) if job.cell == "rnn")
    (tmp_path / "repetition").mkdir()
    result = repetition.train_one(job)
    torch.manual_seed(0)
    model = VanillaRNN(hidden_size=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    shuffle, losses = torch.Generator().manual_seed(0), []
    for _ in range(5):
        digits, targets = dataset.draw(7, 64, shuffle)
        for rows in slice(0, 32), slice(32, 64):
            loss = F.cross_entropy(model(digits[rows].long()), targets[rows])
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
            optimizer.step()
    assert [row[1] for row in result["history"]] == pytest.approx([sum(losses[i : i + 2]) / 2 for i in range(0, 10, 2)])
    digits, targets = (part[: repetition.TEST] for part in dataset.load(7, 4000, 0.5, 42, 0)["test"])
    accuracy = (model(digits.long()).argmax(1) == targets).double().mean().item()
    assert result["history"][-1][3] == pytest.approx(accuracy, abs=2e-3)
    curve = gradients.gradient_curves(model.double(), digits[:32].long(), targets[:32])["h"]
    assert result["gradients"] == [[10, pytest.approx((curve[-1] / curve[0]).item(), rel=1e-3)]]


def test_summary_of_repetition():
    """A run that failed with its gradient gone, one that failed otherwise, and one that reached 99 %."""
    common = {"cell": "rnn", "input_length": 15, "size": 8000}
    ends = [(None, [[10, 2.0], [20, None]]), (None, [[20, 999.0]]), (300, [[300, 1001.0]])]
    runs = [common | {"updates_to_99": reached, "gradients": ratios} for reached, ratios in ends]
    (row,) = repetition.summarise(runs)
    assert row["vanished"] == {"failed": 1, "reached": 1}
    assert (row["runs"], row["reached"], row["median_updates_to_99"]) == (3, 1, None)
    assert row["updates_to_99"] == [300, None, None]
