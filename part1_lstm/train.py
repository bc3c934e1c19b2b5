"""Train an LSTM or a vanilla RNN on palindromes: one run, with early stopping, checkpoint and learning curve.

    python train.py                                     the report's main run: LSTM, 25 digits
    python train.py --cell rnn --input-length 10        the baseline on short sequences
    python train.py --forget-bias 1                     with another initial bias of the forget gate
    python train.py --cell rnn --protocol fresh         the protocol that the report's RNN had
    python train.py --resume                            go on where that run was stopped, bit for bit

A run writes into its folder, OUT_DIR/lstm_T25_rmsprop_seed0 for the first line above:

    config.json      options, versions, device, git commit
    history.json     one entry an epoch: loss and accuracy on both splits, updates, gradient norm before clipping
    checkpoint.pt    before the first and after every epoch: weights, optimizer, random number generators, history
    curve.png        loss and accuracy over epochs
    result.json      at the end: accuracies, epochs and updates needed; it is there only if the run came to its end

`accuracy` in result.json is the number for figure 1. What it is depends on --protocol:

    split   passes over the training split until the validation accuracy is --stop-at, at most --epochs of them;
            `accuracy` is the best validation accuracy. Early stopping looks at it, so it is a little flattered.
    fresh   what the report's RNN had in an earlier assignment: --updates updates, each on a batch drawn anew, without
            early stopping; `accuracy` is the mean training accuracy of the last 100 batches, each as it was met before
            its update. 100 updates count as an epoch. The training split is not used, and the others hold nothing
            back: a batch may meet any palindrome, which is what that protocol was.

Under both, the test accuracy (final weights) is measured on palindromes that neither split holds; it is null where none
exist: with the default --total-len, up to input length 7 the two splits hold them all.
"""

import json
import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from tqdm import tqdm

import cells
import dataset
from cells import CELLS
from utils import (
    InputError,
    Parser,
    add_common_options,
    hold,
    load_checkpoint,
    number,
    pick_device,
    provenance,
    refuse_second_start,
    run,
    save_checkpoint,
    save_figure,
    save_json,
)

OPTIMIZERS = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}
PROTOCOLS = ["split", "fresh"]
FRESH_EPOCH = 100  # updates that count as an epoch under --protocol fresh, and batches behind its accuracy
FORGET_BIAS = number(float, low=-100, high=100)  # the type of the option, here and in beyond.py
CHECKPOINT_KIND = "part1 run"
EVALUATION_BATCH = 1000  # rows at once: bounds the memory at long inputs, changes no result


def add_training_options(parser):
    """Add the hyper-parameters, with the report's values; compare.py has the same ones."""
    parser.add_argument("--hidden-size", type=number(int, low=1, high=65536), default=128, help="hidden units")
    parser.add_argument("--batch-size", type=number(int, low=1), default=128, help="palindromes an update")
    parser.add_argument(
        "--optimizer",
        choices=sorted(OPTIMIZERS),
        default="rmsprop",
        help="the report names none: rmsprop is the exercise's, and the one that fits 'fewer than 30 epochs'",
    )
    parser.add_argument("--lr", type=number(float, above=0), default=1e-3, help="learning rate")
    parser.add_argument("--epochs", type=number(int, low=1), default=100, help="at most so many passes over the data")
    parser.add_argument("--clip", type=number(float, above=0), default=10.0, help="largest gradient norm")
    parser.add_argument(
        "--total-len",
        type=number(int, low=2, high=dataset.MAX_TOTAL_LEN),
        default=10_000,
        help="palindromes in both splits together; cut to those that exist",
    )
    parser.add_argument(
        "--train-portion", type=number(float, above=0, below=1), default=0.8, help="share of them to train on"
    )
    parser.add_argument(
        "--stop-at", type=number(float, above=0), default=0.99, help="validation accuracy to stop at (above 1: never)"
    )
    parser.add_argument("--data-seed", type=number(int, low=0), default=42, help="draws the palindromes")
    parser.add_argument(
        "--implementation",
        choices=cells.IMPLEMENTATIONS,
        default="auto",
        help="equations: lstm.py step by step; fast: the same with the backward pass by hand; "
        "auto: the fast one if it gives the numbers of the equations",
    )


def add_updates_option(parser):
    """Add the length of a run under --protocol fresh; beyond.py has the same option."""
    parser.add_argument(
        "--updates",
        type=number(int, low=1),
        default=2000,
        help=f"updates on fresh batches, a multiple of {FRESH_EPOCH}; of no effect on the split protocol",
    )


