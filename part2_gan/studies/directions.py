"""Two directions in the latent space, added to all ten digits: the roof, and the one that leads from 7 to 6.

    python -m studies.directions                        # the generator in the repository, half a minute on one core
    python -m studies.directions --checkpoints ../results/part2_gan/dynamics/*/checkpoint.pt
    python -m studies.directions --classifier ../results/part2_gan/classifier_mlp.pt
    python -m studies.directions --latents 50 --tries 10000     # a quick try

The roof of figure 7 on every digit: z_d + (z_7 - z_1), --latents times for each d, as it is, on the sphere (norm 10),
and with means of 3 in the place of single latents. If z_7 - z_1 were a roof, it would make a 7 of a 1, and a 9 of a 6.

"Which features correspond to this transition?", the report asks of its figure 6. One direction that does it: m_6 - m_7,
where m_d is the mean of all confident latents of d. Latents of every digit are moved by t (m_6 - m_7), t = 0 to 4, and
as far in random directions, the control. The means' own norms are given as they are and less the noise that the mean of
n latents has by chance.

Reads the generators and the classifier. Writes roof_on_every_digit.png, class_mean_direction.png and directions.json
(with another kind of classifier their names end in _mlp), and prints the classes as Markdown tables.
"""

import math
from functools import partial

import torch

import latents
import plots
import utils
from gan import sample
from studies import rates
from studies.arithmetic_rates import SUMS, random_like

ROOF_SUMS = ("one", "one_sphere", "mean3")
SHIFTS = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4]
EXAMPLES = 6
SHOWN = (7, 1, 9, 4, 0, 2)  # digits in class_mean_direction.png


def measure(generator, classifier, groups, source, count):
    """All classes for one generator: (count, 10) and (count, 10, shifts), -1 for a digit without latents."""
    result, absent = {}, [digit for digit in range(10) if not len(groups[digit])]

    def classify(name, z, examples=0):
        digits, confidences, _ = rates.classify_latents(generator, classifier, z)
        digits[:, absent] = -1
        result[f"{name}_digits"], result[f"{name}_confidences"] = digits, confidences
        if examples:
            images = sample(generator, z[:examples].flatten(0, -2))
            result[f"{name}_images"] = images.unflatten(0, z[:examples].shape[:-1]).cpu()

    def deal_all(mean_of):
        present = [digit if digit not in absent else 6 for digit in range(10)]
        return torch.stack([rates.deal(groups[digit], count, source, mean_of) for digit in present], 1)

    for kind in ROOF_SUMS:
        _, mean_of, sphere = SUMS[kind]
        roof = rates.deal(groups[7], count, source, mean_of) - rates.deal(groups[1], count, source, mean_of)
        before = deal_all(mean_of)
        for name, z in ("before", before), ("after", before + roof.unsqueeze(1)):
            classify(f"{kind}_{name}", latents.on_sphere(z) if sphere else z, EXAMPLES)

    means = torch.stack([groups[digit].mean(0) for digit in range(10)])  # no number for a digit without latents
    squares = torch.stack([groups[digit].square().sum(1).mean() for digit in range(10)])
    sizes = torch.tensor([len(groups[digit]) for digit in range(10)]).to(means)
    noise = (squares - means.square().sum(1)) / (sizes - 1)  # what the mean's square norm has from chance
    shift, roof = means[6] - means[7], means[7] - means[1]
    start, steps = deal_all(1).unsqueeze(2), torch.tensor(SHIFTS).to(shift).reshape(-1, 1)
    classify("shift", start + steps * shift, examples=1)
    classify("shift_random", start + steps * random_like(shift.expand_as(start), source))
    result["norms"] = means.norm(dim=1).unsqueeze(0).cpu()
    result["norms_less_noise"] = (means.square().sum(1) - noise).clamp(min=0).sqrt().unsqueeze(0).cpu()
    cosines = torch.cosine_similarity(shift, roof, 0), torch.cosine_similarity(means[6], means[7], 0)
    result["geometry"] = torch.stack([shift.norm(), roof.norm(), *cosines]).unsqueeze(0).cpu()
    return result


def summarise(raw):
    """What `measure` returned, as counts; norms and cosines are means over the generators."""

    def counts(name):
        return rates.count_digits(raw[f"{name}_digits"], raw[f"{name}_confidences"])

    def mean(name):
        return [None if math.isnan(value) else value for value in raw[name].nanmean(0).tolist()]

    names = ("norm of m_6 - m_7", "norm of m_7 - m_1", "cosine of these two", "cosine of m_6 and m_7")
    return {
        "roof_on_every_digit": {
            kind: {name: counts(f"{kind}_{name}") for name in ("before", "after")} for kind in ROOF_SUMS
        },
        "class_means": {
            "norms": mean("norms"),
            "norms_less_noise": mean("norms_less_noise"),
            **dict(zip(names, mean("geometry"), strict=True)),
        },
        "shifts": SHIFTS,
        "shift": counts("shift"),
        "shift_random": counts("shift_random"),
    }


