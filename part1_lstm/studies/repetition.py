"""Does it help to see the same palindromes again? Both cells on training sets of several sizes, and on fresh batches.

    python -m studies.repetition                                     120 runs, about two hours of one core
    python -m studies.repetition --out-dir mine --lengths 15 --sizes 8000 0 --seeds 1 --updates 1000
    torchrun --nproc-per-node 4 -m studies.repetition    a share of the runs for each process

Figure 1 as published compares an LSTM that passes many times over 8,000 palindromes with an RNN that trains on batches
drawn anew. Here only the size of the training set varies; batch, optimizer, learning rate and number of updates
stay the same. Size 0 means fresh batches. Batches come from passes over the training set in random order; after
every --every updates the accuracy is measured on 2,000 palindromes that are in no training set, and training stops at
99 %. Every fifth time and the last the gradient is measured as well: the norm of dL/dh at the last step over that at
the first, mean over a batch of those palindromes, by the equations in double precision (see studies/gradients.py).

Writes OUT_DIR/repetition.json (the accuracies at the end of every run, and its gradients; for each cell, length and
size the updates to 99 %, and how many runs ended with a vanished gradient) and FIGURES_DIR/repetition.png. A run is a
file in OUT_DIR/repetition, with its whole history; finished ones are not repeated.
"""

import argparse
import itertools
import math
import statistics
from contextlib import nullcontext

import torch
from tqdm import tqdm

import cells
import dataset
import plots
import sweep
import train
import utils
from claims import VANISHED, vanished
from studies.gradients import gradient_curves
from sweep import chosen

TEST = 2000  # palindromes for the accuracy
GRADIENT_EVERY = 5  # evaluations
HIGHEST = 1e9  # the largest ratio of gradients in the figure
LAST = {"color": "0.6", "lw": 1, "ls": "-."}  # the line at the last update
STYLES = {8000: "-", 0: ":"}  # the sizes whose gradients the figure shows
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
    parser.add_argument("--updates", type=count, default=10_000, help="maximum number of updates per run")
    parser.add_argument("--every", type=count, default=100, help="updates between two evaluations")
    sweep.add_run_options(parser)
    unused = ("epochs", "total_len", "train_portion", "stop_at")  # --updates, --sizes and 99 % take their place
    for action in parser._actions:
        if action.dest in unused:
            action.help = argparse.SUPPRESS
    args = parser.parse_args(argv)
    for name in unused:
        if getattr(args, name) != parser.get_default(name):
            parser.error(f"--{name.replace('_', '-')} has no effect in this study")
        delattr(args, name)
    if args.updates % args.every:
        parser.error(f"--updates {args.updates}: it must be a multiple of --every {args.every}")
    return args


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
            part, order = order[:rows], order[rows:]
        else:
            (digits, targets), part = dataset.draw(job.input_length, rows, shuffle, device), torch.arange(rows)
        part = part.to(device)
        loss, trained, norm = train.train_epoch(model, optimizer, digits, targets, part, job.batch_size, job.clip)
        if not math.isfinite(loss):
            raise FloatingPointError(f"{name_of(job)}: update {updates}: the loss is {loss}; try a smaller --lr")
        _, accuracy = train.evaluate(model, *test)
        history.append([updates, loss, trained, accuracy, norm])
        reached = updates if accuracy >= 0.99 else None
        if reached or len(history) % GRADIENT_EVERY == 0 or updates + job.every > job.updates:
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
    lengths, sizes = dict.fromkeys(args.lengths), dict.fromkeys(args.sizes)
    for length, size in itertools.product(lengths, sizes):
        exist = 10 ** dataset.half_length(length)
        if size + 2 * TEST > exist:
            told = f"with {2 * TEST} more that is over the {exist} palindromes of {length + 1} digits"
            raise utils.InputError(f"--sizes {size}: {told}")
    seeds = range(args.seed, args.seed + args.seeds)
    for length, size, seed, cell in itertools.product(lengths, sizes, seeds, cells.CELLS):
        own = {"input_length": length, "size": size, "seed": seed, "cell": cell}
        jobs.append(argparse.Namespace(**vars(args) | own))
    return sweep.longest_first(jobs)


def compact(result):
    """A run as repetition.json holds it; accuracies are those at its end, a ratio of gradients is None if infinite."""
    config, (_, _, trained, accuracy, _) = result["config"], result["history"][-1]
    gradients = [
        [updates, float(f"{ratio:.4g}") if math.isfinite(ratio) else None] for updates, ratio in result["gradients"]
    ]
    return {name: config[name] for name in ("cell", "input_length", "size", "seed")} | {
        "updates_to_99": result["updates_to_99"],
        "accuracy": round(accuracy, 4),
        "train_accuracy": round(trained, 4),
        "gradients": gradients,
    }


