"""What makes the digits better within the report's two networks: one change at a time, then the best recipe in full.

    python -m studies.recipes              # both studies on MNIST, about 4 hours of one core; goes on after a stop
    python -m studies.recipes --studies changes --recipes wide average --seeds 1 --epochs 5
    torchrun --nproc-per-node 4 -m studies.recipes --workers 1

    changes   equal epochs for all. `as_reported` is the report's last discriminator with BatchNorm eps 0.8 (see
              gan.py), `eps` has torch's 1e-5, `wide` goes back to the first, wider discriminator besides (these three
              are runs of studies/overpowering.py), `average` has a running average of G's weights besides, and each
              of the others is `average` with one change more
    final     the report's recipe (--bn-eps 0.8) and --recipe best, each to its end

Quality is what metrics.quality measures every --evaluate-every epochs, of the averaged generator where there is one; at
the end of the final runs it is measured on 10,000 samples, with precision and recall.

Reads the digits and classifier.pt. Writes recipes.png, recipes_best.png and recipes.json (a study that --studies leaves
out stays in it as it was); the runs lie in OUT_DIR/overpowering and OUT_DIR/recipes.
"""

import statistics
from pathlib import Path

import torch

import latents
import metrics
import runs
import utils
from classifier import with_test_digits
from studies.overpowering import Cell, name_of

STUDIES = ("changes", "final")
WIDE = ["--arch", "initial"]
AVERAGE = [*WIDE, "--ema", "0.999"]
# name: what it is, and the options of train.py
RECIPES = {
    "as_reported": ("the report's, eps 0.8", ["--arch", "balanced", "--bn-eps", "0.8"]),
    "eps": ("... with eps 1e-5", ["--arch", "balanced"]),
    "wide": ("... and the wide D", WIDE),
    "average": ("... and average of G (.999)", AVERAGE),
    "longer_average": ("+ average .9997", [*WIDE, "--ema", "0.9997"]),
    "smoothing": ("+ label smoothing .1", [*AVERAGE, "--label-smoothing", "0.1"]),
    "dropout": ("+ dropout .3 in D", [*AVERAGE, "--dropout", "0.3"]),
    "beta1": ("+ Adam's beta1 0", [*AVERAGE, "--beta1", "0"]),
    "batch": ("+ batch 128, lr 4e-4", [*AVERAGE, "--batch-size", "128", "--lr", "4e-4"]),
    "falling": ("+ learning rate falling to 0", [*AVERAGE, "--decay-from", "0"]),
    "penalty": ("+ gradient penalty .3 on D", [*AVERAGE, "--gradient-penalty", "0.3"]),
}
CELLS = {
    "as_reported": Cell("balanced", 0.4, 0.8),
    "eps": Cell("balanced", 0.4, 1e-5),
    "wide": Cell("initial", 0.0, 1e-5),
}
FINAL_EVALUATIONS = 10  # epochs between two evaluations of the final runs
COLOURS = ["#000000", "#999999", "#0072B2", "#D55E00", "#009E73", "#CC79A7"]
COLOURS += ["#E69F00", "#56B4E9", "#882255", "#44AA99", "#DDCC77"]
COLOURS = dict(zip(RECIPES, COLOURS, strict=True))
# name: what it is, and the options of train.py
FINAL = {"report": ("the report's recipe", ["--bn-eps", "0.8"]), "best": ("--recipe best", ["--recipe", "best"])}


def parse_args(argv=None):
    """The study's options."""
    parser = utils.Parser("What makes the digits better, one change at a time, and the best recipe in full.")
    count = utils.number(int, low=1)
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES, help="what to train and draw")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="the changes to train")
    parser.add_argument("--final", nargs="+", choices=FINAL, default=list(FINAL), help="the recipes of the study final")
    parser.add_argument("--epochs", type=count, default=10, help="epochs of every run of the study changes")
    parser.add_argument("--final-epochs", type=count, help="epochs of the final runs (default: as the recipes have it)")
    parser.add_argument("--seeds", type=count, default=3, help="runs per recipe")
    args = runs.parse_args(parser, argv, evaluate_every=2)  # as in overpowering, for the runs that they share
    if args.seed + args.seeds > 2**31:
        parser.error(f"--seed {args.seed} with --seeds {args.seeds}: the last seed must be less than {2**31}")
    return args


