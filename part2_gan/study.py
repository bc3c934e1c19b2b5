"""Figures 2 to 5: what the two discriminators do to the same generator.

    python study.py                     # balanced and initial on MNIST; goes on after a stop
    python study.py --dataset typeset --limit 6000 --epochs-initial 2 --epochs-balanced 4
    python study.py --runs balanced     # train only this one; the figures are drawn once both are there
    python study.py --runs initial_alternating initial_mended balanced_simultaneous
    torchrun --nproc-per-node 4 study.py --workers 1    # one run to a process, on one machine or several

| run                   | D                      | BatchNorm eps | scheme       | epochs | figures             |
| --------------------- | ---------------------- | ------------- | ------------ | ------ | ------------------- |
| balanced              | 784-256-128-1, dropout | 0.8           | alternating  | 200    | 4 and 5             |
| initial               | 784-512-256-1          | 0.8           | simultaneous | 50     | 2 and 3             |
| initial_alternating   | 784-512-256-1          | 0.8           | alternating  | 50     | slips: one          |
| initial_mended        | 784-512-256-1          | 1e-5          | alternating  | 50     | slips: none         |
| balanced_simultaneous | 784-256-128-1, dropout | 0.8           | simultaneous | 200    | -                   |

The report names neither eps nor scheme. Its figure 2 comes with two slips of much-copied code: `BatchNorm1d(n, 0.8)`,
which weakens the generator's normalisation, and simultaneous updates, so that D learns from samples of a G that is
gone. Its figure 4 comes closer with the first slip alone; balanced_simultaneous tells what the other does to it. The
initial_ runs take the slips away one after the other and leave all else as it is; grid.py turns every factor by itself,
over seeds.

Writes fig2 to fig5, training.gif (the balanced run's samples over the epochs), study.json, and the balanced generator
as generator.pt in half precision; once the three initial runs are there, slips.png (figure 2 with both slips, one,
none). What study.json holds of runs whose folders are not there stays in it.
"""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
import torch.distributed as dist
from matplotlib.animation import PillowWriter

import dataset
import train
import utils

FINAL_LOOKS = 10  # epochs between two looks at the samples of the long runs, here and in recipes.py
# Architecture, BatchNorm eps, update scheme.
RUNS = {
    "balanced": ("balanced", 0.8, "alternating"),
    "initial": ("initial", 0.8, "simultaneous"),
    "initial_alternating": ("initial", 0.8, "alternating"),
    "initial_mended": ("initial", 1e-5, "alternating"),
    "balanced_simultaneous": ("balanced", 0.8, "simultaneous"),
}
REPORTED = ("balanced", "initial")  # the report's figures; the others are controls
SLIPS = ("initial", "initial_alternating", "initial_mended")


def parse_args(argv=None):
    """The study's options."""
    parser = utils.Parser("Figures 2 to 5: train the report's two GANs.")
    count = utils.number(int, low=1)
    parser.add_argument("--epochs-initial", type=count, default=50, help="epochs of the initial runs")
    parser.add_argument("--epochs-balanced", type=count, default=200, help="epochs of the balanced run")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images a step")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=REPORTED, help="what to train")
    add_quality_options(parser, every=FINAL_LOOKS, low=0)
    return finish_args(parser, argv, workers=min(2, os.cpu_count() or 1))


def finish_args(parser, argv, workers):
    """Add the options that every study of several runs has, by default with so many workers, and parse `argv`."""
    parser.add_argument(
        "--workers", type=utils.number(int, low=1), default=workers, help="runs at a time, --threads (or 1) each"
    )
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    args = parser.parse_args(argv)
    utils.choose_folders(args)
    return args


def add_quality_options(parser, every=5, low=1):
    """Add what a study needs that follows the quality of its runs; with low=0 it may be told not to."""
    count = utils.number(int, low=low)
    parser.add_argument("--evaluate-every", type=count, default=every, help="epochs between two looks at the samples")
    parser.add_argument("--classifier", type=Path, help="the reader of digits for it (default: the one in the repo)")


def pass_on(args, *names):
    """The named options of a study, and those of every study, as words for train.py; what was not given is left out."""
    words = ["--threads", args.threads or 1]
    for name in *names, "device", "dataset", "data_dir", "limit", "figures_dir":
        if getattr(args, name) is not None:
            words += ["--" + name.replace("_", "-"), getattr(args, name)]
    return words