def summarise(runs):
    """A dictionary for each cell, length and size, in the order of `runs`.

    `updates_to_99` is sorted, with None for a run that did not reach 99 %, and its median None if it falls on such a
    run. `vanished` counts the runs whose gradient had vanished at the end, of those that failed and of the others.
    """
    names, rows = ("cell", "input_length", "size"), []
    for group in dict.fromkeys(tuple(run[name] for name in names) for run in runs):
        own = chosen(runs, **dict(zip(names, group, strict=True)))
        failed, reached = ([run for run in own if bool(run["updates_to_99"]) is good] for good in (False, True))
        updates = sorted(run["updates_to_99"] or math.inf for run in own)
        median = statistics.median(updates)
        row = dict(zip(names, group, strict=True)) | {
            "runs": len(own),
            "reached": len(reached),
            "median_updates_to_99": median if median < math.inf else None,
            "updates_to_99": [value if value < math.inf else None for value in updates],
            "vanished": {
                name: sum(vanished(ratio) for run in of for _, ratio in run["gradients"][-1:])
                for name, of in (("failed", failed), ("reached", reached))
            },
        }
        rows.append(row)
    return rows


def draw(runs, args, path):
    """Updates to 99 % by the size of the training set, and the gradient while training, a column for each length."""
    lengths, sizes = sorted(set(args.lengths)), sorted(set(args.sizes), key=lambda size: size or math.inf)
    figure, axes = plt.subplots(2, len(lengths), figsize=(4 * len(lengths), 7.5), squeeze=False, sharey="row")
    for (above, below), length in zip(axes.T, lengths, strict=True):
        for n, (cell, kind) in enumerate(cells.CELLS.items()):
            above.scatter([], [], s=30, color=kind.colour, label=kind.label)
            for place, size in enumerate(sizes):
                own = chosen(runs, cell=cell, input_length=length, size=size)
                for i, run in enumerate(own):
                    x = place + 0.2 * (2 * n - len(cells.CELLS) + 1) + 0.05 * (i - (len(own) - 1) / 2)
                    reached = run["updates_to_99"]
                    marker = plots.DOT if reached else plots.CROSS
                    above.scatter(x, reached or 1.4 * args.updates, color=kind.colour, **marker)
                    ratios = [HIGHEST if ratio is None else min(ratio, HIGHEST) for _, ratio in run["gradients"]]
                    if size in STYLES and ratios:
                        updates = [updates for updates, _ in run["gradients"]]
                        below.plot(updates, ratios, STYLES[size], color=kind.colour, lw=1, alpha=0.8)
                        below.scatter(updates[-1], ratios[-1], color=kind.colour, **marker)
        above.axhline(args.updates, **LAST)
        above.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(0.7 * args.every, 2 * args.updates))
        names = [f"{size:,}" if size else "fresh" for size in sizes]
        above.set(title=f"{length} digits", yscale="log", xlabel="training palindromes")
        above.set_xticks(range(len(sizes)), names)
        below.axhline(VANISHED, color="0.4", lw=1, ls="--")
        below.set(yscale="log", xlabel="update")
    axes[0, 0].set_ylabel("updates to 99 %, unseen palindromes")
    axes[1, 0].set_ylabel("gradient norm, last step / first")
    above.scatter(
        [], [], color="0.4", label=f"a run that did not reach 99 % in {args.updates:,} updates", **plots.CROSS
    )
    above.plot([], [], label=f"above: {args.updates:,} updates, where training ends", **LAST)
    above.scatter([], [], label="below: the end of a run that reached 99 %", color="0.4", **plots.DOT)
    for size in sizes:
        if size in STYLES:
            label = f"below: {f'{size:,} palindromes' if size else 'fresh batches'}"
            above.plot([], [], STYLES[size], color="0.4", lw=1.2, label=label)
    above.plot([], [], "--", color="0.4", lw=1, label=f"below: over {VANISHED:,} the gradient has vanished")
    figure.legend(
        *above.get_legend_handles_labels(), loc="outside upper center", ncols=min(3, len(lengths)), fontsize=9
    )
    told = f"{plots.seeds_text(args.seed, args.seeds)}, {args.optimizer}, lr {args.lr:g}, batch {args.batch_size}"
    told += f", hidden {args.hidden_size}, at most {args.updates:,} updates; ratios above {HIGHEST:g} drawn there"
    utils.save_figure(figure, path, f"studies/repetition.py: {told}")


def main(argv=None):
    """Run from the command line: train what is missing, then write the summary and the figure."""
    args = parse_args(argv)
    jobs = plan(args)
    first = utils.process_environment()[0] == 0
    utils.make_folder(args.out_dir / "repetition", args.figures_dir)

    def work(own):
        with tqdm(total=len(own), desc="runs", unit="run") as bar:
            return sweep.in_parallel(train_one, own, args.workers, lambda *_: bar.update())

    with utils.hold(args.out_dir / "repetition") if first else nullcontext():
        results = sweep.shared(work, jobs)
    if results is None:
        return
    runs = [compact(result) for result in results]
    runs.sort(key=lambda run: (run["cell"], run["input_length"], run["size"] or math.inf, run["seed"]))
    summary, paths = summarise(runs), (args.out_dir / "repetition.json", args.figures_dir / "repetition.png")
    header = sweep.header(args, utils.provenance(utils.pick_device(args)))
    utils.save_json(paths[0], header | {"summary": summary, "runs": runs})
    draw(runs, args, paths[1])
    for row in summary:
        told = " ".join("-" if value is None else str(value) for value in row["updates_to_99"])
        size = f"{row['size']:,}" if row["size"] else "fresh"
        print(f"{cells.CELLS[row['cell']].label:>11}  T {row['input_length']:>3}  {size:>7}: updates to 99 %: {told}")
    print(*paths, sep="\n")


if __name__ == "__main__":
    utils.run(main)
