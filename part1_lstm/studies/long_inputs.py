"""How far do the cells carry a digit? Inputs longer than the report's, and a forget gate that begins open.

    python -m studies.long_inputs           # from the folder above: 65 runs, about an hour
    python -m studies.long_inputs --out-dir mine --lengths 35 --seeds 1     # a quick try
    python -m studies.long_inputs --draw    # the figure from the rows that are there

RNN, LSTM and the LSTM whose forget gate has the initial bias 4 train on repeated palindromes as in train.py. With bias
b the cell state keeps about sigmoid(b)**T of what it held T steps before, so the bias that helps may grow with log T
(Tallec & Ollivier 2018, Can recurrent neural networks warp time?). From 75 digits on, where a run takes minutes, there
are 20 epochs instead of 100; at 200 digits only the opened LSTM trains.

Writes OUT_DIR/long_inputs.json and FIGURES_DIR/long_inputs.png.
"""

from matplotlib.figure import Figure

import runs
import train
import utils
from studies import draw_bars, draw_legend
from studies.gradients import MEASURED

LENGTHS = [35, 50, 75, 100, 200]
EPOCHS, FAR_EPOCHS, FAR = 100, 20, 75  # at most, the second from FAR digits on
FARTHEST = 200  # digits from which on only the opened LSTM trains


def plan(args):
    """The options of every run, {name: options}, the longest first."""
    jobs = {}
    for length in sorted(set(args.lengths), reverse=True):
        for cell, bias in MEASURED if length < FARTHEST else MEASURED[-1:]:
            for seed in range(args.seed, args.seed + args.seeds):
                epochs = EPOCHS if length < FAR else FAR_EPOCHS
                options = train.options(cell=cell, forget_bias=bias, input_length=length, epochs=epochs, seed=seed)
                jobs[train.name_of(options)] = options
    return jobs


def draw(rows, path):
    """Bars of the runs that learned, a group for each length."""
    figure = Figure(figsize=(9, 4))
    axes = figure.subplots()
    lengths = sorted({row["input_length"] for row in rows})
    for x, length in enumerate(lengths):
        group = [row for row in rows if row["input_length"] == length]
        draw_bars(axes, x, group)
        if length >= FARTHEST:
            axes.text(x, 0.3, "the others\nwere not\ntrained", ha="center", color="0.4", fontsize=9)
    axes.set_xticks(range(len(lengths)), lengths)
    axes.set_xlabel("digits read")
    draw_legend(figure, rows)
    seeds = len({row["seed"] for row in rows})
    foot = f"learned: 99 % of validation palindromes right within {EPOCHS} epochs, {FAR_EPOCHS} from {FAR} digits on"
    utils.save_figure(figure, path, f"{seeds} seeds; {foot}")


def main(argv=None):
    parser = utils.Parser("Train LSTM and RNN on inputs longer than the report's.")
    length = train.OPTIONS["input_length"][0]
    parser.add_argument("--lengths", type=length, nargs="+", default=LENGTHS, help="digits read")
    runs.add_options(parser, seeds=5)
    args = parser.parse_args(argv)
    if rows := runs.study("long_inputs", plan(args), train.run, args, train.CODE):
        with utils.style():
            draw(rows, args.figures_dir / "long_inputs.png")


if __name__ == "__main__":
    utils.run(main)
