"""How long a training step of the LSTM takes: the equations step by step, the fast path, nn.LSTM, and the floor.

    python benchmark.py                                     lengths 10, 25, 100 and 400, some minutes on two cores
    python benchmark.py --lengths 10 25 --rounds 5          a first look
    python benchmark.py --threads 1                         on one CPU thread

The peers:

    equations    lstm.py, one small kernel after the other, as the report writes it
    fast         fast_lstm.py: the same results, by the backward pass written by hand
    fast bf16    the same with its products in bfloat16, train.py's --precision bf16
    nn.LSTM      torch's own LSTM on the one-hot digits, and a linear layer on its last state
    products     the matrix products of the recurrence alone, forward and backward, as fast_lstm.py makes
                 them: no LSTM that multiplies this way can take less time

A training step is one-hot digits, forward pass, cross entropy, backward pass, clipping, and an update by RMSprop. The
fast peers do it as train.py does, with clipping and update on one vector of all parameters. nn.LSTM and the equations
have the usual lines: zero_grad, loss.backward, clip_grad_norm_ and step on model.parameters(). "fast, usual update" is
the fast path with those, which tells what comes from the LSTM itself.

The peers take turns, two steps each a round, the second of them timed, so that what else the machine does meets them
all alike; the table holds medians over the rounds, and a ratio is the median of the ratios of the rounds.
cpu_milliseconds is the time of all threads of the process: on a loaded machine it tells more than the clock. Peak
memory is what three steps add to a process of their own, which had the model built and one step at length 1 done before
(Linux only; on CUDA: the peak of torch's allocator).

On a CPU torch's profiler tells besides where the time of the fast peers goes. Its own cost is in it, so these are
shares, not milliseconds.

Writes OUT_DIR/benchmark.json, with the rows, the ratios by name and length, the shares, and the time a sequence step
takes at each length over that at the shortest from 25 on; and FIGURES_DIR/lstm_speed.png.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

import train
from fast_lstm import FastLSTM
from lstm import LSTM
from utils import (
    InputError,
    Parser,
    add_common_options,
    hold,
    number,
    pick_device,
    provenance,
    run,
    save_figure,
    save_json,
)

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler writes lines of its own to the terminal
DIGITS = 10
PRODUCTS = ("aten::mm", "aten::addmm_", "aten::addmm")
RATIOS = [
    ("fast", "nn.LSTM"),
    ("fast, usual update", "nn.LSTM"),
    ("fast bf16", "fast"),
    ("equations", "fast"),
    ("equations", "nn.LSTM"),
    ("fast", "products"),
]
CONSTANT_FROM = 25  # shorter ones also show what a training step costs apart from the sequence


class TorchLSTM(nn.Module):
    """nn.LSTM on one-hot digits, with the interface of lstm.LSTM: digits (batch, time) -> logits (batch, digits)."""

    def __init__(self, hidden_size):
        super().__init__()
        self.lstm, self.W_ph = nn.LSTM(DIGITS, hidden_size, batch_first=True), nn.Linear(hidden_size, DIGITS)

    def forward(self, digits):
        return self.W_ph(self.lstm(F.one_hot(digits, DIGITS).to(self.W_ph.weight.dtype))[0][:, -1])


def training_step(model, digits, targets):
    """A function that does one training step on digits (batch, time) and targets (batch), as it is usually written."""
    parameters = list(model.parameters())
    optimizer = torch.optim.RMSprop(parameters, lr=1e-3)

    def step():
        loss = F.cross_entropy(model(digits), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()

    return step


def own_training_step(model, digits, targets):
    """The same with train.py's update on one vector."""
    vector = train.one_vector(model)
    optimizer = torch.optim.RMSprop([vector], lr=1e-3)
    return lambda: train.update(model, vector, optimizer, F.cross_entropy(model(digits), targets), 10.0)


def bare_products(length, batch, hidden, device):
    """A function that does the recurrence's products of one training step: W_h h, W_h^T da and da h^T at each digit."""
    W, h, da = (
        torch.randn(shape, device=device) for shape in ((4 * hidden, hidden), (hidden, batch), (4 * hidden, batch))
    )
    W_hT, h_T, a, dh, dW = W.t().contiguous(), h.t(), torch.empty_like(da), torch.empty_like(h), torch.zeros_like(W)

    @torch.no_grad()
    def step():
        for _ in range(length):
            torch.mm(W, h, out=a)
            torch.mm(W_hT, da, out=dh)
            dW.addmm_(da, h_T)

    return step


