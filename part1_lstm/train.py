"""Train an LSTM or a vanilla RNN on palindromes: one run, with early stopping, a checkpoint and a learning curve.

    python train.py                                             # the report's main run: the LSTM on 25 digits
    python train.py --cell rnn --palindromes fresh --epochs 20  # the RNN of the report's figure 1
    python train.py --resume                                    # go on after a stop, bit for bit
    python train.py --resume --stop-at 1                        # or train a run that has stopped for longer

Repeated palindromes are the training split, again and again, until the validation accuracy reaches --stop-at. Fresh
ones are drawn anew for every batch, for --epochs of 100 batches, without early stopping.

Writes into OUT_DIR/NAME, where NAME holds the cell, the length, every option off its default but --epochs and
--stop-at, and the seed: checkpoint.pt after every epoch, curve.png, and at the end result.json, the run's row. Its
`accuracy` is the number for figure 1: the best validation accuracy, slightly optimistic as it decides when to stop; on
fresh palindromes, as in the report, the mean training accuracy of the last 100 batches, each before its update.
`test_accuracy` is that of the final weights on palindromes of neither split, None where none are left (by default, up
to 7 digits).
"""

import math
import time

import torch
import torch.nn.functional as F

import cells
import dataset
import files
import plots
import utils
from utils import number

# Of what trains here; taken when the program starts, whatever is edited meanwhile.
CODE = files.digest(*cells.sources(), *(utils.HERE / name for name in ("cells.py", "dataset.py", "train.py")))
OPTIMIZERS = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}
FRESH_EPOCH = 100  # batches that count as an epoch on fresh palindromes
EVALUATION_BATCH = 1000  # rows at once: bounds the memory at long inputs, changes no result
# What makes a run what it is: {name: (type or choices, default, help)}; the defaults are the report's.
OPTIONS = {
    "cell": (list(cells.CELLS), "lstm", "the recurrent network"),
    "input_length": (number(int, low=1, high=dataset.MAX_INPUT_LENGTH), 25, "digits read, the report's T"),
    "palindromes": (["repeated", "fresh"], "repeated", "passes over the same ones, or new ones in every batch"),
    "optimizer": (list(OPTIMIZERS), "rmsprop", "the report's text names none; its code has rmsprop"),
    "forget_bias": (number(float, low=-100, high=100), None, "initial bias of the LSTM's forget gate"),
    "hidden_size": (number(int, low=1, high=65536), 128, "hidden units"),
    "batch_size": (number(int, low=1, high=10_000), 128, "palindromes per update"),
    "lr": (number(float, above=0, high=1e37), 1e-3, "learning rate"),
    "clip": (number(float, above=0), 10.0, "maximum gradient norm"),
    "epochs": (number(int, low=1), 100, "maximum number of epochs"),
    "stop_at": (number(float, above=0), 0.99, "validation accuracy at which training stops (above 1: never)"),
    "total_len": (number(int, low=2, high=dataset.MAX_TOTAL_LEN), 10_000, "palindromes in both splits, if they exist"),
    "train_portion": (number(float, above=0, below=1), 0.8, "share of them in the training split"),
    "data_seed": (number(int, low=0), 42, "draws the palindromes"),
    "implementation": (["auto", "equations"], "auto", "auto: the backward pass by hand, if it equals the equations"),
    "seed": (number(int, low=0), 0, "fixes every random number but the palindromes"),
}  # fmt: skip


def options(**own):
    """The options of a run, {name: value}: the defaults, but for those in `own`."""
    return {name: default for name, (_, default, _) in OPTIONS.items()} | own


def name_of(chosen):
    """Such as lstm_T25_lr-0.01_seed0: the cell, the length, what departs from the defaults, and the seed."""
    usual = options(cell=chosen["cell"], input_length=chosen["input_length"])
    left_out = ("epochs", "stop_at", "seed")
    words = [f"{n}-{v}".replace("_", "-") for n, v in chosen.items() if v != usual[n] and n not in left_out]
    return files.short_name("_".join([chosen["cell"], f"T{chosen['input_length']}", *words])) + f"_seed{chosen['seed']}"


