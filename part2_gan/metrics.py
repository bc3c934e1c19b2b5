"""Sample quality, computed from what a classifier makes of the samples: features (n, d) and probabilities (n, 10).

    features, probabilities = metrics.outputs(classifier, test_images)
    reference = metrics.reference(features, probabilities)             # once
    digits = metrics.manifold(metrics.thinned(features, 5000))         # once, for precision and recall
    metrics.quality(generator, classifier, reference, digits)          # of 5,000 fresh samples

Intervals are 95 % intervals for the chance that lies in drawing n samples from one finished generator, the digits they
are compared with held fixed. What another training seed would do is not in them.
"""

import copy
import math
import statistics

import torch

import run_folder
from gan import GENERATOR_LOSSES, LATENT_DIM, generator_loss, sample

CONFIDENCE = 0.99
FEWEST = 200  # images that a covariance of 128 features is worth fitting to


@torch.no_grad()
def outputs(classifier, images):
    """The features (n, d) and probabilities (n, 10) of images (n, 784) in [-1, 1], by a classifier in eval mode."""
    features = torch.cat([classifier.features(part) for part in images.split(250)])  # small parts stay in the cache
    return features, classifier.out(features).softmax(1)


def describe(probabilities):
    """How often each digit is assigned with confidence above .99, all others being `unsure`; the share; the score."""
    confidence, digits = probabilities.max(1)
    confident = digits[confidence > CONFIDENCE]
    return {
        "histogram": confident.bincount(minlength=10).tolist(),
        "unsure": len(digits) - len(confident),
        "confident_share": len(confident) / len(digits),
        "score": score(probabilities),
    }


def score(probabilities, weights=None):
    """exp of the mean KL divergence from p(y|x), (n, 10), to its mean p(y).

    From 1 (no image is sure, or all show one class) to 10 (all are sure, and the classes equally frequent).

    The formula of the Inception score (Salimans et al. 2016). Weights (n,), with sum n, say how often each one counts.
    """
    probabilities = probabilities.cpu().double()
    weights = torch.ones(len(probabilities)) if weights is None else weights
    shares = weights.double() / len(probabilities)
    mean = shares @ probabilities
    own = torch.special.xlogy(probabilities, probabilities).sum(1)
    return (shares @ own - torch.special.xlogy(mean, mean).sum()).exp().item()


def score_interval(probabilities, times=200, seed=0):
    """The 95 % bootstrap interval [low, high] of `score`; see `interval`."""
    replicates = [score(probabilities, weights) for weights in resample(len(probabilities), times, seed)]
    return interval(score(probabilities), torch.tensor(replicates))


def gaussian(features):
    """Mean (d,) and covariance (d, d) of features (n, d), in double precision, on the CPU."""
    features = features.cpu().double()
    return features.mean(0), features.T.cov()


def frechet(one, other):
    """The Frechet distance between two Gaussians (mean, covariance); at least 0, a tensor.

        |m - m'|^2 + tr(C + C' - 2 (C C')^1/2)                               (Dowson & Landau 1982; Heusel et al. 2017)

    The trace of (C C')^1/2 is the sum of the roots of the eigenvalues of S C S, where S is the root of C'. The mean and
    covariance of `one` may have a dimension in front, for many Gaussians at a time.
    """
    (mean, covariance), (other_mean, other_covariance) = one, other
    values, vectors = torch.linalg.eigh(other_covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0).sqrt().sum(-1)
    traces = covariance.diagonal(dim1=-2, dim2=-1).sum(-1) + other_covariance.trace()
    return ((mean - other_mean).square().sum(-1) + traces - 2 * cross).clamp(min=0)


def frechet_distance(features, others):
    """The Frechet distance between the Gaussians fitted to two sets of features, (n, d) and (m, d); at least 0."""
    return frechet(gaussian(features), gaussian(others)).item()


