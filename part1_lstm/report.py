"""What became of the report's claims about the LSTM: OUT_DIR/report.md and OUT_DIR/claims.json, from measured results.

    python report.py        # some seconds; reads what compare.py, beyond.py, length3.py and gradients.py have written

A claim is a sentence of the report, what was measured about it, and a verdict that is computed from the results: holds,
holds in part, does not hold, or, where a result is missing, not tested. Nothing here is typed in by hand but the
report's own words; a result of another size (a quick run) gives the verdict of that size and says which one it is.
"""

import json
import os
import statistics
from pathlib import Path

import torch
from torch import nn

from lstm import LSTM
from utils import Parser, add_common_options, hold, provenance, run, save_json, written_whole

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
    measured += "; training stops at 99 %, so 100 % would be luck"
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


def guess(length3):
    """Is it too few updates for a complex cell?"""

    keys = ("cell", "hidden_size", "optimizer", "batch_size")
    settings = {tuple(row[key] for key in keys): row for row in length3["settings"]}

    def updates(cell, hidden):
        return settings[cell, hidden, "rmsprop", 80]["updates_to_99_percent"]["median"] or float("inf")

    lstm = settings["lstm", 128, "rmsprop", 80]
    few = lstm["accuracy_at_budget"]["median"] < 1 == lstm["accuracy_at_end"]["median"]
    lighter = updates("lstm", 64) < updates("lstm", 128) and updates("rnn", 128) < updates("rnn", 256)
    return " ".join(length3["answer"]), grade(few, lighter)


def rnn_short(beyond):
    """Is the RNN fine at about 10 digits, under its own protocol?"""
    rows = [
        row
        for row in rows_of(beyond["summary"], study="fresh", cell="rnn", optimizer="rmsprop")
        if 7 <= row["input_length"] <= 11
    ]
    measured = "; ".join(f"{row['input_length']} digits: median {percent(row['median'])}" for row in rows)
    measured = f"under its own protocol (2,000 updates on fresh batches): {measured}"
    return measured, grade(*(row["median"] > 0.8 for row in rows))


def rnn_degrades(beyond):
    """Does the RNN get worse with length, under its protocol and under the LSTM's?"""
    texts, bad = [], []
    for words, wanted in (
        ("its own protocol", {"study": "fresh"}),
        ("the LSTM's protocol", {"study": "optimizers"}),
    ):
        for optimizer in ("rmsprop", "adam"):
            rows = rows_of(beyond["summary"], cell="rnn", optimizer=optimizer, **wanted)
            last = [row for row in rows if row["input_length"] >= 19]
            mean, first = statistics.mean(row["mean"] for row in last), last[0]["input_length"]
            bad.append(mean < 0.9)
            texts.append(
                f"{words}, {optimizer}: mean {percent(mean)} from {first} digits on "
                f"(medians {', '.join(percent(row['median'], 0) for row in last)}; reached 99 %: {ratio(last)})"
            )
    return "; ".join(texts), grade(*bad)


def same_protocol(beyond):
    """Is the LSTM ahead where both have the RNN's protocol?"""
    texts, ahead = [], []
    for cell in ("lstm", "rnn"):
        rows = [
            row
            for row in rows_of(beyond["summary"], study="fresh", cell=cell, optimizer="rmsprop")
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


# The id, the report's words, what is asked of which result, and the figure to look at.
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
     "complex LSTM; the simpler RNN benefits from its lighter structure", guess, "length3", "length3"),
    ("rnn_good_when_short", "the RNN model performs acceptably on short sequences (around 10)", rnn_short, "beyond",
     "protocols"),
    ("rnn_degrades", "as the sequence length increases, the performance degrades significantly", rnn_degrades,
     "beyond", "protocols"),
    ("by_vanishing_gradients", "... due to the vanishing gradient problem", vanishing, "gradients", "gradients"),
    ("lstm_superior", "the LSTM demonstrates superior performance over the RNN, especially on longer sequences (one "
     "protocol)", superior, "compare", "updates_to_99"),
    ("lstm_superior_rnn_protocol", "... (the report's RNN protocol for both)", same_protocol, "beyond", "protocols"),
]  # fmt: skip


def judge(results):
    """Every claim with what was measured, its verdict, and the files behind it; `results` as `read` returns them."""
    claims = []
    for name, says, ask, source, figure in CLAIMS:
        if source and results[source] is None:
            measured, verdict = f"{source}.json is not there: run {source}.py", UNTESTED
        else:
            try:
                measured, verdict = ask(results[source]) if source else ask()
            except (IndexError, StopIteration, ValueError, statistics.StatisticsError):
                measured, verdict = f"{source}.json holds no runs of that size", UNTESTED
        file = f"{source}.json" if source else None
        claim = {"id": name, "says": says, "measured": measured, "verdict": verdict}
        claims.append(claim | {"source": file, "figure": figure})
    return claims


def read(folder):
    """The results by name, None for those that are not there."""
    paths = {name: folder / f"{name}.json" for name in ("compare", "beyond", "length3", "gradients", "benchmark")}
    return {name: json.loads(path.read_text()) if path.exists() else None for name, path in paths.items()}


