"""What makes the discriminator overpower the generator: its width, its missing dropout, or BatchNorm's eps?

    python -m studies.overpowering                # 36 runs of 10 epochs of MNIST; goes on after a stop
    python -m studies.overpowering --seeds 1 --epochs 2 --dataset typeset --limit 6000
    torchrun --nproc-per-node 4 -m studies.overpowering --workers 1

The report went from a wide discriminator without dropout to a narrow one with it, and says that this cured the
imbalance. Here each factor is varied by itself, every cell trained for the same number of epochs with the same seeds:

    width      512-256 or 256-128, the discriminator's hidden layers
    dropout    0 or 0.4, in the discriminator
    eps        1e-5 or 0.8, BatchNorm's in the generator (gan.py says where 0.8 comes from)

The effect of a factor is the mean change over all pairs of runs that differ in it alone. Seeds are the unit: each one
has 4 such pairs, whose mean is one number, and the 95 % interval is Student's t over the seeds' numbers.

Beside it, for the wide discriminator without dropout and with both eps: simultaneous updates (see train.py), and the
minimax loss of equation (7) as written. Where D is sure, the gradient that reaches G vanishes under the minimax loss
and not under the other one.

And the report's "both losses near log 2, so the samples are good": the losses beside every evaluation of every run.

Reads the digits and classifier.pt. Writes overpowering.png, overpowering_curves.png, losses_and_quality.png,
minimax.png and overpowering.json; the runs lie in OUT_DIR/overpowering.
"""

import itertools
import math
import statistics

import torch

import metrics
import runs
import utils

EPS, WIDTHS, DROPOUTS = (1e-5, 0.8), ("initial", "balanced"), (0.0, 0.4)
FACTORS = {
    "width": "narrowing D to 256-128",
    "dropout": "giving D dropout 0.4",
    "eps": "BatchNorm eps 0.8 instead of 1e-5",
    "scheme": "simultaneous updates",
}
VARIANTS = {"plain": [], "simultaneous": ["--scheme", "simultaneous"], "minimax": ["--loss", "minimax"]}
WIDE = {"initial": "512-256", "balanced": "256-128"}
NAMES = {1e-5: "BatchNorm eps 1e-5", 0.8: "BatchNorm eps 0.8"}
COLOURS = {1e-5: "#0072B2", 0.8: "#D55E00"}  # told apart with every common colour vision
# The quantities of a run's last epoch: axis label, and whether the axis and the effect are those of its logarithm.
QUANTITIES = {
    "d_accuracy": ("accuracy of D in training", False),
    "g_loss": ("loss of G (nats)", False),
    "g_grad_norm": ("gradient norm reaching G", True),
    "frechet_distance": ("Frechet distance of samples", True),
}


def parse_args(argv=None):
    """The study's options."""
    parser = utils.Parser("Width x dropout x BatchNorm eps: what makes the discriminator overpower the generator?")
    count = utils.number(int, low=1)
    parser.add_argument("--epochs", type=count, default=10, help="epochs of every run")
    parser.add_argument("--seeds", type=utils.number(int, low=1, high=10), default=3, help="runs per cell")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images per step")
    args = runs.parse_args(parser, argv)
    if args.seed + args.seeds > 2**31:
        parser.error(f"--seed {args.seed} with --seeds {args.seeds}: the last seed must be less than {2**31}")
    return args


def name_of(arch, dropout, eps, variant, seed):
    """The folder of one run."""
    return f"{arch}_dropout{dropout:g}_eps{eps:g}{'' if variant == 'plain' else '_' + variant}_seed{seed}"


def cells():
    """Every (arch, dropout, eps, variant): the eight of the grid, then the two of each variant."""
    grid = [(*cell, "plain") for cell in itertools.product(WIDTHS, DROPOUTS, EPS)]
    return grid + [("initial", 0.0, eps, variant) for variant in list(VARIANTS)[1:] for eps in EPS]


