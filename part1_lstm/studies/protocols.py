"""How much of figure 1 is the cell, and how much the optimizer and the training protocol?

    python -m studies.protocols                                    from the folder above, about an hour on two cores
    python -m studies.protocols --out-dir mine --lengths 7 --seeds 1 --epochs 5      a quick try
    torchrun --nproc-per-node 4 -m studies.protocols               the runs shared out over processes, or over machines

Both cells train under the protocol of the report's text with RMSprop and with Adam, and under that of its RNN (train.py
--protocol fresh): both cells with RMSprop, the RNN with Adam as well. The runs lie in OUT_DIR/compare, where those of
compare.py are; finished runs are not repeated (sweep.py).

Reads report_record.json. Writes OUT_DIR/protocols.json (every run, and the summary of each group of seeds as in
compare.json) and in FIGURES_DIR protocols.png (accuracy) and updates_to_99.png (updates to 99 % under the text's
protocol).
"""

import math
import time

import matplotlib.pyplot as plt

import plots
import train
import utils
from cells import CELLS
from compare import LENGTHS, RECORD
from sweep import add_sweep_options, chosen, longest_first, one_run, outcome, rows_of, summarise, train_sweep

SERIES = [
    *(("split", optimizer, cell) for optimizer in ("rmsprop", "adam") for cell in ("lstm", "rnn")),
    ("fresh", "rmsprop", "lstm"),
    ("fresh", "rmsprop", "rnn"),
    ("fresh", "adam", "rnn"),
]
KEYS = ("cell", "optimizer", "protocol", "input_length")  # runs that agree in them are a group


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Compare LSTM and vanilla RNN under two optimizers and two protocols.")
    add_sweep_options(parser, LENGTHS, optimizer=False)
    train.add_updates_option(parser)
    return parser.parse_args(argv)


def plan(args):
    """The options of every run; raises InputError if they do not go together."""
    return longest_first(
        one_run(args, protocol=protocol, optimizer=optimizer, cell=cell, input_length=input_length, seed=seed)
        for protocol, optimizer, cell in SERIES
        for input_length in set(args.lengths)
        for seed in range(args.seed, args.seed + args.seeds)
    )


def set_lengths(axes, lengths, title):
    """Set title, ticks and limits of a panel over the lengths; return the distance between the dots of two cells."""
    apart = max(max(lengths) - min(lengths), 1) / 80
    axes.set(title=title, xlabel="sequence length T", xlim=(min(lengths) - 5 * apart, max(lengths) + 5 * apart))
    axes.set_xticks(sorted(set(lengths)))
    axes.tick_params(axis="x", labelsize=9)
    return apart


