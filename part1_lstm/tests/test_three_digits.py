"""The study of three digits: its folds, its count of errors, what it concludes, and the script."""

import json

import pytest
import torch

import dataset
import sweep
import train
from studies import three_digits


def test_palindromes_are_all_there_are():
    digits, targets = three_digits.palindromes()
    rows = {(*row.tolist(), target.item()) for row, target in zip(digits, targets, strict=True)}
    assert rows == {(a, b, b, a) for a in range(10) for b in range(10)}
    splits = dataset.load(3)
    theirs = [(*row.tolist(), target.item()) for s in splits.values() for row, target in zip(*s, strict=True)]
    assert sorted(theirs) == sorted(rows)


def test_folds_hold_out_every_palindrome_once():
    for seed in range(3):
        folds = three_digits.draw_folds(seed)
        assert [len(fold) for fold in folds] == [20] * 5
        assert sorted(torch.cat(folds).tolist()) == list(range(100))
    assert not torch.equal(three_digits.draw_folds(0)[0], three_digits.draw_folds(1)[0])
    assert torch.equal(three_digits.draw_folds(2)[4], three_digits.draw_folds(2)[4])


@pytest.mark.parametrize("batch_size", [three_digits.WHOLE, three_digits.SMALL])
def test_follow_trains_on_the_other_folds_only(monkeypatch, batch_size):
    """Every batch of an epoch is met once, no held-out row ever, and as many updates as were asked for."""
    seen = []

    def recorded(model, optimizer, digits, targets, order, size, clip):
        seen.append(order)
        assert len(order) == size * three_digits.EVERY

    monkeypatch.setattr(train, "train_epoch", recorded)
    predictions, accuracy = three_digits.follow(("rnn", 4, "adam", batch_size), 3, updates=20)
    assert predictions.shape == (4, 100)
    assert accuracy.shape == (4,)
    folds = three_digits.draw_folds(3)
    assert len(seen) == len(folds) * 4
    for fold, held_out in enumerate(folds):
        rows = torch.cat(seen[4 * fold : 4 * fold + 4])
        assert len(rows) == 20 * batch_size
        kept = sorted(set(range(100)) - set(held_out.tolist()))
        for epoch in rows.split(80):
            assert sorted(epoch.tolist()) == kept


def test_follow_learns_and_is_fixed_by_its_seed():
    setting = ("rnn", 32, "rmsprop", three_digits.WHOLE)
    predictions, accuracy = three_digits.follow(setting, 0, updates=30)
    again = three_digits.follow(setting, 0, updates=30)
    assert torch.equal(predictions, again[0])
    assert torch.equal(accuracy, again[1])
    right = (predictions == three_digits.palindromes()[1]).float().mean(1)
    assert right[-1] > 0.5 > right[0]
    assert accuracy[-1] > 0.9  # of rows that it has seen
    assert accuracy.max() <= 1
    assert not torch.equal(predictions, three_digits.follow(setting, 1, updates=30)[0])


def test_errors_by_hand():
    """Two seeds; one misses 0110 (naming 1, the digit read last) and 7227 (naming 5), the other 0110 (naming 3)."""
    targets = three_digits.palindromes()[1]
    predictions = targets.repeat(2, 1)
    predictions[0, 1], predictions[0, 72], predictions[1, 1] = 1, 5, 3
    assert three_digits.errors(predictions) == {"missed": 3, "named_last_read": 1}


