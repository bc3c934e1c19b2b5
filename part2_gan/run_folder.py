"""The folder of one run: its name, its checkpoint with everything that a run continues from, and its result.

train.py writes these files; its docstring lists them.
"""

import argparse
import hashlib
from pathlib import Path

import torch

import plots
import utils

ACCELERATORS = {"cuda": torch.cuda, "mps": torch.mps}  # with random states of their own


def code_digest():
    """Twelve characters that change with the code that determines a run's numbers: networks, training and data set."""
    files = [utils.HERE / name for name in ("gan.py", "train.py", "dataset.py")]
    text = b"".join(path.read_bytes().replace(b"\r\n", b"\n") for path in files)
    return hashlib.sha256(text).hexdigest()[:12]


CODE = code_digest()  # of what this process trains by, whatever is edited meanwhile


def folder_name(text):
    """An argparse type: a name for a folder, not a path."""
    if text in ("", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a folder")
    return text


def check_config(folder, found, wanted, but=()):
    """Raise utils.InputError if the run in `folder`, of config `found`, lacks a value of the config `wanted`.

    Entries named in `but` may differ.
    """
    found = found if isinstance(found, dict) else {}
    for name in wanted.keys() - {*but}:
        if found.get(name) != wanted[name]:
            raise utils.InputError(
                f"{folder}: the run there has {name} {found.get(name)}, not {wanted[name]}; give another --out-dir, or "
                "replace that run by train.py --restart"
            )


def load(folder, config):
    """The checkpoint of the run in `folder`.

    Raises utils.InputError if there is none, or if it was started with other options than `config` has.
    """
    checkpoint = utils.load_checkpoint(folder / "checkpoint.pt", "gan")
    check_config(folder, checkpoint.get("config"), config)
    return checkpoint


def save(folder, config, parts, state, device):
    """Write checkpoint.pt: networks and optimizers `parts`, the run's `state`, its config and the random states."""
    states = {name: part.state_dict() for name, part in parts.items()}
    data = {"kind": "gan", "config": config, "rng": random_states(device), **state, **states}
    utils.save_checkpoint(folder / "checkpoint.pt", data)


def restore(folder, checkpoint, parts, state, device):
    """Put a checkpoint back into the networks and optimizers `parts`, the run's `state` and the random generators.

    Raises utils.InputError if something is missing or does not fit.
    """
    try:
        for name, value in state.items():
            if type(checkpoint[name]) is not type(value):
                raise TypeError(f"{name} is of type {type(checkpoint[name]).__name__}")
        if checkpoint["history"].shape[1:] != state["history"].shape[1:]:
            raise TypeError(f"history has shape {tuple(checkpoint['history'].shape)}")
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
        set_random_states(checkpoint["rng"], device)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        path = folder / "checkpoint.pt"
        raise utils.InputError(f"{path}: this checkpoint does not fit the run it should resume ({reason})") from None
    state |= {name: checkpoint[name] for name in state}


def random_states(device):
    """The states of torch's random generators that a run on `device` draws from: {"cpu", "device": None on a CPU}."""
    own = ACCELERATORS.get(device.type)
    return {"cpu": torch.get_rng_state(), "device": own and own.get_rng_state()}


def set_random_states(states, device):
    """Set torch's random generators to what random_states returned, on this machine or another, any number of GPUs.

    Under torchrun every process draws the same numbers, so each sets rank 0's states on its own device.
    """
    torch.set_rng_state(states["cpu"].cpu())
    if device.type in ACCELERATORS and states["device"] is not None:
        ACCELERATORS[device.type].set_rng_state(states["device"].cpu())


def check_finite(rows, columns, networks, epoch, folder):
    """Raise FloatingPointError if an epoch's history `rows`, or a parameter after its last update, is not finite.

    To be called before the checkpoint of the epoch before is overwritten.
    """
    advice = f"try a smaller --lr. The last good state, if there is one, is {folder / 'checkpoint.pt'}"
    if len(bad := (~rows.isfinite().all(1)).nonzero()):
        step = bad[0].item()
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(columns, rows[step].tolist(), strict=True))
        raise FloatingPointError(f"epoch {epoch}, step {step + 1}: {values}; {advice}")
    utils.check_finite(f"epoch {epoch}, after its last update; {advice}", *networks)


def finish(folder, config, columns, state, device):
    """Write what a finished run leaves beside its checkpoint, result.json last; returns what that holds."""
    history, samples = state["history"], state["samples"]
    utils.save_checkpoint(folder / "history.pt", {"columns": list(columns), "rows": history})
    utils.save_checkpoint(folder / "samples.pt", {"samples": samples})
    plots.draw_run(folder, config, history, samples)
    last = history[-(len(history) // state["epoch"]) :].mean(0)
    result = {
        "epochs": state["epoch"],
        "steps": len(history),
        "last_epoch": dict(zip(columns, last.tolist(), strict=True)),
        "quality": state["quality"],
        "seconds": state["seconds"],
        "code": CODE,
        "config": config,
        "provenance": utils.provenance(device),
    }
    utils.save_json(folder / "result.json", result)
    return result
