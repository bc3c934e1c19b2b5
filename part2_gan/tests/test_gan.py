"""The networks and losses of gan.py against the report and against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan import DISCRIMINATORS, Discriminator, Generator, discriminator_loss, generator_loss, sample


def shapes(network):
    """The layers of a network as (kind, in, out) or (kind, number)."""
    described = []
    for layer in network.layers:
        if isinstance(layer, nn.Linear):
            described.append(("linear", layer.in_features, layer.out_features))
        elif isinstance(layer, nn.BatchNorm1d):
            described.append(("norm", layer.num_features))
        elif isinstance(layer, nn.LeakyReLU):
            described.append(("leaky", layer.negative_slope))
        elif isinstance(layer, nn.Dropout):
            described.append(("dropout", layer.p))
        else:
            described.append((type(layer).__name__.lower(),))
    return described


def test_generator_is_the_reports():
    expected = []
    for before, after in (100, 128), (128, 256), (256, 512), (512, 1024):
        expected += [("linear", before, after), ("norm", after), ("leaky", 0.2)]
    assert shapes(Generator()) == [*expected, ("linear", 1024, 784), ("tanh",)]
    assert sum(p.numel() for p in Generator().parameters()) == 1_510_288


def test_discriminators_are_the_reports():
    balanced = [("linear", 784, 256), ("leaky", 0.2), ("dropout", 0.4)]
    balanced += [("linear", 256, 128), ("leaky", 0.2), ("dropout", 0.4), ("linear", 128, 1)]
    initial = [("linear", 784, 512), ("leaky", 0.2), ("linear", 512, 256), ("leaky", 0.2), ("linear", 256, 1)]
    for arch, layers, count in ("balanced", balanced, 233_985), ("initial", initial, 533_505):
        network = Discriminator(**DISCRIMINATORS[arch])
        assert shapes(network) == layers
        assert sum(p.numel() for p in network.parameters()) == count
        assert network(torch.zeros(3, 784)).shape == (3,)


def test_bn_eps_is_eps_and_not_momentum():
    """BatchNorm1d(n, 0.8) sets eps by mistake: here it is said by name, and 1e-5 unless asked for."""
    for network, eps in (Generator(), 1e-5), (Generator(bn_eps=0.8), 0.8):
        norms = [layer for layer in network.layers if isinstance(layer, nn.BatchNorm1d)]
        assert [norm.eps for norm in norms] == [eps] * 4
        assert [norm.momentum for norm in norms] == [0.1] * 4


def test_losses_against_closed_forms():
    real, fake = torch.tensor([0.3, -2.0, 5.0]).double(), torch.tensor([-1.0, 0.7, 4.0]).double()
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    value = d_real.log().mean() + (1 - d_fake).log().mean()  # equation (7)
    torch.testing.assert_close(discriminator_loss(real, fake), -value / 2)
    torch.testing.assert_close(generator_loss(fake, "minimax"), (1 - d_fake).log().mean())
    torch.testing.assert_close(generator_loss(fake, "non-saturating"), -d_fake.log().mean())
    torch.testing.assert_close(generator_loss(fake), -d_fake.log().mean())
    assert discriminator_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(math.log(2))
    real_term = F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
    fake_term = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(discriminator_loss(real, fake, smoothing=0.1), (real_term + fake_term) / 2)
    with pytest.raises(ValueError, match="wasserstein"):
        generator_loss(fake, "wasserstein")


def test_losses_of_a_sure_discriminator_are_finite():
    """sigmoid(200) is 1 in floating point and its log(1 - p) minus infinity; from the logit it is -200."""
    sure = torch.tensor([200.0], requires_grad=True)
    loss = generator_loss(-sure, "non-saturating")
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert sure.grad.item() == pytest.approx(1)
    assert generator_loss(sure.detach(), "minimax").item() == pytest.approx(-200)


def test_samples_are_drawn_in_eval_mode():
    """The same z gives the same image in any batch; in training mode BatchNorm lets its neighbours change it."""
    torch.manual_seed(0)
    generator = Generator().train()
    for _ in range(3):
        generator(torch.randn(64, 100) * 2)  # running statistics away from their start
    z, others = torch.randn(1, 100), torch.randn(9, 100)
    alone, among = sample(generator, z)[0], sample(generator, torch.cat([z, others]))[0]
    torch.testing.assert_close(alone, among)
    assert generator.training
    with torch.no_grad():
        assert (generator(torch.cat([z, others]))[0] - alone).abs().max() > 0.01
    assert -1 <= among.min() <= among.max() <= 1
