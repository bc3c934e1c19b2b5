"""The report's claims about the LSTM, tested: a table with what was measured and a verdict for each.

    python report.py        some seconds

Reads the JSON files that compare.py, benchmark.py and the studies have written to OUT_DIR; writes OUT_DIR/report.md and
OUT_DIR/claims.json. A claim is a sentence of the report. Its verdict is computed from the results: holds, holds in
part, does not hold, or, where a result is missing, not tested.
"""

import os
import statistics
from pathlib import Path

import torch
from torch import nn

import utils
from lstm import LSTM

HOLDS, PART, NOT, UNTESTED = "holds", "holds in part", "does not hold", "not tested"
NAMES = {"lstm": "LSTM", "rnn": "RNN"}


def grade(*conditions):
    """All conditions true: holds; none: does not hold; else in part."""
    return HOLDS if all(conditions) else PART if any(conditions) else NOT


def percent(value, digits=1):
    """Such as 97.5 %."""
    return f"{100 * value:.{digits}f} %"


def rows_of(summary, **wanted):
    """The rows of a summary that agree with `wanted`, by length."""
    found = [row for row in summary if all(row[name] == value for name, value in wanted.items())]
    return sorted(found, key=lambda row: row["input_length"])


def ratio(rows):
    """Successes and runs in several rows, such as `44 of 45`."""
    return f"{sum(round(r['success_rate'] * r['runs']) for r in rows)} of {sum(r['runs'] for r in rows)}"


def from_scratch():
    """The model, without torch.nn.LSTM, one bias a gate."""
    model = LSTM()
    library = [name for name, part in model.named_modules() if isinstance(part, (nn.RNNBase, nn.RNNCellBase))]
    hidden = [part.bias is not None for name, part in model.named_children() if name.endswith("h") and name != "W_ph"]
    inputs = [part.bias is not None for name, part in model.named_children() if name.endswith("x")]
    count = sum(parameter.numel() for parameter in model.parameters())
    measured = (
        f"`lstm.py`: {len(inputs)} layers for the digit, with bias, {len(hidden)} for the hidden state, without; "
        f"{count:,} weights; parts of torch's own recurrent networks in it: {len(library)}"
    )
    return measured, grade(not library, all(inputs), not any(hidden))


def early_stop(compare):
    """Do most LSTM runs reach 99 % in fewer than 30 epochs?"""
    runs = [entry for entry in compare["runs"] if entry["cell"] == "lstm"]
    early = [entry for entry in runs if entry["reached"] and entry["epochs"] < 30]
    measured = (
        f"{len(early)} of {len(runs)} LSTM runs stopped at 99 % validation accuracy before epoch 30 "
        f"({compare['config']['optimizer']}; median {statistics.median(e['epochs'] for e in runs):g} epochs, longest "
        f"{max(e['epochs'] for e in runs)})"
    )
    return measured, grade(len(early) > len(runs) / 2)


def exactly_100(compare):
    """Is the LSTM at the longest input without a single error?"""
    length = max(entry["input_length"] for entry in compare["runs"])
    runs = [entry for entry in compare["runs"] if (entry["cell"], entry["input_length"]) == ("lstm", length)]
    best, test = ([entry[name] for entry in runs if entry[name] is not None] for name in ("accuracy", "test_accuracy"))
    measured = f"{length} digits, {len(runs)} runs: validation {percent(min(best), 2)} to {percent(max(best), 2)}"
    if test:
        measured += f", fresh palindromes {percent(min(test), 2)} to {percent(max(test), 2)}"
    measured += "; training stops at 99 %"
    return measured, grade(min(best) == 1, max(best) == 1)


def stays_high(compare):
    """Does every LSTM run from 7 digits on reach 99 %?"""
    rows = [row for row in rows_of(compare["summary"], cell="lstm") if row["input_length"] >= 7]
    low = min(row["median"] for row in rows)
    lengths = f"from {rows[0]['input_length']} to {rows[-1]['input_length']} digits"
    measured = f"{ratio(rows)} LSTM runs {lengths} reached 99 %; lowest median {percent(low)}"
    return measured, grade(all(row["success_rate"] == 1 for row in rows), low >= 0.99)


