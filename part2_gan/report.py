"""What became of the report's claims about the GAN: OUT_DIR/report.md and OUT_DIR/claims.json, from measured results.

    python report.py        # some seconds; reads what study.py, evaluate.py, interpolate.py, arithmetic.py, the
                            # studies and benchmark.py have written

The claims and their verdicts are computed in claims.py. Below their table stands every figure that is there: the
command that made it, what it shows and what it does not, and the numbers.
"""

import json
import math
import os
from pathlib import Path

import torch

import utils
from claims import each_sum, judge, percent, readings

RESULTS = ("study", "evaluate", "interpolate", "arithmetic", "interpolation_rates", "arithmetic_rates")
RESULTS += ("overpowering", "recipes", "benchmark")


def read(folder):
    """The results by name, None for those that are not there."""
    paths = {name: folder / f"{name}.json" for name in RESULTS}
    return {name: json.loads(path.read_text()) if path.exists() else None for name, path in paths.items()}


def table(head, rows):
    """A Markdown table as lines."""
    return [f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *rows)]


def losses(results):
    """The last epoch of every run of study.py."""
    rows = []
    for name, run in results["study"]["runs"].items():
        config, last = run["config"], run["last_epoch"]
        rows.append([name, config["arch"], f"{config['bn_eps']:g}", config["scheme"], run["epochs"]])
        rows[-1] += [f"{last[what]:.2f}" for what in ("d_loss", "g_loss", "d_accuracy", "g_grad_norm")]
    head = ["run", "discriminator", "BatchNorm eps", "scheme", "epochs", "D loss", "G loss", "accuracy of D"]
    return table([*head, "gradient norm reaching G"], rows)


def worth(results):
    """What evaluate.py found for every generator, and for real digits in their place."""

    def line(name, distance, figures, found, histogram):
        shares = [f"{found[what]:.2f}" if found else "-" for what in ("precision", "recall")]
        surely = percent(figures["confident_share"])
        return [name, distance, f"{figures['score']:.2f}", surely, *shares, ", ".join(map(str, histogram)) or "-"]

    rows = []
    for name, entry in results["evaluate"].items():
        low, high = entry["frechet_distance_interval"]
        distance = f"{entry['frechet_distance']:.1f} ({low:.1f} to {high:.1f})"
        found = entry["precision_recall"] and entry["precision_recall"]["samples"]
        rows.append(line(name, distance, entry, found, entry["histogram"]))
    entry = results["evaluate"]["balanced"]
    found = entry["precision_recall"]["training_digits"]
    rows.append(line("real digits", f"{entry['floor']:.1f}", entry["test_digits"], found, []))
    head = ["samples of", "Frechet distance", "score", "surely read", "precision", "recall", "surely read, 0 to 9"]
    return table(head, rows)


def factors(results):
    """What every factor of the grid does to D, to the gradient and to the samples."""
    effects, rows = results["overpowering"]["effects"], []
    for factor, words in (
        ("eps", "BatchNorm eps 0.8 instead of 1e-5"),
        ("scheme", "simultaneous updates"),
        ("dropout", "dropout 0.4 in D"),
        ("width", "D narrowed to 256-128"),
    ):
        accuracy = effects["d_accuracy"][factor]
        rows.append([words, "{:+.2f} ({:+.2f} to {:+.2f})".format(accuracy["mean"], *accuracy["interval"])])
        for what in "frechet_distance", "g_grad_norm":
            values = [effects[what][factor]["mean"], *effects[what][factor]["interval"]]
            rows[-1].append("{:.1f} ({:.1f} to {:.1f})".format(*map(math.exp, values)))
        worse = effects["frechet_distance"][factor]
        rows[-1].append(f"{worse['same_sign']} of {worse['pairs']}")
    head = ["changed, all else equal", "D's accuracy", "Frechet distance, times", "gradient that reaches G, times"]
    return table([*head, "pairs of runs with the distance's sign"], rows)


def changes(results):
    """The recipes at equal epochs."""
    entries = results["recipes"]["changes"]["changes"].values()
    rows = []
    for entry in entries:
        found = entry["at_end"]["frechet_distance"]
        rows.append([entry["what"], f"{found['median']:.1f}", ", ".join(f"{value:.1f}" for value in found["seeds"])])
    epochs = results["recipes"]["changes"]["config"]["epochs"]
    return table(["recipe", f"Frechet distance after {epochs} epochs, median", "every seed"], rows)


