"""How long a training step of the LSTM takes, beside torch.nn.LSTM.

    python benchmark.py --out-dir mine      # on one thread and on all: minutes; leave the machine alone meanwhile
    python benchmark.py --draw              # the figure from the rows that are there

Steps of train.train_epoch take turns: by the equations (lstm.py), fast (fast_lstm.py, what train.py uses), torch's
nn.LSTM. Milliseconds are medians over the rounds, `of_nn_lstm` is the median of the rounds' ratios. Writes
OUT_DIR/benchmark.json and FIGURES_DIR/lstm_speed.png.
"""

import itertools
import statistics
import time
from functools import partial

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

import files
import runs
import train
import utils
from fast_lstm import FastLSTM
from lstm import LSTM

BATCH, HIDDEN = 128, 128
STYLES = {"equations": "o-", "fast": "D-", "nn.LSTM": "^-."}
LABELS = {"equations": "equations (lstm.py)", "fast": "fast (fast_lstm.py)", "nn.LSTM": "nn.LSTM"}


class TorchLSTM(nn.Module):
    """nn.LSTM with the interface of lstm.LSTM: digits (batch, time) -> logits (batch, 10)."""

    def __init__(self):
        super().__init__()
        self.lstm, self.W_ph = nn.LSTM(10, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 10)

    def forward(self, digits):
        return self.W_ph(self.lstm(F.one_hot(digits, 10).float())[0][:, -1])


def variants(length, device):
    """{variant: a function that does one training step}."""
    models = {"equations": LSTM(), "fast": FastLSTM(), "nn.LSTM": TorchLSTM()}
    digits, order = torch.randint(10, (BATCH, length), device=device), torch.arange(BATCH, device=device)
    steps = {}
    for name, model in models.items():
        optimizer = torch.optim.RMSprop(model.to(device).parameters(), lr=1e-3)
        steps[name] = partial(train.train_epoch, model, optimizer, digits, digits[:, 0], order, BATCH, 10.0)
    return steps


def measure(length, rounds, device):
    """{variant: milliseconds of each round}; two rounds before them warm up."""
    steps = variants(length, device)
    times = {variant: [] for variant in steps}
    for _ in range(rounds + 2):
        for variant, step in steps.items():
            start = time.perf_counter()
            step()
            times[variant].append(1e3 * (time.perf_counter() - start))
    return {variant: values[2:] for variant, values in times.items()}


def draw(rows, path):
    """Milliseconds per digit over the length, a line for each variant, on as many threads as were measured."""
    threads, lengths = max(row["threads"] for row in rows), sorted({row["length"] for row in rows})
    figure = Figure(figsize=(9, 4))
    axes = figure.subplots()
    for variant, style in STYLES.items():
        group = [row for row in rows if (row["variant"], row["threads"]) == (variant, threads)]
        points = sorted((row["length"], row["milliseconds"] / row["length"]) for row in group)
        if points:
            axes.plot(*zip(*points, strict=True), style, label=LABELS[variant])
    axes.set(xlabel="digits read", ylabel="milliseconds per digit", xscale="log", ylim=(0, None))
    axes.set_xticks(lengths, lengths)
    axes.minorticks_off()
    figure.legend(loc="outside right upper")
    count = f"{threads} thread{'s' * (threads != 1)}"
    foot = f"{BATCH} palindromes a step, {count}, {rows[0]['processor']}, torch {rows[0]['torch']}"
    utils.save_figure(figure, path, foot)


def main(argv=None):
    parser = utils.Parser("Measure the training step of the LSTM.")
    length = train.OPTIONS["input_length"][0]
    parser.add_argument("--lengths", type=length, nargs="+", default=[10, 25, 100, 400], help="digits read")
    parser.add_argument("--rounds", type=utils.number(int, low=1), default=15, help="rounds that are timed")
    parser.add_argument("--draw", action="store_true", help="measure nothing, draw the rows that are there")
    utils.add_options(parser, threads=runs.CORES)
    args = parser.parse_args(argv)
    path, device = args.out_dir / "benchmark.json", utils.pick_device(args)
    rows = runs.load_rows(path) if args.draw else {}
    if not args.draw:
        for length, threads in itertools.product(args.lengths, sorted({1, args.threads})):
            torch.set_num_threads(threads)
            times = measure(length, args.rounds, device)
            for variant, values in times.items():
                ratio = statistics.median(a / b for a, b in zip(values, times["nn.LSTM"], strict=True))
                row = {"variant": variant, "length": length}
                row |= {"milliseconds": statistics.median(values), "of_nn_lstm": ratio}
                name = f"{variant}, {length} digits, --threads {threads}"
                rows[name] = row | utils.provenance(device)
                print(f"{name}: {row['milliseconds']:.2f} ms, {ratio:.2f} of nn.LSTM's", flush=True)
        args.out_dir.mkdir(parents=True, exist_ok=True)
        files.save(path, {"study": "benchmark", "rows": rows})
    with utils.style():
        draw(list(rows.values()), args.figures_dir / "lstm_speed.png")


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
