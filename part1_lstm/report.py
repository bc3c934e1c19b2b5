"""The report's statements about the LSTM, counted: OUT_DIR/report.md and OUT_DIR/claims.json, from measured results.

    python report.py              # a second
    python report.py --publish    # also write published.json, the counts that later reports are compared with

Reads the JSON files that the other scripts of this part have written, report_record.json and published.json (that of
OUT_DIR, where there is one, else that of the repository). The statements and their rules are in claims.py. Below their
table is every figure that is there, with its numbers.
"""

import math
import os
import statistics

import torch

import claims
import plots
import utils
from cells import CELLS
from studies import three_digits as study

# The results by name, and what each file has at least.
RESULTS = dict.fromkeys(("compare", "protocols", "repetition", "long_inputs", "gradients"), ("runs", "summary"))
RESULTS |= {"three_digits": ("settings", "config"), "benchmark": ("rows", "provenance"), "record": ("accuracy",)}
SIDES = {"published": "as published", "written": "as written"}


def load(folder):
    """The results by name, None for those that are not there, with report_record.json as `record`."""
    paths = {name: folder / f"{name}.json" for name in RESULTS} | {"record": utils.HERE / "report_record.json"}
    return {name: utils.load_json(path, *RESULTS[name]) if path.exists() else None for name, path in paths.items()}


def table(head, rows):
    """A Markdown table as lines."""
    return [f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *rows)]


def told(values):
    """Numbers in words: all of them, or the median of more than five."""
    values = [math.inf if value is None else value for value in values]
    return f"median {statistics.median(values):.4g}" if len(values) > 5 else ", ".join(f"{v:.4g}" for v in values)


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
        if claim["unit"] == claims.BUILT:
            sides = [claims.BUILT] * 2
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


def outcomes(result, keys, names):
    """A sweep's medians and successes, a line for each length and a column for each group of runs that share `keys`.

    names: what each group is called in the table, by its values.
    """
    cells = {(tuple(row[key] for key in keys), row["input_length"]): row for row in result["summary"]}
    groups = [group for group in names if any(group == other for other, _ in cells)]
    rows = []
    for length in sorted({length for _, length in cells}):
        found = [cells.get((group, length)) for group in groups]
        told = [f"{row['median']:.3f} ({plots.successes(row)})" if row else "" for row in found]
        rows.append([length, *told])
    head = ["digits: median accuracy (successes)", *(names[group] for group in groups)]
    return table(head, rows)


def figure_1(results):
    """Both sides of figure 1."""
    names = {(side, name): f"{kind.label}, {words}" for side, words in SIDES.items() for name, kind in CELLS.items()}
    return outcomes(results["compare"], ("side", "cell"), names)


def protocols(results):
    """Both cells, optimizers and protocols."""
    names = {
        (protocol, optimizer, name): f"{kind.label}, {label}, {words}"
        for protocol, words in (("split", "8,000 palindromes"), ("fresh", "fresh batches"))
        for optimizer, label in plots.OPTIMIZER_LABELS.items()
        for name, kind in CELLS.items()
    }
    return outcomes(results["protocols"], ("protocol", "optimizer", "cell"), names)


def long_inputs(results):
    """The cells on longer inputs."""
    biases = {row["forget_bias"] for row in results["long_inputs"]["summary"]} - {None}
    names = {(name, None): kind.label for name, kind in CELLS.items()}
    names |= {("lstm", bias): f"LSTM, forget bias {bias:g}" for bias in sorted(biases)}
    return outcomes(results["long_inputs"], ("cell", "forget_bias"), names)


