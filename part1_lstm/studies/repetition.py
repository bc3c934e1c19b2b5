"""Does it help to see the same palindromes again? LSTM and RNN on repeated palindromes and on fresh ones.

    python -m studies.repetition            # from the folder above: 195 runs, hours
    python -m studies.repetition --out-dir mine --lengths 15 --sizes 8000 0 --seeds 1 --updates 300     # a quick try
    python -m studies.repetition --draw     # the figure from the rows that are there

The report's figure 1 compares an LSTM that passes many times over 8,000 palindromes with an RNN that gets fresh ones
in every batch. Here cell, training palindromes and the initial bias of the LSTM's forget gate vary one by one; batch,
optimizer, learning rate and number of updates stay the same. Size 0 means fresh palindromes.

Every 100 updates the accuracy is measured on 2,000 test palindromes, and training stops at 99 %. Every 500 updates and
at the end the gradient is measured: the norm of dL/dh at the last step over that at the first, None where nothing is
left there (see studies/gradients.py).

Writes OUT_DIR/repetition.json and FIGURES_DIR/repetition.png.
"""

import itertools
import math
import time

import torch
from matplotlib.figure import Figure

import dataset
import files
import plots
import runs
import train
import utils
from cells import CELLS
from studies.gradients import VANISHED, equations_of, gradient_curves, last_over_first
from utils import number

TEST, EVERY, GRADIENT_EVERY = 2000, 100, 500  # test palindromes; updates between two measurements
GRIDS = [  # cells, lengths, sizes, forget biases: both cells as they are; the LSTM with its forget gate opened
    (["lstm", "rnn"], [15, 19, 25], [1000, 8000, 64_000, 0], [None]),
    (["lstm"], [19, 25, 50], [8000, 0], [None, 1.0, 4.0]),
]
FIXED = ("optimizer", "lr", "clip", "hidden_size", "batch_size", "data_seed", "implementation")
SERIES = {  # (cell, forget bias): label, colour and hatch in the figure
    ("rnn", None): (CELLS["rnn"].label, CELLS["rnn"].colour, "///"),
    ("lstm", None): (CELLS["lstm"].label, CELLS["lstm"].colour, ""),
    ("lstm", 1): ("LSTM, forget gate opened (bias 1)", plots.FURTHER_COLOURS[0], "..."),
    ("lstm", 4): ("LSTM, opened wider (bias 4)", plots.FURTHER_COLOURS[1], "xxx"),
}


def plan(args):
    """The options of every run, {name: options}, the longest first. Raises InputError for sizes that do not exist."""
    jobs, fixed = {}, {name: train.options()[name] for name in FIXED}
    for cells, lengths, sizes, biases in GRIDS:
        if args.forget_biases is not None and len(biases) > 1:
            biases = [None, *args.forget_biases]
        grid = itertools.product(args.lengths or lengths, args.sizes or sizes, cells, biases, range(args.seeds))
        for length, size, cell, bias, n in grid:
            if size + 2 * TEST > (exist := 10 ** dataset.half_length(length)):
                text = f"with {2 * TEST} more that is over the {exist} palindromes of {length + 1} digits"
                raise files.InputError(f"--sizes {size}: {text}")
            options = {"cell": cell, "input_length": length, "size": size, "forget_bias": bias, "seed": args.seed + n}
            name = f"{cell}_T{length}_{size or 'fresh'}" + (f"_bias{bias:g}" if bias is not None else "")
            jobs[f"{name}_seed{args.seed + n}"] = options | {"updates": args.updates, "every": EVERY} | fixed
    return dict(sorted(jobs.items(), key=lambda job: -job[1]["input_length"]))


def run(args):
    """Train one run as its options say; returns the rest of its row, accuracies being those at its end.

    Raises FloatingPointError for a loss that is not finite.
    """
    started, device = time.perf_counter(), utils.pick_device(args)
    size = args.size or TEST  # with fresh palindromes only the test palindromes of these are used
    data = dataset.load(args.input_length, size + TEST, size / (size + TEST), args.data_seed, args.seed, device)
    (digits, targets), test = data["train"], [part[:TEST] for part in data["test"]]
    model = train.build(args)[0].to(device)
    optimizer = train.OPTIMIZERS[args.optimizer](model.parameters(), lr=args.lr)
    shuffle = torch.Generator().manual_seed(args.seed)
    rows = EVERY * args.batch_size
    order, gradients, reached = torch.empty(0, dtype=torch.long), [], None
    for updates in range(EVERY, args.updates + 1, EVERY):
        if args.size:
            while len(order) < rows:
                order = torch.cat([order, torch.randperm(len(targets), generator=shuffle)])
            part, order = order[:rows], order[rows:]
        else:
            (digits, targets), part = dataset.draw(args.input_length, rows, shuffle, device), torch.arange(rows)
        part = part.to(device)
        loss, trained, _ = train.train_epoch(model, optimizer, digits, targets, part, args.batch_size, args.clip)
        if not math.isfinite(loss):
            raise FloatingPointError(f"{args.folder.name}: update {updates}: the loss is {loss}")
        accuracy = train.evaluate(model, *test)[1]
        reached = updates if accuracy >= 0.99 else None
        if reached or updates % GRADIENT_EVERY == 0 or updates + EVERY > args.updates:
            batch = [part[: args.batch_size].cpu().long() for part in test]
            ratio = last_over_first(gradient_curves(equations_of(model, args.cell), *batch)["h"])
            gradients.append([updates, float(f"{ratio:.4g}") if math.isfinite(ratio) else None])
        if reached:
            break
    row = {"updates_to_99": reached, "accuracy": round(accuracy, 4), "train_accuracy": round(trained, 4)}
    row |= {"gradients": gradients, "seconds": round(time.perf_counter() - started, 2), "code": train.CODE}
    return row | utils.provenance(device)