def plan(args):
    """The runs as {name: options of train.py}."""
    shared = runs.options(args, "epochs", "batch_size")
    shared += ["--out-dir", args.out_dir / "overpowering", "--grid-epochs", args.epochs]
    planned = {}
    for seed, (arch, dropout, eps, variant) in itertools.product(range(args.seed, args.seed + args.seeds), cells()):
        name = name_of(arch, dropout, eps, variant, seed)
        own = ["--arch", arch, "--dropout", dropout, "--bn-eps", eps, *VARIANTS[variant], "--seed", seed]
        planned[name] = [*own, "--name", name, *shared]
    return planned


def outcome(folder, result):
    """The quantities of a finished run's last epoch, and its curves: {column: [a value an epoch]}."""
    curves = runs.epoch_means(runs.load_history(folder), result["epochs"])
    last = result["last_epoch"] | result["quality"][-1]
    return {**{name: last[name] for name in QUANTITIES}, "curves": curves, "quality": result["quality"]}


def pairs_of(factor, seed):
    """The pairs of runs of a seed, (names at the first level, names at the second), that differ in one factor alone.

    Factors 0 to 2 are width, dropout and eps, over the eight cells; 3 is the update scheme, in the two cells of it.
    """
    if factor == 3:
        return [tuple(name_of("initial", 0.0, eps, order, seed) for order in ("plain", "simultaneous")) for eps in EPS]
    levels = WIDTHS, DROPOUTS, EPS
    others = itertools.product(*(values for k, values in enumerate(levels) if k != factor))
    return [
        tuple(name_of(*other[:factor], level, *other[factor:], "plain", seed) for level in levels[factor])
        for other in others
    ]


def effect(outcomes, factor, quantity, seeds):
    """What varying one factor of `pairs_of` does to a quantity, all else equal.

    Returns {"mean", "interval", "pairs", "same_sign"}: the mean over the seeds of the second level's value minus the
    first's, or of their logarithms', Student's 95 % interval (None for a single seed), and how many of the pairs change
    in the direction of the mean.
    """
    scale = math.log if QUANTITIES[quantity][1] else float
    changes = [
        [scale(outcomes[second][quantity]) - scale(outcomes[first][quantity]) for first, second in pairs_of(factor, n)]
        for n in seeds
    ]
    means = [statistics.mean(of_seed) for of_seed in changes]
    mean, pairs = statistics.mean(means), list(itertools.chain(*changes))
    return {
        "mean": mean,
        "interval": metrics.t_interval(means),
        "pairs": len(pairs),
        "same_sign": sum(change * mean > 0 for change in pairs),
    }


