"""Many runs of train.py: planned, trained in parallel or shared out over machines, and summarised. Not a script.

Every run is one of train.py with its folder in OUT_DIR/compare; --workers of them train at the same time. Finished runs
with the same options are not repeated, so the same command continues a stopped sweep, and sweeps share the runs that
they have in common. A run that lies there unfinished with a checkpoint is continued from it.

Under torchrun, process r of n takes the runs r, r + n, r + 2 n, ... of the plan and writes their folders; the first
process collects the results, not through files, and writes the summary and the figures.
"""

import argparse
import math
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import partial

import torch.distributed as dist
from tqdm import tqdm

import cells
import dataset
import run_folder
import train
import utils
from plots import successes
from utils import number

USABLE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # processors
START_HOURS, END_HOURS = 0.1, 12  # the longest that a process under torchrun waits for the others


def add_sweep_options(parser, lengths, optimizer=True):
    """Add what determines the runs of a sweep, by default over `lengths`, and how they are processed."""
    length = number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument("--lengths", nargs="+", type=length, default=lengths, help="digits read, the report's T")
    add_run_options(parser, optimizer)


def add_run_options(parser, optimizer=True):
    """Add what determines the runs of any study of several seeds but their lengths, and how they are processed."""
    add = parser.add_argument
    add("--seeds", type=number(int, low=1, high=1000), default=5, help="seeds per cell and length")
    workers = 1 if utils.process_environment()[2] > 1 else USABLE  # torchrun's processes are workers already
    add("--workers", type=number(int, low=1, high=1024), default=workers, help="runs at the same time")
    add("--restart", action="store_true", help="train finished runs again as well")
    train.add_training_options(parser, optimizer)
    utils.add_common_options(parser)
    parser.set_defaults(threads=1)  # two runs with one thread each get more done than one run with two


def one_run(args, folder="compare", **own):
    """The options of one run of a sweep: `own` override the sweep's, train.py's defaults fill the rest.

    Raises InputError if they do not go together.
    """
    shared = {name: value for name, value in vars(args).items() if name in train.DEFAULTS}
    run_args = argparse.Namespace(**train.DEFAULTS | shared | own | {"out_dir": args.out_dir / folder})
    train.check(run_args)
    return run_args


def longest_first(runs):
    """`runs` in the order in which they are trained: no long one is left over alone at the end."""
    return sorted(runs, key=lambda run_args: (run_args.input_length, run_args.cell), reverse=True)


def folder_of(run_args):
    """The folder of a run."""
    return run_args.out_dir / train.run_name(run_args)


def finished(run_args):
    """What result.json of the run holds if it is finished, else None."""
    return run_folder.finished(folder_of(run_args), run_folder.settings(run_args))