def test_summary_by_hand():
    """Three seeds without errors from evaluations 1, 30 and never on."""
    targets, evaluations = three_digits.palindromes()[1], 40
    predictions = ((targets + 1) % 10).repeat(3, evaluations, 1)
    predictions[0, 1:], predictions[1, 30:] = targets, targets
    predictions[2, -1, :60] = targets[:60]
    row = three_digits.summarise(three_digits.SETTINGS[0], predictions, torch.full((3, evaluations), 0.5))
    assert row["accuracy_at_budget"] == {"median": 0.0, "min": 0.0, "max": 1.0, "seeds": [1.0, 0.0, 0.0]}
    assert row["accuracy_at_end"] == {"median": 1.0, "min": 0.6, "max": 1.0, "seeds": [1.0, 1.0, 0.6]}
    assert row["updates_to_99_percent"] == {"median": 31 * three_digits.EVERY, "seeds": [10, 155, None]}
    assert row["weights"] == 72_458
    assert len(row["curve"]["median"]) == evaluations
    never = three_digits.summarise(three_digits.SETTINGS[0], predictions[2:], torch.zeros(1, evaluations))
    assert never["updates_to_99_percent"]["median"] is None
    assert sweep.median_and_range([3.0, None]) is None


def rows_of(budget, end, needed):
    """Rows of the report's setting, in the order LSTM, RNN, and the same with the other one's number of weights."""
    return [
        dict(zip(("cell", "hidden_size", "optimizer", "batch_size"), (cell, size, *three_digits.REPORT), strict=True))
        | {"accuracy_at_budget": {"median": budget, "seeds": [1.0, budget, budget]}}
        | {"accuracy_at_end": {"median": end, "seeds": [1.0, 1.0, end]}}
        | {"train_accuracy_at_budget": {"median": 1.0}, "updates_to_99_percent": {"median": updates}}
        | {"errors_at_budget": {"named_last_read": 6, "missed": 8}}
        for (cell, size), updates in zip((("lstm", 128), ("rnn", 128), ("lstm", 64), ("rnn", 256)), needed, strict=True)
    ]


@pytest.mark.parametrize(
    ("budget", "end", "needed", "short", "weights"),
    [
        (0.96, 1.0, (160, 10, 290, 5), (2, 0), "not what makes the difference"),
        (0.96, 1.0, (160, 10, None, 5), (2, 0), "not what makes the difference"),
        (0.96, 0.97, (None, 10, 160, 20), (2, 1), "fewer weights help, as the report guesses"),
        (1.0, 1.0, (90, 10, 290, 20), (0, 0), "one cell and not the other"),
        (1.0, 1.0, (90, 10, 90, 10), (0, 0), "not what makes the difference"),
        (1.0, 1.0, (90, 5, 290, 5), (0, 0), "do not help the LSTM; the RNN is too fast to tell"),
        (1.0, 1.0, (90, 5, 60, 5), (0, 0), "fewer weights help the LSTM; the RNN is too fast to tell"),
    ],
)
def test_answer_follows_the_numbers(budget, end, needed, short, weights):
    first, second = three_digits.answer(rows_of(budget, end, needed), 500)
    assert "{} of its 3 seeds are below 100 % after 100 updates, {} of these after 500.".format(*short) in first
    assert weights in second
    assert "6 of the LSTM's 8 errors" in second
    assert ("more than 500" in second) == (None in needed)


def test_script(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(three_digits, "SIZES", {"lstm": (4, 2), "rnn": (4, 8)})
    settings = [
        (cell, three_digits.SIZES[cell][0], *panel) for panel in three_digits.PANELS for cell in three_digits.SIZES
    ]
    settings += [(cell, three_digits.SIZES[cell][1], *three_digits.REPORT) for cell in three_digits.SIZES]
    monkeypatch.setattr(three_digits, "SETTINGS", settings)
    monkeypatch.setattr(three_digits, "EVERY", 50)
    options = ["--seeds", "1", "--seed", "3", "--updates", "100", "--out-dir", str(tmp_path)]
    monkeypatch.setattr(train, "train_epoch", lambda *_, **__: None)
    three_digits.main([*options, "--figures-dir", str(tmp_path / "figures")])
    result = json.loads((tmp_path / "three_digits.json").read_text())
    assert len(result["settings"]) == 10
    assert {"updates": 100, "seeds": 1, "seed": 3, "every": 50}.items() <= result["config"].items()
    assert three_digits.answer(result["settings"], 100)[0] in capsys.readouterr().out
    assert (tmp_path / "figures" / "three_digits.png").read_bytes().startswith(b"\x89PNG")
