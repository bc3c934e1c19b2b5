"""A stand-in for MNIST that needs no download: digits in the twenty fonts that matplotlib ships.

Each digit is varied in slant, size, place, stroke weight and by an elastic field; the same call gives the same digits.
They are no handwriting, and whatever is made from them says so.
"""

import functools
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

STYLES = {
    "DejaVuSans": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic"),
    "STIXGeneral": ("", "Bol", "Italic", "BolIta"),
}
FONTS = [family + style for family, styles in STYLES.items() for style in styles]
FONTS += ["cmr10", "cmb10", "cmss10", "cmtt10"]
GLYPH_SIZE = 56  # glyphs are drawn at twice the size of the images, so that warping them does not blur them
CHUNK = 10_000  # digits whose random numbers are drawn at a time
IMAGE = 28


@functools.cache
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


def digits(count, train=True):
    """The first `count` stand-in digits: images (count, 784) uint8 and labels (count,) int64; the same ones each time.

    Training and test digits come from two random streams.
    """
    glyphs = draw_glyphs()
    # Stroke weights: thinned by one pixel of 56 all round, as drawn, thickened by two.
    weights = torch.stack([-F.max_pool2d(-glyphs, 3, 1, 1), glyphs, F.max_pool2d(glyphs, 5, 1, 2)])
    source = torch.Generator().manual_seed(20_000 + train)
    images, labels = [], []
    for start in range(0, count, CHUNK):  # drawn whole, so that a shorter set is the beginning of a longer one
        label = torch.randint(10, (CHUNK,), generator=source)[: count - start]
        font = torch.randint(len(FONTS), (CHUNK,), generator=source)[: count - start]
        images.append(warp(weights[:, font, label].unsqueeze(2), source))
        labels.append(label)
    return torch.cat(images), torch.cat(labels)


def warp(weights, source):
    """Glyphs in three stroke weights (3, n, 1, 56, 56) in [0, 1] as images (n, 784) uint8, varied by `source`."""
    thin, normal, thick = weights
    count = len(normal)

    def uniform(low, high, *shape):
        return torch.rand(CHUNK, *shape, generator=source)[:count] * (high - low) + low

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
