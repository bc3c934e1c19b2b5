"""One wide picture of both parts for the top of the README, from what lies in results/.

    python at_a_glance.py        # a second; compare.json of part 1, study.json and generator.pt of part 2

Left every run of figure 1, in the middle the losses of figures 2 and 4 by epoch, right samples of figure 5's generator.
Part 1 is a file of numbers here, not code; without it, as where this folder was copied out alone, the left is missing.
"""

import json
import math
import statistics
from pathlib import Path

import torch

import utils
from gan import LATENT_DIM, sample
from train import load_generator

CELLS = {"lstm": ("LSTM", "C0"), "rnn": ("vanilla RNN", "C1")}
RUNS = {"initial": "C1", "balanced": "C0"}


def draw_accuracy(ax, every):
    """Every run of part 1's compare.json as a dot, and the medians as lines."""
    for aside, (cell, (label, colour)) in zip((-0.2, 0.2), CELLS.items(), strict=True):
        runs = [run for run in every if run["cell"] == cell]
        lengths = sorted({run["input_length"] for run in runs})
        medians = [statistics.median(r["accuracy"] for r in runs if r["input_length"] == n) for n in lengths]
        ax.scatter([r["input_length"] + aside for r in runs], [r["accuracy"] for r in runs], s=26, color=colour)
        ax.plot(lengths, medians, color=colour, label=label)
    ax.axhline(0.1, color="0.4", lw=1, ls=":", label="guessing")
    ax.set(xlabel="digits read", ylabel="accuracy", ylim=(0, 1.05), title="Name the digit read first")
    ax.legend(loc="lower left")


def draw_losses(ax, runs):
    """The losses of D (dashed) and G of both discriminators over the epochs."""
    for name, colour in RUNS.items():
        for style, network in ("-", "G"), ("--", "D"):
            losses = runs[name]["by_epoch"][f"{network.lower()}_loss"]
            ax.plot(range(1, len(losses) + 1), losses, color=colour, ls=style, label=f"{network}, {name}")
    ax.axhline(math.log(2), color="0.4", lw=1, ls=":", label="log 2")
    ax.set(xlabel="epoch", ylabel="loss (nats)", ylim=(0, None), xscale="log", title="G against two discriminators")
    utils.label_plainly(ax.xaxis)
    ax.legend(loc="upper left")


def read(path, script):
    """The part `runs` of a JSON file that `script` writes."""
    try:
        return json.loads(path.read_text())["runs"]
    except (OSError, ValueError, KeyError):
        raise utils.InputError(f"{path} is missing or damaged; {script} writes it") from None


def main():
    parser = utils.Parser("One wide picture of both parts, from what lies in results/.")
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="whose results to read")
    parser.add_argument("--compare", type=Path, help="compare.json of part 1 (default: the one in results/, if any)")
    utils.add_common_options(parser)
    args = parser.parse_args()
    utils.choose_folders(args)
    device = utils.pick_device(args)
    compare = utils.RESULTS.parent / "part1_lstm" / "compare.json"
    compare = args.compare or (compare if compare.exists() else None)
    palindromes = read(compare, "part1_lstm/compare.py") if compare else []
    gans = read(args.out_dir / "study.json", "study.py")
    for name in RUNS:
        if name not in gans:
            raise utils.InputError(f"{args.out_dir / 'study.json'} has no run {name}: python study.py trains it")
    generator, config = load_generator(args.out_dir / "generator.pt", device)
    z = torch.randn(25, LATENT_DIM, generator=torch.Generator().manual_seed(args.seed)).to(device)

    widths = [1.3, 1.3, 1] if palindromes else [1.3, 1]
    figure, axes = utils.plt.subplots(1, len(widths), figsize=(4 * sum(widths), 4.4), width_ratios=widths)
    first = ", ".join(f"{name} D {gans[name]['config']['scheme']}" for name in RUNS)
    source = f"at_a_glance.py: {utils.TITLES[args.dataset]}, one seed, {first}; "
    source += f"25 samples, latents from seed {args.seed}"
    if palindromes:
        draw_accuracy(axes[0], palindromes)
        source += f"; palindromes: {len({run['seed'] for run in palindromes})} seeds, a dot a run, lines are medians"
    draw_losses(axes[-2], gans)
    utils.draw_images(axes[-1], sample(generator, z), columns=5)
    axes[-1].set_title(f"Samples after {config['epochs']} epochs")
    utils.make_folder(args.figures_dir)
    utils.save_figure(figure, args.figures_dir / "at_a_glance.png", source, args.dataset)
    print(f"figure: {args.figures_dir / 'at_a_glance.png'}")


if __name__ == "__main__":
    utils.run(main)
