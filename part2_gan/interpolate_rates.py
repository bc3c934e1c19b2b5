"""Figure 6 a thousand times: is 1 between 7 and 6, is it between other digits, and on which path?

    python interpolate_rates.py                                  # the generator in the repo, half a minute on one core
    python interpolate_rates.py --checkpoints ../results/part2_gan/*/checkpoint.pt
    python interpolate_rates.py --pairs 50 --tries 10000         # a first look

From 7 to 6, --pairs times, in 21 steps, every image read by the classifier, along

    line    (1 - a) z_7 + a z_6, whose norm falls from 10 to about 7 in the middle
    slerp   (sin((1 - a) w) z_7 + sin(a w) z_6) / sin w,  w the angle between them, which keeps the norm
            (White 2016, Sampling Generative Networks)
    fade    (1 - a) G(z_7) + a G(z_6): no walk in the latent space at all, the control
    real    the same between MNIST's test digits, where they are at hand

and the middles between all pairs of digits, a fifth of --pairs each: a middle is the same in both directions, so the
figure has the line above its diagonal and slerp below. How smooth a path is: its length in the classifier's 128
features over the distance of its ends (1: straight), and its largest step's share of it (1/20: even).

Writes interpolation_7_6.png, interpolation_pairs.png and the section `interpolation` of latent_study.json.
"""

from functools import partial
from itertools import combinations_with_replacement

import torch

import dataset
import utils
from gan import sample
from rates import (
    COLOURS,
    SURE,
    add_study_options,
    draw,
    every_generator,
    look,
    rate,
    rate_by_column,
    save_section,
    tallies,
    view,
)

STEPS, MIDDLE = 21, 10
WAYS = {
    "line": "straight line",
    "slerp": "slerp",
    "fade": "cross-fade of the images",
    "real": "cross-fade of test digits",
}
PAIRS = list(combinations_with_replacement(range(10), 2))


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


def follow(way, digits, confidences, features):
    """What is kept of paths (n, k): readings, the features' step lengths (n, k - 1), the distance of its ends (n,)."""
    return {
        f"{way}_digits": digits,
        f"{way}_confidences": confidences,
        f"{way}_steps": features.diff(dim=1).norm(dim=-1),
        f"{way}_apart": (features[:, -1] - features[:, 0]).norm(dim=-1),
    }


def fade(way, classifier, start, end, alpha):
    """`follow` along pixel-wise cross-fades between images (n, 784)."""
    ends = zip(start.split(100), end.split(100), strict=True)
    parts = [view(classifier, line(first, last, alpha).flatten(0, 1)) for first, last in ends]
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return follow(way, *(column.unflatten(0, (len(start), len(alpha))) for column in columns))


def middles(generator, classifier, pools, source, count):
    """Readings of the middles between `count` latents of each of PAIRS, (count, 55); -1 for a digit without latents.

    The pair of a digit with itself is two different latents of that digit.
    """
    result = {}
    for way in "line", "slerp":
        result[f"middles_{way}_digits"] = torch.full((count, len(PAIRS)), -1, dtype=torch.int8)
        result[f"middles_{way}_confidences"] = torch.zeros(count, len(PAIRS))
    for column, (a, b) in enumerate(PAIRS):
        if not (len(pools[a]) and len(pools[b])):
            continue
        start = draw(pools[a], count, source)
        end = start.roll(1, 0) if a == b else draw(pools[b], count, source)
        for way, path in ("line", line), ("slerp", slerp):
            digits, confidences, _ = look(generator, classifier, path(start, end, torch.tensor([0.5])))
            result[f"middles_{way}_digits"][:, column] = digits.flatten()
            result[f"middles_{way}_confidences"][:, column] = confidences.flatten()
    return result


