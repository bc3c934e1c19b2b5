"""Gradient norms against closed forms and finite differences, the gates against the equations, and the script."""

import json

import pytest
import torch
import torch.nn.functional as F

import sweep
import train
from lstm import LSTM
from rnn import VanillaRNN
from studies import gradients
from studies.gradients import gate_values, kept_of_first, survival

TINY = ["--input-length", "8", "--hidden-size", "5", "--total-len", "80", "--batch-size", "16", "--epochs", "1"]
TINY += ["--workers", "1", "--seeds", "1", "--forget-bias", "1"]


def digits_of(rows, time, below=10):
    return torch.randint(below, (rows, time), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("factor", "zeros"), [(0.9, 0), (1.1, 0), (1e-2, 0), (1e-4, 18)])
def test_gradient_of_a_linear_rnn_is_a_power(factor, zeros):
    """Without input h stays 0, where tanh' = 1: W_hh = a I makes dL/dh_t = a^(T - t) dL/dh_T, down to 10^-300."""
    torch.manual_seed(0)
    model, T, digits, targets = VanillaRNN(hidden_size=6).double(), 100, digits_of(7, 100), torch.arange(7)
    with torch.no_grad():
        for parameter in (model.W_hx.weight, model.W_hx.bias):
            parameter.zero_()
        model.W_hh.weight.copy_(factor * torch.eye(6, dtype=torch.float64))
    curve = gradients.gradient_curves(model, digits, targets)["h"]
    # L is each row's own: dL/dh_T = W_ph^T (softmax(b_ph) - one-hot target), for every row of its own
    last = (model.W_ph.bias.softmax(0) - F.one_hot(targets, 10)) @ model.W_ph.weight
    expected = last.norm(dim=1).mean() * factor ** (T - 1 - torch.arange(T, dtype=torch.float64))
    normal = expected > 1e-290  # at a = 1e-2 the squares of most of them are below the least double
    assert normal.all() == (zeros == 0)
    torch.testing.assert_close(curve[normal], expected[normal], rtol=1e-9, atol=0)
    assert (curve[:zeros] == 0).all()
    assert gradients.decay(curve.tolist()) == pytest.approx(factor, rel=0.02 if zeros else 1e-9)


def test_decay_knows_zeros():
    assert gradients.decay([1.0, 8.0, 4.0]) == pytest.approx(0.5)  # only the ends count: a product telescopes
    assert gradients.decay([0.0, 0.0, 1.0, 8.0]) == pytest.approx(1 / 8)
    assert gradients.decay([0.0, 0.0, 0.0, 3.0]) is None
    assert gradients.decay([0.0, 0.0]) is None


@pytest.mark.parametrize("cell", [LSTM, VanillaRNN])
def test_gradients_equal_finite_differences(cell):
    """The loss as a function of the state at step t, read on from there by the cell, shaken one number at a time."""
    torch.manual_seed(0)
    rows, T, hidden, step = 3, 5, 4, 1e-6
    model, digits, targets = cell(hidden_size=hidden).double(), digits_of(rows, T), torch.arange(rows)
    x, names = F.one_hot(digits, 10).double(), "hc" if cell is LSTM else "h"
    trajectory = [states if cell is LSTM else (states,) for states in model.steps(digits)]

    @torch.no_grad()
    def losses(states, t):
        for s in range(t + 1, T):
            states = model.cell(x[:, s], *states)
            states = states if cell is LSTM else (states,)
        return F.cross_entropy(model.W_ph(states[0]), targets, reduction="none")

    @torch.no_grad()
    def derivative(t, which, unit):
        ends = []
        for sign in (1, -1):
            h_and_c = [state.clone() for state in trajectory[t]]
            h_and_c[which][:, unit] += sign * step
            if which == 1:  # h_t = tanh(c_t) o_t moves along: the derivative is the total one
                o = trajectory[t][0] / trajectory[t][1].tanh()
                h_and_c[0] = h_and_c[1].tanh() * o
            ends.append(losses(h_and_c, t))
        return (ends[0] - ends[1]) / (2 * step)

    curves = gradients.gradient_curves(model, digits, targets)
    assert list(curves) == list(names)
    for which, name in enumerate(names):
        for t in range(T):
            by_hand = torch.stack([derivative(t, which, unit) for unit in range(hidden)], 1).norm(dim=1).mean()
            assert curves[name][t].item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_gates_reproduce_the_cell_state():
    """Equation (5) with these i and f, and (6) with this o, give the states of lstm.py; the candidate by (1)."""
    torch.manual_seed(0)
    model, digits = LSTM(hidden_size=6).double(), digits_of(4, 9)
    i, f, o = gate_values(model, digits)
    h, c = model.states(digits)
    before = torch.cat([torch.zeros(4, 1, 6), h[:, :-1]], 1)
    g = torch.tanh(model.W_gx(F.one_hot(digits, 10).double()) + model.W_gh(before))
    c_before = torch.cat([torch.zeros(4, 1, 6), c[:, :-1]], 1)
    torch.testing.assert_close(c, g * i + c_before * f)
    torch.testing.assert_close(h, c.tanh() * o)
    left = c[:, -1] - kept_of_first(f)[:, -1] * c[:, 0]  # what came later: c_T without the share of c_1 that is left
    added = torch.zeros(4, 6, dtype=torch.float64)
    for t in range(1, 9):
        added = g[:, t] * i[:, t] + added * f[:, t]
    torch.testing.assert_close(left, added)