def folder_of(recipe, seed):
    """The folder of a run of the study changes below OUT_DIR: overpowering's own where it has the same run."""
    cell = CELLS.get(recipe)
    return Path("overpowering", name_of(cell, seed)) if cell else Path("recipes", f"{recipe}_seed{seed}")


def final_folder(recipe, seed):
    """The folder of a final run below OUT_DIR."""
    return Path("recipes", f"final_{recipe}_seed{seed}")


def plan(args):
    """The runs of the chosen studies as {folder: options of train.py}, the longest first."""
    planned = {}

    def add(folder, seed, words):
        path = args.out_dir / folder
        planned[folder] = [*words, "--seed", seed, "--out-dir", path.parent, "--name", path.name]

    seeds = range(args.seed, args.seed + args.seeds)
    if "final" in args.studies:
        shared = [*runs.options(args), "--evaluate-every", FINAL_EVALUATIONS]
        if args.final_epochs:
            shared += ["--epochs", args.final_epochs]
        for recipe in args.final:
            for seed in seeds:
                add(final_folder(recipe, seed), seed, [*FINAL[recipe][1], *shared])
    if "changes" in args.studies:
        shared = [*runs.options(args, "epochs"), "--grid-epochs", args.epochs]
        for seed in seeds:
            for recipe in args.recipes:
                add(folder_of(recipe, seed), seed, [*RECIPES[recipe][1], *shared])
    return planned


def draw_changes(qualities, args):
    """Left: Frechet distance over epochs, the median of the seeds. Right: at the end, every seed a dot."""
    figure, (left, right) = utils.plt.subplots(1, 2, figsize=(12, 4.8), sharey=True, width_ratios=[1, 1.1])
    for x, (recipe, of_seeds) in enumerate(qualities.items()):
        colour = COLOURS[recipe]
        epochs = [entry["epoch"] for entry in of_seeds[0]]
        medians = [statistics.median(e["frechet_distance"] for e in entries) for entries in zip(*of_seeds, strict=True)]
        left.plot(epochs, medians, color=colour, marker=".", label=RECIPES[recipe][0])
        ends = [run[-1]["frechet_distance"] for run in of_seeds]
        right.scatter([x] * len(ends), ends, color=colour, s=30)
        right.hlines(statistics.median(ends), x - 0.3, x + 0.3, color=colour, lw=2)
    left.set(xlabel="epoch", ylabel="Frechet distance of samples", yscale="log")
    utils.label_plainly(left.yaxis)
    right.set_xticks(range(len(qualities)), [RECIPES[r][0] for r in qualities], rotation=30, ha="right", fontsize=8)
    right.set_title(f"after {args.epochs} epochs, every seed", fontsize=10)
    left.set_title("median of the seeds, colours as at the right", fontsize=10)
    for label, recipe in zip(right.get_xticklabels(), qualities, strict=True):  # they are the left panel's legend
        label.set_color(COLOURS[recipe])
    return figure


def changes(args):
    """Draw and return what the study changes found: an entry for each recipe."""
    seeds = range(args.seed, args.seed + args.seeds)
    results = {r: [runs.load_result(args.out_dir / folder_of(r, seed)) for seed in seeds] for r in args.recipes}
    qualities = {recipe: [result["quality"] for result in of] for recipe, of in results.items()}
    source = f"{utils.TITLES[args.dataset]}; {len(seeds)} seeds from {args.seed}; "
    source += "batch 64 and lr 2e-4 where nothing else is said"
    utils.save_figure(draw_changes(qualities, args), args.figures_dir / "recipes.png", source, args.dataset)
    print(f"figure: {args.figures_dir / 'recipes.png'}")
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
    return entries


