"""How often does the report's arithmetic with digits come out? A thousand latents for each of several generators.

    python -m studies.latent_rates --out-dir mine     # those that dynamics.py has trained there, else the repository's
    python -m studies.latent_rates --draw             # draws the rows that are there
    python -m studies.latent_rates --out-dir mine --count 100 --checkpoints A/checkpoint.pt B/checkpoint.pt

One strip shows one pair of latents, and the latents of one generator say nothing of another: the unit is the generator.
A row has these shares as the CNN sees the images, by which the latents are picked, and as another classifier, `mlp`:

    middle_1    the middle between a 7 and a 6 is a 1; same_norm_1: so is a plain latent of the same length
    roof_7      7 - 1 is a 7; roof_random_7: so is a random direction of that length
    strip_9     figure 8's strip, nine images from 6 + 1.2 (7 - 1) to 6, passes a 9; strip_random_9
    shift_6     7 + mean 6 - mean 7 is a 6; shift_random_6
    sum         the ten classes of 7 - 1 + 6; sum_random; sum_others: the difference of two other digits, not 7 - 1

zero_digit is what the latent 0 shows. A generator that draws too few of 1, 6 and 7 has no rates. Reads checkpoints,
classifier.pt and classifier_mlp.pt; writes latent_rates.json, latent_rates.png and sum_classes.png.
"""

import statistics

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import files
import latents
import runs
import train
import utils
from classifier import FILES, load_classifier, repository
from gan import sample

PANELS = {  # of latent_rates.png: latents, their control, the digit that is counted
    ("middle", "same_norm", 1): "The middle of\n7 and 6 is a 1",
    ("roof", "roof_random", 7): "7 − 1\nis a 7",
    ("strip", "strip_random", 9): "From 6 + 1.2 (7 − 1)\nto 6 there is a 9",
    ("shift", "shift_random", 6): "7 + mean 6 − mean 7\nis a 6",
}
SUMS = ("sum", "sum_random", "sum_others")  # whose classes are all counted
OTHERS = [(a, b) for a in range(10) for b in range(a) if not {a, b} & {1, 9} and (a, b) != (7, 6)]
RATES = {f"{name}_{digit}": (name, digit) for *names, digit in PANELS for name in names}
LOOKS = ({"color": "#0072B2"}, {"facecolor": "white", "edgecolor": "0.35", "hatch": "////", "lw": 0.8})
DOT = {"marker": "o", "ls": "", "ms": 4, "mfc": "white", "mec": "black", "mew": 0.8}
SEED = 30_000
CODE = files.digest(*(utils.HERE / name for name in ("studies/latent_rates.py", "latents.py", "gan.py")))


def plan(args):
    """The generators by their runs' names, {name: options}; args.paths gets {name: checkpoint}.

    They are those given, or the finished runs of dynamics.py with the balanced D, or else the repository's.
    """
    folder, seeds = args.out_dir / "dynamics", range(args.seed, args.seed + args.seeds)
    finished = [path for seed in seeds for path in sorted(folder.glob(f"*_balanced*_seed{seed}/result.json"))]
    trained = [path.with_name("checkpoint.pt") for path in finished] or [repository(args.dataset, "generator.pt")]
    args.paths, chosen = {}, {}
    for path in args.checkpoints or trained:
        _, options = latents.load_generator(path, "cpu")
        if options["dataset"] != args.dataset:
            raise files.InputError(f"{path} was trained on {options['dataset']}: say --dataset {options['dataset']}")
        args.paths[train.name_of(options)] = path
        numbers = {"count": args.count, "tries": args.tries, "confidence": args.confidence}
        chosen[train.name_of(options)] = options | numbers
    return chosen


