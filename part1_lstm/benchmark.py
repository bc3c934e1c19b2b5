"""How long a training step of the LSTM takes, in four variants, beside torch.nn.LSTM and its matrix products alone.

    python benchmark.py --out-dir mine                      lengths 10, 25, 100 and 400, some minutes on two cores
    python benchmark.py --out-dir mine --lengths 10 25 --rounds 5          a quick try
    python benchmark.py --out-dir mine --threads 1          on one CPU thread; without it on one and on all
    python benchmark.py                                     replaces the published numbers by this machine's

The variants:

    equations            lstm.py, one small kernel after the other
    equations, compiled  the same with torch.compile around its cell, if there is a C++ compiler
    fast                 fast_lstm.py: the same results, with the backward pass written by hand
    fast, usual update   the same with the usual update, see below
    nn.LSTM              torch's own LSTM on the one-hot digits, and a linear layer on its last state
    products             the matrix products of the recurrence alone, forward and backward, as fast_lstm.py makes
                         them: no LSTM that multiplies this way can take less time

A training step is one-hot digits, forward pass, cross entropy, backward pass, clipping, and an update by RMSprop.
"fast" does it as train.py does, with clipping and update on one vector of all parameters. The others have the usual
lines: zero_grad, loss.backward, clip_grad_norm_ and step on model.parameters().

The variants take turns, two steps each per round, the second of them timed, so that other load on the machine affects
them all alike. The table holds medians over the rounds; a ratio is the median of the rounds' ratios. For all variants
numbers below 1e-38 count as 0, as in training (utils.pick_device): otherwise nn.LSTM and the fast form take several
times as long at 400 digits on Intel's processors. Peak memory is what three steps add to a process of their own, which
has built the model and done one step at length 1 before (Linux only; on CUDA: the peak of torch's allocator).

Writes OUT_DIR/benchmark.json and FIGURES_DIR/lstm_speed.png, which shows the run on all threads.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import train
import utils
from fast_lstm import FastLSTM
from lstm import LSTM
from utils import number

DIGITS = 10
VARIANTS = ["equations", "equations, compiled", "fast", "fast, usual update", "nn.LSTM", "products"]
COMPILER = next(filter(shutil.which, ("c++", "g++", "clang++", "cl")), None)
if COMPILER is None:
    VARIANTS.remove("equations, compiled")


class TorchLSTM(nn.Module):
    """nn.LSTM on one-hot digits, with the interface of lstm.LSTM: digits (batch, time) -> logits (batch, digits)."""

    def __init__(self, hidden_size):
        super().__init__()
        self.lstm, self.W_ph = nn.LSTM(DIGITS, hidden_size, batch_first=True), nn.Linear(hidden_size, DIGITS)

    def forward(self, digits):
        return self.W_ph(self.lstm(F.one_hot(digits, DIGITS).to(self.W_ph.weight.dtype))[0][:, -1])


def training_step(model, digits, targets):
    """A function of a length: one training step on so many digits of each row, as it is usually written."""
    parameters = list(model.parameters())
    optimizer = torch.optim.RMSprop(parameters, lr=1e-3)

    def step(length):
        loss = F.cross_entropy(model(digits[:, :length]), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()

    return step


def own_training_step(model, digits, targets):
    """The same with train.py's update on one vector."""
    vector = train.one_vector(model)
    optimizer = torch.optim.RMSprop([vector], lr=1e-3)

    def step(length):
        train.update(model, vector, optimizer, F.cross_entropy(model(digits[:, :length]), targets), 10.0)

    return step


def bare_products(batch, hidden, device):
    """A function of a length: a training step's recurrent products, W_h h, W_h^T da and da h^T at each digit."""
    W, h, da = (
        torch.randn(shape, device=device) for shape in ((4 * hidden, hidden), (hidden, batch), (4 * hidden, batch))
    )
    W_hT, h_T, a, dh, dW = W.t().contiguous(), h.t(), torch.empty_like(da), torch.empty_like(h), torch.zeros_like(W)

    @torch.no_grad()
    def step(length):
        for _ in range(length):
            torch.mm(W, h, out=a)
            torch.mm(W_hT, da, out=dh)
            dW.addmm_(da, h_T)

    return step


def make(variant, length, args, device):
    """The function that does one step of `variant` at the length it is given, at most `length`."""
    torch.manual_seed(args.seed)
    if variant == "products":
        return bare_products(args.batch_size, args.hidden_size, device)
    model = TorchLSTM(args.hidden_size)
    if variant != "nn.LSTM":
        model = (LSTM if variant.startswith("equations") else FastLSTM)(hidden_size=args.hidden_size)
    if variant == "equations, compiled":
        model.cell = torch.compile(model.cell)  # the whole recurrence would take minutes to compile at each length
    digits = torch.randint(DIGITS, (args.batch_size, length + 1)).to(device)
    model = model.to(device)
    form = own_training_step if variant == "fast" else training_step
    return form(model, digits[:, :-1], digits[:, -1])