def draw_cells(outcomes, seeds):
    """One panel a quantity: the four discriminators side by side, a colour for each eps, a dot a run, a line a mean."""
    figure, axes = utils.plt.subplots(1, len(QUANTITIES), figsize=(13, 4))
    places = list(itertools.product(WIDTHS, DROPOUTS))
    for ax, (quantity, (label, logarithmic)) in zip(axes, QUANTITIES.items(), strict=True):
        for (x, (arch, dropout)), (aside, eps) in itertools.product(
            enumerate(places), zip((-0.15, 0.15), EPS, strict=True)
        ):
            values = [outcomes[name_of(arch, dropout, eps, "plain", seed)][quantity] for seed in seeds]
            first = NAMES[eps] if x == 0 else None
            ax.scatter([x + aside] * len(values), values, color=COLOURS[eps], s=26, alpha=0.8, label=first)
            ax.hlines(statistics.mean(values), x + aside - 0.12, x + aside + 0.12, color=COLOURS[eps], lw=2)
        if logarithmic:
            ax.set_yscale("log")
            utils.label_plainly(ax.yaxis)
        ax.set_xticks(range(4), [f"{WIDE[arch]}\n{dropout:g}" for arch, dropout in places], fontsize=9)
        ax.set(xlabel="D's hidden layers and dropout", ylabel=label)
        ax.grid(axis="y", alpha=0.3)
    axes[0].axhline(0.5, color="0.4", lw=1, ls=":")  # D guesses
    axes[1].axhline(math.log(2), color="0.4", lw=1, ls=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def draw_curves(outcomes, seeds):
    """D's accuracy and the Frechet distance over the epochs, a panel a discriminator, a colour for each eps."""
    figure, rows = utils.plt.subplots(2, 4, figsize=(13, 6), sharex=True, sharey="row")
    for axes, (arch, dropout) in zip(rows.T, itertools.product(WIDTHS, DROPOUTS), strict=True):
        for eps, seed in itertools.product(EPS, seeds):
            run = outcomes[name_of(arch, dropout, eps, "plain", seed)]
            line = {"color": COLOURS[eps], "alpha": 0.8, "lw": 1.3}
            line["label"] = NAMES[eps] if seed == seeds[0] else None
            accuracy = run["curves"]["d_accuracy"]
            axes[0].plot(range(1, len(accuracy) + 1), accuracy, **line)
            quality = [(entry["epoch"], entry["frechet_distance"]) for entry in run["quality"]]
            axes[1].plot(*zip(*quality, strict=True), marker=".", **(line | {"label": None}))
        axes[0].set_title(f"D {WIDE[arch]}, dropout {dropout:g}")
        axes[1].set(xlabel="epoch", yscale="log")
        utils.label_plainly(axes[1].yaxis)
    rows[0, 0].set_ylabel("accuracy of D in training")
    rows[1, 0].set_ylabel("Frechet distance of samples")
    figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def losses_and_quality(outcomes, seeds):
    """Every evaluation of the eight cells' runs: dictionaries {arch, dropout, eps, epoch, off, frechet}.

    `off` is how far the losses of that epoch are from log 2, the larger of the two, in nats.
    """
    evaluations = []
    for arch, dropout, eps, seed in itertools.product(WIDTHS, DROPOUTS, EPS, seeds):
        run = outcomes[name_of(arch, dropout, eps, "plain", seed)]
        for entry in run["quality"]:
            place, curves = entry["epoch"] - 1, run["curves"]
            off = max(abs(curves[name][place] - math.log(2)) for name in ("d_loss", "g_loss"))
            cell = {"arch": arch, "dropout": dropout, "eps": eps}
            evaluations.append(cell | {"epoch": entry["epoch"], "off": off, "frechet": entry["frechet_distance"]})
    return evaluations


def draw_losses_and_quality(evaluations):
    """Frechet distance over the losses' distance from log 2, a dot an evaluation, the larger the later."""
    figure, ax = utils.plt.subplots(figsize=(7.5, 4.6))
    latest = max(evaluation["epoch"] for evaluation in evaluations)
    for eps, (arch, marker) in itertools.product(EPS, zip(WIDTHS, "so", strict=True)):
        of = [each for each in evaluations if (each["eps"], each["arch"]) == (eps, arch)]
        sizes = [10 + 50 * each["epoch"] / latest for each in of]
        label = f"{NAMES[eps]}, D {WIDE[arch]}"
        places = [each["off"] for each in of], [each["frechet"] for each in of]
        ax.scatter(*places, s=sizes, color=COLOURS[eps], marker=marker, alpha=0.6, label=label)
    ax.set(xlabel="the losses' distance from log 2 (nats, the larger of the two)", ylabel="Frechet distance of samples")
    ax.set(xscale="log", yscale="log")
    utils.label_plainly(ax.xaxis)
    utils.label_plainly(ax.yaxis)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def near_log2(evaluations, off=0.1):
    """What the evaluations with both losses within `off` of log 2 say of the samples, in words."""
    near = sorted((each for each in evaluations if each["off"] <= off), key=lambda each: each["frechet"])
    told = f"losses within {off:g} of log 2: {len(near)} of {len(evaluations)} evaluations"
    if len(near) < 2:
        return f"{told}, too few to compare"
    first, last, best = near[0], near[-1], min(evaluations, key=lambda each: each["frechet"])
    return (
        f"{told}; Frechet distance {first['frechet']:.0f} (epoch {first['epoch']}) to {last['frechet']:.0f} "
        f"(epoch {last['epoch']}); the best of all evaluations, {best['frechet']:.0f}, has losses {best['off']:.2f} "
        "from log 2"
    )


def draw_losses_compared(outcomes, seeds):
    """Left: |dL/dlogit| of both losses over D(G(z)), from their formulas. Right: the gradient norm that reached G."""
    figure, (left, right) = utils.plt.subplots(1, 2, figsize=(11, 4))
    logits = torch.linspace(-12, 6, 200)
    probability = logits.sigmoid()
    left.loglog(probability, 1 - probability, color="#0072B2", label="non-saturating, 1 - D(G(z))")
    left.loglog(probability, probability, color="#D55E00", label="minimax, D(G(z))")
    left.set(
        xlabel="D(G(z)): the probability of being real that D gives a sample",
        ylabel="|gradient by D's logit| of a sample",
    )
    left.legend(fontsize=9)
    for (variant, colour), eps in itertools.product((("plain", "#0072B2"), ("minimax", "#D55E00")), EPS):
        curves = [outcomes[name_of("initial", 0.0, eps, variant, seed)]["curves"] for seed in seeds]
        loss = {"plain": "non-saturating"}.get(variant, variant)
        x = [value for curve in curves for value in curve["d_fake"]]
        y = [value for curve in curves for value in curve["g_grad_norm"]]
        marker = {1e-5: "o", 0.8: "^"}[eps]
        right.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.6, label=f"{loss}, {NAMES[eps]}")
    right.set(xlabel="mean D(G(z)) of an epoch", ylabel="gradient norm reaching G", xlim=(0, 1), yscale="log")
    utils.label_plainly(right.yaxis)
    right.legend(fontsize=9)
    return figure