def draw_learned(figure, rows):
    """How many runs of each kind learned: a panel for each length, a group of bars for each size."""
    learned = {}
    for row in rows:
        key = row["input_length"], row["size"] or math.inf, (row["cell"], row["forget_bias"])  # fresh ones last
        learned.setdefault(key, []).append(row["updates_to_99"] is not None)
    lengths = sorted({length for length, _, _ in learned})
    sizes = [sorted({size for n, size, _ in learned if n == length}) for length in lengths]
    widths = [len(group) for group in sizes]
    panels = figure.subplots(1, len(lengths), sharey=True, width_ratios=widths, squeeze=False)[0]
    for axes, length, group in zip(panels, lengths, sizes, strict=True):
        for place, size in enumerate(group):
            kinds = [kind for kind in SERIES if (length, size, kind) in learned]
            for n, kind in enumerate(kinds):
                good, (label, colour, hatch) = learned[length, size, kind], SERIES[kind]
                x, height = place + 0.22 * (n - (len(kinds) - 1) / 2), sum(good) / len(good)
                axes.bar(x, height, 0.2, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=label)
                axes.text(x, height + 0.02, sum(good), color=colour, ha="center", fontsize=9, weight="bold")
            if size == math.inf:
                axes.axvspan(place - 0.5, place + 0.5, color="0.93", zorder=0)
        axes.set_xticks(range(len(group)), ["fresh" if size == math.inf else f"{size:,}" for size in group])
        axes.set(title=f"{length} digits", xlim=(-0.5, len(group) - 0.5), ylim=(0, 1.12))
        axes.set_yticks([0, 0.5, 1], ["none", "half", "all"])
        axes.grid(False, axis="x")
    panels[0].set_ylabel("runs that learned")
    figure.supxlabel("training palindromes: so many, repeated, or fresh ones in every batch", fontsize=11)
    handles = {label: bar for axes in panels for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)


def draw_gradients(axes, rows):
    """The ratio of the gradients while LSTMs train, a line for each run; it ends in a dot where the run learned."""
    for row in rows:
        updates, ratios = zip(*[(n, ratio or math.inf) for n, ratio in row["gradients"]], strict=True)
        axes.plot(updates, ratios, color=CELLS["lstm"].colour, lw=1.2)
        axes.scatter(
            updates[-1:], ratios[-1:], **plots.DOT, color=CELLS["lstm"].colour, visible=bool(row["updates_to_99"])
        )
    learned = sum(row["updates_to_99"] is not None for row in rows)
    axes.axhspan(VANISHED, 1e11, color="0.93", zorder=0)
    axes.text(0.985, 0.62, "vanished", transform=axes.transAxes, ha="right")
    axes.text(0.985, 0.04, f"{learned} of {len(rows)} runs learned (dots)", transform=axes.transAxes, ha="right")
    axes.set(xlabel="update", yscale="log", ylim=(3e-3, 1e11))


def draw(rows, path):
    """Bars of the runs that learned; below, if such rows are there, gradients of the LSTM on its longest input."""
    usual = [row for row in rows if (row["cell"], row["forget_bias"]) == ("lstm", None)]
    length = max((row["input_length"] for row in usual if row["size"] == 64_000), default=0)
    titles = {64_000: "64,000 repeated palindromes", 0: "fresh palindromes"}
    groups = {size: [row for row in usual if (row["input_length"], row["size"]) == (length, size)] for size in titles}
    count = 1 + all(groups.values())
    figure = Figure(figsize=(11, 3.6 * count))
    above, *below = figure.subfigures(count, 1, squeeze=False)[:, 0]
    draw_learned(above, rows)
    if below:
        panels = below[0].subplots(1, 2, sharex=True, sharey=True)
        panels[0].set_ylabel("gradient, last step / first")
        for axes, (size, group) in zip(panels, groups.items(), strict=True):
            axes.set_title(f"LSTM, {length} digits, {titles[size]}")
            draw_gradients(axes, group)
    seeds, updates = len({row["seed"] for row in rows}), max(row["updates"] for row in rows)
    foot = f"learned: {TEST:,} test palindromes, 99 % of them right, within {updates:,} updates; {seeds} seeds"
    utils.save_figure(figure, path, f"studies/repetition.py; {foot}")


def main(argv=None):
    """Run from the command line: train what is missing, then draw."""
    parser = utils.Parser("Train LSTM and RNN on repeated palindromes, and on fresh ones.")
    length, size = (
        number(int, low=1, high=dataset.MAX_INPUT_LENGTH),
        number(int, low=0, high=dataset.MAX_TOTAL_LEN - TEST),
    )
    parser.add_argument("--lengths", nargs="+", type=length, help="digits read, instead of the plan's 15 to 50")
    parser.add_argument(
        "--sizes", nargs="+", type=size, help="training palindromes, instead of the plan's; 0: fresh ones"
    )
    bias = number(float, low=-100, high=100)
    parser.add_argument("--forget-biases", nargs="*", type=bias, help="besides torch's own, instead of 1 and 4")
    updates = number(int, low=EVERY)
    parser.add_argument("--updates", type=updates, default=10_000, help=f"at most so many, a multiple of {EVERY}")
    runs.add_options(parser, seeds=5)
    utils.add_options(parser, threads=1)
    args = parser.parse_args(argv)
    if rows := runs.study("repetition", plan(args), run, args, train.CODE):
        with utils.style():
            draw(rows, args.figures_dir / "repetition.png")


if __name__ == "__main__":
    utils.run(main)
