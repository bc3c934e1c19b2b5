"""The report's statements about the GAN, counted: OUT_DIR/report.md and OUT_DIR/claims.json, from measured results.

    python report.py              # a second
    python report.py --publish    # also write OUT_DIR/published.json, which later reports are compared with

Reads the JSON files that the other scripts of this part have written, report_record.json and published.json. The
statements and their rules are in claims.py. Below their table is every figure that is there, with its numbers.
"""

import os
import statistics

import torch

import claims
import metrics
import utils
from studies import latent_rates as study
from studies import overpowering
from studies import recipes as recipe_study

RESULTS = ("dynamics", "evaluate", "latent_rates", "overpowering", "recipes", "benchmark")
SIDES = {"published": "as published", "written": "as written"}


def load(folder):
    """The results by name, None for those that are not there, with report_record.json as `record`."""
    paths = {name: folder / f"{name}.json" for name in RESULTS}
    found = {name: utils.load_json(path) if path.exists() else None for name, path in paths.items()}
    return found | {"record": utils.load_json(utils.HERE / "report_record.json")}


def table(head, rows):
    """A Markdown table as lines."""
    return [f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *rows)]


def told(values, form=".3g"):
    """Numbers in words: all of them, or the median of more than five."""
    if len(values) > 5:
        return f"median {statistics.median(values):{form}}"
    return ", ".join(f"{value:{form}}" for value in values)


def cell(side):
    """One side of a claim for the table, such as **holds** (9 of 10: median 0.69); without verdict the count alone."""
    if side is None:
        return ""
    counted = f"{side['k']} of {side['n']}: {told(side['values'])}"
    return counted if side["verdict"] == "open" else f"**{side['verdict']}** ({counted})"


def claim_rows(counted):
    """The claims as rows of the table."""
    rows = []
    for claim in counted:
        sides = [cell(claim[side]) for side in SIDES]
        if claim["unit"] == claims.BUILT.words:
            sides = ["differs" if claim["record"] else "implemented", "implemented"]
        elif not any(sides):
            sides = ["not tested"] * 2
        rows.append([claim["says"], f"{claim['rule']} [{claim['unit']}]", claim["record"] or "", *sides])
    return rows


def agreement(counted, published):
    """Lines that say where these counts have the same majority as the committed ones; both are lists of claims."""
    known, lines, total = {claim["id"]: claim for claim in published}, [], 0
    for claim in counted:
        for side, words in SIDES.items():
            old, new = known.get(claim["id"], {}).get(side), claim[side]
            if old and new:
                total += 1
                if (2 * old["k"] > old["n"]) != (2 * new["k"] > new["n"]):
                    here, there = (f"{of['k']} of {of['n']}" for of in (new, old))
                    lines.append(f"{claim['id']}, {words}: true of {here} here, of {there} in the committed results")
    return [f"{total - len(lines)} of {total} counts have the same majority as the committed ones", *lines]


def chance(counted):
    """What the verdicts are worth, as a sentence."""
    count = sum(claim[side] is not None for claim in counted for side in SIDES)
    return (
        "With fewer than five units no count is a verdict. 5 of 5 clears one half by Wilson's interval (from 0.57), "
        f"not by the exact one (from 0.48), and among {count} counts a few verdicts may be due to chance."
    )