def measure(generator, classifier, pools, source, pairs, real):
    """All readings for one generator, one row a pair of latents; `real` is None or test images {7: (n, 784), 6: ..}."""
    alpha = torch.linspace(0, 1, STEPS)
    start, end = (draw(pools[digit], pairs, source) for digit in (7, 6))
    result = follow("line", *look(generator, classifier, line(start, end, alpha)))
    result |= follow("slerp", *look(generator, classifier, slerp(start, end, alpha)))
    result |= fade("fade", classifier, sample(generator, start), sample(generator, end), alpha)
    if real:
        first, last = (draw(real[digit], pairs, source).to(start.device) for digit in (7, 6))
        result |= fade("real", classifier, first, last, alpha)
    return result | middles(generator, classifier, pools, source, pairs // 5)


def quartiles(values):
    """The lower quartile, the median and the upper quartile of a tensor."""
    return torch.quantile(values.double(), torch.tensor([0.25, 0.5, 0.75]).double()).tolist()


def summarise(raw):
    """What `measure` returned, as counts and rates with intervals."""
    summary = {}
    for way in (way for way in WAYS if f"{way}_digits" in raw):
        digits, confidences, steps = (raw[f"{way}_{name}"] for name in ("digits", "confidences", "steps"))
        read = digits.unsqueeze(2) == torch.arange(10)
        sure = read & (confidences >= SURE).unsqueeze(2)
        length = steps.sum(1)
        summary[way] = {
            "middle_reads_1": rate(read[:, MIDDLE, 1]),
            "middle_surely_reads_1": rate(sure[:, MIDDLE, 1]),
            "passes_digit": rate_by_column(read.any(1)),
            "surely_passes_digit": rate_by_column(sure.any(1)),
            "length_over_distance": quartiles(length / raw[f"{way}_apart"].clamp(min=1e-6)),
            "largest_step": quartiles(steps.max(1).values / length.clamp(min=1e-6)),
            "along": tallies(digits, confidences),
        }
    ends = torch.tensor(PAIRS)
    different = ends[:, 0] != ends[:, 1]
    others = different & (ends != 1).all(1) & (ends != torch.tensor([6, 7])).any(1)
    for way in "line", "slerp":
        digits = raw[f"middles_{way}_digits"]
        third, there = (digits.unsqueeze(2) != ends).all(2), digits >= 0
        summary[f"middles_{way}"] = {
            "reads_third_digit": rate(third[:, different][there[:, different]]),
            "reads_1_between_others": rate((digits == 1)[:, others][there[:, others]]),
            "pairs": {"ends": PAIRS} | tallies(digits, raw[f"middles_{way}_confidences"]),
        }
    return summary


def headlines(summary):
    """The numbers of a summary that are compared over generators."""
    numbers = {}
    for way in (way for way in WAYS if way in summary):
        result = summary[way]
        numbers |= {
            f"7 to 6, {WAYS[way]}: the middle reads 1": result["middle_reads_1"]["rate"],
            f"7 to 6, {WAYS[way]}: the middle surely reads 1": result["middle_surely_reads_1"]["rate"],
            f"7 to 6, {WAYS[way]}: 1 anywhere": result["passes_digit"]["rate"][1],
            f"7 to 6, {WAYS[way]}: surely 1 anywhere": result["surely_passes_digit"]["rate"][1],
            f"7 to 6, {WAYS[way]}: median length over distance": result["length_over_distance"][1],
            f"7 to 6, {WAYS[way]}: median share of the largest step": result["largest_step"][1],
        }
    for way in "line", "slerp":
        middle = summary[f"middles_{way}"]
        numbers[f"two digits, {WAYS[way]}: the middle reads a third"] = middle["reads_third_digit"]["rate"]
        between = f"two digits, neither a 1 and not 7 and 6, {WAYS[way]}: the middle reads 1"
        numbers[between] = middle["reads_1_between_others"]["rate"]
    return numbers


def print_table(summary):
    """Print the rates of 1 on the way from 7 to 6, in percent, and how smooth the ways are, as a Markdown table."""

    def percent(share, low, high):
        return "none" if share is None else f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})"

    names = ("7 to 6", "middle reads 1", "surely", "1 anywhere", "surely", "length / distance", "largest step's share")
    print(f"\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")
    for way in (way for way in WAYS if way in summary):
        result = summary[way]
        middle = (result[name] for name in ("middle_reads_1", "middle_surely_reads_1"))
        passes = (result[name] for name in ("passes_digit", "surely_passes_digit"))
        cells = [percent(found["rate"], *found["interval"]) for found in middle]
        cells += [percent(*(found[key][1] for key in ("rate", "low", "high"))) for found in passes]
        cells += [f"{result[name][1]:.2f}" for name in ("length_over_distance", "largest_step")]
        print(f"| {' | '.join([WAYS[way], *cells])} |")
    for way in "line", "slerp":
        found = (summary[f"middles_{way}"][name] for name in ("reads_third_digit", "reads_1_between_others"))
        third, one = (percent(each["rate"], *each["interval"]) for each in found)
        print(f"{WAYS[way]}: middles of two digits read a third {third} %; of two but 7 and 6, and no 1, a 1 {one} %")
    print()


