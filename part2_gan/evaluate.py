"""The sample quality of a generator, compared with MNIST's test digits.

    python evaluate.py                        # the generator in the repository; without MNIST: what needs no digits
    python evaluate.py --out-dir mine --checkpoint RUN/checkpoint.pt    # another generator

Draws 10,000 samples in eval mode, from latents that no update has used, and gives them to the classifier:

    histogram             how often each digit is assigned with confidence above .99; all others are `unsure`
    score                 exp E KL(p(y|x) || p(y)), the formula of the Inception score (Salimans et al. 2016), 1 to 10
    frechet_distance      between the Gaussians of 128 features (Heusel et al. 2017), samples against the 10,000 test
                          digits; `floor` is the same for 10,000 training digits against the test digits
    precision, recall     share of samples on the manifold of test digits, and of test digits on that of the samples
                          (Kynkaanniemi et al. 2019, k = 3), 5,000 of each; beside it training digits for samples
    neighbours            1,000 samples and 1,000 test digits: how far to the nearest of 60,000 training digits, in
                          pixels (L2, grey in [-1, 1]) and in features; copies of training digits would be far nearer
    discriminator         accuracy of D, in eval mode, on test digits, training digits and fresh samples, where the
                          checkpoint holds it (a run's does, generator.pt does not)

An `..._interval` is a 95 % interval for the chance of drawing these samples from this generator; training again with
another seed is not in it. Distances and scores belong to this classifier and this number of samples.

Reads the generator, the classifier and the digits of --dataset. Writes an entry, under --name, into evaluate.json, and
draws nearest_neighbours.png (for names of your own: nearest_neighbours_NAME.png). Without digits it draws nothing, and
an entry that was measured with them stays.
"""

import sys

import torch

import dataset
import metrics
import plots
import utils
from gan import DISCRIMINATORS, LATENT_DIM, Discriminator, sample
from latents import add_network_options, load_networks
from run_folder import folder_name

NAME = "generator"  # the generator in the repository


def load_digits(args, reference, device):
    """Test and training images, scaled, on `device`; where MNIST cannot be had two Nones, and a line on stderr.

    Raises utils.InputError if MNIST is damaged, if --limit leaves too few digits, or if there is neither MNIST nor a
    `reference` that the samples could be compared with.
    """
    try:
        images = [dataset.load(args, train=train)[0] for train in (False, True)]
    except dataset.Missing as error:
        if reference is None:
            raise utils.InputError(f"{error}; {args.classifier} holds no measured test digits instead") from None
        print(f"evaluate.py: {error}. The test digits' numbers come from {args.classifier}.", file=sys.stderr)
        return None, None
    if len(images[0]) < metrics.FEWEST:
        raise utils.InputError(f"--limit {args.limit}: at least {metrics.FEWEST} test digits are needed")
    return [dataset.scale(part).to(device) for part in images]


def measure(features, probabilities, reference, seed):
    """What needs no digits but the `reference`: histogram, score and Frechet distance, with intervals."""
    figures = metrics.describe(probabilities)
    gaussian = reference["mean"].cpu(), reference["covariance"].cpu()
    return figures | {
        "confident_share_interval": metrics.share_interval(figures["confident_share"], len(features)),
        "score_interval": metrics.score_interval(probabilities, seed=seed),
        "frechet_distance": metrics.frechet(metrics.gaussian(features), gaussian).item(),
        "frechet_distance_interval": metrics.frechet_interval(features, gaussian, seed=seed),
        **{name: reference[name] for name in ("floor", "floor_digits")},
        "test_digits": {"count": reference["digits"], **reference["figures"]},
    }


def compare(features, test_features, train_features):
    """Precision and recall of samples, and of training digits in their place, against as many test digits."""
    count = min(5000, len(features), len(test_features), len(train_features))
    digits = metrics.manifold(metrics.thinned(test_features, count))
    found = {"count": count}
    for name, others in ("samples", features), ("training_digits", train_features):
        values = metrics.precision_recall(metrics.manifold(metrics.thinned(others, count)), digits)
        found[name] = {}
        for what, value in zip(("precision", "recall"), values, strict=True):
            found[name] |= {what: value, f"{what}_interval": metrics.share_interval(value, count)}
    return found


