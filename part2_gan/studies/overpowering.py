"""Why does the discriminator overpower the generator? The choices of the author's code, one at a time.

    python -m studies.overpowering              # 105 runs of 10 epochs of MNIST; started again it goes on
    python -m studies.overpowering --draw       # draws the rows that are there, without MNIST
    python -m studies.overpowering --seeds 1 --epochs 2 --dataset typeset --limit 6000 --out-dir try
    torchrun --nproc-per-node 4 -m studies.overpowering

A seed has 21 runs with the settings of the text, but for what SETTINGS gives them. The author's code has two slips: eps
.8 instead of 1e-5 in G's BatchNorm, and D updated on images of the G before its update (train.train_step). The first
twelve settings are each of them, with either discriminator; the others exchange the discriminators' dropout, or have
the generator of the code, or the minimax loss.

Reads the digits and classifier.pt. Writes why_d_won.png into FIGURES_DIR and overpowering.json into OUT_DIR.
"""

import itertools
import statistics

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

import dataset
import gan
import plots
import runs
import train
import utils

EPS, LATE = {"bn_eps": 0.8}, {"scheme": "simultaneous"}  # the two slips
SETTINGS = [  # what a run has of its own, beside its seed
    *(
        {"arch": arch, "scheme": scheme} | eps
        for scheme in train.SCHEMES
        for arch in gan.DISCRIMINATORS
        for eps in ({}, EPS)
    ),
    *({"arch": arch, "dropout": p} | eps for arch, p in (("initial", 0.4), ("balanced", 0.0)) for eps in ({}, EPS)),
    {"arch": "initial", "generator": "code"},
    {"arch": "initial", "generator": "code"} | EPS | LATE,
    *({"arch": "initial", "loss": "minimax"} | slips for slips in ({}, EPS, EPS | LATE)),
]
VARIED = ("arch", "dropout", "bn_eps", "scheme", "generator", "loss")
COLUMNS = {  # of the figure
    "both slips\nof the code": {"arch": "initial"} | EPS | LATE,
    "eps\nrepaired": {"arch": "initial"} | LATE,
    "update\nrepaired": {"arch": "initial"} | EPS,
    "both\nrepaired": {"arch": "initial"},
    "both slips,\na smaller D instead": {"arch": "balanced"} | EPS | LATE,
}
FORMATS = {"d_accuracy": "{:.0%}", "frechet_distance": "{:.0f}"}  # of the last evaluation, in picture and table


def parse_args(argv=None):
    parser = utils.Parser("Why does the discriminator overpower the generator?")
    parser.add_argument("--epochs", type=train.COUNT, default=10, help="of every run")
    dataset.add_options(parser)
    train.add_evaluation(parser)
    parser.set_defaults(evaluate_every=2)
    runs.add_options(parser, seeds=5)
    args = parser.parse_args(argv)
    if not args.evaluate_every:
        parser.error("--evaluate-every 0: this study is about the evaluations")
    return args


def plan(args):
    """The runs {name: options}, seed by seed."""
    shared = {name: getattr(args, name) for name in ("epochs", "dataset", "limit")}
    seeds = range(args.seed, args.seed + args.seeds)
    pairs = itertools.product(seeds, SETTINGS)
    chosen = [train.options("text", seed=seed, **shared, **setting) for seed, setting in pairs]
    return {train.name_of(options): options for options in chosen}


def run(args):
    """Train one run. Its row has D's accuracy in each evaluation, and its last samples."""
    row = train.train(args)
    for evaluation in row["quality"]:
        evaluation["d_accuracy"] = row["by_epoch"]["d_accuracy"][evaluation["epoch"] - 1]
    row["samples"] = {epoch: row["samples"][epoch] for epoch in [str(args.epochs)]}
    del row["bands"]
    return row


def of_setting(rows, setting):
    """The rows with these options, by seed; those not in `setting` are the text's."""
    wanted = train.options("text", **setting)
    chosen = [row for row in rows if all(row[name] == wanted[name] for name in VARIED)]
    return sorted(chosen, key=lambda row: row["seed"])


def draw(rows):
    """A column a repair: samples, how often D is right, how far the samples are from digits. Returns the figure."""
    figure = Figure(figsize=(11, 5.6))
    axes = figure.subplots(3, len(COLUMNS), sharey="row", height_ratios=(1.9, 1, 1))
    for (grid, *below), (title, setting) in zip(axes.T, COLUMNS.items(), strict=True):
        chosen = of_setting(rows, setting)
        (samples,) = chosen[0]["samples"].values()
        plots.draw_grids([grid], {title: samples})
        for ax, (name, form), colour in zip(below, FORMATS.items(), plots.COLOURS.values(), strict=True):
            values = [row["quality"][-1][name] for row in chosen]
            middle = statistics.median(values)
            ax.plot(range(len(values)), values, "o", color=colour, ms=5)
            ax.text(len(values) + 0.2, middle, form.format(middle), va="center", fontsize=12)
            ax.set(xlim=(-3, len(values) + 5), xticks=[])
            ax.tick_params(which="both", left=False)
    upper, lower = axes[1:, 0]
    upper.set(ylim=(0.4, 1), yticks=(0.5, 0.75, 1))
    upper.set_ylabel("D is right on\n(guessing: 50%)", fontsize=10)
    upper.yaxis.set_major_formatter("{x:.0%}")
    lower.set_yscale("log")
    lower.set_ylabel("Fréchet distance\n(less is better)", fontsize=10)
    lower.margins(y=0.2)
    lower.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    lower.yaxis.set_major_formatter("{x:.0f}")
    lower.yaxis.set_minor_locator(NullLocator())
    figure.align_ylabels()
    return figure


def tell(rows):
    """Print a line for each setting: medians and ranges over the seeds."""
    print(f"{'D, and what differs':<40}{'D is right on':<24}Fréchet distance")
    for setting in SETTINGS:
        last = [row["quality"][-1] for row in of_setting(rows, setting)]
        line = f"{', '.join(map(str, setting.values())):<40}"
        for name, form in FORMATS.items() if last else ():
            values = [entry[name] for entry in last]
            middle, low, high = (form.format(f(values)) for f in (statistics.median, min, max))
            line += f"{middle + f' ({low} to {high})':<24}"
        print(line.rstrip())


def main(argv=None):
    args = parse_args(argv)
    rows = runs.study("overpowering", plan(args), run, args, train.CODE)
    if not rows:  # under torchrun another process has them
        return
    tell(rows)
    path, seeds = args.figures_dir / "why_d_won.png", len({row["seed"] for row in rows})
    if not all(of_setting(rows, setting) for setting in COLUMNS.values()):
        return print(f"{path}: not drawn, its columns have no rows yet")
    foot = f"{plots.describe_digits(rows[0])}; {rows[0]['epochs']} epochs; G of the text; a dot a seed ({seeds}), "
    foot += "number: median; slips: eps 0.8 in BatchNorm, D updated on images made before G's update"
    with utils.style():
        utils.save_figure(draw(rows), path, foot, rows[0]["dataset"])


if __name__ == "__main__":
    utils.run(main)