def finals(results):
    """The two recipes at their ends."""
    found, rows = results["recipes"]["final"]["final"], []
    for recipe in "report", "best":
        for seed, run in found.get(recipe, {"runs": {}})["runs"].items():
            end = run["end"]
            rows.append([found[recipe]["what"], seed, run["config"]["epochs"], f"{run['seconds'] / 60:.0f}"])
            rows[-1] += [f"{end['frechet_distance']:.1f}", f"{end['precision']:.2f}", f"{end['recall']:.2f}"]
    lines = table(["recipe", "seed", "epochs", "minutes, one core", "Frechet distance", "precision", "recall"], rows)
    if "ratio" in found:
        lines += ["", f"Medians: best / report = {found['ratio']:.2f}."]
    return lines


def walk(results):
    """How often the way from 7 to 6 passes a 1, on every kind of way."""
    study, rows = results["interpolation_rates"], []
    names = {
        "line": "straight line",
        "slerp": "great circle",
        "fade": "cross-fade of the images",
        "real": "real digits",
    }
    for way, name in names.items():
        if way in study["pooled"]:
            found = study["pooled"][way]
            middle, passed = found["middle_is_1"], found["passes_digit"]
            rows.append([name, percent(middle["rate"], middle["interval"])])
            rows[-1] += [percent(passed["rate"][1], (passed["low"][1], passed["high"][1]))]
            rows[-1] += [f"{found['length_over_distance'][1]:.2f}"]
    return [
        f"{len(study['generators'])} generators.",
        "",
        *table(["way from 7 to 6", "middle reads 1", "passes a 1", "length in features / distance of its ends"], rows),
    ]


def sums(results):
    """How often a sum of latents reads as a 9."""
    rows = []
    for way, pooled in results["arithmetic_rates"]["pooled"].items():
        cells = [("roof", 1.0), ("roof", 1.2), ("written", 0.96), ("others", 1.0), ("random", 1.0)]
        rates = [readings(results, way, kind, strength)[0] for kind, strength in cells]
        rows.append([pooled["label"], *(percent(rate, digits=1) for rate in rates)])
        rows[-1].append(", ".join(percent(rate, digits=1) for rate in each_sum(results, way)))
    head = ["z_6 + s (z_7 - z_1) reads as 9", "s = 1", "eq. (9), s = 1.2", "eq. (10) as written"]
    return table([*head, "other digits' difference", "random direction", "s = 1, each generator"], rows)


def speed(results):
    """A training step, from the usual script to train.py, one change a rung."""
    found = results["benchmark"]
    cells = {(row["arch"], row["threads"], row["rung"]): row for row in found["rows"]}
    columns = list(dict.fromkeys(key[:2] for key in cells))
    rows = []
    for rung in dict.fromkeys(key[2] for key in cells):
        values = [cells[(*column, rung)] for column in columns]
        rows.append([rung, *(f"{row['milliseconds']:.1f} ({row['times_the_usual']:.2f})" for row in values)])
        rows[-1].append("" if values[0]["peak_mib"] is None else f"{values[0]['peak_mib']:.0f}")
    head = [f"{arch} D, {threads} thread{'s' * (threads > 1)}" for arch, threads in columns]
    where = found["provenance"]
    told = (
        "Milliseconds a step (in brackets how many times as fast as the usual script); peak MiB of the first column. "
    )
    told += f"Each line has the change of the one above as well, train.py's own lines apart. {where['processor']}, "
    return [f"{told}torch {where['torch']}.", "", *table(["", *head, "peak MiB"], rows)]


