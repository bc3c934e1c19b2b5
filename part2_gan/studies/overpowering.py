"""What makes the discriminator overpower the generator? Each choice of the report varied by itself.

    python -m studies.overpowering                # 105 runs of 10 epochs of MNIST; goes on after a stop
    python -m studies.overpowering --seeds 1 --epochs 2 --dataset typeset --limit 6000 --out-dir mine
    python -m studies.overpowering --seeds 6 --keep   # trains only the seeds that overpowering.json lacks
    torchrun --nproc-per-node 4 -m studies.overpowering

Each seed has 21 cells: runs with the options of `train.py --recipe written`, but for what CELLS gives them. The first
twelve are update scheme x discriminator x BatchNorm's eps in G. The others swap the two discriminators' dropout, or
have the published generator or the minimax loss of equation (7).

The effect of a factor is the mean change over all pairs of cells that differ in it alone. Factors that work in opposite
directions at the two levels of another one are given for each level. The unit is the seed: the mean over its pairs is
one number, and the interval is Student's t over the seeds' numbers. It is corrected for the number of factors that are
tested for each quantity: its level is 1 - 0.05 / that number (Bonferroni).

"Both losses near log 2, so the samples are good": the rank correlation of the losses' distance from log 2 with the
Frechet distance. Both change with the epochs and with the settings, so it shows an association and no cause.

Reads the digits and classifier.pt. Writes overpowering.png, overpowering_curves.png, losses_and_quality.png,
minimax.png and overpowering.json; the runs lie in OUT_DIR/overpowering.
"""

import itertools
import math
import statistics
from typing import NamedTuple

import torch

import claims
import gan
import metrics
import plots
import runs
import train
import utils


class Cell(NamedTuple):
    """What a run has of its own, beside the seed: options of train.py."""

    arch: str
    dropout: float
    eps: float
    scheme: str = "alternating"
    generator: str = "written"
    loss: str = "non-saturating"


COLOURS = {1e-5: "#0072B2", 0.8: "#D55E00"}  # of eps; told apart with every common colour vision
DISCRIMINATORS = {arch: of["dropout"] for arch, of in gan.DISCRIMINATORS.items()}
MARKERS = {"initial": "o", "balanced": "^"}
GRID = [Cell(*d, eps, scheme) for scheme in train.SCHEMES for d in DISCRIMINATORS.items() for eps in COLOURS]
CELLS = [
    *GRID,
    *(Cell(arch, dropout, eps) for arch, dropout in (("initial", 0.4), ("balanced", 0.0)) for eps in COLOURS),
    Cell("initial", 0.0, 1e-5, generator="published"),
    Cell("initial", 0.0, 0.8, "simultaneous", generator="published"),
    Cell("initial", 0.0, 1e-5, loss="minimax"),
    Cell("initial", 0.0, 0.8, loss="minimax"),
    Cell("initial", 0.0, 0.8, "simultaneous", loss="minimax"),
]
INITIAL, BALANCED = ({"arch": arch, "dropout": dropout} for arch, dropout in DISCRIMINATORS.items())
ALTERNATING, SIMULTANEOUS = {"scheme": "alternating"}, {"scheme": "simultaneous"}
TORCH, REPORT = {"eps": 1e-5}, {"eps": 0.8}
NARROW, WIDE, DROPOUT, NO_DROPOUT = {"arch": "balanced"}, {"arch": "initial"}, {"dropout": 0.4}, {"dropout": 0.0}
# What is changed, in words, and the two levels of it.
FACTORS = {
    "eps_initial": ("BatchNorm eps 0.8 instead of 1e-5, initial D", INITIAL | TORCH, REPORT),
    "eps_balanced": ("... balanced D", BALANCED | TORCH, REPORT),
    "scheme_initial": ("simultaneous updates instead of alternating, initial D", INITIAL | ALTERNATING, SIMULTANEOUS),
    "scheme_balanced": ("... balanced D", BALANCED | ALTERNATING, SIMULTANEOUS),
    "g_first": ("G updated first instead of D", ALTERNATING, {"scheme": "g-first"}),
    "discriminator_torch": ("the balanced D instead of the initial one, eps 1e-5", INITIAL | TORCH, BALANCED),
    "discriminator_report": ("... eps 0.8", INITIAL | REPORT, BALANCED),
    "width_torch": ("its width alone, eps 1e-5, alternating updates", WIDE | TORCH, NARROW),
    "width_report": ("... eps 0.8, alternating updates", WIDE | REPORT, NARROW),
    "dropout_torch": ("its dropout alone, eps 1e-5, alternating updates", NO_DROPOUT | TORCH, DROPOUT),
    "dropout_report": ("... eps 0.8, alternating updates", NO_DROPOUT | REPORT, DROPOUT),
    "generator": ("the published generator, initial D", {"generator": "written"}, {"generator": "published"}),
    "loss": ("minimax loss instead of non-saturating, initial D", {"loss": "non-saturating"}, {"loss": "minimax"}),
}
OPTIONS = ("epochs", "evaluate_every", "dataset", "limit")  # that all runs share
LEVEL = 1 - 0.05 / len(FACTORS)
# The quantities of an evaluated epoch: label, and whether the axis and the effect are those of its logarithm.
QUANTITIES = {
    "d_accuracy": ("accuracy of D in training", False),
    "g_loss": ("loss of G (nats)", False),
    "frechet_distance": ("Fréchet distance", True),
    "norm_non-saturating": ("gradient norm, non-saturating", True),
    "norm_minimax": ("gradient norm, minimax", True),
    "coherence_non-saturating": ("coherence, non-saturating", False),
}
LEGEND = [utils.plt.Line2D([], [], color=colour, marker="o", label=f"eps {eps:g}") for eps, colour in COLOURS.items()]


