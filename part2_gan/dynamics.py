"""Figures 2 to 5: the report's two discriminators against one generator, by the author's code and by the report's text.

    python dynamics.py --out-dir mine                   # four runs of MNIST, hours; started again it goes on
    python dynamics.py --out-dir mine --seeds 3         # adds two more seeds
    python dynamics.py --draw                           # draws the rows that are there, without MNIST
    python dynamics.py --out-dir try --dataset typeset --limit 6000 --epochs-initial 2 --epochs-balanced 4

The initial D is trained for 50 epochs, figures 2 and 3, the balanced D for 200, figures 4 and 5. A figure has a panel
with the settings of the code and one with those of the text (train.RECIPES).

Reads the digits, classifier.pt and report_record.json, the losses that the report's author printed. Writes
fig2_initial_losses.png, fig3_initial_samples.png, fig4_balanced_losses.png, fig5_progression.png and training.gif (the
first balanced run by code, epoch by epoch) into FIGURES_DIR; dynamics.json, a row a run, and generator.pt, the
generator of that run in half precision, into OUT_DIR.
"""

import io
import itertools

import torch
from matplotlib.figure import Figure
from PIL import Image

import dataset
import files
import metrics
import plots
import runs
import train
import utils
from classifier import with_test_digits

RECIPES = ("code", "text")
NAMES = {  # of the figures
    "initial": ("fig2_initial_losses", "fig3_initial_samples"),
    "balanced": ("fig4_balanced_losses", "fig5_progression"),  # and training.gif
}


def parse_args(argv=None):
    """The options; args.first is the first seed, as a run's args.seed is its own."""
    parser, count = utils.Parser("Figures 2 to 5: the report's two discriminators."), utils.number(int, low=1)
    for arch, epochs in train.EPOCHS.items():
        parser.add_argument(f"--epochs-{arch}", type=count, default=epochs, help=f"of the runs with the {arch} D")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images per step")
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="typeset: the stand-in, no download")
    parser.add_argument("--limit", type=utils.number(int, low=0), default=0, help="the first so many images (0: all)")
    train.add_where(parser)
    runs.add_options(parser, seeds=1)
    utils.add_options(parser, threads=1)
    args = parser.parse_args(argv)
    args.first = args.seed
    return args


def plan(args):
    """The runs {name: options}, the longest first."""
    shared, chosen = {name: getattr(args, name) for name in ("batch_size", "dataset", "limit")}, []
    for arch, epochs in {"balanced": args.epochs_balanced, "initial": args.epochs_initial}.items():
        for seed in range(args.first, args.first + args.seeds):
            own = {"arch": arch, "epochs": epochs, "seed": seed}
            chosen += [train.options(recipe, **own, **shared) for recipe in RECIPES]
    return {train.name_of(options): options for options in chosen}


def run(args):
    """Train one run. Its row says how many of its 25 samples are sure at each stage, and keeps few of them."""
    row = train.train(args)
    samples, stages = row["samples"], stages_of(row)
    if args.evaluate_every:
        row["sure"], device = {}, utils.pick_device(args)
        classifier, _ = with_test_digits(args, device)
        for epoch in stages:
            images = dataset.scale(dataset.unpack(samples[epoch])).to(device)
            row["sure"][epoch] = 25 - metrics.describe(metrics.outputs(classifier, images)[1])["unsure"]
    row["largest_g_loss"] = max(row["bands"]["g_loss"]["max"])
    if (args.recipe, args.arch, args.seed) != ("code", "balanced", args.first):  # that run is shown epoch by epoch
        kept = stages if args.seed == args.first else stages[-1:]
        row["samples"] = {epoch: samples[epoch] for epoch in kept}
    return row


