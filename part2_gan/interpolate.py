"""Figure 6: walk in a straight line from one latent to another and read every image on the way.

    python interpolate.py                               # the generator in the repo: 7 to 6, and 3 to 4
    python interpolate.py --pairs 8-0 1-9 --seed 3      # other digits, other latents
    python interpolate.py --checkpoint ../results/part2_gan/balanced/checkpoint.pt

    z_alpha = (1 - alpha) z_1 + alpha z_2,   alpha = 0, 1/9, ..., 1

Both ends are found by the classifier (see classifier.find_latents), never by eye. Writes fig6_interpolation.png and
interpolate.json with the reading of every image.
"""

import re
from argparse import ArgumentTypeError
from pathlib import Path

import torch

import utils
from classifier import find_latents, load_classifier, read
from gan import sample
from train import load_generator


def add_network_options(parser):
    """Add the options that name a generator and a classifier."""
    parser.add_argument("--checkpoint", type=Path, help="the generator (default: the one in the repo)")
    parser.add_argument("--classifier", type=Path, help="the reader of digits (default: the one in the repo)")
    utils.add_common_options(parser)


def add_latent_options(parser):
    """Add the options of scripts that look into a trained generator's latent space."""
    parser.add_argument(
        "--confidence", type=utils.number(float, low=0, high=1), default=0.999, help="how sure the ends must be read"
    )
    parser.add_argument("--steps", type=utils.number(int, low=2, high=50), default=10, help="images in a strip")
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="whose networks to take")
    add_network_options(parser)


def load_networks(args):
    """Generator, classifier, the generator's config and one line on where they come from.

    `args` has the options of `add_network_options` and --dataset; paths that were not given are filled in.
    Raises utils.InputError if a file is missing or unfit, or if the two networks come from different data sets.
    """
    utils.choose_folders(args)
    device = utils.pick_device(args)
    repo = utils.subfolder(utils.RESULTS, args.dataset)
    args.checkpoint = args.checkpoint or repo / "generator.pt"
    args.classifier = args.classifier or repo / "classifier.pt"
    generator, config = load_generator(args.checkpoint, device)
    classifier, reader = load_classifier(args.classifier, device)
    for name, found in ("generator", config["dataset"]), ("classifier", reader["dataset"]):
        if found != args.dataset:
            raise utils.InputError(f"the {name} was trained on {found}, not on {args.dataset}: say --dataset {found}")
    utils.make_folder(args.out_dir)
    utils.make_folder(args.figures_dir)
    source = (
        f"{utils.TITLES[args.dataset]}; {config['arch']} GAN, BatchNorm eps {config['bn_eps']:g}, "
        f"{config['epochs']} epochs, seed {config['seed']}; latents from seed {args.seed}; "
        f"read by a CNN with {reader['test_accuracy']:.2%} on test digits"
    )
    return generator, classifier, config, source


def strip(generator, classifier, start, end, steps):
    """The straight line from latent `start` to `end`, both (latent_dim,), as `steps` images and their readings.

    Returns images (steps, 784) in [-1, 1] and a list of {alpha, digit, confidence}.
    """
    alpha = torch.linspace(0, 1, steps, device=start.device).unsqueeze(1)
    images = sample(generator, (1 - alpha) * start + alpha * end)
    digits, confidences = read(classifier, images)
    values = zip(alpha.flatten().tolist(), digits.tolist(), confidences.tolist(), strict=True)
    return images, [{"alpha": a, "digit": digit, "confidence": confidence} for a, digit, confidence in values]


def draw_strips(strips, path, source, data):
    """Draw strips, a dictionary {title: (images, readings)}, one row each, every reading under its image."""
    columns = max(len(readings) for _, readings in strips.values())
    figure, rows = utils.plt.subplots(len(strips), columns, figsize=(columns, 1.75 * len(strips) + 0.2), squeeze=False)
    for axes, (title, (images, readings)) in zip(rows, strips.items(), strict=True):
        for ax, image, reading in zip(axes, images, readings, strict=True):
            utils.draw_images(ax, image.unsqueeze(0), columns=1)
            sure = "" if reading["confidence"] >= 0.9 else "?"
            ax.set_title(f"{reading['digit']}{sure}  {reading['confidence']:.2f}", y=-0.32, fontsize=9)
        label = axes[0].text(0, 1.12, title, transform=axes[0].transAxes, fontsize=10)
        label.set_in_layout(False)  # it may be wider than the first image
    utils.save_figure(figure, path, source + "; ? = confidence below 0.9", data)


def pair(text):
    """An argparse type: "7-6" as (7, 6)."""
    if not re.fullmatch("[0-9]-[0-9]", text):
        raise ArgumentTypeError(f"{text!r} is not a pair of digits such as 7-6")
    return int(text[0]), int(text[2])


def main():
    parser = utils.Parser("Figure 6: interpolate between latents of two digits.")
    parser.add_argument("--pairs", type=pair, nargs="+", default=[(7, 6), (3, 4)], help="digits to walk between")
    add_latent_options(parser)
    args = parser.parse_args()
    generator, classifier, config, source = load_networks(args)

    digits = sorted({digit for ends in args.pairs for digit in ends})
    # Two of each, so that a pair such as 8-8 has two ends.
    latents = find_latents(generator, classifier, digits, args.seed, 2, args.confidence)
    strips = {}
    for first, second in args.pairs:
        start, end = latents[first][0], latents[second][1 if second == first else 0]
        strips[f"{first} to {second}"] = strip(generator, classifier, start, end, args.steps)
        print(f"{first} to {second} reads", *(reading["digit"] for reading in strips[f"{first} to {second}"][1]))

    draw_strips(strips, args.figures_dir / "fig6_interpolation.png", source, args.dataset)
    result = {
        "pairs": {name: readings for name, (_, readings) in strips.items()},
        "seed": args.seed,
        "confidence": args.confidence,
        "generator": config,
        "provenance": utils.provenance(next(generator.parameters()).device),
    }
    utils.save_json(args.out_dir / "interpolate.json", result)
    print(f"figure: {args.figures_dir / 'fig6_interpolation.png'}")


if __name__ == "__main__":
    utils.run(main)
