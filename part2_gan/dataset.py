"""Handwritten digits (MNIST through torchvision) and a stand-in that needs no download ("typeset").

    python dataset.py            # fetch MNIST into data/ now; exit code 2, in one line, where that is impossible
    python dataset.py --dataset typeset --preview sheet.png     # look at a data set

Both come as one tensor, so that no training loop runs Python per image:

    images (n, 784) uint8, 0 = background, 255 = ink      labels (n,) int64, 0 to 9

The stand-in is drawn from the twenty fonts that matplotlib ships, each digit varied in slant, size, place, stroke
weight and by an elastic field. It is deterministic. It is not handwriting: whatever is made from it says so.
"""

import contextlib
import math
import os
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from torchvision.datasets import MNIST

import utils

FONT_FAMILIES = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral")
FONT_STYLES = {
    "DejaVuSans": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic"),
    "STIXGeneral": ("", "Bol", "Italic", "BolIta"),
}
FONTS = [family + style for family in FONT_FAMILIES for style in FONT_STYLES[family]]
FONTS += ["cmr10", "cmb10", "cmss10", "cmtt10"]
GLYPH_SIZE = 56  # glyphs are drawn at twice the size of the images, so that warping them does not blur them
CHUNK = 10_000
IMAGE = 28


def add_data_options(parser):
    """Add the options that choose the data: --dataset, --data-dir and --limit."""
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="typeset: the stand-in, no download")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("MNIST_DIR", utils.HERE.parent / "data")),
        help="where MNIST lies or is downloaded to (environment variable MNIST_DIR)",
    )
    parser.add_argument(
        "--limit", type=utils.number(int, low=0), default=0, help="use the first so many images only (0: all)"
    )


class Missing(utils.InputError):
    """MNIST is not here and cannot be downloaded."""


def load(args, train=True):
    """The images (n, 784) uint8 and labels (n,) int64 that the options in `args` name.

    Raises utils.InputError, in one line, where MNIST can be neither read nor downloaded (then it is `Missing`).
    """
    count = 60_000 if train else 10_000
    if args.limit:
        count = min(count, args.limit)
    images, labels = typeset(count, train) if args.dataset == "typeset" else mnist(args.data_dir, train)
    return images[:count], labels[:count]


def scale(images):
    """uint8 images, 0 to 255, as floats in [-1, 1], the range of the generator's Tanh."""
    return images.float() / 127.5 - 1


def mnist(data_dir, train=True):
    """MNIST's images (n, 784) and labels (n,) from the torchvision folder `data_dir`, downloaded if they are missing.

    Raises utils.InputError where they can be neither read nor downloaded, and where the files hold something else.
    """
    folders = [data_dir / "MNIST" / "raw", data_dir / "MNIST", data_dir]
    made = [folder for folder in folders if not folder.exists()]
    try:
        try:
            digits = MNIST(data_dir, train=train)
        except RuntimeError as error:
            if "not found" not in str(error):
                raise
            digits = MNIST(data_dir, train=train, download=True)
        images, labels = digits.data, digits.targets
    except Exception as error:  # torchvision raises many kinds
        for folder in made:  # empty ones, which the download has left behind
            with contextlib.suppress(OSError):
                folder.rmdir()
        reason = str(error).strip().split("\n")[0]
        there = any(folders[0].glob("*-ubyte")) if folders[0].is_dir() else False
        trouble = "is damaged" if there else "is not there and cannot be downloaded"
        raise (utils.InputError if there else Missing)(
            f"MNIST in {data_dir} {trouble} ({reason}); "
            "give --data-dir a folder that holds MNIST/raw, or use --dataset typeset"
        ) from None
    if images.shape[1:] != (IMAGE, IMAGE) or labels.shape != images.shape[:1] or labels.max() > 9:
        raise utils.InputError(
            f"{data_dir}: these are not MNIST's digits: images {tuple(images.shape)}, labels {tuple(labels.shape)} "
            f"up to {labels.max()}, where images (n, 28, 28) and labels (n,) up to 9 are needed"
        )
    return images.flatten(1), labels


