"""One run: the step against a plain reference, seeds, resuming, learning, the files it leaves."""

import functools
import json
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import TYPESET

import dataset
import metrics
import plots
import run_folder
import train
import utils
from gan import DISCRIMINATORS, Discriminator, Generator
from latents import load_generator

TINY = [*TYPESET, "--limit", "200", "--batch-size", "64", "--name", "run"]


def run_of(folder, *options):
    return train.train(train.parse_args([*TINY, "--out-dir", str(folder), *options]))


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing them takes longer than these small runs, and other tests compare them."""
    monkeypatch.setattr(plots, "draw_run", lambda *args: None)


def state_of(folder):
    return utils.load_checkpoint(folder / "run" / "checkpoint.pt", "gan")


def networks(arch, seed=0):
    torch.manual_seed(seed)
    return Generator(), Discriminator(**DISCRIMINATORS[arch])


def step_of(arch, *options):
    """Networks, optimizers and options. Plain SGD: the update is the gradient, where Adam's first is only its sign."""
    pair = networks(arch)
    sgd = [torch.optim.SGD(network.parameters(), lr=0.5) for network in pair]
    return pair, sgd, train.parse_args(["--arch", arch, *options])


@pytest.mark.parametrize("scheme", train.SCHEMES)
@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
def test_step_equals_the_textbook_step(loss, scheme):
    """Real and fake images in one pass, each network's gradients alone: the same numbers as the plain way."""
    real, z = torch.rand(32, 784) * 2 - 1, torch.randn(32, 100)
    pair, sgd, args = step_of("initial", "--loss", loss, "--scheme", scheme)
    row = train.train_step(pair, sgd, real, z, args)

    generator, discriminator = networks("initial")
    step_g, step_d = (torch.optim.SGD(network.parameters(), lr=0.5) for network in (generator, discriminator))
    fake = generator(z)
    ones, zeros = torch.ones(32), torch.zeros(32)

    def g_step():
        logits = discriminator(fake)
        targets, sign = (zeros, -1) if loss == "minimax" else (ones, 1)
        g_loss = sign * F.binary_cross_entropy_with_logits(logits, targets)
        g_loss.backward()
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in generator.parameters()))
        step_g.step()
        return g_loss, norm

    def d_step(fake):
        step_d.zero_grad()
        real_logits, fake_logits = discriminator(real), discriminator(fake.detach())
        losses = (
            F.binary_cross_entropy_with_logits(real_logits, ones),
            F.binary_cross_entropy_with_logits(fake_logits, zeros),
        )
        d_loss = sum(losses) / 2
        d_loss.backward()
        step_d.step()
        return d_loss, real_logits, fake_logits

    if scheme == "alternating":
        d_loss, real_logits, fake_logits = d_step(fake)
        g_loss, norm = g_step()
    else:
        g_loss, norm = g_step()
        d_loss, real_logits, fake_logits = d_step(fake if scheme == "simultaneous" else generator(z))

    hits = ((real_logits > 0).sum() + (fake_logits < 0).sum()).item() / 64
    expected = [d_loss.item(), g_loss.item(), real_logits.sigmoid().mean().item(), fake_logits.sigmoid().mean().item()]
    assert row.tolist() == pytest.approx([*expected, hits, norm], rel=1e-4, abs=1e-6)
    for network, reference in zip(pair, (generator, discriminator), strict=True):
        for weight, other in zip(network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(weight, other, rtol=0, atol=1e-6)


def test_gradient_penalty_and_smoothing_reach_the_update_of_d():
    real, z = torch.rand(16, 784) * 2 - 1, torch.randn(16, 100)
    pair, sgd, args = step_of("initial", "--gradient-penalty", "0.5", "--label-smoothing", "0.1")
    train.train_step(pair, sgd, real, z, args)

    generator, discriminator = networks("initial")
    real.requires_grad_()
    logits = discriminator(real)
    (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    loss = F.binary_cross_entropy_with_logits(logits, torch.full((16,), 0.9))
    loss = (loss + F.softplus(discriminator(generator(z))).mean()) / 2 + 0.5 * slope.square().sum(1).mean() / 2
    gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
    for weight, before, gradient in zip(pair[1].parameters(), discriminator.parameters(), gradients, strict=True):
        torch.testing.assert_close(weight, before - 0.5 * gradient, rtol=0, atol=1e-6)


def test_bf16_rounds_products_and_keeps_weights_in_single_precision():
    real, z, found = torch.rand(64, 784) * 2 - 1, torch.randn(64, 100), {}
    for precision in "fp32", "bf16":
        pair, sgd, args = step_of("initial", "--precision", precision)
        row = train.train_step(pair, sgd, real, z, args)
        assert {weight.dtype for weight in pair[0].parameters()} == {torch.float32}
        found[precision] = torch.cat([row, *(weight.detach().flatten() for weight in pair[1].parameters())])
    assert not torch.equal(*found.values())
    torch.testing.assert_close(*found.values(), rtol=0.05, atol=0.02)


@pytest.mark.usefixtures("no_pictures")
def test_running_average_follows_the_weights(tmp_path):
    """After n updates from w_0 on, with decay d each: d^n w_0 + (1 - d) sum of d^(n - k) w_k."""
    args = train.parse_args([*TINY, "--batch-size", "10", "--ema", "0.9"])
    pair, adams, _ = step_of("balanced")
    mean = train.get_ema_multi_avg_fn(args.ema**train.AVERAGE_EVERY)
    averaged = train.AveragedModel(pair[0], multi_avg_fn=mean, use_buffers=True)
    weights, step = [], train.train_step

    def watch(*parts):
        row = step(*parts)
        weights.append(pair[0].layers[0].weight.detach().clone())
        return row

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train_step", watch)
        train.train_epoch(pair, adams, dataset.load(args)[0], args, averaged)
    expected, decay = weights[0], args.ema**train.AVERAGE_EVERY  # the first update is a copy
    for later in weights[4::4]:
        expected = decay * expected + (1 - decay) * later
    torch.testing.assert_close(averaged.module.layers[0].weight, expected)

    run_of(tmp_path, "--epochs", "2", "--ema", "0.99")
    loaded, _ = load_generator(tmp_path / "run" / "checkpoint.pt", torch.device("cpu"))
    assert torch.equal(loaded.layers[0].weight, state_of(tmp_path)["averaged"]["module.layers.0.weight"])
    assert not torch.equal(loaded.layers[0].weight, state_of(tmp_path)["generator"]["layers.0.weight"])


@pytest.mark.usefixtures("no_pictures")
def test_learning_rate_falls_to_zero(tmp_path, monkeypatch):
    rates, epoch = [], train.train_epoch

    def watch(pair, adams, *rest):
        rates.append([adam.param_groups[0]["lr"] for adam in adams])
        return epoch(pair, adams, *rest)

    monkeypatch.setattr(train, "train_epoch", watch)
    run_of(tmp_path, "--epochs", "4", "--decay-from", "0.5", "--lr", "0.008")
    assert rates == [[pytest.approx(rate)] * 2 for rate in (0.008, 0.008, 0.008, 0.004)]


def test_a_last_batch_of_one_image_is_left_out():
    """BatchNorm needs two."""
    args = train.parse_args(["--batch-size", "32"])
    history = train.train_epoch(*train.build(args, torch.device("cpu")), torch.zeros(65, 784, dtype=torch.uint8), args)
    assert len(history) == 2


def test_recipes_are_what_they_are_named_after():
    """The published code's settings, which the text does not have; options that are given count."""
    written, published = train.parse_args([]), train.parse_args(["--recipe", "published"])
    changed = {name for name, value in vars(published).items() if value != getattr(written, name)}
    assert changed == {"recipe", "name", "generator", "bn_eps", "scheme"}
    assert (published.generator, published.bn_eps, published.scheme) == ("published", 0.8, "simultaneous")
    assert train.parse_args(["--recipe", "published", "--bn-eps", "1e-5"]).bn_eps == 1e-5
    assert train.parse_args(["--recipe", "published", "--arch", "initial"]).epochs == 50


def test_runs_of_different_numbers_have_different_folders():
    """Every option that is in the config, by itself."""
    lines = ["", "--recipe best", "--recipe published", "--arch initial", "--arch initial --ema 0.999", "--lr 1e-3"]
    lines += ["--seed 1", "--scheme g-first", "--epochs 3", "--limit 128", "--dropout 0.1", "--dataset typeset"]
    lines += ["--matmul-precision highest", "--generator written-relu", "--bn-eps 0.1", "--loss minimax", "--beta1 0"]
    lines += ["--batch-size 32", "--label-smoothing 0.1", "--gradient-penalty 1", "--decay-from 0", "--precision bf16"]
    arguments = [train.parse_args(line.split()) for line in lines]
    names = [args.name for args in arguments]
    assert len(set(names)) == len(names)
    assert names[0] == "written_seed0"
    assert all(run_folder.folder_name(name) for name in names)
    first = train.config_of(arguments[0])
    covered = {name for args in arguments for name, value in train.config_of(args).items() if value != first[name]}
    assert covered == first.keys() - {"grid_epochs", "evaluate_every"}


def test_it_learns(trained):
    """The mean of the samples takes the form of the mean of the data, which no blank or noisy image has."""
    generator, _ = load_generator(trained / "run" / "checkpoint.pt", "cpu")
    mean = dataset.scale(dataset.load(train.parse_args([*TYPESET, "--limit", "3000"]))[0]).mean(0)
    z = torch.randn(500, 100, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        trained_mean, untrained_mean = (net.eval()(z).mean(0) for net in (generator, networks("balanced")[0]))
    assert torch.corrcoef(torch.stack([trained_mean, mean]))[0, 1] > 0.5
    assert torch.corrcoef(torch.stack([untrained_mean, mean]))[0, 1] < 0.2


def test_files_of_a_run(tmp_path):
    result = run_of(tmp_path, "--epochs", "3", "--grid-epochs", "1", "--seed", "5")
    folder = tmp_path / "run"
    names = ["checkpoint.pt", "config.json", "history.pt", "losses.png", "result.json", "samples.png", "samples.pt"]
    assert sorted(path.name for path in folder.iterdir()) == [".lock", *names]
    assert json.loads((folder / "result.json").read_text()) == result
    history = torch.load(folder / "history.pt", weights_only=True)
    assert history["rows"].shape == (3 * 4, len(train.HISTORY))  # 200 images: three batches of 64 and one of 8
    assert history["columns"] == list(train.HISTORY)
    assert (result["epochs"], result["steps"], result["config"]["dataset"]) == (3, 12, "typeset")
    assert result["last_epoch"]["d_loss"] == pytest.approx(history["rows"][-4:, 0].mean().item())

    # The last samples are what the saved generator makes of the seed's 25 latents, in eval mode.
    samples = torch.load(folder / "samples.pt", weights_only=True)["samples"]
    assert list(samples) == [1, 3]
    generator, _ = load_generator(folder / "checkpoint.pt", "cpu")
    z = torch.randn(25, 100, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = plots.to_bytes(torch.cat([generator(part) for part in z.split(5)]))
    assert (samples[3].int() - expected.int()).abs().max() <= 1


def test_pictures_are_kept_up_to_date_and_cost_no_result(tmp_path, monkeypatch, capsys):
    """After every tenth epoch and at the end; what fails in them is one line, and the result is there."""
    drawn = []

    def fail(figure, path, *rest):
        drawn.append(path.name)
        raise RuntimeError("no fonts")

    monkeypatch.setattr(utils, "save_figure", fail)
    run_of(tmp_path, "--epochs", "21", "--limit", "20", "--batch-size", "10")
    assert drawn == ["samples.png"] * 3  # epochs 10, 20 and 21
    assert capsys.readouterr().err.count("its pictures cannot be drawn (RuntimeError: no fonts)\n") == 3
    assert (tmp_path / "run" / "result.json").exists()


def equal(one, other):
    """Deep equality of checkpoints, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


@pytest.mark.usefixtures("no_pictures")
def test_the_seed_fixes_the_run_whatever_the_process_drew_before(tmp_path):
    for folder, seed in ("first", 0), ("again", 0), ("other", 1):
        run_of(tmp_path / folder, "--epochs", "1", "--seed", str(seed))
    first, again, other = (state_of(tmp_path / folder) for folder in ("first", "again", "other"))
    assert equal(first["generator"], again["generator"])
    assert equal(first["history"], again["history"])
    assert not equal(first["history"], other["history"])


@pytest.mark.usefixtures("no_pictures")
def test_resume_is_as_if_never_stopped(trained, tmp_path, monkeypatch):
    """With dropout, a running average, a falling learning rate and evaluations, which must not touch the run."""
    monkeypatch.setattr(metrics, "quality", functools.partial(metrics.quality, samples=300))
    options = ["--epochs", "4", "--grid-epochs", "1", "3", "--ema", "0.9", "--decay-from", "0"]
    evaluated = [*options, "--evaluate-every", "2", "--classifier", str(trained / "classifier.pt")]
    run_of(tmp_path / "whole", *evaluated)
    run_of(tmp_path / "unmeasured", *options)
    save, saved = utils.save_checkpoint, []

    def stop_after_two(path, checkpoint):
        save(path, checkpoint)
        saved.append(path)
        if len(saved) == 3:  # those of epochs 0, 1 and 2
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(utils, "save_checkpoint", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            run_of(tmp_path / "stopped", *evaluated)
    assert state_of(tmp_path / "stopped")["epoch"] == 2
    torch.manual_seed(99)  # what another process would start with
    run_of(tmp_path / "stopped", *evaluated, "--resume")
    whole, stopped, unmeasured = (state_of(tmp_path / name) for name in ("whole", "stopped", "unmeasured"))
    for name in whole.keys() - {"seconds"}:
        assert equal(whole[name], stopped[name]), name
    for name in "generator", "averaged", "discriminator", "history", "rng":
        assert equal(whole[name], unmeasured[name]), name


@pytest.mark.usefixtures("no_pictures")
def test_resume_refuses_what_contradicts(tmp_path):
    """Another option, other images, another number of processes."""
    run_of(tmp_path, "--epochs", "1")
    (tmp_path / "run" / "result.json").unlink()  # as if stopped before its end
    with pytest.raises(utils.InputError, match=r"lr 0.0002, not 0.1; .*--restart"):
        run_of(tmp_path, "--epochs", "1", "--lr", "0.1", "--resume")
    good = state_of(tmp_path)
    for name, value in ("images", "0" * 16), ("processes", 2):
        changed = good | {"config": good["config"] | {name: value}}
        utils.save_checkpoint(tmp_path / "run" / "checkpoint.pt", changed)
        with pytest.raises(utils.InputError, match=f"has {name} {value}, not"):
            run_of(tmp_path, "--epochs", "1", "--resume")


@pytest.mark.usefixtures("no_pictures")
def test_a_second_start_changes_nothing(tmp_path):
    """Finished or not, with the same options or others: one line that names both ways on."""
    run_of(tmp_path, "--epochs", "1")
    for lost in (None, "result.json", "checkpoint.pt"):
        if lost == "checkpoint.pt":
            (tmp_path / "run" / "checkpoint.pt").rename(tmp_path / "run" / "result.json")
        elif lost:
            (tmp_path / "run" / lost).unlink()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        for more in [], ["--lr", "0.5"]:
            with pytest.raises(utils.InputError, match="--resume.*--restart"):
                run_of(tmp_path, "--epochs", "1", *more)
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run_of(tmp_path, "--epochs", "1", "--restart", "--lr", "0.5")
    assert state_of(tmp_path)["config"]["lr"] == 0.5


def test_numbers_that_are_not_finite_stop_the_run(tmp_path):
    """In a loss, or in a parameter after the last update, which no loss shows; the checkpoint stays as it was."""
    with pytest.raises(FloatingPointError, match="epoch 1, step"):
        run_of(tmp_path, "--epochs", "3", "--lr", "1e30")
    assert state_of(tmp_path)["epoch"] == 0
    assert not (tmp_path / "run" / "result.json").exists()
    pair, rows = networks("balanced"), torch.zeros(3, len(train.HISTORY))
    run_folder.check_finite(rows, train.HISTORY, pair, 1, tmp_path)
    pair[0].layers[0].weight.data[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"epoch 1, after its last update.*layers.0.weight"):
        run_folder.check_finite(rows, train.HISTORY, pair, 1, tmp_path)


def test_random_states_of_a_device_return_to_whatever_device_there_is(monkeypatch):
    """A checkpoint of an accelerator continues on one, on a machine with fewer of them, and on a CPU."""
    states = []

    class Accelerator:
        get_rng_state = staticmethod(lambda: torch.arange(4))
        set_rng_state = staticmethod(states.append)

    monkeypatch.setitem(run_folder.ACCELERATORS, "mps", Accelerator)
    saved = run_folder.random_states(torch.device("mps"))
    numbers = torch.rand(3)
    run_folder.set_random_states(saved, torch.device("mps"))
    assert torch.equal(torch.rand(3), numbers)
    run_folder.set_random_states(saved, torch.device("cpu"))
    assert torch.equal(torch.rand(3), numbers)
    assert [state.tolist() for state in states] == [[0, 1, 2, 3]]
    run_folder.set_random_states(run_folder.random_states(torch.device("cpu")), torch.device("mps"))
    assert len(states) == 1