def short_of_100(compare):
    """Do LSTM runs at 3 digits stay short of 100 %?"""
    runs = [e for e in compare["runs"] if (e["cell"], e["input_length"]) == ("lstm", 3)]
    short = [entry for entry in runs if entry["accuracy"] < 1]
    others = [e["accuracy"] for e in compare["runs"] if (e["cell"], e["input_length"]) == ("rnn", 3)]
    mean, other = (percent(statistics.mean(values)) for values in ([entry["accuracy"] for entry in runs], others))
    measured = f"{len(short)} of {len(runs)} LSTM runs stayed short, mean {mean}; RNN mean {other}"
    return f"{measured} (20 validation palindromes: steps of 5 %)", grade(bool(short), len(short) > len(runs) / 2)


def guess(three_digits):
    """Is it too few updates for a complex cell?"""

    keys = ("cell", "hidden_size", "optimizer", "batch_size")
    settings = {tuple(row[key] for key in keys): row for row in three_digits["settings"]}

    def updates(cell, hidden):
        return settings[cell, hidden, "rmsprop", 80]["updates_to_99_percent"]["median"] or float("inf")

    lstm = settings["lstm", 128, "rmsprop", 80]
    few = lstm["accuracy_at_budget"]["median"] < 1 == lstm["accuracy_at_end"]["median"]
    lighter = updates("lstm", 64) < updates("lstm", 128) and updates("rnn", 128) < updates("rnn", 256)
    return " ".join(three_digits["answer"]), grade(few, lighter)


def rnn_short(protocols):
    """Does the RNN reach 80 % at about 10 digits, under its own protocol?"""
    rows = [
        row
        for row in rows_of(protocols["summary"], protocol="fresh", cell="rnn", optimizer="rmsprop")
        if 7 <= row["input_length"] <= 11
    ]
    measured = "; ".join(f"{row['input_length']} digits: median {percent(row['median'])}" for row in rows)
    measured = f"under its own protocol (2,000 updates on fresh batches): {measured}"
    return measured, grade(*(row["median"] > 0.8 for row in rows))


def rnn_degrades(protocols):
    """Does the RNN get worse with length, under its protocol and under the LSTM's?"""
    texts, bad = [], []
    for words, protocol in (("its own protocol", "fresh"), ("the LSTM's protocol", "split")):
        for optimizer in ("rmsprop", "adam"):
            rows = rows_of(protocols["summary"], cell="rnn", optimizer=optimizer, protocol=protocol)
            last = [row for row in rows if row["input_length"] >= 19]
            mean, first = statistics.mean(row["mean"] for row in last), last[0]["input_length"]
            bad.append(mean < 0.9)
            texts.append(
                f"{words}, {optimizer}: mean {percent(mean)} from {first} digits on "
                f"(medians {', '.join(percent(row['median'], 0) for row in last)}; reached 99 %: {ratio(last)})"
            )
    return "; ".join(texts), grade(*bad)


def same_protocol(protocols):
    """Is the LSTM ahead where both have the RNN's protocol?"""
    texts, ahead = [], []
    for cell in ("lstm", "rnn"):
        rows = [
            row
            for row in rows_of(protocols["summary"], protocol="fresh", cell=cell, optimizer="rmsprop")
            if row["input_length"] >= 15
        ]
        texts.append(f"{NAMES[cell]} mean {percent(statistics.mean(r['mean'] for r in rows))}")
        ahead.append(statistics.mean(row["mean"] for row in rows))
    return "both under 2,000 updates on fresh batches, from 15 digits on: " + ", ".join(texts), grade(
        ahead[0] > ahead[1]
    )


def superior(compare):
    """Does the LSTM solve more runs than the RNN under one protocol?"""
    cells = {cell: rows_of(compare["summary"], cell=cell) for cell in ("lstm", "rnn")}
    long = {cell: [row for row in rows if row["input_length"] >= 15] for cell, rows in cells.items()}
    rates = {cell: sum(r["success_rate"] * r["runs"] for r in rows) for cell, rows in long.items()}
    quicker = sum(
        (b["median_updates_to_99"] or 1e9) < (a["median_updates_to_99"] or 1e9)
        for a, b in zip(cells["lstm"], cells["rnn"], strict=True)
    )
    measured = (
        f"one protocol, from 15 digits on: LSTM {ratio(long['lstm'])} runs to 99 %, RNN {ratio(long['rnn'])}; the "
        f"median RNN run that gets there needs fewer updates at {quicker} of {len(cells['rnn'])} lengths"
    )
    return measured, grade(rates["lstm"] > rates["rnn"], quicker <= len(cells["rnn"]) / 2)


