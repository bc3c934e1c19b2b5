"""What makes the digits better, one change at a time: the report's two networks, equal epochs, several seeds.

    python recipes.py                           # 9 recipes x 3 seeds x 25 epochs of MNIST; goes on after a stop
    python recipes.py --recipes report wide average --seeds 1 --epochs 5
    torchrun --nproc-per-node 4 recipes.py --workers 1

The first two are the report's: its last discriminator with BatchNorm eps 0.8 (gan.py), and with torch's 1e-5. The third
goes back to its first, wider one. Each of the others is that with a running average of the generator's weights
(train.py --ema) and one change more. Quality is what metrics.quality measures every --evaluate-every epochs, of the
averaged generator where there is one.

Writes recipes.png and recipes.json; the runs lie in OUT_DIR/recipes.
"""

import os
import statistics

import torch

import utils
from study import add_quality_options, finish_args, load_result, pass_on, prepare, run_all

WIDE = ["--arch", "initial"]
AVERAGE = [*WIDE, "--ema", "0.999"]
# name: what it is, and the options of train.py
RECIPES = {
    "report": ("the report's, BatchNorm eps 0.8", ["--arch", "balanced", "--bn-eps", "0.8"]),
    "report_eps": ("the report's, eps 1e-5", ["--arch", "balanced"]),
    "wide": ("wide D, eps 1e-5", WIDE),
    "average": ("wide D, average of G (.999)", AVERAGE),
    "longer_average": ("... average .9997", [*WIDE, "--ema", "0.9997"]),
    "smoothing": ("... label smoothing .1", [*AVERAGE, "--label-smoothing", "0.1"]),
    "dropout": ("... dropout .2 in D", [*AVERAGE, "--dropout", "0.2"]),
    "batch": ("... batch 128, lr 4e-4", [*AVERAGE, "--batch-size", "128", "--lr", "4e-4"]),
    "falling": ("... learning rate falling from half-way", [*AVERAGE, "--decay-from", "0.5"]),
}
COLOURS = ["#000000", "#999999", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255"]


def parse_args(argv=None):
    """The study's options."""
    parser = utils.Parser("What makes the digits better, one change at a time.")
    count = utils.number(int, low=1)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="which to train")
    parser.add_argument("--epochs", type=count, default=25, help="epochs of every run")
    parser.add_argument("--seeds", type=count, default=3, help="runs a recipe")
    add_quality_options(parser)
    return finish_args(parser, argv, workers=os.cpu_count() or 1)


def plan(args):
    """The runs as {name: options of train.py}."""
    shared = pass_on(args, "epochs", "evaluate_every", "classifier")
    shared += ["--out-dir", args.out_dir / "recipes", "--grid-epochs", args.epochs]
    runs = {}
    for seed in range(args.seed, args.seed + args.seeds):
        for recipe in args.recipes:
            name = f"{recipe}_seed{seed}"
            runs[name] = [str(word) for word in [*RECIPES[recipe][1], *shared, "--seed", seed, "--name", name]]
    return runs


def draw(qualities, args):
    """Left: Frechet distance over epochs, the median of the seeds. Right: at the end, every seed a dot."""
    figure, (left, right) = utils.plt.subplots(
        1, 2, figsize=(12, 4.8), layout="constrained", sharey=True, width_ratios=[1, 1.1]
    )
    for y, (recipe, runs) in enumerate(qualities.items()):
        colour = COLOURS[list(RECIPES).index(recipe)]
        epochs = [entry["epoch"] for entry in runs[0]]
        medians = [statistics.median(e["frechet_distance"] for e in entries) for entries in zip(*runs, strict=True)]
        left.plot(epochs, medians, color=colour, marker=".", label=RECIPES[recipe][0])
        ends = [run[-1]["frechet_distance"] for run in runs]
        right.scatter([y] * len(ends), ends, color=colour, s=30)
        right.hlines(statistics.median(ends), y - 0.3, y + 0.3, color=colour, lw=2)
    left.set(xlabel="epoch", ylabel="Frechet distance of samples", yscale="log")
    right.set_xticks(range(len(qualities)), [RECIPES[r][0] for r in qualities], rotation=30, ha="right", fontsize=8)
    right.set_title(f"after {args.epochs} epochs, every seed", fontsize=10)
    left.set_title("median of the seeds", fontsize=10)
    left.legend(fontsize=8)
    return figure


def main():
    args = parse_args()
    prepare(args)
    if run_all(plan(args), args.workers) > 0:
        return
    folder, seeds = args.out_dir / "recipes", range(args.seed, args.seed + args.seeds)
    results = {recipe: [load_result(folder / f"{recipe}_seed{seed}") for seed in seeds] for recipe in args.recipes}
    qualities = {recipe: [result["quality"] for result in of] for recipe, of in results.items()}
    source = f"recipes.py: {utils.TITLES[args.dataset]}; {len(seeds)} seeds from {args.seed}; "
    source += "batch 64 and lr 2e-4 where nothing else is said"
    utils.save_figure(draw(qualities, args), args.figures_dir / "recipes.png", source, args.dataset)
    entries = {}
    for recipe, of in results.items():
        ends = {
            name: sorted(result["quality"][-1][name] for result in of)
            for name in ("frechet_distance", "score", "confident_share")
        }
        entries[recipe] = {
            "what": RECIPES[recipe][0],
            "options": RECIPES[recipe][1],
            "at_end": {name: {"median": statistics.median(values), "seeds": values} for name, values in ends.items()},
            "quality": {result["config"]["seed"]: result["quality"] for result in of},
            "run_commits": sorted({str(result["provenance"]["git_commit"]) for result in of}),
        }
        values = ", ".join(f"{value:.1f}" for value in ends["frechet_distance"])
        print(f"{RECIPES[recipe][0]:40} Frechet distance {values}")
    names = ("epochs", "seeds", "seed", "dataset", "limit")
    utils.save_json(
        args.out_dir / "recipes.json",
        {
            "recipes": entries,
            "config": {name: getattr(args, name) for name in names},
            "provenance": utils.provenance(torch.device("cpu")),
        },
    )
    print(f"figure: {args.figures_dir / 'recipes.png'}")


if __name__ == "__main__":
    utils.run(main)
