"""Train an LSTM or a vanilla RNN on palindromes: one run, with early stopping, checkpoints and a learning curve.

    python train.py                                 the report's main run: LSTM, 25 digits
    python train.py --cell rnn --input-length 10    the baseline on short sequences
    python train.py --cell rnn --protocol fresh     the protocol of the report's RNN
    python train.py --resume                        continue a stopped run, bit for bit

Reads nothing but, with --resume, the checkpoint. Writes into the run's folder, OUT_DIR/lstm_T25_rmsprop_seed0 for the
first line; options other than the defaults are part of its name.

    config.json      options, versions, device, git commit
    checkpoint.pt    before the first and after every epoch: weights, optimizer, random states, history
    history.pt       {"columns": HISTORY, "rows": (epochs, columns)}
    curve.png        loss and accuracy over epochs
    result.json      accuracies, epochs and updates; written at the end, so that it marks a finished run

`accuracy` in result.json is the number for figure 1. What it is depends on --protocol:

    split   Epochs over the training split until the validation accuracy reaches --stop-at, at most --epochs.
            `accuracy` is the best validation accuracy; since it decides when to stop, it is slightly optimistic.
    fresh   --updates updates, each on a newly drawn batch, without early stopping: what the report's RNN had.
            `accuracy` is the mean training accuracy of the last 100 batches, each measured before its update. 100
            updates count as an epoch. A batch may contain any palindrome, those of the validation split included.

Both protocols measure the test accuracy of the final weights on palindromes that neither split contains. It is null
where none exist: by default, the two splits contain all palindromes up to input length 7.
"""

import math
import time

import torch
import torch.nn.functional as F
from tqdm import tqdm

import cells
import dataset
import plots
import run_folder
import utils
from cells import CELLS
from run_folder import HISTORY
from utils import number

OPTIMIZERS = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}
PROTOCOLS = ["split", "fresh"]
FRESH_EPOCH = 100  # updates that count as an epoch under --protocol fresh, and batches behind its accuracy
FORGET_BIAS = number(float, low=-100, high=100)  # the type of the option, here and in the studies
EVALUATION_BATCH = 1000  # rows at once: bounds the memory at long inputs, changes no result


def add_training_options(parser, optimizer=True):
    """Add the hyper-parameters, with the report's values; sweeps have the same ones, some without --optimizer."""
    add = parser.add_argument
    add("--hidden-size", type=number(int, low=1, high=65536), default=128, help="hidden units")
    add("--batch-size", type=number(int, low=1), default=128, help="palindromes per update")
    help = "the report names none; rmsprop is the one of its published code"
    if optimizer:
        add("--optimizer", choices=sorted(OPTIMIZERS), default="rmsprop", help=help)
    # Adam divides lr by 0.1 in its first step, which has to stay within float32.
    add("--lr", type=number(float, above=0, high=1e37), default=1e-3, help="learning rate")
    add("--epochs", type=number(int, low=1), default=100, help="maximum number of epochs")
    add("--clip", type=number(float, above=0), default=10.0, help="maximum gradient norm")
    help = "palindromes in both splits together, at most those that exist"
    add("--total-len", type=number(int, low=2, high=dataset.MAX_TOTAL_LEN), default=10_000, help=help)
    help = "share of them in the training split"
    add("--train-portion", type=number(float, above=0, below=1), default=0.8, help=help)
    help = "validation accuracy at which training stops (above 1: never)"
    add("--stop-at", type=number(float, above=0), default=0.99, help=help)
    add("--data-seed", type=number(int, low=0), default=42, help="draws the palindromes")
    help = "equations: lstm.py; fast: the same with the backward pass by hand; auto: fast if it equals the equations"
    add("--implementation", choices=cells.IMPLEMENTATIONS, default="auto", help=help)


def add_updates_option(parser):
    """Add the length of a run under --protocol fresh; the studies have the same option."""
    help = f"updates under --protocol fresh, a multiple of {FRESH_EPOCH}"
    parser.add_argument("--updates", type=number(int, low=1), default=2000, help=help)