def frechet_interval(features, other, times=200, seed=0):
    """The 95 % bootstrap interval [low, high] of the distance from features (n, d) to the Gaussian `other`.

    It says how far the distance of n samples scatters (see `interval`), not what infinitely many would give: that is
    less, and only distances of the same n can be compared.
    """
    count, mean = len(features), features.cpu().double().mean(0)
    centred = features.cpu().double() - mean
    shifts, covariances = [], []
    for weights in resample(count, times, seed):
        shift = weights @ centred / count
        second = (centred * weights.unsqueeze(1)).T @ centred
        shifts.append(shift)
        covariances.append((second - count * shift.outer(shift)) / (count - 1))
    value = frechet(gaussian(features), other).item()
    return interval(value, frechet((mean + torch.stack(shifts), torch.stack(covariances)), other))


def resample(count, times, seed):
    """Yield `times` times how often each of `count` samples, (count,), is in a set drawn from them with replacement."""
    source = torch.Generator().manual_seed(seed)
    for _ in range(times):
        yield torch.randint(count, (count,), generator=source).bincount(minlength=count).double()


def interval(value, replicates):
    """The basic 95 % bootstrap interval [low, high] of a `value`, centred on it: value - (quantiles - mean).

    A set drawn with replacement has the sampling error of n samples twice, and the Frechet distance grows with it: the
    mean of the replicates (times,) lies above the value. They say how far it scatters, not where it lies, so their own
    mean is taken off. What is left is the range of values that sets of n samples give.
    """
    low, high = (replicates - replicates.mean()).quantile(torch.tensor([0.025, 0.975], dtype=replicates.dtype)).tolist()
    return [value - high, value - low]


def wilson(count, total):
    """The 95 % interval (low, high) of Wilson (1927) for a rate of which `count` of `total` were seen."""
    z = 1.959964
    share, slack = count / total, z * z / total
    middle, half = share + slack / 2, math.sqrt(slack * (share * (1 - share) + slack / 4))
    # At both ends the bound is exact, and rounding would miss it.
    low = 0.0 if count == 0 else (middle - half) / (1 + slack)
    return low, 1.0 if count == total else (middle + half) / (1 + slack)


