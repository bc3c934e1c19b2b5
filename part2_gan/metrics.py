"""Sample quality, by what a classifier makes of the samples: features (n, d) and probabilities (n, 10).

    test = metrics.outputs(classifier, test_images)
    reference = metrics.gaussian(test[0])                              # once
    digits = metrics.manifold(metrics.thinned(test[0], 5000))          # once, for precision and recall
    metrics.quality(generator, classifier, reference, digits)          # of 5,000 fresh samples

Doubles are computed on the CPU alone: not every GPU has them.
"""

import copy

import torch
from torch.nn.utils import get_total_norm

from gan import GENERATOR_LOSSES, LATENT_DIM, generator_loss, sample

SURE = 0.99  # an image classified with a higher confidence is a sure one
FEWEST = 200  # images that a covariance of 128 features is worth fitting to


@torch.no_grad()
def outputs(classifier, images):
    """The features (n, d) and probabilities (n, 10) of images (n, 784) in [-1, 1], by a classifier in eval mode."""
    features = torch.cat([classifier.features(part) for part in images.split(250)])  # small parts stay in the cache
    return features, classifier.out(features).softmax(1)


def describe(probabilities):
    """How many images are sure to be each digit, how many are `unsure`, and the share of sure ones."""
    confidence, digits = probabilities.max(1)
    sure = digits[confidence > SURE]
    return {
        "histogram": sure.bincount(minlength=10).tolist(),
        "unsure": len(digits) - len(sure),
        "sure_share": len(sure) / len(digits),
    }


def gaussian(features):
    """Mean (d,) and covariance (d, d) of features (n, d), as doubles on the CPU."""
    features = features.cpu().double()
    return features.mean(0), features.T.cov()


def frechet(one, other):
    """The Fréchet distance between two Gaussians (mean, covariance), at least 0.

        |m - m'|^2 + tr(C + C' - 2 (C C')^1/2)                               (Dowson & Landau 1982; Heusel et al. 2017)

    The trace of (C C')^1/2 is the sum of the roots of the eigenvalues of S C S, where S is the root of C'.
    """
    (mean, covariance), (other_mean, other_covariance) = one, other
    values, vectors = torch.linalg.eigh(other_covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0).sqrt().sum()
    traces = covariance.trace() + other_covariance.trace()
    return max(0.0, ((mean - other_mean).square().sum() + traces - 2 * cross).item())


def frechet_distance(features, others):
    """The Fréchet distance between the Gaussians fitted to two sets of features, (n, d) and (m, d)."""
    return frechet(gaussian(features), gaussian(others))


def nearest(queries, points, k=1):
    """The k nearest of points (m, d) to each of queries (n, d): L2 distances (n, k) and indices (n, k)."""
    squares, parts = points.square().sum(1), queries.split(250)
    picked = torch.cat(
        [torch.addmm(squares, part, points.T, alpha=-2).topk(k, largest=False).indices for part in parts]
    )
    # Measured again: |a|^2 + |b|^2 - 2 ab loses most digits of a small distance.
    return torch.stack([(queries - points[column]).norm(dim=1) for column in picked.T], 1), picked


def thinned(rows, count):
    """At most `count` of the rows, at equal distances: MNIST's first 5,000 test digits are easier than the rest."""
    count = min(count, len(rows))
    return rows[torch.arange(count, device=rows.device) * len(rows) // count]


def manifold(features, k=3):
    """Features (n, d), and for each the distance (n,) to its k-th nearest neighbour among the others."""
    return features, nearest(features, features, k + 1)[0].amax(1)


def covered(queries, manifold):
    """The share of queries (n, d) that lie within the radius of at least one point of a `manifold`."""
    points, radii = manifold
    inside = [(torch.cdist(part, points) <= radii).any(1) for part in queries.split(500)]
    return torch.cat(inside).float().mean().item()


def precision_recall(samples, digits):
    """Improved precision and recall (Kynkäänniemi et al. 2019) of two manifolds, both in [0, 1].

    Precision: the share of samples on the digits' manifold (they look real). Recall: the share of digits on the
    samples' manifold (they could have been drawn). Both depend on how many there are; take as many of each.
    """
    return covered(samples[0], digits), covered(digits[0], samples)


def memorised(distances, digits, test_distances, test_digits):
    """Are samples nearer to their nearest training digit than test digits are to theirs? Copies are.

    Distances (n,) and (m,), and the digits (n,) and (m,) that the classifier assigns. Ones lie close together and
    other digits do not, so each distance is first divided by the median of the test digits of the same class.

    Returns the test digits' median distance, and `closer_share`, the share of samples that are nearer than the nearest
    1 % of test digits (.01 for fresh digits, 1 for copies).
    """
    typical = torch.full((10,), test_distances.median().item(), device=distances.device)
    for digit in test_digits.unique():
        typical[digit] = test_distances[test_digits == digit].median()
    typical.clamp_(min=1e-12)
    ratios, test_ratios = distances / typical[digits], test_distances / typical[test_digits]
    return {
        "test_median": test_distances.median().item(),
        "closer_share": (ratios < test_ratios.quantile(0.01)).float().mean().item(),
    }


def quality(generator, classifier, reference, digits=None, samples=5000, seed=0):
    """Fréchet distance and sure share of fresh samples, quick enough for every few epochs of training.

    `reference` is the Gaussian of test digits. With their manifold, `digits`, precision and recall as well. The latents
    come from `seed` alone, and the generator is sampled in eval mode.
    """
    device = next(generator.parameters()).device
    z = torch.randn(samples, LATENT_DIM, generator=torch.Generator().manual_seed(seed)).to(device)
    features, probabilities = outputs(classifier, sample(generator, z))
    distance = frechet(gaussian(features), reference)
    result = {"frechet_distance": distance, "sure_share": describe(probabilities)["sure_share"]}
    if digits is not None:
        sampled = manifold(thinned(features, len(digits[0])))
        result["precision"], result["recall"] = precision_recall(sampled, digits)
    return result


def generator_gradients(networks, batch_size, seed, batches=16):
    """The norm of the gradient by G's parameters, the mean over batches, of each loss of G: {loss: {"norm": float}}.

    `networks` is (generator, discriminator), in training mode; they stay as they are. It seeds torch's random
    generators by `seed`.
    """
    generator, discriminator = copy.deepcopy(networks)  # for BatchNorm's running statistics
    weights = list(generator.parameters())
    norms = dict.fromkeys(GENERATOR_LOSSES, 0)
    torch.manual_seed(seed)
    for z in torch.randn(batches, batch_size, LATENT_DIM, device=weights[0].device):
        logits = discriminator(generator(z))
        for kind in GENERATOR_LOSSES:
            gradients = torch.autograd.grad(generator_loss(logits, kind), weights, retain_graph=True)
            norms[kind] = norms[kind] + get_total_norm(gradients) / batches
    return {kind: {"norm": norm.item()} for kind, norm in norms.items()}
