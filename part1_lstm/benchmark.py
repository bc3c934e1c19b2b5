"""How long a training step of the LSTM takes, beside torch.nn.LSTM and its matrix products alone.

    python benchmark.py --out-dir mine      # on one thread and on all: minutes; leave the machine alone meanwhile
    python benchmark.py --draw              # the figure from the rows that are there

Steps of train.train_epoch take turns: by the equations (lstm.py), the same with torch.compile around the cell if there
is a C++ compiler, fast (fast_lstm.py, what train.py uses), torch's nn.LSTM; and the products of the recurrence alone.
Milliseconds are medians over the rounds, `of_nn_lstm` is the median of the rounds' ratios. Writes
OUT_DIR/benchmark.json and FIGURES_DIR/lstm_speed.png.
"""

import shutil
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
STYLES = {"equations": "o-", "equations, compiled": "s--", "fast": "D-", "nn.LSTM": "^-.", "products": "v:"}
LABELS = {"equations": "equations (lstm.py)", "fast": "fast (fast_lstm.py)", "products": "matrix products alone"}


class TorchLSTM(nn.Module):
    """nn.LSTM with the interface of lstm.LSTM: digits (batch, time) -> logits (batch, 10)."""

    def __init__(self):
        super().__init__()
        self.lstm, self.W_ph = nn.LSTM(10, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 10)

    def forward(self, digits):
        return self.W_ph(self.lstm(F.one_hot(digits, 10).float())[0][:, -1])


def products(W, h, da, length):
    """W_h h, W_h^T da and da h^T, the products of each step forward and backward."""
    for _ in range(length):
        a, dh, dW = W @ h, W.t() @ da, da @ h.t()
    return (a.sum() + dh.sum() + dW.sum()).item()  # waits for a GPU


def variants(length, device):
    """{variant: a function that does one training step, or its products}."""
    models = {"equations": LSTM(), "equations, compiled": LSTM(), "fast": FastLSTM(), "nn.LSTM": TorchLSTM()}
    compiled = models["equations, compiled"]
    compiled.cell = torch.compile(compiled.cell)  # the whole recurrence would take minutes to compile
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        del models["equations, compiled"]
    digits, order = torch.randint(10, (BATCH, length), device=device), torch.arange(BATCH, device=device)
    steps = {}
    for name, model in models.items():
        optimizer = torch.optim.RMSprop(model.to(device).parameters(), lr=1e-3)
        steps[name] = partial(train.train_epoch, model, optimizer, digits, digits[:, 0], order, BATCH, 10.0)
    sizes = ((4 * HIDDEN, HIDDEN), (HIDDEN, BATCH), (4 * HIDDEN, BATCH))
    return steps | {"products": partial(products, *(torch.randn(size, device=device) for size in sizes), length)}


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
        axes.plot(
            [length for length, _ in points], [time for _, time in points], style, label=LABELS.get(variant, variant)
        )
    axes.set(xlabel="digits read", ylabel="milliseconds per digit", xscale="log", ylim=(0, None))
    axes.set_xticks(lengths, lengths)
    axes.minorticks_off()
    figure.legend(loc="outside right upper")
    foot = f"{BATCH} palindromes a step, {threads} threads, {rows[0]['processor']}, torch {rows[0]['torch']}"
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
    for length, threads in [] if args.draw else [(n, m) for n in args.lengths for m in sorted({1, args.threads})]:
        torch.set_num_threads(threads)
        times = measure(length, args.rounds, device)
        for variant, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, times["nn.LSTM"], strict=True))
            row = {"variant": variant, "length": length, "milliseconds": statistics.median(values), "of_nn_lstm": ratio}
            name = f"{variant}, {length} digits, --threads {threads}"
            rows[name] = row | utils.provenance(device)
            print(f"{name}: {row['milliseconds']:.2f} ms, {ratio:.2f} of nn.LSTM's", flush=True)
    if not args.draw:
        args.out_dir.mkdir(parents=True, exist_ok=True)
        files.save(path, {"study": "benchmark", "rows": rows})
    with utils.style():
        draw(list(rows.values()), args.figures_dir / "lstm_speed.png")


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
