"""What makes the digits better within the report's two networks? The best recipe, chosen on digits held out for it.

    python -m studies.recipes              # both studies on MNIST, about 4 hours of one core; goes on after a stop
    python -m studies.recipes --studies changes --recipes wide best --seeds 1 --out-dir mine
    torchrun --nproc-per-node 4 -m studies.recipes

    changes   which recipe? All train on the first five sixths of the training digits (50,000), for as many epochs each;
              their samples are compared with the last sixth. The lowest median over the seeds is `chosen`; few epochs
              favour what learns fast. Of RECIPES the first four add one change each to the one before, the next seven
              make one change in `average` (batch and learning rate together count as one), the others are train.py's
              --recipe best and two variants of it
    final     how good is the recipe --final? Trained on all training digits to its end and compared with the test
              digits; the figure shows runs of the report in OUT_DIR/dynamics.json beside it

The classifier, whose features the distances are measured in, was trained on all training digits, the held-out ones
included; this concerns all recipes alike. The options of --recipe best go back to an earlier comparison on the test
digits.

Distances over the epochs are of 5,000 samples, as in dynamics.json, all others of as many samples as there are digits
to compare them with. What real digits reach is told by two distances: that between two random halves of the test
digits, with which the samples' distance from one half is compared, and that of training digits from test digits.

Reads the digits, classifier.pt and dynamics.json. Writes recipes.png, recipes_best.png and recipes.json (a study that
--studies leaves out stays in it as it was); the runs lie in OUT_DIR/recipes.
"""

import statistics

import torch

import dataset
import metrics
import plots
import runs
import utils
from classifier import with_test_digits
from latents import load_generator

WIDE = ["--arch", "initial"]
AVERAGE = [*WIDE, "--ema", "0.999"]
BEST = ["--recipe", "best"]
# name: what it is, and the options of train.py
RECIPES = {
    "as_reported": ("balanced D, eps 0.8", ["--arch", "balanced", "--bn-eps", "0.8"]),
    "eps": ("... with eps 1e-5", ["--arch", "balanced"]),
    "wide": ("... and the initial D", WIDE),
    "average": ("... and average of G (.999)", AVERAGE),
    "longer_average": ("average .9997 in place of .999", [*WIDE, "--ema", "0.9997"]),
    "smoothing": ("+ label smoothing .1", [*AVERAGE, "--label-smoothing", "0.1"]),
    "dropout": ("+ dropout .3 in D", [*AVERAGE, "--dropout", "0.3"]),
    "beta1": ("+ Adam's beta1 0", [*AVERAGE, "--beta1", "0"]),
    "batch": ("+ batch 128, lr 4e-4", [*AVERAGE, "--batch-size", "128", "--lr", "4e-4"]),
    "falling": ("+ learning rate falling to 0", [*AVERAGE, "--decay-from", "0"]),
    "penalty": ("+ gradient penalty .3 on D", [*AVERAGE, "--gradient-penalty", "0.3"]),
    "best": ("--recipe best", BEST),
    "best_lr": ("best, lr 4e-4", [*BEST, "--lr", "4e-4"]),
    "best_batch": ("best, batch 128, lr 4e-4", [*BEST, "--batch-size", "128", "--lr", "4e-4"]),
}
BLUE, GREEN, ORANGE = "#0072B2", "#009E73", "#D55E00"
PINK = "#CC79A7"
# The report's runs in dynamics.json: what they are, and their colour.
REPORT = {
    "published_balanced": ("as published, balanced D", BLUE),
    "written_balanced": ("as written, balanced D", GREEN),
    "written_initial": ("as written, initial D", PINK),
}


def parse_args(argv=None):
    """The study's options."""
    parser = utils.Parser("What makes the digits better, one change at a time, and the best recipe in full.")
    count, studies = utils.number(int, low=1, high=1000), ("changes", "final")
    parser.add_argument("--studies", nargs="+", choices=studies, default=studies, help="what to train and draw")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="of the study changes")
    parser.add_argument("--epochs", type=count, default=10, help="epochs of every run of the study changes")
    parser.add_argument("--seeds", type=count, default=3, help="runs per recipe of the study changes")
    parser.add_argument("--final", choices=RECIPES, default="best_lr", help="the recipe of the study final")
    parser.add_argument("--final-epochs", type=count, help="epochs of the study final (default: the recipe's own)")
    parser.add_argument("--final-seeds", type=count, default=5, help="runs of the study final")
    return runs.parse_args(parser, argv, evaluate_every=10)