def parse_args(argv=None):
    """The options of one run as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("Train an LSTM or a vanilla RNN to predict the last digit of palindromes.")
    parser.add_argument("--cell", choices=sorted(CELLS), default="lstm", help="the recurrent network")
    parser.add_argument(
        "--input-length",
        type=number(int, low=1, high=dataset.MAX_INPUT_LENGTH),
        default=25,
        help="digits that are read, the report's T",
    )
    parser.add_argument(
        "--forget-bias",
        type=FORGET_BIAS,
        help="initial bias of the LSTM's forget gate; 1 is usual (Gers et al. 2000, Jozefowicz et al. 2015); "
        "without it nn.Linear's initialisation stays",
    )
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="split", help="early stopping on a split, or fresh batches"
    )
    add_updates_option(parser)
    add_training_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--restart", action="store_true", help="train anew where a run lies, in its place")
    add_common_options(parser, figures=False)
    return parser.parse_args(argv)


def settings(args):
    """The options that fix a run's numbers, as a dictionary; device and threads are provenance.

    Of --epochs and --updates only the one that the protocol heeds.
    """
    elsewhere = {
        "resume",
        "restart",
        "device",
        "threads",
        "out_dir",
        "epochs" if args.protocol == "fresh" else "updates",
    }
    return {name: value for name, value in vars(args).items() if name not in elsewhere}


def run_name(args):
    """The name of the run's folder, such as lstm_T25_rmsprop_seed0 or lstm_T25_rmsprop_fresh_bias1_seed0."""
    fresh = "_fresh" if args.protocol == "fresh" else ""
    bias = "" if args.forget_bias is None else f"_bias{args.forget_bias:g}"
    own = "".join(f"_{word}" for word in (args.implementation, args.matmul_precision) if word != "auto")
    return f"{args.cell}_T{args.input_length}_{args.optimizer}{fresh}{bias}{own}_seed{args.seed}"


def check(args):
    """Raise InputError for options that do not go together."""
    dataset.sizes(args.input_length, args.total_len, args.train_portion)
    if args.forget_bias is not None and args.cell != "lstm":
        raise InputError(f"--forget-bias {args.forget_bias:g}: a cell of kind {args.cell} has no forget gate")
    if args.protocol == "fresh":
        if args.updates % FRESH_EPOCH:
            raise InputError(f"--updates {args.updates}: it must be a multiple of {FRESH_EPOCH}")
        largest = dataset.MAX_TOTAL_LEN // FRESH_EPOCH
        if args.batch_size > largest:
            raise InputError(f"--batch-size {args.batch_size}: with --protocol fresh it must be at most {largest}")


def most_epochs(args):
    """The number of epochs that a run has at most; under --protocol fresh the one that it has."""
    return args.updates // FRESH_EPOCH if args.protocol == "fresh" else args.epochs


def build(args, kind=None):
    """The untrained network of a run, of the class `kind`, on the CPU: --seed fixes its weights."""
    torch.manual_seed(args.seed)
    kind = kind or cells.pick(args.cell, args.implementation, args.hidden_size)[0]
    model = kind(hidden_size=args.hidden_size)
    if args.forget_bias is not None:
        torch.nn.init.constant_(model.W_fx.bias, args.forget_bias)  # the bias b_f of equation (3)
    return model


def updates_to_99(history):
    """Updates until the end of the first epoch with a validation accuracy of .99 or more; None without such a one."""
    return next((entry["updates"] for entry in history if entry["val_accuracy"] >= 0.99), None)


@torch.no_grad()
def evaluate(model, digits, targets):
    """Mean cross entropy and accuracy over all rows: digits (rows, time), targets int64 (rows) -> two floats."""
    totals = torch.zeros(2, device=digits.device)
    for part, target in zip(digits.split(EVALUATION_BATCH), targets.split(EVALUATION_BATCH), strict=True):
        logits = model(part.long())
        correct = (logits.argmax(dim=1) == target).sum()
        totals += torch.stack([F.cross_entropy(logits, target, reduction="sum"), correct])
    loss, correct = totals.tolist()
    return loss / len(targets), correct / len(targets)