# Title, figure, script, what it shows and what it does not, the numbers and the result that they come from.
SECTIONS = [
    ("Figure 2: the first discriminator", "fig2_initial_losses", "study.py",
     "One run with both slips of much-copied code, BatchNorm eps 0.8 and simultaneous updates. It does not show what "
     "the slips do, nor what another seed does.", losses, "study"),
    ("What makes figure 2", "slips", "study.py",
     "The same discriminator with both slips, with one, with none: D does not overpower a G that has neither. One seed "
     "each; for several see below.", None, None),
    ("Figure 3: its samples", "fig3_initial_samples", "study.py",
     "The samples of figure 2's run after its last epoch, always of the same 25 latents, in eval mode.", worth,
     "evaluate"),
    ("Figure 4: the balanced discriminator", "fig4_balanced_losses", "study.py",
     "Both losses near log 2. They show that D cannot tell samples from digits, and not how good the samples "
     "are.", None, None),
    ("Figure 5: samples over the epochs", "fig5_progression", "study.py",
     "The same 25 latents at three times of figure 4's run. Twenty-five samples do not show which digits are never "
     "drawn: see the counts above.", None, None),
    ("Samples and their nearest training digits", "nearest_neighbours", "evaluate.py",
     "Copies of training digits would stand out by their distance, and none does. That no small part of a digit is "
     "copied, it does not show.", None, None),
    ("What makes D overpower G", "overpowering", "-m studies.overpowering",
     "Width, dropout and eps turned one by one, a dot a run, after 10 epochs.", factors, "overpowering"),
    ("... over the epochs", "overpowering_curves", "-m studies.overpowering",
     "D's accuracy, and what the samples are worth, a line a seed.", None, None),
    ("Losses near log 2, and quality", "losses_and_quality", "-m studies.overpowering",
     "A dot a look at the samples of a run; the larger, the later. Near log 2 there are good ones and bad ones.", None,
     None),
    ("Where the gradient vanishes", "minimax", "-m studies.overpowering",
     "Left the formulas, right what reached G: the gradient of equation (7) as written goes with D(G(z)), which never "
     "got small enough here to matter.", None, None),
    ("One change at a time", "recipes", "-m studies.recipes",
     "Equal epochs, the same two networks. What a change buys early it need not buy at the end.", changes, "recipes"),
    ("The best recipe in full", "recipes_best", "-m studies.recipes",
     "Beside the report's own: quality over the epochs, and precision and recall at the end, a line or a dot a seed.",
     finals, "recipes"),
    ("Figure 6: interpolation", "fig6_interpolation", "interpolate.py", "Two pairs of latents: examples, not rates.",
     None, None),
    ("From 7 to 6, many times", "interpolation_7_6", "-m studies.interpolation_rates",
     "What the classifier reads along the way. It has to name one of ten digits, also where there is none.", walk,
     "interpolation_rates"),
    ("The middle between any two digits", "interpolation_pairs", "-m studies.interpolation_rates",
     "Framed: a third digit.", None, None),
    ("Figure 7: the roof", "fig7_roof_to_6", "arithmetic.py", "One triple of latents.", None, None),
    ("Figure 8: the hybrid", "fig8_hybrid_to_6", "arithmetic.py", "The same triple.", None, None),
    ("The sum, many times", "arithmetic_rates", "-m studies.arithmetic_rates",
     "How often it is read as a 9, beside controls.", sums, "arithmetic_rates"),
    ("The roof on every digit", "roof_on_every_digit", "-m studies.directions", "Is it about sixes?", None, None),
    ("From sevens to sixes", "class_mean_direction", "-m studies.directions",
     "Adding the difference of the class means: a direction to the 6, more than one from the 7.", None, None),
]  # fmt: skip


def write(claims, results, figures, path):
    """Write the report as Markdown; pictures are linked from `figures`, a path as seen from the report's folder."""
    lines = ["# Part 2: the report's claims about the GAN, measured", ""]
    lines += ["Made by `report.py` from the results beside it; the verdicts are computed in `claims.py`.", ""]
    lines += table(
        ["the report says", "measured", "verdict"], [[c["says"], c["measured"], f"**{c['verdict']}**"] for c in claims]
    )
    for title, figure, script, text, numbers, source in SECTIONS:
        if not (path.parent / figures / f"{figure}.png").exists():
            continue
        lines += ["", f"## {title}", "", f"![{title}]({figures}/{figure}.png)", "", f"{text} (`python {script}`)"]
        if numbers and results[source]:
            try:
                lines += ["", *numbers(results)]
            except (KeyError, TypeError, ValueError):  # a result of another size lacks a part of it
                lines += ["", f"{source}.json lacks some of the numbers that belong here."]
    if results["benchmark"]:
        lines += ["", "## Speed of a training step (`python benchmark.py`)", "", *speed(results)]
    with utils.written_whole(path) as part:
        part.write_text("\n".join(lines) + "\n")


def main():
    parser = utils.Parser("Write what became of the report's claims about the GAN.")
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="whose results to read")
    utils.add_common_options(parser)
    args = parser.parse_args()
    utils.choose_folders(args)
    results = read(args.out_dir)
    claims = judge(results)
    utils.make_folder(args.out_dir)
    origin = utils.provenance(torch.device("cpu"))
    utils.save_json(args.out_dir / "claims.json", {"claims": claims, "provenance": origin})
    write(claims, results, Path(os.path.relpath(args.figures_dir, args.out_dir)), args.out_dir / "report.md")
    for claim in claims:
        print(f"{claim['verdict']:14} {claim['says']}")
    print(args.out_dir / "report.md")


if __name__ == "__main__":
    utils.run(main)
