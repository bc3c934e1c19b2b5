"""The cells against torch's own and finite differences; what is read is what trains: edits, a third cell."""

import importlib
import json
import re
import shutil
import sys

import pytest
import torch
import torch.nn.functional as F
from conftest import PART, digits_of, fork
from torch import nn

import train
from fast_lstm import FastLSTM
from fast_rnn import FastRNN
from lstm import LSTM
from rnn import VanillaRNN

FORMS = [LSTM, FastLSTM, VanillaRNN, FastRNN]
SHAPES = [(1, 1, 4), (7, 2, 16), (33, 10, 33), (5, 60, 32)]  # rows, digits read, hidden units
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
SMALL = ["--input-length", "4", "--total-len", "200", "--epochs", "2", "--hidden-size", "16"]


def states_of(model, digits):
    """(h, c) of the LSTM, (h,) of the RNN."""
    states = model.states(digits)
    return states if isinstance(states, tuple) else (states,)


def gradients(loss, model, **options):
    return torch.autograd.grad(loss, list(model.parameters()), **options)


def torch_s(model):
    """torch's network with the weights of `model`, and {its parameter's name: our names, in the order it stacks}."""
    if isinstance(model, LSTM):
        reference, prefixes = nn.LSTM(10, model.hidden_size, batch_first=True), [f"W_{gate}" for gate in "ifgo"]
    else:
        reference, prefixes = nn.RNN(10, model.hidden_size, batch_first=True), ["W_h"]
    names = {"weight_ih_l0": "x.weight", "weight_hh_l0": "h.weight", "bias_ih_l0": "x.bias"}
    names = {theirs: [prefix + ours for prefix in prefixes] for theirs, ours in names.items()}
    reference.to(model.W_ph.weight)
    with torch.no_grad():
        reference.bias_hh_l0.zero_()  # ours has one bias
        for theirs, ours in names.items():
            reference.get_parameter(theirs).copy_(torch.cat([model.get_parameter(name) for name in ours]))
    return reference, names


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize(("rows", "time", "hidden"), SHAPES)
@pytest.mark.parametrize("kind", FORMS)
def test_equal_to_torch(kind, rows, time, hidden, dtype, near, device):
    """Logits, all hidden states, the last cell state, and gradients through all of them."""
    torch.manual_seed(0)
    model, digits = kind(hidden_size=hidden).to(device, dtype), digits_of(rows, time).to(device)
    reference, names = torch_s(model)
    h, last = reference(F.one_hot(digits, 10).to(dtype))
    logits, states = model(digits), states_of(model, digits)
    values, wanted = [logits, states[0]], [model.W_ph(h[:, -1]), h]
    if len(states) == 2:
        values, wanted = [*values, states[1][:, -1]], [*wanted, last[1][0]]
    for ours, theirs in zip(values, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=near)
    with torch.no_grad():
        torch.testing.assert_close([model(digits), *states_of(model, digits)], [logits, *states], rtol=0, atol=near)
    factors = [torch.randn_like(value) / time for value in wanted]
    ours, theirs = (
        F.cross_entropy(parts[0], digits[:, 0]) + sum((f * v).sum() for f, v in zip(factors, parts, strict=True))
        for parts in (values, wanted)
    )
    ours = dict(zip(dict(model.named_parameters()), gradients(ours, model), strict=True))
    theirs = torch.autograd.grad(theirs, [*map(reference.get_parameter, names), *model.W_ph.parameters()])
    names = {**names, "weight": ["W_ph.weight"], "bias": ["W_ph.bias"]}
    for stacked, gradient in zip(names.values(), theirs, strict=True):
        near_here = 10 * near * max(1, gradient.abs().max().item())
        torch.testing.assert_close(torch.cat([ours[name] for name in stacked]), gradient, rtol=0, atol=near_here)


@pytest.mark.parametrize("kind", FORMS)
def test_gradients_equal_finite_differences(kind):
    """Of the logits, all h and all c, by every number in every parameter."""
    torch.manual_seed(0)
    model, digits = kind(hidden_size=3).double(), digits_of(2, 4)
    model.forward = lambda digits: (kind.forward(model, digits), *states_of(model, digits))
    names, weights = zip(*model.named_parameters(), strict=True)

    def function(*weights):
        return torch.func.functional_call(model, dict(zip(names, weights, strict=True)), digits)

    assert torch.autograd.gradcheck(function, weights)


