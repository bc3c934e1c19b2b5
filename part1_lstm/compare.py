"""Figure 1: accuracy of LSTM and vanilla RNN over the sequence length, as published and under one protocol for both.

    python compare.py --seeds 10                              the published figure: 9 lengths, 2 cells, 10 seeds, twice
    python compare.py --out-dir mine --lengths 3 7 11 --seeds 1 --epochs 5 --updates 200
    python compare.py --out-dir mine --lengths 3 7 11 --seeds 3 --epochs 5 --updates 200      adds the missing seeds
    torchrun --nproc-per-node 4 compare.py --seeds 10         the runs shared out over processes, or over machines

    as published    what the report's figure shows: the LSTM passes over 8,000 palindromes, drawn anew for each run,
                    until its validation accuracy is 99.9 %; the RNN, from an earlier assignment, has 2,000 updates on
                    fresh batches, and its accuracy is the mean over the last 100 of them
    one protocol    the text's, for both cells: passes over the same 8,000 palindromes until 99 %

Each run is one of train.py with its folder in OUT_DIR/compare; finished runs are not repeated, so the same command
continues a stopped sweep (sweep.py). A seed determines a run's initial weights, split and order of batches.

Reads report_record.json, which holds the report's own numbers. Writes OUT_DIR/compare.json (every run; for each side,
cell and length median, mean, standard deviation, updates to 99 %, and the success rate with its 95 % Wilson interval)
and FIGURES_DIR/fig1_lstm_vs_rnn.png, where each run is a dot: RNN runs tend to either solve the task or fail, which a
mean with an error bar would hide.
"""

import time

import matplotlib.pyplot as plt

import plots
import utils
from cells import CELLS
from sweep import add_sweep_options, one_run, outcome, rows_of, summarise, train_sweep
from train import add_updates_option

LENGTHS = [3, 7, 11, 13, 15, 17, 19, 21, 25]
ZONE_FROM = 15  # where the report's figure begins its "vanishing gradient zone"
RECORD = utils.HERE / "report_record.json"
HOLLOW = {"s": 22, "marker": "D", "facecolor": "none", "linewidth": 0.9}
RING = {"s": 20, "marker": "o", "facecolor": "none", "linewidth": 0.9}
MEAN = {"s": 40, "marker": "+", "linewidth": 1.6}
SIDES = {"published": "As published", "written": "One protocol for both cells"}
# Where the report's code differs, beside the LSTM's palindromes, which it draws anew for each run.
PUBLISHED = {"lstm": {"stop_at": 0.999}, "rnn": {"protocol": "fresh"}}


def parse_args(argv=None):
    """The sweep's options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Compare LSTM and vanilla RNN over sequence lengths and seeds.")
    add_sweep_options(parser, LENGTHS)
    add_updates_option(parser)
    return parser.parse_args(argv)


def plan(args):
    """Pairs of side and options, the longest runs first; raises InputError if the options do not go together."""
    pairs = []
    for input_length in set(args.lengths):
        for seed in range(args.seed, args.seed + args.seeds):
            own = {"input_length": input_length, "seed": seed}
            pairs += [("written", one_run(args, cell=cell, **own)) for cell in CELLS]
            for cell, options in PUBLISHED.items():
                data = {"data_seed": seed} if cell == "lstm" else {}
                pairs.append(("published", one_run(args, cell=cell, **own, **options, **data)))
    return sorted(pairs, key=lambda pair: (pair[1].input_length, pair[1].cell), reverse=True)


def draw_side(axes, side, runs, summary, apart):
    """Draw a panel: each run a dot over its length, its accuracy on further palindromes a diamond, medians as lines."""
    for n, (cell, (_, _, label, colour)) in enumerate(CELLS.items()):
        shift = (2 * n - len(CELLS) + 1) * apart
        rows = [row for row in summary if (row["side"], row["cell"]) == (side, cell)]
        own = [entry for entry in runs if (entry["side"], entry["cell"]) == (side, cell)]
        if not own:
            continue
        plots.draw_runs(axes, own, rows, colour, shift, label=f"{label}, median")
        plots.write_successes(axes, rows, colour, shift, 1.1 - 0.05 * n)
        tested = [entry for entry in own if entry["test_accuracy"] is not None and side == "written"]
        x = [entry["input_length"] + 2.2 * shift for entry in tested]
        axes.scatter(x, [entry["test_accuracy"] for entry in tested], edgecolor=colour, **HOLLOW)


def draw_record(axes, shortest, longest, apart):
    """Draw the report's own numbers: the means over its runs as crosses, and the single runs of its RNN as rings."""
    accuracy = utils.load_json(RECORD, "source", "accuracy")["accuracy"]
    for n, (cell, of) in enumerate(accuracy.items()):
        rows = [row for row in of["lengths"] if shortest <= row["input_length"] <= longest]
        colour, shift = CELLS[cell].colour, 3 * (2 * n - len(accuracy) + 1) * apart
        axes.scatter([row["input_length"] + shift for row in rows], [row["mean"] for row in rows], color=colour, **MEAN)
        single = [(row["input_length"] + shift, value) for row in rows for value in row.get("each_run", [])]
        axes.scatter(*zip(*single, strict=True), edgecolor=colour, **RING) if single else None
    axes.scatter([], [], label="the report's mean", color="0.4", **MEAN)
    axes.scatter([], [], label="a run of the report's RNN", edgecolor="0.4", **RING)


