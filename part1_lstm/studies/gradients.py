"""Does the gradient vanish? (being written: what studies/repetition.py needs)"""

import math

import torch
import torch.nn.functional as F

from cells import CELLS

VANISHED = 1000  # the gradient has vanished if its norm at the last step is over so many times that at the first


def equations_of(model, cell):
    """The network `model` of the cell named `cell` by its equations, on the CPU and in double precision."""
    equations = CELLS[cell].equations(hidden_size=model.hidden_size).double()
    equations.load_state_dict(model.state_dict())
    return equations


def gradient_curves(model, digits, targets):
    """|dL/dz_t| for each state z of the cell, mean over the rows: {"h": (time), "c": (time)}; an RNN has no "c".

    digits int64 (rows, time), targets int64 (rows); L is each row's own cross entropy.
    """
    steps = [states if isinstance(states, tuple) else (states,) for states in model.steps(digits)]
    loss = F.cross_entropy(model.W_ph(steps[-1][0]), targets, reduction="sum")  # no row's gradient holds another's
    curves = {}
    for name, states in zip("hc", zip(*steps, strict=True), strict=False):
        gradients = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
        scale = gradients.abs().amax(2, keepdim=True).clamp(min=1e-300)  # squares would underflow long before
        curves[name] = ((gradients / scale).norm(dim=2) * scale[:, :, 0]).mean(1)
    return curves


def last_over_first(curve):
    """The last of the values (time) over the first, a float; infinite where nothing is left at the first."""
    return (curve[-1] / curve[0]).item() if curve[0] > 0 else math.inf