def sentences(effects):
    """What the effects say, in words."""
    texts = []
    for factor, words in enumerate(FACTORS.values()):
        parts = []
        for quantity, (label, logarithmic) in QUANTITIES.items():
            found = effects[quantity][factor]
            show = (lambda v: f"x {math.exp(v):.2f}") if logarithmic else (lambda v: f"{v:+.3f}")
            between = "" if found["interval"] is None else f" [{', '.join(show(v) for v in found['interval'])}]"
            parts.append(f"{label} {show(found['mean'])}{between} ({found['same_sign']} of {found['pairs']} pairs)")
        texts.append(f"{words}: " + "; ".join(parts))
    return texts


def main(argv=None):
    args = parse_args(argv)
    planned = plan(args)
    if runs.train_all(planned, args) > 0:
        return
    folder, seeds = args.out_dir / "overpowering", list(range(args.seed, args.seed + args.seeds))
    results = {name: runs.load_result(folder / name) for name in planned}
    outcomes = {name: outcome(folder / name, result) for name, result in results.items()}
    effects = {quantity: [effect(outcomes, factor, quantity, seeds) for factor in range(4)] for quantity in QUANTITIES}
    config = next(iter(results.values()))["config"]
    source = (
        f"{utils.TITLES[args.dataset]}; {args.epochs} epochs, batch {args.batch_size}, "
        f"{len(seeds)} seeds from {args.seed}, {config['precision']} products"
    )
    evaluations = losses_and_quality(outcomes, seeds)
    figures = {
        "losses_and_quality": draw_losses_and_quality(evaluations),
        "overpowering": draw_cells(outcomes, seeds),
        "overpowering_curves": draw_curves(outcomes, seeds),
        "minimax": draw_losses_compared(outcomes, seeds),
    }
    for name, figure in figures.items():
        utils.save_figure(figure, args.figures_dir / f"{name}.png", source, args.dataset)
        print(f"figure: {args.figures_dir / name}.png")
    texts, near = sentences(effects), near_log2(evaluations)
    print(*texts, near, sep="\n")
    names = ("epochs", "seeds", "seed", "batch_size", "dataset", "limit")
    utils.save_json(
        args.out_dir / "overpowering.json",
        {
            "runs": outcomes,
            "effects": {q: dict(zip(FACTORS, found, strict=True)) for q, found in effects.items()},
            "sentences": texts,
            "near_log2": near,
            "config": {name: getattr(args, name) for name in names},
            "run_commits": sorted({str(result["provenance"]["git_commit"]) for result in results.values()}),
            "seconds": sum(result["seconds"] for result in results.values()),
            "provenance": utils.provenance(torch.device("cpu")),
        },
    )


if __name__ == "__main__":
    utils.run(main)