def draw_glyphs():
    """The digits 0 to 9 in every font as (fonts, 10, 56, 56) floats in [0, 1], centred as MNIST's digits are."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    glyphs = []
    for font in FONTS:
        properties = FontProperties(fname=folder / f"{font}.ttf")
        for digit in range(10):
            path = TextPath((0, 0), str(digit), size=100, prop=properties)
            box = path.get_extents()
            fit = 20 / 28 / max(box.width, box.height)  # MNIST's digits fill a box of 20 in 28 pixels
            middle = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2).scale(fit).translate(0.5, 0.5)
            figure = Figure(figsize=(1, 1), dpi=GLYPH_SIZE, facecolor="black")
            figure.add_artist(PathPatch(middle.transform_path(path), color="white", lw=0))
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            glyphs.append(torch.tensor(np.asarray(canvas.buffer_rgba())[..., 0] / 255, dtype=torch.float32))
    return torch.stack(glyphs).reshape(len(FONTS), 10, GLYPH_SIZE, GLYPH_SIZE)


def typeset(count, train=True):
    """The first `count` stand-in digits: images (count, 784) uint8 and labels (count,) int64; the same ones each time.

    Training and test digits come from two random streams.
    """
    glyphs = draw_glyphs()
    # Stroke weights: thinned by one pixel of 56 all round, as drawn, thickened by two.
    weights = torch.stack([-F.max_pool2d(-glyphs, 3, 1, 1), glyphs, F.max_pool2d(glyphs, 5, 1, 2)])
    source = torch.Generator().manual_seed(20_000 + train)
    images, labels = [], []
    for _ in range(math.ceil(count / CHUNK)):  # whole chunks: a shorter set is the beginning of a longer one
        label = torch.randint(10, (CHUNK,), generator=source)
        font = torch.randint(len(FONTS), (CHUNK,), generator=source)
        images.append(warp(weights[:, font, label].unsqueeze(2), source))
        labels.append(label)
    return torch.cat(images)[:count], torch.cat(labels)[:count]


def warp(weights, source):
    """Glyphs in three stroke weights (3, n, 1, 56, 56) in [0, 1] as images (n, 784) uint8, varied by `source`."""
    thin, normal, thick = weights
    count = len(normal)

    def uniform(low, high, *shape):
        return torch.rand(count, *shape, generator=source) * (high - low) + low

    weight = uniform(-1, 1, 1, 1, 1)
    drawn = normal.lerp(torch.where(weight < 0, thin, thick), weight.abs())

    angle, slant = uniform(-0.25, 0.25), uniform(-0.25, 0.25)
    wide, high = uniform(0.9, 1.35), uniform(0.9, 1.2)  # above 1 the digit gets smaller
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0], affine[:, 0, 1] = wide * angle.cos(), slant - angle.sin()
    affine[:, 1, 0], affine[:, 1, 1] = angle.sin(), high * angle.cos()
    affine[:, :, 2] = uniform(-0.1, 0.1, 2)
    grid = F.affine_grid(affine, (count, 1, IMAGE, IMAGE), align_corners=False)
    bend = F.interpolate(uniform(-0.16, 0.16, 2, 4, 4), (IMAGE, IMAGE), mode="bicubic", align_corners=True)
    images = F.grid_sample(drawn, grid + bend.permute(0, 2, 3, 1), align_corners=False)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).flatten(1)


def main():
    parser = utils.Parser("Fetch MNIST, or look at a data set.")
    add_data_options(parser)
    parser.add_argument("--preview", type=Path, help="write a sheet of the first 100 training digits to this PNG")
    args = parser.parse_args()
    images, labels = load(args)
    print(f"{utils.TITLES[args.dataset]}: {len(images):,} training images, {labels.bincount().tolist()} of each digit")
    if args.preview:
        figure, axes = utils.plt.subplots(figsize=(5, 5))
        utils.draw_images(axes, scale(images[:100]), columns=10)
        utils.save_figure(
            figure, args.preview, f"{utils.TITLES[args.dataset]}: the first 100 training digits", args.dataset
        )


if __name__ == "__main__":
    utils.run(main)