def find_neighbours(samples, test, train):
    """Whether samples are copies of training digits, and 12 of them with their nearest training digits.

    `samples` and `test` hold images (n, 784), features (n, d) and probabilities (n, 10), `train` the first two.
    Returns the 12 samples, the numbers, and {space: (distances (12,), images (12, 784))}.
    """
    samples, test = ([metrics.thinned(of, 1000) for of in tensors] for tensors in (samples, test))
    numbers, nearest = {"samples": len(samples[0]), "test_digits": len(test[0]), "training_digits": len(train[0])}, {}
    for space, column in ("pixels", 0), ("features", 1):
        distances, indices = metrics.nearest(samples[column], train[column])
        test_distances, _ = metrics.nearest(test[column], train[column])
        numbers[space] = metrics.memorised(
            distances[:, 0], samples[2].argmax(1), test_distances[:, 0], test[2].argmax(1)
        )
        nearest[space] = distances[:12, 0].tolist(), train[0][indices[:12, 0]]
    return samples[0][:12], numbers, nearest


def draw_neighbours(samples, numbers, nearest, path, source, data):
    """Samples (12, 784) in a row, and below each its nearest training digit in pixels and in features."""
    figure, axes = utils.plt.subplots(3, 1, figsize=(8, 3.9))
    plots.draw_images(axes[0], samples, columns=len(samples))
    axes[0].set_title("samples", loc="left")
    for ax, (space, (distances, images)) in zip(axes[1:], nearest.items(), strict=True):
        plots.draw_images(ax, images, columns=len(images))
        typical = numbers[space]["test_median"]
        ax.set_title(f"nearest training digits in {space}; median distance of test digits: {typical:.1f}", loc="left")
        for i, distance in enumerate(distances):
            ax.text(29 * i + 15, 31, f"{distance:.1f}", ha="center", va="top", fontsize=9)
    utils.save_figure(figure, path, source, data)


@torch.no_grad()
def discriminator_accuracy(path, config, images):
    """The accuracy of the discriminator in the checkpoint at `path`, in eval mode; None if the file holds none.

    `images` is {name: (images (n, 784), whether they are real)}; returns {name: accuracy}.
    Raises utils.InputError if its weights do not fit.
    """
    device = next(iter(images.values()))[0].device
    checkpoint = utils.load_checkpoint(path, "gan", device)
    if "discriminator" not in checkpoint:
        return None
    discriminator = Discriminator(DISCRIMINATORS[config["arch"]]["widths"], config["dropout"]).to(device).eval()
    try:
        discriminator.load_state_dict(checkpoint["discriminator"])
    except RuntimeError:
        raise utils.InputError(f"{path}: its weights do not fit the discriminator of gan.py") from None
    return {name: ((discriminator(part) > 0) == real).float().mean().item() for name, (part, real) in images.items()}


