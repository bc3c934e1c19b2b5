"""How often figures 6, 7 and 8 come out: a thousand latents for each of several generators, and two classifiers.

    python -m studies.latent_rates                          # the generators that dynamics.py has trained
    python -m studies.latent_rates --out-dir mine           # the one in the repository, if none is trained in mine
    python -m studies.latent_rates --out-dir mine --checkpoints A/checkpoint.pt B/checkpoint.pt
    python -m studies.latent_rates --out-dir mine --checkpoints C/checkpoint.pt --keep  # beside those measured before
    python -m studies.latent_rates --out-dir mine --count 100 --tries 10000             # a quick try

One strip shows one pair of latents, and the latents of one generator say nothing of another: here the unit is the
generator. For each one:

    paths    from 7 to 6 in 20 steps: the straight line, the great circle (slerp, White 2016) and, as a control, the
             cross-fade of the two images. Is an image on the way classified as 1, is the middle one?
    others   straight lines between two other digits, neither of them a 1: their middles and their lengths
    sums     z_6 + (z_7 - z_1) and its parts. Controls: instead of z_7 - z_1 a random direction of the same length,
             or the difference of two other digits. Each z is one latent, or the mean of 3 or of 100; `sphere`: the sum
             of single ones scaled to norm 10, which latents have
    strips   figure 8's, from z_6 + 1.2 (z_7 - z_1) to z_6: is one of the ten images classified as 9?
    shift    sevens, to which the difference of the mean latents of sixes and sevens is added

Latents are picked by the CNN, as in figures 6 to 8; all images are classified by the CNN and by an MLP. A generator
that draws too few of 1, 6 or 7, or no pair of other digits, has no rates.

Reads the checkpoints, classifier.pt, classifier_mlp.pt and the digits. Writes OUT_DIR/latent_rates.json (every
generator; for each recipe means and 95 % t intervals over generators) and FIGURES_DIR/latent_rates.png.
"""

import statistics
from pathlib import Path

import torch

import dataset
import latents
import metrics
import runs
import train
import utils
from classifier import check_there, load_classifier, path_of
from gan import LATENT_DIM, sample

STEPS = 21
SAMPLES = 10_000
NEIGHBOURS = 1000  # samples whose nearest training digit is looked for
PATHS = {"line": latents.line, "slerp": latents.slerp}
MEANS = {"one": (1, False), "sphere": (1, True), "mean3": (3, False), "mean100": (100, False)}
RECIPES = {"published": ("as published", "#0072B2"), "written": ("as written", "#D55E00"), "other": ("other", "0.4")}
FREE = {"epochs", "batch_size", "seed", "dataset", "limit", "grid_epochs", "evaluate_every", "precision"}
FREE |= {"matmul_precision"}
OPTIONS = ("seed", "count", "tries", "confidence", "dataset")  # that all generators are measured with
OTHERS = [(a, b) for a in range(10) for b in range(a) if 1 not in (a, b) and (a, b) != (7, 6)]


def parse_args(argv=None):
    """The options."""
    parser = utils.Parser("Measure how often figures 6 to 8 come out, for several generators.")
    count, tries = utils.number(int, low=20, high=10**5), utils.number(int, low=2000, high=10**7)
    parser.add_argument("--checkpoints", type=Path, nargs="+", help="generators (default: those of dynamics.py)")
    parser.add_argument("--count", type=count, default=1000, help="paths, sums and strips for each generator")
    parser.add_argument("--tries", type=tries, default=40_000, help="latents among which those of a digit are found")
    parser.add_argument("--mlp", type=Path, help="the second classifier (default: the one in the repository)")
    confidence = utils.number(float, low=0, high=1)
    parser.add_argument("--confidence", type=confidence, default=0.999, help="of a latent's classification")
    parser.add_argument("--keep", action="store_true", help="keep the generators that OUT_DIR/latent_rates.json has")
    dataset.add_data_options(parser)
    parser.add_argument("--classifier", type=Path, help="the classifier (default: the one in the repository)")
    utils.add_common_options(parser)
    args = parser.parse_args(argv)
    if not args.checkpoints:
        finished = sorted((args.out_dir / "dynamics").glob("*_balanced_seed*/result.json"))
        args.checkpoints = [path.with_name("checkpoint.pt") for path in finished]
        args.checkpoints = args.checkpoints or [utils.subfolder(utils.RESULTS, args.dataset) / "generator.pt"]
    path = args.out_dir / "latent_rates.json"
    if args.out_dir is utils.RESULTS and path.exists() and not args.keep:  # the same object: --out-dir was not given
        before, now = len(utils.load_json(path, "generators")["generators"]), len(args.checkpoints)
        if now < before:
            advice = "--keep adds these, --out-dir mine leaves it"
            parser.error(f"{path} holds {before} generators, here are {now}: {advice}")
    return args


