"""The study of length 3: its folds, its bookkeeping of errors, what it concludes, and the script."""

import json

import pytest
import torch

import dataset
import length3
from utils import InputError


def test_palindromes_are_all_there_are():
    digits, targets = length3.palindromes()
    rows = {(*row.tolist(), target.item()) for row, target in zip(digits, targets, strict=True)}
    assert rows == {(a, b, b, a) for a in range(10) for b in range(10)}
    splits = dataset.load(3)
    theirs = [(*row.tolist(), target.item()) for s in splits.values() for row, target in zip(*s, strict=True)]
    assert sorted(theirs) == sorted(rows)


def test_folds_hold_out_every_palindrome_once():
    for seed in range(3):
        folds = length3.draw_folds(seed)
        assert [len(fold) for fold in folds] == [20] * 5
        assert sorted(torch.cat(folds).tolist()) == list(range(100))
    assert not torch.equal(length3.draw_folds(0)[0], length3.draw_folds(1)[0])
    assert torch.equal(length3.draw_folds(2)[4], length3.draw_folds(2)[4])


@pytest.mark.parametrize("batch_size", [length3.WHOLE, length3.SMALL])
def test_follow_trains_on_the_other_folds_only(monkeypatch, batch_size):
    """Every batch of an epoch is met once, no held-out row ever, and as many updates as were asked for."""
    seen = []

    def recorded(model, optimizer, digits, targets, order, size, clip):
        seen.append(order)
        assert len(order) == size * length3.EVERY

    monkeypatch.setattr(length3.train, "train_epoch", recorded)
    answers, accuracy = length3.follow(("rnn", 4, "adam", batch_size), 3, updates=20)
    assert answers.shape == (4, 100)
    assert accuracy.shape == (4,)
    folds = length3.draw_folds(3)
    assert len(seen) == len(folds) * 4
    for fold, held_out in enumerate(folds):
        rows = torch.cat(seen[4 * fold : 4 * fold + 4])
        assert len(rows) == 20 * batch_size
        kept = sorted(set(range(100)) - set(held_out.tolist()))
        for epoch in rows.split(80):
            assert sorted(epoch.tolist()) == kept


def test_follow_learns_and_is_fixed_by_its_seed():
    setting = ("rnn", 32, "rmsprop", length3.WHOLE)
    answers, accuracy = length3.follow(setting, 0, updates=40)
    again = length3.follow(setting, 0, updates=40)
    assert torch.equal(answers, again[0])
    assert torch.equal(accuracy, again[1])
    right = (answers == length3.palindromes()[1]).float().mean(1)
    assert right[-1] > 0.5 > right[0]
    assert accuracy[-1] > 0.9  # of rows that it has seen
    assert accuracy.max() <= 1
    assert not torch.equal(answers, length3.follow(setting, 1, updates=40)[0])


def test_errors_by_hand():
    """Two seeds; one misses 0110 (naming 1, the digit read last) and 7227 (naming 5), the other 0110 (naming 3)."""
    targets = length3.palindromes()[1]
    answers = targets.repeat(2, 1)
    answers[0, 1], answers[0, 72], answers[1, 1] = 1, 5, 3
    found = length3.errors(answers, seeds=[4, 9])
    assert (found["missed"], found["of"]) == (3, 200)
    assert found["named_last_read"] == pytest.approx(1 / 3, abs=1e-3)
    assert found["most_missed"] == {"0110": 2, "7227": 1}

    def seen(seed, row):  # training rows with the same target as `row`, counted one by one
        held_out = next(fold for fold in length3.draw_folds(seed) if row in fold)
        return sum(targets[other] == targets[row] for other in range(100) if other not in held_out).item()

    expected = (seen(4, 1) + seen(4, 72) + seen(9, 1)) / 3
    assert found["target_seen"]["missed"] == pytest.approx(expected, abs=0.01)
    everywhere = sum(seen(seed, row) for seed in (4, 9) for row in range(100)) / 200
    assert found["target_seen"]["all"] == pytest.approx(everywhere, abs=0.01)
    none = length3.errors(targets.repeat(2, 1), seeds=[4, 9])
    assert (none["missed"], none["named_last_read"], none["target_seen"]["missed"]) == (0, None, None)