def size(result):
    """How large a result's runs were, and of which commits."""
    headers = list({json.dumps(h): h for h in result.get("studies", {"": result}).values()}.values())
    told = []
    for header in headers:
        config, names = header["config"], ("seeds", "long_seeds", "epochs", "long_epochs", "updates", "precision")
        told += [f"{name.replace('_', ' ')} {config[name]}" for name in names if name in config]
        commits = header.get("run_commits") or [str(header["provenance"]["git_commit"])]
        told.append(f"commit {', '.join(commit[:7] for commit in commits)}")
    return "; ".join(dict.fromkeys(told))


# Title, figure, script, what it shows; drawn only if its result is there.
SECTIONS = [
    (
        "Figure 1: LSTM and vanilla RNN",
        "fig1_lstm_vs_rnn",
        "compare",
        "Figure 1 under one protocol. Every run is a dot: same data, optimizer, budget and stopping for both "
        "cells. It does not show the report's comparison, whose RNN had another protocol.",
    ),
    (
        "Optimizers and protocols",
        "protocols",
        "beyond",
        "The same grid under both optimizers that the exercise allows, and under the protocol that the "
        "report's RNN had. What changes from panel to panel comes from optimizer and budget, not from the "
        "cell.",
    ),
    (
        "Updates to 99 %",
        "updates_to_99",
        "beyond",
        "How many updates each run needed. It does not show that fewer updates mean a better cell: a run that "
        "never gets there stands at the top edge.",
    ),
    (
        "Longer inputs",
        "long_lengths",
        "beyond",
        "Past the report: where each cell ends with these settings and at most 100 epochs. With more epochs "
        "or another learning rate it may end later.",
    ),
    (
        "Three digits",
        "length3",
        "length3",
        "The report's guess at 3 digits, tried: equal numbers of updates, every palindrome held out once, "
        "networks of exchanged sizes.",
    ),
    (
        "Gradients over the steps",
        "gradients",
        "gradients",
        "How much of the last step's gradient reaches step t. That a gradient vanishes before training does "
        "not tell whether the network learns: compare the accuracies in the legend.",
    ),
    (
        "Gates",
        "gates",
        "gradients",
        "The gates of a trained LSTM over one palindrome, and how much of the first cell state is left in each unit.",
    ),
    (
        "Speed",
        "lstm_speed",
        "benchmark",
        "What a training step costs: by the equations, by the backward pass written by hand, and by torch's own LSTM.",
    ),
]


def speed(found):
    """The times of training steps over nn.LSTM's, and the peak memory, as lines of Markdown tables."""
    rows = found["rows"]
    lengths, peers = (list(dict.fromkeys(row[name] for row in rows)) for name in ("length", "peer"))
    cells = {(row["peer"], row["threads"], row["length"]): row for row in rows}
    head = "| " + " | ".join(f"{n} digits" for n in lengths) + " |\n| --- |" + " --- |" * len(lengths)
    lines = [f"Measured on {found['provenance']['processor']}, torch {found['provenance']['torch']}.", ""]
    lines += [f"| milliseconds a step (times nn.LSTM's) {head}"]
    for threads in dict.fromkeys(row["threads"] for row in rows):
        for peer in peers:
            values = [cells[peer, threads, n] for n in lengths]
            told = [f"{row['milliseconds']:.1f} ({row['of_nn_lstm']:.2f})" for row in values]
            lines.append(f"| {peer}, {threads} thread{'s' * (threads > 1)} | " + " | ".join(told) + " |")
    if rows[0]["peak_mib"] is not None:
        lines += ["", f"| peak MiB {head}"]
        for peer in peers[:-1]:
            told = [f"{cells[peer, rows[0]['threads'], n]['peak_mib']:.0f}" for n in lengths]
            lines.append(f"| {peer} | " + " | ".join(told) + " |")
    return lines


def write(claims, results, figures, path):
    """Write the report as Markdown; pictures are linked from `figures`, a path as seen from the report's folder."""
    lines = ["# Part 1: the report's claims about the LSTM, measured", ""]
    lines += ["Made by `report.py` from the results beside it.", ""]
    lines += ["| the report says | measured | verdict |", "| --- | --- | --- |"]
    lines += [f"| {c['says']} | {c['measured']} | **{c['verdict']}** |".replace("\n", " ") for c in claims]
    for title, figure, source, text in SECTIONS:
        if results[source] is not None and (path.parent / figures / f"{figure}.png").exists():
            lines += ["", f"## {title}", "", f"![{title}]({figures}/{figure}.png)", ""]
            lines += [f"{text} (`{source}.py`; {size(results[source])})"]
            answers = results[source].get("answer") if figure == source else None
            lines += ["", *answers] if answers else []
    if results["benchmark"]:
        lines += ["", *speed(results["benchmark"])]
    with written_whole(path) as part:
        part.write_text("\n".join(lines) + "\n")


def main(argv=None):
    """Judge, write, and print the table."""
    parser = Parser("Write what became of the report's claims about the LSTM.")
    add_common_options(parser)
    args = parser.parse_args(argv)
    results = read(args.out_dir)
    claims = judge(results)
    with hold(args.out_dir):
        save_json(args.out_dir / "claims.json", {"claims": claims, "provenance": provenance(torch.device("cpu"))})
        path = args.out_dir / "report.md"
        write(claims, results, Path(os.path.relpath(args.figures_dir, args.out_dir)), path)
    for claim in claims:
        print(f"{claim['verdict']:14} {claim['says']}")
    print(path)


if __name__ == "__main__":
    run(main)