def test_survival_counts_units():
    """A forget gate that is always sigmoid(b) keeps sigmoid(b)^(T - 1) of c_1."""
    model = LSTM(hidden_size=4)
    biases = torch.tensor([0.0, 3.0, 5.0, 9.0])
    with torch.no_grad():
        model.W_fx.weight.zero_(), model.W_fh.weight.zero_(), model.W_fx.bias.copy_(biases)
    f = gate_values(model, digits_of(3, 20))[1]
    expected = biases.sigmoid() ** 19
    torch.testing.assert_close(kept_of_first(f)[0, -1], expected)
    assert survival(f) == {"units": 4, "units_keeping_half": 2}  # .397 and .88, .998


def test_renamed_accuracy_sees_a_digit_under_another_name():
    digits = digits_of(4000, 5)

    def accuracy(answers):
        return gradients.renamed_accuracy(answers, digits, digits[:, 0])

    assert accuracy(lambda part: F.one_hot((part[:, 0] + 3) % 10, 10)) == 1
    assert accuracy(lambda part: F.one_hot(part[:, 1], 10)) == pytest.approx(0.1, abs=0.03)


def test_script(tmp_path, monkeypatch):
    """Both figures and the results; a second call trains nothing, and other folders get the same numbers."""

    def rows_of(folder, *options):
        gradients.main([*TINY, *options, "--out-dir", str(tmp_path / folder), "--figures-dir", str(tmp_path)])
        return json.loads((tmp_path / folder / "gradients.json").read_text())

    monkeypatch.setattr(train.plots, "draw_curve", lambda *_: None)
    shown, show_gates = [], gradients.show_gates
    monkeypatch.setattr(gradients, "show_gates", lambda *args: (shown.append(args[1]), show_gates(*args)))
    first = rows_of("a", "--train-length", "8", "3")
    for name in ("gradients.png", "gates.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    names = ["LSTM", "LSTM, forget bias 1", "vanilla RNN"]
    stages = [(length, name) for length in (None, 8, 3) for name in names]
    assert [(row["trained_on"], row["network"]) for row in first["runs"]] == stages
    assert [(entry["trained_on"], entry["network"]) for entry in first["summary"]] == stages
    for row in first["runs"]:
        assert sorted(row["curves"]) == (["h"] if row["cell"] == "rnn" else ["c", "h"])
        for name, curve in row["curves"].items():
            assert len(curve) == 8
            assert curve[-1] / curve[0] == pytest.approx(row["last_over_first"][name], rel=0.02)
            assert row["last_over_first"][name] == pytest.approx(row["decay_per_step"][name] ** -7)
    assert len(first["answer"]) == 3
    accuracies = [row["gates"]["validation_accuracy"] for row in first["runs"] if "gates" in row]
    assert len(accuracies) == 4
    assert shown[0]["gates"]["validation_accuracy"] == max(accuracies)

    monkeypatch.setattr(gradients, "plot_gradients", lambda *_: None)
    monkeypatch.setattr(gradients, "plot_gates", lambda *_: None)
    assert rows_of("b")["runs"] == first["runs"][:6]
    trained = []
    monkeypatch.setattr(train, "train", lambda run_args, **_: trained.append(train.run_name(run_args)))
    assert rows_of("a", "--train-length", "8", "3")["runs"] == first["runs"]
    assert trained == []
    rnn = gradients.plan(gradients.parse_args([*TINY, "--out-dir", str(tmp_path / "b")]))[-1]
    (sweep.folder_of(rnn) / "checkpoint.pt").unlink()
    with pytest.raises(TypeError):  # the patched training returns no result
        rows_of("b")
    assert trained == [train.run_name(rnn)]


def test_untrained_weights_are_those_that_training_begins_with(tmp_path, monkeypatch):
    """With a learning rate that moves no weight, before and after are one; the forget bias is what was asked for."""
    monkeypatch.setattr(train.plots, "draw_curve", lambda *_: None)
    options = [*TINY, "--lr", "1e-30", "--out-dir", str(tmp_path)]
    for run_args in gradients.plan(gradients.parse_args(options)):
        train.train(run_args, progress=False)
        end = gradients.trained_weights(run_args)
        assert all(torch.equal(end[name], value) for name, value in train.build(run_args).state_dict().items())
        if run_args.forget_bias == 1:
            assert end["W_fx.bias"].tolist() == [1.0] * 5


def test_answer_counts_where_it_vanishes():
    ratios = {"LSTM": [{"h": 5e3, "c": 2.0}, {"h": 5e3, "c": None}], "RNN": [{"h": 5e3}, {"h": None}, {"h": 999.0}]}
    rows = [
        {"trained_on": None, "network": name, "last_over_first": ratio} for name in ratios for ratio in ratios[name]
    ]
    (sentence,) = gradients.answer(rows, 9)
    assert sentence.startswith("Untrained, 9 steps: ")
    assert sentence.endswith("in 2 of 2 (LSTM), 2 of 3 (RNN).")
