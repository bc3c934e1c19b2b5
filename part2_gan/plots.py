"""What several scripts draw: grids of images, the losses of runs, the pictures in a run's folder."""

import math
import sys

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

import dataset
import utils

COLOURS = {"d_loss": "#0072B2", "g_loss": "#D55E00"}  # as in report.mplstyle, told apart with any colour vision
LINES = {"d_loss": "-", "g_loss": (0, (3, 1.2))}  # G dashed: told apart in grey print as well
LOSSES = {"d_loss": "loss of D", "g_loss": "loss of G"}
BAND = 0.95  # the share of a run's single batches within its band
WINDOWS = 200  # of steps, along the horizontal axis


def draw_images(ax, images, columns):
    """Show images (n, 784), uint8 or floats in [-1, 1], as white ink on black, `columns` in a row."""
    images = images.float() / 255 if images.dtype == torch.uint8 else (images.float() + 1) / 2
    grid = images.reshape(-1, 28, 28).cpu()
    if len(grid) > 1:  # white lines around each
        columns = min(columns, len(grid))
        grid = F.pad(grid, (1, 0, 1, 0, 0, -len(grid) % columns), value=1)
        grid = grid.reshape(-1, columns, 29, 29).transpose(1, 2).flatten(2).flatten(0, 1)
        grid = F.pad(grid, (0, 1, 0, 1), value=1)[None]
    ax.imshow(grid[0].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()


def draw_grids(axes, grids):
    """Grids of samples {title: images as dataset.pack packs them}, an axis each, five images in a row."""
    for ax, (title, samples) in zip(axes, grids.items(), strict=True):
        draw_images(ax, dataset.unpack(samples), columns=5)
        ax.set_title(title)


def band(values):
    """What a row keeps of a loss (steps,): {"low", "median", "high"}, lists of at most WINDOWS numbers.

    Each is of a window of equal length; between low and high lie BAND of its steps.
    """
    limits = torch.tensor([(1 - BAND) / 2, 0.5, (1 + BAND) / 2])
    windows = values.float().tensor_split(min(WINDOWS, len(values)))
    columns = torch.stack([window.quantile(limits) for window in windows], 1).tolist()
    names = ("low", "median", "high")
    return {name: [round(value, 4) for value in column] for name, column in zip(names, columns, strict=True)}


def draw_median(ax, rows, name, filled=True, **line):
    """One column of runs of equal length over the epochs: the median of the runs as a line, their spread light.

    Of a loss that is from the lowest low to the highest high of the rows' bands; of other columns, and of rows from
    before there were bands, it is that of the means per epoch.
    """
    parts = [[row["by_epoch"][name] for row in rows]] * 3
    if all(name in row.get("bands", ()) for row in rows):
        parts = [[row["bands"][name][part] for row in rows] for part in ("low", "median", "high")]
    low, middle, high = map(torch.tensor, parts)
    windows, epochs = middle.shape[1], len(rows[0]["by_epoch"][name])
    x = (torch.arange(windows) + 0.5) * epochs / windows
    (drawn,) = ax.plot(x, middle.quantile(0.5, dim=0), **{"zorder": 3} | line)
    if filled:
        ax.fill_between(x, low.amin(0), high.amax(0), color=drawn.get_color(), alpha=0.18, lw=0)


def draw_losses(ax, rows, filled=True, **line):
    """Both losses of runs over the epochs, as draw_median draws them, and log 2."""
    for name, label in LOSSES.items():
        look = {"color": COLOURS[name], "ls": LINES[name], "label": label}
        draw_median(ax, rows, name, filled, **look | line)
    if filled:
        ax.axhline(math.log(2), color="0.3", lw=1, ls=":", label="log 2: loss of a guessing D")
        ax.set(xlabel="epoch", ylabel="loss (nats)", xlim=(0, len(rows[0]["by_epoch"]["d_loss"])))
        ax.xaxis.get_major_locator().set_params(integer=True)


def describe_digits(options):
    """The data set, for a figure's foot, with the number of digits where --limit leaves some out."""
    limit = options["limit"]
    return utils.TITLES[options["dataset"]] + (f", the first {limit:,} images" if limit else "")


def draw_run(folder, row):
    """Bring samples.png and losses.png in a run's folder up to date; if that fails, one line says why."""
    try:
        epochs, foot = list(row["samples"]), f"{utils.TITLES[row['dataset']]}; {folder.name}"
        places = torch.linspace(0, len(epochs) - 1, min(5, len(epochs))).round().int().tolist()
        grids = {f"epoch {epochs[i]}": row["samples"][epochs[i]] for i in places}
        with utils.style():
            figure = Figure(figsize=(max(4, 2.2 * len(grids)), 3))
            draw_grids(figure.subplots(1, len(grids), squeeze=False)[0], grids)
            utils.save_figure(figure, folder / "samples.png", foot, row["dataset"], quiet=True)
            figure = Figure(figsize=(8, 4.5))
            ax = figure.subplots()
            draw_losses(ax, [row])
            ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
            ax.legend(loc="upper center", ncols=3)
            utils.save_figure(figure, folder / "losses.png", foot, row["dataset"], quiet=True)
    except Exception as error:  # training does not depend on pictures
        print(f"{folder}: its pictures cannot be drawn ({type(error).__name__}: {error})", file=sys.stderr)
