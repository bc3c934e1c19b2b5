"""Figures 7 and 8 as rates: how often is 6 + (7 - 1) a 9, and is it the roof that does it?

    python -m studies.arithmetic_rates              # the generator in the repository, about a minute on one core
    python -m studies.arithmetic_rates --checkpoints ../results/part2_gan/dynamics/*/checkpoint.pt
    python -m studies.arithmetic_rates --classifier ../results/part2_gan/classifier_mlp.pt
    python -m studies.arithmetic_rates --triples 100 --tries 10000     # a quick try

    z_6 + s (z_7 - z_1),   s = 0 to 2,   --triples times, every image classified

Equation (9) has s = 1.2. Equation (10) has, by the figure it is taken from, s = 0.96: the image at 1 - alpha = 0.8 of
the path from z_6 to z_6 + 1.2 (z_7 - z_1). As it is written, it is 1.8 z_6 + 0.96 (z_7 - z_1). Both are measured.

Each z is one latent or a mean, of 3 (Radford et al. 2015, DCGAN) or of 100. The generator was trained on latents of
norm 10; the sum of single ones has 17, of means of 3 again 10, of means of 100 only 3. So both ends also `on the
sphere`, the sum scaled to norm 10. Controls, a quarter of --triples each: in the place of z_7 - z_1 a random direction
as long, or the difference z_a - z_b of two random digits, none of them 9, and not 7 and 1. Means of 100 of one group
are nearly the same vector each time, so that their intervals say little about other groups.

Reads the generators and the classifier. Writes arithmetic_rates.png and arithmetic_rates.json (with another kind of
classifier their names end in _mlp), and prints the classes as a Markdown table.
"""

from functools import partial

import torch
import torch.nn.functional as F

import latents
import utils
from studies import rates

# name: (label, latents in a mean, whether the sum is scaled to the sphere)
SUMS = {
    "one": ("one latent a digit", 1, False),
    "one_sphere": ("one latent, on the sphere", 1, True),
    "mean3": ("mean of 3", 3, False),
    "mean100": ("mean of 100", 100, False),
    "mean100_sphere": ("mean of 100, on the sphere", 100, True),
}
CONTROLS = {"others": "other digits' z_a - z_b", "random": "a random direction"}
STRENGTHS = sorted([step / 10 for step in range(21)] + [0.96])
CONTROL_STRENGTHS = [step / 5 for step in range(11)]


def add(base, direction, strengths, sphere):
    """base + s direction: latents (n, d) at strengths (k,), as (n, k, d), and scaled to the sphere if `sphere`."""
    z = base.unsqueeze(1) + torch.tensor(strengths).to(base).reshape(-1, 1) * direction.unsqueeze(1)
    return latents.on_sphere(z) if sphere else z


def random_like(vectors, source):
    """Random directions, each as long as its counterpart in `vectors` (..., d)."""
    noise = torch.randn(vectors.shape, generator=source).to(vectors)
    return F.normalize(noise, dim=-1) * vectors.norm(dim=-1, keepdim=True)


def other_differences(groups, count, source, mean_of):
    """z_a - z_b (count, latent_dim) of random digits a, b: neither is 9, and they are not 7 and 1 in this order."""
    digits = [digit for digit in range(9) if len(groups[digit])]
    dealt = torch.stack([rates.deal(groups[digit], count, source, mean_of) for digit in digits])
    pairs = [(i, j) for i, a in enumerate(digits) for j, b in enumerate(digits) if a != b and (a, b) != (7, 1)]
    first, second = torch.tensor(pairs)[torch.randint(len(pairs), (count,), generator=source)].T
    rows = torch.arange(count)
    return dealt[first, rows] - dealt[second, rows]