def repetition(results):
    """How many runs reached 99 %, after how many updates, and in how many the gradient had vanished."""
    rows = []
    for row in results["repetition"]["summary"]:
        size, needed = row["size"], row["median_updates_to_99"]
        counts = {"failed": row["runs"] - row["reached"], "reached": row["reached"]}
        lost = [f"{row['vanished'][name]} of {count}" if count else "" for name, count in counts.items()]
        told = [CELLS[row["cell"]].label, row["input_length"], f"{size:,}" if size else "fresh"]
        told += [f"{row['reached']} of {row['runs']}", "" if needed is None else f"{needed:g}", *lost]
        rows.append(told)
    head = ["cell", "digits", "training palindromes", "reached 99 %", "updates, median"]
    return table([*head, "gradient vanished: runs that failed", "... that reached 99 %"], rows)


def three_digits(results):
    """The study's answer."""
    found = results["three_digits"]
    return "\n\n".join(study.answer(found["settings"], found["config"]["updates"])).split("\n")


def gradients(results):
    """The gradient at the first step before and after training, and the units that keep the first cell state."""
    rows, found = [], {}
    for run in results["gradients"]["runs"]:
        found.setdefault((run["trained_on"], run["network"]), []).append(run)
    for (trained_on, name), runs in found.items():
        ratios = [run["last_over_first"]["h"] or math.inf for run in runs]
        lost = sum(map(claims.vanished, ratios))
        kept = [run["gates"]["units_keeping_half"] for run in runs if "gates" in run]
        accuracy = statistics.median(run["validation_accuracy"] for run in runs)
        told = [name, f"on {trained_on} digits" if trained_on else "no", f"{accuracy:.3f}"]
        told += [f"{statistics.median(ratios):.1e} ({min(ratios):.1e} to {max(ratios):.1e})", f"{lost} of {len(runs)}"]
        rows.append([*told, ", ".join(f"{units:.1f}" for units in kept)])
    steps = len(results["gradients"]["runs"][0]["curves"]["h"])
    head = [
        "network",
        "trained",
        f"accuracy on {steps} digits, median",
        "gradient norm with respect to h, last step / first: median (range)",
    ]
    return table(
        [*head, f"over {claims.VANISHED:,}", "units keeping over half of the first cell state, each run"], rows
    )


def speed(results):
    """The times of training steps over nn.LSTM's, and the peak memory."""
    found = results["benchmark"]
    rows, where = found["rows"], found["provenance"]
    lengths, variants = (list(dict.fromkeys(row[name] for row in rows)) for name in ("length", "variant"))
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    cells = {(row["variant"], row["threads"], row["length"]): row for row in rows}
    times, peaks = [], []
    for count in threads:
        for variant in variants:
            values = [cells[variant, count, length] for length in lengths]
            told = [f"{row['milliseconds']:.1f} ({row['of_nn_lstm']:.2f})" for row in values]
            times.append([f"{variant}, {count} thread{'s' * (count > 1)}", *told])
            if count == threads[0] and values[0]["peak_mib"] is not None:
                peaks.append([variant, *(f"{row['peak_mib']:.0f}" for row in values)])
    head = [f"{length} digits" for length in lengths]
    lines = [f"Measured on {where['processor']}, torch {where['torch']}.", ""]
    lines += table(["milliseconds per step (median over rounds of the ratio to nn.LSTM's)", *head], times)
    return lines + (["", *table(["peak MiB", *head], peaks)] if peaks else [])


