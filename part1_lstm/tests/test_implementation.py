"""What is read is what runs: edits of the equations and new cells, each in a copy of this folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cells
import train
import utils

PART = Path(__file__).resolve().parent.parent
SMALL = ["--input-length", "4", "--total-len", "200", "--epochs", "2", "--threads", "1", "--hidden-size", "16"]
NAME = "lstm_T4_rmsprop_seed0"

# The README's own words for a third cell.
GRU = '''"""A GRU (Cho et al. 2014)."""

import torch
import torch.nn.functional as F
from torch import nn


class GRU(nn.Module):
    def __init__(self, input_size=10, hidden_size=128, num_classes=10):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W_zx, self.W_zh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_rx, self.W_rh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_nx, self.W_nh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_ph = nn.Linear(hidden_size, num_classes)

    def forward(self, digits):
        x = F.one_hot(digits, self.input_size).to(self.W_ph.weight.dtype)
        h = x.new_zeros(len(digits), self.hidden_size)
        for x_t in x.unbind(dim=1):
            z = torch.sigmoid(self.W_zx(x_t) + self.W_zh(h))
            r = torch.sigmoid(self.W_rx(x_t) + self.W_rh(h))
            n = torch.tanh(self.W_nx(x_t) + self.W_nh(r * h))
            h = (1 - z) * n + z * h
        return self.W_ph(h)
'''


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(PART, tmp_path / "part1_lstm", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return tmp_path / "part1_lstm"


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def start(script, *options):
    """Run a script of a copy by its own files alone; returns its standard output and its standard error."""
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, script, *map(str, options)], capture_output=True, text=True, env=environment, cwd="/"
    )
    return done.returncode, done.stdout, done.stderr


def result_of(copy, name=NAME):
    return json.loads((copy.parent / "results" / "part1_lstm" / name / "result.json").read_text())


def test_an_edited_equation_trains(copy):
    """The same command before and after: another network, and a line that says why it takes longer."""
    code, out, errors = start(copy / "train.py", *SMALL)
    assert code == 0, errors
    before = result_of(copy)
    assert before["implementation"] == "fast"
    assert "training by the equations" not in out
    edit(copy / "lstm.py", "c = g * i + c * f", "c = g * i + c * (1 - i)")
    code, out, errors = start(copy / "train.py", *SMALL, "--restart")
    assert code == 0, errors
    after = result_of(copy)
    assert "FastLSTM differs in the logits: training by the equations of lstm.py" in out
    assert after["implementation"] == "equations"
    assert after["code"] != before["code"]
    code, _, errors = start(copy / "train.py", *SMALL, "--implementation", "fast")
    assert code == 2
    assert errors.count("\n") == 1
    assert "--implementation fast: FastLSTM differs in the logits" in errors


def test_equations_and_fast_form_train_alike(tmp_path):
    """One run by each, unedited: the same losses to rounding."""
    losses = []
    for implementation in "equations", "fast":
        words = [*SMALL, "--implementation", implementation, "--out-dir", str(tmp_path)]
        result = train.train(train.parse_args(words), progress=False)
        assert result["implementation"] == implementation
        history = json.loads((tmp_path / f"lstm_T4_rmsprop_{implementation}_seed0" / "history.json").read_text())
        losses.append([entry["train_loss"] for entry in history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("name", cells.CELLS)
def test_difference_sees_logits_gradients_and_failures(name):
    cell = cells.CELLS[name]
    assert cells.difference(cell, 8) is None

    class Doubled(cell.fast):
        def forward(self, digits):
            return 2 * super().forward(digits)

    class Detached(cell.fast):
        def forward(self, digits):
            logits = super().forward(digits)
            return logits + (self.W_ph.bias - self.W_ph.bias.detach())  # the same logits, another gradient

    class Failing(cell.fast):
        def forward(self, digits):
            return self.absent(digits)

    wanted = {Doubled: "differs in the logits", Detached: "the gradient by W_ph.bias", Failing: "Failing fails"}
    for fast, words in wanted.items():
        assert words in cells.difference(cell._replace(fast=fast), 8)


def test_a_gru_as_third_cell(copy):
    """A module, an import and a line of CELLS: it trains, resumes and stands in figure 1."""
    (copy / "gru.py").write_text(GRU)
    edit(copy / "cells.py", "from lstm import LSTM\n", "from gru import GRU\nfrom lstm import LSTM\n")
    edit(copy / "cells.py", "CELLS = {\n", 'CELLS = {\n    "gru": Cell(GRU, None, "GRU", "#009E73"),\n')
    code, _, errors = start(copy / "train.py", "--cell", "gru", *SMALL)
    assert code == 0, errors
    name = NAME.replace("lstm", "gru")
    assert result_of(copy, name)["implementation"] == "equations"
    code, _, errors = start(copy / "train.py", "--cell", "gru", *SMALL, "--epochs", "3", "--resume")
    assert code == 0, errors
    assert result_of(copy, name)["epochs"] == 3

    sweep = ["--lengths", "3", "--seeds", "1", "--workers", "1", *SMALL[2:]]
    code, _, errors = start(copy / "compare.py", *sweep)
    assert code == 0, errors
    results = copy.parent / "results" / "part1_lstm"
    assert {run["cell"] for run in json.loads((results / "compare.json").read_text())["runs"]} == {"gru", "lstm", "rnn"}

    edit(copy / "gru.py", "h = (1 - z) * n + z * h", "h = z * n + (1 - z) * h")
    code, out, errors = start(copy / "compare.py", *sweep)
    assert code == 0, errors
    assert "1 of the finished runs come from other code" in out
    code, out, errors = start(copy / "compare.py", *sweep, "--restart")
    assert code == 0, errors
    assert "3 of 3 runs will be trained" in out


def test_figure_1_draws_every_cell(tmp_path, monkeypatch):
    import compare

    drawn = []
    monkeypatch.setitem(cells.CELLS, "third", cells.Cell(torch.nn.GRU, None, "third cell", "#009E73"))
    monkeypatch.setattr(compare, "save_figure", lambda figure, *_: drawn.append(figure))
    args = compare.parse_args(["--lengths", "3", "7", "--seeds", "1"])
    keys = {"best_val_accuracy", "val_accuracy", "test_accuracy", "epochs", "updates", "updates_to_99", "seconds"}
    runs = [
        {"cell": cell, "input_length": n, "seed": 0, "accuracy": 1.0, "reached": True, **dict.fromkeys(keys, 1)}
        for cell in cells.CELLS
        for n in args.lengths
    ]
    compare.plot(runs, compare.summarise(runs), args, tmp_path / "figure.png")
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert {"LSTM, median", "vanilla RNN, median", "third cell, median"} <= set(labels)


def test_a_matmul_precision_without_effect_is_refused(monkeypatch):
    monkeypatch.setattr(utils, "cpu_abilities", dict)
    with pytest.raises(utils.InputError, match="--matmul-precision medium has no effect"):
        utils.matmul_precision("medium", "cpu")
    assert utils.matmul_precision("auto", "cpu") == "highest"
    monkeypatch.setattr(utils, "cpu_abilities", lambda: dict.fromkeys(["avx512_bw", "avx512_dq", "avx512_vl"], True))
    for maker, chosen in ("AuthenticAMD", "medium"), ("GenuineIntel", "highest"):
        monkeypatch.setattr(utils, "processor", lambda maker=maker: f"{maker} 9000")
        assert utils.matmul_precision("auto", "cpu") == chosen
