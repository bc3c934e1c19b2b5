"""What the studies of the latent space share: grouped latents, classes of many images, rates with intervals. No script.

    group_latents -> deal -> arithmetic on z -> classify_latents -> counts and rates

interpolation_rates, arithmetic_rates and directions measure one generator or several. Their JSON files hold every
generator by itself, all of them pooled, and the range over the generators. The intervals hold for the very generators
that were measured; what another training run would give, only the range can tell.
"""

import json
import re
from pathlib import Path

import torch
import torch.nn.functional as F

import latents
import metrics
import utils
from gan import sample

COLOURS = {7: "#0072B2", 6: "#D55E00", 1: "#009E73"}  # told apart with every common colour vision
LARGE = ("along", "pairs", "shift", "shift_random")  # counts that are kept of all generators together only


def rate(found):
    """The share of True in a boolean tensor: {count, of, rate, interval}; the rate of nothing is None."""
    count, total = int(found.sum()), found.numel()
    interval = metrics.wilson(count, total)
    return {"count": count, "of": total, "rate": count / total if total else None, "interval": interval}


def rate_by_column(found):
    """The share of True in each column of a boolean tensor (n, k): {of, count: [k], rate: [k], low: [k], high: [k]}."""
    counts, total = found.sum(0).tolist(), len(found)
    low, high = zip(*(metrics.wilson(count, total) for count in counts), strict=True)
    return {"of": total, "count": counts, "rate": [count / total for count in counts], "low": low, "high": high}


def count_digits(digits, confidences):
    """How often each digit is found, over the first dimension of classes (n, ...); -1 stands for no image.

    Returns {of: [...], classified: [... [10 counts]], confident: [... [10 counts]]}; `confident` counts classes with a
    confidence of at least latents.CONFIDENT.
    """
    classified = digits.unsqueeze(-1) == torch.arange(10)
    confident = classified & (confidences >= latents.CONFIDENT).unsqueeze(-1)
    counts = {"classified": classified.sum(0).tolist(), "confident": confident.sum(0).tolist()}
    return {"of": (digits >= 0).sum(0).tolist(), **counts}


def classify_images(classifier, images):
    """Of images (n, 784): digits (n,) int8, confidences (n,) and features (n, 128), on the CPU."""
    features, probabilities = metrics.outputs(classifier, images)
    confidences, digits = probabilities.max(1)
    return digits.to(torch.int8).cpu(), confidences.cpu(), features.cpu()


def classify_latents(generator, classifier, z):
    """classify_images of the images of latents z (..., latent_dim), in the shapes (...) and (..., 128)."""
    parts = [classify_images(classifier, sample(generator, part)) for part in z.flatten(0, -2).split(latents.BATCH)]
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return tuple(column.unflatten(0, z.shape[:-1]) for column in columns)