def test_summary_by_hand():
    """Three seeds that have all right from looks 1, 30 and never on."""
    targets, looks = length3.palindromes()[1], 40
    answers = ((targets + 1) % 10).repeat(3, looks, 1)
    answers[0, 1:], answers[1, 30:] = targets, targets
    answers[2, -1, :60] = targets[:60]
    row = length3.summarise(length3.SETTINGS[0], answers, torch.full((3, looks), 0.5), seeds=[0, 1, 2])
    assert row["accuracy_at_budget"] == {"median": 0.0, "min": 0.0, "max": 1.0}
    assert row["accuracy_at_end"] == {"median": 1.0, "min": 0.6, "max": 1.0}
    assert row["updates_to_99_percent"] == {"median": 31 * length3.EVERY, "seeds": [10, 155, None]}
    assert row["weights"] == 72_458
    assert len(row["curve"]["median"]) == looks
    never = length3.summarise(length3.SETTINGS[0], answers[2:], torch.zeros(1, looks), seeds=[2])
    assert never["updates_to_99_percent"]["median"] is None


def rows_of(budget, end, needed):
    """Rows of the report's setting, in the order LSTM, RNN, and the same with the other one's number of weights."""
    return [
        dict(zip(("cell", "hidden_size", "optimizer", "batch_size"), (cell, size, *length3.REPORT), strict=True))
        | {"accuracy_at_budget": {"median": budget}, "accuracy_at_end": {"median": end}}
        | {"train_accuracy_at_budget": {"median": 1.0}, "updates_to_99_percent": {"median": updates}}
        | {"errors_at_budget": {"named_last_read": 0.75}}
        for (cell, size), updates in zip((("lstm", 128), ("rnn", 128), ("lstm", 64), ("rnn", 256)), needed, strict=True)
    ]


@pytest.mark.parametrize(
    ("budget", "end", "needed", "updates", "weights"),
    [
        (0.96, 1.0, (160, 10, 290, 5), "too few, as the report guesses", "not what makes the difference"),
        (0.96, 1.0, (160, 10, None, 5), "too few, as the report guesses", "not what makes the difference"),
        (0.96, 0.97, (None, 10, 160, 20), "not the whole reason", "fewer weights help, as the report guesses"),
        (1.0, 1.0, (90, 10, 290, 20), "no shortfall", "one cell and not the other"),
        (1.0, 1.0, (90, 10, 90, 10), "no shortfall", "not what makes the difference"),
    ],
)
def test_answer_follows_the_numbers(budget, end, needed, updates, weights):
    first, second = length3.answer(rows_of(budget, end, needed), 500)
    assert updates in first
    assert weights in second
    assert "75 % of the LSTM's errors" in second
    assert ("more than 500" in second) == (None in needed)


def test_script(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(length3, "SIZES", {"lstm": (4, 2), "rnn": (4, 8)})
    settings = [(cell, length3.SIZES[cell][0], *panel) for panel in length3.PANELS for cell in length3.SIZES]
    settings += [(cell, length3.SIZES[cell][1], *length3.REPORT) for cell in length3.SIZES]
    monkeypatch.setattr(length3, "SETTINGS", settings)
    monkeypatch.setattr(length3, "EVERY", 50)
    options = ["--seeds", "1", "--seed", "3", "--updates", "100", "--out-dir", str(tmp_path)]
    monkeypatch.setattr(length3.train, "train_epoch", lambda *_, **__: None)
    length3.main([*options, "--figures-dir", str(tmp_path / "figures")])
    result = json.loads((tmp_path / "length3.json").read_text())
    assert len(result["settings"]) == 10
    assert result["config"] == {"updates": 100, "seeds": 1, "seed": 3, "every": 50}
    assert all(sentence in capsys.readouterr().out for sentence in result["answer"][:1])
    assert (tmp_path / "figures" / "length3.png").read_bytes().startswith(b"\x89PNG")


def test_bad_options(tmp_path, capsys):
    with pytest.raises(InputError, match="--updates 102"):
        length3.main(["--updates", "102", "--out-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as exit_info:
        length3.parse_args(["--updates", "50"])  # it has to reach the report's budget
    assert exit_info.value.code == 2
    assert not list(tmp_path.iterdir())
