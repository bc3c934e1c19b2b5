"""What the studies measure, by hand: gradients, gates, renamed accuracy, repetition, three digits, the benchmark."""

import argparse

import pytest
import torch
import torch.nn.functional as F
from conftest import contents, train_usually

import benchmark
import dataset
import files
import train
from lstm import LSTM
from rnn import VanillaRNN
from studies import gradients, repetition, three_digits


def digits_of(rows, time):
    return torch.randint(10, (rows, time), generator=torch.Generator().manual_seed(1))


def run_of(study, changes=(), **options):
    """The row of the last run in a study's plan that has `options`, with `changes` that keep it small."""
    args = argparse.Namespace(device="cpu", threads=1, seed=0, seeds=1, forget_biases=[], **options)
    return study.run(argparse.Namespace(**vars(args) | [*study.plan(args).values()][-1] | dict(changes)))


@pytest.mark.parametrize("cell", [LSTM, VanillaRNN])
def test_gradients_equal_finite_differences(cell):
    """The loss as a function of h_t, read on from there by the cell, shaken one number at a time."""
    torch.manual_seed(0)
    model, digits, targets = cell(hidden_size=4).double(), digits_of(3, 5), torch.arange(3)
    curve = gradients.gradient_curves(model, digits, targets)["h"]
    for t, states in enumerate(model.steps(digits)):
        squares = 0
        for unit in 1e-6 * torch.eye(4, dtype=torch.float64):
            losses = []
            for shaken in unit, -unit:
                h, *c = states if cell is LSTM else (states,)
                h = h + shaken
                for x in F.one_hot(digits[:, t + 1 :], 10).double().unbind(1):
                    h, *c = model.cell(x, h, *c) if cell is LSTM else (model.cell(x, h),)
                losses.append(F.cross_entropy(model.W_ph(h), targets, reduction="none"))
            squares += ((losses[0] - losses[1]) / 2e-6) ** 2
        assert curve[t].item() == pytest.approx(squares.sqrt().mean().item(), rel=1e-4)
    assert gradients.last_over_first(0 * curve) == float("inf")  # nothing is left


def test_gates_are_those_of_the_cell():
    """With them equations (5) and (6) give the states of lstm.py; the share of c_1 that is left is their product."""
    torch.manual_seed(0)
    model, digits = LSTM(hidden_size=6).double(), digits_of(4, 9)
    values, (h, c) = gradients.gate_values(model, digits), model.states(digits)
    before, c_before = (F.pad(states[:, :-1], (0, 0, 1, 0)) for states in (h, c))
    g = torch.tanh(model.W_gx(F.one_hot(digits, 10).double()) + model.W_gh(before))
    torch.testing.assert_close(values["c"], g * values["i"] + c_before * values["f"])
    torch.testing.assert_close(h, c.tanh() * values["o"])
    biases = torch.tensor([0.0, 1.0, 2.0, 2.45, 9.0, 9.0])
    with torch.no_grad():
        model.W_fx.weight.zero_(), model.W_fh.weight.zero_(), model.W_fx.bias.copy_(biases)
    f = gradients.gate_values(model, digits)["f"]
    assert gradients.units_keeping_half(f) == (biases.sigmoid() ** 8 > 0.5).sum() == 3


def test_renamed_accuracy_sees_a_digit_under_another_name():
    digits = digits_of(4000, 5)
    for answer, expected in ((lambda part: part[:, 0] + 3), 1), ((lambda part: part[:, 1]), 0.1):
        accuracy = gradients.renamed_accuracy(lambda part, a=answer: F.one_hot(a(part) % 10, 10), digits, digits[:, 0])
        assert accuracy == pytest.approx(expected, abs=0.03)


def test_gradients_before_and_after_training(tmp_path):
    """An untrained network is that which training begins with; both figures are drawn."""
    options = ["--train-length", "3", "--steps", "8", "--seeds", "1", "--workers", "1", "--out-dir", str(tmp_path)]
    gradients.main(options)
    assert sorted(path.name for path in contents(tmp_path)) == ["gates.png", "gradients.json", "gradients.png"]
    rows = files.load(tmp_path / "gradients.json")["rows"].values()
    assert len({(row["network"], row["trained_on"]) for row in rows}) == len(rows) == 3 * 2
    digits, targets = (part[:128].long() for part in dataset.load(8)["validation"])
    for row in rows:
        assert [len(curve) for curve in row["curves"].values()] == [8] * (1 if row["cell"] == "rnn" else 2)
        untrained = gradients.equations_of(train.build(argparse.Namespace(**row))[0], row["cell"])
        curve = gradients.gradient_curves(untrained, digits, targets)["h"]
        assert (row["curves"]["h"] == pytest.approx(curve.tolist(), rel=0.01)) == (row["trained_on"] is None)


