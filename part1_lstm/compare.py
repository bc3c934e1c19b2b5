"""Figure 1: accuracy of LSTM and vanilla RNN over the sequence length, several seeds, one protocol for both.

    python compare.py                                         9 lengths x 2 cells x 5 seeds
    python compare.py --lengths 3 7 11 --seeds 1 --epochs 5   a first look
    torchrun --nproc-per-node 4 compare.py                    the runs shared out over processes, or over machines

Every run is train.py's own and writes its folder below OUT_DIR/compare; --workers of them go on at the same time. Runs
that are finished with the same options are not repeated, so a stopped sweep goes on with the same command. A seed fixes
a run's initial weights, split and order of batches; the palindromes are the same for all (--data-seed).

Under torchrun, process r of n takes the runs r, r + n, r + 2 n, ... of the plan and writes their folders; the first
process collects the results, not through files, and writes the summary and the figure.

At the end: OUT_DIR/compare.json (every run; median, mean, standard deviation and success rate for each cell and length)
and FIGURES_DIR/fig1_lstm_vs_rnn.png, where every run is a dot: RNN runs tend to either solve the task or fail, which a
mean with an error bar would hide.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from datetime import timedelta

import matplotlib.pyplot as plt
import torch.distributed as dist
from tqdm import tqdm

import dataset
import train
from utils import (
    Parser,
    add_common_options,
    hold,
    join_ranks,
    make_folder,
    number,
    pick_device,
    prepare_worker,
    provenance,
    run,
    save_figure,
    save_json,
)

LENGTHS = [3, 7, 11, 13, 15, 17, 19, 21, 25]
CELLS = ["lstm", "rnn"]
COLOURS = {"lstm": "#0072B2", "rnn": "#D55E00"}  # blue and vermilion: told apart with every common colour vision
LABELS = {"lstm": "LSTM", "rnn": "vanilla RNN"}
ZONE_FROM = 15  # where the report's figure begins its "vanishing gradient zone"
START_HOURS, END_HOURS = 0.1, 12  # the longest that a process under torchrun waits for the others


def parse_args(argv=None):
    """The sweep's options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("Compare LSTM and vanilla RNN over sequence lengths and seeds, under one protocol.")
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=number(int, low=1, high=dataset.MAX_INPUT_LENGTH),
        default=LENGTHS,
        help="input lengths, the report's T",
    )
    parser.add_argument("--seeds", type=number(int, low=1, high=1000), default=5, help="seeds a cell and length")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = 1 if "WORLD_SIZE" in os.environ else usable  # torchrun's processes are workers already
    parser.add_argument("--workers", type=number(int, low=1, high=1024), default=workers, help="runs at the same time")
    train.add_training_options(parser)
    add_common_options(parser)
    parser.set_defaults(threads=1)  # two runs with one thread each get more done than one run with two
    return parser.parse_args(argv)


def plan(args):
    """The options of every run, longest run first so that none is left over alone at the end.

    Raises InputError if a length does not go with the other options.
    """
    runs = []
    for input_length in set(args.lengths):
        dataset.sizes(input_length, args.total_len, args.train_portion)
        for cell in CELLS:
            for seed in range(args.seed, args.seed + args.seeds):
                options = vars(train.parse_args(["--cell", cell, "--input-length", str(input_length)]))
                options |= {name: value for name, value in vars(args).items() if name in options}
                options |= {"seed": seed, "out_dir": args.out_dir / "compare"}
                runs.append(argparse.Namespace(**options))
    return sorted(runs, key=lambda run_args: (run_args.input_length, run_args.cell), reverse=True)


