"""Does the gradient vanish? |dL/dh_t| over the steps t in LSTM and RNN.

    python -m studies.gradients             # from the folder above: 15 networks, about 10 minutes
    python -m studies.gradients --out-dir mine --train-length 5 --steps 25 --seeds 1        # a quick try
    python -m studies.gradients --draw      # the figure from the rows that are there

L is the cross entropy of one palindrome and dL/dh_t its total derivative, through everything that comes after h_t; |.|
is the Euclidean norm over the hidden units. A curve is the mean of these norms over one batch of validation
palindromes of 100 digits, at each t, in double precision and by the equations (lstm.py, rnn.py). Each network is
measured before its first update and after training on 25 digits, whether it has learned them or not.

Writes OUT_DIR/gradients.json and FIGURES_DIR/gradients.png.
"""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

import dataset
import runs
import train
import utils
from cells import CELLS
from studies import NETWORKS

VANISHED = 1000  # the gradient has vanished if its norm at the last step is over so many times that at the first
MEASURED = [("rnn", None), ("lstm", None), ("lstm", 4.0)]  # cells, and initial biases of the forget gate
SHOWN = 25  # steps in gradients.png


def equations_of(model, cell):
    """The network `model` of the cell named `cell` by its equations, on the CPU and in double precision."""
    equations = CELLS[cell].equations(hidden_size=model.hidden_size).double()
    equations.load_state_dict(model.state_dict())
    return equations


def gradient_curve(model, digits, targets):
    """|dL/dh_t| at each step t, mean over the rows: (time).

    digits int64 (rows, time), targets int64 (rows); L is each row's own cross entropy.
    """
    h = [states[0] if isinstance(states, tuple) else states for states in model.steps(digits)]
    loss = F.cross_entropy(model.W_ph(h[-1]), targets, reduction="sum")  # no row's gradient holds another's
    gradients = torch.stack(torch.autograd.grad(loss, h))
    scale = gradients.abs().amax(2, keepdim=True).clamp(min=1e-300)  # squares would underflow long before
    return ((gradients / scale).norm(dim=2) * scale[:, :, 0]).mean(1)


def last_over_first(curve):
    """The last of the values (time) over the first, a float; infinite where nothing is left at the first."""
    return (curve[-1] / curve[0]).item() if curve[0] > 0 else math.inf


def plan(args):
    """The options of every row, {name: options}: each network and seed untrained and trained."""
    jobs = {}
    for cell, bias in MEASURED:
        network = CELLS[cell].label + (f", forget bias {bias:g}" if bias is not None else "")
        for seed in range(args.seed, args.seed + args.seeds):
            options = train.options(cell=cell, forget_bias=bias, input_length=args.train_length, seed=seed)
            for name, trained_on in (("untrained", None), ("trained", args.train_length)):
                measured = {"network": network, "trained_on": trained_on, "steps": args.steps}
                jobs[f"{train.name_of(options)}_{name}"] = measured | options
    return jobs


def run(args):
    """Train a network, or leave it as it is, and measure it; returns the rest of its row."""
    started, device = time.perf_counter(), utils.pick_device(args)
    model = (train.train(args)[0] if args.trained_on else train.build(args)[0]).cpu()
    splits = dataset.load(args.steps, args.total_len, args.train_portion, args.data_seed, args.seed)
    batch = [part[: args.batch_size].long() for part in splits["validation"]]
    curve = gradient_curve(equations_of(model, args.cell), *batch).tolist()
    row = {"curve": [float(f"{value:.3g}") for value in curve], "seconds": round(time.perf_counter() - started, 2)}
    return row | {"code": train.CODE} | utils.provenance(device)


def draw(rows, path):
    """The gradient over the last steps, relative to the last: median and range over the seeds, before and after."""
    figure = Figure(figsize=(9, 4))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    trained_on = next((row["trained_on"] for row in rows if row["trained_on"]), None)
    for axes, length in zip(panels, (None, trained_on), strict=True):
        for cell, bias in MEASURED:
            group = [r for r in rows if (r["cell"], r["forget_bias"], r["trained_on"]) == (cell, bias, length)]
            if not group:  # after a stop
                continue
            curves = np.array([row["curve"][-SHOWN:] for row in group])
            curves = curves / curves[:, -1:]
            back, (label, colour, _, line) = np.arange(curves.shape[1])[::-1], NETWORKS[cell, bias]
            axes.fill_between(back, curves.min(0), curves.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(back, np.median(curves, 0), line, color=colour, label=label)
        axes.set(yscale="log", xlabel="digits back from the last one", xlim=(SHOWN, -0.5))
        axes.set_title(f"after training on {length} digits" if length else "before training")
    low, high = axes.get_ylim()
    for axes in panels:
        axes.axhspan(low, 1 / VANISHED, color="0.93", zorder=0)
        axes.text(0.98, 0.05, "vanished", transform=axes.transAxes, ha="right")
    axes.set_ylim(low, high)
    panels[0].set_ylabel("gradient, relative to the last digit's")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    seeds, steps = len({row["seed"] for row in rows}), rows[0]["steps"]
    utils.save_figure(figure, path, f"the last {SHOWN} of {steps} digits read; median and range of {seeds} seeds")


def main(argv=None):
    parser = utils.Parser("Measure the gradient over the steps of a sequence, in LSTM and RNN.")
    length = utils.number(int, low=2, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument("--train-length", type=length, default=25, help="digits to train on")
    parser.add_argument("--steps", type=length, default=100, help="digits read for the measurement")
    runs.add_options(parser, seeds=5)
    args = parser.parse_args(argv)
    if rows := runs.study("gradients", plan(args), run, args, train.CODE):
        with utils.style():
            draw(rows, args.figures_dir / "gradients.png")


if __name__ == "__main__":
    utils.run(main)
