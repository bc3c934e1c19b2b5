"""Figures 7 and 8 thousands of times: how often is 6 + (7 - 1) a 9, and is it the roof that does it?

    python arithmetic_rates.py                               # the generator in the repo, about a minute on one core
    python arithmetic_rates.py --checkpoints ../results/part2_gan/*/checkpoint.pt
    python arithmetic_rates.py --triples 100 --tries 10000   # a first look

    z_6 + s (z_7 - z_1),   s = 0 to 2,   --triples times, every image read by the classifier

Equation (9) has s = 1.2. Equation (10) has, by the figure it is read off, s = 0.96: the image at 1 - alpha = 0.8 of the
way from z_6 to z_6 + 1.2 (z_7 - z_1). As it is written, it is 1.8 z_6 + 0.96 (z_7 - z_1). Both are measured.

Each z is one latent or a mean, of 3 (Radford et al. 2015, DCGAN) or of 100. The generator was trained on latents of
norm 10; the sum of single ones has 17, of means of 3 again 10, of means of 100 only 3. So both ends also `on the
shell`, the sum scaled to norm 10. Controls, a quarter of --triples each: in the place of z_7 - z_1 a random direction
as long, or the difference z_a - z_b of two random digits, none of them 9, and not 7 and 1. Means of 100 of one pool are
nearly the same vector each time, so that their intervals say little about other pools.

Writes arithmetic_rates.png and the section `arithmetic` of latent_study.json; prints what is read as a Markdown table.
"""

from functools import partial

import torch
import torch.nn.functional as F

import utils
from rates import (
    COLOURS,
    SURE,
    add_study_options,
    draw,
    every_generator,
    look,
    on_shell,
    rate_by_column,
    save_section,
    tallies,
)

# name: (label, latents in a mean, whether the sum is scaled to the shell)
WAYS = {
    "one": ("one latent a digit", 1, False),
    "one_shell": ("one latent, on the shell", 1, True),
    "mean3": ("mean of 3", 3, False),
    "mean100": ("mean of 100", 100, False),
    "mean100_shell": ("mean of 100, on the shell", 100, True),
}
CONTROLS = {"others": "other digits' z_a - z_b", "random": "a random direction"}
STRENGTHS = sorted([step / 10 for step in range(21)] + [0.96])
CONTROL_STRENGTHS = [step / 5 for step in range(11)]


def sums(base, direction, strengths, shell):
    """base + s direction: latents (n, d) at strengths (k,), as (n, k, d), and scaled to the shell if `shell`."""
    z = base.unsqueeze(1) + torch.tensor(strengths).to(base).reshape(-1, 1) * direction.unsqueeze(1)
    return on_shell(z) if shell else z


def random_like(vectors, source):
    """Random directions, each as long as its counterpart in `vectors` (..., d)."""
    noise = torch.randn(vectors.shape, generator=source).to(vectors)
    return F.normalize(noise, dim=-1) * vectors.norm(dim=-1, keepdim=True)


def other_differences(pools, count, source, mean_of):
    """z_a - z_b (count, latent_dim) of random digits a, b: neither is 9, and they are not 7 and 1 in this order."""
    digits = [digit for digit in range(9) if len(pools[digit])]
    latents = torch.stack([draw(pools[digit], count, source, mean_of) for digit in digits])
    pairs = [(i, j) for i, a in enumerate(digits) for j, b in enumerate(digits) if a != b and (a, b) != (7, 1)]
    first, second = torch.tensor(pairs)[torch.randint(len(pairs), (count,), generator=source)].T
    rows = torch.arange(count)
    return latents[first, rows] - latents[second, rows]


