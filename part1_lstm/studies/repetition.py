"""Does it help to see the same palindromes again? Both cells on training sets of several sizes, and on fresh batches.

    python -m studies.repetition                                     120 runs, about two hours of one core
    python -m studies.repetition --lengths 15 --sizes 8000 0 --seeds 1 --updates 1000
    torchrun --nproc-per-node 4 -m studies.repetition --workers 1    a share of the runs for each process

Figure 1 as published compares an LSTM that passes many times over 8,000 palindromes with an RNN that meets each
palindrome once. Here everything but the size of the training set stays the same: batch, optimizer, learning rate and
number of updates. Size 0 means fresh batches. Batches come from passes over the training set in random order; after
every --every updates the accuracy is measured on 2,000 palindromes that are in no training set, and training stops at
99 %. Every fifth time the gradient is measured as well: the norm of dL/dh at the last step over that at the first, mean
over a batch of those palindromes, by the equations in double precision (see studies/gradients.py).

Writes OUT_DIR/repetition.json (every run; updates to 99 % for each cell, length and size) and
FIGURES_DIR/repetition.png. A run is a file in OUT_DIR/repetition; finished ones are not repeated.
"""

import argparse
import itertools
import math
import statistics

import torch
import torch.distributed as dist

import cells
import dataset
import plots
import sweep
import train
import utils
from studies.gradients import gradient_curves

TEST = 2000  # palindromes for the accuracy
GRADIENT_EVERY = 5  # evaluations
plt = utils.plt


def parse_args(argv=None):
    """The options."""
    parser = utils.Parser("Train both cells on training sets of several sizes, and on fresh batches.")
    count = utils.number(int, low=1)
    length = utils.number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    size = utils.number(int, low=0, high=dataset.MAX_TOTAL_LEN - TEST)
    parser.add_argument("--lengths", nargs="+", type=length, default=[15, 19, 25], help="digits read")
    parser.add_argument(
        "--sizes", nargs="+", type=size, default=[1000, 8000, 64_000, 0], help="training sets; 0: fresh batches"
    )
    parser.add_argument("--updates", type=count, default=10_000, help="at most so many for each run")
    parser.add_argument("--every", type=count, default=100, help="updates between two evaluations")
    sweep.add_run_options(parser)
    return parser.parse_args(argv)


def name_of(job):
    """The name of a run's file, such as lstm_T25_8000_seed0."""
    size = job.size or "fresh"
    return f"{job.cell}_T{job.input_length}_{size}_seed{job.seed}"


def settings(job):
    """What fixes the numbers of a run."""
    names = ("cell", "input_length", "size", "seed", "updates", "every", "hidden_size", "batch_size", "optimizer")
    names += ("lr", "clip", "data_seed", "implementation", "matmul_precision")
    return {name: getattr(job, name) for name in names} | {"code": cells.code_digest(job.cell)}


def gradient_ratio(model, cell, digits, targets):
    """|dL/dh| at the last step over that at the first of a trained `model`, infinite where nothing is left."""
    equations = cells.CELLS[cell].equations(hidden_size=model.hidden_size).double()
    equations.load_state_dict(model.state_dict())
    curve = gradient_curves(equations, digits.cpu().long(), targets.cpu())["h"]
    return (curve[-1] / curve[0]).item() if curve[0] > 0 else math.inf


def train_one(job):
    """One run as its options say: {config, history, gradients, updates_to_99}; written to its file, or read from it."""
    path = job.out_dir / "repetition" / f"{name_of(job)}.json"
    config = settings(job)
    if path.exists() and not job.restart:
        result = utils.load_json(path, "config", "history", "gradients", "updates_to_99")
        if result["config"] == config:
            return result
    device = utils.pick_device(job)
    size = job.size or TEST  # of a run on fresh batches only the test palindromes are used
    data = dataset.load(job.input_length, size + TEST, size / (size + TEST), job.data_seed, job.seed, device)
    (digits, targets), test = data["train"], tuple(part[:TEST] for part in data["test"])
    model = train.build(argparse.Namespace(**vars(job), forget_bias=None)).to(device)
    optimizer = train.OPTIMIZERS[job.optimizer]([train.one_vector(model)], lr=job.lr)
    shuffle = torch.Generator().manual_seed(job.seed)
    rows = job.every * job.batch_size
    order = torch.empty(0, dtype=torch.long)
    history, gradients, reached = [], [], None
    for updates in range(job.every, job.updates + 1, job.every):
        if job.size:
            while len(order) < rows:
                order = torch.cat([order, torch.randperm(len(targets), generator=shuffle)])
            chosen, order = order[:rows], order[rows:]
        else:
            (digits, targets), chosen = dataset.draw(job.input_length, rows, shuffle, device), torch.arange(rows)
        chosen = chosen.to(device)
        loss, trained, norm = train.train_epoch(model, optimizer, digits, targets, chosen, job.batch_size, job.clip)
        if not math.isfinite(loss):
            raise FloatingPointError(f"{name_of(job)}: update {updates}: the loss is {loss}; try a smaller --lr")
        _, accuracy = train.evaluate(model, *test)
        history.append([updates, loss, trained, accuracy, norm])
        reached = updates if accuracy >= 0.99 else None
        if reached or len(history) % GRADIENT_EVERY == 0:
            ratio = gradient_ratio(model, job.cell, *(part[: job.batch_size] for part in test))
            gradients.append([updates, ratio])
        if reached:
            break
    result = {
        "config": config,
        "columns": ["updates", "train_loss", "train_accuracy", "accuracy", "grad_norm"],
        "history": history,
        "gradients": gradients,
        "updates_to_99": reached,
        "provenance": utils.provenance(device),
    }
    utils.save_json(path, result)
    return result


