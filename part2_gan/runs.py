"""The runs of a study: its options, the worker processes, finished runs that are used again, and their results.

    args = runs.parse_args(utils.Parser("What the study asks."))
    plan = {name: ["--seed", 3, "--name", name, *runs.options(args, "epochs", "out_dir")]}
    if runs.train_all(plan, args) == 0:                       # the rank: under torchrun one process goes on
        result, history = runs.load_result(args.out_dir / name), runs.load_history(args.out_dir / name)

A run is train.py's, in its own folder. What is finished is not trained again, what was stopped goes on, and a folder
that holds a run of other options is refused. A line names the finished runs that other code has trained.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
import torch.distributed as dist

import dataset
import run_folder
import train
import utils


def parse_args(parser, argv=None, evaluate_every=5, low=1):
    """Add the options that every study has to `parser` and parse `argv`.

    `evaluate_every` is the default of --evaluate-every; with low=0 the study can do without evaluations.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = 1 if utils.process_environment()[2] > 1 else cores  # torchrun's processes are workers already
    count, share = utils.number(int, low=1), utils.number(int, low=low)
    parser.add_argument(
        "--evaluate-every", type=share, default=evaluate_every, help="epochs between two evaluations of the samples"
    )
    parser.add_argument(
        "--classifier", type=Path, help="the classifier that evaluates samples (default: the one in the repository)"
    )
    parser.add_argument(
        "--workers", type=count, default=cores, help="runs at a time, each on --threads threads, or one without it"
    )
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    return parser.parse_args(argv)


def options(args, *names):
    """The named options of a study, and those that all its runs share, as words for train.py."""
    words = ["--threads", args.threads or 1]
    for name in *names, "evaluate_every", "classifier", "device", "matmul_precision", "dataset", "data_dir", "limit":
        if getattr(args, name) is not None:
            words += ["--" + name.replace("_", "-"), getattr(args, name)]
    return words


def train_all(plan, args):
    """Train the runs of `plan`, {name: options of train.py}, args.workers at a time; under torchrun a share of them.

    A finished run is checked and left as it is, a stopped one continues. Makes the study's folders first.
    Returns the rank of this process (0 without torchrun); rank 0 returns when all runs are done. Raises
    utils.InputError where a run of other options lies.
    """
    rank, world = utils.join_ranks()
    todo, old = [], []
    for run in [train.parse_args([str(word) for word in words]) for words in [*plan.values()][rank::world]]:
        folder = run.out_dir / run.name
        if (folder / "result.json").exists():
            if check_finished(folder, run).get("code") != run_folder.CODE:
                old.append(str(folder.relative_to(args.out_dir)))
        else:
            run.resume = (folder / "checkpoint.pt").exists()
            todo.append(run)
    if old:
        told = f"{len(old)} of the finished runs come from other code than the present one"
        print(f"{told}; to train them again, delete in {args.out_dir}: {', '.join(old)}")
    utils.make_folder(args.out_dir, args.figures_dir)
    if todo:
        dataset.load(args)  # before several processes want to download it
        workers = min(args.workers, len(todo))
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=utils.prepare_worker)
        try:
            futures = [pool.submit(train.train, run, number % workers) for number, run in enumerate(todo)]
            for future in as_completed(futures):  # whichever fails first ends the others
                future.result()
        except BrokenProcessPool:
            message = (
                "a worker was killed, perhaps for lack of memory; the same command continues with the missing runs"
            )
            raise ChildProcessError(message) from None
        finally:
            for worker in multiprocessing.active_children():
                worker.terminate()
            pool.shutdown(cancel_futures=True)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
    return rank


def check_finished(folder, args):
    """What result.json of the finished run in `folder` holds; utils.InputError if its options are not `args`.

    It may have samples and evaluations at more epochs than `args` ask for.
    """
    result, config = load_result(folder), train.config_of(args)
    run_folder.check_config(folder, result["config"], config, but=("grid_epochs", "evaluate_every"))
    asked = {
        "evaluations": {e for e in range(1, args.epochs + 1) if train.is_due(e, args.evaluate_every, args.epochs)},
        "samples": {e for e in args.grid_epochs if e <= args.epochs} | {args.epochs},
    }
    there = {"evaluations": {entry["epoch"] for entry in result["quality"]}, "samples": {*load_samples(folder)}}
    for what, epochs in asked.items():
        if missing := sorted(epochs - there[what]):
            raise utils.InputError(
                f"{folder}: this finished run has no {what} at epoch {missing[0]}; give another --out-dir"
            )
    return result


def check_kept(path, config, args, names):
    """Raise utils.InputError if the results in `path`, of options `config`, differ from `args` in one of `names`."""
    for name in names:
        if config.get(name) != getattr(args, name):
            made = f"{name.replace('_', ' ')} {config.get(name)}, not {getattr(args, name)}"
            raise utils.InputError(f"{path}: its results have {made}; leave out --keep, or give the same")


def load_result(folder):
    """What result.json of a finished run holds."""
    return utils.load_json(folder / "result.json", "epochs", "last_epoch", "quality", "config", "provenance")


def load_history(folder):
    """The history of a finished run: a row a step (steps, columns), the columns of train.HISTORY."""
    return utils.load_tensors(folder / "history.pt", "rows")["rows"]


def load_samples(folder):
    """The samples of a finished run: {epoch: images (25, 784) uint8}, of the same latents at every epoch."""
    return utils.load_tensors(folder / "samples.pt", "samples")["samples"]


def epoch_means(history, epochs):
    """The mean of every column of a finished run's history in every epoch: {column: [a value for each epoch]}."""
    means = torch.stack([part.mean(0) for part in history.chunk(epochs)])
    return {column: [round(v, 4) for v in means[:, i].tolist()] for i, column in enumerate(train.HISTORY)}