def parse_args(argv=None):
    """The options of one run as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Train an LSTM or a vanilla RNN to predict the last digit of palindromes.")
    add = parser.add_argument
    add("--cell", choices=sorted(CELLS), default="lstm", help="the recurrent network")
    length = number(int, low=1, high=dataset.MAX_INPUT_LENGTH)
    add("--input-length", type=length, default=25, help="digits read, the report's T")
    help = "initial bias of the LSTM's forget gate, often 1 (Gers et al. 2000); without it as nn.Linear has it"
    add("--forget-bias", type=FORGET_BIAS, help=help)
    help = "early stopping on a split, or fresh batches"
    add("--protocol", choices=PROTOCOLS, default="split", help=help)
    add_updates_option(parser)
    add_training_options(parser)
    add("--resume", action="store_true", help="continue from the run's checkpoint")
    add("--restart", action="store_true", help="replace the run that lies in the folder")
    utils.add_common_options(parser, figures=False)
    return parser.parse_args(argv)


def one_vector(model):
    """Move the model's parameters into one vector, of which they become views, and return it, for the optimizer.

    Clipping and update treat all numbers alike, so on one vector they give the same results as on many matrices, with
    far fewer kernels. Has to follow any move to another device.
    """
    vector = torch.nn.Parameter(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
    torch.nn.utils.vector_to_parameters(vector, model.parameters())
    return vector


def update(model, vector, optimizer, loss, clip):
    """Backward pass, clipping and update; `vector` is one_vector(model). Returns the gradient norm before clipping."""
    gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    vector.grad = torch.cat([gradient.flatten() for gradient in gradients])
    norm = torch.nn.utils.clip_grad_norm_(vector, clip)
    optimizer.step()
    return norm


def train_epoch(model, optimizer, digits, targets, order, batch_size, clip):
    """One pass over the rows in the given order; the last batch may be smaller.

    optimizer: one over one_vector(model). digits (rows, time), targets and order int64 (rows). Returns floats: mean
    loss and accuracy over the rows, each measured before the update of its batch, and the mean gradient norm before
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
        totals += torch.stack([loss.detach() * len(batch), correct, norm])  # stays on the device: no wait per step
    loss, correct, norm = totals.tolist()
    return loss / len(order), correct / len(order), norm / len(batches)


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


def train(args, progress=True, result_only=False):
    """Train one run as `args` (see parse_args) say, write its files, return what result.json holds.

    `result_only` leaves out checkpoint and curve, for sweeps of many short runs.
    Raises InputError for options that do not fit together, a bad checkpoint, or a folder that is in use or holds
    another run, before anything is written, and FloatingPointError for a loss or weights that are not finite.
    """
    start = time.perf_counter()
    check(args)
    device = utils.pick_device(args)
    config, epochs = run_folder.settings(args), most_epochs(args)
    folder = args.out_dir / run_name(args)
    checkpoint, curve = folder / "checkpoint.pt", folder / "curve.png"
    data = dataset.load(args.input_length, args.total_len, args.train_portion, args.data_seed, args.seed, device)
    (digits, targets), validation, test = data["train"], data["validation"], data["test"]

    kind, implementation, reason = cells.pick(args.cell, args.implementation, args.hidden_size)
    code = cells.code_digest(args.cell)
    model = build(args, kind).to(device)
    optimizer = OPTIMIZERS[args.optimizer]([one_vector(model)], lr=args.lr)
    shuffle = torch.Generator().manual_seed(args.seed)  # on the CPU: the same batches on every device
    history, notes = [], [reason] if reason else []
    if args.resume:
        history, seconds, trained_by = run_folder.restore(checkpoint, config, epochs, model, optimizer, shuffle)
        start -= seconds
        if trained_by != code:
            notes.append(f"{folder}: the code has changed; the remaining epochs are trained by the present code")
    if (rows := len(targets) + len(validation[1])) < args.total_len:
        notes.append(f"--total-len {args.total_len}: only {rows} palindromes of {args.input_length + 1} digits exist")

    def ended():
        stopped = args.protocol == "split" and history and history[-1]["val_accuracy"] >= args.stop_at
        return bool(stopped) or len(history) == epochs

    def save():
        state = {
            "kind": run_folder.KIND,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": {"torch": torch.get_rng_state(), "shuffle": shuffle.get_state()},
            "history": run_folder.table(history),
            "seconds": time.perf_counter() - start,
            "config": config,
            "code": code,
        }
        utils.save_checkpoint(checkpoint, state)

    origin = utils.provenance(device)
    draw_at_times = plots.sparingly(plots.draw_curve)
    with (
        utils.hold(folder, args),
        tqdm(total=epochs, initial=len(history), desc=folder.name, unit="epoch", disable=not progress) as bar,
    ):
        if progress:
            print(*notes, sep="\n", end="\n" * bool(notes))
        if args.resume and ended() and (result := run_folder.finished(folder, config)):
            plots.draw_curve(history, config, curve)  # a run that was killed after its result has none
            return result
        if not (args.resume or result_only):
            save()  # the first file of a run: whatever happens from here on, --resume can continue
        (folder / "result.json").unlink(missing_ok=True)  # it would belong to another run than the files beside it
        utils.save_json(folder / "config.json", {"config": config, "provenance": origin})
        while not ended():
            epoch = len(history) + 1
            if args.protocol == "fresh":
                digits, targets = dataset.draw(args.input_length, FRESH_EPOCH * args.batch_size, shuffle, device)
            updates = epoch * math.ceil(len(targets) / args.batch_size)
            order = torch.randperm(len(targets), generator=shuffle).to(device)
            loss, accuracy, norm = train_epoch(model, optimizer, digits, targets, order, args.batch_size, args.clip)
            val_loss, val_accuracy = evaluate(model, *validation)
            where = f"{folder.name}: epoch {epoch}, update {updates}; try a smaller --lr; "
            where += "no checkpoint is kept" if result_only else f"the checkpoint is that of epoch {epoch - 1}"
            if not (math.isfinite(loss) and math.isfinite(val_loss)):
                raise FloatingPointError(f"{where}: loss {loss}, on validation {val_loss}, gradient norm {norm}")
            utils.check_finite(where, model)
            entry = [epoch, updates, loss, accuracy, val_loss, val_accuracy, norm]
            history.append(dict(zip(HISTORY, entry, strict=True)))
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", val_accuracy=f"{val_accuracy:.4f}", updates=updates)
            if not result_only:
                save()
                utils.save_checkpoint(folder / "history.pt", {"columns": HISTORY, "rows": run_folder.table(history)})
                draw_at_times(history, config, curve)

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
            "updates_to_99": next((entry["updates"] for entry in history if entry["val_accuracy"] >= 0.99), None),
            "reached": accuracy >= args.stop_at,
            "rows": counts,
            "seconds": time.perf_counter() - start,
            "implementation": implementation,
            "code": code,
            "config": config,
            "provenance": origin,
        }
        utils.save_checkpoint(folder / "history.pt", {"columns": HISTORY, "rows": run_folder.table(history)})
        utils.save_json(folder / "result.json", result)
        if not result_only:
            plots.draw_curve(history, config, curve)
    return result


