"""What the studies of the latent space share: many latents, what they read as, rates with intervals.

    pool_latents -> draw -> arithmetic on z -> look -> tallies and rates

interpolate_rates.py, arithmetic_rates.py and directions.py measure one generator or several and write a section each of
latent_study.json: every generator by itself, all of them pooled, and the spread over them. The intervals hold for the
very generators that were measured; what another training run would give, only the spread can tell.
"""

import json
import math
import re
from pathlib import Path

import torch
import torch.nn.functional as F

import utils
from classifier import pool_latents
from gan import LATENT_DIM, sample
from interpolate import load_networks
from metrics import look as see
from metrics import wilson

SURE = 0.9  # from this confidence on a reading counts as sure; figures 6 to 8 mark the others with "?"
COLOURS = {7: "#0072B2", 6: "#D55E00", 1: "#009E73"}  # told apart with every common colour vision
LARGE = ("along", "pairs", "shift", "shift_random")  # counts that are kept of all generators together only


def rate(seen):
    """The share of True in a boolean tensor: {count, of, rate, interval}; the rate of nothing is None."""
    count, total = int(seen.sum()), seen.numel()
    return {"count": count, "of": total, "rate": count / total if total else None, "interval": wilson(count, total)}


def rate_by_column(seen):
    """The share of True in each column of a boolean tensor (n, k): {of, count: [k], rate: [k], low: [k], high: [k]}."""
    counts, total = seen.sum(0).tolist(), len(seen)
    low, high = zip(*(wilson(count, total) for count in counts), strict=True)
    return {"of": total, "count": counts, "rate": [count / total for count in counts], "low": low, "high": high}


def tallies(digits, confidences):
    """How often each digit is read, over the first dimension of readings (n, ...); -1 stands for no image.

    Returns {of: [...], read: [... [10 counts]], sure: [... [10 counts]]}, `sure` with a confidence of at least SURE.
    """
    read = digits.unsqueeze(-1) == torch.arange(10)
    sure = read & (confidences >= SURE).unsqueeze(-1)
    return {"of": (digits >= 0).sum(0).tolist(), "read": read.sum(0).tolist(), "sure": sure.sum(0).tolist()}


@torch.no_grad()
def view(classifier, images):
    """Readings and features of images (n, 784): digits (n,) int8, confidences (n,), features (n, 128), on the CPU."""
    features, probabilities = see(classifier, images)
    confidences, digits = probabilities.max(1)
    return digits.to(torch.int8).cpu(), confidences.cpu(), features.cpu()


def look(generator, classifier, z):
    """`view` of the images of latents z (..., latent_dim): digits (...), confidences (...), features (..., 128)."""
    parts = [view(classifier, sample(generator, part)) for part in z.flatten(0, -2).split(2000)]
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return tuple(column.unflatten(0, z.shape[:-1]) for column in columns)