def plot_protocols(runs, summary, args, path):
    """Write accuracy over length to `path`, a panel for each optimizer and one for the report's RNN protocol."""
    panels = [
        ("the text's protocol, RMSprop", SERIES[:2]),
        ("the text's protocol, Adam", SERIES[2:4]),
        ("the report's RNN protocol", SERIES[4:]),
    ]
    figure, row = plt.subplots(1, 3, figsize=(11.8, 4.6), sharey=True)
    for axes, (title, series) in zip(row, panels, strict=True):
        apart = set_lengths(axes, args.lengths, title)
        axes.axhline(0.1, **plots.GUESS)
        for place, (protocol, optimizer, cell) in enumerate(series):
            which = {"protocol": protocol, "optimizer": optimizer, "cell": cell}
            colour, label = (CELLS[cell].colour, "") if place < 2 else (plots.FURTHER_COLOURS[1], ", Adam")
            shift = (place - (len(series) - 1) / 2) * apart * 1.6
            rows = chosen(summary, **which)
            label = f"{CELLS[cell].label}{label}, median"
            plots.draw_runs(axes, chosen(runs, **which), rows, colour, shift, label=label)
            plots.write_successes(axes, rows, colour, 0, 1.05 + 0.055 * place, fontsize=7.5)
    record = utils.load_json(RECORD, "accuracy")["accuracy"]["rnn"]["lengths"]
    means = [entry["input_length"] for entry in record], [entry["mean"] for entry in record]
    row[2].plot(*means, color="0.55", linestyle="--", label="the report's RNN, mean")
    row[0].set(ylabel="accuracy", ylim=(0, 1.2), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1.0])
    row[2].scatter([], [], s=30, color="0.4", label="one run")
    row[2].scatter([], [], label=f"runs that reached {args.stop_at:g}, if not all", **plots.FRACTION)
    figure.legend(*row[2].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    source = f"studies/protocols.py: {plots.seeds_text(args.seed, args.seeds)}, {plots.source_text(args)}"
    source += f"; the report's RNN protocol: {args.updates} updates on fresh batches, RMSprop unless stated, mean "
    source += f"accuracy of the last {train.FRESH_EPOCH}; the report's RNN from report_record.json"
    utils.save_figure(figure, path, source)


def plot_updates(runs, summary, args, path):
    """Write updates to 99 % over length to `path`, a panel per optimizer; runs that never reached it are crosses."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.6), sharey=True)
    counts = [entry["updates_to_99"] for entry in chosen(runs, protocol="split") if entry["updates_to_99"]] or [1]
    low, span = min(counts) / 1.5, 2.25 * max(counts) / min(counts)
    for axes, optimizer in zip(panels, ("rmsprop", "adam"), strict=True):
        apart = set_lengths(axes, args.lengths, plots.OPTIMIZER_LABELS[optimizer])
        for cell, shift in (("lstm", -0.8 * apart), ("rnn", 0.8 * apart)):
            rows, (_, _, label, colour) = chosen(summary, protocol="split", optimizer=optimizer, cell=cell), CELLS[cell]
            lengths = [row["input_length"] for row in rows]
            medians = [row["median_updates_to_99"] or math.nan for row in rows]
            axes.plot(lengths, medians, marker="_", markersize=8, color=colour, label=f"{label}, median")
            for length, row in zip(lengths, rows, strict=True):
                reached = [count for count in row["updates_to_99"] if count]
                axes.scatter([length + shift] * len(reached), reached, color=colour, **plots.DOT)
                step = min(0.035, 0.2 / row["runs"])
                heights = [0.97 - step * n for n in range(row["runs"] - len(reached))]  # of the panel, from its top
                x, top = [length + shift] * len(heights), axes.get_xaxis_transform()
                axes.scatter(x, heights, color=colour, transform=top, **plots.CROSS)
        axes.set(yscale="log", ylim=(low, low * span**1.3))
    panels[0].set_ylabel("updates to 99 % validation accuracy")
    axes.scatter([], [], s=30, color="0.4", label="one run")
    axes.scatter([], [], color="0.4", label=f"one run, not within {args.epochs} epochs", **plots.CROSS)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    source = f"studies/protocols.py: {plots.seeds_text(args.seed, args.seeds)}, {plots.source_text(args)}"
    utils.save_figure(figure, path, source)


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figures."""
    start = time.perf_counter()
    args = parse_args(argv)
    results, header = train_sweep(args, plan(args))
    if results is None:
        return
    runs = rows_of(results, (*KEYS, "seed"))
    runs.sort(key=lambda run: (SERIES.index((run["protocol"], run["optimizer"], run["cell"])), run["input_length"]))
    summary, seconds = summarise(runs, KEYS), time.perf_counter() - start
    paths = args.out_dir / "protocols.json", args.figures_dir / "protocols.png", args.figures_dir / "updates_to_99.png"
    utils.save_json(paths[0], header | {"runs": runs, "summary": summary, "seconds": seconds})
    plot_protocols(runs, summary, args, paths[1])
    plot_updates(runs, summary, args, paths[2])
    for row in summary:
        series = f"{row['protocol']} {plots.OPTIMIZER_LABELS[row['optimizer']]:>7} {CELLS[row['cell']].label:>11}"
        print(f"{series}  T {row['input_length']:>4}  {outcome(row, args.stop_at)}")
    print(*paths, sep="\n")


if __name__ == "__main__":
    utils.run(main)
