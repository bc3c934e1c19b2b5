"""Figures 2 to 5: two discriminators against one generator, as the report published it and as its text describes it.

    python dynamics.py --out-dir mine --seeds 3         # twelve runs of MNIST, hours; continues after a stop
    python dynamics.py --out-dir mine --recipes published --archs balanced --seeds 10 --keep    # adds seeds 3 to 9
    python dynamics.py --out-dir mine --dataset typeset --limit 6000 --epochs-initial 2 --epochs-balanced 4
    torchrun --nproc-per-node 4 dynamics.py --out-dir mine --seeds 3    # a share of the runs for each process

    --recipes published   the settings of the code that the report's author published (see gan.py)
    --recipes written     those of the report's text, torch's defaults and the textbook's updates where it is silent
    --archs initial       D 784-512-256-1, 50 epochs: figures 2 and 3
    --archs balanced      D 784-256-128-1 with dropout, 200 epochs: figures 4 and 5

Reads the digits, classifier.pt and report_record.json, which holds the losses that the report's author printed.
Writes, for the chosen --archs and with a panel for each of --recipes:

    FIGURES_DIR    fig2_initial_losses.png, fig3_initial_samples.png, fig4_balanced_losses.png, fig5_progression.png;
                   training.gif, the samples of the first balanced run as published over the epochs
    OUT_DIR        generator.pt, that run's generator in half precision; dynamics.json, every run's settings, result and
                   means per epoch, and the share of the author's losses within the band of single batches of these runs

The runs lie in OUT_DIR/dynamics. Finished runs of further seeds that lie there are drawn and counted too; runs that
dynamics.json knows and that lie there no longer stay in it. Figures need all runs in one place: --keep draws none.
"""

import itertools
import math
from collections import Counter

import torch
from matplotlib.animation import PillowWriter

import dataset
import metrics
import plots
import runs
import train
import utils
from classifier import with_test_digits
from latents import load_generator

RECIPES = {"published": "As published", "written": "As written"}
ARCHS = ("initial", "balanced")
DOTS = {"d_loss": "#00304D", "g_loss": "#6B2A00"}  # darker than the curves of plots.py
RECORD = utils.HERE / "report_record.json"
SAME_RUNS = ("epochs_initial", "epochs_balanced", "batch_size", "dataset", "limit")
FIRST = 24  # of the author's losses: those of the first ten epochs


def parse_args(argv=None):
    """The options."""
    parser = utils.Parser("Figures 2 to 5: the report's two discriminators, as published and as written.")
    count = utils.number(int, low=1)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="what to train and draw")
    parser.add_argument("--archs", nargs="+", choices=ARCHS, default=ARCHS, help="discriminators to train and draw")
    parser.add_argument(
        "--seeds", type=utils.number(int, low=1, high=1000), default=1, help="runs of each, from --seed"
    )
    parser.add_argument("--epochs-initial", type=count, default=50, help="epochs of the runs with --arch initial")
    parser.add_argument("--epochs-balanced", type=count, default=200, help="epochs of the runs with --arch balanced")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images per step")
    parser.add_argument(
        "--keep", action="store_true", help="add the runs that OUT_DIR/dynamics.json lacks to it, and draw no figures"
    )
    return runs.parse_args(parser, argv, evaluate_every=10, low=0)


def run_options(args, recipe, arch, seed):
    """The options of train.py for one run, its folder's name last."""
    epochs = args.epochs_balanced if arch == "balanced" else args.epochs_initial
    words = ["--recipe", recipe, "--arch", arch, "--seed", seed, "--epochs", epochs]
    words += ["--grid-epochs", *grid_epochs(epochs), "--out-dir", args.out_dir / "dynamics"]
    return [*words, *runs.options(args, "batch_size"), "--name", f"{recipe}_{arch}_seed{seed}"]