def final(args):
    """Measure, draw and return what the final runs came to: an entry per recipe, and the ratio of their medians."""
    device = utils.pick_device(args)
    classifier, test = with_test_digits(args, device)
    reference = metrics.reference(*test)
    digits = metrics.manifold(metrics.thinned(test[0], 5000))
    entries = {}
    for recipe in args.final:
        (what, options), found = FINAL[recipe], {}
        for seed in range(args.seed, args.seed + args.seeds):
            folder = args.out_dir / final_folder(recipe, seed)
            result = runs.load_result(folder)
            generator, _ = latents.load_generator(folder / "checkpoint.pt", device)
            found[seed] = {
                "end": metrics.quality(generator, classifier, reference, digits, samples=10_000, seed=20_000 + seed),
                **{name: result[name] for name in ("last_epoch", "quality", "config", "seconds", "provenance")},
            }
            print(f"{what}, seed {seed}: " + ", ".join(f"{name} {v:.3f}" for name, v in found[seed]["end"].items()))
        ends = [run["end"] for run in found.values()]
        median = {name: statistics.median(end[name] for end in ends) for name in ends[0]}
        entries[recipe] = {"what": what, "options": options, "median": median, "runs": found}
    figure = draw_final(entries)
    source = f"{utils.TITLES[args.dataset]}; {args.seeds} seeds from {args.seed} of each recipe; "
    source += "right: after the last epoch, 10,000 samples, precision and recall of 5,000"
    utils.save_figure(figure, args.figures_dir / "recipes_best.png", source, args.dataset)
    print(f"figure: {args.figures_dir / 'recipes_best.png'}")
    if len(entries) == 2:
        best, report = (entries[recipe]["median"]["frechet_distance"] for recipe in ("best", "report"))
        entries["ratio"] = best / report
        print(f"Frechet distance, best / report: {best / report:.3f} (medians of {args.seeds} seeds)")
    return entries


def draw_final(entries):
    """Left: Frechet distance over the epochs, a line a seed. Right: precision and recall at the end, a dot a seed."""
    figure, (left, right) = utils.plt.subplots(1, 2, figsize=(11, 4.4))
    for (recipe, (what, _)), colour in zip(FINAL.items(), ("#D55E00", "#0072B2"), strict=True):
        for n, run in enumerate(entries[recipe]["runs"].values() if recipe in entries else ()):
            points = [(entry["epoch"], entry["frechet_distance"]) for entry in run["quality"]]
            left.plot(*zip(*points, strict=True), color=colour, marker=".", label=what if n == 0 else None)
            right.scatter(run["end"]["precision"], run["end"]["recall"], color=colour, label=what if n == 0 else None)
    left.set(xlabel="epoch", ylabel="Frechet distance of samples", yscale="log")
    utils.label_plainly(left.yaxis)
    right.set(
        xlabel="precision: share of samples on the manifold of test digits",
        ylabel="recall: share of test digits on the manifold of samples",
    )
    right.set(xlim=(0.4, 1), ylim=(0, 1))
    left.legend()
    right.legend(loc="lower left")
    return figure


def main(argv=None):
    args = parse_args(argv)
    path = args.out_dir / "recipes.json"
    sections = utils.load_json(path) if path.exists() else {}  # read first: a damaged file costs no measurement
    if runs.train_all(plan(args), args) > 0:
        return
    for study in args.studies:
        names = ("epochs", "final_epochs", "final", "seeds", "seed", "dataset", "limit")
        config = {name: getattr(args, name) for name in names}
        found = {"changes": changes, "final": final}[study](args)
        sections[study] = {study: found, "config": config, "provenance": utils.provenance(torch.device("cpu"))}
    utils.save_json(path, sections)


if __name__ == "__main__":
    utils.run(main)
