"""The sample quality of a generator, compared with real digits.

    python evaluate.py                                                  # the generator in the repository
    python evaluate.py --out-dir mine --checkpoint RUN/checkpoint.pt    # another one

Draws 10,000 samples in eval mode, from latents that no update has used, and gives them to the classifier:

    histogram             how often each digit is assigned for sure (confidence above .99); all others are `unsure`
    frechet_distance, precision, recall     as metrics.py has them
    neighbours            1,000 samples and 1,000 test digits: how far to the nearest training digit, in pixels (L2,
                          grey in [-1, 1]) and in features; copies of training digits would be far nearer
    real                  what real digits reach in the samples' place, from classifier.pt

Distances belong to this classifier and this number of samples. Reads the generator, the classifier and the
digits of --dataset. Writes evaluate.json and nearest_neighbours.png.
"""

import torch
from matplotlib.figure import Figure

import dataset
import files
import metrics
import plots
import utils
from classifier import with_test_digits
from gan import LATENT_DIM, sample
from latents import add_network_options, load_networks


def find_neighbours(samples, test, training):
    """Whether samples are copies of training digits: numbers, and a picture of 12 samples with their nearest ones.

    `samples` and `test` hold images (n, 784), features (n, d) and probabilities (n, 10), `training` the first two. In
    the picture images are as dataset.pack packs them: {"samples": images, space: [distances (12), images]}.
    """
    digits, test_digits = samples[2].argmax(1), test[2].argmax(1)
    numbers, picture = {}, {"samples": dataset.pack(dataset.to_bytes(samples[0][:12]))}
    for column, space in enumerate(("pixels", "features")):
        distances, indices = metrics.nearest(samples[column], training[column])
        test_distances, _ = metrics.nearest(test[column], training[column])
        numbers[space] = metrics.memorised(distances[:, 0], digits, test_distances[:, 0], test_digits)
        nearest = dataset.to_bytes(training[0][indices[:12, 0]])
        picture[space] = [[round(value, 1) for value in distances[:12, 0].tolist()], dataset.pack(nearest)]
    return numbers, picture


def draw(result, path):
    """Samples in a row, and below each its nearest training digit in pixels and in features."""
    figure, picture, options = Figure(figsize=(8, 3.6)), result["picture"], result["generator"]
    axes = figure.subplots(3, 1)
    plots.draw_images(axes[0], dataset.unpack(picture["samples"]), columns=12)
    axes[0].set_title("Samples of the generator", loc="left")
    for ax, space in zip(axes[1:], ("pixels", "features"), strict=True):
        distances, images = picture[space]
        plots.draw_images(ax, dataset.unpack(images), columns=12)
        typical = result["neighbours"][space]["test_median"]
        ax.set_title(f"Nearest training digits in {space}; a test digit's: {typical:.1f} (median)", loc="left")
        for i, distance in enumerate(distances):
            ax.text(29 * i + 15, 31, f"{distance:.1f}", ha="center", va="top", fontsize=9)
    source = f"{plots.describe_digits(options)}; a GAN of recipe {options['recipe']}, seed {options['seed']}"
    foot = f"Does G copy? Below each training digit its distance from the sample. {source}"
    utils.save_figure(figure, path, foot, options["dataset"])


def main(argv=None):
    parser = utils.Parser("Measure a generator's samples.")
    count = utils.number(int, low=metrics.FEWEST, high=10**6)
    parser.add_argument("--samples", type=count, default=10_000, help="how many")
    add_network_options(parser)
    dataset.add_options(parser)
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw what evaluate.json has")
    args = parser.parse_args(argv)
    path, figure = args.out_dir / "evaluate.json", args.figures_dir / "nearest_neighbours.png"
    if args.draw:
        with utils.style():
            return draw(files.load(path, "picture", "neighbours", "generator"), figure)
    generator, _, options, _ = load_networks(args)
    device, seed = next(generator.parameters()).device, 10_000 + args.seed
    classifier, test_outputs = with_test_digits(args, device)
    test, training = (dataset.scale(dataset.load(args, train=train)[0]).to(device) for train in (False, True))

    z = torch.randn(args.samples, LATENT_DIM, generator=torch.Generator().manual_seed(seed)).to(device)
    samples = sample(generator, z)
    features, probabilities = metrics.outputs(classifier, samples)
    count = min(5000, len(features), len(test))
    manifolds = [metrics.manifold(metrics.thinned(part, count)) for part in (features, test_outputs[0])]
    precision, recall = metrics.precision_recall(*manifolds)
    few = [metrics.thinned(part, 1000) for part in (samples, features, probabilities)]
    few_test = [metrics.thinned(part, 1000) for part in (test, *test_outputs)]
    neighbours, picture = find_neighbours(few, few_test, (training, metrics.outputs(classifier, training)[0]))
    result = {
        "samples": args.samples,
        **metrics.describe(probabilities),
        "frechet_distance": metrics.frechet_distance(features, test_outputs[0]),
        "precision": precision,
        "recall": recall,
        "neighbours": neighbours,
        "picture": picture,
        "test_digits": metrics.describe(test_outputs[1]),
        "real": files.load(args.classifier)["result"]["real"],
        "seed": args.seed,
        "generator": options,
        **utils.provenance(device),
    }
    args.out_dir.mkdir(parents=True, exist_ok=True)
    files.save(path, result)
    with utils.style():
        draw(result, figure)
    print(f"{args.samples:,} samples; real digits in brackets")
    for name in ("frechet_distance", "precision", "recall", "sure_share"):
        real = f" ({result['real'][name]:.3g})" if result["real"] else ""
        print(f"  {name.replace('_', ' ')} {result[name]:.3g}{real}")
    closer_share = neighbours["pixels"]["closer_share"]
    print(f"  nearer to a training digit than 99 % of test digits: {closer_share:.1%}, in pixels")


if __name__ == "__main__":
    utils.run(main)