def make(peer, length, args, device):
    """The function that does one step of `peer` at this length, and the same at length 1."""
    torch.manual_seed(args.seed)
    if peer == "products":
        return [bare_products(n, args.batch_size, args.hidden_size, device) for n in (length, 1)]
    kinds = {"equations": LSTM, "fast": FastLSTM, "fast, usual update": FastLSTM}
    kinds["fast bf16"] = partial(FastLSTM, precision=torch.bfloat16)
    model = kinds[peer](hidden_size=args.hidden_size) if peer in kinds else TorchLSTM(args.hidden_size)
    digits = torch.randint(DIGITS, (args.batch_size, length + 1)).to(device)
    model = model.to(device)
    form = own_training_step if peer in ("fast", "fast bf16") else training_step
    return [form(model, digits[:, :n], digits[:, -1]) for n in (length, 1)]


PEERS = ["equations", "fast", "fast, usual update", "fast bf16", "nn.LSTM", "products"]


def measure_time(length, args, device):
    """Interleaved rounds: {peer: {"wall": [milliseconds of each round], "cpu": the same in CPU time}}."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    steps = {peer: make(peer, length, args, device)[0] for peer in PEERS}
    times = {peer: {"wall": [], "cpu": []} for peer in PEERS}
    for round_ in range(args.rounds + 2):
        for peer, step in steps.items():
            step()  # not timed: FastLSTM keeps the memory of one kind of step, and another peer has taken its place
            wait()
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            wait()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if round_ >= 2:  # the first two warm up
                times[peer]["wall"].append(1e3 * wall)
                times[peer]["cpu"].append(1e3 * cpu)
    return times


def shares(peer, length, args, device):
    """Where the CPU time of some steps of `peer` goes, by torch's profiler."""
    step, steps, products, kernels = make(peer, length, args, device)[0], 10, 0.0, 0.0
    step()  # warms up
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        whole = 1e6 * (time.perf_counter() - start)  # microseconds, as the profiler counts
    for event in profiler.key_averages():
        if event.key in PRODUCTS:
            products += event.self_cpu_time_total / whole
        elif event.key.startswith("aten::"):
            kernels += event.self_cpu_time_total / whole
    return {"products": products, "other kernels": kernels, "between kernels": 1 - products - kernels}