def stages_of(row):
    """The epochs of figure 5, as samples have them for keys: the first, the middle one, the last."""
    epochs = row["epochs"]
    return [str(epoch) for epoch in sorted({1, max(1, epochs // 2), epochs})]


def export_generator(checkpoint, path):
    """Save a run's generator in half precision, small enough for a repository."""
    saved = files.load(checkpoint, "options", "epoch", "generator", kind="gan")
    halved = {name: value.half() if value.is_floating_point() else value for name, value in saved["generator"].items()}
    files.save(path, {name: saved[name] for name in ("kind", "options", "epoch")} | {"generator": halved})


def collapsed(row):
    """Whether the balanced D still tells real from fake in the last quarter of a run of at least 100 epochs.

    That is, whether its mean accuracy there is above .65; in the runs where it loses that ability it is below .6.
    """
    accuracy = row["by_epoch"]["d_accuracy"]
    late = accuracy[len(accuracy) * 3 // 4 :]
    return row["arch"] == "balanced" and len(accuracy) >= 100 and sum(late) / len(late) > 0.65


def draw_dynamics(groups, arch):
    """Both losses over the epochs, below them D's accuracy, a column for each recipe, {recipe: rows}.

    Thick lines are medians; runs that collapse have thin lines of their own. The losses that the report's author
    printed are dots, in the column of the code. Returns the figure.
    """
    figure = Figure(figsize=(11, 6.4))
    axes = figure.subplots(2, len(groups), sharex=True, sharey="row", squeeze=False, height_ratios=(2, 1))
    for (upper, lower), (recipe, rows) in zip(axes.T, groups.items(), strict=True):
        epochs, wanted, blue = rows[0]["epochs"], train.EPOCHS[arch], plots.COLOURS["d_loss"]
        short = f", after {epochs} of {wanted} epochs" if epochs < wanted else ""
        lost = [row for row in rows if collapsed(row)]
        if usual := [row for row in rows if row not in lost]:
            plots.draw_losses(upper, usual)
            plots.draw_median(lower, usual, "d_accuracy", color=blue)
        for row in lost:
            plots.draw_losses(upper, [row], filled=False, lw=0.8, label=None)
            plots.draw_median(lower, [row], "d_accuracy", color=blue, lw=0.8)
        for ax, column in ((upper, "g_loss"), (lower, "d_accuracy")) if lost else ():
            place = 0.35 * epochs, max(max(row["by_epoch"][column][epochs // 4 :]) for row in lost)
            seeds = " and ".join(str(row["seed"]) for row in lost)
            ax.text(*place, f"collapsed: seed{'s' * (len(lost) > 1)} {seeds}", fontsize=9.5)
        if (recipe, arch) == ("code", "balanced"):
            record = files.load(utils.HERE / "report_record.json", "losses")["losses"]
            values = torch.tensor([record["d_loss"], record["g_loss"]]).T
            x = torch.arange(len(values)) * record["steps_between"] / record["steps_per_epoch"]
            points = upper.plot(x[x < epochs], values[x < epochs], ".", color="0.35", ms=2.5)
            points[0].set_label("printed by the report's author")
        upper.set(title=f"Settings of the {recipe}, {arch} D{short}", xlabel="")
        lower.set(xlabel="epoch", ylim=(0.4, 1), yticks=(0.5, 0.75, 1))
        lower.axhline(0.5, color="0.3", lw=1, ls=":")
        lower.text(epochs, 0.49, "guessing ", ha="right", va="top", fontsize=9.5)
    axes[0, -1].set_ylabel("")
    axes[0, 0].set(ylabel="loss (nats)", ylim=(0, None))
    axes[1, 0].set_ylabel("D is right on")
    axes[1, 0].yaxis.set_major_formatter("{x:.0%}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, markerscale=3)
    return figure


def draw_samples(groups, stages):
    """Grids of the first seed's samples, a row for each recipe, or side by side where there is one stage."""
    shape = (1, len(groups)) if len(stages) == 1 else (len(groups), len(stages))
    figure, shown = Figure(figsize=(3.2 * shape[1] + 0.3, 3.4 * shape[0] + 0.4)), itertools.product(groups, stages)
    grids = {f"Settings of the {recipe}, epoch {stage}": groups[recipe][0]["samples"][stage] for recipe, stage in shown}
    plots.draw_grids(figure.subplots(*shape, squeeze=False).flat, grids)
    return figure


def write_animation(row, path):
    """The samples of a run over the epochs as an animated GIF that holds its last frame."""
    frames, stand_in = [], "" if row["dataset"] == "mnist" else "\n" + utils.TITLES[row["dataset"]]
    for epoch, samples in row["samples"].items():
        figure, frame = Figure(figsize=(2.4, 2.6)), io.BytesIO()
        plots.draw_grids([figure.subplots()], {f"epoch {epoch}{stand_in}": samples})
        figure.savefig(frame, format="png", dpi=120)
        frames.append(Image.open(frame).convert("L"))
    milliseconds = [200] * (len(frames) - 1) + [2000]
    with files.written_whole(path) as temporary:
        frames[0].save(temporary, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    print(f"figure: {path}")


def draw(rows, args):
    """Draw what the rows allow; a line tells what they do not. The samples are those of the first seed."""
    rows = sorted(rows, key=lambda row: (row["seed"] != args.first, row["seed"]))
    digits, bands, lacking = plots.describe_digits(rows[0]), all("bands" in row for row in rows), []
    if not bands:
        print("rows without bands of the losses: means per epoch are drawn instead")
    for arch, (losses, grids) in NAMES.items():
        groups = {recipe: [r for r in rows if (r["recipe"], r["arch"]) == (recipe, arch)] for recipe in RECIPES}
        if not all(groups.values()):
            lacking += losses, grids
            continue
        counts = " and ".join(f"{len(of_recipe)} by {recipe}" for recipe, of_recipe in groups.items())
        foot = f"{digits}; runs: {counts}; line: median, band: " + ("95 % of their batches" if bands else "all runs")
        figures = {losses: (draw_dynamics(groups, arch), foot)}
        firsts = [of_recipe[0] for of_recipe in groups.values()]
        stages = stages_of(firsts[0])[-1 if arch == "initial" else 0 :]
        if all(stage in row.get("samples", ()) for row in firsts for stage in stages):
            figures[grids] = (draw_samples(groups, stages), f"{digits}; seed {args.first}, the same latents throughout")
        else:
            lacking.append(grids)
        for name, (figure, foot) in figures.items():
            utils.save_figure(figure, path := args.figures_dir / f"{name}.png", foot, rows[0]["dataset"])
            print(f"figure: {path}")
        if arch == "balanced" and grids in figures:
            write_animation(groups["code"][0], args.figures_dir / "training.gif")
    if lacking:
        print(f"left as they are, for want of rows with samples: {', '.join(lacking)}")


def main(argv=None):
    args = parse_args(argv)
    planned = plan(args)
    rows = runs.study("dynamics", planned, run, args, train.CODE)
    if not rows:  # under torchrun another process has them
        return
    first = args.out_dir / "dynamics" / next(iter(planned)) / "checkpoint.pt"  # code, balanced, the first seed
    if first.exists() and not args.draw:
        export_generator(first, args.out_dir / "generator.pt")
    with utils.style():
        draw(rows, args)


if __name__ == "__main__":
    utils.run(main)