def make_latents(groups, count):
    """The latents of PANELS and SUMS, {name: (count, 100), strips (count, 9, 100)}, from `groups`, {digit: (n, 100)}.

    Middles, sums and shift have random numbers of their own.
    """

    def draw_digit(digit):
        return latents.draw_from(groups[digit], count, source)

    source = torch.Generator().manual_seed(SEED)
    middle = (draw_digit(7) + draw_digit(6)) / 2
    z = {"middle": middle, "same_norm": latents.random_like(middle, source)}

    source = torch.Generator().manual_seed(SEED + 1)
    roof, six = draw_digit(7) - draw_digit(1), draw_digit(6)
    random = latents.random_like(roof, source)
    pairs = [(a, b) for a, b in OTHERS if len(groups[a]) and len(groups[b])]
    others = torch.cat([draw_digit(a) - draw_digit(b) for a, b in pairs])
    z |= {"roof": roof, "roof_random": random, "sum": six + roof, "sum_random": six + random}
    z["sum_others"] = six + latents.draw_from(others, count, source)
    for name, direction in ("strip", roof), ("strip_random", random):
        z[name] = latents.line(six + 1.2 * direction, six, torch.linspace(0, 1, 9))

    source = torch.Generator().manual_seed(SEED + 2)
    seven, shift = draw_digit(7), groups[6].mean(0) - groups[7].mean(0)
    return z | {"shift": seven + shift, "shift_random": seven + latents.random_like(shift.expand_as(seven), source)}


def rates(z, generator, classifier):
    """What one classifier sees in the images of the latents of make_latents: a row's shares, and G(0)'s class."""
    seen = {}
    for name, part in z.items():
        digits, _ = latents.classify(classifier, sample(generator, part.flatten(0, -2)))
        seen[name] = digits.reshape(len(part), -1)
    shares = {rate: (seen[name] == digit).any(1).float().mean().item() for rate, (name, digit) in RATES.items()}
    shares |= {name: (seen[name].flatten().bincount(minlength=10) / len(seen[name])).tolist() for name in SUMS}
    digit, confidence = latents.classify(classifier, sample(generator, torch.zeros_like(z["roof"][:1])))
    return shares | {"zero_digit": digit.item(), "zero_confidence": confidence.item()}


def measure(args):
    """The row of one generator."""
    args.checkpoint = args.paths[args.folder.name]
    generator, cnn, _, _ = latents.load_networks(args)
    device = next(generator.parameters()).device
    mlp, _ = load_classifier(args.mlp or repository(args.dataset, FILES["mlp"]), device)
    wanted = {"count": args.tries, "least": 20, "confidence": args.confidence, "tries": args.tries}
    try:
        z = make_latents(latents.find_latents(generator, cnn, (1, 6, 7), seed=0, **wanted), args.count)
    except files.InputError as error:
        row = {"without_rates": str(error)}
    else:
        row = rates(z, generator, cnn) | {"mlp": rates(z, generator, mlp)}
    return row | {"code": CODE} | utils.provenance(device)


def draw_bar(ax, x, values, look, width=0.9, dots=True):
    """A bar for the mean of `values`, one a generator, and a dot for each."""
    if values:
        ax.bar(x, statistics.mean(values), width, **look)
    if dots:
        ax.plot([x + 0.6 * width * ((n + 0.5) / len(values) - 0.5) for n in range(len(values))], values, **DOT)


def finish(figure, axes, top, *names):
    """Label the shares, and say above the panels what the bars and dots are."""
    for ax in axes:
        ax.grid(axis="x", visible=False)
    axes[0].set(ylabel="how often", ylim=(0, top))
    axes[0].yaxis.set_major_formatter("{x:.0%}")
    handles = [*(Patch(**look) for look in LOOKS), Line2D([], [], **DOT)]
    figure.legend(handles, [*names, "one generator"], loc="outside upper center", ncols=3)


