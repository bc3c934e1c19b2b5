"""How many training runs a minute: this project's sweep against the script that people usually write.

    python benchmark_sweep.py                           some minutes on two cores
    python benchmark_sweep.py --lengths 11 --rounds 1   a first look

The job is figure 1, so what counts is how fast many runs get done. The peers do the same runs on the same palindromes,
both cells at each of --lengths, --epochs passes each over the same number of batches:

    usual      one run after the other, with torch's own number of threads: a Dataset that makes each sample's one-hot
               vectors when it is asked for, a DataLoader, nn.LSTM or nn.RNN, loss and accuracy by .item() at every step
    sweep      compare.py's runs, --workers at a time with one thread each

They take turns, --rounds times; the ratio is the median of the rounds' ratios. Starting Python and importing torch is
not counted, for either. A run of the sweep does more than the usual one: at its end it reads 10,000 fresh palindromes,
which counts for less the more epochs there are. Writes OUT_DIR/benchmark_sweep.json.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

import dataset
import train
from utils import Parser, add_common_options, hold, number, pick_device, prepare_worker, provenance, run, save_json

DIGITS = 10
PEERS = ("usual", "sweep")


class OneHotPalindromes(Dataset):
    """Palindromes as such scripts have them: (one-hot digits (time, 10) float32, target), made anew for each sample."""

    def __init__(self, digits, targets):
        self.digits, self.targets = digits.numpy(), targets.numpy()

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        return np.eye(DIGITS, dtype=np.float32)[self.digits[index]], self.targets[index]


class Recurrent(nn.Module):
    """nn.LSTM or nn.RNN, a linear layer on its last state: one-hot digits (batch, time, 10) -> logits (batch, 10)."""

    def __init__(self, cell, hidden_size):
        super().__init__()
        self.recurrent = {"lstm": nn.LSTM, "rnn": nn.RNN}[cell](DIGITS, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, DIGITS)

    def forward(self, x):
        return self.output(self.recurrent(x)[0][:, -1])


def usual_run(options):
    """One run as the usual script does it; returns its validation accuracy."""
    torch.manual_seed(options.seed)
    splits = dataset.load(options.input_length, options.total_len, options.train_portion, seed=options.seed)
    loaders = {
        name: DataLoader(OneHotPalindromes(*splits[name]), options.batch_size, shuffle=name == "train")
        for name in ("train", "validation")
    }
    model = Recurrent(options.cell, options.hidden_size)
    optimizer = train.OPTIMIZERS[options.optimizer](model.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        losses, accuracies = [], []
        for x, target in loaders["train"]:
            logits = model(x)
            loss = F.cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            losses.append(loss.item())
            accuracies.append((logits.argmax(1) == target).float().mean().item())
        with torch.no_grad():
            correct = [(model(x).argmax(1) == target).sum().item() for x, target in loaders["validation"]]
    return sum(correct) / len(splits["validation"][1])


def plan(args, folder):
    """The options of every run, as compare.py plans them, the longest first."""
    runs = []
    for length in sorted(args.lengths, reverse=True):
        for cell in ("lstm", "rnn"):
            words = ["--cell", cell, "--input-length", length, "--epochs", args.epochs, "--stop-at", 2, "--threads", 1]
            words += ["--seed", args.seed, "--out-dir", folder, "--matmul-precision", args.matmul_precision]
            runs.append(train.parse_args([str(word) for word in words]))
    return runs


def sweep(pool, runs):
    """Do `runs` in the pool's processes."""
    list(pool.map(train.train, runs, [False] * len(runs), [True] * len(runs)))


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("Measure runs a minute: the sweep against the usual script.")
    length = number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument("--lengths", type=length, nargs="+", default=[11, 15, 19, 25], help="digits that are read")
    parser.add_argument("--epochs", type=number(int, low=1), default=6, help="passes over the data in each run")
    parser.add_argument("--rounds", type=number(int, low=1), default=3, help="times that each peer does all runs")
    parser.add_argument(
        "--workers", type=number(int, low=1), default=os.cpu_count() or 1, help="processes of the sweep"
    )
    add_common_options(parser, figures=False)
    return parser.parse_args(argv)


def main(argv=None):
    """Measure, print, and write benchmark_sweep.json."""
    args = parse_args(argv)
    device = pick_device(args)
    seconds = {peer: [] for peer in PEERS}
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(args.workers, context, initializer=prepare_worker) as pool,
    ):
        first_steps = [
            argparse.Namespace(**vars(args) | {"lengths": [1], "epochs": 1, "seed": seed})
            for seed in range(args.workers)
        ]
        sweep(pool, [options for step in first_steps for options in plan(step, Path(folder))])  # imports torch
        for _ in range(args.rounds):
            for peer in PEERS:
                runs = plan(args, Path(folder))
                start = time.perf_counter()
                if peer == "usual":
                    for options in runs:
                        usual_run(options)
                else:
                    sweep(pool, runs)
                seconds[peer].append(time.perf_counter() - start)
    rates = {peer: 60 * len(runs) / statistics.median(times) for peer, times in seconds.items()}
    ratios = {
        peer: statistics.median(a / b for a, b in zip(seconds["usual"], seconds[peer], strict=True)) for peer in PEERS
    }
    for peer in PEERS:
        print(f"{peer:10} {rates[peer]:6.1f} runs a minute of {args.epochs} epochs, {ratios[peer]:.2f} times the usual")
    names = ("lengths", "epochs", "rounds", "workers", "seed")
    entry = {
        "runs_a_minute": rates,
        "times_the_usual": ratios,
        "seconds": seconds,
        "config": {name: getattr(args, name) for name in names},
        "provenance": provenance(device),
    }
    with hold(args.out_dir):
        save_json(args.out_dir / "benchmark_sweep.json", entry)


if __name__ == "__main__":
    run(main, after_stop="nothing was written")
