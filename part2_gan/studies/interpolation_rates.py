"""Figure 6 as rates: is 1 between 7 and 6, is it between other digits, and on which path?

    python -m studies.interpolation_rates             # the generator in the repository, half a minute on one core
    python -m studies.interpolation_rates --checkpoints ../results/part2_gan/dynamics/*/checkpoint.pt
    python -m studies.interpolation_rates --classifier ../results/part2_gan/classifier_mlp.pt
    python -m studies.interpolation_rates --pairs 50 --tries 10000     # a quick try

From 7 to 6, --pairs times, in 21 steps, every image classified, along

    line    (1 - a) z_7 + a z_6, whose norm falls from 10 to about 7 in the middle
    slerp   (sin((1 - a) w) z_7 + sin(a w) z_6) / sin w,  w the angle between them, which keeps the norm
            (White 2016, Sampling Generative Networks)
    fade    (1 - a) G(z_7) + a G(z_6): not a path in the latent space, a control
    real    the same between MNIST's test digits, where they are at hand

and the middles between all pairs of digits, a fifth of --pairs each: a middle is the same in both directions, so the
figure has the line above its diagonal and slerp below. How smooth a path is: its length in the classifier's 128
features over the distance of its ends (1: straight), and its largest step's share of it (1/20: even).

Reads the generators, the classifier and, where they are at hand, the test digits. Writes interpolation_7_6.png,
interpolation_pairs.png and interpolation_rates.json; with another kind of classifier their names end in _mlp.
"""

from functools import partial
from itertools import combinations_with_replacement

import torch

import dataset
import latents
import utils
from gan import sample
from studies import rates

STEPS, MIDDLE = 21, 10
PATHS = {
    "line": "straight line",
    "slerp": "slerp",
    "fade": "cross-fade of the images",
    "real": "cross-fade of test digits",
}
PAIRS = list(combinations_with_replacement(range(10), 2))


def follow(path, digits, confidences, features):
    """What is kept of paths (n, k): classes, the features' step lengths (n, k - 1), the distance of the ends (n,)."""
    return {
        f"{path}_digits": digits,
        f"{path}_confidences": confidences,
        f"{path}_steps": features.diff(dim=1).norm(dim=-1),
        f"{path}_apart": (features[:, -1] - features[:, 0]).norm(dim=-1),
    }


def fade(path, classifier, start, end, alpha):
    """`follow` along pixel-wise cross-fades between images (n, 784)."""
    ends = zip(start.split(100), end.split(100), strict=True)
    faded = [latents.line(first, last, alpha).flatten(0, 1) for first, last in ends]
    parts = [rates.classify_images(classifier, images) for images in faded]
    columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return follow(path, *(column.unflatten(0, (len(start), len(alpha))) for column in columns))


def middles(generator, classifier, groups, source, count):
    """Classes of the middles between `count` latents of each of PAIRS, (count, 55); -1 for a digit without latents.

    The pair of a digit with itself is two different latents of that digit.
    """
    result = {}
    for path in "line", "slerp":
        result[f"middles_{path}_digits"] = torch.full((count, len(PAIRS)), -1, dtype=torch.int8)
        result[f"middles_{path}_confidences"] = torch.zeros(count, len(PAIRS))
    for column, (a, b) in enumerate(PAIRS):
        if not (len(groups[a]) and len(groups[b])):
            continue
        start = rates.deal(groups[a], count, source)
        end = start.roll(1, 0) if a == b else rates.deal(groups[b], count, source)
        for path, function in ("line", latents.line), ("slerp", latents.slerp):
            middle = function(start, end, torch.tensor([0.5]))
            digits, confidences, _ = rates.classify_latents(generator, classifier, middle)
            result[f"middles_{path}_digits"][:, column] = digits.flatten()
            result[f"middles_{path}_confidences"][:, column] = confidences.flatten()
    return result


