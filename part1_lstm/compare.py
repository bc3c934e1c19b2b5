"""Figure 1: accuracy of LSTM and vanilla RNN over the sequence length, as the report's code and as its text have it.

    python compare.py --seeds 10                    # the figure in the repository: trains what its rows lack, draws
    python compare.py --draw                        # draws it from the rows, in seconds
    python compare.py --out-dir mine --lengths 3 7 11 --seeds 1 --epochs 5
    torchrun --nproc-per-node 4 compare.py --seeds 10       # the runs shared out over processes, or over machines

    code     the LSTM passes over 8,000 palindromes, drawn anew for each run, until its validation accuracy is 99.9 %;
             the RNN has 2,000 updates on fresh palindromes, and its accuracy is the mean over the last 100 of them
    text     both cells pass over the same 8,000 palindromes until 99 %
    adam     (with --sides adam) as text, with Adam in place of RMSprop
    fresh    (with --sides fresh) both cells on fresh palindromes, the RNN with Adam as well

Reads report_record.json, the report's own numbers. Writes OUT_DIR/compare.json, a row for each run, and in FIGURES_DIR
fig1_lstm_vs_rnn.png and, where there are rows of adam and fresh, repeated_or_fresh.png. A dot is a run: RNNs tend to
either learn the task or fail, which a mean with an error bar would hide.
"""

import statistics

from matplotlib.figure import Figure

import dataset
import files
import plots
import runs
import train
import utils
from cells import CELLS

LENGTHS = [3, 7, 11, 13, 15, 17, 19, 21, 25]
FRESH = {"palindromes": "fresh", "epochs": 20}  # 2,000 updates
# What the runs of a side have of their own, beside the LSTM's palindromes by the code.
SIDES = {
    "code": [{"cell": "lstm", "stop_at": 0.999}, {"cell": "rnn"} | FRESH],
    "text": [{"cell": cell} for cell in CELLS],
    "adam": [{"cell": cell, "optimizer": "adam"} for cell in CELLS],
    "fresh": [{"cell": "lstm"} | FRESH, {"cell": "rnn"} | FRESH, {"cell": "rnn", "optimizer": "adam"} | FRESH],
}
TITLES = {
    "code": "as in the report's code:\nLSTM on repeated, RNN on fresh palindromes",
    "text": "as in the report's text:\nboth on repeated palindromes",
    "adam": "both on repeated palindromes,\nAdam in place of RMSprop",
    "fresh": "both on fresh palindromes,\n2,000 updates",
}
MARKERS = {"lstm": "o", "rnn": "D"}
REPORT = {"s": 70, "marker": "_", "linewidth": 2.5, "zorder": 4}  # its means
DARKER = {"lstm": "#00304D", "rnn": "#6B2A00"}
ADAM = {"lstm": plots.FURTHER_COLOURS[0], "rnn": plots.FURTHER_COLOURS[1]}


def plan(args):
    """The runs as {name: options}, the longest first."""
    planned = {}
    for length in sorted(set(args.lengths), reverse=True):
        for seed in range(args.seed, args.seed + args.seeds):
            for side in args.sides:
                for changes in SIDES[side]:
                    data = {"data_seed": seed} if (side, changes["cell"]) == ("code", "lstm") else {}
                    epochs = {"epochs": min(args.epochs, changes.get("epochs", args.epochs))}
                    options = train.options(input_length=length, seed=seed, **changes | data | epochs)
                    planned[f"{side}_{train.name_of(options)}"] = {"side": side} | options
    return planned