def dynamics(results):
    """The end of every run of dynamics.py."""
    rows = []
    for name, run in results["dynamics"]["runs"].items():
        recipe, arch, seed = name.split("_")
        last = run["last_epoch"]
        rows.append([SIDES[recipe], arch, seed.removeprefix("seed"), run["epochs"], f"{last['d_loss']:.2f}"])
        rows[-1] += [f"{last['g_loss']:.2f}", f"{100 * last['d_accuracy']:.0f} %"]
        if not run["quality"]:  # of --evaluate-every 0
            rows[-1] += [""] * 7
            continue
        end = run["quality"][-1]
        norms = [end["g_gradients"][loss]["norm"] for loss in ("non-saturating", "minimax")]
        norms.append(end["g_gradients"]["non-saturating"]["coherence"])
        rows[-1] += [f"{norm:.2f}" for norm in norms]
        rows[-1] += [f"{end['frechet_distance']:.1f}", f"{100 * end['confident_share']:.0f} %"]
        shares = run.get("precision_recall", {})
        rows[-1] += [f"{shares[what]:.2f}" if shares else "" for what in ("precision", "recall")]
    head = ["recipe", "D", "seed", "epochs", "D loss", "G loss", "accuracy of D", "gradient norm, G's loss"]
    head += ["... equation (7)", "its coherence, G's loss", "Fréchet distance", "confident", "precision", "recall"]
    lines = table(head, rows)
    if record := results["dynamics"].get("record"):
        within = ", ".join(
            f"{run.removeprefix('published_balanced_')} {of['d_loss']} and {of['g_loss']}"
            for run, of in record["within_each_run"].items()
        )
        lines += [
            "",
            f"Of the {record['losses']} losses of D and of G that the report's author printed, "
            f"{record['within']['d_loss']} and {record['within']['g_loss']} lie within the band of "
            f"{100 * record['band']:.0f} % of the single batches of figure 4's runs as published; within that of each "
            f"run by itself: {within}.",
            "",
            *table(
                ["mean over the first ten epochs, where the author printed", "D loss", "G loss"],
                [
                    [name, *(f"{of[column]:.3f}" for column in ("d_loss", "g_loss"))]
                    for name, of in {"the report's run": record["first"], **record["first_of_each_run"]}.items()
                ],
            ),
        ]
    return lines + [""] + correlations(results)


def correlations(results):
    """Spearman's correlation of the losses' distance from log 2 and the Fréchet distance, within runs."""
    rows = []
    for side, words in SIDES.items():
        for arch in ("initial", "balanced"):
            if runs := list(claims.runs_of(results, side, arch).values()):
                found = [[claims.losses_and_quality(run, changes) for run in runs] for changes in (False, True)]
                rows.append([words, arch, len(runs[0]["quality"]), *(told(values, "+.3f") for values in found)])
    return [
        "Rank correlation (Spearman) of the losses' distance from log 2 with the Fréchet distance over the evaluations "
        "of a run; +1: the nearer to log 2, the better. Both change with the epochs; their changes from one evaluation "
        "to the next are without this trend. Neither shows that one causes the other.",
        "",
        *table(["recipe", "D", "evaluations", "every run's", "... of the changes"], rows),
    ]


def quality(results):
    """What evaluate.py found for every generator, and below each for real digits in its place."""
    rows = []
    for name, entry in results["evaluate"].items():
        low, high = entry["frechet_distance_interval"]
        distance, floor = f"{entry['frechet_distance']:.1f} ({low:.1f} to {high:.1f})", f"{entry['floor']:.1f}"
        found, digits = entry["precision_recall"] or {}, f"... {entry['floor_digits']:,} training digits"
        for label, first, figures, kind in (
            (f"{entry['samples']:,} samples of {name}", distance, entry, "samples"),
            (digits, floor, entry["test_digits"], "training_digits"),
        ):
            shares = [f"{found[kind][what]:.2f}" if found else "-" for what in ("precision", "recall")]
            rows.append([label, first, f"{figures['score']:.2f}", f"{100 * figures['confident_share']:.0f} %", *shares])
            rows[-1].append(", ".join(map(str, figures["histogram"])))
    head = ["", "Fréchet distance", "score", "confident", "precision", "recall", "confident, 0 to 9"]
    told = "Score, confident and 0 to 9 of real digits are those of the test digits. One training run each"
    told += "; five of best_lr are under *What improves the samples*." if "best_lr" in results["evaluate"] else "."
    return [*table(head, rows), "", told]


def latent_rates(results):
    """The rates of figures 6 to 8 over the generators."""
    found = results["latent_rates"]["generators"]
    own = {side: [e["classifiers"]["cnn"] for e in found.values() if e["recipe"] == side] for side in SIDES}

    def summary(values):
        if len(values) < 3:
            return told(values, ".2f")
        low, high = metrics.t_interval(values)
        return f"{statistics.mean(values):.2f} ({max(0, low):.2f} to {min(1, high):.2f})"

    rows = [[label, *(summary([rate(of) for of in own[side]]) for side in SIDES)] for label, rate in study.ROWS]
    for path, label in ("line", "7 to 6, straight line: path length over distance"), ("fade", "... cross-fade"):
        rows.append([label])
        rows[-1] += [told([of["paths"][path]["length_over_distance"] for of in own[side]]) for side in SIDES]
    head = [f"{words}, {len(own[side])} generator{'s' * (len(own[side]) != 1)}" for side, words in SIDES.items()]
    lines = table(["share, as the CNN classifies: mean (95 % t interval) of three or more, else all", *head], rows)
    for name, entry in found.items():
        if "without_rates" in entry:
            lines += ["", f"{name} has no rates: {entry['without_rates']}"]
    return lines


