"""What the figures of this part share: colours, labels, runs as dots, the learning curve. Not a script."""

import math
import sys
import time

import matplotlib.pyplot as plt

import utils

# With the cells' own colours (cells.py) a set that can be told apart with every common colour vision.
FURTHER_COLOURS = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
OPTIMIZER_LABELS = {"rmsprop": "RMSprop", "adam": "Adam"}
DOT = {"s": 30, "alpha": 0.75, "linewidth": 0}  # one run
CROSS = {"s": 28, "marker": "x"}  # one run that did not get there
GUESS = {"color": "0.5", "linewidth": 1.2, "linestyle": ":", "zorder": 1, "label": "random guess"}
FRACTION = {"s": 200, "marker": "$k/n$", "color": "0.4"}  # the legend's sign for successes


def successes(row):
    """The successes in a row of sweep.summarise, such as 3/5."""
    return f"{round(row['success_rate'] * row['runs'])}/{row['runs']}"


def draw_runs(axes, runs, summary, colour, shift, **line):
    """Draw one cell: every run a dot, `shift` beside its length, and the medians as a line with the options `line`."""
    x = [entry["input_length"] + shift for entry in runs]
    axes.scatter(x, [entry["accuracy"] for entry in runs], color=colour, **DOT)
    axes.plot([row["input_length"] for row in summary], [row["median"] for row in summary], color=colour, **line)


def write_successes(axes, summary, colour, shift, y, fontsize=9):
    """Write the share of successes, such as 3/5, at height `y` over the lengths where a run failed."""
    for row in summary:
        if row["success_rate"] < 1:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # keeps grid lines out of the digits
            x = row["input_length"] + shift
            axes.text(x, y, successes(row), color=colour, fontsize=fontsize, ha="center", va="center", bbox=box)


def seeds_text(seed, seeds):
    """Such as `5 seeds from 0`, for the foot of a figure."""
    return f"{seeds} seed{'s' * (seeds > 1)} from {seed}"


def source_text(args):
    """What the runs of a sweep have in common, for the foot of a figure."""
    return (
        f"{args.total_len} palindromes, {args.train_portion:g} to train on, lr {args.lr:g}, batch {args.batch_size}, "
        f"hidden {args.hidden_size}, clip {args.clip:g}, at most {args.epochs} epochs, stop at {args.stop_at:g}"
    )


def draw_curve(history, config, path):
    """Write loss and accuracy over epochs, on both splits, to `path`."""
    epochs = [entry["epoch"] for entry in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for axes, quantity in ((left, "loss"), (right, "accuracy")):
        for split, label in (("train", "training, before each update"), ("val", "validation")):
            axes.plot(epochs, [entry[f"{split}_{quantity}"] for entry in history], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.axhline(math.log(10), **GUESS | {"label": "random guess, ln 10"})
    right.axhline(0.1, **GUESS)
    goal = f"{'stop at' if config['protocol'] == 'split' else 'success:'} {config['stop_at']:g}"
    right.axhline(config["stop_at"], color="0.3", linestyle="--", linewidth=1, label=goal)
    right.set_ylim(0, 1.03)
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    figure.suptitle(f"{config['cell'].upper()} on palindromes, {config['input_length']} digits read")
    keys = ("protocol", "optimizer", "lr", "batch_size", "hidden_size", "total_len", "forget_bias", "seed", "data_seed")
    source = ", ".join(f"{key} {config[key]}" for key in keys if config[key] is not None)
    utils.save_figure(figure, path, f"train.py: {source}")


def sparingly(draw, seconds=0.5):
    """`draw` as a function that leaves most calls out, so that drawing takes less than 1 % of the time.

    seconds: how long the first drawing is expected to take. A drawing that fails prints a line and stops nothing.
    """
    due = time.perf_counter() + 100 * seconds

    def draw_if_due(*arguments):
        nonlocal due
        begun = time.perf_counter()
        if begun < due:
            return
        try:
            draw(*arguments)
        except Exception as error:  # whatever a drawing may meet, the training is worth more
            print(f"{arguments[-1]}: not drawn ({error})", file=sys.stderr)
        now = time.perf_counter()
        due = now + 100 * (now - begun)

    return draw_if_due
