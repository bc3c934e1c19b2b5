"""Beyond figure 1: how much of it is the cell, and how much optimizer, protocol, budget, length and forget bias?

    python beyond.py                                          all studies, see below
    python beyond.py --studies long --long-lengths 150 200 --forget-biases 1 5
    torchrun --nproc-per-node 4 beyond.py                     the runs shared out over processes, or over machines

    optimizers   figure 1's runs under RMSprop and under Adam, LSTM and vanilla RNN
    fresh        the protocol that the report's RNN had (train.py --protocol fresh: 2,000 updates on fresh batches, mean
                 accuracy of the last 100), for both cells under RMSprop, for the RNN under Adam as well
    long         longer inputs under --optimizer, for the RNN, the LSTM, and the LSTM with other initial biases of the
                 forget gate. With bias b the cell state keeps about sigmoid(b)**T of what it held T steps before, so
                 the bias that helps may grow with log T (Tallec & Ollivier 2018, Can recurrent neural networks warp
                 time?)
    far          the same where a run costs minutes, so with fewer epochs, and at the farthest lengths only for the LSTM
                 whose forget gate begins open

The runs lie below OUT_DIR/compare like those of compare.py, which are not repeated; nor are others that are finished: a
stopped sweep goes on with the same command (sweep.py).

At the end: OUT_DIR/beyond.json (every run, and the summary of each group of seeds as in compare.json; the studies that
--studies leaves out stay in it as they were) and in FIGURES_DIR protocols.png (optimizers, fresh), updates_to_99.png
(optimizers) and long_lengths.png (long and far, whatever beyond.json has of them).
"""

import argparse
import json
import math
import time

import matplotlib.pyplot as plt

import dataset
import train
from cells import CELLS
from compare import LENGTHS, draw_runs, seeds_text, source_text, write_successes
from sweep import COLUMNS, add_sweep_options, longest_first, one_run, outcome, summarise, train_sweep
from utils import InputError, Parser, number, run, save_figure, save_json

STUDIES = ["optimizers", "fresh", "long", "far"]
LONG_LENGTHS, FAR_LENGTHS, FARTHEST_LENGTHS = [35, 50], [75, 100], [200]
FORGET_BIASES = [4.0]  # about log T of these lengths
KEYS = ["study", "cell", "optimizer", "protocol", "forget_bias", "input_length"]  # runs that agree in them are a group
OPTIMIZER_LABELS = {"rmsprop": "RMSprop", "adam": "Adam"}
FURTHER_COLOURS = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # with those of the cells, a colour-blind safe set
# Quoted, not measured here: the RNN in the report's figure 1, means of 5 runs under the protocol of the study `fresh`.
REPORT_RNN = {3: 1.0, 7: 1.0, 11: 0.88, 13: 0.88, 15: 0.69, 17: 0.75, 19: 0.48, 21: 0.33, 25: 0.51}


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("LSTM and vanilla RNN beyond figure 1: optimizers, the report's RNN protocol, longer inputs.")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES, help="what to train and draw")
    add_sweep_options(parser, LENGTHS)
    train.add_updates_option(parser)
    length = number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument(
        "--long-lengths", nargs="+", type=length, default=LONG_LENGTHS, help="lengths of the study long"
    )
    parser.add_argument("--far-lengths", nargs="+", type=length, default=FAR_LENGTHS, help="lengths of the study far")
    parser.add_argument(
        "--farthest-lengths",
        nargs="*",
        type=length,
        default=FARTHEST_LENGTHS,
        help="further lengths of the study far, for the LSTM with --forget-biases",
    )
    parser.add_argument("--long-seeds", type=number(int, low=1, high=1000), default=3, help="seeds of long and far")
    parser.add_argument("--long-epochs", type=number(int, low=1), default=100, help="at most so many in the study long")
    parser.add_argument("--far-epochs", type=number(int, low=1), default=20, help="at most so many in the study far")
    parser.add_argument(
        "--forget-biases",
        nargs="+",
        type=train.FORGET_BIAS,
        default=FORGET_BIASES,
        help="forget biases of the studies long and far",
    )
    return parser.parse_args(argv)


