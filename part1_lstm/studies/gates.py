"""What the gates of a trained LSTM do while it reads a palindrome. Not a script: gradients.py measures and draws it.

By equation (5), c_T holds the share f_2 (.) ... (.) f_T of c_1, unit by unit: as much as the forget gates have let
through. (The first digit may survive without it, if it is handed from unit to unit by way of h.)
"""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from utils import save_figure

ORDER = ["input gate", "forget gate", "output gate"]


@torch.no_grad()
def gate_values(model, digits):
    """The gates of lstm.LSTM at every step, equations (2)-(4): digits int64 (rows, time) -> i, f, o in (0, 1).

    Each (rows, time, units). From the states that the model computes: a gate depends on x_t and h_(t-1) alone.
    """
    h = model.states(digits)[0]
    x, before = F.one_hot(digits, model.input_size).to(h.dtype), F.pad(h[:, :-1], (0, 0, 1, 0))  # h_0 = 0
    i = torch.sigmoid(model.W_ix(x) + model.W_ih(before))
    f = torch.sigmoid(model.W_fx(x) + model.W_fh(before))
    o = torch.sigmoid(model.W_ox(x) + model.W_oh(before))
    return i, f, o


def kept_of_first(f):
    """The share of c_1 in c_t: forget gates (rows, time, units) -> f_2 (.) ... (.) f_t, 1 at the first step."""
    return torch.cat([torch.ones_like(f[:, :1]), f[:, 1:]], dim=1).cumprod(dim=1)


def survival(f):
    """How much of c_1 is left at the end, from the forget gates (rows, time, units): a dictionary of numbers.

    Units that keep more than half of it, and the largest share of a unit, both as means over the rows; the first of
    them for the first row alone; the mean forget gate from the second step on.
    """
    left = kept_of_first(f)[:, -1]
    counts = (left > 0.5).sum(1)
    return {
        "units": f.shape[2],
        "units_keeping_half": counts.double().mean().item(),
        "units_keeping_half_in_first_row": counts[0].item(),
        "largest_share": left.amax(1).mean().item(),
        "mean_forget_gate": f[:, 1:].mean().item(),
    }


def plot_gates(values, title, path, source):
    """Write one palindrome's gates over t, and what is left of c_1 in each unit, to `path`.

    values: i, f, o as `gate_values` returns them, with one row each.
    """
    length = values[0].shape[1]
    t = range(1, length + 1)
    figure, grid = plt.subplot_mosaic([[name, "left"] for name in ORDER], figsize=(9, 5))
    for name, gate in zip(ORDER, values, strict=True):
        low, high = gate[0].quantile(gate.new_tensor([0.1, 0.9]), dim=1)
        grid[name].fill_between(
            t, low.numpy(), high.numpy(), color="0.5", alpha=0.3, linewidth=0, label="10 to 90 % of the units"
        )
        grid[name].plot(t, gate[0].mean(1), color="#0072B2", label="mean over the units")
        grid[name].set(ylabel=f"{name} {name[0]}$_t$", ylim=(0, 1), xlim=(0.5, length + 0.5))
        grid[name].tick_params(labelbottom=name == ORDER[-1])
    grid[ORDER[-1]].set_xlabel("step t (digits read)")
    grid[ORDER[0]].legend(fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    kept = kept_of_first(values[1])[0].t()
    kept = kept[kept.mean(1).argsort(descending=True)].numpy()
    extent = (0.5, length + 0.5, len(kept) + 0.5, 0.5)
    image = grid["left"].imshow(kept, aspect="auto", cmap="cividis", vmin=0, vmax=1, extent=extent)
    grid["left"].grid(False)
    grid["left"].set(xlabel="step t (digits read)", ylabel="unit, those that keep most on top")
    count = (kept[:, -1] > 0.5).sum().item()
    grid["left"].set_title(f"share of c$_1$ in c$_t$; above half at the end: {count} of {len(kept)} units", fontsize=10)
    figure.colorbar(image, ax=grid["left"])
    figure.suptitle(title)
    save_figure(figure, path, source)