def print_entry(name, entry):
    """Print the entry of evaluate.json in a few lines."""

    def ranged(numbers, what, form=".1f"):
        low, high = numbers[f"{what}_interval"]
        return f"{numbers[what]:{form}} ({low:{form}} to {high:{form}})"

    real, manifolds, neighbours = (entry[what] for what in ("test_digits", "precision_recall", "neighbours"))
    accuracy = entry["classifier_accuracy"]
    print(
        f"{name}: {entry['samples']:,} samples, 95 % intervals in brackets; the classifier's accuracy: {accuracy:.2%}"
    )
    print(f"  Frechet distance {ranged(entry, 'frechet_distance')}; floor, training digits: {entry['floor']:.1f}")
    print(f"  score {ranged(entry, 'score', '.2f')}; test digits {real['score']:.2f}")
    print(f"  confident {ranged(entry, 'confident_share', '.1%')}; test digits {real['confident_share']:.1%}")
    print(f"  of them 0 to 9: {entry['histogram']}, unsure {entry['unsure']}")
    if manifolds:
        for what in "precision", "recall":
            values = [ranged(manifolds[of], what, ".2f") for of in ("samples", "training_digits")]
            print(f"  {what} {values[0]}; training digits {values[1]}")
        for space in "pixels", "features":
            of = neighbours[space]
            print(
                f"  distance to the nearest training digit in {space}: {of['median_ratio']:.2f} times a test digit's "
                f"(median); {ranged(of, 'closer_share', '.1%')} are nearer than 99 % of test digits"
            )
    if entry["discriminator"]:
        print("  accuracy of D:", ", ".join(f"{value:.1%} on {what}" for what, value in entry["discriminator"].items()))
    else:
        print("  accuracy of D: not measured, " + ("the checkpoint holds none" if manifolds else "without digits"))


def main(argv=None):
    parser = utils.Parser("Measure a generator's samples.")
    count = utils.number(int, low=metrics.FEWEST, high=10**6)
    parser.add_argument("--samples", type=count, default=10_000, help="how many")
    parser.add_argument("--name", type=folder_name, default=NAME, help="the entry's name in evaluate.json")
    add_network_options(parser)
    dataset.add_data_options(parser)
    args = parser.parse_args(argv)
    generator, classifier, config, source = load_networks(args)
    utils.make_folder(args.out_dir, args.figures_dir)
    path = args.out_dir / "evaluate.json"
    entries = utils.load_json(path) if path.exists() else {}
    device = next(generator.parameters()).device
    saved = utils.load_checkpoint(args.classifier, "classifier")
    reference = saved.get("reference")
    test, train = load_digits(args, reference, device)

    seed = 10_000 + args.seed
    z = torch.randn(args.samples, LATENT_DIM, generator=torch.Generator().manual_seed(seed))
    samples = sample(generator, z.to(device))
    if not samples.isfinite().all():
        raise utils.InputError(f"{args.checkpoint}: the images of its generator are not finite numbers")
    features, probabilities = metrics.outputs(classifier, samples)
    manifolds, neighbours, accuracy = None, None, None
    if test is not None:
        test_features, test_probabilities = metrics.outputs(classifier, test)
        train_features, _ = metrics.outputs(classifier, train)
        reference = metrics.reference(test_features, test_probabilities, train_features[: len(test)])
        manifolds = compare(features, test_features, train_features)
        drawn, neighbours, nearest = find_neighbours(
            (samples, features, probabilities), (test, test_features, test_probabilities), (train, train_features)
        )
        figure = args.figures_dir / f"nearest_neighbours{'' if args.name == NAME else '_' + args.name}.png"
        source = source.replace(f"latents from seed {args.seed}", f"latents from seed {seed}")
        source += "; distances are L2, of grey values in [-1, 1] or of the classifier's 128 features"
        draw_neighbours(drawn, neighbours, nearest, figure, source, args.dataset)
        images = {"test digits": (test, True), "training digits": (train, True), "samples": (samples, False)}
        accuracy = discriminator_accuracy(args.checkpoint, config, images)

    entry = {
        "samples": args.samples,
        **measure(features, probabilities, reference, args.seed),
        "precision_recall": manifolds,
        "neighbours": neighbours,
        "discriminator": accuracy,
        "classifier_accuracy": saved["result"]["test_accuracy"],
        "test_digits_from": "images" if manifolds else "classifier.pt",
        "seed": args.seed,
        "generator": config,
        "provenance": utils.provenance(device),
    }
    print_entry(args.name, entry)
    if manifolds:
        print(f"figure: {figure}")
    elif entries.get(args.name, {}).get("precision_recall"):
        print(f"{path} keeps its entry {args.name!r}, which was measured with digits")
        return
    utils.save_json(path, entries | {args.name: entry})


if __name__ == "__main__":
    utils.run(main)
