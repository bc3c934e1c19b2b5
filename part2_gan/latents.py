"""The latent space of a trained generator: loading it, finding latents of a digit, paths, strips of images.

    generator, classifier, config, source = latents.load_networks(args)
    z = latents.find_latents(generator, classifier, [7, 6], seed=0)        # {7: (1, latent_dim), 6: (1, latent_dim)}
    images, classified = latents.strip(generator, classifier, z[7][0], z[6][0], steps=10)

Nobody picks latents by eye: z counts as a latent of the digit d where the classifier assigns its image to d with at
least --confidence.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F

import metrics
import plots
import utils
from classifier import check_there, load_classifier, path_of
from gan import LATENT_DIM, Generator, sample

CONFIDENT = 0.9  # an image classified with less confidence has a "?" in the figures
BATCH = 2000  # latents that are drawn and classified at a time


def add_network_options(parser):
    """Add the options that name a generator and a classifier, and the common ones; --dataset is not among them."""
    parser.add_argument("--checkpoint", type=Path, help="the generator (default: the one in the repository)")
    parser.add_argument("--classifier", type=Path, help="the classifier (default: the one in the repository)")
    utils.add_common_options(parser)


def add_latent_options(parser):
    """Add the options of scripts that find latents of a digit."""
    add = parser.add_argument
    add("--confidence", type=utils.number(float, low=0, high=1), default=0.999, help="of a latent's classification")
    add("--dataset", choices=utils.TITLES, default="mnist", help="the data set that the networks were trained on")
    add_network_options(parser)


def add_strip_options(parser):
    """Add the options of the scripts that draw strips, figures 6 to 8."""
    count = utils.number(int, low=1, high=10)
    parser.add_argument("--examples", type=count, default=3, help="strips of a kind, each from the seed's next latents")
    parser.add_argument("--steps", type=utils.number(int, low=2, high=50), default=10, help="images in a strip")
    add_latent_options(parser)


def load_generator(path, device):
    """The generator in eval mode and the config of its training, from a run's checkpoint or an exported generator.pt.

    The config's `epochs` are those that the checkpoint has seen.
    Raises utils.InputError if the file is missing, damaged or of another kind.
    """
    checkpoint = utils.load_checkpoint(path, "gan", device)
    try:
        config = checkpoint["config"] | {"epochs": checkpoint["epoch"]}
        weights = checkpoint["generator"]
        if "averaged" in checkpoint:
            prefix = "module."
            weights = {name.removeprefix(prefix): w for name, w in checkpoint["averaged"].items() if prefix in name}
        generator = Generator(config.get("generator", "written"), bn_eps=config["bn_eps"]).to(device)
        generator.load_state_dict(weights)  # half precision is converted by the copy
    except (AttributeError, KeyError, RuntimeError, TypeError):
        raise utils.InputError(f"{path}: its contents do not fit the generator of gan.py") from None
    return generator.eval(), config


def load_networks(args):
    """Generator, classifier, the generator's config and one line on where they come from.

    `args` has the options of `add_network_options` and --dataset; paths that were not given are filled in.
    Raises utils.InputError if a file is missing or unfit, or if the two networks come from different data sets.
    """
    device = utils.pick_device(args)
    args.checkpoint = args.checkpoint or utils.subfolder(utils.RESULTS, args.dataset) / "generator.pt"
    args.classifier = args.classifier or path_of(args)
    check_there(args.checkpoint, args.dataset, "dynamics.py", "--checkpoint")
    check_there(args.classifier, args.dataset, "classifier.py", "--classifier")
    generator, config = load_generator(args.checkpoint, device)
    classifier, trained = load_classifier(args.classifier, device)
    for name, found in ("generator", config["dataset"]), ("classifier", trained["dataset"]):
        if found != args.dataset:
            raise utils.InputError(f"the {name} was trained on {found}, not on {args.dataset}: say --dataset {found}")
    source = (
        f"{plots.describe_digits(config)}; generator of a GAN with the {config['arch']} discriminator, "
        f"{config['epochs']} epochs, {plots.describe_recipe(config)}, seed {config['seed']}; latents from seed "
        f"{args.seed}; classifier: {classifier.title}, accuracy {trained['test_accuracy']:.2%} on test digits"
    )
    return generator, classifier, config, source


def classify(classifier, images):
    """The classes of images (n, 784) in [-1, 1]: digits (n,) int64 and confidences (n,) in (0.1, 1]."""
    confidences, digits = metrics.outputs(classifier, images)[1].max(1)
    return digits, confidences


def confident_latents(generator, classifier, seed, confidence, tries):
    """Yield those of `tries` latents from N(0, 1) that are classified with at least `confidence`, BATCH at a time.

    Comes as pairs z (n, latent_dim), digits (n,), in the order of the seed; `tries` is rounded up to whole BATCHes.
    """
    device, source = next(generator.parameters()).device, torch.Generator().manual_seed(seed)
    for _ in range(0, tries, BATCH):
        z = torch.randn(BATCH, LATENT_DIM, generator=source).to(device)
        digits, confidences = classify(classifier, sample(generator, z))
        yield z[confidences >= confidence], digits[confidences >= confidence]


def find_latents(generator, classifier, digits, seed, count=1, confidence=0.999, tries=50_000):
    """The first `count` latents of each of `digits` in the order of the seed: {digit: z (count, latent_dim)}.

    Raises utils.InputError if `tries` samples hold too few of one digit.
    """
    found = {digit: [] for digit in digits}
    for z, classes in confident_latents(generator, classifier, seed, confidence, tries):
        for digit, of_digit in found.items():
            of_digit.extend(z[classes == digit][: count - len(of_digit)])
        if all(len(of_digit) == count for of_digit in found.values()):
            return {digit: torch.stack(of_digit) for digit, of_digit in found.items()}
    refuse([digit for digit, of_digit in found.items() if len(of_digit) < count], tries, confidence)


def group_latents(generator, classifier, needed, seed, confidence=0.999, tries=40_000, least=20):
    """All confident latents among `tries`, grouped by digit: {digit: z (n, latent_dim)} for 0 to 9.

    A group is empty where the generator does not draw the digit; raises utils.InputError if one of the digits `needed`
    has fewer than `least` latents.
    """
    parts = confident_latents(generator, classifier, seed, confidence, tries)
    z, digits = (torch.cat(column) for column in zip(*parts, strict=True))
    if missing := [digit for digit in needed if (digits == digit).sum() < least]:
        refuse(missing, tries, confidence)
    return {digit: z[digits == digit] for digit in range(10)}


def refuse(missing, tries, confidence):
    """Raise utils.InputError for the digits that a generator draws too rarely."""
    raise utils.InputError(
        f"too few of {tries:,} samples are classified as {', '.join(map(str, missing))} with confidence "
        f"{confidence:g}: the generator does not draw these digits well enough; train it longer, or lower --confidence"
    )


def line(start, end, alpha):
    """(1 - alpha) start + alpha end: between rows of (n, d) at alphas (k,), as (n, k, d)."""
    alpha = alpha.to(start).reshape(-1, 1)
    return (1 - alpha) * start.unsqueeze(1) + alpha * end.unsqueeze(1)


def slerp(start, end, alpha):
    """Spherical interpolation between latents (n, d) at alphas (k,), as (n, k, d); White 2016.

    Where both ends point in the same direction, or in opposite ones, there is no one great circle: there, the line.
    """
    first, second, steps = start.double(), end.double(), alpha.to(start.device).double().reshape(-1, 1)
    angle = torch.cosine_similarity(first, second, dim=-1).clamp(-1, 1).acos().reshape(-1, 1, 1)
    sine = angle.sin()
    weight, other = (torch.sin(part * angle) / sine.clamp(min=1e-6) for part in (1 - steps, steps))
    curve = weight * first.unsqueeze(1) + other * second.unsqueeze(1)
    return torch.where(sine < 1e-6, line(first, second, alpha), curve).to(start)


def on_sphere(z):
    """Latents (..., latent_dim) scaled to the norm sqrt(latent_dim) = 10; those of N(0, 1) have 9.97 on average."""
    return F.normalize(z, dim=-1) * math.sqrt(LATENT_DIM)


def strip(generator, classifier, start, end, steps):
    """The straight line from latent `start` to `end`, both (latent_dim,), as `steps` images and their classes.

    Returns images (steps, 784) in [-1, 1] and a list of {alpha, digit, confidence}.
    """
    alpha = torch.linspace(0, 1, steps, device=start.device)
    images = sample(generator, line(start.unsqueeze(0), end.unsqueeze(0), alpha)[0])
    digits, confidences = classify(classifier, images)
    values = zip(alpha.tolist(), digits.tolist(), confidences.tolist(), strict=True)
    return images, [{"alpha": a, "digit": digit, "confidence": confidence} for a, digit, confidence in values]


def draw_strips(strips, path, source, data):
    """Draw strips, {title: [(images, classified), ...]}, a row each, below every image its class."""
    rows = [(title if k == 0 else "", strip) for title, of in strips.items() for k, strip in enumerate(of)]
    columns = len(rows[0][1][1])
    figure, grid = utils.plt.subplots(
        len(rows), columns, figsize=(columns, 1.25 * len(rows) + 0.3 * len(strips) + 0.5), squeeze=False
    )
    for axes, (title, (images, classified)) in zip(grid, rows, strict=True):
        for ax, image, found in zip(axes, images, classified, strict=True):
            plots.draw_images(ax, image.unsqueeze(0), columns=1)
            sure = found["confidence"] >= CONFIDENT
            text, colour = f"{found['digit']}{'' if sure else '?'}", "black" if sure else "0.5"
            ax.text(0.5, -0.03, text, transform=ax.transAxes, ha="center", va="top", color=colour)
        if title:
            label = axes[0].text(0, 1.06, title, transform=axes[0].transAxes, va="bottom", fontsize=12)
            label.set_in_layout(False)  # it is wider than the first image
    note = f"below each image its class; ?: confidence below {CONFIDENT:g}"
    utils.save_figure(figure, path, f"{source}; {note}", data)


def save_strips(args, name, figures, result, config, source):
    """Draw the `figures`, {file name: strips}, print the classes, and write NAME.json with `result` and its origin."""
    for file, strips in figures.items():
        path = args.figures_dir / f"{file}.png"
        draw_strips(strips, path, source, args.dataset)
        for title, of in strips.items():
            for _, classified in of:
                print(f"{title}:", *(found["digit"] for found in classified))
        print(f"figure: {path}")
    result |= {"seed": args.seed, "confidence": args.confidence, "generator": config}
    utils.save_json(args.out_dir / f"{name}.json", result | {"provenance": utils.provenance(utils.pick_device(args))})
