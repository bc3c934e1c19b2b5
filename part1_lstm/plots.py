"""What the figures of this part share: colours, runs as dots, the learning curve. Not a script."""

import math
import sys

from matplotlib.figure import Figure

import utils

# With the cells' own colours (cells.py) a set that can be told apart with every common colour vision.
FURTHER_COLOURS = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
DOT = {"s": 26, "alpha": 0.7, "linewidth": 0}  # one run
GUESS = {"color": "0.5", "linewidth": 1.2, "linestyle": ":", "zorder": 1}


def draw_curve(history, options, path):
    """Write loss and accuracy over epochs, on both splits, to `path`; a drawing that fails stops no training."""
    epochs = range(1, len(history) + 1)
    with utils.style():
        figure = Figure(figsize=(9, 3.6))
        left, right = figure.subplots(1, 2)
        for axes, quantity in ((left, "loss"), (right, "accuracy")):
            for split, style, label in (("train", "--", "training, before each update"), ("val", "-", "validation")):
                values = [entry[f"{split}_{quantity}"] for entry in history]
                axes.plot(epochs, values, style, marker=".", label=label)
            axes.set(xlabel="epoch", ylabel=quantity)
            axes.xaxis.get_major_locator().set_params(integer=True)
        left.axhline(math.log(10), label="random guess", **GUESS)
        right.axhline(0.1, **GUESS)
        right.set_ylim(0, 1.03)
        left.legend()
        figure.suptitle(f"{options['cell'].upper()} on palindromes, {options['input_length']} digits read")
        try:
            utils.save_figure(figure, path, f"{options['palindromes']} palindromes, seed {options['seed']}", quiet=True)
        except Exception as error:
            print(f"{path}: not drawn ({error})", file=sys.stderr)