def draw(pool, count, source, mean_of=1):
    """`count` rows of a pool (n, d), or means of `mean_of` of them, as (count, d).

    The pool is shuffled and dealt, and again when it is used up, so that all its rows are used equally often.
    """
    wanted = count * mean_of
    order = torch.cat([torch.randperm(len(pool), generator=source) for _ in range(-(-wanted // len(pool)))])
    return F.embedding_bag(order[:wanted].reshape(count, mean_of).to(pool.device), pool, mode="mean")


def on_shell(z):
    """Latents (..., latent_dim) scaled to the norm sqrt(latent_dim) = 10; those of N(0, 1) have 9.97 on average."""
    return F.normalize(z, dim=-1) * math.sqrt(LATENT_DIM)


def add_study_options(parser):
    """Add the options that all studies have."""
    parser.add_argument(
        "--checkpoints", type=Path, nargs="+", default=[None], help="generators (default: the one in the repo)"
    )
    parser.add_argument("--classifier", type=Path, help="the reader of digits (default: the one in the repo)")
    parser.add_argument(
        "--tries", type=utils.number(int, low=2000, high=10**7), default=40_000, help="latents to draw for the pools"
    )
    parser.add_argument(
        "--confidence", type=utils.number(float, low=0, high=1), default=0.999, help="how sure pooled ones must be read"
    )
    utils.add_common_options(parser)


def every_generator(args, needed, measure):
    """Measure all generators that `args` names; each must draw the digits `needed`.

    `measure(generator, classifier, pools, source)` gets the pools of `pool_latents` and a torch.Generator for its own
    draws, and returns a dictionary of tensors, one row a sample.

    Returns one entry {checkpoint, config, pools: 10 counts} for each generator, their measurements, all measurements
    pooled, and one line for the figures' feet. Raises utils.InputError as `load_networks` and `pool_latents` do.
    """
    entries, measured, kinds = [], [], {}
    for path in args.checkpoints:
        args.checkpoint = path
        generator, classifier, config, foot = load_networks(args)
        name = "generator.pt" if path is None else f"{path.resolve().parent.name}/{path.name}"
        try:
            pools = pool_latents(generator, classifier, needed, args.seed, args.confidence, args.tries)
        except utils.InputError as error:
            raise utils.InputError(f"{name}: {error}") from None
        sizes = [len(pools[digit]) for digit in range(10)]
        print(f"{name}: of {args.tries:,} latents, surely read as 0 to 9: {sizes}", flush=True)
        source = torch.Generator().manual_seed(30_000 + args.seed)  # not the pools' own random numbers
        measured.append(measure(generator, classifier, pools, source))
        entries.append({"checkpoint": name, "config": config, "pools": sizes})
        kind = f"{config['arch']} GANs, BatchNorm eps {config['bn_eps']:g}, {config['epochs']} epochs"
        kinds.setdefault(kind, []).append(str(config["seed"]))
    pooled = {key: torch.cat([result[key] for result in measured]) for key in measured[0]}
    if len(entries) > 1:
        title, _, *rest = foot.split("; ")
        all_kinds = " and ".join(f"{kind}, seeds {' '.join(seeds)}" for kind, seeds in kinds.items())
        foot = "; ".join([title, f"{len(entries)} generators pooled: {all_kinds}", *rest])
    return entries, measured, pooled, foot


def save_section(args, section, entries, summaries, pooled, headlines):
    """Write one section of latent_study.json, the others left as they are, and print the spread over generators.

    `summaries` has one summary for each generator and `pooled` is the one over all; `headlines(summary)` picks
    {what: number or None} from either, for the spread over the generators.
    """
    spread, each = {}, [headlines(summary) for summary in summaries]
    for what, overall in headlines(pooled).items():
        values = [numbers[what] for numbers in each]
        found = [value for value in values if value is not None]
        low, high = min(found, default=None), max(found, default=None)
        spread[what] = {"pooled": overall, "min": low, "max": high, "generators": values}
        if len(found) > 1:
            print(f"{what}: {overall:.3f} ({low:.3f} to {high:.3f} over {len(found)} generators)")
    options = ("seed", "tries", "confidence", "pairs", "triples", "latents", "dataset")
    result = {
        "options": {name: getattr(args, name) for name in options if hasattr(args, name)} | {"sure_from": SURE},
        "generators": [
            entry | {"rates": without(summary, LARGE)} for entry, summary in zip(entries, summaries, strict=True)
        ],
        "pooled": pooled,
        "spread": spread,
        "provenance": utils.provenance(utils.pick_device(args)),
    }
    path = args.out_dir / "latent_study.json"
    sections = json.loads(path.read_text()) if path.exists() else {}
    text = json.dumps(sections | {section: result}, indent=1, default=str)
    with utils.written_whole(path) as temporary:  # as utils.save_json does, but a list of numbers stays on one line
        temporary.write_text(re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match[0].split()), text) + "\n")
    print(f"numbers: {path}")


def without(summary, names):
    """A nested dictionary without the entries called `names`, at any depth."""
    if not isinstance(summary, dict):
        return summary
    return {name: without(value, names) for name, value in summary.items() if name not in names}