def parse_args(argv=None):
    """The study's options."""
    parser = utils.Parser("What makes the discriminator overpower the generator? One choice varied at a time.")
    count = utils.number(int, low=1, high=1000)
    parser.add_argument("--epochs", type=count, default=10, help="epochs of every run")
    parser.add_argument("--seeds", type=count, default=5, help="runs per cell")
    parser.add_argument("--keep", action="store_true", help="train only the runs that OUT_DIR/overpowering.json lacks")
    return runs.parse_args(parser, argv, evaluate_every=2)


def name_of(cell, seed):
    """The folder of a run: discriminator, dropout, eps, what departs from the defaults of Cell, and the seed."""
    return "_".join([cell.arch, f"dropout{cell.dropout:g}", f"eps{cell.eps:g}", *departures(cell), f"seed{seed}"])


def departures(cell):
    """The values of a cell that are not the defaults of Cell."""
    return [getattr(cell, name) for name, usual in Cell._field_defaults.items() if getattr(cell, name) != usual]


def plan(args):
    """The runs as {name: options of train.py}, seed by seed."""
    shared = [*runs.options(args, "epochs"), "--out-dir", args.out_dir / "overpowering", "--grid-epochs", args.epochs]
    names, planned = ("--arch", "--dropout", "--bn-eps", "--scheme", "--generator", "--loss"), {}
    for seed, cell in itertools.product(range(args.seed, args.seed + args.seeds), CELLS):
        own = itertools.chain(*zip(names, cell, strict=True))
        planned[name_of(cell, seed)] = [*own, "--seed", seed, "--name", name_of(cell, seed), *shared]
    return planned


def load_kept(args):
    """What OUT_DIR/overpowering.json holds; raises utils.InputError unless its runs have the options of `args`."""
    path = args.out_dir / "overpowering.json"
    kept = utils.load_json(path, "runs", "config", "run_commits", "seconds", "provenance")
    runs.check_kept(path, kept["config"], args, OPTIONS)
    seeds = range(args.seed, args.seed + args.seeds)
    if lost := [name for name in kept["runs"] if int(name.rpartition("seed")[2]) not in seeds]:
        raise utils.InputError(f"{path} also has {lost[0]}; with --keep give --seed and --seeds that include its seeds")
    return kept