def stages(epochs):
    """The epochs of figure 5: the first, the middle one, the last."""
    return sorted({1, max(1, epochs // 2), epochs})


def grid_epochs(epochs):
    """When to draw samples: at figure 5's epochs and, for the animation, some 40 times, close together at first."""
    return sorted({round(epochs ** (i / 50)) for i in range(51)}.union(stages(epochs)))


def load_known(args):
    """What OUT_DIR/dynamics.json holds; {} where there is none and --keep is not given.

    Raises utils.InputError if its runs have other options than those that --keep would add.
    """
    path = args.out_dir / "dynamics.json"
    if not args.keep:
        return utils.load_json(path) if path.exists() else {}
    known = utils.load_json(path, "config", "record", "runs")
    runs.check_kept(path, known["config"], args, SAME_RUNS)
    return known


def finished_runs(args):
    """The finished runs of the chosen recipes and discriminators: {(recipe, arch): {seed: folder}}, --seed first.

    Raises utils.InputError if one was trained with other options.
    """
    found = {}
    for recipe in args.recipes:
        for arch in args.archs:
            name = f"{recipe}_{arch}_seed"
            paths = (args.out_dir / "dynamics").glob(f"{name}*/result.json")
            seeds = {path.parent.name.removeprefix(name): path.parent for path in paths}
            folders = {int(seed): folder for seed, folder in seeds.items() if seed.isdigit()}
            for seed, folder in folders.items():
                options = run_options(args, recipe, arch, seed)
                runs.check_finished(folder, train.parse_args([str(word) for word in options]))
            found[recipe, arch] = dict(sorted(folders.items(), key=lambda item: (item[0] != args.seed, item[0])))
    return found


def source_of(configs, seeds):
    """The foot of a figure with a panel for each recipe: {recipe: config}, {recipe: seeds}."""
    first, *others = configs
    text = plots.describe(configs[first], named(seeds[first]))
    for other in others:
        text += f". {RECIPES[other]}: {plots.describe_recipe(configs[other])}, {named(seeds[other])}"
    return text


def named(seeds):
    """Seeds in words."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds, thin line: seed {seeds[0]}"


def draw_losses(histories, record=None, logarithmic=False):
    """Both losses over the steps, a panel for each recipe, {recipe: histories}, on one scale. Returns the figure.

    `record`, {column: (steps, values)}, goes into the panel "published" as dots.
    """
    figure, axes = utils.plt.subplots(
        1, len(histories), figsize=(6.2 * len(histories), 4.4), sharey=True, squeeze=False
    )
    for ax, (recipe, of_seeds) in zip(axes[0], histories.items(), strict=True):
        plots.plot_losses(ax, of_seeds)
        ax.set_title(RECIPES[recipe])
        if record and recipe == "published":
            for column, (steps, values) in record.items():
                label = f"{plots.LOSSES[column]}, printed in the report's run"
                ax.scatter(steps, values, s=9, lw=0.3, edgecolor="white", zorder=3, color=DOTS[column], label=label)
    low, high = min(ax.dataLim.y0 for ax in axes[0]), max(ax.dataLim.y1 for ax in axes[0])
    axes[0, 0].set_ylim(0.9 * low if logarithmic else 0, 1.05 * high)
    if logarithmic:
        axes[0, 0].set_yscale("log")
        utils.label_plainly(axes[0, 0].yaxis)
    for ax in axes[0, 1:]:
        ax.set_ylabel("")
    handles, labels = max((ax.get_legend_handles_labels() for ax in axes[0]), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside upper center", ncols=6, markerscale=2)
    return figure


def draw_grids(samples, epochs):
    """Grids of samples, {recipe: {epoch: images}}: a row for each recipe and a column for each of `epochs`.

    With one epoch the recipes stand side by side. Returns the figure.
    """
    beside = len(epochs) == 1
    shape = (1, len(samples)) if beside else (len(samples), len(epochs))
    figure, axes = utils.plt.subplots(*shape, figsize=(3.2 * shape[1] + 0.3, 3.4 * shape[0] + 0.6), squeeze=False)
    figure.get_layout_engine().set(h_pad=0.1)  # else the titles touch the edge
    cells = [(recipe, epoch) for recipe in samples for epoch in epochs]
    for ax, (recipe, epoch), letter in zip(axes.flat, cells, "abcdefghijkl", strict=False):
        plots.draw_images(ax, samples[recipe][epoch], columns=5)
        ax.set_title(f"({letter}) {RECIPES[recipe]}, epoch {epoch}")
    return figure


def write_animation(samples, path, data):
    """Samples {epoch: (25, 784)} over the epochs as an animated GIF that holds its last frame."""
    figure, ax = utils.plt.subplots(figsize=(2.4, 2.6))
    stand_in = "" if data == "mnist" else f"\n{utils.TITLES[data]}"
    writer = PillowWriter(fps=5)
    with utils.written_whole(path) as temporary, writer.saving(figure, temporary, dpi=120):
        for epoch in [*samples] + [max(samples)] * 10:
            ax.clear()
            plots.draw_images(ax, samples[epoch], columns=5)
            ax.set_title(f"epoch {epoch}{stand_in}", fontsize=10)
            writer.grab_frame()
    utils.plt.close(figure)


def load_record(history, epochs):
    """The losses that the author printed, {column: (steps, values)}, placed in the history of a run of `epochs`.

    A loss is placed by its epoch, so that runs of other batch sizes can be compared; those after the run's end are left
    out.
    """
    losses = utils.load_json(RECORD, "source", "losses")["losses"]
    scale = losses["steps_between"] / losses["steps_per_epoch"] * len(history) / epochs
    count = min(len(losses["d_loss"]), math.ceil(len(history) / scale))
    return {column: (torch.arange(count) * scale, torch.tensor(losses[column][:count])) for column in plots.LOSSES}


def count_within(record, histories):
    """How many of the author's losses lie in the band of single batches of `histories`: {column: count}."""
    counts = {}
    for index, (column, (steps, values)) in enumerate(record.items()):
        middles, low, _, high = plots.loss_bands(histories, index)
        window = (steps / (2 * middles[0])).long().clamp(max=len(middles) - 1)
        counts[column] = ((values >= low[window]) & (values <= high[window])).sum().item()
    return counts


def compare_record(record, histories):
    """The part `record` of dynamics.json: the author's losses within the band of single batches of our runs.

    `histories` are those of the balanced runs as published, {name: (steps, columns)}. Beside the counts for the band of
    all of them together stand those for the band of each run by itself, and the means of the author's first losses
    and of each run's at the same steps.
    """
    counts, number = count_within(record, list(histories.values())), len(record["d_loss"][1])
    first = {column: (steps[:FIRST].long(), values[:FIRST]) for column, (steps, values) in record.items()}
    return {
        "band": plots.BAND,
        "losses": number,
        "within": counts,
        "share": {column: count / number for column, count in counts.items()},
        "within_each_run": {name: count_within(record, [history]) for name, history in histories.items()},
        "first": {column: values.mean().item() for column, (_, values) in first.items()},
        "first_of_each_run": {
            name: {column: history[steps, i].mean().item() for i, (column, (steps, _)) in enumerate(first.items())}
            for name, history in histories.items()
        },
    }


def export_generator(folder, path):
    """Save the generator of a finished run in half precision, small enough for a repository."""
    checkpoint = utils.load_checkpoint(folder / "checkpoint.pt", "gan")
    weights = checkpoint["generator"].items()
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights}
    exported = {name: checkpoint[name] for name in ("kind", "config", "epoch")} | {"generator": halved}
    utils.save_checkpoint(path, exported)


def examiner(args):
    """How the classifier sees the finished runs: (a function of a run's folder, the same numbers of real digits).

    The function returns precision and recall of the final generator, and of the 25 samples at each of figure 5's epochs
    how many are classified with a confidence above .99.
    """
    device = utils.pick_device(args)
    classifier, test = with_test_digits(args, device)
    training = metrics.outputs(classifier, dataset.scale(dataset.load(args)[0][:10_000]).to(device))
    reference = metrics.reference(*test, training[0])
    digits, own = (metrics.manifold(metrics.thinned(part[0], 5000)) for part in (test, training))
    precision, recall = metrics.precision_recall(own, digits)
    real = {"frechet_distance": reference["floor"], "precision": precision, "recall": recall}
    real["confident_share"] = metrics.describe(test[1])["confident_share"]

    def examine(folder):
        result, samples = runs.load_result(folder), runs.load_samples(folder)
        generator, config = load_generator(folder / "checkpoint.pt", device)
        found = metrics.quality(generator, classifier, reference, digits, seed=10_000 + config["seed"])
        epochs = stages(result["epochs"])
        seen = [metrics.outputs(classifier, dataset.scale(samples[epoch]).to(device))[1] for epoch in epochs]
        confident = [(probabilities.amax(1) > metrics.CONFIDENCE).sum().item() for probabilities in seen]
        return {
            "precision_recall": {name: found[name] for name in ("precision", "recall")},
            "stages": {"epochs": epochs, "confident": confident},
        }

    return examine, real


def compare_runs(args, folders, known):
    """`record` of dynamics.json from the finished balanced runs as published, and what `known` has of further ones."""
    histories = {folder.name: runs.load_history(folder) for folder in folders}
    found = compare_record(load_record(next(iter(histories.values())), args.epochs_balanced), histories)
    known = known or found
    apart = ("within_each_run", "first_of_each_run")
    by_run = {part: dict(sorted((known[part] | found[part]).items())) for part in apart}
    return (known if args.keep else found) | by_run


def draw(args, arch, found):
    """The two figures of a discriminator from its finished runs {recipe: {seed: folder}}."""
    histories = {recipe: [runs.load_history(folder) for folder in of.values()] for recipe, of in found.items()}
    first = {recipe: next(iter(of.values())) for recipe, of in found.items()}
    samples = {recipe: runs.load_samples(folder) for recipe, folder in first.items()}
    configs = {recipe: runs.load_result(folder)["config"] for recipe, folder in first.items()}
    epochs = next(iter(configs.values()))["epochs"]
    losses, grids, record = "fig2_initial_losses", "fig3_initial_samples", None
    if arch == "balanced":
        losses, grids = "fig4_balanced_losses", "fig5_progression"
        if "published" in found:
            record = load_record(histories["published"][0], epochs)
    seeds = {recipe: list(of) for recipe, of in found.items()}
    first_seeds = {recipe: of[:1] for recipe, of in seeds.items()}
    figures = {
        losses: (draw_losses(histories, record, logarithmic=arch == "balanced"), seeds),
        grids: (draw_grids(samples, [epochs] if arch == "initial" else stages(epochs)), first_seeds),
    }
    for name, (figure, drawn) in figures.items():
        path = args.figures_dir / f"{name}.png"
        utils.save_figure(figure, path, source_of(configs, drawn), args.dataset)
        print(f"figure: {path}")


def main(argv=None):
    args = parse_args(argv)
    known = load_known(args)
    kept = known["runs"] if args.keep else {}
    seeds = range(args.seed, args.seed + args.seeds)
    kinds = itertools.product(sorted(args.archs), seeds, args.recipes)  # the longest first
    plan = {words[-1]: words for words in (run_options(args, recipe, arch, seed) for arch, seed, recipe in kinds)}
    if runs.train_all({name: words for name, words in plan.items() if name not in kept}, args) > 0:
        return

    found, record = finished_runs(args), known.get("record")
    if folders := found.get(("published", "balanced")):
        record = compare_runs(args, folders.values(), record)
    if not args.keep:
        for arch in args.archs:
            draw(args, arch, {recipe: found[recipe, arch] for recipe in args.recipes})
        if folders:
            write_animation(runs.load_samples(folders[args.seed]), args.figures_dir / "training.gif", args.dataset)
            export_generator(folders[args.seed], args.out_dir / "generator.pt")
    entries, real = known.get("runs", {}), known.get("real")
    if args.evaluate_every:
        examine, real = examiner(args)
    for folder in (folder for of in found.values() for folder in of.values()):
        result = runs.load_result(folder)
        history = runs.load_history(folder)
        largest = history[:, train.HISTORY.index("g_loss")].max().item()
        entry = result | {"by_epoch": runs.epoch_means(history, result["epochs"]), "largest_g_loss": largest}
        entries[folder.name] = entry | (examine(folder) if args.evaluate_every else {})
        means = ", ".join(f"{column} {value:.3f}" for column, value in result["last_epoch"].items())
        print(f"{folder.name}: {result['epochs']} epochs; means of the last: {means}")
    if record:
        shares = ", ".join(f"{record['share'][column]:.0%} of the {name}'s" for column, name in plots.LOSSES.items())
        print(f"the report's printed losses in the band that {plots.BAND:.0%} of our single batches span: {shares}")
    names = ("recipes", "archs", "seed", *SAME_RUNS)
    seeds = min(Counter(name.split("_seed")[0] for name in entries).values())
    config = known["config"] if args.keep else {name: getattr(args, name) for name in names} | {"seeds": seeds}
    data = {"columns": train.HISTORY, "record": record, "real": real, "runs": dict(sorted(entries.items()))}
    utils.save_json(args.out_dir / "dynamics.json", data | {"config": config})


if __name__ == "__main__":
    utils.run(main)
