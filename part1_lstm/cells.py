"""The recurrent networks that can be trained: a line of CELLS names one, with its label and its colour in figures.

A cell is a module of equations such as lstm.py and, optionally, a fast form such as fast_lstm.py, the same function
with its backward pass written by hand. `pick` compares the two at the start of a run; where they differ, after an edit
of an equation, say, the equations train. To add a cell, write its equations and add a line with None as `fast`.
"""

import hashlib
import inspect
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

import utils
from fast_lstm import FastLSTM
from fast_rnn import FastRNN
from lstm import LSTM
from rnn import VanillaRNN


class Cell(NamedTuple):
    """A recurrent network: classes with the interface of lstm.LSTM, and how figures show it."""

    equations: type
    fast: type | None
    label: str
    colour: str


# Blue and vermilion can be told apart with every common colour vision.
CELLS = {
    "lstm": Cell(LSTM, FastLSTM, "LSTM", "#0072B2"),
    "rnn": Cell(VanillaRNN, FastRNN, "vanilla RNN", "#D55E00"),
}
IMPLEMENTATIONS = ("auto", "equations", "fast")


def pick(name, implementation="auto", hidden_size=128):
    """What trains: (the class, "fast" or "equations", a line that says why the fast form does not train, else None).

    Raises InputError if `implementation` is "fast" and there is none, or none that equals the equations.
    """
    cell = CELLS[name]
    if implementation == "equations":
        return cell.equations, "equations", None
    module = Path(inspect.getfile(cell.equations)).name
    reason = f"{module} has no fast form" if cell.fast is None else difference(cell, hidden_size)
    if reason is None:
        return cell.fast, "fast", None
    if implementation == "fast":
        raise utils.InputError(f"--implementation fast: {reason}; use --implementation equations")
    line = None if cell.fast is None else f"{reason}: training by the equations of {module}, which takes longer"
    return cell.equations, "equations", line


def difference(cell, hidden_size):
    """How a cell's fast form differs from its equations, in words; None where they agree.

    Compared are the logits of a small batch and the gradients by all parameters, in double precision, to 1e-6.
    """
    hidden_size = min(hidden_size, 128)  # as much memory as a check may take
    digits = 7 * torch.arange(40).reshape(8, 5) % 10

    def computed(model):
        logits = model(digits)
        loss = F.cross_entropy(logits, digits[:, 0])
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        names = [f"the gradient by {name}" for name, _ in model.named_parameters()]
        return {"the logits": logits.detach()} | dict(zip(names, gradients, strict=True))

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model, fast = (kind(hidden_size=hidden_size).double() for kind in (cell.equations, cell.fast))
    wanted = computed(model)
    try:
        fast.load_state_dict(model.state_dict())
        found = computed(fast)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return f"{cell.fast.__name__} fails ({str(error).splitlines()[0]})"
    for what, value in wanted.items():
        if not torch.allclose(found[what], value, rtol=1e-6):
            return f"{cell.fast.__name__} differs in {what}"
    return None


def code_digest(name):
    """Twelve characters that change with the code that determines a run's numbers: cell, data set and training."""
    here = Path(__file__).parent
    files = {here / "cells.py", here / "dataset.py", here / "train.py"}
    files |= {Path(inspect.getfile(kind)) for kind in CELLS[name][:2] if kind}
    text = b"".join(path.read_bytes().replace(b"\r\n", b"\n") for path in sorted(files))
    return hashlib.sha256(text).hexdigest()[:12]
