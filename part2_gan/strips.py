"""Strips of images along lines in the latent space: what interpolate.py and arithmetic.py, figures 6 to 8, share.

A strip is a dictionary: "images" (steps, 784) in [-1, 1], the lists "digits" and "confidences" of what the classifier
reads in them, and "shown", {name: image (784,)}, what stands at its left.
"""

import torch
from matplotlib.figure import Figure

import files
import latents
import plots
import utils
from gan import sample

TRIED = 200  # strips, at most, among which one is picked


def add_options(parser):
    """Add the options of the scripts that draw strips."""
    add, count = parser.add_argument, utils.number(int, low=1, high=10)
    add("--examples", type=count, default=3, help="strips of a kind, each from the seed's next latents")
    add("--steps", type=utils.number(int, low=3, high=50), default=9, help="images in a strip")
    add("--confidence", type=utils.number(float, low=0, high=1), default=0.999, help="of a latent's classification")
    add("--dataset", choices=utils.TITLES, default="mnist", help="the digits that the networks were trained on")
    latents.add_network_options(parser)


def find_latents(generator, classifier, digits, args):
    """As many latents of each of `digits`, at most TRIED, in the order of the seed: {digit: z (n, 100)}."""
    wanted = {"count": TRIED, "least": 2 * args.examples, "confidence": args.confidence}
    z = latents.find_latents(generator, classifier, digits, args.seed, **wanted)
    return {digit: z[digit][: min(len(z[other]) for other in digits)] for digit in digits}


def make(generator, classifier, starts, ends, steps, **shown):
    """The strips along the straight lines from latents (n, 100) to latents (n, 100); `shown` are latents as well."""
    alpha = torch.linspace(0, 1, steps)
    images = sample(generator, latents.line(starts, ends, alpha).flatten(0, 1))
    digits, confidences = (column.reshape(-1, steps).tolist() for column in latents.classify(classifier, images))
    shown = {name: sample(generator, z) for name, z in shown.items()}
    return [
        {
            "digits": digits[k],
            "confidences": [round(value, 4) for value in confidences[k]],
            "images": part,
            "shown": {name: others[k] for name, others in shown.items()},
        }
        for k, part in enumerate(images.split(steps))
    ]


def clear(strip):
    """The digits of a strip, in order; None where the classifier's confidence is below .9."""
    values = zip(strip["digits"], strip["confidences"], strict=True)
    return [digit if confidence >= latents.CLEAR else None for digit, confidence in values]


def choose(title, strips, shows, rule, examples):
    """What a figure has of many strips: the first one of which shows(strip) is true, and the first `examples` of all.

    `rule` says in words what these strips do. Returns {"title", "rule", "tried": how many strips, "fitting": of how
    many it is true, "picked": a strip with its "number", from 1, or None, "by_seed": [strip]}.
    """
    fitting = [number for number, strip in enumerate(strips, 1) if shows(strip)]
    picked = strips[fitting[0] - 1] | {"number": fitting[0]} if fitting else None
    group = {"title": title, "rule": rule, "tried": len(strips), "fitting": len(fitting)}
    return group | {"picked": picked, "by_seed": strips[:examples]}


def draw(groups, path, foot, data):
    """Draw what `choose` returned, a list: a row a strip, below every image its class."""
    blocks = []  # (title, strips)
    for group in groups:
        head = group["title"] + "\n"
        if group["picked"]:
            number = f"number {group['picked']['number']} of {group['tried']} tried"
            picked = f"Picked, as the author did: {number}, the first of {group['fitting']} that {group['rule']}"
            blocks.append((head + picked, [group["picked"]]))
            head = ""
        blocks.append((f"{head}Not picked: the first {len(group['by_seed'])} drawn", group["by_seed"]))

    first = blocks[0][1][0]
    left = [*first["shown"], ""] if first["shown"] else []  # with a gap
    widths = [0.75 if name else 0.25 for name in left] + [1] * len(first["digits"])
    heights = [1.16 * len(strips) + 0.24 * len(title.splitlines()) for title, strips in blocks]
    figure = Figure(figsize=(max(8, sum(widths)), sum(heights) + 0.4))
    parts = figure.subfigures(len(blocks), height_ratios=heights, squeeze=False).flat
    for part, (title, strips) in zip(parts, blocks, strict=True):
        part.suptitle(title, x=0.005, ha="left", fontsize=12)
        grid = part.subplots(len(strips), len(widths), squeeze=False, width_ratios=widths)
        for axes, strip in zip(grid, strips, strict=True):
            marks = ["?" if digit is None else "" for digit in clear(strip)]
            labels = left + [f"{digit}{mark}" for digit, mark in zip(strip["digits"], marks, strict=True)]
            images = [strip["shown"].get(name) for name in left] + list(strip["images"])
            for ax, label, image in zip(axes, labels, images, strict=True):
                ax.set_axis_off()
                if image is not None:
                    plots.draw_images(ax, image[None], columns=1)
                    colour = "0.5" if "?" in label else "black"
                    ax.text(0.5, -0.03, label, transform=ax.transAxes, ha="center", va="top", color=colour)
    utils.save_figure(figure, path, foot, data)


def save(args, name, figures, options, source, **more):
    """Draw `figures`, {file name: {key: what `choose` returned}}, and write NAME.json, the class of every image.

    `options` are those of the generator, `source` says in words where the images come from.
    """

    def without_images(strip):
        return {key: strip[key] for key in ("number", "digits", "confidences") if key in strip}

    args.out_dir.mkdir(parents=True, exist_ok=True)
    result = {"strips": {}} | more
    for file, groups in figures.items():
        path = args.figures_dir / f"{file}.png"
        foot = f"Below each image what the classifier reads; ?: with a confidence below {latents.CLEAR:g}."
        for key, group in groups.items():
            picked, by_seed = group["picked"], group["by_seed"]
            if not picked:
                foot += f" {group['title']}: 0 of {group['tried']} tried {group['rule']}."
            result["strips"][key] = group | {
                "picked": picked and without_images(picked),
                "by_seed": [without_images(strip) for strip in by_seed],
            }
            print(f"{key}:", *(" ".join(map(str, strip["digits"])) for strip in by_seed), sep="\n    ")
        with utils.style():
            draw(list(groups.values()), path, f"{foot} {source}; latents from seed {args.seed}.", args.dataset)
    result |= {"seed": args.seed, "confidence": args.confidence, "generator": options}
    files.save(args.out_dir / f"{name}.json", result | utils.provenance(utils.pick_device(args)))