# Title, figures, script, what is drawn, the numbers and the result that they come from.
SECTIONS = [
    ("Figure 1: LSTM and vanilla RNN", ["fig1_lstm_vs_rnn"], "compare.py", "Accuracy over the number of digits read, a "
     "dot for each run. As published: the LSTM's best validation accuracy, the RNN's mean over its last 100 of 2,000 "
     "fresh batches, and the report's own numbers. As written, one protocol for both cells: a dot is the best "
     "validation accuracy; a diamond, which the rules above use, the accuracy at the end on 10,000 palindromes of "
     "neither split. All seeds as written share one draw of 10,000 palindromes, split anew. The table has the dots' "
     "medians.", figure_1, "compare"),
    ("Optimizers and protocols", ["protocols", "updates_to_99"], "studies/protocols.py", "Left and middle: as "
     "written, under RMSprop and under Adam. Right: the protocol of the report's RNN, with the report's means. Below: "
     "updates to 99 % validation accuracy as written; crosses: runs that never reached it. Runs of the same "
     "settings are figure 1's, of its first seeds.", protocols, "protocols"),
    ("Repetition", ["repetition"], "studies/repetition.py", "Updates to 99 % on unseen palindromes by the size of the "
     "training set, and the gradient norm at the last step over that at the first while training. Vanished: over "
     f"{claims.VANISHED:,} at the end of training.", repetition, "repetition"),
    ("Longer inputs", ["long_inputs"], "studies/long_inputs.py", "Success rate with its 95 % Wilson interval, and "
     "accuracy, at longer inputs than the report's, with and without a forget gate that begins open.", long_inputs,
     "long_inputs"),
    ("Three digits", ["three_digits"], "studies/three_digits.py", "Accuracy on held-out palindromes of 4 digits over "
     "updates, every palindrome held out once; dashed: each cell with the other one's number of weights.",
     three_digits, "three_digits"),
    ("Gradients and gates", ["gradients", "gates"], "studies/gradients.py", "The gradient norm at step t relative to "
     "that at the last step, before and after training, with the median validation accuracy at that length in the "
     "legend; renamed: if each answer stands for the digit that it was most often given for. Below: the gates of a "
     "trained LSTM while it reads one palindrome, and the share of the first cell state that is left in each unit.",
     gradients, "gradients"),
    ("Speed", ["lstm_speed"], "benchmark.py", "Milliseconds of a training step per digit: by the equations, by the "
     "backward pass written by hand, and by torch's own LSTM; usual update: clipping and optimizer parameter by "
     "parameter; products: the matrix products alone.", speed, "benchmark"),
]  # fmt: skip


def write(counted, lines, results, figures, path):
    """Write the report as Markdown; pictures are linked from `figures`, a path as seen from the report's folder."""
    text = ["# Part 1: the report's statements about the LSTM, counted", ""]
    text += [
        "Made by `report.py` from the results beside it. " + " ".join(claims.__doc__.split("\n\n", 1)[1].split()),
        "",
    ]
    head = ["the report says", "rule [unit]", "the report's number", *SIDES.values()]
    text += [*table(head, claim_rows(counted)), *(["", lines[0] + "."] if lines else []), "", chance(counted)]
    for title, names, script, told, numbers, source in SECTIONS:
        there = [name for name in names if (path.parent / figures / f"{name}.png").exists()]
        if results[source] is None or not there:
            continue
        text += ["", f"## {title}", ""]
        for name in there:
            text += [f"![{name}]({figures}/{name}.png)", ""]
        try:
            text += [f"{told} (`{script}`)", "", *numbers(results)]
        except (IndexError, KeyError, TypeError, ValueError):
            message = f"{path.parent / source}.json: not what {script} writes; run it again"
            raise utils.InputError(message) from None
    with utils.written_whole(path) as part:
        part.write_text("\n".join(text) + "\n")


def main(argv=None):
    """Run from the command line: count the claims, write both files, print the counts."""
    parser = utils.Parser("Count in how many runs the report's statements about the LSTM are true.")
    parser.add_argument("--publish", action="store_true", help="write OUT_DIR/published.json as well")
    utils.add_folder_options(parser)
    args = parser.parse_args(argv)
    results = load(args.out_dir)
    if not any(value for name, value in results.items() if name != "record"):
        raise utils.InputError(f"{args.out_dir}: no result of this part's scripts is here; run compare.py first")
    counted = claims.count(results)
    own, repository = (folder / "published.json" for folder in (args.out_dir, utils.RESULTS))
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
        untested = claims.BUILT if claim["unit"] == claims.BUILT else "not tested"
        print(f"{claim['says']}  [{'; '.join(sides) or untested}]")
    print(*lines, args.out_dir / "report.md", sep="\n")


if __name__ == "__main__":
    utils.run(main)
