"""fast_gan.py against autograd on the networks of gan.py."""

import copy

import pytest
import torch
from torch import nn

from fast_gan import FastGAN
from gan import DISCRIMINATORS, Discriminator, Generator, discriminator_gradients, generator_gradients


def batch(n=24, dtype=torch.float64):
    torch.manual_seed(1)
    return (torch.rand(n, 784) * 2 - 1).to(dtype), torch.randn(n, 100).to(dtype)


def pair(arch="initial", dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return Generator().to(dtype), Discriminator(**DISCRIMINATORS[arch] | changes).to(dtype)


def compare(gan, real, z, judges, **options):
    """A FastGAN's gradients, logits and running statistics are autograd's: of D by the first of `judges`, of G by both.

    `judges`: D for both networks' gradients, the same but for the masks of dropout.
    """
    generator, for_g = copy.deepcopy(gan.generator), {"loss": options.pop("loss", "non-saturating")}
    made, fake = gan.make(z), generator(z)
    found = [*gan.d_gradients(real, made), gan.g_gradients(made)]
    *logits, by_d = discriminator_gradients(judges[0], real, fake, **options)
    logits_of_g, by_g = generator_gradients(generator, judges[1], fake, **for_g)
    for flat, wanted in zip(gan.flats, (by_g, by_d), strict=True):
        wanted = torch.cat([part.flatten() for part in wanted])
        assert wanted.norm() > 1e-3
        torch.testing.assert_close(flat.collect(), wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(torch.stack(found), torch.stack([*logits, logits_of_g]))
    for name, buffer in gan.generator.named_buffers():
        if "running" in name:
            torch.testing.assert_close(buffer, generator.get_buffer(name))


@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("arch", DISCRIMINATORS)
def test_gradients_are_autograds(arch, loss, smoothing):
    options = {"loss": loss, "smoothing": smoothing, "penalty": 3 * smoothing}
    gan = FastGAN(*pair(arch, dropout=0.0), **options, precision=torch.float64)
    compare(gan, *batch(), [gan.discriminator] * 2, **options)


class Masked(nn.Module):
    """D with the masks of dropout given: what nn.Dropout does when it draws these."""

    def __init__(self, discriminator, masks):
        super().__init__()
        self.linear = nn.ModuleList(layer for layer in discriminator.layers if isinstance(layer, nn.Linear))
        self.masks = masks

    def forward(self, x):
        for layer, mask in zip(self.linear[:-1], self.masks, strict=True):
            x = nn.functional.leaky_relu(layer(x), 0.2) * mask
        return self.linear[-1](x).squeeze(1)


@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_gradients_with_dropout(penalty):
    """Autograd gets the masks that the step draws; they drop 40 % of the units and scale the others."""
    real, z = batch()
    gan = FastGAN(*pair("balanced"), penalty=penalty, precision=torch.float64)
    made = gan.make(z)
    torch.manual_seed(5)
    kept = [gan.judge(images)[1][:-1] for images in (torch.cat([real, made[0]]), made[0])]
    masks = [[keep for _, _, keep in layers] for layers in kept]
    for mask in masks[0] + masks[1]:
        assert mask.unique().tolist() == pytest.approx([0, 1 / 0.6])
        assert (mask == 0).double().mean().item() == pytest.approx(0.4, abs=0.04)
    for norm in gan.norms.values():
        norm.reset_running_stats()
    torch.manual_seed(5)
    compare(gan, real, z, [Masked(gan.discriminator, of) for of in masks], penalty=penalty)


def test_bf16_is_near_and_keeps_single_precision_weights():
    real, z = batch(64, torch.float32)
    found = {}
    for precision in torch.float32, torch.bfloat16:
        gan = FastGAN(*pair(dtype=torch.float32), precision=precision)
        made = gan.make(z)
        logits = [*gan.d_gradients(real, made), gan.g_gradients(made)]
        found[precision] = torch.stack(logits), torch.cat([flat.collect() for flat in gan.flats])
        assert {weight.dtype for weight in gan.generator.parameters()} == {torch.float32}
    for exact, rounded in zip(*found.values(), strict=True):
        assert not torch.equal(exact, rounded)  # the option does something
        assert (exact - rounded).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("bias", [-200.0, 200.0])
def test_a_sure_discriminator_leaves_finite_gradients(bias):
    """Logits far beyond where a sigmoid rounds to 0 or 1: none is NaN, G's vanishes only where D is fooled."""
    gan = FastGAN(*pair(dtype=torch.float32))
    gan.discriminator.layers[-1].bias.data.fill_(bias)
    real, z = batch(16, torch.float32)
    made = gan.make(z)
    gan.d_gradients(real, made)
    gan.g_gradients(made)
    by_g, by_d = (flat.collect() for flat in gan.flats)
    assert by_g.isfinite().all()
    assert by_d.isfinite().all()
    assert (by_g.norm() > 1e-6) == (bias < 0)


def test_a_loaded_state_counts_after_renew():
    _, z = batch(16, torch.float32)
    one, other = (FastGAN(*pair(dtype=torch.float32), precision=torch.bfloat16) for _ in range(2))
    for network, twin in ((one.generator, other.generator), (one.discriminator, other.discriminator)):
        for weight in network.parameters():
            weight.data.normal_(0, 0.05)
        twin.load_state_dict(network.state_dict())
    one.renew()
    before = other.g_gradients(other.make(z))
    other.renew()
    after = one.g_gradients(one.make(z))
    assert not torch.equal(before, after)
    assert torch.equal(other.g_gradients(other.make(z)), after)
    assert torch.equal(one.flat_g.collect(), other.flat_g.collect())