def draw(z, count, source, mean_of=1):
    """`count` rows of z (n, d), or means of `mean_of` of them, as (count, d); all rows are used equally often."""
    wanted = count * mean_of
    order = torch.cat([torch.randperm(len(z), generator=source) for _ in range(-(-wanted // len(z)))])
    return z[order[:wanted].to(z.device)].reshape(count, mean_of, -1).mean(1)


def random_like(vectors, source):
    """Random directions, each of the length of its row of `vectors` (n, d)."""
    directions = torch.randn(vectors.shape, generator=source).to(vectors)
    return torch.nn.functional.normalize(directions, dim=1) * vectors.norm(dim=1, keepdim=True)


def classes(digits):
    """The share of each digit among the classes (n,): a list of 10."""
    return (digits.flatten().bincount(minlength=10) / digits.numel()).tolist()


def share(seen):
    """The share of True in a boolean tensor."""
    return seen.float().mean().item()


def steps_of(features):
    """Of paths (n, steps, d) the length of every step, (n, steps - 1), and the whole over the distance of the ends."""
    steps = features.diff(dim=1).norm(dim=-1)
    distance = (features[:, -1] - features[:, 0]).norm(dim=-1)
    return steps, steps.sum(1) / distance.clamp(min=1e-6)


def pairs_in(groups):
    """The pairs of OTHERS that `groups` has latents of."""
    return [pair for pair in OTHERS if all(len(groups[digit]) for digit in pair)]


def measure(generator, classifier, groups, source, count):
    """The rates of one generator as one classifier sees them, a dictionary; `groups` as latents.group_latents."""

    def outputs(images):
        features, probabilities = metrics.outputs(classifier, images.flatten(0, -2))
        confidences, digits = probabilities.max(1)
        return tuple(values.unflatten(0, images.shape[:-1]) for values in (digits, confidences, features))

    def of_latents(z):
        return outputs(sample(generator, z.flatten(0, -2)).unflatten(0, z.shape[:-1]))

    def of_digit(digit, n=count, mean_of=1):
        return draw(groups[digit], n, source, mean_of)

    device = groups[7].device
    digits, confidences, _ = of_latents(torch.randn(SAMPLES, LATENT_DIM, generator=source).to(device))
    found = {"samples": classes(digits), "sample_confident": share(confidences >= latents.CONFIDENT), "paths": {}}

    start, end, alpha = of_digit(7), of_digit(6), torch.linspace(0, 1, STEPS)
    images = latents.line(sample(generator, start), sample(generator, end), alpha)
    seen = {name: of_latents(path(start, end, alpha)) for name, path in PATHS.items()} | {"fade": outputs(images)}
    for name, (digits, _, features) in seen.items():
        steps, lengths = steps_of(features)
        found["paths"][name] = {
            "passes_1": share((digits == 1).any(1)),
            "middle_1": share(digits[:, STEPS // 2] == 1),
            "length_over_distance": lengths.median().item(),
            "largest_step": (steps.amax(1) / steps.sum(1).clamp(min=1e-6)).median().item(),
        }

    pairs = pairs_in(groups)
    ends = [(of_digit(a, count // 20), of_digit(b, count // 20)) for a, b in pairs]
    others = [of_latents(latents.line(*of_pair, alpha)) for of_pair in ends]
    digits, confidences, _ = (torch.cat(values)[:, STEPS // 2] for values in zip(*others, strict=True))
    found["middle_1_between_others"] = share(digits == 1)
    found["middle_confident"] = share(confidences >= latents.CONFIDENT)
    found["length_over_distance_of_others"] = [steps_of(features)[1].median().item() for *_, features in others]

    found["sums"] = {}
    for name, (mean_of, sphere) in MEANS.items():
        one, other_one, six, seven = (of_digit(digit, mean_of=mean_of) for digit in (1, 1, 6, 7))
        roof, random = seven - one, random_like(seven - one, source)
        each = -(-count // len(pairs))
        others = [of_digit(a, each, mean_of) - of_digit(b, each, mean_of) for a, b in pairs if 9 not in (a, b)]
        others = draw(torch.cat(others), count, source)
        sums = {
            "roof": roof,
            "sum": six + roof,
            "hybrid": six + 1.2 * roof,  # (9)
            "equation_10": 1.8 * six + 0.96 * roof,
            "random": six + random,
            "others": six + others,
            "one_plus_roof": other_one + roof,
            "one_plus_random": other_one + random,
        }
        scaled = {kind: latents.on_sphere(z) if sphere else z for kind, z in sums.items()}
        found["sums"][name] = {kind: classes(of_latents(z)[0]) for kind, z in scaled.items()}
        if name == "one":
            ten = torch.linspace(0, 1, 10)
            for what, direction in ("strip_9", roof), ("strip_9_random", random):
                digits, _, _ = of_latents(latents.line(six + 1.2 * direction, six, ten))
                found[what] = share((digits == 9).any(1))

    shift = groups[6].mean(0) - groups[7].mean(0)
    seven = of_digit(7)
    found["shift_to_6"] = share(of_latents(seven + shift)[0] == 6)
    found["shift_to_6_random"] = share(of_latents(seven + random_like(shift.expand_as(seven), source))[0] == 6)
    found["shift_length"] = shift.norm().item()
    return found


def neighbour_ratio(generator, seed, digits):
    """How far the median sample is from its nearest training digit, in pixels, over how far a test digit is.

    digits: training and test digits (n, 784) in [-1, 1].
    """
    train, test = digits
    z = torch.randn(NEIGHBOURS, LATENT_DIM, generator=torch.Generator().manual_seed(seed)).to(train.device)
    distances = [metrics.nearest(part, train)[0].median() for part in (sample(generator, z), test[:NEIGHBOURS])]
    return (distances[0] / distances[1]).item()


def recipe_of(config):
    """The recipe whose options a run has, with the balanced D, whatever its FREE ones are; else "other"."""
    recipes = {name: train.config_of(train.parse_args(["--recipe", name])) for name in ("published", "written")}
    config = recipes["written"] | config
    for name, wanted in recipes.items():
        if all(config[option] == wanted[option] for option in wanted.keys() - FREE):
            return name
    return "other"


def nine(kind):
    """A function that picks the share of nines of a sum of single latents."""
    return lambda rates: rates["sums"]["one"][kind][9]


# What the figure shows and the summary holds: pairs of a label and what of a generator's rates.
ROWS = [
    ("7 to 6, straight line: passes a 1", lambda rates: rates["paths"]["line"]["passes_1"]),
    ("... slerp", lambda rates: rates["paths"]["slerp"]["passes_1"]),
    ("... cross-fade of the images", lambda rates: rates["paths"]["fade"]["passes_1"]),
    ("7 to 6: the middle is a 1", lambda rates: rates["paths"]["line"]["middle_1"]),
    ("... between two other digits", lambda rates: rates["middle_1_between_others"]),
    ("z_7 - z_1 is a 7", lambda rates: rates["sums"]["one"]["roof"][7]),
    ("z_1 + (z_7 - z_1') is a 7", lambda rates: rates["sums"]["one"]["one_plus_roof"][7]),
    ("... with a random direction", lambda rates: rates["sums"]["one"]["one_plus_random"][7]),
    ("z_6 + (z_7 - z_1) is a 9", nine("sum")),
    ("... with a random direction", nine("random")),
    ("... with two other digits", nine("others")),
    ("... scaled to norm 10", lambda rates: rates["sums"]["sphere"]["sum"][9]),
    ("... means of 100 latents", lambda rates: rates["sums"]["mean100"]["sum"][9]),
    ("equation (10) is a 9", nine("equation_10")),
    ("figure 8's strip passes a 9", lambda rates: rates["strip_9"]),
    ("... with a random direction", lambda rates: rates["strip_9_random"]),
    ("z_7 + mean 6 - mean 7 is a 6", lambda rates: rates["shift_to_6"]),
    ("... with a random direction", lambda rates: rates["shift_to_6_random"]),
]


def summarise(generators):
    """{recipe: [a row of the figure]}: n, mean and, from n = 3 on, t interval over the generators."""
    summary = {}
    for recipe in RECIPES:
        own = [entry["classifiers"]["cnn"] for entry in generators.values() if entry["recipe"] == recipe]
        if own:
            values = [[pick(rates) for rates in own] for _, pick in ROWS]
            summary[recipe] = [
                {
                    "rate": label,
                    "n": len(v),
                    "mean": statistics.mean(v),
                    "interval": metrics.t_interval(v) if len(v) > 2 else None,
                }
                for (label, _), v in zip(ROWS, values, strict=True)
            ]
    return summary


def plot(generators, summary, path, source, data):
    """A row for each rate: a dot for each generator, filled by the CNN, hollow by the MLP, and the mean's interval."""
    figure, ax = utils.plt.subplots(figsize=(8, 0.42 * len(ROWS) + 1.2))
    for n, (recipe, (title, colour)) in enumerate(RECIPES.items()):
        own = [entry for entry in generators.values() if entry["recipe"] == recipe]
        side = (-0.17, 0.17, 0)[n]
        for y, (_, pick) in enumerate(ROWS):
            for name, face in ("cnn", colour), ("mlp", "none"):
                values = [pick(entry["classifiers"][name]) for entry in own]
                label = f"{title}, {name.upper()}" if y == 0 and own else None
                ax.scatter(values, [y + side] * len(own), s=22, facecolor=face, edgecolor=colour, lw=0.8, label=label)
            if own and summary[recipe][y]["interval"]:
                ends = [min(max(end, 0), 1) for end in summary[recipe][y]["interval"]]  # of a share
                ax.plot(ends, [y + side] * 2, color=colour, lw=5, alpha=0.25)
    labels = [label for label, _ in ROWS]
    ax.set(xlim=(-0.02, 1.02), xlabel="share", yticks=range(len(labels)), yticklabels=labels)
    ax.invert_yaxis()
    for y, label in enumerate(labels):
        if y and not label.startswith("..."):
            ax.axhline(y - 0.5, color="0.85", lw=0.8)
    figure.legend(loc="outside upper right", ncols=2, fontsize=9)
    utils.save_figure(figure, path, source, data)


def load_kept(args):
    """The generators of OUT_DIR/latent_rates.json, each with its provenance; {} without --keep.

    Raises utils.InputError if they were measured with other options than `args`.
    """
    if not args.keep:
        return {}
    path = args.out_dir / "latent_rates.json"
    kept = utils.load_json(path, *OPTIONS, "generators", "provenance")
    runs.check_kept(path, kept, args, OPTIONS)
    return {name: {"provenance": kept["provenance"]} | entry for name, entry in kept["generators"].items()}


def main(argv=None):
    args = parse_args(argv)
    args.mlp = args.mlp or path_of(args, "mlp")
    for path in args.checkpoints:  # before the minutes of measuring
        check_there(path, args.dataset, "dynamics.py", "--checkpoints")
    check_there(args.mlp, args.dataset, "classifier.py --kind mlp", "--mlp")
    utils.make_folder(args.out_dir, args.figures_dir)
    mlp, told = load_classifier(args.mlp, utils.pick_device(args))
    digits = [dataset.scale(dataset.load(args, train=train)[0]).to(utils.pick_device(args)) for train in (True, False)]
    kept, generators, provenance = load_kept(args), {}, utils.provenance(utils.pick_device(args))
    for path in args.checkpoints:
        args.checkpoint = path
        generator, cnn, config, source = latents.load_networks(args)
        recipe = recipe_of(config)
        name = path.resolve().parent.name if path.name == "checkpoint.pt" else path.name
        name = str(path) if name in generators else name
        entry = {"recipe": recipe, "config": config, "provenance": provenance}
        try:
            groups = latents.group_latents(generator, cnn, (1, 6, 7), args.seed, args.confidence, args.tries)
            if all(9 in pair for pair in pairs_in(groups)):
                raise utils.InputError("it draws no two other digits to compare with")
        except utils.InputError as error:
            print(f"{name}: no rates: {error}")
            generators[name] = entry | {"without_rates": str(error), "recipe": f"{recipe}, without rates"}
            continue
        entry["latents"] = [len(groups[digit]) for digit in range(10)]
        entry["neighbour_ratio"] = neighbour_ratio(generator, 10_000 + args.seed, digits)
        entry["classifiers"] = {
            kind: measure(generator, reader, groups, torch.Generator().manual_seed(30_000 + args.seed), args.count)
            for kind, reader in (("cnn", cnn), ("mlp", mlp))
        }
        generators[name] = entry
        print(f"{name}: " + ", ".join(f"{pick(entry['classifiers']['cnn']):.2f}" for _, pick in ROWS), flush=True)
    generators = dict(sorted((kept | generators).items()))
    summary = summarise(generators)
    count = sum("classifiers" in entry for entry in generators.values())
    source = (
        f"{utils.TITLES[args.dataset]}; {count} generator{'s' * (count != 1)}, a dot each; bars: 95 % t "
        f"interval of the mean over generators; {args.count} latents of each digit from seed {args.seed}; MLP: "
        f"accuracy {told['test_accuracy']:.2%} on test digits"
    )
    if summary:
        plot(generators, summary, args.figures_dir / "latent_rates.png", source, args.dataset)
        print(args.figures_dir / "latent_rates.png")
    result = {name: getattr(args, name) for name in OPTIONS}
    result |= {"generators": generators, "summary": summary, "provenance": provenance}
    utils.save_json(args.out_dir / "latent_rates.json", result)
    for recipe, rows in summary.items():
        for row in rows:
            print(f"{RECIPES[recipe][0]}, {row['rate']}: mean {row['mean']:.3f} of {row['n']} generators")
    print(args.out_dir / "latent_rates.json")


if __name__ == "__main__":
    utils.run(main)