def resident_mib(entry):
    """Memory of this process by Linux's count: entry "VmRSS" now, "VmHWM" at its highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{entry}:"))


def peak_mib(peer, length, args, device):
    """MiB that three steps add to this process at their highest, which has done nothing else."""
    step, warm_up = make(peer, length, args, device)
    warm_up()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far: importing torch, or the parent's
        before = resident_mib("VmRSS")
    for _ in range(3):
        step()
    after = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else resident_mib("VmHWM")
    return after - (before / 2**20 if device.type == "cuda" else before)


def measure_memory(peer, length, args, device):
    """peak_mib in a process of its own; None where the system does not tell."""
    if device.type != "cuda" and not Path("/proc/self/clear_refs").exists():
        return None
    options = {"batch-size": args.batch_size, "hidden-size": args.hidden_size, "seed": args.seed}
    options |= {"device": device.type, "threads": torch.get_num_threads(), "lengths": length, "memory-of": peer}
    command = [sys.executable, __file__] + [f"--{name}={value}" for name, value in options.items()]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["killed"])[-1]
        raise InputError(f"the memory of {peer} at length {length} could not be measured: {reason}")
    return json.loads(answer.stdout.splitlines()[-1])


def plot(rows, path, source):
    """Write milliseconds a sequence step over the length, one line a peer, to `path`."""
    figure, axes = plt.subplots(figsize=(6.5, 4))
    for peer in PEERS:
        points = [(row["length"], row["milliseconds_per_sequence_step"]) for row in rows if row["peer"] == peer]
        axes.plot(*zip(*points, strict=True), marker="o", label=peer, linestyle=":" if peer == "products" else "-")
    lengths = sorted({row["length"] for row in rows})
    axes.set(xlabel="digits read", ylabel="milliseconds a sequence step")
    axes.set_xscale("log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside right upper")
    save_figure(figure, path, source)


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("Measure the training step of the LSTM: equations, fast path, nn.LSTM, bare products.")
    length = number(int, low=1, high=100_000)
    parser.add_argument("--lengths", type=length, nargs="+", default=[10, 25, 100, 400], help="digits that are read")
    parser.add_argument("--batch-size", type=number(int, low=1), default=128, help="sequences a step")
    parser.add_argument("--hidden-size", type=number(int, low=1, high=65536), default=128, help="hidden units")
    parser.add_argument("--rounds", type=number(int, low=1), default=15, help="steps of each peer that are timed")
    parser.add_argument("--memory-of", choices=PEERS, help="print only the MiB of this peer, at the first length")
    add_common_options(parser)
    return parser.parse_args(argv)


def benchmark(args):
    """Measure, print the table, write results and figure; return what benchmark.json holds."""
    device = pick_device(args)
    lengths = sorted(set(args.lengths))
    rows, ratios, profiles = [], {f"{a} / {b}": {} for a, b in RATIOS}, {}
    print(f"{'length':>6} {'peer':18} {'ms a step':>10} {'CPU ms':>9} {'ms a digit':>10} {'peak MiB':>9}")
    for length in lengths:
        times = measure_time(length, args, device)
        for peer in PEERS:
            wall, cpu = (statistics.median(times[peer][clock]) for clock in ("wall", "cpu"))
            row = {
                "length": length,
                "peer": peer,
                "milliseconds": wall,
                "cpu_milliseconds": cpu,
                "milliseconds_per_sequence_step": wall / length,
                "peak_mib": measure_memory(peer, length, args, device),
            }
            rows.append(row)
            memory = "-" if row["peak_mib"] is None else f"{row['peak_mib']:.1f}"
            print(f"{length:6} {peer:18} {wall:10.2f} {cpu:9.2f} {wall / length:10.3f} {memory:>9}", flush=True)
        for a, b in RATIOS:
            pairs = {clock: zip(times[a][clock], times[b][clock], strict=True) for clock in ("wall", "cpu")}
            ratios[f"{a} / {b}"][str(length)] = {
                clock: statistics.median(p / q for p, q in pair) for clock, pair in pairs.items()
            }
        if device.type == "cpu":
            profiles[str(length)] = {peer: shares(peer, length, args, device) for peer in ("fast", "fast bf16")}
    for length, of in profiles.items():
        for peer, parts in of.items():
            told = ", ".join(f"{what} {100 * share:.0f} %" for what, share in parts.items())
            print(f"{length} digits, {peer}: {told}")
    for name, values in ratios.items():
        print(f"{name}: " + ", ".join(f"{r['wall']:.2f} at {n} (CPU {r['cpu']:.2f})" for n, r in values.items()))
    fast = {r["length"]: r["milliseconds_per_sequence_step"] for r in rows if r["peer"] == "fast"}
    fast = {length: value for length, value in fast.items() if length >= CONSTANT_FROM}
    result = {
        "rows": rows,
        "ratios": {name: {n: r["wall"] for n, r in values.items()} for name, values in ratios.items()},
        "cpu_ratios": {name: {n: r["cpu"] for n, r in values.items()} for name, values in ratios.items()},
        "shares": profiles,
        "fast, time a sequence step": {str(n): value / fast[min(fast)] for n, value in fast.items()},
        "config": {name: getattr(args, name) for name in ("lengths", "batch_size", "hidden_size", "rounds", "seed")},
        "provenance": provenance(device),
    }
    with hold(args.out_dir):
        save_json(args.out_dir / "benchmark.json", result)
    args.figures_dir.mkdir(parents=True, exist_ok=True)
    where = result["provenance"]
    source = f"benchmark.py: batch {args.batch_size}, hidden {args.hidden_size}, medians of {args.rounds} rounds, "
    source += f"{where['device']}, {where['threads']} threads, torch {where['torch']}"
    plot(rows, args.figures_dir / "lstm_speed.png", source)
    return result


def main(argv=None):
    """Run from the command line."""
    args = parse_args(argv)
    if args.memory_of:
        print(peak_mib(args.memory_of, args.lengths[0], args, pick_device(args)))
    else:
        benchmark(args)


if __name__ == "__main__":
    run(main, after_stop="nothing was written")