def measure(generator, classifier, groups, source, triples):
    """All classes for one generator, a row a triple of latents, a column a strength."""
    result = {}

    def classify(name, z):
        digits, confidences, _ = rates.classify_latents(generator, classifier, z)
        result[f"{name}_digits"], result[f"{name}_confidences"] = digits, confidences

    for kind, (_, mean_of, sphere) in SUMS.items():
        z_1, z_6, z_7 = (rates.deal(groups[digit], triples, source, mean_of) for digit in (1, 6, 7))
        roof = z_7 - z_1  # (8)
        classify(f"{kind}_roof", add(z_6, roof, STRENGTHS, sphere))
        classify(f"{kind}_written", add(1.8 * z_6, roof, [0.96], sphere))  # (10)
        result[f"{kind}_norms"] = torch.stack([z_6.norm(dim=1), roof.norm(dim=1), (z_6 + roof).norm(dim=1)], 1).cpu()
        z_6, roof = z_6[: triples // 4], roof[: triples // 4]
        classify(f"{kind}_random", add(z_6, random_like(roof, source), CONTROL_STRENGTHS, sphere))
        others = other_differences(groups, len(z_6), source, mean_of)
        classify(f"{kind}_others", add(z_6, others, CONTROL_STRENGTHS, sphere))
    return result


def curve(raw, name, strengths):
    """Classes (n, strengths) as rates of 9 with intervals, and all of them as counts."""
    digits, confidences = raw[f"{name}_digits"], raw[f"{name}_confidences"]
    return {
        "strengths": strengths,
        "is_9": rates.rate_by_column(digits == 9),
        "is_confidently_9": rates.rate_by_column((digits == 9) & (confidences >= latents.CONFIDENT)),
        "along": rates.count_digits(digits, confidences),
    }


def summarise(raw):
    """What `measure` returned, as counts and rates with intervals."""
    summary = {}
    for kind, (label, _, _) in SUMS.items():
        norms = raw[f"{kind}_norms"].median(0).values.tolist()
        summary[kind] = {
            "label": label,
            "median_norms": dict(zip(("z_6", "z_roof", "sum"), norms, strict=True)),
            "roof": curve(raw, f"{kind}_roof", STRENGTHS),
            "written": curve(raw, f"{kind}_written", [0.96]),
        }
        summary[kind] |= {control: curve(raw, f"{kind}_{control}", CONTROL_STRENGTHS) for control in CONTROLS}
    return summary


def columns_of_interest(result):
    """What the table and the headlines take from a sum's summary: {name: (curve, column)}."""
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
    for kind, (label, _, _) in SUMS.items():
        for name, (result, column) in columns_of_interest(summary[kind]).items():
            for key, what in ("is_9", "is a 9"), ("is_confidently_9", "is confidently a 9"):
                numbers[f"{label}, {name}: {what}"] = result[key]["rate"][column]
    return numbers


def print_table(summary):
    """Print the classes of the sums, in percent, as a Markdown table."""
    print("\n| 6 + s (7 - 1) | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | confidently 9 |\n|" + " --- |" * 12)
    for kind, (label, _, _) in SUMS.items():
        for name, (result, column) in columns_of_interest(summary[kind]).items():
            counts = [*result["along"]["classified"][column], result["along"]["confident"][column][9]]
            shares = (f"{100 * count / result['along']['of'][column]:.1f}" for count in counts)
            print(f"| {label}, {name} | {' | '.join(shares)} |")
    print()


def draw_rates(summary, each):
    """The rate of 9 over the strength, a panel for each kind of sum, with its controls."""
    figure, axes = utils.plt.subplots(2, 3, figsize=(11, 7), sharex=True, sharey=True)
    lines = [
        ("roof", "is_9", "s (z_7 - z_1), classified as 9", rates.COLOURS[6], "-"),
        ("roof", "is_confidently_9", f"the same, confidence {latents.CONFIDENT:g}", rates.COLOURS[6], ":"),
        ("others", "is_9", "s (z_a - z_b), other digits", rates.COLOURS[7], "--"),
        ("random", "is_9", "s times a random direction", "0.35", "-."),
    ]
    for ax, (kind, (label, _, _)) in zip(axes.flat, SUMS.items(), strict=False):
        for direction, what, name, colour, style in lines:
            strengths, result = summary[kind][direction]["strengths"], summary[kind][direction][what]
            middle, low, high = ([100 * value for value in result[key]] for key in ("rate", "low", "high"))
            ax.plot(strengths, middle, style, color=colour, lw=2, label=name)
            if style != ":":
                ax.fill_between(strengths, low, high, color=colour, alpha=0.2, lw=0)
        for other in each if len(each) > 1 else []:
            values = [100 * value for value in other[kind]["roof"]["is_9"]["rate"]]
            ax.plot(STRENGTHS, values, color=rates.COLOURS[6], lw=0.7, label="each generator")
        drawn, written = summary[kind]["roof"]["is_9"]["rate"], summary[kind]["written"]["is_9"]["rate"]
        marks = {"ls": "", "color": "black", "zorder": 3}
        ax.plot(0.96, 100 * drawn[STRENGTHS.index(0.96)], marker="o", ms=6, label="equation (10), its figure", **marks)
        ax.plot(0.96, 100 * written[0], marker="X", ms=8, label="equation (10), as written", **marks)
        ax.axvline(1.2, color="0.5", lw=1, label="equation (9), s = 1.2")
        ax.set_title(label)
        ax.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("images classified as 9 (%)")
    for ax in (*axes[1, :2], axes[0, 2]):
        ax.set_xlabel("strength s")
    axes[0, 0].set_xlim(0, 2)
    axes[1, 2].set_axis_off()
    handles, names = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axes[1, 2].legend(unique.values(), unique.keys(), loc="center", title="z_6 plus")
    return figure


def main(argv=None):
    parser = utils.Parser("Figures 7 and 8 as rates: the classes of z_6 + s (z_7 - z_1), over many latents.")
    parser.add_argument(
        "--triples", type=utils.number(int, low=20, high=10**5), default=2000, help="of a 1, a 6 and a 7"
    )
    titles = utils.TITLES
    parser.add_argument("--dataset", choices=titles, default="mnist", help="the data set of the networks' training")
    rates.add_study_options(parser)
    args = parser.parse_args(argv)
    entries, measured, pooled, foot = rates.measure_generators(args, [1, 6, 7], partial(measure, triples=args.triples))
    each, summary = [summarise(raw) for raw in measured], summarise(pooled)
    of, controls = (summary["one"][name]["is_9"]["of"] for name in ("roof", "random"))
    foot += f"; {of:,} triples, controls {controls:,}; bands: 95 % (Wilson)"
    rates.save_figures(args, {"arithmetic_rates": (draw_rates(summary, each), foot)})
    print_table(summary)
    rates.save_study(args, "arithmetic_rates", entries, each, summary, headlines)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