@pytest.mark.parametrize("kind", FORMS)
def test_a_retained_graph_gives_the_right_gradients_twice(kind):
    """Whatever else the network has done meanwhile."""
    torch.manual_seed(0)
    model, digits = kind(hidden_size=16), digits_of(1, 8)
    loss, other = (F.cross_entropy(model(d), d[:, 0]) for d in (digits, digits_of(6, 8, seed=2)))
    first = gradients(loss, model, retain_graph=True)
    gradients(other, model)
    with torch.no_grad():
        model(digits_of(50, 8, seed=3))
    assert all(map(torch.equal, first, gradients(loss, model)))
    assert all(map(torch.equal, first, gradients(F.cross_entropy(model(digits), digits[:, 0]), model)))


@pytest.fixture
def copy(tmp_path):
    """A copy of this folder, to be edited."""
    shutil.copytree(PART, tmp_path / "part1_lstm", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return tmp_path / "part1_lstm"


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def scripts_of(copy, *commands, meanwhile=lambda: None):
    """What a copy's scripts say, (name, options) each, in one new process; `meanwhile` is called after each import."""

    def work():
        for name, module in list(sys.modules.items()):
            if str(PART) in str(getattr(module, "__file__", "")):
                del sys.modules[name]
        sys.path[:] = [str(copy), *(path for path in sys.path if str(PART) not in path)]
        for name, options in commands:
            sys.argv = [f"{name}.py", *options]
            module = importlib.import_module(name)
            meanwhile()
            importlib.import_module("utils").run(module.main)

    process = fork(work, log := copy.parent / "log")
    process.join()
    assert process.exitcode == 0, log.read_text()
    return log.read_text()


def row_in(copy):
    (path,) = copy.parent.glob("results/part1_lstm/*/result.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        ("lstm.py", "c = g * i + c * f", "c = g * i + c * (1 - i)", "FastLSTM differs in the logits"),
        ("fast_lstm.py", "dc.mul_(k[1])", "dc.mul_(k[0])", "FastLSTM differs in the gradient by W_gx.weight"),
        ("fast_lstm.py", "W_h.new_zeros", "W_h.absent", "FastLSTM fails ('Tensor' object has no attribute 'absent')"),
    ],
)
def test_an_edited_equation_trains(copy, file, before, after, said):
    edit(copy / file, before, after)
    out = scripts_of(copy, ("train", SMALL))
    assert f"{said}: training by the equations of lstm.py, which takes longer" in out
    assert row_in(copy)["code"] != train.CODE


def test_code_edited_while_it_runs(copy):
    """A row carries the digest of the code that trained it."""
    out = scripts_of(copy, ("train", SMALL), meanwhile=lambda: edit(copy / "lstm.py", "g * i + c * f", "g + c"))
    assert "differs" not in out
    assert row_in(copy)["code"] == train.CODE
    out = scripts_of(copy, ("train", [*SMALL[:-4], "--epochs", "3", *SMALL[-2:], "--resume"]))
    assert "the code has changed; the remaining epochs are trained by the present code" in out
    assert re.fullmatch(rf"{train.CODE}\+\w{{12}}", row_in(copy)["code"])


def test_the_gru_of_the_readme_as_third_cell(copy):
    """A module, an import and a line of CELLS, all three from README.md: it trains, resumes and stands in figure 1."""
    module, imported, line = re.findall(r"```python\n(.*?)```", (PART / "README.md").read_text(), re.DOTALL)
    (copy / "gru.py").write_text(module)
    for before, added in ("from lstm import LSTM\n", imported), ("CELLS = {\n", line):
        edit(copy / "cells.py", before, before + added)
    run = ["--cell", "gru", *SMALL]
    sweep = ["--lengths", "3", "--seeds", "1", "--workers", "1", "--epochs", "1"]
    scripts_of(copy, ("train", run), ("train", [*run, "--resume"]), ("compare", sweep))
    assert row_in(copy)["epochs_trained"] == 2
    rows = json.loads((copy.parent / "results" / "part1_lstm" / "compare.json").read_text())["rows"]
    assert {row["cell"] for row in rows.values() if row["side"] == "text"} == {"gru", "lstm", "rnn"}

    edit(copy / "gru.py", "h = (1 - z) * n + z * h", "h = z * n + (1 - z) * h")
    out = scripts_of(copy, ("compare", sweep), ("compare", [*sweep, "--restart"]))
    assert "5 of its rows come from other code than the present one; --restart trains them again" in out
    assert "5 of 5 runs to train" in out