def test_repetition_by_hand():
    """A run on fresh batches, compared with the usual loop over batches: its accuracies, its gradient at the end."""
    small = {"hidden_size": 4, "batch_size": 32, "cell": "rnn"}
    row = run_of(repetition, small, lengths=[7], sizes=[0], updates=200)
    torch.manual_seed(0)
    model, shuffle = VanillaRNN(hidden_size=4), torch.Generator().manual_seed(0)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(2):
        digits, targets = dataset.draw(7, 3200, shuffle)
        right = train_usually(model, optimizer, digits, targets, torch.arange(3200).split(32))
    digits, targets = (part[:2000] for part in dataset.load(7, 4000, 0.5)["test"])
    accuracy = (model(digits.long()).argmax(1) == targets).double().mean().item()
    assert (row["train_accuracy"], row["accuracy"]) == (round(right / 3200, 4), pytest.approx(accuracy, abs=2e-3))
    curve = gradients.gradient_curves(model.double(), digits[:32].long(), targets[:32])["h"]
    assert row["gradients"] == [[200, pytest.approx((curve[-1] / curve[0]).item(), rel=1e-3)]]
    assert row["updates_to_99"] is None


def test_repeated_palindromes_come_equally_often_until_99_percent(monkeypatch):
    seen, accuracies = [], iter([0.5, 0.9899, 0.9901])
    monkeypatch.setattr(train, "train_epoch", lambda *args: seen.append(args[4]) or (1.0, 0.5, 1.0))
    monkeypatch.setattr(train, "evaluate", lambda *_: (1.0, next(accuracies)))
    row = run_of(repetition, {"hidden_size": 4, "batch_size": 32}, lengths=[7], sizes=[500], updates=1000)
    assert [len(rows) for rows in seen] == [3200] * 3
    assert all(sorted(epoch.tolist()) == list(range(500)) for epoch in torch.cat(seen)[:9500].split(500))
    assert (row["updates_to_99"], row["accuracy"]) == (300, 0.9901)
    assert [updates for updates, _ in row["gradients"]] == [300]


@pytest.mark.parametrize("batch_size", [three_digits.WHOLE, three_digits.SMALL])
def test_three_digits_holds_out_every_palindrome_once(monkeypatch, batch_size):
    """Every batch of an epoch is met once, no held-out row ever; both accuracies are over all folds."""
    digits, targets = three_digits.palindromes()
    assert targets.tolist() == digits[:, 0].tolist()
    seen, met = [], []

    def evaluate(_, digits, targets):
        met.append(set(map(tuple, digits.tolist())))
        held_out = len(met) % 2  # the other one is of the rows that it was trained on
        return 1.0, held_out * (0.9899 if len(met) % 40 <= 20 else 0.9901)

    monkeypatch.setattr(train, "train_epoch", lambda *args: seen.append(args[4]))
    monkeypatch.setattr(train, "evaluate", evaluate)
    row = run_of(three_digits, {"hidden_size": 4, "batch_size": batch_size}, updates=100)
    folds = met[::40]
    assert sorted(palindrome for fold in folds for palindrome in fold) == [
        (a, b, b) for a in range(10) for b in range(10)
    ]
    for n, fold in enumerate(folds):
        rows = torch.cat(seen[20 * n : 20 * n + 20])
        assert len(rows) == 100 * batch_size
        for epoch in rows.split(80):
            assert len(set(epoch.tolist())) == 80
            assert not fold & set(map(tuple, digits[epoch].tolist()))
    assert row["curve"] == [0.9899] * 10 + [0.9901] * 10
    assert (row["updates_to_99"], row["accuracy_at_100"], row["train_curve"]) == (55, 0.9901, [0] * 20)


def test_benchmark_measures_every_variant(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.shutil, "which", lambda _: None)  # compiling takes half a minute
    benchmark.main(["--lengths", "2", "--rounds", "1", "--threads", "1", "--device", "cpu", "--out-dir", str(tmp_path)])
    rows = files.load(tmp_path / "benchmark.json")["rows"].values()
    assert [row["variant"] for row in rows] == ["equations", "fast", "nn.LSTM", "products"]
    assert (tmp_path / "lstm_speed.png").read_bytes().startswith(b"\x89PNG")
