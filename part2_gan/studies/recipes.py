"""Which recipe draws the best digits with the report's networks, and how good is the best one?

    python -m studies.recipes               # both studies on MNIST, hours; started again it goes on
    python -m studies.recipes --draw        # draws the rows that are there, without MNIST
    python -m studies.recipes --out-dir mine --recipes start best --seeds 1 --best-seeds 1

    recipes         each of RECIPES on the first five sixths of the training digits for a few epochs, which favours what
                    learns fast; compared with the last sixth, which the classifier has seen, like all training digits
    recipes_best    train.py's --recipe best on all training digits to its end, compared with the test digits

Reads the digits, classifier.pt and OUT_DIR/dynamics.json, whose runs recipes_best.png shows as well. Writes a figure
and a file of rows for each study, and generator_best.pt, the generator of the first best run in half precision.
"""

import argparse
import statistics

from matplotlib.figure import Figure

import dataset
import latents
import metrics
import runs
import train
import utils
from classifier import with_test_digits

AVERAGE, BEST = {"arch": "initial", "ema": 0.999}, {"recipe": "best"}
RECIPES = {  # name: what it is, and how it departs from the recipe of the text
    "start": ("balanced D, eps 0.8", {"bn_eps": 0.8}),
    "eps": ("... with eps 1e-5", {}),
    "wide": ("... and the initial D", {"arch": "initial"}),
    "average": ("... and the average of G's weights (.999)", AVERAGE),
    "longer_average": ("average .9997 in place of .999", AVERAGE | {"ema": 0.9997}),
    "smoothing": ("with this average, label smoothing .1", AVERAGE | {"label_smoothing": 0.1}),
    "dropout": ("with this average, dropout .3 in D", AVERAGE | {"dropout": 0.3}),
    "beta1": ("with this average, Adam's beta1 0", AVERAGE | {"beta1": 0.0}),
    "batch": ("with this average, batch 128, lr 4e-4", AVERAGE | {"batch_size": 128, "lr": 4e-4}),
    "falling": ("with this average, lr falling to 0", AVERAGE | {"decay_from": 0.0}),
    "penalty": ("with this average, gradient penalty .3", AVERAGE | {"gradient_penalty": 0.3}),
    "best_slow": ("best recipe, but lr 2e-4", BEST | {"lr": 2e-4}),
    "best_batch": ("best recipe, but batch 128", BEST | {"batch_size": 128}),
    "best": ("best recipe", BEST),
}
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SHOWN = {  # in recipes_best.png: (recipe, arch): label and look
    ("code", "balanced"): {"label": "code, balanced D", "color": BLUE, "marker": "o", "ls": "-"},
    ("text", "balanced"): {"label": "text, balanced D", "color": GREEN, "marker": "s", "ls": "--"},
    ("text", "initial"): {"label": "text, initial D", "color": PINK, "marker": "^", "ls": "-."},
    ("best", "initial"): {"label": "best recipe", "color": ORANGE, "marker": "D", "ls": "-"},
}


def plan(args, names, seeds, epochs, limit, held_out):
    """The runs of a study, {name: options}, on `limit` digits (0: all), with the next `held_out` to compare with."""
    shared, chosen = {"dataset": args.dataset, "epochs": epochs, "limit": limit}, {}
    for name in names:
        for seed in range(args.seed, args.seed + seeds):
            options = train.options(**RECIPES[name][1] | shared | {"seed": seed})
            chosen[f"{name}_seed{seed}"] = {"change": name, "held_out": held_out} | options
    return chosen


def run(args):
    """Train one run; its row says how near its samples come to the held-out digits, or else to the test digits.

    The row's `floor` is the distance that training digits have from these.
    """
    args.evaluate_every = 0 if args.held_out else args.evaluate_every
    device = utils.pick_device(args)
    classifier, digits = with_test_digits(args, device)  # before the training: the classifier may be missing
    row = train.train(args)
    del row["samples"], row["bands"]
    images, _ = dataset.load(argparse.Namespace(**vars(args) | {"limit": args.limit + args.held_out}))
    if args.held_out:
        digits = metrics.outputs(classifier, dataset.scale(images[args.limit :]).to(device))
    count, seed = len(digits[0]), 20_000 + args.seed
    training = metrics.outputs(classifier, dataset.scale(images[:count]).to(device))
    reference, manifold = metrics.gaussian(digits[0]), metrics.manifold(metrics.thinned(digits[0], 5000))
    generator, _ = latents.load_generator(args.folder / "checkpoint.pt", device)
    end = metrics.quality(generator, classifier, reference, manifold, samples=count, seed=seed)
    return row | {"end": end, "floor": metrics.frechet_distance(training[0], digits[0])}


