"""What you read is what runs: edits of the equations and new cells, each in a copy of this folder."""

import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import fork

import cells
import train
import utils

PART = Path(__file__).resolve().parent.parent
SMALL = ["--input-length", "4", "--total-len", "200", "--epochs", "2", "--threads", "1", "--hidden-size", "16"]


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(PART, tmp_path / "part1_lstm", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return tmp_path / "part1_lstm"


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def scripts_of(copy, *commands):
    """Call the main functions of a copy's scripts, by its own files alone: (script, options) each.

    All in one new process. Returns its exit code and its output.
    """

    def work():
        for name, module in list(sys.modules.items()):
            if str(PART) in str(getattr(module, "__file__", "")):
                del sys.modules[name]
        sys.path[:] = [str(copy), *(path for path in sys.path if str(PART) not in path)]
        for name, options in commands:
            sys.argv = [f"{name}.py", *map(str, options)]
            importlib.import_module("utils").run(importlib.import_module(name).main)

    process = fork(work, log := copy.parent / "log")
    process.join()
    return process.exitcode, log.read_text()


def test_an_edited_equation_trains(copy, tmp_path):
    """Another network, and a line that says why it takes longer."""
    before = train.train(train.parse_args([*SMALL, "--out-dir", str(tmp_path)]), progress=False)
    assert before["implementation"] == "fast"
    edit(copy / "lstm.py", "c = g * i + c * f", "c = g * i + c * (1 - i)")
    code, out = scripts_of(copy, ("train", SMALL))
    assert code == 0, out
    (path,) = copy.parent.glob("results/part1_lstm/*/result.json")
    after = json.loads(path.read_text())
    assert "FastLSTM differs in the logits: training by the equations of lstm.py" in out
    assert after["implementation"] == "equations"
    assert after["code"] != before["code"]
    code, out = scripts_of(copy, ("train", [*SMALL, "--implementation", "fast"]))
    assert (code, out.count("\n")) == (2, 1)
    assert out.startswith("train.py: --implementation fast: FastLSTM differs in the logits")


def test_equations_and_fast_form_train_alike(tmp_path):
    """One run by each, unedited: the same losses to rounding."""
    losses = []
    for implementation in "equations", "fast":
        args = train.parse_args([*SMALL, "--implementation", implementation, "--out-dir", str(tmp_path)])
        assert train.train(args, progress=False)["implementation"] == implementation
        history = utils.load_tensors(tmp_path / train.run_name(args) / "history.pt", "columns", "rows")
        losses.append(history["rows"][:, history["columns"].index("train_loss")].tolist())
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


def test_the_gru_of_the_readme_as_third_cell(copy):
    """A module, an import and a line of CELLS, all three from README.md: it trains, resumes and stands in figure 1."""
    module, imported, line = re.findall(r"```python\n(.*?)```", (PART / "README.md").read_text(), re.DOTALL)
    (copy / "gru.py").write_text(module)
    edit(copy / "cells.py", "from lstm import LSTM\n", imported + "from lstm import LSTM\n")
    edit(copy / "cells.py", "CELLS = {\n", "CELLS = {\n" + line)
    run = ["--cell", "gru", *SMALL]
    sweep = ["--lengths", "3", "--seeds", "1", "--workers", "1", "--updates", "100", *SMALL[2:]]
    code, out = scripts_of(copy, ("train", run), ("train", [*run, "--resume"]), ("compare", sweep))
    assert code == 0, out
    results = copy.parent / "results" / "part1_lstm"
    (path,) = results.glob("gru*/result.json")
    assert json.loads(path.read_text())["implementation"] == "equations"
    assert {run["cell"] for run in json.loads((results / "compare.json").read_text())["runs"]} == {"gru", "lstm", "rnn"}

    edit(copy / "gru.py", "h = (1 - z) * n + z * h", "h = z * n + (1 - z) * h")
    code, out = scripts_of(copy, ("compare", sweep), ("compare", [*sweep, "--restart"]))
    assert code == 0, out
    assert "1 of the finished runs come from other code" in out
    assert "5 of 5 runs will be trained" in out


def test_a_matmul_precision_without_effect_is_refused(monkeypatch):
    monkeypatch.setattr(utils, "cpu_abilities", dict)
    with pytest.raises(utils.InputError, match="--matmul-precision medium has no effect"):
        utils.matmul_precision("medium", "cpu")
    assert utils.matmul_precision("auto", "cpu") == "highest"
    monkeypatch.setattr(utils, "cpu_abilities", lambda: dict.fromkeys(["avx512_bw", "avx512_dq", "avx512_vl"], True))
    for maker, chosen in ("AuthenticAMD", "medium"), ("GenuineIntel", "highest"):
        monkeypatch.setattr(utils, "processor", lambda maker=maker: f"{maker} 9000")
        assert utils.matmul_precision("auto", "cpu") == chosen
