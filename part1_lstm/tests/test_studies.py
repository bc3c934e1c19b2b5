"""What the studies measure, by hand: gradients, repetition, three digits, the benchmark."""

import argparse

import pytest
import torch
import torch.nn.functional as F
from conftest import contents, digits_of, train_usually

import benchmark
import dataset
import files
import train
from lstm import LSTM
from rnn import VanillaRNN
from studies import gradients, repetition, three_digits


def run_of(study, changes=(), **options):
    """The row of the last run in a study's plan that has `options`, with `changes` that keep it small."""
    args = argparse.Namespace(device="cpu", threads=1, seed=0, seeds=1, **options)
    return study.run(argparse.Namespace(**vars(args) | [*study.plan(args).values()][-1] | dict(changes)))


@pytest.mark.parametrize("cell", [LSTM, VanillaRNN])
def test_gradients_equal_finite_differences(cell):
    """The loss as a function of h_t, read on from there by the cell, shaken one number at a time."""
    torch.manual_seed(0)
    model, digits, targets = cell(hidden_size=4).double(), digits_of(3, 5), torch.arange(3)
    curve = gradients.gradient_curve(model, digits, targets)
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


def test_gradients_before_and_after_training(tmp_path):
    """An untrained network is that which training begins with; the figure is drawn."""
    options = ["--train-length", "3", "--steps", "8", "--seeds", "1", "--workers", "1", "--out-dir", str(tmp_path)]
    gradients.main(options)
    assert sorted(path.name for path in contents(tmp_path)) == ["gradients.json", "gradients.png"]
    rows = files.load(tmp_path / "gradients.json")["rows"].values()
    assert len({(row["network"], row["trained_on"]) for row in rows}) == len(rows) == 3 * 2
    digits, targets = (part[:128].long() for part in dataset.load(8)["validation"])
    for row in rows:
        untrained = gradients.equations_of(train.build(argparse.Namespace(**row))[0], row["cell"])
        curve = gradients.gradient_curve(untrained, digits, targets)
        assert (row["curve"] == pytest.approx(curve.tolist(), rel=0.01)) == (row["trained_on"] is None)


def test_repetition_by_hand():
    """A run on fresh batches, compared with the usual loop over batches: its accuracies, its gradient at the end."""
    small = {"hidden_size": 4, "batch_size": 32, "cell": "rnn", "forget_bias": None}
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
    curve = gradients.gradient_curve(model.double(), digits[:32].long(), targets[:32])
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


def test_three_digits_holds_out_every_palindrome_once(monkeypatch):
    """A batch is all that train, no held-out row is ever met; the accuracy is over all folds."""
    digits, targets = three_digits.palindromes()
    assert targets.tolist() == digits[:, 0].tolist()
    seen, met = [], []

    def evaluate(_, digits, targets):
        met.append(set(map(tuple, digits.tolist())))
        return 1.0, 0.9899 if 1 <= len(met) % 20 <= 10 else 0.9901

    monkeypatch.setattr(train, "train_epoch", lambda *args: seen.append(args[4]))
    monkeypatch.setattr(train, "evaluate", evaluate)
    row = run_of(three_digits, {"hidden_size": 4}, updates=100)
    folds = met[::20]
    assert sorted(row for fold in folds for row in fold) == [(a, b, b) for a in range(10) for b in range(10)]
    for n, fold in enumerate(folds):
        batches = torch.cat(seen[20 * n : 20 * n + 20]).split(80)
        assert len(batches) == 100
        for batch in batches:
            assert len(set(batch.tolist())) == 80
            assert not fold & set(map(tuple, digits[batch].tolist()))
    assert row["curve"] == [0.9899] * 10 + [0.9901] * 10
    assert (row["updates_to_99"], row["accuracy_at_100"]) == (55, 0.9901)


def test_benchmark_measures_every_variant(tmp_path):
    benchmark.main(["--lengths", "2", "--rounds", "1", "--threads", "1", "--device", "cpu", "--out-dir", str(tmp_path)])
    rows = files.load(tmp_path / "benchmark.json")["rows"].values()
    assert [row["variant"] for row in rows] == ["equations", "fast", "nn.LSTM"]
    assert (tmp_path / "lstm_speed.png").read_bytes().startswith(b"\x89PNG")