def one_vector(model):
    """Move the model's parameters into one vector, of which they become parts, and return it, for the optimizer.

    Clipping and update treat every number alike, so they give the same results on one vector as on many small
    matrices, in a few kernels instead of many. Has to follow any move to another device.
    """
    vector = torch.nn.Parameter(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
    torch.nn.utils.vector_to_parameters(vector, model.parameters())
    return vector


def update(model, vector, optimizer, loss, clip):
    """Backward pass, clipping and update: `optimizer` is one over `vector`, see one_vector. Returns the norm before."""
    gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    vector.grad = torch.cat([gradient.flatten() for gradient in gradients])
    norm = torch.nn.utils.clip_grad_norm_(vector, clip)  # the gradient exists, and no step has used it
    optimizer.step()
    return norm


def train_epoch(model, optimizer, digits, targets, order, batch_size, clip):
    """One pass over the rows in the given order; the last batch may be smaller.

    optimizer: one over one_vector(model). digits (rows, time), targets and order int64 (rows). Returns floats: mean
    loss and accuracy of the batches, each as it was met before its own update, and the mean gradient norm before
    clipping.
    """
    (vector,) = optimizer.param_groups[0]["params"]
    totals = torch.zeros(3, device=digits.device)
    batches = order.split(batch_size)
    for batch in batches:
        target = targets[batch]
        logits = model(digits[batch].long())
        loss = F.cross_entropy(logits, target)  # takes logits: it contains the softmax
        norm = update(model, vector, optimizer, loss, clip)
        correct = (logits.detach().argmax(dim=1) == target).sum()
        totals += torch.stack([loss.detach() * len(batch), correct, norm])  # stays on the device: no waiting a step
    loss, correct, norm = totals.tolist()
    return loss / len(order), correct / len(order), norm / len(batches)


def plot_curve(history, config, path):
    """Write loss and accuracy over epochs, on both splits, to `path`."""
    epochs = [entry["epoch"] for entry in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for axes, quantity in ((left, "loss"), (right, "accuracy")):
        for split, label in (("train", "training (running)"), ("val", "validation")):
            axes.plot(epochs, [entry[f"{split}_{quantity}"] for entry in history], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.axhline(math.log(10), color="0.6", linestyle=":", label="random guess, ln 10")
    right.axhline(0.1, color="0.6", linestyle=":", label="random guess")
    goal = f"{'stop at' if config['protocol'] == 'split' else 'success:'} {config['stop_at']:g}"
    right.axhline(config["stop_at"], color="0.3", linestyle="--", linewidth=1, label=goal)
    right.set_ylim(0, 1.03)
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    figure.suptitle(f"{config['cell'].upper()} on palindromes, {config['input_length']} digits read")
    keys = ("protocol", "optimizer", "lr", "batch_size", "hidden_size", "total_len", "forget_bias", "seed", "data_seed")
    source = ", ".join(f"{key} {config[key]}" for key in keys if config[key] is not None)
    save_figure(figure, path, f"train.py: {source}")


def restore(path, args, model, optimizer, shuffle, device):
    """Put the checkpoint's state into model, optimizer and generators.

    Returns its history, the seconds spent and the digest of the code that trained it.

    Raises InputError if the file is missing or damaged, or if an option contradicts it (--epochs, or --updates
    under the other protocol, may be another, as long as it is not below what is done).
    """
    checkpoint = load_checkpoint(path, CHECKPOINT_KIND, device)
    try:
        saved, history = checkpoint["config"], checkpoint["history"]
        differing = {name: value for name, value in settings(args).items() if saved.get(name) != value}
        if most_epochs(args) >= len(history):
            differing = {name: value for name, value in differing.items() if name not in ("epochs", "updates")}
        if not differing:
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            torch.set_rng_state(checkpoint["rng"]["torch"].cpu())
            shuffle.set_state(checkpoint["rng"]["shuffle"].cpu())
            return history, checkpoint["seconds"], checkpoint["code"]
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{path}: its contents are not those of such a run ({reason})") from None
    saved = {**saved, "epochs": f"{len(history)} already", "updates": f"{len(history) * FRESH_EPOCH} already"}
    names = ", ".join(
        f"--{name.replace('_', '-')} is {value} but was {saved.get(name)}" for name, value in differing.items()
    )
    raise InputError(f"--resume: the options contradict the checkpoint: {names}")


def finished(args):
    """What result.json holds if the run came to its end earlier with the very same options, else None."""
    try:
        result = json.loads((args.out_dir / run_name(args) / "result.json").read_text())
        return result if result["config"] == settings(args) else None
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or something spoiled it
        return None


def train(args, progress=True, result_only=False):
    """Train one run as `args` (see parse_args) say, write its files, return what result.json holds.

    `result_only` leaves out checkpoint and curve, for a sweep of many short runs.
    Raises InputError for options that do not fit together or a folder in use, before anything is written, and
    FloatingPointError for a loss that is not finite.
    """
    start = time.perf_counter()
    check(args)
    device = pick_device(args)
    config, epochs = settings(args), most_epochs(args)
    folder = args.out_dir / run_name(args)
    checkpoint_path = folder / "checkpoint.pt"
    data = dataset.load(args.input_length, args.total_len, args.train_portion, args.data_seed, args.seed, device)
    (digits, targets), validation, test = data["train"], data["validation"], data["test"]

    kind, implementation, told = cells.pick(args.cell, args.implementation, args.hidden_size)
    if progress and told:
        print(told)
    code = cells.code_digest(args.cell)
    model = build(args, kind).to(device)
    optimizer = OPTIMIZERS[args.optimizer]([one_vector(model)], lr=args.lr)
    shuffle = torch.Generator().manual_seed(args.seed)  # on the CPU: the same batches on every device
    history = []
    if args.resume:
        history, seconds, trained_by = restore(checkpoint_path, args, model, optimizer, shuffle, device)
        if progress and trained_by != code:
            print(f"{checkpoint_path}: the code has changed since; the epochs from here on are of the new code")
        start -= seconds

    def ended():
        stopped = args.protocol == "split" and history and history[-1]["val_accuracy"] >= args.stop_at
        return bool(stopped) or len(history) == epochs

    if ended() and (result := finished(args)):
        if progress:
            print(f"{folder}: finished after {len(history)} epochs, nothing to resume")
        return result

    def save():
        checkpoint = {
            "kind": CHECKPOINT_KIND,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": len(history),
            "rng": {"torch": torch.get_rng_state(), "shuffle": shuffle.get_state()},
            "history": history,
            "seconds": time.perf_counter() - start,
            "config": config,
            "code": code,
        }
        save_checkpoint(checkpoint_path, checkpoint)

    origin = provenance(device)
    rows = len(targets) + len(validation[1])
    if progress and rows < args.total_len:
        print(f"only {rows} palindromes of {args.input_length + 1} digits exist: --total-len {args.total_len} is cut")

    with (
        hold(folder),
        tqdm(total=epochs, initial=len(history), desc=run_name(args), unit="epoch", disable=not progress) as bar,
    ):
        if not (args.resume or result_only):
            save()  # the first file of a run: whatever happens from here on, --resume finds where to go on
        (folder / "result.json").unlink(missing_ok=True)  # it would belong to another run than the files beside it
        save_json(folder / "config.json", {"config": config, "provenance": origin})
        while not ended():
            epoch = len(history) + 1
            if args.protocol == "fresh":
                digits, targets = dataset.draw(args.input_length, FRESH_EPOCH * args.batch_size, shuffle, device)
            updates = epoch * math.ceil(len(targets) / args.batch_size)
            order = torch.randperm(len(targets), generator=shuffle).to(device)
            loss, accuracy, norm = train_epoch(model, optimizer, digits, targets, order, args.batch_size, args.clip)
            val_loss, val_accuracy = evaluate(model, *validation)
            if not (math.isfinite(loss) and math.isfinite(val_loss)):
                good = "none is kept" if result_only else f"{checkpoint_path}, epoch {epoch - 1}"
                raise FloatingPointError(
                    f"{run_name(args)}: epoch {epoch}, update {updates}: the loss is {loss}, on validation {val_loss}, "
                    f"the gradient norm {norm}; last good checkpoint: {good}; try a smaller --lr"
                )
            entry = {
                "epoch": epoch,
                "updates": updates,
                "train_loss": loss,
                "train_accuracy": accuracy,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "grad_norm": norm,
            }
            history.append(entry)
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", val_accuracy=f"{val_accuracy:.4f}", updates=updates)
            if not result_only:
                save_json(folder / "history.json", history)
                save()

        accuracy = best = max(entry["val_accuracy"] for entry in history)
        counts = {name: len(part[1]) for name, part in data.items()}
        if args.protocol == "fresh":
            accuracy = history[-1]["train_accuracy"]
            counts["train"] = history[-1]["updates"] * args.batch_size
        result = {
            "accuracy": accuracy,
            "best_val_accuracy": best,
            "val_accuracy": history[-1]["val_accuracy"],
            "test_accuracy": evaluate(model, *test)[1] if len(test[1]) else None,
            "epochs": len(history),
            "updates": history[-1]["updates"],
            "updates_to_99": updates_to_99(history),
            "reached": accuracy >= args.stop_at,
            "rows": counts,
            "seconds": time.perf_counter() - start,
            "implementation": implementation,
            "code": code,
            "config": config,
            "provenance": origin,
        }
        save_json(folder / "history.json", history)
        if not result_only:
            plot_curve(history, config, folder / "curve.png")
        save_json(folder / "result.json", result)
    return result


def main(argv=None):
    """Run from the command line and print the outcome."""
    args = parse_args(argv)
    refuse_second_start(args, args.out_dir / run_name(args))
    result = train(args)
    test = "none exist" if result["test_accuracy"] is None else f"{result['test_accuracy']:.4f}"
    measured = "best validation accuracy" if args.protocol == "split" else f"mean of the last {FRESH_EPOCH} batches"
    print(
        f"{'reached' if result['reached'] else 'did not reach'} {args.stop_at:g} "
        f"in {result['epochs']} epochs ({result['updates']} updates, {result['seconds']:.1f} s): "
        f"{measured} {result['accuracy']:.4f}, fresh palindromes {test}"
    )
    print(args.out_dir / run_name(args))


if __name__ == "__main__":
    run(main, after_stop="the same command with --resume goes on after the last whole epoch")
