"""The latent space of a trained generator: loading it, finding latents of a digit, paths between latents.

    generator, classifier, options, source = latents.load_networks(args)
    z = latents.find_latents(generator, classifier, [7, 6], seed=0)              # z[7] and z[6]: (1, 100)
    path = latents.line(z[7], z[6], torch.linspace(0, 1, 9))                     # (1, 9, 100)

Nobody picks latents by eye: z counts as a latent of the digit d where the classifier assigns its image to d with at
least --confidence.
"""

import torch

import files
import metrics
import runs
import utils
from classifier import FILES, load_classifier, repository
from gan import LATENT_DIM, Generator, sample

CLEAR = 0.9  # an image classified with less confidence has a "?" in the figures
BATCH = 2000  # latents that are drawn and classified at a time


def add_network_options(parser):
    """Add the options that name a generator and a classifier, and the common ones; --dataset is not among them."""
    parser.add_argument("--checkpoint", type=utils.path, help="the generator (default: the one in the repository)")
    parser.add_argument("--classifier", type=utils.path, help="the classifier (default: the one in the repository)")
    utils.add_options(parser, threads=min(4, runs.CORES))


def load_generator(path, device):
    """The generator in eval mode and the options of its run, from a run's checkpoint or an exported generator.pt.

    The options' `epochs` are those that the generator has seen. Raises InputError if the file is missing, damaged or
    of another kind.
    """
    saved = files.load(path, "options", "epoch", "generator", kind="gan", device=device)
    with files.fitting(path):
        options, weights = saved["options"] | {"epochs": saved["epoch"]}, saved["generator"]
        if "averaged" in saved:
            prefix = "module."
            weights = {name.removeprefix(prefix): w for name, w in saved["averaged"].items() if prefix in name}
        generator = Generator(options["generator"], options["bn_eps"]).to(device)
        generator.load_state_dict(weights)  # half precision is converted by the copy
    return generator.eval(), options


def export(checkpoint, path):
    """Save the generator of a run as it is sampled (its average, if it has one), in half precision."""
    generator, options = load_generator(checkpoint, "cpu")
    weights = {name: w.half() if w.is_floating_point() else w for name, w in generator.state_dict().items()}
    files.save(path, {"kind": "gan", "options": options, "epoch": options["epochs"], "generator": weights})


def load_networks(args):
    """Generator, classifier, the options of the generator's run and a line that says where the images come from.

    `args` has the options of add_network_options and --dataset; paths that were not given are filled in.
    Raises InputError if a file is missing or unfit, or a network comes from another data set.
    """
    device = utils.pick_device(args)
    args.checkpoint = args.checkpoint or repository(args.dataset, "generator.pt")
    args.classifier = args.classifier or repository(args.dataset, FILES["cnn"])
    generator, options = load_generator(args.checkpoint, device)
    classifier, result = load_classifier(args.classifier, device)
    for path, data in (args.checkpoint, options["dataset"]), (args.classifier, result["dataset"]):
        if data != args.dataset:
            raise files.InputError(f"{path} was trained on {data}, not on {args.dataset}: say --dataset {data}")
    run = f"recipe {options['recipe']}, {options['arch']} D, {options['epochs']} epochs, seed {options['seed']}"
    return generator, classifier, options, f"{utils.TITLES[args.dataset]}; a GAN of {run}"


def classify(classifier, images):
    """The classes of images (n, 784) in [-1, 1]: digits (n,) int64 and confidences (n,) in (0.1, 1]."""
    confidences, digits = metrics.outputs(classifier, images)[1].max(1)
    return digits, confidences


def find_latents(generator, classifier, needed, seed, count=1, least=None, confidence=0.999, tries=40_000):
    """Latents from N(0, 1), in the order of the seed, by the digit they stand for: {0 to 9: z (at most count, 100)}.

    Draws until there are `count` of each digit in `needed`, or `tries` in all. Raises InputError if one of these digits
    then has fewer than `least` (default: `count`).
    """
    device, source = next(generator.parameters()).device, torch.Generator().manual_seed(seed)
    groups = {digit: [] for digit in range(10)}
    for _ in range(0, tries, BATCH):
        z = torch.randn(BATCH, LATENT_DIM, generator=source).to(device)
        digits, confidences = classify(classifier, sample(generator, z))
        for digit, rows in groups.items():
            rows.extend(z[(digits == digit) & (confidences >= confidence)])
        if all(len(groups[digit]) >= count for digit in needed):
            break
    if missing := [digit for digit in needed if len(groups[digit]) < (least or count)]:
        text = f"too few of {tries:,} samples are classified as {', '.join(map(str, missing))} with confidence"
        raise files.InputError(f"{text} {confidence:g}; train the generator for longer, or lower --confidence")
    return {digit: torch.stack(rows[:count]) if rows else z[:0] for digit, rows in groups.items()}


def draw_from(z, count, source):
    """`count` rows of z (n, d), all equally often."""
    order = torch.cat([torch.randperm(len(z), generator=source) for _ in range(-(-count // len(z)))])
    return z[order[:count].to(z.device)]


def random_like(vectors, source):
    """Random directions, each of the length of its row of `vectors` (n, d)."""
    directions = torch.randn(vectors.shape, generator=source).to(vectors)
    return torch.nn.functional.normalize(directions, dim=1) * vectors.norm(dim=1, keepdim=True)


def line(start, end, alpha):
    """(1 - alpha) start + alpha end: between rows of (n, d) at alphas (k,), as (n, k, d)."""
    alpha = alpha.to(start).reshape(-1, 1)
    return (1 - alpha) * start.unsqueeze(1) + alpha * end.unsqueeze(1)
