"""Figure 1: accuracy of LSTM and vanilla RNN over the sequence length, several seeds, one protocol for both.

    python compare.py                                         9 lengths x 2 cells x 5 seeds
    python compare.py --lengths 3 7 11 --seeds 1 --epochs 5   a first look
    torchrun --nproc-per-node 4 compare.py                    the runs shared out over processes, or over machines

Every run is train.py's own and writes its folder below OUT_DIR/compare; finished runs are not repeated, so a stopped
sweep goes on with the same command (sweep.py). A seed fixes a run's initial weights, split and order of batches; the
palindromes are the same for all (--data-seed).

At the end: OUT_DIR/compare.json (every run; for each cell and length median, mean, standard deviation, updates to 99 %,
and the success rate with its 95 % Wilson interval) and FIGURES_DIR/fig1_lstm_vs_rnn.png, where every run is a dot: RNN
runs tend to either solve the task or fail, which a mean with an error bar would hide.
"""

import time

import matplotlib.pyplot as plt

from cells import CELLS
from sweep import COLUMNS, add_sweep_options, longest_first, one_run, outcome, successes, summarise, train_sweep
from utils import Parser, run, save_figure, save_json

LENGTHS = [3, 7, 11, 13, 15, 17, 19, 21, 25]
ZONE_FROM = 15  # where the report's figure begins its "vanishing gradient zone"


def parse_args(argv=None):
    """The sweep's options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("Compare LSTM and vanilla RNN over sequence lengths and seeds, under one protocol.")
    add_sweep_options(parser, LENGTHS)
    return parser.parse_args(argv)


def plan(args):
    """The options of every run, longest run first so that none is left over alone at the end.

    Raises InputError if a length does not go with the other options.
    """
    runs = [
        one_run(args, cell=cell, input_length=input_length, seed=seed)
        for input_length in set(args.lengths)
        for cell in CELLS
        for seed in range(args.seed, args.seed + args.seeds)
    ]
    return longest_first(runs)


def draw_runs(axes, runs, summary, colour, side, **line):
    """Draw one cell: every run a dot, `side` beside its length, and the medians as a line with the options `line`."""
    x = [entry["input_length"] + side for entry in runs]
    axes.scatter(x, [entry["accuracy"] for entry in runs], s=30, color=colour, alpha=0.75, linewidth=0)
    axes.plot([row["input_length"] for row in summary], [row["median"] for row in summary], color=colour, **line)


def write_successes(axes, summary, colour, side, y, fontsize=9):
    """Write the share of successes, such as 3/5, at height `y` over the lengths where a run failed."""
    for row in summary:
        if row["success_rate"] < 1:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # keeps grid lines out of the digits
            x = row["input_length"] + side
            axes.text(x, y, successes(row), color=colour, fontsize=fontsize, ha="center", va="center", bbox=box)


def plot(runs, summary, args, path):
    """Write figure 1 to `path`: every run a dot over its length, medians as lines."""
    figure, axes = plt.subplots(figsize=(8, 5))
    shortest, longest = min(args.lengths), max(args.lengths)
    aside = max(longest - shortest, 1) / 100  # moves the dots of the two cells apart
    axes.axhline(1.0, color="0.6", linewidth=1, zorder=1)
    if longest >= ZONE_FROM:
        axes.axvspan(ZONE_FROM, longest + 5 * aside, color="0.93", zorder=0)
        axes.text(
            longest + 4 * aside, 0.02, 'the report\'s "vanishing gradient zone"', fontsize=9, color="0.35", ha="right"
        )
    for n, (cell, (_, _, label, colour)) in enumerate(CELLS.items()):
        side, height = (2 * n - len(CELLS) + 1) * aside, 1.1 - 0.05 * n
        rows = [row for row in summary if row["cell"] == cell]
        own = [entry for entry in runs if entry["cell"] == cell]
        draw_runs(axes, own, rows, colour, side, label=f"{label}, median")
        write_successes(axes, rows, colour, side, height)
        tested = [entry for entry in own if entry["test_accuracy"] is not None]
        x = [entry["input_length"] + 2.2 * side for entry in tested]
        y = [entry["test_accuracy"] for entry in tested]
        axes.scatter(x, y, s=22, marker="D", facecolor="none", edgecolor=colour, linewidth=0.9)
    axes.scatter([], [], s=30, color="0.4", label="one run, best validation accuracy")
    axes.scatter([], [], s=22, marker="D", facecolor="none", edgecolor="0.4", label="the same run, fresh palindromes")
    axes.axhline(0.1, color="0.5", linewidth=1.2, linestyle=":", zorder=1, label="random guess")
    if any(row["success_rate"] < 1 for row in summary):
        axes.scatter(
            [], [], s=160, marker="$3/5$", color="0.4", label=f"runs that reached {args.stop_at:g}, if not all"
        )
    axes.set(
        xlabel="sequence length T (digits read)",
        ylabel="accuracy",
        xticks=sorted(set(args.lengths)),
        xlim=(shortest - 5 * aside, longest + 5 * aside),
        ylim=(0, 1.14),
    )
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)  # inside, it would hide runs
    save_figure(figure, path, f"compare.py: {seeds_text(args.seed, args.seeds)}, {args.optimizer}, {source_text(args)}")


def seeds_text(seed, seeds):
    """Such as `5 seeds from 0`, for the foot of a figure."""
    return f"{seeds} seed{'s' * (seeds > 1)} from {seed}"


def source_text(args):
    """What the runs of a sweep have in common, for the foot of a figure."""
    return (
        f"{args.total_len} palindromes, {args.train_portion:g} to train on, lr {args.lr:g}, batch {args.batch_size}, "
        f"hidden {args.hidden_size}, clip {args.clip:g}, at most {args.epochs} epochs, "
        f"stop at {args.stop_at:g}"
    )


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figure."""
    start = time.perf_counter()
    args = parse_args(argv)
    results, header = train_sweep(args, plan(args))
    if results is None:
        return
    runs = [
        {name: result["config"][name] for name in ("cell", "input_length", "seed")}
        | {name: result[name] for name in COLUMNS}
        for result in results
    ]
    runs.sort(key=lambda entry: (entry["cell"], entry["input_length"], entry["seed"]))
    summary = summarise(runs)
    figure_path, summary_path = args.figures_dir / "fig1_lstm_vs_rnn.png", args.out_dir / "compare.json"
    plot(runs, summary, args, figure_path)
    save_json(summary_path, header | {"runs": runs, "summary": summary, "seconds": time.perf_counter() - start})
    for row in summary:
        print(f"{CELLS[row['cell']].label:>11}  T {row['input_length']:>4}  {outcome(row, args.stop_at)}")
    print(summary_path, figure_path, sep="\n")


if __name__ == "__main__":
    run(main)