def evaluations(folder):
    """A finished run's evaluations, a dictionary each: its epoch, the QUANTITIES, d_fake and from_log2, four digits.

    Columns of the history are means over the epoch; from_log2 is the larger distance of the two losses from log 2
    (nats). Norm and coherence of both losses' gradients are those of metrics.generator_gradients, at the same weights.
    """
    result, found = runs.load_result(folder), []
    by_epoch = runs.epoch_means(runs.load_history(folder), result["epochs"])
    for entry in result["quality"]:
        epoch = entry["epoch"]
        values = {name: by_epoch[name][epoch - 1] for name in ("d_accuracy", "g_loss", "d_fake")}
        values["from_log2"] = claims.distance_from_log2({"by_epoch": by_epoch}, epoch, epoch)
        values["frechet_distance"] = entry["frechet_distance"]
        for loss, gradient in entry["g_gradients"].items():
            values |= {f"{name}_{loss}": value for name, value in gradient.items()}
        found.append({"epoch": epoch} | {name: float(f"{value:.4g}") for name, value in values.items()})
    return found


def pairs_of(factor):
    """The pairs of cells that differ in one factor alone.

    Both have the written generator and the non-saturating loss, unless that is the factor.
    """
    _, first, second = FACTORS[factor]
    level = {"generator": "written", "loss": "non-saturating"} | first
    pairs = [(cell, cell._replace(**second)) for cell in CELLS if cell == cell._replace(**level)]
    return [pair for pair in pairs if pair[1] in CELLS]


def effect(outcomes, factor, quantity, seeds):
    """What varying one factor does to a quantity of the last epoch: {"mean", "interval", "pairs"}.

    That is the mean over the seeds of the second level's value minus the first's, or of their logarithms', its interval
    (None for a single seed), and the number of pairs per seed.
    """
    scale, pairs = math.log if QUANTITIES[quantity][1] else float, pairs_of(factor)

    def value(cell, seed):
        return scale(outcomes[name_of(cell, seed)][-1][quantity])

    means = [statistics.mean(value(second, seed) - value(first, seed) for first, second in pairs) for seed in seeds]
    return {"mean": statistics.mean(means), "interval": metrics.t_interval(means, LEVEL), "pairs": len(pairs)}


def effects_of(outcomes, seeds):
    """All effects: {quantity: {factor: what `effect` returns}}; the loss has none on G's loss, which it changes."""
    effects = {quantity: {f: effect(outcomes, f, quantity, seeds) for f in FACTORS} for quantity in QUANTITIES}
    del effects["g_loss"]["loss"]
    return effects


def correlations(outcomes, seeds):
    """Spearman's correlation of the losses' distance from log 2 with the Frechet distance, without minimax runs.

    Within runs: over the n evaluations of a run, then the mean over a seed's runs. Between runs: over a seed's n runs
    after the last epoch, all or those with one eps. Returns for each {"mean", "interval", "n", "seeds"}: mean and 95 %
    interval over the seeds, and every seed's.
    """

    def correlation(entries):
        return claims.spearman([e["from_log2"] for e in entries], [e["frechet_distance"] for e in entries])

    def told(values, n):
        interval = metrics.t_interval(values)
        interval = interval and [max(-1, interval[0]), min(1, interval[1])]
        return {"mean": statistics.mean(values), "interval": interval, "n": n, "seeds": values}

    cells = [cell for cell in CELLS if cell.loss == "non-saturating"]
    within = [statistics.mean(correlation(outcomes[name_of(c, seed)]) for c in cells) for seed in seeds]
    found = {"within runs": told(within, len(outcomes[name_of(cells[0], seeds[0])]))}
    groups = {"between runs": cells}
    groups |= {f"between runs with eps {eps:g}": [c for c in cells if c.eps == eps] for eps in COLOURS}
    for name, of in groups.items():
        values = [correlation([outcomes[name_of(c, seed)][-1] for c in of]) for seed in seeds]
        found[name] = told(values, len(of))
    return found