def plan(args):
    """The options of every run, the longest first. Raises InputError for sizes that do not exist."""
    jobs = []
    for length in args.lengths:
        for size in args.sizes:
            exist = 10 ** dataset.half_length(length)
            if size + 2 * TEST > exist:
                raise utils.InputError(f"--sizes {size}: of {length + 1} digits only {exist} palindromes exist")
    seeds = range(args.seed, args.seed + args.seeds)
    for length, size, seed, cell in itertools.product(args.lengths, args.sizes, seeds, cells.CELLS):
        own = {"input_length": length, "size": size, "seed": seed, "cell": cell}
        jobs.append(argparse.Namespace(**vars(args) | own))
    return sorted(jobs, key=lambda job: (job.cell, job.input_length, job.size == 0), reverse=False)


def summarise(results):
    """For each cell, length and size: the updates to 99 % of every run (None: not reached) and their median."""
    groups = {}
    for result in results:
        config = result["config"]
        groups.setdefault((config["cell"], config["input_length"], config["size"]), []).append(result)
    rows = []
    for (cell, length, size), group in groups.items():
        updates = sorted(result["updates_to_99"] or math.inf for result in group)
        median = statistics.median(updates)
        rows.append(
            {
                "cell": cell,
                "input_length": length,
                "size": size,
                "runs": len(group),
                "reached": sum(value < math.inf for value in updates),
                "median_updates_to_99": median if median < math.inf else None,
                "updates_to_99": [value if value < math.inf else None for value in updates],
                "final_accuracy": [result["history"][-1][3] for result in group],
                "train_accuracy": [result["history"][-1][2] for result in group],
            }
        )
    return rows


def draw(results, args, path):
    """Updates to 99 % by the size of the training set, and the gradient's ratio while training, a column a length."""
    figure, axes = plt.subplots(2, len(args.lengths), figsize=(4 * len(args.lengths), 7), squeeze=False, sharey="row")
    sizes = sorted(args.sizes, key=lambda size: size or math.inf)
    top = 1.4 * args.updates
    for column, length in enumerate(args.lengths):
        above, below = axes[:, column]
        for n, (cell, kind) in enumerate(cells.CELLS.items()):
            side = 0.12 * (2 * n - len(cells.CELLS) + 1)
            for place, size in enumerate(sizes):
                own = [
                    result
                    for result in results
                    if (result["config"]["cell"], result["config"]["input_length"], result["config"]["size"])
                    == (cell, length, size)
                ]
                values = [result["updates_to_99"] or top for result in own]
                jitter = [place + side + 0.03 * (i - len(own) / 2) for i in range(len(own))]
                label = kind.label if place == 0 else None
                above.scatter(jitter, values, s=26, color=kind.colour, alpha=0.8, lw=0, label=label)
                if size in (8000, 0):
                    style = {8000: "-", 0: ":"}[size]
                    for i, result in enumerate(own):
                        points = [(u, min(ratio, 1e9)) for u, ratio in result["gradients"]]
                        label = f"{kind.label}, {f'{size:,}' if size else 'fresh'}" if i == 0 else None
                        below.plot(*zip(*points, strict=True), style, color=kind.colour, lw=1, alpha=0.8, label=label)
        above.axhline(args.updates, color="0.6", lw=1, ls="--")
        above.set(
            title=f"{length} digits",
            yscale="log",
            xticks=range(len(sizes)),
            xticklabels=[f"{size:,}" if size else "fresh" for size in sizes],
            xlabel="training palindromes",
        )
        below.set(yscale="log", xlabel="update")
        below.axhline(1000, color="0.6", lw=1, ls="--")
    axes[0, 0].set_ylabel("updates to 99 % on unseen palindromes\n(above the line: not reached)")
    axes[1, 0].set_ylabel(r"$|dL/dh_T|\;/\;|dL/dh_1|$")
    axes[0, 0].legend(loc="lower right", fontsize=8)
    axes[1, 0].legend(loc="upper right", fontsize=7)
    told = f"{plots.seeds_text(args.seed, args.seeds)}, {args.optimizer}, lr {args.lr:g}, batch {args.batch_size}"
    utils.save_figure(figure, path, f"studies/repetition.py: {told}, at most {args.updates:,} updates")


def main(argv=None):
    args = parse_args(argv)
    jobs = plan(args)
    rank, world = utils.join_ranks()
    utils.make_folder(args.out_dir / "repetition")
    utils.make_folder(args.figures_dir)
    sweep.in_parallel(train_one, jobs[rank::world], args.workers)
    if world > 1:
        dist.barrier()  # the first process waits for all runs
        dist.destroy_process_group()
    if rank > 0:
        return
    results = [train_one(argparse.Namespace(**vars(job) | {"restart": False})) for job in jobs]
    summary = summarise(results)
    draw(results, args, args.figures_dir / "repetition.png")
    device = utils.pick_device(args)
    data = {"config": vars(args), "provenance": utils.provenance(device), "summary": summary, "runs": results}
    utils.save_json(args.out_dir / "repetition.json", data)
    for row in summary:
        told = " ".join("-" if value is None else str(value) for value in row["updates_to_99"])
        size = f"{row['size']:,}" if row["size"] else "fresh"
        print(f"{row['cell']:>5}  T {row['input_length']:>3}  {size:>7}: updates to 99 %: {told}")


if __name__ == "__main__":
    utils.run(main)