def measure(generator, classifier, groups, source, pairs, real):
    """All classes for one generator, a row a pair of latents; `real` is None or test images {7: (n, 784), 6: ...}."""
    alpha, result = torch.linspace(0, 1, STEPS), {}
    start, end = (rates.deal(groups[digit], pairs, source) for digit in (7, 6))
    for path, function in ("line", latents.line), ("slerp", latents.slerp):
        result |= follow(path, *rates.classify_latents(generator, classifier, function(start, end, alpha)))
    result |= fade("fade", classifier, sample(generator, start), sample(generator, end), alpha)
    if real:
        first, last = (rates.deal(real[digit], pairs, source).to(start.device) for digit in (7, 6))
        result |= fade("real", classifier, first, last, alpha)
    return result | middles(generator, classifier, groups, source, pairs // 5)


def quartiles(values):
    """The lower quartile, the median and the upper quartile of a tensor."""
    return torch.quantile(values.double(), torch.tensor([0.25, 0.5, 0.75]).double()).tolist()


def summarise(raw):
    """What `measure` returned, as counts and rates with intervals."""
    summary = {}
    for path in (path for path in PATHS if f"{path}_digits" in raw):
        digits, confidences, steps = (raw[f"{path}_{name}"] for name in ("digits", "confidences", "steps"))
        classified = digits.unsqueeze(2) == torch.arange(10)
        confident = classified & (confidences >= latents.CONFIDENT).unsqueeze(2)
        length = steps.sum(1)
        summary[path] = {
            "middle_is_1": rates.rate(classified[:, MIDDLE, 1]),
            "middle_is_confidently_1": rates.rate(confident[:, MIDDLE, 1]),
            "passes_digit": rates.rate_by_column(classified.any(1)),
            "passes_digit_confidently": rates.rate_by_column(confident.any(1)),
            "length_over_distance": quartiles(length / raw[f"{path}_apart"].clamp(min=1e-6)),
            "largest_step": quartiles(steps.max(1).values / length.clamp(min=1e-6)),
            "along": rates.count_digits(digits, confidences),
        }
    ends = torch.tensor(PAIRS)
    different = ends[:, 0] != ends[:, 1]
    others = different & (ends != 1).all(1) & (ends != torch.tensor([6, 7])).any(1)
    for path in "line", "slerp":
        digits = raw[f"middles_{path}_digits"]
        third, there = (digits.unsqueeze(2) != ends).all(2), digits >= 0
        summary[f"middles_{path}"] = {
            "is_third_digit": rates.rate(third[:, different][there[:, different]]),
            "is_1_between_others": rates.rate((digits == 1)[:, others][there[:, others]]),
            "pairs": {"ends": PAIRS} | rates.count_digits(digits, raw[f"middles_{path}_confidences"]),
        }
    return summary


def headlines(summary):
    """The numbers of a summary that are compared over generators."""
    numbers = {}
    for path in (path for path in PATHS if path in summary):
        result = summary[path]
        found = {
            "the middle is a 1": result["middle_is_1"]["rate"],
            "the middle is confidently a 1": result["middle_is_confidently_1"]["rate"],
            "1 anywhere": result["passes_digit"]["rate"][1],
            "confidently 1 anywhere": result["passes_digit_confidently"]["rate"][1],
            "median length over distance": result["length_over_distance"][1],
            "median share of the largest step": result["largest_step"][1],
        }
        numbers |= {f"7 to 6, {PATHS[path]}: {what}": value for what, value in found.items()}
    for path in "line", "slerp":
        middle = summary[f"middles_{path}"]
        numbers[f"two digits, {PATHS[path]}: the middle is a third digit"] = middle["is_third_digit"]["rate"]
        between = f"two digits, neither a 1 and not 7 and 6, {PATHS[path]}: the middle is a 1"
        numbers[between] = middle["is_1_between_others"]["rate"]
    return numbers


def print_table(summary):
    """Print how often a path from 7 to 6 passes a 1, in percent, and how smooth it is, as a Markdown table."""

    def percent(share, low, high):
        return "none" if share is None else f"{100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f})"

    names = ("7 to 6", "middle is a 1", "confidently", "1 anywhere", "confidently", "length / distance")
    names += ("largest step's share",)
    print(f"\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")
    for path in (path for path in PATHS if path in summary):
        result = summary[path]
        middle = (result[name] for name in ("middle_is_1", "middle_is_confidently_1"))
        passes = (result[name] for name in ("passes_digit", "passes_digit_confidently"))
        cells = [percent(found["rate"], *found["interval"]) for found in middle]
        cells += [percent(*(found[key][1] for key in ("rate", "low", "high"))) for found in passes]
        cells += [f"{result[name][1]:.2f}" for name in ("length_over_distance", "largest_step")]
        print(f"| {' | '.join([PATHS[path], *cells])} |")
    for path in "line", "slerp":
        found = (summary[f"middles_{path}"][name] for name in ("is_third_digit", "is_1_between_others"))
        third, one = (percent(each["rate"], *each["interval"]) for each in found)
        print(
            f"{PATHS[path]}: a third digit in the middle of two {third} %; a 1 where neither is a 1, 7-6 apart {one} %"
        )
    print()


def draw_paths(summary):
    """The classes along the paths from 7 to 6, as stacked shares."""
    paths = ("line", "slerp", "fade")
    counts = {path: torch.tensor(summary[path]["along"]["classified"]).double() for path in paths}
    most = sum(counts.values()).sum(0).argsort(descending=True).tolist()
    others = [digit for digit in most if digit not in (7, 1, 6)]
    layers = [[7], [1], others[:1], others[1:2], others[2:], [6]]  # bottom to top
    colours = [rates.COLOURS[7], rates.COLOURS[1], "#F0E442", "#56B4E9", "0.75", rates.COLOURS[6]]
    names = [str(digits[0]) if len(digits) == 1 else "others" for digits in layers]
    figure, axes = utils.plt.subplots(len(paths), 1, figsize=(8, 8), sharex=True)
    for ax, path in zip(axes, paths, strict=True):
        percent = 100 * counts[path] / counts[path].sum(1, keepdim=True)
        shares = [percent[:, digits].sum(1) for digits in layers]
        areas = ax.stackplot(torch.linspace(0, 1, STEPS), shares, colors=colours, ec="w", lw=0.5)
        middle, passed = summary[path]["middle_is_1"]["rate"], summary[path]["passes_digit"]["rate"][1]
        ax.set_title(f"{PATHS[path]}: 1 in the middle {middle:.0%}, anywhere {passed:.0%}", loc="left")
        ax.set(xlim=(0, 1), ylim=(0, 100), ylabel="share of images (%)")
        ax.grid(False)
    axes[-1].set_xlabel("alpha, from the 7 to the 6")
    figure.legend(areas[::-1], names[::-1], loc="outside right upper", title="classified as")
    return figure


def draw_middles(summary):
    """The most frequent class in the middle of every two digits, and how frequent it is."""
    figure, ax = utils.plt.subplots(figsize=(8, 7.6))
    table = torch.full((10, 10), float("nan"))
    for path, lower in ("line", False), ("slerp", True):
        pairs = summary[f"middles_{path}"]["pairs"]
        for (a, b), of, counts in zip(PAIRS, pairs["of"], pairs["classified"], strict=True):
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
                frame = {"fc": "none", "ec": rates.COLOURS[6], "lw": 2}
                ax.add_patch(utils.plt.Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, **frame))
    shown = ax.imshow(table.numpy(), cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(shown, ax=ax, shrink=0.8, label="share of the most frequent class (%)")
    ax.set(xticks=range(10), yticks=range(10), xlabel="digit at one end", ylabel="digit at the other end")
    ax.set_title("Most frequent class in the middle of two digits\nabove the diagonal: straight line, below: slerp")
    ax.grid(False)
    return figure


def real_digits(args):
    """Test images {7: (n, 784), 6: (n, 784)} in [-1, 1], or None where MNIST is not in --data-dir: never downloaded.

    Raises utils.InputError where they are damaged, or where --limit leaves no 7 or no 6.
    """
    if args.dataset == "mnist" and not dataset.find_files(args.data_dir, "images", train=False)[0]:
        print(f"no MNIST in {args.data_dir}: without the cross-fades of test digits (see --data-dir)")
        return None
    images, labels = dataset.load(args, train=False)
    digits = {digit: dataset.scale(images[labels == digit]) for digit in (7, 6)}
    if not all(len(images) for images in digits.values()):
        raise utils.InputError(f"--limit {args.limit}: no 7 or no 6 among so few test digits; take more")
    return digits


def main(argv=None):
    parser = utils.Parser("Figure 6 as rates: the classes on the path between two latents, over many of them.")
    parser.add_argument(
        "--pairs", type=utils.number(int, low=10, high=10**5), default=1000, help="of a 7 and a 6; a fifth of others"
    )
    rates.add_study_options(parser)
    dataset.add_data_options(parser)
    args = parser.parse_args(argv)
    measure_all = partial(measure, pairs=args.pairs, real=real_digits(args))
    entries, measured, pooled, foot = rates.measure_generators(args, [7, 6], measure_all)
    summary = summarise(pooled)
    pairs, of = summary["line"]["middle_is_1"]["of"], max(summary["middles_line"]["pairs"]["of"])
    rates.save_figures(
        args,
        {
            "interpolation_7_6": (draw_paths(summary), f"{foot}; {pairs:,} pairs of latents"),
            "interpolation_pairs": (
                draw_middles(summary),
                f"{foot}; {of} pairs of latents a cell; framed: neither of the two digits",
            ),
        },
    )
    print_table(summary)
    rates.save_study(args, "interpolation_rates", entries, [summarise(raw) for raw in measured], summary, headlines)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