def folders(args, recipe, final=False):
    """The runs of a recipe in the study changes or final as {seed: folder}."""
    seeds = range(args.seed, args.seed + (args.final_seeds if final else args.seeds))
    return {seed: args.out_dir / "recipes" / f"{'final_' * final}{recipe}_seed{seed}" for seed in seeds}


def kept(count):
    """How many of `count` training digits the study changes trains on, the first ones; the others are held out."""
    return count - count // 6


def plan(args, count):
    """The runs on `count` training digits as {name: options of train.py}, those of the study final first."""
    words = []
    if "final" in args.studies:
        options = [*RECIPES[args.final][1], *runs.options(args)]
        options += ["--epochs", args.final_epochs] if args.final_epochs else []
        words.append((options, folders(args, args.final, final=True)))
    if "changes" in args.studies:
        own = ["--evaluate-every", 0, "--limit", kept(count), "--grid-epochs", args.epochs]  # in place of the study's
        for recipe in args.recipes:
            words.append(([*RECIPES[recipe][1], *runs.options(args, "epochs"), *own], folders(args, recipe)))
    return {
        folder.name: [*options, "--seed", seed, "--out-dir", folder.parent, "--name", folder.name]
        for options, of_recipe in words
        for seed, folder in of_recipe.items()
    }


def report_runs(found):
    """The evaluated runs of REPORT in `found`, what dynamics.json holds, as {name in REPORT: [entry]}."""
    evaluated = {name: entry for name, entry in found["runs"].items() if "precision_recall" in entry}
    return {
        recipe: [entry for name, entry in evaluated.items() if name.startswith(f"{recipe}_seed")] for recipe in REPORT
    }


def measure(folder, classifier, reference, digits=None):
    """metrics.quality of a finished run's generator, of as many samples as `reference` has digits."""
    generator, config = load_generator(folder / "checkpoint.pt", next(classifier.parameters()).device)
    count, seed = reference["digits"], 20_000 + config["seed"]
    return metrics.quality(generator, classifier, reference, digits, samples=count, seed=seed)


def save(figure, args, name, source):
    """Write a figure into the study's folder and say where."""
    path = args.figures_dir / f"{name}.png"
    utils.save_figure(figure, path, f"{plots.describe_digits(vars(args))}; {source}", args.dataset)
    print(f"figure: {path}")


def changes(args, classifier, images):
    """Measure and draw the runs of the study changes: an entry for each recipe, and which one is `chosen`."""
    count, device = kept(len(images)), next(classifier.parameters()).device
    reference = metrics.reference(*metrics.outputs(classifier, dataset.scale(images[count:]).to(device)))
    entries = {}
    for recipe in args.recipes:
        what, options = RECIPES[recipe]
        ends = [measure(folder, classifier, reference) for folder in folders(args, recipe).values()]
        results = [runs.load_result(folder) for folder in folders(args, recipe).values()]
        values = {name: [end[name] for end in ends] for name in ends[0]}
        at_end = {name: {"median": statistics.median(of), "seeds": of} for name, of in values.items()}
        commits = sorted({str(result["provenance"]["git_commit"]) for result in results})
        entries[recipe] = {"what": what, "options": options, "at_end": at_end, "run_commits": commits}
        print(f"{what:30} Frechet distance", ", ".join(f"{value:.1f}" for value in values["frechet_distance"]))
    chosen = min(entries, key=lambda recipe: entries[recipe]["at_end"]["frechet_distance"]["median"])
    held_out = f"{len(images) - count:,} held-out digits"
    print(f"lowest median distance from {held_out}: {chosen} ({RECIPES[chosen][0]})")
    source = (
        f"{args.seeds} seeds from {args.seed}; {args.epochs} epochs of {count:,} digits, batch 64 and lr 2e-4 where "
    )
    source += (
        f"nothing else is said; {len(images) - count:,} samples and as many held-out digits; orange: lowest median"
    )
    save(draw_changes(entries, chosen), args, "recipes", source)
    return {"changes": entries, "chosen": chosen, "trained_on": count, "held_out": len(images) - count}


def draw_changes(entries, chosen):
    """Frechet distance of each recipe: a dot for each seed, a line at their median. Returns the figure."""
    figure, ax = utils.plt.subplots(figsize=(9, 5))
    for x, (recipe, entry) in enumerate(entries.items()):
        distance, colour = entry["at_end"]["frechet_distance"], ORANGE if recipe == chosen else BLUE
        ax.scatter([x] * len(distance["seeds"]), distance["seeds"], color=colour, s=30, alpha=0.7, linewidths=0)
        ax.hlines(distance["median"], x - 0.3, x + 0.3, color=colour, lw=2)
    labels = [entry["what"] for entry in entries.values()]
    ax.set_xticks(range(len(labels)), labels, rotation=35, ha="right", fontsize=9)
    ax.set(yscale="log", ylabel="Fréchet distance, held-out digits")
    utils.label_plainly(ax.yaxis)
    return figure


