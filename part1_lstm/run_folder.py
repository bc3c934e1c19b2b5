"""The folder of a run: its options, history and checkpoint, restored and checked. Not a script."""

import torch

import utils

KIND = "part1 run"  # of checkpoint.pt
HISTORY = ["epoch", "updates", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "grad_norm"]
RESULT = ["accuracy", "best_val_accuracy", "val_accuracy", "test_accuracy", "epochs", "updates", "updates_to_99"]
RESULT += ["reached", "seconds"]  # what a sweep's summary keeps of result.json


def settings(args):
    """The options that fix a run's numbers, as a dictionary: --epochs or --updates, whichever the protocol uses."""
    elsewhere = {"resume", "restart", "device", "threads", "out_dir"}
    elsewhere.add("epochs" if args.protocol == "fresh" else "updates")
    return {name: value for name, value in vars(args).items() if name not in elsewhere}


def finished(folder, config):
    """What result.json holds if the run in `folder` came to its end with these very options, else None."""
    try:
        result = utils.load_json(folder / "result.json", "config", "provenance", *RESULT)
    except utils.InputError:
        return None
    return result if result["config"] == config else None


def table(history):
    """The history as a tensor, float64 (epochs, columns), with the columns HISTORY."""
    rows = [[entry[name] for name in HISTORY] for entry in history]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(HISTORY))


def restore(path, config, epochs, model, optimizer, shuffle):
    """Put the state of the checkpoint into model, optimizer (one over one vector) and random generators.

    Returns its history, the seconds spent and the digest of the code that trained it.
    Raises InputError if the file is missing or damaged, holds something else, or was trained with other options than
    `config` has; only --epochs or --updates may be larger, `epochs` in all.
    """
    checkpoint = utils.load_checkpoint(path, KIND, next(model.parameters()).device)
    (vector,) = optimizer.param_groups[0]["params"]
    try:
        rows, saved = checkpoint["history"].tolist(), checkpoint["config"]
        history = [dict(zip(HISTORY, (int(row[0]), int(row[1]), *row[2:]), strict=True)) for row in rows]
        larger = ("epochs", "updates") if epochs >= len(history) else ()
        differing = [name for name, value in config.items() if saved[name] != value and name not in larger]
        if not differing:
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(optimizer.state_dict() | {"state": checkpoint["optimizer"]["state"]})
            state = optimizer.state.get(vector, {})
            if bool(state) != bool(history) or any(part.numel() not in (1, len(vector)) for part in state.values()):
                raise ValueError("the optimizer's state is that of another run")
            torch.set_rng_state(checkpoint["rng"]["torch"].cpu())
            shuffle.set_state(checkpoint["rng"]["shuffle"].cpu())
            return history, float(checkpoint["seconds"]), checkpoint["code"]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise utils.InputError(f"{path}: its contents are not those of such a run ({reason})") from None
    told = ", ".join(f"--{name.replace('_', '-')} is {config[name]} but was {saved[name]}" for name in differing)
    raise utils.InputError(f"{path}: the options contradict this checkpoint of {len(history)} epochs: {told}")