def plot(runs, summary, args, path):
    """Write figure 1 to `path`, a panel for each side."""
    figure, both = plt.subplots(1, len(SIDES), figsize=(13, 5), sharey=True)
    shortest, longest = min(args.lengths), max(args.lengths)
    apart = max(longest - shortest, 1) / 140  # between the dots of the cells
    for axes, (side, title) in zip(both, SIDES.items(), strict=True):
        axes.axhline(1.0, color="0.6", linewidth=1, zorder=1)
        if longest >= ZONE_FROM:
            axes.axvspan(ZONE_FROM, longest + 6 * apart, color="0.93", zorder=0)
            zone = 'the report\'s "vanishing gradient zone"'
            axes.text(longest + 5 * apart, 0.02, zone, fontsize=9, color="0.35", ha="right")
        if side == "published":
            draw_record(axes, shortest, longest, apart)
        draw_side(axes, side, runs, summary, apart)
        axes.axhline(0.1, **plots.GUESS)
        axes.set(title=title, xlabel="sequence length T (digits read)", xticks=sorted(set(args.lengths)))
        axes.set(xlim=(shortest - 6 * apart, longest + 6 * apart), ylim=(0, 1.14))
    both[0].set_ylabel("accuracy")
    both[1].scatter([], [], s=30, color="0.4", label="one run")
    both[1].scatter([], [], edgecolor="0.4", label="the same run, palindromes of neither split", **HOLLOW)
    if any(row["success_rate"] < 1 for row in summary):
        label = f"reached {args.stop_at:g} (LSTM, left: {PUBLISHED['lstm']['stop_at']:g}), if not all"
        both[1].scatter([], [], label=label, **plots.FRACTION)
    found = {}  # handles by label
    for axes in both:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(found.values(), found, loc="outside upper center", ncols=4, fontsize=9)  # inside, it would hide runs
    source = f"{plots.seeds_text(args.seed, args.seeds)}, {args.optimizer}, {plots.source_text(args)}; as published "
    source += f"the LSTM stops at {PUBLISHED['lstm']['stop_at']:g}, the RNN has {args.updates} updates on fresh batches"
    source += "; under one protocol a dot is the best validation accuracy, a diamond the accuracy at the end, and all "
    source += f"seeds share one draw of palindromes (data seed {args.data_seed}), split anew"
    utils.save_figure(figure, path, f"compare.py: {source}")


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figure."""
    start = time.perf_counter()
    args = parse_args(argv)
    pairs = plan(args)
    results, header = train_sweep(args, [run_args for _, run_args in pairs])
    if results is None:
        return
    rows = rows_of(results, ("cell", "input_length", "seed"))
    runs = [{"side": side} | row for (side, _), row in zip(pairs, rows, strict=True)]
    runs.sort(key=lambda entry: (entry["side"], entry["cell"], entry["input_length"], entry["seed"]))
    summary = summarise(runs, ("side", "cell", "input_length"))
    figure_path, summary_path = args.figures_dir / "fig1_lstm_vs_rnn.png", args.out_dir / "compare.json"
    data = {"runs": runs, "summary": summary, "seconds": time.perf_counter() - start}
    utils.save_json(summary_path, header | data)
    plot(runs, summary, args, figure_path)
    for row in summary:
        what = f"{row['side']:>9}  {CELLS[row['cell']].label:>11}  T {row['input_length']:>4}"
        own = PUBLISHED[row["cell"]] if row["side"] == "published" else {}
        print(f"{what}  {outcome(row, own.get('stop_at', args.stop_at))}")
    print(summary_path, figure_path, sep="\n")


if __name__ == "__main__":
    utils.run(main)