def groups(args):
    """Yield what the chosen studies train: (study, lengths, seeds a length, options of the runs)."""
    if "optimizers" in args.studies:
        for optimizer in ("rmsprop", "adam"):
            for cell in ("lstm", "rnn"):
                yield "optimizers", args.lengths, args.seeds, {"cell": cell, "optimizer": optimizer}
    if "fresh" in args.studies:
        for cell, optimizer in (("lstm", "rmsprop"), ("rnn", "rmsprop"), ("rnn", "adam")):
            options = {"cell": cell, "optimizer": optimizer, "protocol": "fresh"}
            yield "fresh", args.lengths, args.seeds, options
    for cell, bias in [("rnn", None), ("lstm", None), *(("lstm", bias) for bias in args.forget_biases)]:
        options = {"cell": cell, "forget_bias": bias}
        if "long" in args.studies:
            yield "long", args.long_lengths, args.long_seeds, options | {"epochs": args.long_epochs}
        if "far" in args.studies:
            lengths = args.far_lengths + ([] if bias is None else args.farthest_lengths)
            yield "far", lengths, args.long_seeds, options | {"epochs": args.far_epochs}


def plan(args):
    """All studies' runs, a list of (study, options); a run that two studies share is in it twice.

    Raises InputError for options that do not go together, and if two studies want different runs in one folder.
    """
    planned = [
        (study, one_run(args, input_length=input_length, seed=seed, **options))
        for study, lengths, seeds, options in groups(args)
        for input_length in sorted(set(lengths))
        for seed in range(args.seed, args.seed + seeds)
    ]
    known = {}
    for _, run_args in planned:
        other = known.setdefault(train.run_name(run_args), run_args)
        if train.settings(other) != train.settings(run_args):
            raise InputError(
                f"--long-epochs {args.long_epochs}: length {run_args.input_length} is in --lengths as well, with "
                f"--epochs {args.epochs}; make them equal, or do one study at a time, each in an --out-dir of its own"
            )
    return planned


