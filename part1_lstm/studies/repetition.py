"""Does it help to see the same palindromes again? LSTM and RNN on repeated palindromes and on fresh ones.

    python -m studies.repetition            # from the folder above: 190 runs, hours
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
import runs
import train
import utils
from cells import CELLS
from studies import draw_bars, draw_legend
from studies.gradients import VANISHED, equations_of, gradient_curve, last_over_first
from utils import number

TEST, EVERY, GRADIENT_EVERY = 2000, 100, 500  # test palindromes; updates between two measurements
GRIDS = [  # cells, lengths, sizes, forget biases: both cells as they are; the LSTM with its forget gate opened
    (["lstm", "rnn"], [15, 19, 25], [1000, 8000, 64_000, 0], [None]),
    (["lstm"], [19, 25, 50], [8000, 0], [None, 1.0, 4.0]),
]
FIXED = ("optimizer", "lr", "clip", "hidden_size", "batch_size", "data_seed", "implementation")


def plan(args):
    """The options of every run, {name: options}, the longest first. Raises InputError for sizes that do not exist."""
    jobs, fixed = {}, {name: train.options()[name] for name in FIXED}
    for cells, lengths, sizes, biases in GRIDS:
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
    """Train one run as its options say; returns the rest of its row, accuracies being those at its end."""
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
        _, trained, _ = train.train_epoch(model, optimizer, digits, targets, part, args.batch_size, args.clip)
        accuracy = train.evaluate(model, *test)[1]
        reached = updates if accuracy >= 0.99 else None
        if reached or updates % GRADIENT_EVERY == 0 or updates + EVERY > args.updates:
            batch = [part[: args.batch_size].cpu().long() for part in test]
            ratio = last_over_first(gradient_curve(equations_of(model, args.cell), *batch))
            gradients.append([updates, float(f"{ratio:.4g}") if math.isfinite(ratio) else None])
        if reached:
            break
    row = {"updates_to_99": reached, "accuracy": round(accuracy, 4), "train_accuracy": round(trained, 4)}
    row |= {"gradients": gradients, "seconds": round(time.perf_counter() - started, 2), "code": train.CODE}
    return row | utils.provenance(device)


def draw_learned(axes, rows):
    """A group of bars for each length and size."""
    x, names = 0, {}
    for length in sorted({row["input_length"] for row in rows}):
        group = [row for row in rows if row["input_length"] == length]
        sizes = sorted({row["size"] for row in group}, key=lambda size: size or math.inf)  # fresh ones last
        axes.text(x + len(sizes) / 2 - 0.5, 1.16, f"{length} digits", ha="center", fontsize=12)
        for size in sizes:
            draw_bars(axes, x, [row for row in group if row["size"] == size])
            axes.axvspan(x - 0.5, x + 0.5, color="1" if size else "0.93", zorder=0)
            names[x] = f"{size:,}" if size else "fresh"
            x += 1
        x += 0.4
    axes.set_xticks(list(names), names.values())
    axes.set(xlim=(-0.6, x - 0.8), xlabel="number of training palindromes (fresh: new ones in every batch)")


def draw(rows, path):
    """Bars of the runs that learned; below, gradients of the LSTM on its longest input, if such rows are there."""
    usual = [row for row in rows if (row["cell"], row["forget_bias"]) == ("lstm", None)]
    length = max((row["input_length"] for row in usual if row["size"] == 64_000), default=0)
    groups = [[r for r in usual if (r["input_length"], r["size"]) == (length, size)] for size in (64_000, 0)]
    figure = Figure(figsize=(11, 7.2 if all(groups) else 3.6))
    above, *below = figure.subfigures(1 + all(groups), 1, squeeze=False)[:, 0]
    draw_learned(above.subplots(), rows)
    draw_legend(above, rows)
    panels = below[0].subplots(1, 2, sharex=True, sharey=True) if below else []
    for axes, group, what in zip(panels, groups, ("64,000 repeated", "fresh"), strict=False):
        for row in group:
            updates, ratios = zip(*[(n, 1 / (ratio or math.inf)) for n, ratio in row["gradients"]], strict=True)
            end = [-1] if row["updates_to_99"] else []  # a dot
            axes.plot(updates, ratios, "o-", markevery=end, color=CELLS["lstm"].colour, lw=1.2)
        axes.axhspan(1e-11, 1 / VANISHED, color="0.93", zorder=0)
        axes.text(0.985, 0.38, "vanished", transform=axes.transAxes, ha="right")
        axes.set(title=f"LSTM, {length} digits, {what} palindromes", xlabel="update", yscale="log", ylim=(1e-11, 300))
        axes.set_ylabel("gradient, first step / last" if axes is panels[0] else "")
    foot = f"a run has learned when 99 % of {TEST:,} test palindromes are right, within {rows[0]['updates']:,} updates"
    utils.save_figure(figure, path, f"{foot}; no bar: not run; below, a line a run, a dot where it has learned")


def main(argv=None):
    parser = utils.Parser("Train LSTM and RNN on repeated palindromes, and on fresh ones.")
    add, size = parser.add_argument, number(int, low=0, high=dataset.MAX_TOTAL_LEN - TEST)
    add("--lengths", nargs="+", type=train.OPTIONS["input_length"][0], help="digits read, instead of 15 to 50")
    add("--sizes", nargs="+", type=size, help="training palindromes, instead of 1000 to 64000 and 0, fresh ones")
    add("--updates", type=number(int, low=EVERY), default=10_000, help=f"at most so many, a multiple of {EVERY}")
    runs.add_options(parser, seeds=5)
    args = parser.parse_args(argv)
    if rows := runs.study("repetition", plan(args), run, args, train.CODE):
        with utils.style():
            draw(rows, args.figures_dir / "repetition.png")


if __name__ == "__main__":
    utils.run(main)