def factors(results):
    """What every factor of the study of D does, and how the losses' distance from log 2 goes with quality."""
    config, columns, level = results["overpowering"]["config"], overpowering.QUANTITIES, overpowering.LEVEL
    seeds = list(range(config["seed"], config["seed"] + config["seeds"]))
    effects = overpowering.effects_of(results["overpowering"]["runs"], seeds)
    rows = [
        [words, *(overpowering.tell(effects[name].get(factor), log) for name, (_, log) in columns.items())]
        for factor, (words, *_) in overpowering.FACTORS.items()
    ]
    lines = [
        f"Intervals: Student's t over {config['seeds']} seeds, {100 * level:.2f} %, that is 95 % corrected for "
        f"{0.05 / (1 - level):.0f} factors.",
        "",
    ]
    lines += table(["changed, all else equal", *(label for label, _ in columns.values())], rows)
    for where, of in results["overpowering"]["correlations"].items():
        lines += ["", f"Rank correlation of the losses' distance from log 2 with the Fréchet distance {where}: "]
        lines[-1] += f"{overpowering.tell(of)}, each over {of['n']} values."
    return lines


def recipes(results):
    """The recipes at equal epochs on held-out digits; the final one and the report's to their end on test digits."""
    lines = []
    if found := results["recipes"].get("changes"):
        rows = []
        for entry in found["changes"].values():
            values = entry["at_end"]["frechet_distance"]
            distances = ", ".join(f"{value:.1f}" for value in values["seeds"])
            rows.append([entry["what"], f"{values['median']:.1f}", distances])
        digits = f"{found['held_out']:,} held-out digits"
        what = f"Fréchet distance from {digits} after {found['config']['epochs']} epochs, median"
        head = ["recipe", what, "every seed"]
        lines += [*table(head, rows), ""]
    if found := results["recipes"].get("final"):
        others = recipe_study.report_runs(results["dynamics"] or {"runs": {}})
        ends = {
            recipe_study.REPORT[recipe][0]: [(run["quality"], run["precision_recall"]) for run in of]
            for recipe, of in others.items()
            if of
        }
        ends[found["what"]] = [(run["quality"], run["end"]) for run in found["runs"].values()]
        rows = []
        for what, of in ends.items():
            values = [[quality[-1]["frechet_distance"], end["precision"], end["recall"]] for quality, end in of]
            distance, *others = (f"{statistics.median(column):.2f}" for column in zip(*values, strict=True))
            rows.append([what, len(of), distance, "", "", *others])
        rows[-1][3:5] = (f"{found['median'][name]:.2f}" for name in ("frechet_distance", "distance_from_half"))
        floor = [f"{found['floor'][name]:.2f}" for name in ("training_from_test", "half_from_half")]
        rows.append(["real digits: training digits; the other half", "", "", *floor, "", ""])
        head = ["recipe (medians)", "seeds", "Fréchet distance to the test digits, 5,000 samples"]
        head += [f"{found['floor']['digits']:,} samples", "to a random half of them, half as many samples"]
        head += ["precision", "recall"]
        lines += table(head, rows)
    return lines


def speed(results):
    """A training step, from the usual script to train.py, one change a line."""
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
    told = "Milliseconds per step (in brackets: times as fast as the usual script, median over rounds); peak MiB of "
    told += "the first column. Each line keeps the changes of the lines above, train.py's options apart. "
    told += f"{where['processor']}, "
    return [f"{told}torch {where['torch']}.", "", *table(["", *head, "peak MiB"], rows)]