def measure(generator, classifier, pools, source, triples):
    """All readings for one generator, one row a triple of latents, one column a strength."""
    result = {}

    def read(name, z):
        result[f"{name}_digits"], result[f"{name}_confidences"], _ = look(generator, classifier, z)

    for way, (_, mean_of, shell) in WAYS.items():
        z_1, z_6, z_7 = (draw(pools[digit], triples, source, mean_of) for digit in (1, 6, 7))
        roof = z_7 - z_1  # (8)
        read(f"{way}_roof", sums(z_6, roof, STRENGTHS, shell))
        read(f"{way}_written", sums(1.8 * z_6, roof, [0.96], shell))  # (10)
        result[f"{way}_norms"] = torch.stack([z_6.norm(dim=1), roof.norm(dim=1), (z_6 + roof).norm(dim=1)], 1).cpu()
        z_6, roof = z_6[: triples // 4], roof[: triples // 4]
        read(f"{way}_random", sums(z_6, random_like(roof, source), CONTROL_STRENGTHS, shell))
        others = other_differences(pools, len(z_6), source, mean_of)
        read(f"{way}_others", sums(z_6, others, CONTROL_STRENGTHS, shell))
    return result


def curve(raw, name, strengths):
    """Readings (n, strengths) as rates of 9 with intervals, and all of them as counts."""
    digits, confidences = raw[f"{name}_digits"], raw[f"{name}_confidences"]
    return {
        "strengths": strengths,
        "reads_9": rate_by_column(digits == 9),
        "surely_reads_9": rate_by_column((digits == 9) & (confidences >= SURE)),
        "along": tallies(digits, confidences),
    }


def summarise(raw):
    """What `measure` returned, as counts and rates with intervals."""
    summary = {}
    for way, (label, _, _) in WAYS.items():
        norms = raw[f"{way}_norms"].median(0).values.tolist()
        summary[way] = {
            "label": label,
            "median_norms": dict(zip(("z_6", "z_roof", "sum"), norms, strict=True)),
            "roof": curve(raw, f"{way}_roof", STRENGTHS),
            "written": curve(raw, f"{way}_written", [0.96]),
        }
        summary[way] |= {control: curve(raw, f"{way}_{control}", CONTROL_STRENGTHS) for control in CONTROLS}
    return summary


def columns_of_interest(result):
    """What the table and the headlines take from a way's summary: {name: (curve, column)}."""
    return {
        "equation (10) as in its figure, s = 0.96": (result["roof"], STRENGTHS.index(0.96)),
        "s = 1": (result["roof"], STRENGTHS.index(1.0)),
        "equation (9), s = 1.2": (result["roof"], STRENGTHS.index(1.2)),
        "equation (10) as written": (result["written"], 0),
        **{f"{what}, s = 1": (result[name], CONTROL_STRENGTHS.index(1.0)) for name, what in CONTROLS.items()},
    }


def headlines(summary):
    """The numbers of a summary that are compared over generators."""
    numbers = {}
    for way, (label, _, _) in WAYS.items():
        for name, (result, column) in columns_of_interest(summary[way]).items():
            for key, reads in ("reads_9", "reads 9"), ("surely_reads_9", "surely reads 9"):
                numbers[f"{label}, {name}: {reads}"] = result[key]["rate"][column]
    return numbers


def print_table(summary):
    """Print what the sums read as, in percent, as a Markdown table."""
    print("\n| 6 + s (7 - 1) | read as 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | surely 9 |\n|" + " --- |" * 12)
    for way, (label, _, _) in WAYS.items():
        for name, (result, column) in columns_of_interest(summary[way]).items():
            counts = [*result["along"]["read"][column], result["along"]["sure"][column][9]]
            shares = (f"{100 * count / result['along']['of'][column]:.1f}" for count in counts)
            print(f"| {label}, {name} | {' | '.join(shares)} |")
    print()


def draw_rates(summary, each, path, foot, data):
    """arithmetic_rates.png: the rate of 9 over the strength, a panel for each way to add, with its controls."""
    figure, axes = utils.plt.subplots(2, 3, figsize=(11, 7), sharex=True, sharey=True)
    lines = [
        ("roof", "reads_9", "s (z_7 - z_1), read as 9", COLOURS[6], "-"),
        ("roof", "surely_reads_9", f"the same, with confidence {SURE:g}", COLOURS[6], ":"),
        ("others", "reads_9", "s (z_a - z_b), other digits", COLOURS[7], "--"),
        ("random", "reads_9", "s times a random direction", "0.35", "-."),
    ]
    for ax, (way, (label, _, _)) in zip(axes.flat, WAYS.items(), strict=False):
        for direction, what, name, colour, style in lines:
            strengths, result = summary[way][direction]["strengths"], summary[way][direction][what]
            middle, low, high = ([100 * value for value in result[key]] for key in ("rate", "low", "high"))
            ax.plot(strengths, middle, style, color=colour, lw=2, label=name)
            if style != ":":
                ax.fill_between(strengths, low, high, color=colour, alpha=0.2, lw=0)
        for other in each if len(each) > 1 else []:
            values = [100 * value for value in other[way]["roof"]["reads_9"]["rate"]]
            ax.plot(STRENGTHS, values, color=COLOURS[6], lw=0.7, label="each generator")
        shown, written = summary[way]["roof"]["reads_9"]["rate"], summary[way]["written"]["reads_9"]["rate"]
        marks = {"ls": "", "color": "black", "zorder": 3}
        ax.plot(0.96, 100 * shown[STRENGTHS.index(0.96)], marker="o", ms=6, label="equation (10), its figure", **marks)
        ax.plot(0.96, 100 * written[0], marker="X", ms=8, label="equation (10), as written", **marks)
        ax.axvline(1.2, color="0.5", lw=1, label="equation (9), s = 1.2")
        ax.set_title(label)
        ax.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("images read as 9 (%)")
    for ax in (*axes[1, :2], axes[0, 2]):
        ax.set_xlabel("strength s")
    axes[0, 0].set_xlim(0, 2)
    axes[1, 2].set_axis_off()
    handles, names = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axes[1, 2].legend(unique.values(), unique.keys(), loc="center", title="z_6 plus")
    of, controls = (summary["one"][name]["reads_9"]["of"] for name in ("roof", "random"))
    utils.save_figure(figure, path, f"{foot}; {of:,} triples, controls {controls:,}; bands: 95 % (Wilson)", data)


def main():
    parser = utils.Parser("Figures 7 and 8 as rates: what z_6 + s (z_7 - z_1) reads as, over many latents.")
    parser.add_argument(
        "--triples", type=utils.number(int, low=20, high=10**5), default=2000, help="of a 1, a 6 and a 7"
    )
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="whose networks to take")
    add_study_options(parser)
    args = parser.parse_args()
    entries, measured, pooled, foot = every_generator(args, [1, 6, 7], partial(measure, triples=args.triples))
    each, summary = [summarise(raw) for raw in measured], summarise(pooled)
    draw_rates(summary, each, args.figures_dir / "arithmetic_rates.png", foot, args.dataset)
    print(f"figure: {args.figures_dir / 'arithmetic_rates.png'}")
    print_table(summary)
    save_section(args, "arithmetic", entries, each, summary, headlines)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