def final(args, classifier, images, test, reports):
    """Measure the runs of the study final, and draw them beside the report's, `reports`: what recipes.json holds.

    `test` is the metrics.outputs of the test digits.
    """
    features, probabilities = test
    training = metrics.outputs(classifier, dataset.scale(images[: len(features)]).to(features.device))[0]
    reference = metrics.reference(features, probabilities, training)
    digits = metrics.manifold(metrics.thinned(features, 5000))
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(args.seed)).to(features.device)
    one, other = order.chunk(2)
    half = metrics.reference(features[one], probabilities[one], features[other])
    floor = {"digits": len(features), "training_from_test": reference["floor"], "half_from_half": half["floor"]}
    what, of_runs = RECIPES[args.final][0], {}
    for seed, folder in folders(args, args.final, final=True).items():
        result = runs.load_result(folder)
        end = measure(folder, classifier, reference, digits)
        end["distance_from_half"] = measure(folder, classifier, half)["frechet_distance"]
        of_runs[seed] = {"end": end} | {name: result[name] for name in ("quality", "config", "seconds", "provenance")}
    median = {name: statistics.median(run["end"][name] for run in of_runs.values()) for name in end}
    told = ", ".join(f"{name} {value:.3f}" for name, value in median.items())
    print(f"{what}, medians of {len(of_runs)} seeds: {told}")
    print("real digits:", ", ".join(f"{name} {value:,.5g}" for name, value in floor.items()))
    drawn = {
        REPORT[recipe]: [(entry["quality"], entry["precision_recall"]) for entry in entries]
        for recipe, entries in reports.items()
        if entries
    }
    drawn[what, ORANGE] = [(run["quality"], run["end"]) for run in of_runs.values()]
    source = ", ".join(f"{what} {len(entries)} seeds" for (what, _), entries in drawn.items())
    source += f"; left: 5,000 samples; right: {len(digits[0]):,} samples and as many test digits"
    save(draw_final(drawn, floor), args, "recipes_best", source)
    return {"recipe": args.final, "what": what, "median": median, "runs": of_runs, "floor": floor}


def draw_final(drawn, floor):
    """Left: Frechet distance over the epochs, a line a seed. Right: precision and recall at the end, a dot a seed.

    `drawn`: {(what it is, colour): [(evaluations, precision and recall)]}.
    """
    figure, (left, right) = utils.plt.subplots(1, 2, figsize=(11, 4.4))
    for (what, colour), of_runs in drawn.items():
        for n, (quality, end) in enumerate(of_runs):
            points = [(evaluation["epoch"], evaluation["frechet_distance"]) for evaluation in quality]
            left.plot(*zip(*points, strict=True), color=colour, marker=".", alpha=0.7, label="" if n else what)
            right.scatter(end["precision"], end["recall"], color=colour, alpha=0.7, linewidths=0)
    left.axhline(floor["training_from_test"], color="0.4", lw=1, ls=":", label=f"{floor['digits']:,} training digits")
    left.set(xlabel="epoch", ylabel="Fréchet distance, test digits", yscale="log")
    utils.label_plainly(left.yaxis)
    left.legend()
    right.set(xlabel="precision", ylabel="recall", xlim=(0, 1), ylim=(0, 1))
    return figure


def main(argv=None):
    args = parse_args(argv)
    path, others = args.out_dir / "recipes.json", args.out_dir / "dynamics.json"
    # All that is needed later is loaded and checked before hours of training.
    sections = utils.load_json(path) if path.exists() else {}
    reports = report_runs(utils.load_json(others, "runs") if others.exists() else {"runs": {}})
    classifier, test = with_test_digits(args, utils.pick_device(args))
    images, _ = dataset.load(args)
    if runs.train_all(plan(args, len(images)), args) > 0:
        return
    names = ("recipes", "epochs", "final", "final_epochs", "seeds", "final_seeds", "seed", "dataset", "limit")
    origin = {"config": {name: getattr(args, name) for name in names}}
    origin["provenance"] = utils.provenance(torch.device("cpu"))
    if "changes" in args.studies:
        sections["changes"] = changes(args, classifier, images) | origin
    if "final" in args.studies:
        sections["final"] = final(args, classifier, images, test, reports) | origin
    utils.save_json(path, sections | {"config": origin["config"]})  # by which utils.Parser keeps the larger result


if __name__ == "__main__":
    utils.run(main)