def draw_paths(summary, path, foot, data):
    """interpolation_7_6.png: what is read along the paths from 7 to 6, as stacked shares."""
    ways = ("line", "slerp", "fade")
    counts = {way: torch.tensor(summary[way]["along"]["read"]).double() for way in ways}
    most = sum(counts.values()).sum(0).argsort(descending=True).tolist()
    others = [digit for digit in most if digit not in (7, 1, 6)]
    layers = [[7], [1], others[:1], others[1:2], others[2:], [6]]  # bottom to top
    colours = [COLOURS[7], COLOURS[1], "#F0E442", "#56B4E9", "0.75", COLOURS[6]]
    names = [str(digits[0]) if len(digits) == 1 else "any other" for digits in layers]
    figure, axes = utils.plt.subplots(len(ways), 1, figsize=(8, 8), sharex=True)
    for ax, way in zip(axes, ways, strict=True):
        percent = 100 * counts[way] / counts[way].sum(1, keepdim=True)
        shares = [percent[:, digits].sum(1) for digits in layers]
        areas = ax.stackplot(torch.linspace(0, 1, STEPS), shares, colors=colours, ec="w", lw=0.5)
        middle, passed = summary[way]["middle_reads_1"]["rate"], summary[way]["passes_digit"]["rate"][1]
        ax.set_title(f"{WAYS[way]}: 1 in the middle {middle:.0%}, anywhere {passed:.0%}", loc="left")
        ax.set(xlim=(0, 1), ylim=(0, 100), ylabel="images read as (%)")
        ax.grid(False)
    axes[-1].set_xlabel("alpha, from the 7 to the 6")
    figure.legend(areas[::-1], names[::-1], loc="outside right upper", title="read as")
    utils.save_figure(figure, path, f"{foot}; {summary['line']['middle_reads_1']['of']:,} pairs of latents", data)


def draw_middles(summary, path, foot, data):
    """interpolation_pairs.png: what is read most often in the middle of every two digits, and how often."""
    figure, ax = utils.plt.subplots(figsize=(8, 7.6))
    table = torch.full((10, 10), float("nan"))
    for way, lower in ("line", False), ("slerp", True):
        pairs = summary[f"middles_{way}"]["pairs"]
        for (a, b), of, counts in zip(PAIRS, pairs["of"], pairs["read"], strict=True):
            if not of or (lower and a == b):
                continue
            row, column = (b, a) if lower else (a, b)
            digit, share = counts.index(max(counts)), 100 * max(counts) / of
            table[row, column], third = share, digit not in (a, b)
            ax.text(
                *(column, row, f"{digit}\n{share:.0f}%"),
                **{"ha": "center", "va": "center", "fontsize": 10, "fontweight": "bold" if third else "normal"},
                color="white" if share > 60 else "black",
            )
            if third:
                ax.add_patch(utils.plt.Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, fc="none", ec=COLOURS[6], lw=2))
    shown = ax.imshow(table.numpy(), cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(shown, ax=ax, shrink=0.8, label="share of the most frequent reading (%)")
    ax.set(xticks=range(10), yticks=range(10), xlabel="digit at one end", ylabel="digit at the other end")
    ax.set_title(
        "Most frequent reading in the middle between two digits\nabove the diagonal: straight line, below: slerp"
    )
    ax.grid(False)
    of = max(summary["middles_line"]["pairs"]["of"])
    utils.save_figure(figure, path, f"{foot}; {of} pairs of latents a cell; framed: neither of the two digits", data)


def real_digits(args):
    """Test images {7: (n, 784), 6: (n, 784)} in [-1, 1], or None where MNIST is not in --data-dir: never downloaded.

    Raises utils.InputError where they cannot be read, or where --limit leaves no 7 or no 6.
    """
    if args.dataset == "mnist" and not any(args.data_dir.glob("MNIST/raw/t10k-images*")):
        print(f"no MNIST in {args.data_dir}: without the cross-fades of test digits (see --data-dir)")
        return None
    images, labels = dataset.load(args, train=False)
    digits = {digit: dataset.scale(images[labels == digit]) for digit in (7, 6)}
    if not all(len(images) for images in digits.values()):
        raise utils.InputError(f"--limit {args.limit}: no 7 or no 6 among so few test digits; take more")
    return digits


def main():
    parser = utils.Parser("Figure 6 as rates: what is read on the way between two latents, over many of them.")
    parser.add_argument(
        "--pairs", type=utils.number(int, low=10, high=10**5), default=1000, help="of a 7 and a 6; a fifth of others"
    )
    add_study_options(parser)
    dataset.add_data_options(parser)
    args = parser.parse_args()
    measure_all = partial(measure, pairs=args.pairs, real=real_digits(args))
    entries, measured, pooled, foot = every_generator(args, [7, 6], measure_all)
    summary = summarise(pooled)
    for name, function in {"interpolation_7_6": draw_paths, "interpolation_pairs": draw_middles}.items():
        function(summary, args.figures_dir / f"{name}.png", foot, args.dataset)
        print(f"figure: {args.figures_dir / name}.png")
    print_table(summary)
    save_section(args, "interpolation", entries, [summarise(raw) for raw in measured], summary, headlines)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
