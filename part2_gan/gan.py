"""The generator, the two discriminators and the losses of the report's Part II.

    z (batch, 100) --Generator--> images (batch, 784) in [-1, 1] --Discriminator--> logits (batch,)

Goodfellow et al. 2014, Generative Adversarial Networks. The discriminator ends in a logit: the report's
probability D(x) is its sigmoid, and both losses are computed from the logit, where log(1 - sigmoid(a)) does not
underflow as it does when the sigmoid is rounded to 1 first.

train.py trains these networks, with autograd. To train another generator, another discriminator or another loss,
change it here: no other file depends on its inside.
"""

import torch
import torch.nn.functional as F
from torch import nn

LATENT_DIM = 100
IMAGE_SIZE = 28
PIXELS = IMAGE_SIZE * IMAGE_SIZE
GENERATOR_WIDTHS = (128, 256, 512, 1024)
SLOPE = 0.2  # of every LeakyReLU where it is negative
# "text": the generator of the report's text; "code": that of its author's code, with ReLU and no first BatchNorm
# (github.com/BrightonXX/SUSTech-CS324-25F, Assignment3/Part 2).
GENERATORS = ("text", "code")
# The report's two discriminators: the recommended one it started from, and the one it ended with.
DISCRIMINATORS = {
    "initial": {"widths": (512, 256), "dropout": 0.0},
    "balanced": {"widths": (256, 128), "dropout": 0.4},
}
GENERATOR_LOSSES = ("non-saturating", "minimax")


class Generator(nn.Module):
    """z -> 128 -> 256 -> 512 -> 1024 -> 784: Linear, BatchNorm, activation four times, then Linear, Tanh.

    kind: one of GENERATORS: LeakyReLU(0.2), or ReLU and no BatchNorm in the first hidden layer.
    bn_eps: what BatchNorm adds to the variance before it divides by its root; torch's default is 1e-5. The widely
    copied `BatchNorm1d(n, 0.8)`, which the report's code has as well, sets this number, not the momentum it was meant
    for: activations whose variance is small against 0.8 then stay small.
    """

    def __init__(self, kind="text", bn_eps=1e-5):
        super().__init__()
        layers, width = [], LATENT_DIM
        for next_width in GENERATOR_WIDTHS:
            layers += [nn.Linear(width, next_width)]
            if kind == "text" or width != LATENT_DIM:
                layers += [nn.BatchNorm1d(next_width, eps=bn_eps)]
            layers += [nn.LeakyReLU(SLOPE) if kind == "text" else nn.ReLU()]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, PIXELS), nn.Tanh())

    def forward(self, z):
        """Images (batch, 784) in [-1, 1] of latents z (batch, 100).

        In training mode BatchNorm uses the batch's own statistics, so the image of one z depends on its neighbours;
        draw samples in eval mode.
        """
        return self.layers(z)


class Discriminator(nn.Module):
    """784 -> 512 -> 256 -> 1 ("initial") or 784 -> 256 -> 128 -> 1 with Dropout(0.4) ("balanced").

    Each hidden layer is Linear, LeakyReLU(0.2) and, where `dropout` is not 0, Dropout.
    """

    def __init__(self, widths, dropout):
        super().__init__()
        layers, width = [], PIXELS
        for next_width in widths:
            layers += [nn.Linear(width, next_width), nn.LeakyReLU(SLOPE)]
            if dropout > 0:
                layers += [nn.Dropout(dropout)]
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, images):
        """Logits (batch,) of images (batch, 784) in [-1, 1]; sigmoid(logit) is D(x), the probability of "real"."""
        return self.layers(images).squeeze(1)


def discriminator_loss(real_logits, fake_logits, smoothing=0.0):
    """The negative of equation (7), halved: the mean of D's loss on real and on fake images, in [0, inf).

    -log D(x) = softplus(-logit) and -log(1 - D(G(z))) = softplus(logit). It is log 2 where D answers 1/2 everywhere.
    With `smoothing` s the target for real images is 1 - s instead of 1 (one-sided; Salimans et al. 2016): as
    softplus(logit) = logit + softplus(-logit), that adds s times the mean logit of real images to their term.
    """
    real_loss = F.softplus(-real_logits).mean() + smoothing * real_logits.mean()
    return (real_loss + F.softplus(fake_logits).mean()) / 2


def generator_loss(fake_logits, kind="non-saturating"):
    """What G minimises, from D's logits (batch,) of its images; kind: one of GENERATOR_LOSSES.

    "minimax" is equation (7), E[log(1 - D(G(z)))] in (-inf, 0]: its gradient vanishes where D is sure that
    the images are fake. "non-saturating" is -E[log D(G(z))] in [0, inf), Goodfellow's remedy, and the one that the
    report's loss curves show: they are positive and rise when D wins.
    """
    if kind == "minimax":
        return -F.softplus(fake_logits).mean()
    return F.softplus(-fake_logits).mean()


def gradient_penalty(real_logits, real):
    """R1 (Mescheder et al. 2018): half the mean squared norm of the derivative of D's logit by a real image.

    real_logits (n,), computed from real (n, 784), which requires a gradient. It keeps D flat around real images.
    """
    (slope,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return slope.square().sum(1).mean() / 2


@torch.no_grad()
def sample(generator, z):
    """Images (batch, 784) in [-1, 1] of latents z, drawn in eval mode, as all samples and figures are."""
    was_training = generator.training
    generator.eval()
    images = torch.cat([generator(part) for part in z.split(2000)])
    generator.train(was_training)
    return images