def check(args):
    """Raise InputError for options that do not go together."""
    dataset.sizes(args.input_length, args.total_len, args.train_portion)
    if args.forget_bias is not None and args.cell != "lstm":
        raise utils.InputError(f"--forget-bias {args.forget_bias:g}: --cell {args.cell} has no forget gate")
    if args.protocol == "fresh":
        if args.updates % FRESH_EPOCH:
            raise utils.InputError(f"--updates {args.updates}: it must be a multiple of {FRESH_EPOCH}")
        largest = dataset.MAX_TOTAL_LEN // FRESH_EPOCH
        if args.batch_size > largest:
            raise utils.InputError(f"--batch-size {args.batch_size}: --protocol fresh takes at most {largest}")


def run_name(args):
    """The name of a run's folder, such as lstm_T25_rmsprop_lr-0.01_seed0: runs with other numbers have other names."""
    named = ("cell", "input_length", "optimizer", "seed")
    others = {name: value for name, value in run_folder.settings(args).items() if name not in named}
    words = [f"{name}-{value}".replace("_", "-") for name, value in others.items() if value != DEFAULTS[name]]
    return "_".join([args.cell, f"T{args.input_length}", args.optimizer, *words, f"seed{args.seed}"])


DEFAULTS = vars(parse_args([]))


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


def main(argv=None):
    """Run from the command line and print the outcome."""
    args = parse_args(argv)
    result = train(args)
    test = "none exist" if result["test_accuracy"] is None else f"{result['test_accuracy']:.4f}"
    measured = "best validation accuracy" if args.protocol == "split" else f"mean of the last {FRESH_EPOCH} batches"
    print(
        f"{'reached' if result['reached'] else 'did not reach'} {args.stop_at:g} "
        f"in {result['epochs']} epochs ({result['updates']} updates, {result['seconds']:.1f} s): "
        f"{measured} {result['accuracy']:.4f}, palindromes of neither split {test}"
    )
    print(args.out_dir / run_name(args))


if __name__ == "__main__":
    utils.run(main, after_stop="the same command with --resume continues after the last whole epoch")