def measure_time(length, args, device):
    """Interleaved rounds: {variant: [milliseconds of each round]}."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    steps = {variant: make(variant, length, args, device) for variant in VARIANTS}
    times = {variant: [] for variant in VARIANTS}
    for round_ in range(args.rounds + 2):
        for variant, step in steps.items():
            # Not timed: FastLSTM keeps the memory of one kind of step, and another variant has taken its place.
            step(length)
            wait()
            start = time.perf_counter()
            step(length)
            wait()
            if round_ >= 2:  # the first two warm up
                times[variant].append(1e3 * (time.perf_counter() - start))
    return times


def resident_mib(entry):
    """Memory of this process by Linux's count: entry "VmRSS" now, "VmHWM" at its highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{entry}:"))


def peak_mib(variant, length, args, device):
    """The most memory, in MiB, that three steps add to this process, which should have done nothing else."""
    step = make(variant, length, args, device)
    step(1)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far: importing torch, or the parent's
        before = resident_mib("VmRSS")
    for _ in range(3):
        step(length)
    after = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else resident_mib("VmHWM")
    return after - (before / 2**20 if device.type == "cuda" else before)


def measure_memory(variant, length, args, device):
    """peak_mib in a process of its own; None where the system does not tell."""
    if device.type != "cuda" and not Path("/proc/self/clear_refs").exists():
        return None
    options = {"batch-size": args.batch_size, "hidden-size": args.hidden_size, "seed": args.seed}
    options |= {"device": device.type, "threads": torch.get_num_threads(), "lengths": length, "memory-of": variant}
    options["matmul-precision"] = args.matmul_precision
    command = [sys.executable, __file__] + [f"--{name}={value}" for name, value in options.items()]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["killed"])[-1]
        raise utils.InputError(f"the memory of {variant} at length {length} could not be measured: {reason}")
    return json.loads(answer.stdout.splitlines()[-1])


def plot(rows, path, source):
    """Write milliseconds per digit over the length, one line a variant, to `path`."""
    figure, axes = plt.subplots(figsize=(6.5, 4))
    for variant in VARIANTS:
        points = [(row["length"], row["milliseconds"] / row["length"]) for row in rows if row["variant"] == variant]
        axes.plot(
            *zip(*points, strict=True), marker="o", label=variant, linestyle=":" if variant == "products" else "-"
        )
    lengths = sorted({row["length"] for row in rows})
    axes.set(xlabel="digits read", ylabel="milliseconds per digit")
    axes.set_xscale("log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside right upper")
    utils.save_figure(figure, path, source)


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Measure the training step of the LSTM: equations, fast form, nn.LSTM, matrix products.")
    length = number(int, low=1, high=100_000)
    parser.add_argument("--lengths", type=length, nargs="+", default=[10, 25, 100, 400], help="digits that are read")
    parser.add_argument("--batch-size", type=number(int, low=1), default=128, help="sequences per step")
    parser.add_argument("--hidden-size", type=number(int, low=1, high=65536), default=128, help="hidden units")
    parser.add_argument("--rounds", type=number(int, low=1), default=15, help="steps of each variant that are timed")
    parser.add_argument("--memory-of", choices=VARIANTS, help="print only the MiB of this variant, at the first length")
    utils.add_common_options(parser)
    return parser.parse_args(argv)


def benchmark(args):
    """Measure, print the table, write results and figure; return what benchmark.json holds."""
    device = utils.pick_device(args)
    everything = torch.get_num_threads()
    utils.make_folder(args.out_dir, args.figures_dir)  # before the minutes of measuring
    rows = []
    if COMPILER is None:
        print("no C++ compiler here: nothing is measured under torch.compile")
    for length in sorted(set(args.lengths)):
        memory = {
            variant: measure_memory(variant, length, args, device) for variant in VARIANTS if variant != "products"
        }
        for threads in [args.threads] if args.threads else sorted({1, everything}):
            torch.set_num_threads(threads)
            times = measure_time(length, args, device)
            print(f"{length} digits, {threads} thread{'s' * (threads > 1)}: ms per step, times nn.LSTM's, peak MiB")
            for variant in VARIANTS:
                row = {
                    "length": length,
                    "threads": threads,
                    "variant": variant,
                    "milliseconds": statistics.median(times[variant]),
                    "of_nn_lstm": statistics.median(
                        a / b for a, b in zip(times[variant], times["nn.LSTM"], strict=True)
                    ),
                    "peak_mib": memory.get(variant),
                }
                rows.append(row)
                peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:9.1f}"
                print(f"  {variant:20} {row['milliseconds']:9.2f} {row['of_nn_lstm']:6.2f} {peak}", flush=True)
    torch.set_num_threads(everything)
    result = {
        "rows": rows,
        "compiler": COMPILER,
        "config": {name: getattr(args, name) for name in ("lengths", "batch_size", "hidden_size", "rounds", "seed")},
        "provenance": utils.provenance(device),
    }
    with utils.hold(args.out_dir):
        utils.save_json(args.out_dir / "benchmark.json", result)
    where = result["provenance"]
    source = f"benchmark.py: batch {args.batch_size}, hidden {args.hidden_size}, medians of {args.rounds} rounds, "
    source += f"{where['processor']}, {where['threads']} threads, torch {where['torch']}"
    plot([row for row in rows if row["threads"] == rows[-1]["threads"]], args.figures_dir / "lstm_speed.png", source)
    return result


def main(argv=None):
    """Run from the command line."""
    args = parse_args(argv)
    if args.memory_of:
        print(peak_mib(args.memory_of, args.lengths[0], args, utils.pick_device(args)))
    else:
        benchmark(args)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
