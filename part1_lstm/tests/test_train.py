"""One run: the update, the accuracy, seeds, resuming, learning, pictures."""

import copy
import itertools
import json
import math
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

import dataset
import plots
import train
import utils

TINY = ["--input-length", "5", "--hidden-size", "8", "--total-len", "300", "--batch-size", "64", "--stop-at", "2"]


def args_of(folder, *options):
    return train.parse_args([*TINY, "--out-dir", str(folder), *options])


def run_of(folder, *options, **keywords):
    return train.train(args_of(folder, *options), progress=False, **keywords)


def stop_in_epoch(epoch, folder, *options):
    """Start a run and interrupt it at the end of an epoch, before its checkpoint."""
    real, calls = train.evaluate, itertools.count(1)

    def evaluate(*arguments):
        if next(calls) == epoch:
            raise KeyboardInterrupt
        return real(*arguments)

    with mock.patch.object(train, "evaluate", evaluate), pytest.raises(KeyboardInterrupt):
        run_of(folder, *options)


def state_of(folder):
    return utils.load_tensors(next(folder.rglob("checkpoint.pt")))


def history_of(folder):
    """history.pt as a dictionary of columns."""
    history = utils.load_tensors(next(folder.rglob("history.pt")), "columns", "rows")
    return dict(zip(history["columns"], history["rows"].T.tolist(), strict=True))


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


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
    history = history_of(tmp_path)
    assert result["reached"]
    assert result["val_accuracy"] == history["val_accuracy"][-1] >= 0.99
    assert history["val_loss"][-1] < 0.2
    assert result["test_accuracy"] is None
    assert result["epochs"] == len(history["epoch"]) < 40
    assert result["updates_to_99"] == result["updates"]
    assert result["updates"] == 25 * result["epochs"]


