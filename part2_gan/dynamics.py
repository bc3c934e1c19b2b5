"""Figures 2 to 5: the report's two discriminators against one generator, by the author's code and by the report's text.

    python dynamics.py --out-dir mine               # four runs of MNIST, hours; started again it goes on
    python dynamics.py --out-dir mine --seeds 3     # adds two more seeds
    python dynamics.py --draw                       # draws the rows that are there, without MNIST
    python dynamics.py --out-dir try --dataset typeset --epochs-initial 2 --epochs-balanced 4 --evaluate-every 0

The initial D is trained for 50 epochs, figures 2 and 3, the balanced D for 200, figures 4 and 5. Both are trained with
the settings of the code and with those of the text (train.RECIPES), a panel each.

Reads the digits, classifier.pt and report_record.json, the losses that the report's author printed. Writes the figures
and training.gif (the first balanced run by code) into FIGURES_DIR; dynamics.json, a row a run, and generator.pt, that
run's generator in half precision, into OUT_DIR.
"""

import io

import torch
from matplotlib.figure import Figure
from PIL import Image

import dataset
import files
import latents
import metrics
import plots
import runs
import train
import utils
from classifier import with_test_digits

RECIPES = ("code", "text")
NAMES = ("fig2_initial_losses", "fig3_initial_samples", "fig4_balanced_losses", "fig5_progression")


def plan(args):
    """The runs {name: options}, the longest first."""
    shared, chosen = {name: getattr(args, name) for name in ("batch_size", "dataset", "limit")}, []
    for arch, epochs in {"balanced": args.epochs_balanced, "initial": args.epochs_initial}.items():
        for seed in range(args.first, args.first + args.seeds):
            chosen += [train.options(r, arch=arch, epochs=epochs, seed=seed, **shared) for r in RECIPES]
    return {train.name_of(options): options for options in chosen}


def run(args):
    """Train one run. Its row says how many of its 25 samples are sure at each stage, and keeps few of them."""
    row = train.train(args)
    samples, stages = row["samples"], stages_of(row)
    if args.evaluate_every:
        classifier, _ = with_test_digits(args, device := utils.pick_device(args))
        images = {epoch: dataset.scale(dataset.unpack(samples[epoch])).to(device) for epoch in stages}
        seen = {epoch: metrics.outputs(classifier, images[epoch])[1] for epoch in stages}
        row["sure"] = {epoch: 25 - metrics.describe(seen[epoch])["unsure"] for epoch in stages}
    if (args.recipe, args.arch, args.seed) != ("code", "balanced", args.first):  # the animation shows that run
        row["samples"] = {epoch: samples[epoch] for epoch in (stages if args.seed == args.first else stages[-1:])}
    return row


