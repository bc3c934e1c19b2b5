"""The recurrent networks that can be trained: a line of CELLS names one, with its label and its colour in figures.

A cell is a module of equations such as lstm.py and, optionally, a fast form such as fast_lstm.py, the same function
with its backward pass written by hand. `pick` compares the two at the start of a run; where they differ, after an edit
of an equation, say, the equations train. To add a cell, write its equations and add a line with None as `fast`.
"""

import inspect
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

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


def sources():
    """The files of all cells."""
    return {Path(inspect.getfile(kind)) for cell in CELLS.values() for kind in (cell.equations, cell.fast) if kind}


def pick(name, implementation="auto", hidden_size=128):
    """The class that trains, and a line that says why it is the equations' where there is a fast form, else None."""
    cell = CELLS[name]
    if implementation == "equations" or cell.fast is None:
        return cell.equations, None
    if reason := difference(cell, hidden_size):
        module = Path(inspect.getfile(cell.equations)).name
        return cell.equations, f"{reason}: training by the equations of {module}, which takes longer"
    return cell.fast, None


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
