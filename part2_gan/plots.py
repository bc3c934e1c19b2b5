"""What several scripts draw: losses, grids of samples, and the line at the foot that says what a figure shows."""

import math
import sys

import torch
import torch.nn.functional as F

import utils
from gan import DISCRIMINATORS, PIXELS

COLOURS = {"d_loss": "#0072B2", "g_loss": "#D55E00"}  # as in report.mplstyle, told apart with any colour vision
LOSSES = {"d_loss": "discriminator", "g_loss": "generator"}
BAND = 0.95  # the share of single batches within a band
WINDOWS = 200  # of steps, along the horizontal axis


def draw_images(ax, images, columns):
    """Show images (n, 784), uint8 or floats in [-1, 1], as white ink on black, `columns` in a row."""
    images = images.float() / 255 if images.dtype == torch.uint8 else (images.float() + 1) / 2
    images = images.reshape(-1, 28, 28).cpu()
    if len(images) > 1:
        images = tile(images, min(columns, len(images)))
    ax.imshow(images.squeeze(0).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()


def tile(images, columns):
    """Images (n, 28, 28) in [0, 1] as one, `columns` in a row, with white lines around each."""
    framed = F.pad(images, (1, 0, 1, 0, 0, -len(images) % columns), value=1)  # lines to the left and above
    grid = framed.reshape(-1, columns, 29, 29).transpose(1, 2).flatten(2).flatten(0, 1)
    return F.pad(grid, (0, 1, 0, 1), value=1)


def to_bytes(images):
    """Images in [-1, 1] as uint8, 0 to 255, on the CPU."""
    return ((images + 1) * 127.5).round().to(torch.uint8).cpu()


def draw_samples(grids, size):
    """A row of grids of samples, {title: images (n, 784)}, each `size` inches wide. Returns the figure."""
    # Titles and foot need 0.9 inches: with less the titles are cut off.
    figure, axes = utils.plt.subplots(1, len(grids), figsize=(max(size * len(grids), 4), size + 0.9), squeeze=False)
    for ax, (title, images) in zip(axes[0], grids.items(), strict=True):
        draw_images(ax, images, columns=5)
        ax.set_title(title)
    return figure


def loss_bands(histories, column):
    """One loss over the steps, in WINDOWS windows of equal length: (middles, low, median, high), each (windows,).

    `histories` are those of one or more runs, (steps, columns) each, `column` is an index into the columns. Between
    `low` and `high` lie BAND of all single batches of a window, of all runs.
    """
    steps = min(len(history) for history in histories)
    window = max(1, steps // WINDOWS)
    count = steps // window
    values = torch.cat([history[: count * window, column].reshape(count, window) for history in histories], 1)
    low, median, high = values.quantile(torch.tensor([(1 - BAND) / 2, 0.5, (1 + BAND) / 2]), 1)
    return (torch.arange(count) + 0.5) * window, low, median, high


def single_batches(values, points=5000):
    """The line through values (steps,) as x and y, thinned to the extremes of windows where the eye sees no more."""
    window = max(1, 2 * len(values) // points)
    if window == 1:
        return torch.arange(len(values)), values
    count = len(values) // window
    parts = values[: count * window].view(count, window)
    return (torch.arange(2 * count) + 0.5) * window / 2, torch.stack([parts.amin(1), parts.amax(1)], 1).flatten()


def plot_losses(ax, histories):
    """Both losses over the steps, of one or more runs (steps, columns): single batches of the first run as a thin line,
    the band and the median of the single batches of all runs. log 2 is marked."""
    for column, (name, label) in enumerate(LOSSES.items()):
        steps, extremes = single_batches(histories[0][:, column])
        middles, low, median, high = (values.numpy() for values in loss_bands(histories, column))
        ax.fill_between(middles, low, high, color=COLOURS[name], alpha=0.25, lw=0)
        ax.plot(steps, extremes, color=COLOURS[name], lw=0.3, alpha=0.35, rasterized=True)
        ax.plot(middles, median, color=COLOURS[name], label=label)
    ax.axhline(math.log(2), color="0.3", lw=1, ls="--", label="log 2")
    room = 1.12 * ax.dataLim.y1  # for a legend at the top
    ax.set(xlabel="training step", ylabel="loss (nats)", xlim=(0, len(histories[0])), ylim=(0, room))
    ax.xaxis.set_major_locator(utils.plt.MaxNLocator(5))
    ax.xaxis.set_major_formatter("{x:,.0f}")


def describe(config, seeds=None):
    """One line that says how a run was trained, from its config; `seeds` says which, where it is several runs."""
    widths = "-".join(map(str, (PIXELS, *DISCRIMINATORS[config["arch"]]["widths"], 1)))
    return (
        f"{describe_digits(config)}; {config['arch']} discriminator {widths}, dropout {config['dropout']:g}; "
        f"{describe_recipe(config)}, {config['loss']} loss; batch {config['batch_size']}, Adam lr {config['lr']:g}, "
        f"beta1 {config['beta1']:g}; {config['epochs']} epochs; {seeds or 'seed ' + str(config['seed'])}"
    )


def describe_digits(config):
    """The data set as part of such a line, with the number of digits where --limit leaves some out."""
    limit = config.get("limit")
    return utils.TITLES[config["dataset"]] + (f", the first {limit:,} images" if limit else "")


def describe_recipe(config):
    """What the recipes differ in beside the discriminator, as part of such a line; of older configs what they have."""
    told = f"{config.get('generator', 'written')} generator, BatchNorm eps {config['bn_eps']:g}"
    told += f", {config.get('scheme', 'alternating')} updates"
    usual = {"label_smoothing": 0, "gradient_penalty": 0, "ema": 0, "decay_from": 1}
    extra = {name: config[name] for name, value in usual.items() if config.get(name, value) != value}
    return told + "".join(f", {name.replace('_', ' ')} {value:g}" for name, value in extra.items())


def draw_run(folder, config, history, samples):
    """Bring samples.png and losses.png in a run's folder up to date.

    history (steps, columns) and samples {epoch: (25, 784) uint8} are those up to now. Training does not depend on
    pictures: if they fail, one line on stderr says why.
    """
    try:
        if samples:
            epochs = list(samples)
            places = torch.linspace(0, len(epochs) - 1, min(5, len(epochs))).round().int().tolist()
            figure = draw_samples({f"epoch {epochs[place]}": samples[epochs[place]] for place in places}, size=2.2)
            utils.save_figure(figure, folder / "samples.png", describe(config), config["dataset"])
        figure, ax = utils.plt.subplots(figsize=(8, 4.5))
        plot_losses(ax, [history])
        ax.legend(loc="upper center", ncols=3)
        utils.save_figure(figure, folder / "losses.png", describe(config), config["dataset"])
    except Exception as error:
        utils.plt.close("all")
        print(f"{folder}: its pictures cannot be drawn ({type(error).__name__}: {error})", file=sys.stderr)