def tell(found, logarithmic=False):
    """A mean and its interval as text: the change, or with `logarithmic` the factor."""
    if found is None:
        return ""
    show = (lambda v: f"x {math.exp(v):.2f}") if logarithmic else (lambda v: f"{v:+.2f}")
    low_high = f" ({' to '.join(map(show, found['interval']))})" if found["interval"] else ""
    return show(found["mean"]) + low_high


def draw_cells(outcomes, seeds):
    """A panel a quantity: the cells below one another, a colour for each eps, a dot a run, a bar their mean."""
    rows = list(dict.fromkeys(cell._replace(eps=None) for cell in CELLS))
    figure, axes = utils.plt.subplots(2, 3, figsize=(11, 9.5), sharey=True)
    for ax, (quantity, (label, logarithmic)) in zip(axes.flat, QUANTITIES.items(), strict=True):
        for cell in CELLS:
            if (quantity, cell.loss) == ("g_loss", "minimax"):  # another scale
                continue
            y = rows.index(cell._replace(eps=None)) - 0.17 + 0.34 * list(COLOURS).index(cell.eps)
            values = [outcomes[name_of(cell, seed)][-1][quantity] for seed in seeds]
            ax.scatter(values, [y] * len(values), color=COLOURS[cell.eps], s=22, alpha=0.7, linewidths=0)
            ax.vlines(statistics.mean(values), y - 0.2, y + 0.2, color=COLOURS[cell.eps], lw=2)
        if logarithmic:
            ax.set_xscale("log")
            utils.label_plainly(ax.xaxis)
        ax.set_xlabel(label)
    names = [", ".join([f"D {c.arch}", f"dropout {c.dropout:g}", *departures(c)]) for c in rows]
    axes[0, 0].set_yticks(range(len(rows)), [name.replace("published", "published G") for name in names])
    axes[0, 0].invert_yaxis()
    axes[0, 0].axvline(0.5, color="0.4", lw=1, ls=":")  # D guesses
    axes[0, 1].axvline(math.log(2), color="0.4", lw=1, ls=":")
    axes[0, 0].legend(handles=LEGEND, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


def draw_curves(outcomes, seeds):
    """D's accuracy and the Frechet distance over the epochs: a column for each discriminator and scheme of the grid."""
    columns = list(dict.fromkeys((cell.arch, cell.scheme) for cell in GRID))
    figure, axes = utils.plt.subplots(2, len(columns), figsize=(12, 5.4), sharex=True, sharey="row")
    for cell, seed in itertools.product(GRID, seeds):
        run, place = outcomes[name_of(cell, seed)], columns.index((cell.arch, cell.scheme))
        for ax, quantity in zip(axes[:, place], ("d_accuracy", "frechet_distance"), strict=True):
            points = [entry["epoch"] for entry in run], [entry[quantity] for entry in run]
            ax.plot(*points, color=COLOURS[cell.eps], alpha=0.7, lw=1.3, marker=".")
    for (upper, lower), (arch, scheme) in zip(axes.T, columns, strict=True):
        upper.set_title(f"D {arch},\n{scheme}")
        lower.set_xlabel("epoch")
    axes[1, 0].set(yscale="log", ylabel=QUANTITIES["frechet_distance"][0])
    utils.label_plainly(axes[1, 0].yaxis)
    axes[0, 0].set_ylabel(QUANTITIES["d_accuracy"][0])
    axes[0, -1].legend(handles=LEGEND)
    return figure


def draw_losses_and_quality(outcomes, seeds):
    """Frechet distance over the losses' distance from log 2. Left: a line a run. Right: all runs, last epoch."""
    figure, (left, right) = utils.plt.subplots(1, 2, figsize=(11, 4.8), sharex=True, sharey=True)
    for cell, seed in itertools.product(CELLS, seeds):
        if cell.loss == "non-saturating":
            run = outcomes[name_of(cell, seed)]
            x, y = ([entry[name] for entry in run] for name in ("from_log2", "frechet_distance"))
            marker = MARKERS[cell.arch]
            left.plot(x, y, color=COLOURS[cell.eps], lw=0.8, alpha=0.5, marker=marker, ms=3)
            right.scatter(x[-1], y[-1], color=COLOURS[cell.eps], s=24, alpha=0.7, linewidths=0, marker=marker)
    left.set(xscale="log", yscale="log", ylabel="Fréchet distance", title="the evaluations of each run, joined")
    right.set_title("all runs after their last epoch")
    for ax in (left, right):
        ax.set_xlabel("the losses' distance from log 2 (nats)")
    utils.label_plainly(left.yaxis)
    utils.label_plainly(left.xaxis)
    shapes = [utils.plt.Line2D([], [], color="0.4", ls="", marker=m, label=f"D {a}") for a, m in MARKERS.items()]
    right.legend(handles=LEGEND + shapes)
    return figure


def draw_minimax(outcomes):
    """Left: |dL/dlogit| of G's losses over D(G(z)). Right: both losses' gradient norm at the same weights, all runs."""
    figure, (left, right) = utils.plt.subplots(1, 2, figsize=(11, 4.2))
    entries = list(itertools.chain(*outcomes.values()))
    probability = torch.linspace(-12, 6, 200).sigmoid()
    for loss, curve, colour in (("non-saturating", 1 - probability, "#0072B2"), ("minimax", probability, "#D55E00")):
        left.loglog(probability, curve, color=colour, label=loss)
        x, y = ([entry[name] for entry in entries] for name in ("d_fake", f"norm_{loss}"))
        right.scatter(x, y, s=12, color=colour, alpha=0.5, linewidths=0)
    left.set(xlabel="D(G(z)) of a sample", ylabel="|gradient by D's logit|")
    left.legend(title="loss of G")
    right.set(xlabel="mean D(G(z)) of an epoch", ylabel="norm of the gradient by G's weights", yscale="log")
    utils.label_plainly(right.yaxis)
    return figure


def main(argv=None):
    args = parse_args(argv)
    kept = load_kept(args) if args.keep else {"runs": {}, "run_commits": [], "seconds": 0, "provenance": None}
    planned = plan(args)
    if runs.train_all({name: words for name, words in planned.items() if name not in kept["runs"]}, args) > 0:
        return
    folder, seeds = args.out_dir / "overpowering", list(range(args.seed, args.seed + args.seeds))
    outcomes = {name: kept["runs"].get(name) or evaluations(folder / name) for name in planned}
    results = [runs.load_result(folder / name) for name in planned if name not in kept["runs"]]
    effects = effects_of(outcomes, seeds)
    source = f"{plots.describe_digits(vars(args))}; {args.epochs} epochs, {len(seeds)} seeds from {args.seed}"
    figures = {
        "overpowering": draw_cells(outcomes, seeds),
        "overpowering_curves": draw_curves(outcomes, seeds),
        "losses_and_quality": draw_losses_and_quality(outcomes, seeds),
        "minimax": draw_minimax(outcomes),
    }
    for name, figure in figures.items():
        utils.save_figure(figure, args.figures_dir / f"{name}.png", source, args.dataset)
        print(f"figure: {args.figures_dir / name}.png")
    for factor, (words, *_) in FACTORS.items():
        told = [f"{label} {tell(effects[q].get(factor), log)}" for q, (label, log) in QUANTITIES.items()]
        print(f"{words}: " + "; ".join(told))
    found = correlations(outcomes, seeds)
    print(*(f"correlation {name}: {tell(of)}" for name, of in found.items()), sep="\n")
    commits = {str(result["provenance"]["git_commit"]) for result in results}
    utils.save_json(
        args.out_dir / "overpowering.json",
        {
            "runs": outcomes,
            "correlations": found,
            "config": {name: getattr(args, name) for name in ("seeds", "seed", *OPTIONS)},
            "run_commits": sorted(commits | set(kept["run_commits"])),
            "seconds": kept["seconds"] + sum(result["seconds"] for result in results),
            "provenance": utils.provenance(torch.device("cpu")),
            "provenance_of_kept_runs": kept["provenance"],
        },
    )


if __name__ == "__main__":
    utils.run(main)