def chosen(rows, **wanted):
    """The runs, or rows of the summary, that agree with `wanted`."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def axes_over_lengths(axes, lengths, title):
    """Set title, ticks and limits of a panel over the lengths of figure 1; return the width that sets dots apart."""
    aside = max(max(lengths) - min(lengths), 1) / 80
    axes.set(title=title, xlabel="sequence length T", xlim=(min(lengths) - 5 * aside, max(lengths) + 5 * aside))
    axes.set_xticks(sorted(set(lengths)))
    axes.tick_params(axis="x", labelsize=9)
    return aside


def plot_protocols(runs, summary, args, path):
    """Write accuracy over length to `path`, a panel for each optimizer and one for the report's RNN protocol."""
    panels = [
        ("optimizers", "figure 1's protocol, RMSprop", [("lstm", "rmsprop"), ("rnn", "rmsprop")]),
        ("optimizers", "figure 1's protocol, Adam", [("lstm", "adam"), ("rnn", "adam")]),
        ("fresh", "the report's RNN protocol", [("lstm", "rmsprop"), ("rnn", "rmsprop"), ("rnn", "adam")]),
    ]
    panels = [panel for panel in panels if panel[0] in args.studies]
    figure, row = plt.subplots(1, len(panels), figsize=(1 + 3.6 * len(panels), 4.6), sharey=True, squeeze=False)
    for axes, (study, title, series) in zip(row[0], panels, strict=True):
        aside = axes_over_lengths(axes, args.lengths, title)
        axes.axhline(0.1, color="0.5", linewidth=1.2, linestyle=":", zorder=1, label="random guess")
        for place, (cell, optimizer) in enumerate(series):
            which = {"study": study, "cell": cell, "optimizer": optimizer}
            third = place == 2
            colour = FURTHER_COLOURS[1] if third else CELLS[cell].colour
            label = f"{CELLS[cell].label}, Adam, median" if third else f"{CELLS[cell].label}, median"
            side = (place - (len(series) - 1) / 2) * aside * 1.6
            rows = chosen(summary, **which)
            draw_runs(axes, chosen(runs, **which), rows, colour, side, label=label)
            write_successes(axes, rows, colour, 0, 1.05 + 0.055 * place, fontsize=7.5)
        if study == "fresh":
            axes.plot(
                REPORT_RNN.keys(), REPORT_RNN.values(), color="0.55", linestyle="--", label="the report's RNN, mean"
            )
    row[0][0].set(ylabel="accuracy", ylim=(0, 1.2))
    row[0][0].set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    handles = {
        label: handle for axes in row[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    handles["one run"] = axes.scatter([], [], s=30, color="0.4")
    handles[f"runs that reached {args.stop_at:g}, if not all"] = axes.scatter(
        [], [], s=160, marker="$3/5$", color="0.4"
    )
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, fontsize=9)
    source = f"beyond.py: {seeds_text(args.seed, args.seeds)}, {source_text(args)}"
    source += f"; the report's RNN protocol: {args.updates} updates on fresh batches, RMSprop where not said, mean "
    source += f"accuracy of the last {train.FRESH_EPOCH}; the report's RNN is quoted from its figure 1"
    save_figure(figure, path, source)


def plot_updates(runs, summary, args, path):
    """Write the updates to 99 % over length to `path`, a panel an optimizer; runs that never got there as crosses."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.6), sharey=True)
    counts = [entry["updates_to_99"] for entry in chosen(runs, study="optimizers") if entry["updates_to_99"]] or [1]
    low, span = min(counts) / 1.5, 2.25 * max(counts) / min(counts)
    for axes, optimizer in zip(panels, ("rmsprop", "adam"), strict=True):
        aside = axes_over_lengths(axes, args.lengths, OPTIMIZER_LABELS[optimizer])
        for cell, side in (("lstm", -0.8 * aside), ("rnn", 0.8 * aside)):
            which = {"study": "optimizers", "cell": cell, "optimizer": optimizer}
            rows = chosen(summary, **which)
            medians = [row["median_updates_to_99"] or math.nan for row in rows]
            x = [row["input_length"] for row in rows]
            _, _, label, colour = CELLS[cell]
            axes.plot(x, medians, marker="_", markersize=8, color=colour, label=f"{label}, median")
            for row in rows:
                got, never = (
                    [count for count in row["updates_to_99"] if bool(count) == there] for there in (True, False)
                )
                x = row["input_length"] + side
                axes.scatter([x] * len(got), got, s=30, color=colour, alpha=0.75, linewidth=0)
                step = min(0.035, 0.2 / len(row["updates_to_99"]))
                heights = [0.97 - step * place for place in range(len(never))]  # of the panel, from its top edge
                axes.scatter(
                    [x] * len(never),
                    heights,
                    s=28,
                    marker="x",
                    color=colour,
                    transform=axes.get_xaxis_transform(),
                )
        axes.set(yscale="log", ylim=(low, low * span**1.3))
    panels[0].set_ylabel("updates until 99 % validation accuracy")
    axes.scatter([], [], s=30, color="0.4", label="one run")
    axes.scatter([], [], s=28, marker="x", color="0.4", label=f"one run, not in {args.epochs} epochs")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    save_figure(figure, path, f"beyond.py: {seeds_text(args.seed, args.seeds)}, {source_text(args)}")


def plot_long(result, path):
    """Write success rate, with its Wilson interval, and accuracy over long lengths to `path`.

    `result` is what beyond.json holds: its studies long and far are drawn together.
    """
    runs, summary = ([e for e in result[part] if e["study"] in ("long", "far")] for part in ("runs", "summary"))
    lengths = sorted({row["input_length"] for row in summary})
    biases = sorted({row["forget_bias"] for row in summary} - {None})
    summary.sort(key=lambda row: row["input_length"])
    series = [(name, None, CELLS[name].label, CELLS[name].colour) for name in ("rnn", "lstm")]
    for place, bias in enumerate(biases):
        colour = FURTHER_COLOURS[place % len(FURTHER_COLOURS)]
        series.append(("lstm", bias, f"{CELLS['lstm'].label}, forget bias {bias:g}", colour))
    aside = max(lengths[-1] / lengths[0], 1.5) ** 0.017  # a factor: sets dots apart on a logarithmic axis
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6))
    for place, (cell, bias, label, colour) in enumerate(series):
        which = {"cell": cell, "forget_bias": bias}
        factor = aside ** (place - (len(series) - 1) / 2)
        rows, own = chosen(summary, **which), chosen(runs, **which)
        x, rate = [row["input_length"] * factor for row in rows], [row["success_rate"] for row in rows]
        ends = zip(*(row["success_interval"] for row in rows), strict=True)
        reach = [[abs(a - b) for a, b in zip(end, rate, strict=True)] for end in ends]
        left.errorbar(x, rate, yerr=reach, color=colour, fmt="o", markersize=5, capsize=3, linewidth=1.5, label=label)
        right.plot([row["input_length"] for row in rows], [row["median"] for row in rows], color=colour)
        x = [entry["input_length"] * factor for entry in own]
        right.scatter(x, [entry["accuracy"] for entry in own], s=30, color=colour, alpha=0.75, linewidth=0)
    right.axhline(0.1, color="0.5", linewidth=1.2, linestyle=":", zorder=1, label="random guess")
    left.set(title="success rate and its 95 % interval", ylabel="share of runs that reached 99 %")
    right.set(title="every run, and medians", ylabel="best validation accuracy")
    for axes in (left, right):
        axes.set(xlabel="sequence length T (digits read)", xscale="log", ylim=(-0.03, 1.04))
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    used = {
        study: argparse.Namespace(**result["studies"][study]["config"])
        for study in ("long", "far")
        if study in result["studies"]
    }
    budgets = {study: getattr(config, f"{study}_epochs") for study, config in used.items()}
    config = next(iter(used.values()))
    config.epochs = " or ".join(str(n) for n in sorted(set(budgets.values()), reverse=True))
    source = f"beyond.py: {seeds_text(config.seed, config.long_seeds)}, {config.optimizer}, {source_text(config)}"
    if len(used) > 1:
        source += f" ({budgets['far']} at {min(used['far'].far_lengths)} digits and more)"
    save_figure(figure, path, source)


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figures."""
    start = time.perf_counter()
    args = parse_args(argv)
    planned = plan(args)
    distinct = {train.run_name(run_args): run_args for _, run_args in planned}
    ordered = longest_first(distinct.values())
    results, header = train_sweep(args, ordered)
    if results is None:
        return
    by_name = dict(zip(map(train.run_name, ordered), results, strict=True))
    runs = []
    for study, run_args in planned:
        result = by_name[train.run_name(run_args)]
        own = {name: result["config"][name] for name in [*KEYS[1:], "seed"]}
        runs.append({"study": study} | own | {name: result[name] for name in COLUMNS})
    summary = summarise(runs, KEYS)
    summary_path = args.out_dir / "beyond.json"
    known = json.loads(summary_path.read_text()) if summary_path.exists() else {}
    header |= {"seconds": time.perf_counter() - start}
    result = {"studies": known.get("studies", {}) | dict.fromkeys(args.studies, header)}
    for part, own in ("summary", summary), ("runs", runs):
        result[part] = [entry for entry in known.get(part, []) if entry["study"] not in args.studies] + own
    save_json(summary_path, result)
    figures = []
    for name, studies, plot in (
        ("protocols", {"optimizers", "fresh"}, plot_protocols),
        ("updates_to_99", {"optimizers"}, plot_updates),
    ):
        if studies & set(args.studies):
            figures.append(args.figures_dir / f"{name}.png")
            plot(runs, summary, args, figures[-1])
    if {"long", "far"} & set(args.studies):
        figures.append(args.figures_dir / "long_lengths.png")
        plot_long(result, figures[-1])
    for row in summary:
        bias = "" if row["forget_bias"] is None else f"bias {row['forget_bias']:g}"
        print(
            f"{row['study']:>10} {CELLS[row['cell']].label:>11} {bias:7} {OPTIMIZER_LABELS[row['optimizer']]:>7}  "
            f"T {row['input_length']:>4}  {outcome(row, args.stop_at)}"
        )
    print(summary_path, *figures, sep="\n")


if __name__ == "__main__":
    run(main)