def headlines(summary):
    """The numbers of a summary that are compared over generators."""
    numbers = {}
    for kind in ROOF_SUMS:
        found = summary["roof_on_every_digit"][kind]["after"]
        for digit, becomes in (1, 7), (6, 9), (6, 7), (4, 9):
            if found["of"][digit]:
                share = found["classified"][digit][becomes] / found["of"][digit]
                numbers[f"{digit} + (7 - 1), {SUMS[kind][0]}: is a {becomes}"] = share
    for name, what in ("shift", "m_6 - m_7"), ("shift_random", "a random direction as long"):
        found = summary[name]["classified"][7][SHIFTS.index(1)]
        numbers[f"7 + {what}: is a 6"] = found[6] / sum(found)
        numbers[f"7 + {what}: is a 7"] = found[7] / sum(found)
    return numbers | {name: value for name, value in summary["class_means"].items() if "norms" not in name}


def print_tables(summary):
    """Print the classes, in percent, as Markdown tables: a row for each digit, a column for each class."""
    tables = {
        f"d + (7 - 1), {SUMS[kind][0]}": [
            [summary["roof_on_every_digit"][kind]["after"][name][digit] for digit in range(10)]
            for name in ("of", "classified")
        ]
        for kind in ROOF_SUMS
    }
    column = SHIFTS.index(1)
    for name, what in ("shift", "m_6 - m_7"), ("shift_random", "a random direction as long"):
        tables[f"d + {what}"] = [[row[column] for row in summary[name][key]] for key in ("of", "classified")]
    for title, (totals, rows) in tables.items():
        print(f"\n| {title} | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 |\n|" + " --- |" * 11)
        for digit, (of, counts) in enumerate(zip(totals, rows, strict=True)):
            print(f"| {digit} | {' | '.join(f'{100 * count / of:.1f}' if of else '' for count in counts)} |")
    print()


def draw_every_digit(summary, raw):
    """Examples of each digit before and after the roof, and the classes of all of them."""
    figure, axes = utils.plt.subplots(1, 2, figsize=(10, 7))
    for ax, name, title in zip(axes, ("before", "after"), ("z_d", "z_d + (z_7 - z_1)"), strict=True):
        plots.draw_images(ax, raw[f"one_{name}_images"][:EXAMPLES].transpose(0, 1).flatten(0, 1), columns=EXAMPLES)
        ax.set_title(title)
    found = summary["roof_on_every_digit"]["one"]["after"]
    for digit, (of, counts) in enumerate(zip(found["of"], found["classified"], strict=True)):
        ranked = sorted(range(10), key=lambda other, counts=counts: -counts[other])[:3] if of else []
        text = "   ".join(f"{other}: {counts[other] / of:.0%}" for other in ranked)
        axes[1].text(29 * EXAMPLES + 8, 29 * digit + 15, text, va="center")
    axes[1].text(29 * EXAMPLES + 8, -4, "most often classified as", va="bottom", fontsize=12)
    note = f"one latent a digit; {found['of'][6]:,} of each, the first {EXAMPLES} shown, one roof a column"
    return figure, note


def draw_shift(summary, raw):
    """A latent of some digits along m_6 - m_7, and how many of all are classified as 6."""
    figure, rows = utils.plt.subplots(len(SHOWN), len(SHIFTS), figsize=(9, 7))
    found = summary["shift"]
    for axes, digit in zip(rows, SHOWN, strict=True):
        for column, ax in enumerate(axes):
            plots.draw_images(ax, raw["shift_images"][0, digit, column].unsqueeze(0), columns=1)
            of, count = found["of"][digit][column], found["classified"][digit][column][6]
            ax.set_title(f"{count / of:.0%}" if of else "", y=-0.3, fontsize=10)
    for ax, shift in zip(rows[0], SHIFTS, strict=True):
        ax.text(0.5, 1.08, f"t = {shift:g}", transform=ax.transAxes, ha="center", fontsize=10)
    figure.supylabel("z_d + t (m_6 - m_7); below each image, how many of all are classified as 6", fontsize=11)
    note = f"m_d: mean of all latents confidently d; {found['of'][7][0]:,} latents a digit, one shown"
    return figure, note


def main(argv=None):
    parser = utils.Parser("The roof, and the direction from 7 to 6, added to latents of all ten digits.")
    parser.add_argument("--latents", type=utils.number(int, low=10, high=10**5), default=300, help="of each digit")
    titles = utils.TITLES
    parser.add_argument("--dataset", choices=titles, default="mnist", help="the data set of the networks' training")
    rates.add_study_options(parser)
    args = parser.parse_args(argv)
    entries, measured, pooled, foot = rates.measure_generators(args, [1, 6, 7], partial(measure, count=args.latents))
    summary = summarise(pooled)
    drawn = {
        "roof_on_every_digit": draw_every_digit(summary, pooled),
        "class_mean_direction": draw_shift(summary, pooled),
    }
    rates.save_figures(args, {name: (figure, f"{foot}; {note}") for name, (figure, note) in drawn.items()})
    print_tables(summary)
    rates.save_study(args, "directions", entries, [summarise(raw) for raw in measured], summary, headlines)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