def t_interval(values, level=0.95):
    """Student's interval [low, high] for the mean of independent values; None for a single one."""
    if len(values) < 2:
        return None
    half = t_quantile(level, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return [statistics.mean(values) - half, statistics.mean(values) + half]


def t_quantile(level, freedom):
    """The t with P(|T| < t) = `level` for Student's T with `freedom` (1, 2, ...) degrees of freedom.

    That probability is the integral of cos^(freedom - 1) from 0 to arctan(t / sqrt(freedom)), divided by that to pi/2.
    """

    def integral(x):
        total = x if freedom % 2 else math.sin(x)
        for power in range(3 - freedom % 2, freedom, 2):
            total = (math.cos(x) ** (power - 1) * math.sin(x) + (power - 1) * total) / power
        return total

    low, high = 0.0, math.pi / 2
    target = level * integral(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if integral(middle) < target else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def share_interval(share, count):
    """`wilson` for a share of `count` things, as a list.

    Of precision and recall it knows only the chance in the things counted, not that in the manifold they are held
    against: with 5,000 of each it is about a tenth too narrow, with 1,000 recall's a third.
    """
    return list(wilson(share * count, count))


def nearest(queries, points, k=1):
    """The k nearest of points (m, d) to each of queries (n, d): L2 distances (n, k) and indices (n, k)."""
    squares = points.square().sum(1)
    picked = torch.cat(
        [torch.addmm(squares, part, points.T, alpha=-2).topk(k, largest=False).indices for part in queries.split(250)]
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
    """Improved precision and recall (Kynkaanniemi et al. 2019) of two manifolds, both in [0, 1].

    Precision: the share of samples on the digits' manifold (they look real). Recall: the share of digits on the
    samples' manifold (they could have been drawn). Both depend on how many there are; take as many of each.
    """
    return covered(samples[0], digits), covered(digits[0], samples)


def memorised(distances, digits, test_distances, test_digits):
    """Are samples nearer to their nearest training digit than test digits are to theirs? Copies are.

    Distances (n,) and (m,), and the digits (n,) and (m,) that the classifier assigns. Ones lie close together and
    other digits do not, so each distance is first divided by the median of the test digits of the same class.

    Returns the samples' median, `median_ratio` (1 for fresh digits, 0 for copies), and `closer_share`, the share of
    samples that are nearer than the nearest 1 % of test digits (.01 for fresh digits, 1 for copies).
    """
    typical = torch.full((10,), test_distances.median().item(), device=distances.device)
    for digit in test_digits.unique():
        typical[digit] = test_distances[test_digits == digit].median()
    typical.clamp_(min=1e-12)
    ratios, test_ratios = distances / typical[digits], test_distances / typical[test_digits]
    closer = (ratios < test_ratios.quantile(0.01)).float().mean().item()
    return {
        "median": distances.median().item(),
        "test_median": test_distances.median().item(),
        "median_ratio": ratios.median().item(),
        "closer_share": closer,
        "closer_share_interval": share_interval(closer, len(ratios)),
    }


def reference(features, probabilities, train_features=None):
    """What samples are compared with, small enough for a checkpoint: a dictionary of tensors and plain values.

    Features (n, d) and probabilities (n, 10) of the test digits give their Gaussian and figures. Features (m, d) of
    training digits give the floor: the distance that real digits have from real digits.
    """
    mean, covariance = gaussian(features)
    floor = None if train_features is None else frechet_distance(train_features, features)
    return {
        "digits": len(features),
        "mean": mean,
        "covariance": covariance,
        "figures": describe(probabilities),
        "floor": floor,
        "floor_digits": 0 if train_features is None else len(train_features),
    }


def quality(generator, classifier, reference, digits=None, samples=5000, seed=0):
    """Frechet distance, score and confident share of fresh samples, quick enough for every few epochs of training.

    With the manifold of test digits, `digits`, precision and recall as well. The latents come from `seed` alone, so
    torch's own random state stays as it is; the generator is sampled in eval mode and left in the mode it was in.
    """
    device = next(generator.parameters()).device
    z = torch.randn(samples, LATENT_DIM, generator=torch.Generator().manual_seed(seed)).to(device)
    features, probabilities = outputs(classifier, sample(generator, z))
    figures = describe(probabilities)
    known = reference["mean"].cpu(), reference["covariance"].cpu()
    found = {"frechet_distance": frechet(gaussian(features), known).item()}
    found |= {name: figures[name] for name in ("score", "confident_share")}
    if digits is not None:
        own = manifold(thinned(features, len(digits[0])))
        found["precision"], found["recall"] = precision_recall(own, digits)
    return found


def generator_gradients(networks, batch_size, seed, batches=16):
    """The gradient by G's parameters that each loss of G has at these weights: {loss: {"norm", "coherence"}}.

    `networks` is (generator, discriminator), in training mode. Of `batches` batches of latents: the mean norm of their
    gradients, and the norm of the mean gradient divided by it, which is 1 where all batches agree and about
    1 / sqrt(batches) where they have nothing in common. All numbers are drawn from `seed`. The networks, with
    BatchNorm's running statistics, and torch's random states stay as they are.
    """
    generator, discriminator = copy.deepcopy(networks)
    weights = list(generator.parameters())
    device = weights[0].device
    totals, norms = (dict.fromkeys(GENERATOR_LOSSES, 0) for _ in range(2))
    states = run_folder.random_states(device)
    torch.manual_seed(seed)  # for dropout as well, which takes no generator of its own
    for z in torch.randn(batches, batch_size, LATENT_DIM, device=device):
        logits = discriminator(generator(z))
        for kind in GENERATOR_LOSSES:
            parts = torch.autograd.grad(generator_loss(logits, kind), weights, retain_graph=True)
            gradient = torch.cat([part.flatten() for part in parts])
            totals[kind] = totals[kind] + gradient
            norms[kind] = norms[kind] + gradient.norm()
    run_folder.set_random_states(states, device)
    return {
        kind: {"norm": (norms[kind] / batches).item(), "coherence": (totals[kind].norm() / norms[kind]).item()}
        for kind in GENERATOR_LOSSES
    }
