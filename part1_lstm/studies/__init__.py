"""What goes beyond the report: `python -m studies.NAME` from the folder above. Here: what their figures share."""

from matplotlib.patches import Patch

import plots
from cells import CELLS

# How figures show a cell with an initial bias of its forget gate, None being torch's own: label, colour, hatch, line.
NETWORKS = {
    ("rnn", None): (CELLS["rnn"].label, CELLS["rnn"].colour, "///", ":"),
    ("lstm", None): (CELLS["lstm"].label, CELLS["lstm"].colour, "", "-"),
    ("lstm", 1): ("LSTM, forget gate open (bias 1)", plots.FURTHER_COLOURS[0], "...", "-."),
    ("lstm", 4): ("LSTM, forget gate open (bias 4)", plots.FURTHER_COLOURS[1], "xxx", "--"),
}


def draw_bars(axes, x, rows):
    """Bars side by side around x: of each network in NETWORKS the share of runs that learned, their number on top."""
    learned = {kind: [] for kind in NETWORKS}
    for row in rows:
        learned.get((row["cell"], row["forget_bias"]), []).append(row["updates_to_99"] is not None)
    learned = {kind: values for kind, values in learned.items() if values}
    most = max(map(len, learned.values()), default=0)
    for n, (kind, values) in enumerate(learned.items()):
        _, colour, hatch, _ = NETWORKS[kind]
        place, height = x + 0.22 * (n - (len(learned) - 1) / 2), sum(values) / len(values)
        axes.bar(place, height, 0.2, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        count = f"{sum(values)}" if len(values) == most else f"{sum(values)}\n/{len(values)}"
        axes.text(place, height + 0.02, count, color=colour, ha="center", fontsize=9, weight="bold")
    axes.set(ylim=(0, 1.12), ylabel="runs that learned")
    axes.set_yticks([0, 0.5, 1], ["none", "half", "all"])
    axes.grid(False, axis="x")


def draw_legend(figure, rows):
    """The legend of such bars, above the figure."""
    kinds = {(row["cell"], row["forget_bias"]) for row in rows}
    shown = [look for kind, look in NETWORKS.items() if kind in kinds]
    bars = [Patch(facecolor=colour, hatch=hatch, edgecolor="w", label=label) for label, colour, hatch, _ in shown]
    figure.legend(handles=bars, loc="outside upper center", ncols=4)
