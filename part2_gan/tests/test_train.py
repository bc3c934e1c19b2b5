"""One run: its updates by hand, against the textbook's loop, averages, learning rates, evaluations, names, files."""

import argparse
import copy

import pytest
import torch
from conftest import TYPESET
from torch import nn

import benchmark
import dataset
import files
import gan
import metrics
import plots
import train
from latents import load_generator

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("small")


def args_of(**own):
    return argparse.Namespace(**train.options(**own))


def run_here(folder, *options):
    """Train 300 digits, five steps an epoch; returns checkpoint and row."""
    train.main([*TYPESET, "--limit", "300", "--batch-size", "64", "--out-dir", str(folder), *options])
    (path,) = folder.glob("*/checkpoint.pt")
    return files.load(path), files.load(path.with_name("result.json"))


@pytest.fixture
def doubles():
    """Numbers in double precision by default, so that two ways to compute one thing differ by next to nothing."""
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def assert_same(networks, others):
    for network, other in zip(networks, others, strict=True):
        for weight, expected in zip(network.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(weight, expected, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("loss", gan.GENERATOR_LOSSES)
@pytest.mark.parametrize("scheme", train.SCHEMES)
def test_updates_by_hand(scheme, loss):
    """Who learns from what: equation (7) written down, each network's gradient by its own weights alone."""
    args = args_of(arch="initial", scheme=scheme, loss=loss, gradient_penalty=0.5, label_smoothing=0.1)
    networks, _ = train.build(args, CPU)
    generator, discriminator = copy.deepcopy(networks)
    real, z = torch.rand(16, 784) * 2 - 1, torch.randn(16, 100)
    # Plain SGD: its update is the gradient, where Adam's first one is only the gradient's sign.
    sgd = [torch.optim.SGD(network.parameters(), lr=0.5) for network in networks]
    row = train.train_step(networks, sgd, real, z, args)

    def descend(network, loss):
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(network.parameters(), gradients, strict=True):
                weight -= 0.5 * gradient
        return sum(gradient.square().sum() for gradient in gradients).sqrt()

    def update_g(images):
        says = discriminator(images).sigmoid()
        loss_of_g = (1 - says).log().mean() if loss == "minimax" else -says.log().mean()
        return loss_of_g, descend(generator, loss_of_g)

    def update_d(images):
        right = real.clone().requires_grad_()
        logits = discriminator(right)
        on_real, on_fake = logits.sigmoid(), discriminator(images.detach()).sigmoid()
        real_term = 0.9 * on_real.log() + 0.1 * (1 - on_real).log()
        loss_of_d = -(real_term.mean() + (1 - on_fake).log().mean()) / 2
        (slope,) = torch.autograd.grad(logits.sum(), right, create_graph=True)
        descend(discriminator, loss_of_d + 0.5 * slope.square().sum(1).mean() / 2)
        return loss_of_d, on_real.mean(), on_fake.mean(), ((on_real > 0.5).sum() + (on_fake < 0.5).sum()) / 32

    fake = generator(z)
    if scheme == "alternating":  # G from the new D
        of_d, (of_g, norm) = update_d(fake), update_g(fake)
    elif scheme == "simultaneous":  # D from images of the old G
        (of_g, norm), of_d = update_g(fake), update_d(fake)
    else:  # D from images of the new G, by the same z
        (of_g, norm), of_d = update_g(fake), update_d(generator(z))
    assert row.tolist() == pytest.approx([value.item() for value in (of_d[0], of_g, *of_d[1:], norm)], rel=1e-6)
    assert_same(networks, (generator, discriminator))


@pytest.mark.usefixtures("doubles")
def test_an_epoch_is_the_textbook_s_loop():
    """Sigmoid, BCELoss, a pass over real and one over generated images; the last image, alone, is left out."""
    args, images = args_of(arch="initial", batch_size=32), torch.randint(256, (97, 784), dtype=torch.uint8)
    networks, adams = train.build(args, CPU)
    generator, discriminator = copy.deepcopy(networks)
    torch.manual_seed(1)
    history = train.train_epoch(networks, adams, images, args)

    torch.manual_seed(1)
    plain = [torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (generator, discriminator)]
    batches = [(images[batch].float() / 127.5 - 1).double() for batch in torch.randperm(97)[:96].split(32)]
    losses = benchmark.usual_epoch(batches, generator, nn.Sequential(discriminator, nn.Sigmoid()), *plain, CPU)
    torch.testing.assert_close(history[:, :2], torch.tensor(losses), rtol=1e-7, atol=0)
    assert_same(networks, (generator, discriminator))


def test_running_average_by_hand(tmp_path, monkeypatch):
    """The first update copies; each later one, four steps after it, forgets as four steps of decay .9 do."""
    weights, step = [], train.train_step

    def watch(networks, *rest):
        row = step(networks, *rest)
        weights.append(networks[0].layers[0].weight.detach().clone())
        return row

    monkeypatch.setattr(train, "train_step", watch)
    saved, _ = run_here(tmp_path, "--epochs", "1", "--limit", "576", "--ema", "0.9")  # nine steps
    expected = weights[0].lerp(weights[4], 1 - 0.9**4).lerp(weights[8], 1 - 0.9**4)
    torch.testing.assert_close(saved["averaged"]["module.layers.0.weight"], expected)


@pytest.mark.usefixtures("doubles")
def test_gradients_of_the_generator_by_hand():
    """By either loss: the mean norm over the batches."""
    networks, _ = train.build(args_of(arch="initial"), CPU)
    plain = copy.deepcopy(networks)
    result = metrics.generator_gradients(networks, 16, seed=3, batches=3)
    assert_same(networks, plain)
    torch.manual_seed(3)
    says = [plain[1](plain[0](z)).sigmoid() for z in torch.randn(3, 16, 100)]
    for loss in gan.GENERATOR_LOSSES:
        values = [(1 - s).log().mean() if loss == "minimax" else -s.log().mean() for s in says]
        parts = [torch.autograd.grad(value, list(plain[0].parameters()), retain_graph=True) for value in values]
        gradients = [torch.cat([part.flatten() for part in gradient]) for gradient in parts]
        norms = sum(gradient.norm().item() for gradient in gradients)
        assert result[loss] == pytest.approx({"norm": norms / 3})


def test_files_and_row_of_a_run(tmp_path):
    """What is sampled and loaded is the average of G's weights."""
    saved, row = run_here(tmp_path, "--epochs", "3", "--seed", "5", "--ema", "0.9")
    (folder,) = tmp_path.iterdir()
    assert {path.suffix or path.name for path in folder.iterdir()} == {".lock", ".pt", ".png", ".json"}
    assert row.items() >= train.options(epochs=3, seed=5, ema=0.9, dataset="typeset", limit=300).items()
    assert saved["history"].shape == (row["steps"], len(train.HISTORY)) == (15, 6)  # 300 images: 4 x 64 + 44
    for values, means in zip(saved["history"].T, row["by_epoch"].values(), strict=True):
        assert means == pytest.approx(values.reshape(3, 5).mean(1).tolist(), abs=1e-4)
    assert row["bands"]["g_loss"]["median"] == pytest.approx(saved["history"][:, 1].tolist(), abs=1e-4)
    generator, _ = load_generator(folder / "checkpoint.pt", CPU)
    z = torch.randn(25, 100, generator=torch.Generator().manual_seed(5))
    assert list(row["samples"]) == ["1", "2", "3"]
    assert torch.equal(dataset.unpack(row["samples"]["3"]), dataset.to_bytes(gan.sample(generator, z)))


def test_the_seed_fixes_the_run_and_evaluations_change_nothing(trained, tmp_path):
    """Nor does what the process drew before. Dropout and the second epoch would show a random state that has moved."""
    evaluated = ["--evaluate-every", "1", "--classifier", str(trained / "classifier.pt")]
    first, row = run_here(tmp_path / "first", "--epochs", "2", *evaluated)
    torch.rand(7)
    again, _ = run_here(tmp_path / "again", "--epochs", "2")
    other, _ = run_here(tmp_path / "other", "--epochs", "2", "--seed", "1")
    assert torch.equal(first["history"], again["history"])
    assert all(map(torch.equal, first["rng"], again["rng"]))
    for part in "generator", "discriminator":
        assert all(map(torch.equal, first[part].values(), again[part].values()))
        assert not torch.equal(first[part]["layers.0.weight"], other[part]["layers.0.weight"])
    shared = {"epoch", "frechet_distance", "sure_share", "g_gradients"}
    assert [set(evaluation) for evaluation in row["quality"]] == [shared, shared | {"precision", "recall"}]


def test_learning_rate_falls_and_pictures_are_drawn_at_times(tmp_path, monkeypatch, capsys):
    """In the last of four epochs it begins to fall. Pictures every tenth epoch and at the end cost no result."""
    monkeypatch.setattr(plots.utils, "save_figure", lambda *_, **__: 1 / 0)
    for epochs, rate in ("4", 0.005), ("20", 0.001):
        saved, _ = run_here(tmp_path / epochs, "--epochs", epochs, "--decay-from", "0.75", "--lr", "0.005")
        assert [saved[adam]["param_groups"][0]["lr"] for adam in ("adam_g", "adam_d")] == [pytest.approx(rate)] * 2
    assert capsys.readouterr().err.count("its pictures cannot be drawn (ZeroDivisionError: division by zero)\n") == 3


def test_bands_hold_the_stated_share_of_single_batches():
    """Of normal numbers 95 % lie within 1.96 standard deviations; few steps are a window each."""
    band = plots.band(torch.randn(400_000, generator=torch.Generator().manual_seed(0)))
    assert {len(column) for column in band.values()} == {plots.WINDOWS}
    low, median, high = (sum(band[name]) / plots.WINDOWS for name in ("low", "median", "high"))
    assert (low, median, high) == pytest.approx((-1.96, 0, 1.96), abs=0.02)
    assert plots.band(torch.tensor([3.0, 1.0])) == dict.fromkeys(band, [3.0, 1.0])


def test_names():
    """Any option that changes numbers changes the name, but for --epochs, which --resume may raise."""
    others = {"recipe": "code", "arch": "initial", "generator": "code", "scheme": "g-first", "loss": "minimax"}
    others |= {"dataset": "typeset", "batch_size": 32, "limit": 128, "seed": 1, "epochs": 9}
    changes = [{name: others.get(name, 0.01)} for name in train.OPTIONS] + [{"lr": 0.0100000001}]
    assert len({train.name_of(train.options(**change)) for change in changes}) == len(changes)
    assert train.name_of(train.options(epochs=3)) == "text_balanced_seed0"
    assert train.name_of(train.options(arch="initial", ema=0.999)) == "text_initial_ema-0.999_seed0"