def draw_rates(groups):
    """Four rates beside their controls, a pair of bars for each recipe of {recipe: rows}. Returns the figure."""
    figure = Figure(figsize=(11, 4.4))
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for ax, ((*names, digit), title) in zip(axes, PANELS.items(), strict=True):
        for side, rows in enumerate(groups.values()):
            for i, name in enumerate(names):
                x, values = 2.5 * side + i, [row[f"{name}_{digit}"] for row in rows if f"{name}_{digit}" in row]
                draw_bar(ax, x, values, LOOKS[i])
                if not values:
                    ax.text(x + 0.1, 0.03, "not\nmeasured", ha="center", fontsize=8)
                elif len(values) < len(rows):
                    ax.text(x, max(values) + 0.03, f"of {len(values)}\nonly", ha="center", fontsize=9)
                elif max(values) < 0.01:
                    ax.text(x, 0.03, f"{max(values):.1%}\nat most", ha="center", fontsize=9)
        ax.set(title=title, xticks=[2.5 * side + 0.5 for side in range(len(groups))], xticklabels=groups)
        ax.set_xlim(-0.75, 2.5 * len(groups) - 0.75)
    finish(figure, axes, 1, "as the title says", "control: a random direction of the same length")
    return figure


def draw_sums(groups):
    """The classes of 7 - 1 + 6, and with a random direction instead, a panel a recipe. Returns the figure."""
    figure = Figure(figsize=(11, 4.2))
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for ax, (recipe, rows) in zip(axes, groups.items(), strict=True):
        ax.axvspan(8.5, 9.5, color="0.9", lw=0)
        ax.text(9, 0.98, "report", ha="center", va="top", fontsize=9.5, transform=ax.get_xaxis_transform())
        for digit in range(10):
            draw_bar(ax, digit - 0.2, [row["sum"][digit] for row in rows], LOOKS[0], 0.4)
            draw_bar(ax, digit + 0.2, [row["sum_random"][digit] for row in rows], LOOKS[1], 0.4, dots=False)
        ax.set(title=f"Settings of the {recipe}", xlabel="digit that the classifier sees", xticks=range(10))
        ax.set_xlim(-0.5, 9.6)
    finish(figure, axes, None, "7 − 1 + 6", "6 + a random direction as long as 7 − 1")
    return figure


def draw(rows, args):
    """Draw what the rows allow; a line tells what they do not."""
    whole = [row for row in rows if "without_rates" not in row]
    groups = {recipe: [row for row in whole if row["recipe"] == recipe] for recipe in ("code", "text")}
    groups = {recipe: of_recipe for recipe, of_recipe in groups.items() if of_recipe}
    print(f"{len(whole)} of {len(rows)} generators draw 1, 6 and 7 often enough to have rates")
    if not groups:
        return
    counts = " and ".join(f"{len(of_recipe)} by {recipe}" for recipe, of_recipe in groups.items())
    data = rows[0]["dataset"]
    foot = f"{utils.TITLES[data]}; generators: {counts}; bars: their means"
    with utils.style():
        utils.save_figure(draw_rates(groups), args.figures_dir / "latent_rates.png", foot, data)
        utils.save_figure(draw_sums(groups), args.figures_dir / "sum_classes.png", foot, data)


def main(argv=None):
    parser = utils.Parser("How often figures 6 to 8 come out, for several generators.")
    add, number = parser.add_argument, utils.number
    add("--checkpoints", type=utils.path, nargs="+", help="generators (default: those of dynamics.py)")
    add("--count", type=number(int, low=20, high=10**5), default=1000, help="latents of each kind")
    add("--tries", type=number(int, low=2000, high=10**7), default=40_000, help="latents to draw for those of a digit")
    add("--confidence", type=number(float, low=0, high=1), default=0.999, help="of a latent's classification")
    add("--dataset", choices=utils.TITLES, default="mnist", help="the digits that the networks were trained on")
    add("--classifier", type=utils.path, help="the classifier (default: the one in the repository)")
    add("--mlp", type=utils.path, help="the second one (default: the one in the repository)")
    runs.add_options(parser, seeds=10)
    args = parser.parse_args(argv)
    rows = runs.study("latent_rates", {} if args.draw else plan(args), measure, args, CODE)
    if rows:  # under torchrun one process has them
        draw(rows, args)


if __name__ == "__main__":
    utils.run(main)