def draw_recipes(rows):
    """Fréchet distance of each recipe: a dot for each seed, a line at their median. Returns the figure."""
    figure = Figure(figsize=(8, 5))
    ax = figure.subplots()
    groups = {change: [r["end"]["frechet_distance"] for r in rows if r["change"] == change] for change in RECIPES}
    medians = {change: statistics.median(values) for change, values in groups.items() if values}
    for y, (change, median) in enumerate(medians.items()):
        colour, marker = (ORANGE, "D") if median == min(medians.values()) else (BLUE, "o")
        ax.plot(groups[change], [y] * len(groups[change]), marker, color=colour, alpha=0.7)
        ax.vlines(median, y - 0.35, y + 0.35, color=colour)
    ax.set_yticks(range(len(medians)), [RECIPES[change][0] for change in medians])
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("Fréchet distance from held-out digits")
    ax.invert_yaxis()
    return figure


def draw_best(rows):
    """Fréchet distance over the epochs, a line a seed; precision and recall at the end, a dot a seed."""
    figure = Figure(figsize=(11, 4.6))
    left, right = figure.subplots(1, 2)
    for kind, look in SHOWN.items():
        shown = [row for row in rows if (row["recipe"], row["arch"]) == kind and ("end" in row or row["quality"])]
        for row in shown:
            epochs = [evaluation["epoch"] for evaluation in row["quality"]]
            distances = [evaluation["frechet_distance"] for evaluation in row["quality"]]
            left.plot(epochs, distances, **look | {"marker": "", "lw": 1.2})
            end = row.get("end") or row["quality"][-1]
            right.plot(end["precision"], end["recall"], **look)
            look = look | {"label": None}
    left.axhline(rows[-1]["floor"], color="0.3", lw=1, ls=":")
    place = {"transform": left.get_yaxis_transform(), "ha": "right", "va": "bottom"}
    left.text(1, rows[-1]["floor"], "training digits", **place, fontsize=9.5)
    left.set_yscale("log", subs=[])
    left.yaxis.set_major_formatter("{x:g}")
    left.set(xlabel="epoch", ylabel="Fréchet distance from test digits")
    right.set(xlabel="precision: samples that look real", ylabel="recall: digits that are drawn")
    right.set(xlim=(0, 1), ylim=(0, 1))
    right.legend(loc="center left")
    return figure


def main(argv=None):
    parser = utils.Parser("Which recipe draws the best digits, and how good is it?")
    add, count = parser.add_argument, train.COUNT
    add("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="that are compared")
    add("--epochs", type=count, default=10, help="of each of them")
    add("--best-epochs", type=count, default=train.options("best")["epochs"], help="of the runs of recipes_best")
    add("--best-seeds", type=count, default=5, help="runs of recipes_best")
    dataset.add_options(parser)
    train.add_evaluation(parser)
    runs.add_options(parser, seeds=3)
    args = parser.parse_args(argv)
    digits = min(60_000, args.limit or 60_000)
    small = plan(args, args.recipes, args.seeds, args.epochs, digits - digits // 6, digits // 6)
    whole = plan(args, ["best"], args.best_seeds, args.best_epochs, args.limit, 0)
    rows = runs.study("recipes", small, run, args, train.CODE)
    best = runs.study("recipes_best", whole, run, args, train.CODE)
    if not rows:  # under torchrun another process has them
        return
    first, others = args.out_dir / "recipes_best" / next(iter(whole)) / "checkpoint.pt", args.out_dir / "dynamics.json"
    if first.exists() and not args.draw:
        latents.export(first, args.out_dir / "generator_best.pt")
    report = list(runs.load_rows(others).values()) if others.exists() else []
    data = rows[0]["dataset"]
    foot = f"{utils.TITLES[data]}; {rows[0]['epochs']} epochs of {rows[0]['limit']:,} digits; a dot a seed"
    foot_best = f"{utils.TITLES[data]}; a line or a dot a seed"
    with utils.style():
        utils.save_figure(draw_recipes(rows), args.figures_dir / "recipes.png", foot, data)
        utils.save_figure(draw_best(report + best), args.figures_dir / "recipes_best.png", foot_best, data)


if __name__ == "__main__":
    utils.run(main)
