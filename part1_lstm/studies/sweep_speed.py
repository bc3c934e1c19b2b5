"""How many training runs per minute: this part's sweep against the script that people usually write.

    python -m studies.sweep_speed --out-dir mine            from the folder above, some minutes on two cores
    python -m studies.sweep_speed --out-dir mine --lengths 11 --rounds 1      a quick try
    python -m studies.sweep_speed                           replaces the published numbers by this machine's

Figure 1 takes many runs, so what counts is how fast they get done. Both do the same runs on the same palindromes, both
cells at each of --lengths, --epochs each over the same number of batches:

    usual      one run after the other, with torch's own number of threads: a Dataset that makes each sample's one-hot
               vectors on demand, a DataLoader, nn.LSTM or nn.RNN, loss and accuracy by .item() at every step
    sweep      the runs of compare.py, --workers at a time with one thread each

They take turns, --rounds times; the ratio is the median of the rounds' ratios. The start of Python and the import of
torch do not count. A run of the sweep does more than the usual one: at its end it evaluates 10,000 further palindromes,
which counts for less the more epochs there are.

Writes OUT_DIR/sweep_speed.json.
"""

import argparse
import multiprocessing
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
import sweep
import train
import utils
from utils import number

DIGITS = 10
SCRIPTS = ("usual", "sweep")


class OneHotPalindromes(Dataset):
    """Palindromes as such scripts have them: (one-hot digits (time, 10) float32, target), made for each sample."""

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


def usual_run(options, device):
    """One run as the usual script does it; returns its validation accuracy."""
    torch.manual_seed(options.seed)
    splits = dataset.load(options.input_length, options.total_len, options.train_portion, seed=options.seed)
    loaders = {
        name: DataLoader(OneHotPalindromes(*splits[name]), options.batch_size, shuffle=name == "train")
        for name in ("train", "validation")
    }
    model = Recurrent(options.cell, options.hidden_size).to(device)
    optimizer = train.OPTIMIZERS[options.optimizer](model.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        losses, accuracies = [], []
        for batch in loaders["train"]:
            x, target = (part.to(device) for part in batch)
            logits = model(x)
            loss = F.cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            optimizer.step()
            losses.append(loss.item())
            accuracies.append((logits.argmax(1) == target).float().mean().item())
        with torch.no_grad():
            correct = [
                (model(x.to(device)).argmax(1) == target.to(device)).sum().item() for x, target in loaders["validation"]
            ]
    return sum(correct) / len(splits["validation"][1])


def plan(args, folder):
    """The options of every run, as compare.py plans them, the longest first."""
    runs = []
    for length in sorted(args.lengths, reverse=True):
        for cell in ("lstm", "rnn"):
            words = ["--cell", cell, "--input-length", length, "--epochs", args.epochs, "--stop-at", 2, "--threads", 1]
            words += ["--seed", args.seed, "--device", args.device, "--matmul-precision", args.matmul_precision]
            words += ["--out-dir", folder, "--restart"]
            runs.append(train.parse_args([str(word) for word in words]))
    return runs


def sweep_runs(pool, runs):
    """Do `runs` in the pool's processes."""
    list(pool.map(train.train, runs, [False] * len(runs), [True] * len(runs)))


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Measure runs per minute: the sweep against the usual script.")
    length = number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument("--lengths", type=length, nargs="+", default=[11, 15, 19, 25], help="digits that are read")
    parser.add_argument("--epochs", type=number(int, low=1), default=6, help="of each run")
    parser.add_argument("--rounds", type=number(int, low=1), default=3, help="how often each script trains all runs")
    parser.add_argument(
        "--workers", type=number(int, low=1, high=1024), default=sweep.USABLE, help="processes of the sweep"
    )
    utils.add_common_options(parser, figures=False)
    return parser.parse_args(argv)


def main(argv=None):
    """Measure, print, and write sweep_speed.json."""
    args = parse_args(argv)
    device = utils.pick_device(args)
    utils.make_folder(args.out_dir)
    seconds = {script: [] for script in SCRIPTS}
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(args.workers, context, initializer=utils.prepare_worker) as pool,
    ):
        first_steps = [
            argparse.Namespace(**vars(args) | {"lengths": [1], "epochs": 1, "seed": seed})
            for seed in range(args.workers)
        ]
        sweep_runs(pool, [options for step in first_steps for options in plan(step, Path(folder))])  # imports torch
        for _ in range(args.rounds):
            for script in SCRIPTS:
                runs = plan(args, Path(folder))
                start = time.perf_counter()
                if script == "usual":
                    for options in runs:
                        usual_run(options, device)
                else:
                    sweep_runs(pool, runs)
                seconds[script].append(time.perf_counter() - start)
    rates = {script: 60 * len(runs) / statistics.median(times) for script, times in seconds.items()}
    ratios = {
        script: statistics.median(a / b for a, b in zip(seconds["usual"], seconds[script], strict=True))
        for script in SCRIPTS
    }
    for script in SCRIPTS:
        told = f"{rates[script]:6.1f} runs per minute of {args.epochs} epochs, {ratios[script]:.2f} times the usual"
        print(f"{script:10} {told}")
    measured = {"runs_per_minute": rates, "times_the_usual": ratios, "seconds": seconds}
    with utils.hold(args.out_dir):
        utils.save_json(args.out_dir / "sweep_speed.json", measured | sweep.header(args, utils.provenance(device)))


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