def test_files_of_a_run(tmp_path):
    result = run_of(tmp_path, "--epochs", "2")
    (folder,) = tmp_path.iterdir()
    names = [".lock", "checkpoint.pt", "config.json", "curve.png", "history.pt", "result.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert json.loads((folder / "result.json").read_text()) == result
    history = history_of(tmp_path)
    assert history["updates"] == [4, 8]
    assert not result["reached"]
    assert result["updates_to_99"] is None
    assert result["rows"] == {"train": 240, "validation": 60, "test": 700}
    assert result["best_val_accuracy"] == max(history["val_accuracy"])


def test_different_runs_have_different_folders():
    """A change of any option that changes numbers, one by one; the defaults give the short name."""
    assert train.run_name(train.parse_args([])) == "lstm_T25_rmsprop_seed0"
    changes = ["--cell rnn", "--input-length 7", "--optimizer adam", "--seed 1", "--hidden-size 64", "--batch-size 8"]
    changes += ["--lr 0.01", "--lr 0.010000001", "--epochs 3", "--clip 1", "--total-len 90", "--train-portion 0.5"]
    changes += ["--stop-at 0.9", "--data-seed 1", "--implementation fast", "--forget-bias 4", "--forget-bias 0"]
    changes += ["--matmul-precision medium", "--protocol fresh", "--protocol fresh --updates 100"]
    names = {train.run_name(train.parse_args(change.split())) for change in changes}
    assert len(names) == len(changes)
    same_numbers = ["--threads", "1", "--device", "cpu", "--updates", "100"]
    assert train.run_name(train.parse_args(same_numbers)) == "lstm_T25_rmsprop_seed0"


def test_curve_is_drawn_now_and_then():
    """At most one drawing per 100 times its duration; one that fails stops nothing."""
    drawn, clock = [], mock.Mock(return_value=0.0)

    def draw(epoch):
        drawn.append(epoch)
        clock.return_value += 0.3
        if epoch > 60:
            raise ValueError("no font")

    with mock.patch.object(plots.time, "perf_counter", clock):
        draw_if_due = plots.sparingly(draw, seconds=0.5)
        for epoch in range(100):
            draw_if_due(epoch)
            clock.return_value += 1
    assert drawn == [50, 80]


def test_curve_is_there_while_the_run_trains_and_no_figure_costs_a_result(tmp_path):
    with mock.patch.object(plots, "sparingly", lambda draw: draw):
        stop_in_epoch(3, tmp_path, "--epochs", "9")
    assert next(tmp_path.rglob("curve.png")).read_bytes().startswith(b"\x89PNG")
    with (
        mock.patch.object(plots, "draw_curve", mock.Mock(side_effect=OSError("no font"))),
        pytest.raises(OSError, match="no font"),
    ):
        run_of(tmp_path, "--epochs", "9", "--resume")
    assert json.loads(next(tmp_path.rglob("result.json")).read_text())["epochs"] == 9


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
    history = history_of(tmp_path)
    assert min(history["val_accuracy"][0], result["accuracy"]) > 0.2  # reached in the first epoch, without a stop
    assert (history["updates"], result["updates"], result["reached"]) == ([100, 200], 200, True)
    assert result["rows"] == {"train": 200 * 32, "validation": 60, "test": 700}
    assert torch.equal(vector(model), torch.cat([weight.flatten() for weight in state_of(tmp_path)["model"].values()]))


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
    assert same(again["history"], first["history"])
    assert not same(first["history"], other["history"])
    for name, weight in first["model"].items():
        assert torch.equal(again["model"][name], weight)
        assert not torch.equal(other["model"][name], weight)


@pytest.mark.parametrize(
    "options",
    [["--epochs", "4"], ["--epochs", "4", "--optimizer", "adam"], ["--protocol", "fresh", "--updates", "400"]],
    ids=" ".join,
)
def test_resume_equals_never_stopped(tmp_path, options):
    options = [*options, "--device", "cpu"]
    whole = run_of(tmp_path / "whole", *options)
    stop_in_epoch(3, tmp_path / "parts", *options)
    assert len(state_of(tmp_path / "parts")["history"]) == 2
    torch.manual_seed(99)  # what else the process did must not matter
    parts = run_of(tmp_path / "parts", *options, "--resume")
    assert {**parts, "seconds": 0} == {**whole, "seconds": 0}
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    for entry in ("model", "optimizer", "rng", "history"):
        assert same(whole[entry], parts[entry]), entry


def test_a_renamed_run_can_be_extended_but_not_cut(tmp_path):
    run_of(tmp_path, "--epochs", "3")
    whole = run_of(tmp_path / "whole", "--epochs", "5")
    (folder,) = (path for path in tmp_path.iterdir() if "epochs-3" in path.name)
    for epochs in "5", "2":
        folder = folder.rename(tmp_path / train.run_name(args_of(tmp_path, "--epochs", epochs)))
        if epochs == "5":
            assert {**run_of(tmp_path, "--epochs", "5", "--resume"), "seconds": 0} == {**whole, "seconds": 0}
    with pytest.raises(utils.InputError, match="checkpoint of 5 epochs: --epochs is 2 but was 5"):
        run_of(tmp_path, "--epochs", "2", "--resume")


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    options = [*TINY, "--out-dir", str(tmp_path), "--epochs", "2"]
    train.main(options)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train.main([*options, "--resume"])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_diverged_run_keeps_the_last_good_checkpoint(tmp_path):
    """A loss that is not finite, by a huge learning rate; and weights that are not, at a loss that is."""
    with pytest.raises(FloatingPointError, match="epoch 1, update 4; .* is that of epoch 0: loss "):
        run_of(tmp_path, "--epochs", "2", "--lr", "1e37")
    assert len(state_of(tmp_path)["history"]) == 0
    real, calls = train.train_epoch, itertools.count(1)

    def spoiled(model, *arguments):
        numbers = real(model, *arguments)
        if next(calls) == 3:
            with torch.no_grad():
                model.W_fx.bias[0] = math.inf  # sigmoid makes 1 of it
        return numbers

    with (
        mock.patch.object(train, "train_epoch", spoiled),
        pytest.raises(FloatingPointError, match="that of epoch 2: W_fx.bias is not finite"),
    ):
        run_of(tmp_path / "weights", "--epochs", "5", "--implementation", "equations")
    state = state_of(tmp_path / "weights")
    assert len(state["history"]) == 2
    assert all(weight.isfinite().all() for weight in state["model"].values())
    assert not list(tmp_path.rglob("result.json"))


def test_a_second_start_changes_nothing(tmp_path, capsys):
    """Finished or not: one line that names both ways on. Other options have another folder."""
    options = [*TINY, "--out-dir", str(tmp_path), "--epochs", "1"]
    train.main(options)
    for lost in (None, "result.json"):
        if lost:
            next(tmp_path.rglob(lost)).unlink()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for more in ([], ["--resume", "--restart"]):
            with pytest.raises(utils.InputError, match="--resume.*--restart"):
                train.main([*options, *more])
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train.main([*options, "--lr", "0.5"])
    assert before.items() <= {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}.items()
    train.main([*options, "--restart"])
    assert "reach" in capsys.readouterr().out