def build(args):
    """The untrained network of a run, on the CPU, and a line where it trains by the equations: --seed fixes it."""
    kind, reason = cells.pick(args.cell, args.implementation, args.hidden_size)
    torch.manual_seed(args.seed)
    model = kind(hidden_size=args.hidden_size)
    if args.forget_bias is not None:
        if args.cell != "lstm":
            raise files.InputError(f"--forget-bias {args.forget_bias:g}: --cell {args.cell} has no forget gate")
        torch.nn.init.constant_(model.W_fx.bias, args.forget_bias)  # the bias b_f of equation (3)
    return model, reason


def train_epoch(model, optimizer, digits, targets, order, batch_size, clip):
    """One pass over the rows in the given order; the last batch may be smaller.

    digits (rows, time), targets and order int64 (rows). Returns floats: mean loss and accuracy over the rows, each
    measured before the update of its batch, and the mean gradient norm before clipping.
    """
    totals = torch.zeros(3, device=digits.device)
    batches = order.split(batch_size)
    for batch in batches:
        target = targets[batch]
        logits = model(digits[batch].long())
        loss = F.cross_entropy(logits, target)  # takes logits: it contains the softmax
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
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


def train(args, folder=None):
    """Train as `args` (OPTIONS, device, threads) say; returns the network, the history and the run's row.

    With a `folder` it keeps checkpoint, curve and row there and, with args.resume, goes on from the checkpoint. Raises
    InputError for options or a checkpoint that do not fit, FloatingPointError, before the last checkpoint is replaced,
    for a loss or weights that are not finite.
    """
    started, drawn, device = time.perf_counter(), time.perf_counter(), utils.pick_device(args)
    data = dataset.load(args.input_length, args.total_len, args.train_portion, args.data_seed, args.seed, device)
    (digits, targets), validation, test = data["train"], data["validation"], data["test"]
    model, reason = build(args)
    model.to(device)
    optimizer = OPTIMIZERS[args.optimizer](model.parameters(), lr=args.lr)
    shuffle = torch.Generator().manual_seed(args.seed)  # on the CPU: the same batches on every device
    history, fresh, chosen = [], args.palindromes == "fresh", {name: getattr(args, name) for name in OPTIONS}
    code = CODE
    if folder and args.resume:
        history, seconds, code = restore(folder / "checkpoint.pt", chosen, model, optimizer, shuffle)
        started -= seconds
    if folder and reason:
        print(reason)
    if folder and (count := len(targets) + len(validation[1])) < args.total_len:
        print(f"--total-len {args.total_len}: only {count} palindromes of {args.input_length + 1} digits exist")

    def ended():  # early stopping
        return len(history) >= args.epochs or (history and not fresh and history[-1]["val_accuracy"] >= args.stop_at)

    bar = {"total": args.epochs, "initial": len(history), "unit": "epoch", "disable": not folder}
    with utils.progress(desc=name_of(chosen), **bar) as progress:
        while not ended():
            epoch = len(history) + 1
            if fresh:
                digits, targets = dataset.draw(args.input_length, FRESH_EPOCH * args.batch_size, shuffle, device)
            order = torch.randperm(len(targets), generator=shuffle).to(device)
            loss, accuracy, norm = train_epoch(model, optimizer, digits, targets, order, args.batch_size, args.clip)
            val_loss, val_accuracy = evaluate(model, *validation)
            if not (math.isfinite(loss + val_loss) and all(p.isfinite().all() for p in model.parameters())):
                where = f"{folder or name_of(chosen)}: epoch {epoch}: the loss or the weights are not finite"
                raise FloatingPointError(f"{where} (loss {loss:g}, gradient norm {norm:g}); try a smaller --lr")
            found = {"updates": epoch * math.ceil(len(targets) / args.batch_size), "train_loss": loss}
            found |= {"train_accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy, "grad_norm": norm}
            history.append(found)
            if folder:
                state = {"options": chosen, "history": history, "seconds": time.perf_counter() - started, "code": code}
                state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": shuffle.get_state()}
                files.save(folder / "checkpoint.pt", {"kind": "part1 run"} | state)
                if time.perf_counter() - drawn > 30:
                    plots.draw_curve(history, chosen, folder / "curve.png")
                    drawn = time.perf_counter()
            progress.set_postfix_str(f"loss {loss:.3f}, validation accuracy {val_accuracy:.4f}", refresh=False)
            progress.update()

    best = max(entry["val_accuracy"] for entry in history)
    accuracy = history[-1]["train_accuracy"] if fresh else best
    row = chosen | {
        "accuracy": accuracy,
        "best_val_accuracy": best,
        "val_accuracy": history[-1]["val_accuracy"],
        "test_accuracy": evaluate(model, *test)[1] if len(test[1]) else None,
        "epochs_trained": len(history),
        "updates": history[-1]["updates"],
        "updates_to_99": next((entry["updates"] for entry in history if entry["val_accuracy"] >= 0.99), None),
        "reached": accuracy >= args.stop_at,
        "seconds": round(time.perf_counter() - started, 2),
        "code": code,
        **utils.provenance(device),
    }
    if folder:
        plots.draw_curve(history, chosen, folder / "curve.png")
        files.save(folder / "result.json", row)
    return model, history, row


def run(args):
    """A run of a study: its row."""
    return train(args)[2]


def restore(path, chosen, model, optimizer, shuffle):
    """Put a checkpoint back into model, optimizer and random generator; returns history, seconds and code digest.

    Raises InputError if it does not fit, or is of other options than `chosen`, --epochs and --stop-at left aside.
    """
    saved = files.load(path, kind="part1 run", device=next(model.parameters()).device)
    with files.fitting(path):
        for name, value in chosen.items():
            if name not in ("epochs", "stop_at") and saved["options"][name] != value:
                raise files.InputError(f"{path}: the run there has {name} {saved['options'][name]}, not {value}")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        shuffle.set_state(saved["rng"].cpu())
        history, code = [dict(entry) for entry in saved["history"]], saved["code"]
        if CODE not in code:
            print(f"{path}: the code has changed; the remaining epochs are trained by the present code")
            code += f"+{CODE}"
        return history, float(saved["seconds"]), code


def main(argv=None):
    parser = utils.Parser("Train an LSTM or a vanilla RNN to predict the last digit of palindromes.")
    for name, (kind, default, help) in OPTIONS.items():
        kind = {"choices": kind} if isinstance(kind, list) else {"type": kind}
        if name != "seed":
            parser.add_argument("--" + name.replace("_", "-"), default=default, help=help, **kind)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    start.add_argument("--restart", action="store_true", help="train anew where a run lies, in its place")
    utils.add_options(parser, threads=1)
    args = parser.parse_args(argv)
    folder = args.out_dir / name_of({name: getattr(args, name) for name in OPTIONS})
    there = (folder / "checkpoint.pt").exists()
    if there and not (args.resume or args.restart):
        raise files.InputError(f"{folder}: a run lies here; --resume goes on with it, --restart replaces it")
    if args.resume and not there:
        raise files.InputError(f"--resume: no run of these options lies in {folder}")
    with files.hold(folder):
        row = train(args, folder)[2]
    print(f"{row['epochs_trained']} epochs, {row['updates']} updates, {row['seconds']:.1f} s")
    test = "none are left" if row["test_accuracy"] is None else f"{row['test_accuracy']:.2%}"
    print(f"accuracy: best on validation {row['best_val_accuracy']:.2%}, on test palindromes {test}\n{folder}")


if __name__ == "__main__":
    utils.run(main, after_stop="the same command with --resume goes on after the last whole epoch")
