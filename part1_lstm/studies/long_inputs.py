"""How far do the cells carry a digit? Inputs longer than the report's, and forget gates that begin open.

    python -m studies.long_inputs                                     from the folder above, about an hour
    python -m studies.long_inputs --out-dir mine --lengths 150 --far-lengths 300 --farthest-lengths --forget-biases 1 5
    torchrun --nproc-per-node 4 -m studies.long_inputs                the runs shared out over processes, or machines

The RNN, the LSTM, and the LSTM with other initial biases of the forget gate train under the text's protocol. With bias
b the cell state keeps about sigmoid(b)**T of what it held T steps before, so the bias that helps may grow with log T
(Tallec & Ollivier 2018, Can recurrent neural networks warp time?). At --far-lengths, where a run takes minutes, they
get fewer epochs; at --farthest-lengths only the LSTM with other forget biases trains. The runs lie in OUT_DIR/compare;
finished runs are not repeated (sweep.py).

Writes OUT_DIR/long_inputs.json (every run, and the summary of each group of seeds as in compare.json) and
FIGURES_DIR/long_inputs.png.
"""

import time

import matplotlib.pyplot as plt

import dataset
import plots
import train
import utils
from cells import CELLS
from sweep import add_sweep_options, chosen, longest_first, one_run, outcome, rows_of, summarise, train_sweep
from utils import number

KEYS = ("cell", "forget_bias", "input_length")  # runs that agree in them are a group


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Train LSTM and vanilla RNN on inputs longer than the report's.")
    add_sweep_options(parser, [35, 50])
    add, length = parser.add_argument, number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    add("--far-lengths", nargs="*", type=length, default=[75, 100], help="longer ones, trained for --far-epochs")
    help = "the longest ones, for the LSTM with --forget-biases alone"
    add("--farthest-lengths", nargs="*", type=length, default=[200], help=help)
    help = "maximum number of epochs at --far-lengths and --farthest-lengths"
    add("--far-epochs", type=number(int, low=1), default=20, help=help)
    help = "initial forget biases besides nn.Linear's"
    add("--forget-biases", nargs="+", type=train.FORGET_BIAS, default=[4.0], help=help)
    return parser.parse_args(argv)


def plan(args):
    """The options of every run; a length that is also in --lengths has --epochs.

    Raises InputError if they do not go together.
    """
    runs = []
    for cell, bias in [("rnn", None), ("lstm", None), *(("lstm", bias) for bias in dict.fromkeys(args.forget_biases))]:
        far = args.far_lengths + ([] if bias is None else args.farthest_lengths)
        epochs = dict.fromkeys(far, args.far_epochs) | dict.fromkeys(args.lengths, args.epochs)
        runs += [
            one_run(args, cell=cell, forget_bias=bias, input_length=length, epochs=epochs[length], seed=seed)
            for length in epochs
            for seed in range(args.seed, args.seed + args.seeds)
        ]
    return longest_first(runs)


def plot(runs, summary, args, path):
    """Write success rate, with its Wilson interval, and accuracy over the length to `path`."""
    lengths = sorted({row["input_length"] for row in summary})
    series = [(name, None, CELLS[name].label, CELLS[name].colour) for name in ("rnn", "lstm")]
    for place, bias in enumerate(sorted(set(args.forget_biases))):
        colour = plots.FURTHER_COLOURS[place % len(plots.FURTHER_COLOURS)]
        series.append(("lstm", bias, f"{CELLS['lstm'].label}, forget bias {bias:g}", colour))
    apart = max(lengths[-1] / lengths[0], 1.5) ** 0.017  # a factor: the axis is logarithmic
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6))
    for place, (cell, bias, label, colour) in enumerate(series):
        factor = apart ** (place - (len(series) - 1) / 2)
        rows = chosen(summary, cell=cell, forget_bias=bias)
        own = chosen(runs, cell=cell, forget_bias=bias)
        x, rate = [row["input_length"] * factor for row in rows], [row["success_rate"] for row in rows]
        ends = zip(*(row["success_interval"] for row in rows), strict=True)
        bars = [[abs(a - b) for a, b in zip(end, rate, strict=True)] for end in ends]
        left.errorbar(x, rate, yerr=bars, color=colour, fmt="o", markersize=5, capsize=3, linewidth=1.5, label=label)
        right.plot([row["input_length"] for row in rows], [row["median"] for row in rows], color=colour)
        x = [entry["input_length"] * factor for entry in own]
        right.scatter(x, [entry["accuracy"] for entry in own], color=colour, **plots.DOT)
    right.axhline(0.1, **plots.GUESS)
    left.set(title="success rate and its 95 % interval", ylabel=f"share of runs that reached {args.stop_at:.3g}")
    right.set(title="every run, and medians", ylabel="best validation accuracy")
    for axes in (left, right):
        axes.set(xlabel="sequence length T (digits read)", xscale="log", ylim=(-0.03, 1.04))
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    source = f"studies/long_inputs.py: {plots.seeds_text(args.seed, args.seeds)}, {args.optimizer}, "
    source += plots.source_text(args)
    if far := [str(length) for length in lengths if length not in args.lengths]:
        source += f" ({args.far_epochs} epochs at the lengths {', '.join(far)})"
    utils.save_figure(figure, path, source)


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figure."""
    start = time.perf_counter()
    args = parse_args(argv)
    results, header = train_sweep(args, plan(args))
    if results is None:
        return
    runs = rows_of(results, (*KEYS, "seed"))
    runs.sort(key=lambda run: (run["cell"] == "lstm", run["forget_bias"] or 0, run["input_length"]))
    summary, seconds = summarise(runs, KEYS), time.perf_counter() - start
    paths = args.out_dir / "long_inputs.json", args.figures_dir / "long_inputs.png"
    utils.save_json(paths[0], header | {"runs": runs, "summary": summary, "seconds": seconds})
    plot(runs, summary, args, paths[1])
    for row in summary:
        bias = "" if row["forget_bias"] is None else f"bias {row['forget_bias']:g}"
        print(f"{CELLS[row['cell']].label:>11} {bias:7}  T {row['input_length']:>4}  {outcome(row, args.stop_at)}")
    print(*paths, sep="\n")


if __name__ == "__main__":
    utils.run(main)
