"""What a generator's samples are worth: read, counted and compared with MNIST's test digits.

    python evaluate.py                        # the generator in the repo
    python evaluate.py --checkpoint ../results/part2_gan/initial/checkpoint.pt --name initial

10,000 samples, drawn in eval mode from a seed that training has not used, seen by the classifier:

    class histogram    how often each digit is read with confidence above .99; all others are `unsure`
    score              exp E KL(p(y|x) || p(y)), the formula of the Inception score (Salimans et al. 2016), 1 to 10
    Frechet distance   |m - m'|^2 + tr(C + C' - 2 (C C')^1/2) between the Gaussians of the classifier's 128 features
                       (Heusel et al. 2017), samples against the 10,000 test digits; `floor` is the same for 10,000
                       training digits against the test digits

Distances and scores belong to this classifier; another one has another scale. Adds an entry, under --name, to
evaluate.json.
"""

import json

import torch

import dataset
import utils
from classifier import read
from gan import LATENT_DIM, sample
from interpolate import add_network_options, load_networks


def frechet_distance(features, others):
    """The Frechet distance between the Gaussians fitted to two sets of features, (n, d) and (m, d); at least 0.

    The trace of (C C')^1/2 is the sum of the roots of the eigenvalues of S C' S, where S is the root of C.
    """
    features, others = features.double(), others.double()
    covariance, other_covariance = features.T.cov(), others.T.cov()
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (features.mean(0) - others.mean(0)).square().sum()
    return (apart + covariance.trace() + other_covariance.trace() - 2 * cross).clamp(min=0).item()


def score(probabilities):
    """exp of the mean KL divergence from p(y|x), (n, 10), to its mean p(y): 1 (no class is told) to 10."""
    log = probabilities.clamp(min=1e-12).log()
    return (probabilities * (log - probabilities.mean(0).clamp(min=1e-12).log())).sum(1).mean().exp().item()


@torch.no_grad()
def describe(classifier, images, confidence=0.99):
    """Features (n, 128) and the figures that need no other images: histogram, unsure samples, score."""
    digits, sure = read(classifier, images)
    surely = digits[sure > confidence]
    features = torch.cat([classifier.features(part) for part in images.split(2000)])
    figures = {
        "histogram": surely.bincount(minlength=10).tolist(),
        "unsure": len(images) - len(surely),
        "confident_share": len(surely) / len(images),
        "score": score(classifier.out(features).softmax(1)),
    }
    return features, figures


def main():
    parser = utils.Parser("Measure a generator's samples.")
    parser.add_argument("--samples", type=utils.number(int, low=200, high=10**6), default=10_000, help="how many")
    parser.add_argument("--name", default="balanced", help="the entry's name in evaluate.json")
    add_network_options(parser)
    dataset.add_data_options(parser)
    args = parser.parse_args()
    generator, classifier, config, _ = load_networks(args)
    device = next(generator.parameters()).device
    test, train = (dataset.scale(dataset.load(args, train=train)[0][:10_000]).to(device) for train in (False, True))

    source = torch.Generator().manual_seed(10_000 + args.seed)
    samples = sample(generator, torch.randn(args.samples, LATENT_DIM, generator=source).to(device))
    test_features, test_figures = describe(classifier, test)
    train_features, _ = describe(classifier, train)
    features, figures = describe(classifier, samples)
    figures |= {
        "samples": args.samples,
        "frechet_distance": frechet_distance(features, test_features),
        "floor": frechet_distance(train_features, test_features),
        "test_digits": test_figures,
        "seed": args.seed,
        "generator": config,
        "provenance": utils.provenance(device),
    }
    path = args.out_dir / "evaluate.json"
    entries = json.loads(path.read_text()) if path.exists() else {}
    utils.save_json(path, entries | {args.name: figures})
    print(
        f"{args.name}: Frechet distance {figures['frechet_distance']:.1f} (floor {figures['floor']:.1f}), score "
        f"{figures['score']:.2f} (test digits {test_figures['score']:.2f}), read with confidence above .99: "
        f"{figures['confident_share']:.0%}, of them 0 to 9: {figures['histogram']}"
    )


if __name__ == "__main__":
    utils.run(main)