def vanishing(gradients):
    """Does the RNN's gradient vanish, and the LSTM's not?"""

    def gone(trained, network):
        found = [
            entry["last_over_first"][state]
            for entry in gradients["summary"]
            for state in entry["last_over_first"]
            if bool(entry["trained_on"]) == trained and entry["network"] == network
        ]
        return all(value is None or value["median"] > 1000 for value in found)

    measured = " ".join(gradients["answer"])
    return measured, grade(
        *(gone(trained, "vanilla RNN") for trained in (False, True)),
        *(not gone(trained, "LSTM") for trained in (False, True)),
    )


# The id, the report's words, the rule, the result that it is applied to, and the figure.
CLAIMS = [
    ("from_scratch", "from scratch, without torch.nn.LSTM, one bias a gate", from_scratch, None, None),
    ("under_30_epochs", "most training sessions converged in fewer than 30 epochs", early_stop, "compare",
     "fig1_lstm_vs_rnn"),
    ("lstm_stays_high", "the LSTM model maintains high accuracy even on long sequences", stays_high, "compare",
     "fig1_lstm_vs_rnn"),
    ("exactly_100_at_25", "exactly 100% accuracy on sequences of length 25", exactly_100, "compare",
     "fig1_lstm_vs_rnn"),
    ("short_of_100_at_3", "the LSTM's performance did not reach 100% on sequences of length 3", short_of_100, "compare",
     "fig1_lstm_vs_rnn"),
    ("guess_at_3", "the restricted dataset size limits the gradient updates per epoch, making it harder for the "
     "complex LSTM; the simpler RNN benefits from its lighter structure", guess, "three_digits", "three_digits"),
    ("rnn_good_when_short", "the RNN model performs acceptably on short sequences (around 10)", rnn_short, "protocols",
     "protocols"),
    ("rnn_degrades", "as the sequence length increases, the performance degrades significantly", rnn_degrades,
     "protocols", "protocols"),
    ("by_vanishing_gradients", "... due to the vanishing gradient problem", vanishing, "gradients", "gradients"),
    ("lstm_superior", "the LSTM demonstrates superior performance over the RNN, especially on longer sequences (one "
     "protocol)", superior, "compare", "updates_to_99"),
    ("lstm_superior_rnn_protocol", "... (the report's RNN protocol for both)", same_protocol, "protocols", "protocols"),
]  # fmt: skip


SCRIPTS = {"compare": "compare.py", "benchmark": "benchmark.py"}
SCRIPTS |= {name: f"studies/{name}.py" for name in ("protocols", "long_inputs", "three_digits", "gradients")}


def verdicts(results):
    """Every claim with what was measured, its verdict, and the file behind it; `results` as `load` returns them."""
    claims = []
    for name, says, rule, source, figure in CLAIMS:
        if source and results[source] is None:
            measured, verdict = f"{source}.json is missing: run {SCRIPTS[source]}", UNTESTED
        else:
            try:
                measured, verdict = rule(results[source]) if source else rule()
            except (IndexError, StopIteration, ValueError, statistics.StatisticsError):
                measured, verdict = f"{source}.json holds no runs of that size", UNTESTED
        file = f"{source}.json" if source else None
        claim = {"id": name, "says": says, "measured": measured, "verdict": verdict}
        claims.append(claim | {"source": file, "figure": figure})
    return claims


def load(folder):
    """The results by name, None for those that are missing; InputError for a damaged one."""
    paths = {name: folder / f"{name}.json" for name in SCRIPTS}
    return {
        name: utils.load_json(path, "config", "provenance") if path.exists() else None for name, path in paths.items()
    }


def size(result):
    """How large a result's runs were, and of which commits."""
    config = result["config"]
    words = [f"{name.replace('_', ' ')} {config[name]}" for name in ("seeds", "epochs", "updates") if name in config]
    commits = result.get("run_commits") or [str(result["provenance"]["git_commit"])]
    return "; ".join([*words, f"commit {', '.join(commit[:7] for commit in commits)}"])