def draw_panel(axes, strip, rows, side, record=None):
    """Draw a side: a dot for each run over its length, means as lines; in the strip above, how many runs learned."""
    lengths = sorted({row["input_length"] for row in rows})
    apart = max(lengths[-1] - lengths[0], 1) / 100
    kinds = dict.fromkeys((row["cell"], row["optimizer"]) for row in rows if row["side"] == side)
    for place, (cell, optimizer) in enumerate(sorted(kinds)):
        label, colour = CELLS[cell].label, CELLS[cell].colour
        if optimizer == "adam":
            label, colour = f"{label}, Adam", ADAM[cell]
        dots = [row for row in rows if (row["side"], row["cell"], row["optimizer"]) == (side, cell, optimizer)]
        shift = (2 * place - len(kinds) + 1) * apart
        x, y = [row["input_length"] + shift for row in dots], [row["accuracy"] for row in dots]
        marker = MARKERS.get(cell, "s")
        axes.scatter(x, y, color=colour, marker=marker, **plots.DOT)
        there = sorted({row["input_length"] for row in dots})
        groups = {n: [row for row in dots if row["input_length"] == n] for n in there}
        means = [statistics.mean(row["accuracy"] for row in group) for group in groups.values()]
        axes.plot(list(groups), means, "-" if cell == "lstm" else "--", color=colour, marker=marker, ms=5, label=label)
        for n, group in groups.items():
            learned = f"{sum(row['reached'] for row in group)}/{len(group)}"
            strip.text(n, -place, learned, color=colour, ha="center", va="center", fontsize=8.5)
        strip.text(lengths[0] - 5 * apart, -place, f"{label} ", color=colour, ha="right", va="center", fontsize=8.5)
    for cell, report in (record or {}).items():
        means = {row["input_length"]: row["mean"] for row in report["lengths"] if row["input_length"] in lengths}
        axes.scatter(list(means), list(means.values()), color=DARKER[cell], **REPORT)
    if record:
        axes.scatter([], [], color="0.15", label="the report's means", **REPORT)
    axes.axhline(0.1, **plots.GUESS)
    axes.text(lengths[-1], 0.11, "guessing", ha="right", va="bottom", fontsize=9, color="0.4")
    axes.set(
        xlabel="digits read", xticks=lengths, ylim=(0, 1.03), xlim=(lengths[0] - 3 * apart, lengths[-1] + 3 * apart)
    )
    strip.set_title(TITLES[side], fontsize=11)
    strip.set(ylim=(-len(kinds) + 0.4, 0.6))
    strip.set_axis_off()


def draw_sides(rows, sides, path, foot, record=None):
    """Write a figure with a panel for each of `sides` to `path`; `record`, the report's numbers, go into the first."""
    figure = Figure(figsize=(5.6 * len(sides) + 0.6, 5.4))
    shape = {"height_ratios": [1, 8], "sharex": "col", "sharey": "row", "squeeze": False}
    strips, panels = figure.subplots(2, len(sides), **shape)
    for n, (side, strip, axes) in enumerate(zip(sides, strips, panels, strict=True)):
        draw_panel(axes, strip, [row for row in rows if row["side"] in sides], side, None if n else record)
    panels[0].set_ylabel("accuracy")
    for axes in panels[: 1 if record else None]:
        axes.legend(loc="lower left")
    utils.save_figure(figure, path, foot)


def draw(rows, args):
    """Draw the figures from the rows, as far as there are rows of their sides."""
    there = {row["side"] for row in rows}
    count = len({row["seed"] for row in rows if row["side"] == "text"})
    seeds = f"{count} seed{'s' * (count != 1)}"
    foot = f"a dot is a run, a line their mean; above: how many runs reached 99 % (LSTM, left: 99.9 %); {seeds}"
    if {"code", "text"} <= there:
        record = files.load(utils.HERE / "report_record.json", "accuracy")["accuracy"]
        draw_sides(rows, ["code", "text"], args.figures_dir / "fig1_lstm_vs_rnn.png", foot, record)
    if {"adam", "fresh"} <= there:
        foot = "a dot is a run, a line their mean; above: how many runs reached 99 %; with Adam where it says so"
        draw_sides(rows, ["adam", "fresh"], args.figures_dir / "repeated_or_fresh.png", foot)


def main(argv=None):
    parser = utils.Parser("Compare LSTM and vanilla RNN over sequence lengths and seeds.")
    length = utils.number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument("--lengths", nargs="+", type=length, default=LENGTHS, help="digits read, the report's T")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["code", "text"], help="what to train")
    help = "maximum number of epochs; on fresh palindromes at most 20"
    parser.add_argument("--epochs", type=utils.number(int, low=1), default=100, help=help)
    runs.add_options(parser, seeds=5)
    args = parser.parse_args(argv)
    rows = runs.study("compare", plan(args), train.run, args, train.CODE)
    if rows:
        with utils.style():
            draw(rows, args)


if __name__ == "__main__":
    utils.run(main)