# Title, figures, script, what is drawn, the numbers and the result that they come from.
SECTIONS = [
    ("Figures 2 to 5: training dynamics", ["fig2_initial_losses", "fig3_initial_samples", "fig4_balanced_losses",
     "fig5_progression"], "dynamics.py", "Losses and samples of the initial and the balanced discriminator, as "
     "published and as written. Dots: the losses that the report's author printed.", dynamics, "dynamics"),
    ("Sample quality", ["nearest_neighbours"], "evaluate.py", "Samples of each generator; the figure shows "
     "some of the one in the repository, with their nearest training digits.", quality, "evaluate"),
    ("Figures 6 to 8: the latent space", ["fig6_interpolation", "fig7_roof_to_6", "fig8_hybrid_to_6"],
     "interpolate.py, arithmetic.py", "Strips of one generator, three for each kind, with the class of every image.",
     None, "latent_rates"),
    ("How often figures 6 to 8 come out", ["latent_rates"], "studies/latent_rates.py", "Rates of many strips and "
     "sums: a dot for each generator, filled as the CNN classifies, hollow as the MLP does.", latent_rates,
     "latent_rates"),
    ("What makes the discriminator overpower the generator", ["overpowering", "overpowering_curves",
     "losses_and_quality", "minimax"], "studies/overpowering.py", "First figure: every setting after its last epoch, a "
     "dot a run, bar: mean; settings without dots were not run. Second: schemes, discriminators and eps over the "
     "epochs, a line a run. Third: the Fréchet distance over the larger distance of the two losses from log 2. Fourth, "
     "left: the gradient of both losses of G by D's logit, computed; right: their norms by G's weights in all "
     "evaluations. The table has the mean change (with x: its factor) over all pairs of settings that differ in one "
     "factor alone, and its interval.", factors, "overpowering"),
    ("What improves the samples", ["recipes", "recipes_best"], "studies/recipes.py", "First figure: one change at a "
     "time, at equal epochs. Second: one recipe and runs of the report, to their end, compared with the test digits.",
     recipes, "recipes"),
    ("Speed", [], "benchmark.py", "A training step.", speed, "benchmark"),
]  # fmt: skip


def write(counted, lines, results, figures, path):
    """Write the report as Markdown; pictures are linked from `figures`, a path as seen from the report's folder."""
    text = ["# Part 2: the report's statements about the GAN, counted", ""]
    text += ["Made by `report.py` from the results beside it. " + claims.__doc__.split("\n\n", 1)[1].strip(), ""]
    head = ["the report says", "rule [unit]", "the report's number", *SIDES.values()]
    text += [*table(head, claim_rows(counted)), *(["", lines[0] + "."] if lines else []), "", chance(counted)]
    for title, names, script, told, numbers, source in SECTIONS:
        there = [name for name in names if (path.parent / figures / f"{name}.png").exists()]
        if results[source] is None or (names and not there):
            continue
        text += ["", f"## {title}", ""]
        for name in there:
            text += [f"![{name}]({figures}/{name}.png)", ""]
        try:
            text += [f"{told} (`{script}`)", *(["", *numbers(results)] if numbers else [])]
        except (IndexError, KeyError, TypeError, ValueError):
            message = f"{path.parent / source}.json: not what {script} writes; run it again"
            raise utils.InputError(message) from None
    with utils.written_whole(path) as part:
        part.write_text("\n".join(text) + "\n")


def main(argv=None):
    parser = utils.Parser("Count in how many runs the report's statements about the GAN are true.")
    parser.add_argument("--dataset", choices=utils.TITLES, default="mnist", help="whose results")
    parser.add_argument("--publish", action="store_true", help="write OUT_DIR/published.json as well")
    utils.add_folder_options(parser)
    args = parser.parse_args(argv)
    results = load(args.out_dir)
    if not any(results[name] for name in RESULTS):
        raise utils.InputError(f"{args.out_dir}: no result of this part's scripts is here; run dynamics.py first")
    counted = claims.count(results)
    own = args.out_dir / "published.json"
    repository = utils.subfolder(utils.RESULTS, args.dataset) / "published.json"
    with utils.hold(args.out_dir):
        if args.publish:
            utils.save_json(own, {"claims": counted})
        reference = own if own.exists() else repository
        published = utils.load_json(reference, "claims")["claims"] if reference.exists() else []
        lines = [] if args.publish else agreement(counted, published)  # with itself it says nothing
        write(counted, lines, results, os.path.relpath(args.figures_dir, args.out_dir), args.out_dir / "report.md")
        provenance = utils.provenance(torch.device("cpu"))
        utils.save_json(args.out_dir / "claims.json", {"claims": counted, "provenance": provenance})
    for claim in counted:
        sides = [
            f"{side}: {claim[side]['k']} of {claim[side]['n']} {claim[side]['verdict']}"
            for side in SIDES
            if claim[side]
        ]
        untested = claims.BUILT.words if claim["unit"] == claims.BUILT.words else "not tested"
        print(f"{claim['says']}  [{'; '.join(sides) or untested}]")
    print(*lines, args.out_dir / "report.md", sep="\n")


if __name__ == "__main__":
    utils.run(main)