# Title, figure, result, caption; drawn only if the result is there.
SECTIONS = [
    (
        "Figure 1: LSTM and vanilla RNN",
        "fig1_lstm_vs_rnn",
        "compare",
        "Accuracy over the number of digits read, one dot per run; the same data, optimizer, budget and early "
        "stopping for both cells. The report's RNN had another protocol.",
    ),
    (
        "Optimizers and protocols",
        "protocols",
        "protocols",
        "Left and middle: figure 1's protocol under RMSprop and under Adam. Right: both cells under the protocol of "
        "the report's RNN, with the means that the report published.",
    ),
    (
        "Updates to 99 %",
        "updates_to_99",
        "protocols",
        "Updates that each run of figure 1's protocol needed to 99 % validation accuracy. Crosses at the top: runs "
        "that never reached it.",
    ),
    (
        "Longer inputs",
        "long_inputs",
        "long_inputs",
        "Success rate with its 95 % Wilson interval, and accuracy, at longer inputs than the report's, with and "
        "without a forget gate that begins open.",
    ),
    (
        "Three digits",
        "three_digits",
        "three_digits",
        "Accuracy on held-out palindromes of 4 digits over updates, every palindrome held out once; dashed: each cell "
        "with the other one's number of weights.",
    ),
    (
        "Gradients over the steps",
        "gradients",
        "gradients",
        "The gradient norm at step t relative to that at the last step, before and after training, with the median "
        "validation accuracy at that length in the legend.",
    ),
    (
        "Gates",
        "gates",
        "gradients",
        "The gates of a trained LSTM while it reads one palindrome, and the share of the first cell state that is left "
        "in each unit.",
    ),
    (
        "Speed",
        "lstm_speed",
        "benchmark",
        "Milliseconds of a training step per digit: by the equations, by the backward pass written by hand, and by "
        "torch's own LSTM.",
    ),
]


def speed(found):
    """The times of training steps over nn.LSTM's, and the peak memory, as lines of Markdown tables."""
    rows = found["rows"]
    lengths, variants = (list(dict.fromkeys(row[name] for row in rows)) for name in ("length", "variant"))
    cells = {(row["variant"], row["threads"], row["length"]): row for row in rows}
    head = "| " + " | ".join(f"{n} digits" for n in lengths) + " |\n| --- |" + " --- |" * len(lengths)
    lines = [f"Measured on {found['provenance']['processor']}, torch {found['provenance']['torch']}.", ""]
    lines += [f"| milliseconds per step (times nn.LSTM's) {head}"]
    for threads in dict.fromkeys(row["threads"] for row in rows):
        for variant in variants:
            values = [cells[variant, threads, n] for n in lengths]
            told = [f"{row['milliseconds']:.1f} ({row['of_nn_lstm']:.2f})" for row in values]
            lines.append(f"| {variant}, {threads} thread{'s' * (threads > 1)} | " + " | ".join(told) + " |")
    if rows[0]["peak_mib"] is not None:
        lines += ["", f"| peak MiB {head}"]
        for variant in variants[:-1]:
            told = [f"{cells[variant, rows[0]['threads'], n]['peak_mib']:.0f}" for n in lengths]
            lines.append(f"| {variant} | " + " | ".join(told) + " |")
    return lines


def write(claims, results, figures, path):
    """Write the report as Markdown; figures are linked from `figures`, a path relative to the report's folder."""
    lines = ["# Part 1: the report's claims about the LSTM, measured", ""]
    lines += ["Written by `report.py` from the results beside it.", ""]
    lines += ["| the report says | measured | verdict |", "| --- | --- | --- |"]
    lines += [f"| {c['says']} | {c['measured']} | **{c['verdict']}** |".replace("\n", " ") for c in claims]
    for title, figure, source, text in SECTIONS:
        if results[source] is not None and (path.parent / figures / f"{figure}.png").exists():
            lines += ["", f"## {title}", "", f"![{title}]({figures}/{figure}.png)", ""]
            lines += [f"{text} (`{SCRIPTS[source]}`; {size(results[source])})"]
            answers = results[source].get("answer") if figure == source else None
            lines += ["", *answers] if answers else []
    if results["benchmark"]:
        lines += ["", *speed(results["benchmark"])]
    with utils.written_whole(path) as part:
        part.write_text("\n".join(lines) + "\n")


def main(argv=None):
    """Run from the command line: compute the verdicts, write both files, print the table."""
    parser = utils.Parser("Test the report's claims about the LSTM.")
    utils.add_common_options(parser)
    args = parser.parse_args(argv)
    results = load(args.out_dir)
    claims = verdicts(results)
    with utils.hold(args.out_dir):
        origin = utils.provenance(torch.device("cpu"))
        utils.save_json(args.out_dir / "claims.json", {"claims": claims, "provenance": origin})
        path = args.out_dir / "report.md"
        write(claims, results, Path(os.path.relpath(args.figures_dir, args.out_dir)), path)
    for claim in claims:
        print(f"{claim['verdict']:14} {claim['says']}")
    print(path)


if __name__ == "__main__":
    utils.run(main)