def outcomes(runs, workers):
    """Train `runs`, a dictionary from index to options, `workers` at a time: yield index and result as each one ends.

    Whatever ends this early (Ctrl-C, an error in one run) ends the workers as well.
    """
    if workers == 1:
        for index, run_args in runs.items():
            yield index, train.train(run_args, progress=False, result_only=True)
        return
    # spawn: a forked process would inherit torch's threads in an unusable state, and CUDA not at all
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=prepare_worker)
    try:
        futures = {pool.submit(train.train, run_args, False, True): index for index, run_args in runs.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        message = "a worker was killed, perhaps for want of memory; the same command goes on with the missing runs"
        raise ChildProcessError(message) from None
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def train_all(runs, workers):
    """Train the runs that are not finished yet, `workers` at a time; returns all results, in the order of `runs`."""
    results = [train.finished(run_args) for run_args in runs]
    missing = {index: run_args for index, run_args in enumerate(runs) if results[index] is None}
    with tqdm(total=len(runs), initial=len(runs) - len(missing), desc="runs", unit="run") as bar:
        for index, result in outcomes(missing, min(workers, len(missing)) or 1):
            results[index] = result
            bar.set_postfix_str(f"{train.run_name(runs[index])}: {result['best_val_accuracy']:.3f}")
            bar.update()
    return results


@contextmanager
def exchange():
    """Around what is said between the processes of a torchrun job: its failures become a ConnectionError, one line."""
    try:
        yield
    except RuntimeError as error:  # every error of torch.distributed is one
        reason = str(error).split("\n")[0]
        message = f"another process has ended or does not answer; the same command goes on where it was ({reason})"
        raise ConnectionError(message) from None


def train_shared(runs, workers):
    """train_all, under torchrun with the runs shared out: all results on the first process, None on the others."""
    with exchange():
        rank, world = join_ranks(hours=START_HOURS)
    if world == 1:
        return train_all(runs, workers)
    parts = [None] * world if rank == 0 else None
    own = train_all(runs[rank::world], workers)
    with exchange():
        dist.monitored_barrier(timeout=timedelta(hours=END_HOURS))  # unlike a gather it names who is missing
        dist.gather_object(own, parts)
        dist.destroy_process_group()
    if rank > 0:
        return None
    results = [None] * len(runs)
    for start, part in enumerate(parts):
        results[start::world] = part
    return results


def summarise(runs):
    """Median, mean, standard deviation (0 for one run) and success rate of each cell and length, a dictionary each.

    All but `median_test_accuracy` (None without test set) and `median_epochs` speak of the best validation accuracy; a
    success is a run that reached --stop-at.
    """
    rows = []
    for cell in CELLS:
        for input_length in sorted({entry["input_length"] for entry in runs}):
            group = [entry for entry in runs if (entry["cell"], entry["input_length"]) == (cell, input_length)]
            best = [entry["best_val_accuracy"] for entry in group]
            test = [entry["test_accuracy"] for entry in group if entry["test_accuracy"] is not None]
            row = {
                "cell": cell,
                "input_length": input_length,
                "runs": len(group),
                "median": statistics.median(best),
                "mean": statistics.mean(best),
                "std": statistics.stdev(best) if len(best) > 1 else 0.0,
                "success_rate": sum(entry["reached"] for entry in group) / len(group),
                "median_test_accuracy": statistics.median(test) if test else None,
                "median_epochs": statistics.median(entry["epochs"] for entry in group),
            }
            rows.append(row)
    return rows


def plot(runs, summary, args, path):
    """Write figure 1 to `path`: every run a dot over its length, medians as lines."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    shortest, longest = min(args.lengths), max(args.lengths)
    aside = max(longest - shortest, 1) / 100  # moves the dots of the two cells apart
    axes.axhline(1.0, color="0.6", linewidth=1, zorder=1)
    if longest >= ZONE_FROM:
        axes.axvspan(ZONE_FROM, longest + 5 * aside, color="0.93", zorder=0)
        axes.text(
            longest + 4 * aside, 0.02, 'the report\'s "vanishing gradient zone"', fontsize=9, color="0.35", ha="right"
        )
    for cell, side in (("lstm", -aside), ("rnn", aside)):
        rows = [row for row in summary if row["cell"] == cell]
        own = [entry for entry in runs if entry["cell"] == cell]
        tested = [entry for entry in own if entry["test_accuracy"] is not None]
        colour = COLOURS[cell]
        median = [row["median"] for row in rows]
        axes.plot([row["input_length"] for row in rows], median, color=colour, label=f"{LABELS[cell]}, median")
        x = [entry["input_length"] + side for entry in own]
        axes.scatter(x, [entry["best_val_accuracy"] for entry in own], s=30, color=colour, alpha=0.75, linewidth=0)
        x = [entry["input_length"] + 2.2 * side for entry in tested]
        y = [entry["test_accuracy"] for entry in tested]
        axes.scatter(x, y, s=22, marker="D", facecolor="none", edgecolor=colour, linewidth=0.9)
    axes.scatter([], [], s=30, color="0.4", label="one run, best validation accuracy")
    axes.scatter([], [], s=22, marker="D", facecolor="none", edgecolor="0.4", label="the same run, fresh palindromes")
    axes.axhline(0.1, color="0.5", linewidth=1.2, linestyle=":", zorder=1, label="random guess")
    axes.set(
        xlabel="sequence length T (digits read)",
        ylabel="accuracy",
        title="LSTM and vanilla RNN on palindromes, one protocol",
        xticks=sorted(set(args.lengths)),
        xlim=(shortest - 5 * aside, longest + 5 * aside),
        ylim=(0, 1.04),
    )
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)  # inside, it would hide runs
    source = (
        f"compare.py: {args.seeds} seed{'s' * (args.seeds > 1)} from {args.seed}, {args.total_len} palindromes, "
        f"{args.train_portion:g} to train on, {args.optimizer}, lr {args.lr:g}, batch {args.batch_size}, "
        f"hidden {args.hidden_size}, clip {args.clip:g}, at most {args.epochs} epochs, "
        f"stop at {args.stop_at:g}"
    )
    save_figure(figure, path, source)


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figure."""
    start = time.perf_counter()
    args = parse_args(argv)
    device = pick_device(args.device, args.threads)
    plans = plan(args)
    origin = provenance(device)
    first = int(os.environ.get("RANK", 0)) == 0  # under torchrun, the process that writes the summary and the figure
    if first:
        make_folder(args.figures_dir)
    with hold(args.out_dir / "compare") if first else nullcontext():
        results = train_shared(plans, args.workers)
    if not first:
        return
    columns = ["best_val_accuracy", "val_accuracy", "test_accuracy", "epochs", "updates", "reached", "seconds"]
    runs = [
        {name: result["config"][name] for name in ("cell", "input_length", "seed")}
        | {name: result[name] for name in columns}
        for result in results
    ]
    runs.sort(key=lambda entry: (entry["cell"], entry["input_length"], entry["seed"]))
    summary = summarise(runs)
    config = {name: value for name, value in vars(args).items() if name not in ("out_dir", "figures_dir")}
    figure_path, summary_path = args.figures_dir / "fig1_lstm_vs_rnn.png", args.out_dir / "compare.json"
    plot(runs, summary, args, figure_path)
    save_json(
        summary_path,
        {
            "config": config,
            "provenance": origin,
            "run_commits": sorted({str(result["provenance"]["git_commit"]) for result in results}),
            "runs": runs,
            "summary": summary,
            "seconds": time.perf_counter() - start,
        },
    )
    for row in summary:
        print(
            f"{LABELS[row['cell']]:>11}  T {row['input_length']:>4}  median {row['median']:.4f}  "
            f"mean {row['mean']:.4f} +- {row['std']:.4f}  "
            f"reached {args.stop_at:g} in {row['success_rate']:.0%} of {row['runs']} runs"
        )
    print(summary_path, figure_path, sep="\n")


if __name__ == "__main__":
    run(main)