def stages_of(row):
    """The epochs of figure 5, as a row's samples have them for keys: the first, the nearest to the middle, the last."""
    drawn = [int(epoch) for epoch in row["samples"]]
    middle = min(drawn, key=lambda epoch: abs(epoch - row["epochs"] // 2))
    return [str(epoch) for epoch in sorted({min(drawn), middle, max(drawn)})]


def collapsed(row):
    """Whether the balanced D is right on more than 65 % in the last quarter of 100 epochs or more; else below 60."""
    late = row["by_epoch"]["d_accuracy"][row["epochs"] * 3 // 4 :]
    return row["arch"] == "balanced" and row["epochs"] >= 100 and sum(late) / len(late) > 0.65


def draw_dynamics(groups, arch):
    """Both losses over the epochs, below them D's accuracy, a column for each recipe, {recipe: rows}.

    Thick lines are medians without the collapsed runs, which have thin lines; dots are the report's printed losses.
    """
    figure, blue, wanted = Figure(figsize=(11, 6.4)), plots.COLOURS["d_loss"], train.EPOCHS[arch]
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(2, 1))
    for (upper, lower), (recipe, rows) in zip(axes.T, groups.items(), strict=True):
        epochs, lost = rows[0]["epochs"], [row for row in rows if collapsed(row)]
        usual = [row for row in rows if row not in lost] or rows
        plots.draw_losses(upper, usual)
        plots.draw_median(lower, usual, "d_accuracy", color=blue)
        for row in lost:
            plots.draw_losses(upper, [row], filled=False, lw=0.8, label=None)
            plots.draw_median(lower, [row], "d_accuracy", filled=False, color=blue, lw=0.8)
        if lost:
            name = f"collapsed: seed{'s' * (len(lost) > 1)} " + " and ".join(str(row["seed"]) for row in lost)
            upper.text(0.35 * epochs, max(lost[0]["by_epoch"]["g_loss"][epochs // 4 :]), name, fontsize=9.5)
            lower.text(0.35 * epochs, max(lost[0]["by_epoch"]["d_accuracy"][epochs // 4 :]), name, fontsize=9.5)
        if (recipe, arch) == ("code", "balanced"):
            record = files.load(utils.HERE / "report_record.json", "losses")["losses"]
            for name, colour in plots.COLOURS.items():
                values = torch.tensor(record[name])
                x = torch.arange(len(values)) * record["steps_between"] / record["steps_per_epoch"]
                upper.plot(x[x < epochs], values[x < epochs], ".", color=colour, ms=2, alpha=0.5)
            upper.plot([], [], ".", color="0.35", ms=2.5, label="printed by the report's author")
        short = f", after {epochs} of {wanted} epochs" if epochs < wanted else ""
        upper.set(title=f"Settings of the {recipe}, {arch} D{short}", xlabel="")
        lower.set(xlabel="epoch", ylim=(0.4, 1), yticks=(0.5, 0.75, 1))
        lower.axhline(0.5, color="0.3", lw=1, ls=":")
        lower.text(epochs, 0.49, "guessing ", ha="right", va="top", fontsize=9.5)
    axes[0, 1].set_ylabel("")
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylabel("D is right on")
    axes[1, 0].yaxis.set_major_formatter("{x:.0%}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4, markerscale=3)
    return figure


def draw_samples(groups, arch):
    """Grids of the first row's samples, {recipe: rows}: of the balanced D a row for each recipe, else the last ones."""
    grids = {}
    for recipe, (row, *_) in groups.items():
        for stage in stages_of(row)[-1 if arch == "initial" else 0 :]:
            grids[f"Settings of the {recipe}, epoch {stage}"] = row["samples"][stage]
    high, wide = (1, 2) if len(grids) == 2 else (2, len(grids) // 2)
    figure = Figure(figsize=(3.2 * wide + 0.3, 3.5 * high + 0.4))
    plots.draw_grids(figure.subplots(high, wide).flat, grids)
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


def draw(rows, args):
    """Draw the figures from the rows, the samples being those of the lowest seed."""
    rows = sorted(rows, key=lambda row: row["seed"])
    digits, data = plots.describe_digits(rows[0]), rows[0]["dataset"]
    spread = "95 % of their batches" if all("bands" in row for row in rows) else "range of their means"
    for arch, losses, grids in (("initial", *NAMES[:2]), ("balanced", *NAMES[2:])):
        groups = {recipe: [r for r in rows if (r["recipe"], r["arch"]) == (recipe, arch)] for recipe in RECIPES}
        if not all(groups.values()):
            print(f"{losses}, {grids}: left as they are, rows are missing")
            continue
        counts = " and ".join(f"{len(group)} by {recipe}" for recipe, group in groups.items())
        lost = any(collapsed(row) for group in groups.values() for row in group)
        line = "thick line, those that did not collapse" if lost else "line"
        foot = f"{digits}; runs: {counts}; {line}: median, band: {spread}"
        utils.save_figure(draw_dynamics(groups, arch), args.figures_dir / f"{losses}.png", foot, data)
        first = groups["code"][0]
        foot = f"{digits}; seed {first['seed']}, the same latents throughout"
        utils.save_figure(draw_samples(groups, arch), args.figures_dir / f"{grids}.png", foot, data)
        if arch == "balanced":
            write_animation(first, args.figures_dir / "training.gif")


def main(argv=None):
    parser = utils.Parser("Figures 2 to 5: the report's two discriminators.")
    for arch, epochs in train.EPOCHS.items():
        parser.add_argument(f"--epochs-{arch}", type=train.COUNT, default=epochs, help=f"of the runs with the {arch} D")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images per step")
    dataset.add_options(parser)
    train.add_evaluation(parser)
    runs.add_options(parser, seeds=1)
    args = parser.parse_args(argv)
    args.first = args.seed  # a run's args.seed is its own
    rows = runs.study("dynamics", planned := plan(args), run, args, train.CODE)
    if not rows:  # under torchrun another process has them
        return
    first = args.out_dir / "dynamics" / next(iter(planned)) / "checkpoint.pt"  # code, balanced, the first seed
    if first.exists() and not args.draw:
        latents.export(first, args.out_dir / "generator.pt")
    with utils.style():
        draw(rows, args)


if __name__ == "__main__":
    utils.run(main)
