"""Figure 1: accuracy of LSTM and vanilla RNN over the sequence length, several seeds, one protocol for both.

    python compare.py                                         9 lengths x 2 cells x 5 seeds
    python compare.py --lengths 3 7 11 --seeds 1 --epochs 5   a quick try
    torchrun --nproc-per-node 4 compare.py                    the runs shared out over processes, or over machines

Each run is one of train.py with its folder in OUT_DIR/compare; finished runs are not repeated, so the same command
continues a stopped sweep (sweep.py). A seed determines a run's initial weights, split and order of batches; the
palindromes are the same for all (--data-seed).

Writes OUT_DIR/compare.json (every run; for each cell and length median, mean, standard deviation, updates to 99 %, and
the success rate with its 95 % Wilson interval) and FIGURES_DIR/fig1_lstm_vs_rnn.png, where each run is a dot: RNN runs
tend to either solve the task or fail, which a mean with an error bar would hide.
"""

import time

import matplotlib.pyplot as plt

import plots
import utils
from cells import CELLS
from sweep import add_sweep_options, longest_first, one_run, outcome, rows_of, summarise, train_sweep

LENGTHS = [3, 7, 11, 13, 15, 17, 19, 21, 25]
ZONE_FROM = 15  # where the report's figure begins its "vanishing gradient zone"


def parse_args(argv=None):
    """The sweep's options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Compare LSTM and vanilla RNN over sequence lengths and seeds, under one protocol.")
    add_sweep_options(parser, LENGTHS)
    return parser.parse_args(argv)


def plan(args):
    """The options of every run; raises InputError if a length does not go with the other options."""
    runs = [
        one_run(args, cell=cell, input_length=input_length, seed=seed)
        for input_length in set(args.lengths)
        for cell in CELLS
        for seed in range(args.seed, args.seed + args.seeds)
    ]
    return longest_first(runs)


def plot(runs, summary, args, path):
    """Write figure 1 to `path`: every run a dot over its length, medians as lines."""
    figure, axes = plt.subplots(figsize=(8, 5))
    shortest, longest = min(args.lengths), max(args.lengths)
    apart = max(longest - shortest, 1) / 100  # between the dots of the cells
    axes.axhline(1.0, color="0.6", linewidth=1, zorder=1)
    if longest >= ZONE_FROM:
        axes.axvspan(ZONE_FROM, longest + 5 * apart, color="0.93", zorder=0)
        zone = 'the report\'s "vanishing gradient zone"'
        axes.text(longest + 4 * apart, 0.02, zone, fontsize=9, color="0.35", ha="right")
    hollow = {"s": 22, "marker": "D", "facecolor": "none", "linewidth": 0.9}
    for n, (cell, (_, _, label, colour)) in enumerate(CELLS.items()):
        shift, height = (2 * n - len(CELLS) + 1) * apart, 1.1 - 0.05 * n
        rows = [row for row in summary if row["cell"] == cell]
        own = [entry for entry in runs if entry["cell"] == cell]
        plots.draw_runs(axes, own, rows, colour, shift, label=f"{label}, median")
        plots.write_successes(axes, rows, colour, shift, height)
        tested = [entry for entry in own if entry["test_accuracy"] is not None]
        x = [entry["input_length"] + 2.2 * shift for entry in tested]
        axes.scatter(x, [entry["test_accuracy"] for entry in tested], edgecolor=colour, **hollow)
    axes.scatter([], [], s=30, color="0.4", label="one run, best validation accuracy")
    axes.scatter([], [], edgecolor="0.4", label="the same run, palindromes of neither split", **hollow)
    axes.axhline(0.1, **plots.GUESS)
    if any(row["success_rate"] < 1 for row in summary):
        axes.scatter([], [], label=f"runs that reached {args.stop_at:g}, if not all", **plots.FRACTION)
    axes.set(
        xlabel="sequence length T (digits read)",
        ylabel="accuracy",
        xticks=sorted(set(args.lengths)),
        xlim=(shortest - 5 * apart, longest + 5 * apart),
        ylim=(0, 1.14),
    )
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)  # inside, it would hide runs
    source = f"{plots.seeds_text(args.seed, args.seeds)}, {args.optimizer}, {plots.source_text(args)}"
    utils.save_figure(figure, path, f"compare.py: {source}")


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figure."""
    start = time.perf_counter()
    args = parse_args(argv)
    results, header = train_sweep(args, plan(args))
    if results is None:
        return
    runs = rows_of(results, ("cell", "input_length", "seed"))
    runs.sort(key=lambda entry: (entry["cell"], entry["input_length"], entry["seed"]))
    summary = summarise(runs)
    figure_path, summary_path = args.figures_dir / "fig1_lstm_vs_rnn.png", args.out_dir / "compare.json"
    data = {"runs": runs, "summary": summary, "seconds": time.perf_counter() - start}
    utils.save_json(summary_path, header | data)
    plot(runs, summary, args, figure_path)
    for row in summary:
        print(f"{CELLS[row['cell']].label:>11}  T {row['input_length']:>4}  {outcome(row, args.stop_at)}")
    print(summary_path, figure_path, sep="\n")


if __name__ == "__main__":
    utils.run(main)
