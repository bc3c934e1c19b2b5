"""The networks and losses of gan.py against the report and against closed forms."""

import math

import pytest
import torch
from torch import nn

import gan


def layers(network):
    """The layers of a network, such as "Linear 100 128" and "BatchNorm1d 128 1e-05 0.1"."""
    fields = {nn.Linear: ("in_features", "out_features"), nn.BatchNorm1d: ("num_features", "eps", "momentum")}
    fields |= {nn.LeakyReLU: ("negative_slope",), nn.Dropout: ("p",)}
    numbers = [[str(getattr(layer, name)) for name in fields.get(type(layer), ())] for layer in network.layers]
    return [" ".join([type(layer).__name__, *own]) for layer, own in zip(network.layers, numbers, strict=True)]


@pytest.mark.parametrize(
    ("own", "eps", "activation"),
    [({}, 1e-5, "LeakyReLU 0.2"), ({"bn_eps": 0.8}, 0.8, "LeakyReLU 0.2"), ({"kind": "code"}, 1e-5, "ReLU")],
)
def test_generators_are_those_of_text_and_code(own, eps, activation):
    """By the code, ReLU and no first BatchNorm; bn_eps is BatchNorm's eps, its momentum stays."""
    expected = []
    for before, after in (100, 128), (128, 256), (256, 512), (512, 1024):
        norm = [] if own.get("kind") == "code" and before == 100 else [f"BatchNorm1d {after} {eps} 0.1"]
        expected += [f"Linear {before} {after}", *norm, activation]
    assert layers(gan.Generator(**own)) == [*expected, "Linear 1024 784", "Tanh"]


def test_discriminators_are_the_report_s():
    leaky, dropout = "LeakyReLU 0.2", "Dropout 0.4"
    balanced = ["Linear 784 256", leaky, dropout, "Linear 256 128", leaky, dropout, "Linear 128 1"]
    initial = ["Linear 784 512", leaky, "Linear 512 256", leaky, "Linear 256 1"]
    for arch, expected in ("balanced", balanced), ("initial", initial):
        network = gan.Discriminator(**gan.DISCRIMINATORS[arch])
        assert layers(network) == expected
        assert network(torch.zeros(3, 784)).shape == (3,)


def test_losses_where_d_guesses_and_where_a_sigmoid_would_be_0():
    """The formulas are tested with the updates, in test_train.py."""
    assert gan.discriminator_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(math.log(2))
    sure = torch.tensor([200.0])
    assert (
        gan.discriminator_loss(-sure, sure) == gan.generator_loss(-sure) == -gan.generator_loss(sure, "minimax") == 200
    )


def test_gradient_penalty_by_finite_differences():
    """R1: half the squared norm of the slope of D's logit, in the mean over the images."""
    network, steps = gan.Discriminator((8, 4), 0.0).double(), 1e-6 * torch.eye(784).double()
    real = (torch.rand(3, 784).double() * 2 - 1).requires_grad_()
    slopes = torch.stack([(network(image + steps) - network(image - steps)) / 2e-6 for image in real])
    penalty = gan.gradient_penalty(network(real), real)
    torch.testing.assert_close(penalty, slopes.square().sum() / 2 / 3, rtol=1e-6, atol=0)


def test_samples_are_drawn_in_eval_mode():
    """The same z gives the same image in any batch; in training mode BatchNorm lets its neighbours change it."""
    generator, z = gan.Generator().train(), torch.randn(10, 100)
    for _ in range(3):
        generator(torch.randn(64, 100) * 2)  # running statistics away from their start
    images = gan.sample(generator, z)
    torch.testing.assert_close(gan.sample(generator, z[:1]), images[:1])
    assert generator.training
    assert (generator(z) - images).abs().max() > 0.01
