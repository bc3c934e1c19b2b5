"""A study is a plan of runs, a row that each leaves, and a figure drawn from the rows. The same file in both parts.

    rows = runs.study("compare", {name: options}, train.run, args, train.CODE)    # args: with runs.add_options
    if rows:    # under torchrun one process has them
        draw(rows, args)

`options` is a flat dictionary that says what a run is. `train` gets it as a Namespace, together with all of `args` and
the run's folder OUT_DIR/STUDY/NAME, and returns what the run found, a dictionary. Both together are its row.

OUT_DIR/STUDY.json holds the rows by name and is written whenever a run has ended. A run whose row is there is not
trained again, so the same command goes on after a stop and one with more seeds adds them. Under torchrun, process r of
n trains the runs r, r + n, ... and the first one gathers the rows; machines need no folder in common.
"""

import argparse
import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta

import torch.distributed as dist
from tqdm import tqdm

import files
import utils

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_options(parser, seeds):
    """Add the options of every study: how many runs, how they are processed, and those of every script."""
    workers = 1 if dist.is_torchelastic_launched() else CORES  # torchrun's processes are workers already
    add, count = parser.add_argument, utils.number(int, low=1, high=1024)
    add("--seeds", type=count, default=seeds, help="runs of a kind, seeds from --seed on")
    add("--workers", type=count, default=workers, help="runs at the same time, in a process each")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--draw", action="store_true", help="train nothing, draw the rows that are there")
    start.add_argument("--restart", action="store_true", help="train all again")
    utils.add_options(parser, threads=1)


def load_rows(path):
    """The rows in a study's file, {name: row}; raises InputError, in one line, if the file is not one."""
    return files.load(path, "study", "rows")["rows"]


def study(name, plan, train, args, code):
    """Train what is missing of `plan`, {name: options}, and return all rows of the study; see above.

    code: the digest of what trains here. Raises InputError where a row that is there has other options.
    """
    path = args.out_dir / f"{name}.json"
    if args.draw:
        return list(load_rows(path).values())
    launched = dist.is_torchelastic_launched()
    if launched and not dist.is_initialized():  # by an earlier study of this process
        dist.init_process_group("gloo", timeout=timedelta(days=10))
    rank, world = (dist.get_rank(), dist.get_world_size()) if launched else (0, 1)
    if rank:
        path = path.with_suffix(f".rank{rank}.json")
    with files.hold(args.out_dir / name / f"rank{rank}" if rank else args.out_dir / name):
        rows = load_rows(path) if path.exists() else {}
        if args.restart:
            rows = {run: row for run, row in rows.items() if run not in plan}
        for run, options in plan.items():
            for option, value in json.loads(json.dumps(options)).items():
                if run in rows and rows[run].get(option, value) != value:
                    text = f"{path}: its row {run} has {option} {rows[run][option]}, not {value}"
                    raise files.InputError(f"{text}; give another --out-dir, or --restart to train all again")
        todo = [[run for run in plan if run not in rows]]
        if world > 1:
            dist.broadcast_object_list(todo)
        if not rank:
            print(f"{path}: {len(todo[0])} of {len(plan)} runs to train, the others are there")
        if old := sum(rows[run].get("code") != code for run in plan if run in rows):
            print(f"{old} of its rows come from other code than the present one; --restart trains them again")
        jobs = []
        for run in [run for run in todo[0][rank::world] if run not in rows]:
            own = {"folder": args.out_dir / name / run, "resume": not args.restart}
            own["position"] = 1 + len(jobs) % args.workers  # of its progress bar
            jobs.append((run, argparse.Namespace(**vars(args) | plan[run] | own)))
        with utils.progress(total=len(jobs), desc=name, unit="run", disable=not jobs) as bar:
            for run, result in in_parallel(train, jobs, args.workers):
                rows[run] = json.loads(json.dumps(plan[run] | result))
                files.save(path, {"study": name, "rows": dict(sorted(rows.items()))})
                bar.update()
        if world > 1:
            parts = [None] * world
            dist.gather_object(rows, None if rank else parts)
            if rank:
                return path.unlink(missing_ok=True)
            rows = {run: row for part in reversed(parts) for run, row in part.items()}
            files.save(path, {"study": name, "rows": dict(sorted(rows.items()))})
    return list(dict(sorted(rows.items())).values())


def in_parallel(train, jobs, workers):
    """Yield (name, train(job)) for each (name, job) as it ends, by `workers` processes; what ends this ends them."""
    if min(workers, len(jobs)) <= 1:
        yield from ((name, train(job)) for name, job in jobs)
        return
    # spawn: a forked process would inherit torch's threads in an unusable state, and CUDA not at all
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=prepare_worker)
    try:
        names = {pool.submit(train, job): name for name, job in jobs}
        for future in as_completed(names):
            yield names[future], future.result()
    except BrokenProcessPool:
        raise ChildProcessError("a worker was killed, perhaps for lack of memory; try fewer --workers") from None
    finally:
        for worker in multiprocessing.active_children():
            worker.terminate()
        pool.shutdown(cancel_futures=True)


def prepare_worker():
    """Start a worker process: the parent alone handles Ctrl-C, and the worker ends when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own lock is a system-wide semaphore, which outlives a worker that is ended
