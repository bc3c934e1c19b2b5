"""What a checkpoint of train.py brings back, and what is checked before the next one replaces it."""

import torch

import files


def random_modules(device):
    """torch's random generators that a run on `device` draws from, as modules with get_rng_state and set_rng_state."""
    return [torch.random] + [getattr(torch, device.type)] * (device.type != "cpu")


def restore(path, wanted, parts, code, device):
    """Put a checkpoint back into the networks and optimizers `parts` and the random generators; returns its state.

    Raises InputError if it does not fit, or is of other options than `wanted`; more epochs are no other option.
    """
    saved = files.load(path, kind="gan")  # on the CPU, where history and samples stay
    with files.fitting(path):
        state = {name: saved[name] for name in ("epoch", "seconds", "history", "samples", "quality", "code")}
        for name, value in wanted.items():
            if saved["options"][name] != value and (name != "epochs" or value < state["epoch"]):
                text = f"{name} {saved['options'][name]}, not {value}; --restart replaces that run"
                raise files.InputError(f"{path}: the run there has {text}")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        for module, random_state in zip(random_modules(device), saved["rng"], strict=False):
            module.set_rng_state(random_state)
    if code not in state["code"]:
        state["code"] += f"+{code}"
        print(f"{path}: the code has changed; the remaining epochs are trained by the present code")
    return state


def check_finite(rows, columns, networks, where):
    """Raise FloatingPointError if an epoch's history `rows`, or a weight after its last update, is not finite."""
    bad = (~rows.isfinite().all(1)).nonzero()
    weights = all(tensor.isfinite().all() for network in networks for tensor in network.state_dict().values())
    if len(bad) or not weights:
        step = bad[0].item() if len(bad) else len(rows) - 1
        values = ", ".join(f"{n} {v:.4g}" for n, v in zip(columns, rows[step].tolist(), strict=True))
        raise FloatingPointError(f"{where}, step {step + 1}: not finite ({values}); try a smaller --lr")
