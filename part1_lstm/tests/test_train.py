"""One run: the update, the accuracy, seeds, resuming, learning, refusals."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import dataset
import train
import utils

TINY = ["--input-length", "5", "--hidden-size", "8", "--total-len", "300", "--batch-size", "64", "--stop-at", "2"]


def run_of(folder, *options, **keywords):
    return train.train(train.parse_args([*TINY, "--out-dir", str(folder), *options]), progress=False, **keywords)


def state_of(folder):
    return torch.load(next(Path(folder).rglob("checkpoint.pt")), weights_only=True)


def small_problem(rows=300):
    torch.manual_seed(0)
    model = train.CELLS["lstm"].fast(hidden_size=8)
    return model, *dataset.load(6, 1000)["train"], torch.randperm(800)[:rows]


def vector(model):
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_gradient_is_clipped_between_backward_and_step(clip):
    """With plain SGD at lr 1 the update is the gradient that step() saw: its norm is the clipped one."""
    model, digits, targets, order = small_problem()
    loss = F.cross_entropy(model(digits[order].long()), targets[order])
    full = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, list(model.parameters()))])
    before = vector(model)
    optimizer = torch.optim.SGD([train.one_vector(model)], lr=1.0)
    norm = train.train_epoch(model, optimizer, digits, targets, order, batch_size=len(order), clip=clip)[2]
    assert norm == pytest.approx(full.norm().item(), rel=1e-4)
    expected = full * min(1, clip / full.norm().item())
    torch.testing.assert_close(before - vector(model), expected, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_update_of_one_vector_is_the_usual_update(cell, name):
    """Clipped and unclipped steps; the parameters stay parts of the vector when weights are loaded."""
    torch.manual_seed(0)
    usual = train.CELLS[cell].fast(hidden_size=8)
    digits = torch.randint(10, (20, 5))
    for clip in (1e-2, 1e2):
        model = copy.deepcopy(usual)
        vector = train.one_vector(model)
        optimizers = train.OPTIMIZERS[name](usual.parameters(), lr=1e-2), train.OPTIMIZERS[name]([vector], lr=1e-2)
        for _ in range(5):
            optimizers[0].zero_grad()
            F.cross_entropy(usual(digits), digits[:, 0]).backward()
            expected = torch.nn.utils.clip_grad_norm_(usual.parameters(), clip)
            optimizers[0].step()
            loss = F.cross_entropy(model(digits), digits[:, 0])
            torch.testing.assert_close(train.update(model, vector, optimizers[1], loss, clip), expected)
        for found, parameter in zip(model.parameters(), usual.parameters(), strict=True):
            torch.testing.assert_close(found, parameter, rtol=1e-3, atol=1e-5)
        model.load_state_dict(usual.state_dict())
        assert torch.equal(vector, torch.nn.utils.parameters_to_vector(usual.parameters()))


def test_loss_takes_logits():
    """Mean of -log softmax over all rows, the smaller last batch included; a second softmax would raise it."""
    model, digits, targets, order = small_problem()
    with torch.no_grad():
        model.W_ph.weight.mul_(20)  # far from uniform, where softmax twice and softmax once differ most
        logits = model(digits[order].long())
    expected = -logits.double().softmax(1).log()[range(len(order)), targets[order]].mean().item()
    optimizer = torch.optim.SGD([train.one_vector(model)], lr=0.0)
    assert train.train_epoch(model, optimizer, digits, targets, order, 128, 10.0)[0] == pytest.approx(expected, 1e-5)
    assert train.evaluate(model, digits[order], targets[order])[0] == pytest.approx(expected, 1e-5)


def test_accuracy_counts_every_row_once(monkeypatch):
    """Three batches, the last one smaller: training and evaluation count what a loop over the rows counts."""
    model, digits, targets, order = small_problem(rows=300)
    rows, answers = digits[order], targets[order]
    answers[:40] = model(rows[:40].long()).argmax(1)  # right on part of one batch: no two batches are alike
    targets[order] = answers
    guesses = [model(row[None].long()).argmax().item() for row in rows]
    by_hand = sum(guess == answer for guess, answer in zip(guesses, answers.tolist(), strict=True))
    optimizer = torch.optim.SGD([train.one_vector(model)], lr=0.0)
    assert train.train_epoch(model, optimizer, digits, targets, order, 128, 10.0)[1] == by_hand / 300
    monkeypatch.setattr(train, "EVALUATION_BATCH", 128)
    assert train.evaluate(model, rows, answers)[1] == by_hand / 300
    assert 40 <= by_hand < 300


def test_untrained_loss_is_that_of_a_guess():
    model, digits, targets, _ = small_problem()
    assert train.evaluate(model, digits, targets)[0] == pytest.approx(2.303, abs=0.1)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_it_learns(tmp_path, cell):
    """Far below 1.46, the least that cross entropy can reach over ten classes after a softmax too many."""
    options = ["--cell", cell, "--input-length", "4", "--total-len", "1000", "--out-dir", str(tmp_path)]
    options += ["--hidden-size", "64", "--batch-size", "32", "--lr", "3e-3", "--epochs", "40"]
    result = train.train(train.parse_args(options), progress=False, result_only=True)
    history = json.loads(next(tmp_path.rglob("history.json")).read_text())
    assert result["reached"]
    assert result["val_accuracy"] == history[-1]["val_accuracy"] >= 0.99
    assert history[-1]["val_loss"] < 0.2
    assert result["test_accuracy"] is None
    assert result["epochs"] == len(history) < 40
    assert result["updates"] == 25 * result["epochs"]


def test_files_of_a_run(tmp_path):
    result = run_of(tmp_path, "--epochs", "2")
    folder = tmp_path / "lstm_T5_rmsprop_seed0"
    names = [".lock", "checkpoint.pt", "config.json", "curve.png", "history.json", "result.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert json.loads((folder / "result.json").read_text()) == result
    history = json.loads((folder / "history.json").read_text())
    assert [entry["updates"] for entry in history] == [4, 8]
    assert not result["reached"]
    assert result["rows"] == {"train": 240, "validation": 60, "test": 700}
    assert result["best_val_accuracy"] == max(entry["val_accuracy"] for entry in history)


def test_forget_bias_sets_that_bias_and_nothing_else():
    plain, biased = (train.build(train.parse_args(words)).state_dict() for words in ([], ["--forget-bias", "-2.5"]))
    changed = [name for name in plain if not torch.equal(plain[name], biased[name])]
    assert changed == ["W_fx.bias"]
    assert biased["W_fx.bias"].eq(-2.5).all()


def test_fresh_protocol_by_hand(tmp_path):
    """200 updates, each on a batch drawn anew, and the mean accuracy of the last 100 batches before their updates."""
    options = ["--protocol", "fresh", "--updates", "200", "--batch-size", "32", "--lr", "0.01", "--stop-at", "0.2"]
    result = run_of(tmp_path, *options, "--epochs", "1")
    model = train.build(train.parse_args([*TINY, *options]))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    accuracies = []
    for _ in range(2):
        digits, targets = dataset.draw(5, 100 * 32, generator)
        for batch in torch.randperm(100 * 32, generator=generator).view(100, 32):
            logits = model(digits[batch].long())
            accuracies.append((logits.argmax(1) == targets[batch]).float().mean().item())
            optimizer.zero_grad()
            F.cross_entropy(logits, targets[batch]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
    assert result["accuracy"] == pytest.approx(sum(accuracies[100:]) / 100, rel=1e-6)
    assert result["accuracy"] != pytest.approx(sum(accuracies[:100]) / 100, abs=0.01)
    first, last = state_of(tmp_path)["history"]
    assert min(first["val_accuracy"], result["accuracy"]) > 0.2  # reached in the first epoch, which did not stop it
    assert (first["updates"], last["updates"], result["updates"], result["reached"]) == (100, 200, 200, True)
    assert result["rows"] == {"train": 200 * 32, "validation": 60, "test": 700}
    assert torch.equal(vector(model), torch.cat([weight.flatten() for weight in state_of(tmp_path)["model"].values()]))


def test_updates_to_99():
    history = [{"updates": 63 * epoch, "val_accuracy": a} for epoch, a in enumerate((0.5, 0.989, 0.99, 0.4, 1.0), 1)]
    assert train.updates_to_99(history) == 189
    assert train.updates_to_99(history[:2]) is None


def test_batch_larger_than_the_data_set_is_one_update(tmp_path):
    result = run_of(tmp_path, "--input-length", "3", "--batch-size", "128", "--epochs", "3", result_only=True)
    assert result["updates"] == 3
    assert result["test_accuracy"] is None


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_seed_fixes_the_run(tmp_path, cell):
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    for folder, seed in ((first, 3), (again, 3), (other, 4)):
        run_of(folder, "--cell", cell, "--epochs", "2", "--seed", str(seed))
    first, again, other = state_of(first), state_of(again), state_of(other)
    assert again["history"] == first["history"] != other["history"]
    for name, weight in first["model"].items():
        assert torch.equal(again["model"][name], weight)
        assert not torch.equal(other["model"][name], weight)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_resume_equals_never_stopped(tmp_path, optimizer):
    options = ["--optimizer", optimizer, "--device", "cpu"]
    run_of(tmp_path / "whole", *options, "--epochs", "4")
    run_of(tmp_path / "parts", *options, "--epochs", "2")
    torch.manual_seed(99)  # what else the process did must not matter
    result = run_of(tmp_path / "parts", *options, "--epochs", "4", "--resume")
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert result["epochs"] == len(parts["history"]) == 4
    for entry in ("model", "optimizer", "rng", "history", "epoch"):
        assert same(whole[entry], parts[entry]), entry


def test_resume_of_fresh_batches_equals_never_stopped(tmp_path):
    options = ["--protocol", "fresh", "--device", "cpu", "--updates"]
    whole = run_of(tmp_path / "whole", *options, "300")
    run_of(tmp_path / "parts", *options, "100")
    parts = run_of(tmp_path / "parts", *options, "300", "--resume")
    assert {**parts, "seconds": 0} == {**whole, "seconds": 0}
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    for entry in ("model", "optimizer", "rng", "history", "epoch"):
        assert same(whole[entry], parts[entry]), entry
    with pytest.raises(utils.InputError, match="--updates is 200 but was 300 already"):
        run_of(tmp_path / "parts", *options, "200", "--resume")


def test_resume_of_a_finished_run_changes_nothing(tmp_path, capsys):
    options = [*TINY, "--out-dir", str(tmp_path), "--epochs", "2"]
    train.main(options)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    capsys.readouterr()
    train.main([*options, "--resume"])
    assert "nothing to resume" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def script(monkeypatch, capsys, *options):
    """Exit code and standard error of `python train.py OPTIONS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", *options])
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        utils.run(train.main)
    return exit_info.value.code, capsys.readouterr().err


BAD_OPTIONS = [
    ["--cell", "gru"],
    ["--input-length", "0"],
    ["--input-length", "1001"],
    ["--input-length", "2.5"],
    ["--hidden-size", "0"],
    ["--batch-size", "-1"],
    ["--lr", "nan"],
    ["--lr", "0"],
    ["--lr", "inf"],
    ["--epochs", "0"],
    ["--clip", "0"],
    ["--total-len", "1"],
    ["--train-portion", "1"],
    ["--train-portion", "0.9999"],
    ["--stop-at", "nan"],
    ["--optimizer", "sgd"],
    ["--seed", "-1"],
    ["--data-seed", "x"],
    ["--device", "tpu"],
    ["--resume"],
    ["--input-len", "5"],
    ["--forget-bias", "inf"],
    ["--forget-bias", "1", "--cell", "rnn"],
    ["--protocol", "both"],
    ["--updates", "0"],
    ["--updates", "150", "--protocol", "fresh"],
    ["--batch-size", "10001", "--protocol", "fresh"],
]


@pytest.mark.parametrize("bad", BAD_OPTIONS, ids=" ".join)
def test_bad_options_are_named_in_one_line(tmp_path, monkeypatch, capsys, bad):
    code, error = script(monkeypatch, capsys, *TINY, "--out-dir", str(tmp_path / "out"), "--epochs", "1", *bad)
    assert code == 2
    assert error.count("\n") == 1
    assert bad[0] in error or "checkpoint" in error
    assert not (tmp_path / "out").exists()


def test_resume_with_other_options_names_them(tmp_path, monkeypatch, capsys):
    run_of(tmp_path, "--epochs", "1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    options = [*TINY, "--out-dir", str(tmp_path), "--epochs", "2", "--resume", "--lr", "0.5", "--hidden-size", "9"]
    code, error = script(monkeypatch, capsys, *options)
    assert code == 2
    assert error.count("\n") == 1
    assert "--lr is 0.5 but was 0.001" in error
    assert "--hidden-size is 9 but was 8" in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_damaged_checkpoint_is_named(tmp_path, monkeypatch, capsys, damage):
    run_of(tmp_path, "--epochs", "1")
    path = next(tmp_path.rglob("checkpoint.pt"))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        torch.save({"kind": "something else"}, path)
    code, error = script(monkeypatch, capsys, *TINY, "--out-dir", str(tmp_path), "--epochs", "2", "--resume")
    assert code == 2
    assert error.count("\n") == 1
    assert "checkpoint.pt" in error


def test_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch, capsys):
    options = [*TINY, "--out-dir", str(tmp_path), "--epochs", "2", "--lr", "1e38"]
    code, error = script(monkeypatch, capsys, *options)
    assert code == 1
    assert "epoch 1, update 4: the loss is nan" in error.splitlines()[-1]
    assert "checkpoint.pt, epoch 0" in error.splitlines()[-1]
    assert state_of(tmp_path)["epoch"] == 0
    assert not list(tmp_path.rglob("result.json"))


def test_launch_from_another_folder(tmp_path):
    command = [sys.executable, train.__file__, *TINY, "--epochs", "1", "--out-dir", "out"]
    answer = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert (tmp_path / "out" / "lstm_T5_rmsprop_seed0" / "result.json").exists()


def test_a_second_start_changes_nothing(tmp_path, capsys):
    """Finished or not, with the same options or others: one line that names both ways on."""
    options = [*TINY, "--out-dir", str(tmp_path), "--epochs", "1"]
    train.main(options)
    for lost in (None, "result.json"):
        if lost:
            next(tmp_path.rglob(lost)).unlink()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for more in ([], ["--lr", "0.5"], ["--resume", "--restart"]):
            with pytest.raises(utils.InputError, match="--resume.*--restart"):
                train.main([*options, *more])
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train.main([*options, "--restart", "--lr", "0.5"])
    assert "reach" in capsys.readouterr().out