def in_parallel(function, jobs, workers, done=lambda index, result: None):
    """[function(job) for job in jobs], by `workers` processes; `done` is called whenever a job has ended.

    Whatever ends this early (Ctrl-C, an error in one job) ends the workers as well.
    """
    results = [None] * len(jobs)
    if min(workers, len(jobs)) <= 1:
        for index, job in enumerate(jobs):
            results[index] = function(job)
            done(index, results[index])
        return results
    # spawn: a forked process would inherit torch's threads in an unusable state, and CUDA not at all
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=utils.prepare_worker)
    try:
        futures = {pool.submit(function, job): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            index = futures[future]
            results[index] = future.result()
            done(index, results[index])
    except BrokenProcessPool:
        message = "a worker was killed, perhaps for lack of memory; the same command continues with the missing runs"
        raise ChildProcessError(message) from None
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def train_all(runs, workers, result_only=True, restart=False):
    """Train the runs that are not finished yet, `workers` at a time; returns all results, in the order of `runs`.

    `result_only` is train.train's: without checkpoints and curves. With `restart` finished runs are trained again. A
    checkpoint is never replaced otherwise: a run that has one continues from it.
    """
    results = [None if restart else finished(run_args) for run_args in runs]
    missing = [index for index, result in enumerate(results) if result is None]
    jobs = [argparse.Namespace(**vars(runs[index])) for index in missing]
    for job in jobs:
        job.resume = not restart and (folder_of(job) / "checkpoint.pt").exists()
        job.restart = not job.resume
    with tqdm(total=len(runs), initial=len(runs) - len(jobs), desc="runs", unit="run") as bar:

        def done(index, result):
            results[missing[index]] = result
            bar.set_postfix_str(f"{train.run_name(jobs[index])}: {result['accuracy']:.3f}")
            bar.update()

        in_parallel(partial(train.train, progress=False, result_only=result_only), jobs, workers, done)
    return results


@contextmanager
def exchange():
    """Around messages between the processes of a torchrun job: their failures become a ConnectionError, one line."""
    try:
        yield
    except RuntimeError as error:  # every error of torch.distributed is one
        reason = str(error).split("\n")[0]
        message = f"another process has ended or does not answer; the same command continues ({reason})"
        raise ConnectionError(message) from None


def shared(work, jobs):
    """work(jobs), a list of results; under torchrun with the jobs shared out, and None on all but the first process."""
    rank, world = utils.join_ranks(hours=START_HOURS)
    if world == 1:
        return work(jobs)
    parts = [None] * world if rank == 0 else None
    own = work(jobs[rank::world])
    with exchange():
        dist.monitored_barrier(timeout=timedelta(hours=END_HOURS))  # unlike a gather it names who is missing
        dist.gather_object(own, parts)
        dist.destroy_process_group()
    if rank > 0:
        return None
    results = [None] * len(jobs)
    for start, part in enumerate(parts):
        results[start::world] = part
    return results


def announce(runs, args):
    """Print how many of `runs` will be trained, which finished ones come from other code, and where equations train."""
    known = [None if args.restart else finished(run_args) for run_args in runs]
    print(f"{known.count(None)} of {len(runs)} runs will be trained, the others are finished")
    pairs = zip(runs, known, strict=True)
    old = sum(1 for run_args, result in pairs if result and result.get("code") != cells.code_digest(run_args.cell))
    if old:
        print(f"{old} of the finished runs come from other code than the present one; --restart trains them again")
    for name in dict.fromkeys(run_args.cell for run_args in runs):
        if reason := cells.pick(name, args.implementation, args.hidden_size)[2]:
            print(reason)


def train_sweep(args, runs):
    """Train what is missing of `runs`, with OUT_DIR/compare locked.

    Returns the results in the order of `runs`, and the header of the summary in JSON; under torchrun both are None on
    all but the first process, the one that writes summary and figures.
    """
    origin = utils.provenance(utils.pick_device(args))
    first = utils.process_environment()[0] == 0
    if first:
        utils.make_folder(args.figures_dir)
        announce(runs, args)
    with utils.hold(args.out_dir / "compare") if first else nullcontext():
        results = shared(partial(train_all, workers=args.workers, restart=args.restart), runs)
    if not first:
        return None, None
    commits = sorted({str(result["provenance"]["git_commit"]) for result in results})
    return results, header(args, origin) | {"run_commits": commits}


def header(args, origin):
    """What the JSON file of a study begins with: its options, and where they were run."""
    config = {name: value for name, value in vars(args).items() if name not in ("out_dir", "figures_dir")}
    return {"config": config, "provenance": origin}


def wilson(successes, count, z=1.959964):
    """The Wilson score interval (Wilson 1927) of a rate: (low, high) in [0, 1], with the default z the 95 % one.

    successes of count, both ints. Unlike mean +- z standard errors it does not collapse at 0 and at `count`.
    """
    rate, scale = successes / count, 1 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / scale
    reach = z / scale * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def median_and_range(values, digits=None):
    """Median, minimum and maximum of the values, rounded to `digits` if given; None if one of them is None."""
    if None in values:
        return None
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return found if digits is None else {name: round(value, digits) for name, value in found.items()}


def rows_of(results, options):
    """The runs as a summary holds them, a dictionary each: the named options, and the entries RESULT."""
    return [
        {name: result["config"][name] for name in options} | {name: result[name] for name in run_folder.RESULT}
        for result in results
    ]


def chosen(rows, **wanted):
    """The runs, or rows of the summary, that agree with `wanted`."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def summarise(runs, keys):
    """Median, mean, standard deviation (0 for one run) and success rate of each group of runs, a dictionary each.

    Runs that agree in `keys` are a group, in the order of `runs`. A success is a run that reached its own
    stop_at; beside its rate stands the 95 % Wilson interval. Medians, mean and deviation are those of `accuracy`, but
    for `median_test_accuracy` (None without test set), `median_epochs` and the updates. `updates_to_99` is sorted,
    with None for a run that never reached 99 %; their median is None if it falls on such a run.
    """
    groups = {}
    for entry in runs:
        groups.setdefault(tuple(entry[key] for key in keys), []).append(entry)
    rows = []
    for values, group in groups.items():
        accuracy = [entry["accuracy"] for entry in group]
        test = [entry["test_accuracy"] for entry in group if entry["test_accuracy"] is not None]
        reached = sum(entry["reached"] for entry in group)
        updates = sorted(entry["updates_to_99"] or math.inf for entry in group)
        median_updates = statistics.median(updates)
        row = dict(zip(keys, values, strict=True)) | {
            "runs": len(group),
            "median": statistics.median(accuracy),
            "mean": statistics.mean(accuracy),
            "std": statistics.stdev(accuracy) if len(group) > 1 else 0.0,
            "success_rate": reached / len(group),
            "success_interval": wilson(reached, len(group)),
            "median_test_accuracy": statistics.median(test) if test else None,
            "median_epochs": statistics.median(entry["epochs"] for entry in group),
            "median_updates_to_99": median_updates if median_updates < math.inf else None,
            "updates_to_99": [count if count < math.inf else None for count in updates],
        }
        rows.append(row)
    return rows


def outcome(row, stop_at):
    """A row of `summarise` as a line to print."""
    low, high = row["success_interval"]
    median, *updates = ["-" if n is None else f"{n:g}" for n in (row["median_updates_to_99"], *row["updates_to_99"])]
    return (
        f"median {row['median']:.4f}  mean {row['mean']:.4f} +- {row['std']:.4f}  reached {stop_at:g}: "
        f"{successes(row)} ({low:.0%} to {high:.0%})  updates to 99 %: median {median} of {' '.join(updates)}"
    )