def deal(group, count, source, mean_of=1):
    """`count` rows of a group (n, d), or means of `mean_of` of them, as (count, d).

    The group is shuffled and dealt, and again when it is used up, so that all its rows are used equally often.
    """
    wanted = count * mean_of
    order = torch.cat([torch.randperm(len(group), generator=source) for _ in range(-(-wanted // len(group)))])
    return F.embedding_bag(order[:wanted].reshape(count, mean_of).to(group.device), group, mode="mean")


def add_study_options(parser):
    """Add the options that all studies of the latent space have, --dataset apart."""
    add = parser.add_argument
    add("--checkpoints", type=Path, nargs="+", default=[None], help="generators (default: the one in the repository)")
    add("--classifier", type=Path, help="the classifier (default: the one in the repository)")
    add("--tries", type=utils.number(int, low=2000, high=10**7), default=40_000, help="latents to draw and classify")
    add("--confidence", type=utils.number(float, low=0, high=1), default=0.999, help="of a latent's classification")
    utils.add_common_options(parser)


def measure_generators(args, needed, measure):
    """Measure all generators that `args` names; each must draw the digits `needed`.

    `measure(generator, classifier, groups, source)` gets what latents.group_latents returns and a torch.Generator for
    its own draws, and returns a dictionary of tensors, one row a sample.

    Returns one entry {checkpoint, config, latents: 10 counts} for each generator, their measurements, all measurements
    pooled, and one line for the figures' feet. The names of args.classifier's kind end in args.suffix. Raises
    utils.InputError as `load_networks` and `group_latents` do.
    """
    entries, measured, kinds = [], [], {}
    for path in args.checkpoints:
        args.checkpoint = path
        generator, classifier, config, foot = latents.load_networks(args)
        args.suffix = classifier.suffix
        name = "generator.pt" if path is None else f"{path.resolve().parent.name}/{path.name}"
        try:
            groups = latents.group_latents(generator, classifier, needed, args.seed, args.confidence, args.tries)
        except utils.InputError as error:
            raise utils.InputError(f"{name}: {error}") from None
        sizes = [len(groups[digit]) for digit in range(10)]
        shown = ", ".join(map(str, sizes))
        print(f"{name}: of {args.tries:,} latents {shown} are of the digits 0 to 9", flush=True)
        source = torch.Generator().manual_seed(30_000 + args.seed)  # not the random numbers of the grouped latents
        measured.append(measure(generator, classifier, groups, source))
        entries.append({"checkpoint": name, "config": config, "latents": sizes})
        kind = f"{config['arch']} discriminator, {config['epochs']} epochs, BatchNorm eps {config['bn_eps']:g}"
        kinds.setdefault(kind, []).append(str(config["seed"]))
    pooled = {key: torch.cat([result[key] for result in measured]) for key in measured[0]}
    if len(entries) > 1:
        title, _, *rest = foot.split("; ")
        all_kinds = " and ".join(f"{kind}, seeds {' '.join(seeds)}" for kind, seeds in kinds.items())
        foot = "; ".join([title, f"{len(entries)} generators pooled: {all_kinds}", *rest])
    return entries, measured, pooled, foot


def save_figures(args, figures):
    """Write the figures of a study, {name: (figure, foot)}."""
    for name, (figure, foot) in figures.items():
        path = args.figures_dir / f"{name}{args.suffix}.png"
        utils.save_figure(figure, path, foot, args.dataset)
        print(f"figure: {path}")


def save_study(args, study, entries, summaries, pooled, headlines):
    """Write the study's JSON file, and print the range over generators.

    `summaries` has one summary for each generator and `pooled` is the one over all; `headlines(summary)` picks
    {what: number or None} from either.
    """
    ranges, each = {}, [headlines(summary) for summary in summaries]
    for what, overall in headlines(pooled).items():
        values = [numbers[what] for numbers in each]
        found = [value for value in values if value is not None]
        low, high = min(found, default=None), max(found, default=None)
        ranges[what] = {"pooled": overall, "min": low, "max": high, "generators": values}
        if len(found) > 1:
            print(f"{what}: {overall:.3f} ({low:.3f} to {high:.3f} over {len(found)} generators)")
    names = ("seed", "tries", "confidence", "pairs", "triples", "latents", "dataset")
    options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    result = {
        "options": options | {"confident_from": latents.CONFIDENT},
        "generators": [
            entry | {"rates": without(summary, LARGE)} for entry, summary in zip(entries, summaries, strict=True)
        ],
        "pooled": pooled,
        "ranges": ranges,
        "provenance": utils.provenance(utils.pick_device(args)),
    }
    path = args.out_dir / f"{study}{args.suffix}.json"
    text = json.dumps(result, indent=1, default=str)
    with utils.written_whole(path) as temporary:  # as utils.save_json does, but a list of numbers stays on one line
        temporary.write_text(re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match[0].split()), text) + "\n")
    print(f"numbers: {path}")


def without(summary, names):
    """A nested dictionary without the entries called `names`, at any depth."""
    if not isinstance(summary, dict):
        return summary
    return {name: without(value, names) for name, value in summary.items() if name not in names}