def prepare(args):
    """Fetch the data set once, before several processes want it, and make the study's folders."""
    dataset.load(args)
    utils.make_folder(args.out_dir)
    utils.make_folder(args.figures_dir)


def plan(args):
    """The study's runs as {name: options of train.py}, the longest first."""
    common = pass_on(args, "batch_size", "seed", "out_dir")
    runs = {}
    for name in [name for name in RUNS if name in args.runs]:
        arch, bn_eps, scheme = RUNS[name]
        epochs = args.epochs_balanced if arch == "balanced" else args.epochs_initial
        options = ["--arch", arch, "--bn-eps", bn_eps, "--scheme", scheme, "--epochs", epochs, "--name", name]
        options += ["--grid-epochs", *grid_epochs(epochs, film=name == "balanced")]
        if arch == "balanced":
            options += pass_on(args, "evaluate_every", "classifier")
        runs[name] = [str(word) for word in options + common]
    return runs


def progress(epochs):
    """The epochs of figure 5: the first, the middle one, the last."""
    return sorted({1, max(1, epochs // 2), epochs})


def grid_epochs(epochs, film):
    """When to draw a run's samples: as in figure 5, or for a film some 40 times, close together at first.

    The last epoch may be missing: train.py draws it in any case.
    """
    if not film:
        return progress(epochs)[:-1]
    return sorted({round(epochs ** (i / 50)) for i in range(51)}.union(progress(epochs)))


def run_one(options, position):
    """Train one run of the plan, or go on with it, or read its result if it is finished."""
    args = train.parse_args(options)
    args.resume = (args.out_dir / args.name / "checkpoint.pt").exists()
    try:
        return train.train(args, position=position)
    except utils.InputError as error:
        if args.resume:
            raise utils.InputError(f"{error} (move {args.out_dir / args.name} away, or give --out-dir)") from None
        raise


def run_all(runs, workers):
    """Train the runs, {name: options of train.py}, `workers` at a time; under torchrun, this process's share of them.

    Returns the rank of this process, 0 without torchrun; rank 0 returns when all runs are done.
    """
    rank, world = utils.join_ranks()
    own = list(runs.values())[rank::world]
    pool = ProcessPoolExecutor(
        min(workers, len(runs)), multiprocessing.get_context("spawn"), initializer=utils.prepare_worker
    )
    try:
        futures = [pool.submit(run_one, options, line % workers) for line, options in enumerate(own)]
        for future in as_completed(futures):  # whichever fails first ends the others
            future.result()
    finally:
        for worker in multiprocessing.active_children():
            worker.terminate()
        pool.shutdown(cancel_futures=True)
    if world > 1:
        dist.barrier()  # rank 0 waits for all runs
        dist.destroy_process_group()
    return rank


def draw_losses(name, args):
    """Figure 2 or 4: both losses of one run against the step."""
    figure, ax = utils.plt.subplots(figsize=(8, 4.2))
    history, config = load_history(args.out_dir / name)
    train.plot_losses(ax, history)
    ax.legend(loc="upper center", ncols=3)
    return figure, train.describe(config)


def draw_samples(name, epochs, letters, args):
    """Figure 3 or 5: the fixed-noise grids of one run at `epochs`."""
    samples = torch.load(args.out_dir / name / "samples.pt", weights_only=True)["samples"]
    config = load_result(args.out_dir / name)["config"]
    grids = {f"{letter}epoch {epoch}": samples[epoch] for epoch, letter in zip(epochs, letters, strict=True)}
    return train.draw_samples(grids, size=4), train.describe(config)


def write_film(path, args):
    """The balanced run's fixed-noise grid over the epochs, as an animated GIF that holds its last frame."""
    samples = torch.load(args.out_dir / "balanced" / "samples.pt", weights_only=True)["samples"]
    figure, ax = utils.plt.subplots(figsize=(2.4, 2.6))
    stand_in = "" if args.dataset == "mnist" else f"\n{utils.TITLES[args.dataset]}"
    writer = PillowWriter(fps=5)
    with utils.written_whole(path) as temporary, writer.saving(figure, temporary, dpi=120):
        for epoch in [*samples] + [max(samples)] * 10:
            ax.clear()
            utils.draw_images(ax, dataset.scale(samples[epoch]), columns=5)
            ax.set_title(f"epoch {epoch}{stand_in}", fontsize=10)
            writer.grab_frame()
    utils.plt.close(figure)


def draw_slips(args):
    """The losses of the first discriminator with both slips, with one and with none, on one scale."""
    figure, axes = utils.plt.subplots(1, len(SLIPS), figsize=(13, 4), sharey=True)
    for ax, name in zip(axes, SLIPS, strict=True):
        history, config = load_history(args.out_dir / name)
        train.plot_losses(ax, history)
        ax.set_title(f"BatchNorm eps {config['bn_eps']:g}, {config['scheme']}")
    ax.set_ylim(0, max(ax.dataLim.ymax for ax in axes))
    ax.legend(loc="upper right")  # where no spike reaches
    for ax in axes[1:]:
        ax.set_ylabel("")
    told = (
        train.describe(config)
        .replace(f"eps {config['bn_eps']:g}", "eps as named")
        .replace(f", {config['scheme']};", ";")
    )
    return figure, told


def load_history(folder):
    """A finished run's history (steps, columns) and config."""
    rows = torch.load(folder / "history.pt", weights_only=True)["rows"]
    return rows, load_result(folder)["config"]


def load_result(folder):
    """What result.json of a finished run holds."""
    return json.loads((folder / "result.json").read_text())


def epoch_means(folder, epochs):
    """The mean of every history column in every epoch of a finished run: {column: [a value an epoch]}."""
    rows = torch.load(folder / "history.pt", weights_only=True)["rows"]
    by_epoch = torch.stack([part.mean(0) for part in rows.chunk(epochs)])
    return {column: [round(v, 4) for v in by_epoch[:, i].tolist()] for i, column in enumerate(train.HISTORY)}


def summarise(name, result, args):
    """What study.json keeps of a run: its result and the mean of every history column in every epoch."""
    return result | {"by_epoch": epoch_means(args.out_dir / name, result["epochs"])}


def export_generator(args):
    """Save the balanced run's generator in half precision, small enough to keep in a repository."""
    checkpoint = utils.load_checkpoint(args.out_dir / "balanced" / "checkpoint.pt", "gan")
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in checkpoint["generator"].items()
    }
    exported = {name: checkpoint[name] for name in ("kind", "config", "epoch")} | {"generator": weights}
    utils.save_checkpoint(args.out_dir / "generator.pt", exported)


def main():
    args = parse_args()
    prepare(args)
    runs = plan(args)
    if run_all(runs, args.workers) > 0:
        return

    results = {
        name: load_result(args.out_dir / name) for name in RUNS if (args.out_dir / name / "result.json").exists()
    }
    if missing := [name for name in REPORTED if name not in results]:
        print(f"trained: {', '.join(runs)}; the figures follow once there are also {', '.join(missing)}")
        return

    stages = progress(args.epochs_balanced)
    figures = {
        "fig2_initial_losses": draw_losses("initial", args),
        "fig3_initial_samples": draw_samples("initial", [args.epochs_initial], [""], args),
        "fig4_balanced_losses": draw_losses("balanced", args),
        "fig5_progression": draw_samples("balanced", stages, ["(a) ", "(b) ", "(c) "][: len(stages)], args),
    }
    if results.keys() >= set(SLIPS):
        figures["slips"] = draw_slips(args)
    for name, (figure, source) in figures.items():
        utils.save_figure(figure, args.figures_dir / f"{name}.png", source, args.dataset)
        print(f"figure: {args.figures_dir / name}.png")
    write_film(args.figures_dir / "training.gif", args)
    export_generator(args)
    path = args.out_dir / "study.json"
    known = json.loads(path.read_text())["runs"] if path.exists() else {}
    known |= {name: summarise(name, result, args) for name, result in results.items()}
    utils.save_json(path, {"columns": train.HISTORY, "runs": {name: known[name] for name in RUNS if name in known}})
    for name, result in results.items():
        means = ", ".join(f"{column} {value:.3f}" for column, value in result["last_epoch"].items())
        print(f"{name}: {result['epochs']} epochs, {result['seconds'] / 60:.0f} min; last epoch: {means}")


if __name__ == "__main__":
    utils.run(main)
