"""The numbers in README.md are those of the committed results."""

import math
import re
import statistics
from pathlib import Path

import pytest

import claims
import utils

PART = Path(__file__).resolve().parent.parent
README = (PART / "README.md").read_text()
# Numbers that are settings, not results: lengths, epochs, sizes of data, names of things.
SETTINGS = {"1", "3", "4", "5", "6", "7", "8,000", "15", "19", "20", "25", "30", "35", "40", "50", "75", "95", "99"}
SETTINGS |= {"0.001", "13", "21", "100", "200", "500", "1,000", "2,000", "10,000", "64,000", "128"}
pytestmark = pytest.mark.usefixtures("committed")


def load(name, *keys):
    return utils.load_json(utils.RESULTS / f"{name}.json", *keys)


def chosen(rows, at_least=0, **wanted):
    rows = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return [row for row in rows if row.get("input_length", at_least) >= at_least]


def count(rows, good=lambda row: row["reached"]):
    return f"{sum(bool(good(row)) for row in rows)} of {len(rows)}"


def decimals(value, digits):
    return f"{value:.{digits}f}".lstrip("0")


def repetition():
    """The phrases about studies/repetition.py."""
    runs, sizes = load("repetition", "runs")["runs"], (1000, 8000, 64_000, 0)
    learned = {}
    for cell, label in ("lstm", "LSTM"), ("rnn", "RNN"):
        own = [[run["updates_to_99"] for run in chosen(runs, cell=cell, size=size)] for size in sizes]
        learned[cell] = [[updates for updates in group if updates] for group in own]
        counts = " | ".join(f"{len(a)} of {len(b)}" for a, b in zip(learned[cell], own, strict=True))
        yield f"| {label} | {counts} |"
    short = [chosen(runs, cell="lstm", size=size, input_length=15) for size in sizes]
    medians = [f"{statistics.median(run['updates_to_99'] for run in group):,.0f}" for group in short]
    yield f"| its updates at 15 digits, median | {' | '.join(medians)} |"

    def vanished(run, updates=math.inf):
        return claims.vanished([ratio for done, ratio in run["gradients"] if done <= updates][-1])

    fresh = chosen(runs, cell="lstm", size=0)
    short, long = (
        count(group, lambda run: run["updates_to_99"] is not None)
        for group in (chosen(fresh, input_length=15), chosen(fresh, 19))
    )
    yield f"the LSTM learns 15 digits in {short} runs, 19 and 25 digits in {long}."
    failed, reached = (
        [r for r in chosen(runs, cell="lstm") if bool(r["updates_to_99"]) is good] for good in (False, True)
    )
    yield f"than at the first in {count(failed, vanished)} LSTM runs that failed"
    yield f"in {count(reached, vanished)} that reached 99 %"
    rnns = [run for run in chosen(runs, cell="rnn") if run["updates_to_99"]]
    yield f"vanished in {sum(map(vanished, rnns))} of the {len(rnns)} RNN runs above that reached 99 %"

    below = [run for run in runs if (run["updates_to_99"] or math.inf) > 2000]
    a, b, c, d = (
        count(
            [run for run in chosen(below, cell=cell) if vanished(run, 2000) is gone], lambda run: run["updates_to_99"]
        )
        for gone in (True, False)
        for cell in ("lstm", "rnn")
    )
    yield f"{a} LSTMs with a vanished gradient reached 99 % later and {c} without (RNNs: {b} and {d})"


def mean_of(runs, seed, low, high):
    """The mean accuracy of a seed's runs from `low` to `high` digits."""
    return statistics.mean(
        claims.accuracy(run) for run in runs if run["seed"] == seed and low <= run["input_length"] <= high
    )


def sentences():
    """The phrases of README.md that hold results, computed."""
    yield from repetition()
    runs, protocols = load("compare", "runs")["runs"], load("protocols", "runs")["runs"]
    (lstm, rnn), (lstm_published, rnn_published) = (
        [chosen(runs, side=side, cell=cell) for cell in ("lstm", "rnn")] for side in ("written", "published")
    )
    updates = [entry["updates_to_99"] for entry in chosen(lstm, 19)]
    yield f"the LSTM needs {min(updates)} to {max(updates):,} updates"
    yield f"as written ({len(updates)} runs)"
    fresh = {cell: chosen(protocols, protocol="fresh", optimizer="rmsprop", cell=cell) for cell in ("lstm", "rnn")}
    low, *_, high = sorted(entry["accuracy"] for entry in chosen(fresh["lstm"], 19))
    assert high < 0.11
    yield f"all {len(chosen(fresh['lstm'], 19))} LSTM runs stay at chance level"
    yield f"(accuracy {decimals(low, 3)} to {decimals(high, 3)})"
    groups = chosen(rnn_published, 15), chosen(fresh["lstm"], 15)
    means = [decimals(statistics.mean(run["accuracy"] for run in group), 2) for group in groups]
    told = [
        f"{mean} for the {cell} ({len(of)} runs)" for mean, cell, of in zip(means, ("RNN", "LSTM"), groups, strict=True)
    ]
    yield f"the mean accuracy is {' and '.join(told)}"
    same = [[(run["input_length"], run["seed"], run["accuracy"]) for run in of] for of in (fresh["rnn"], rnn_published)]
    assert {*same[0]} < {*same[1]}

    yield f"{count(chosen(lstm_published, 7))} LSTM runs from 7 digits on reach 99.9 % validation accuracy"
    record = utils.load_json(PART / "report_record.json", "accuracy")["accuracy"]["rnn"]["lengths"]
    means = [(group, name) for group in (rnn_published, rnn) for name in ("accuracy", "test_accuracy")]
    means.append((record, "mean"))
    own, own_test, best, test, told = (
        decimals(statistics.mean(entry[name] for entry in chosen(group, 19)), 2) for group, name in means
    )
    yield f"a mean accuracy of {own} ({len(chosen(rnn_published, 19))} runs; the report: {told})"
    yield f"on test palindromes at the end it is {own_test}"
    yield f"it has {test} on test palindromes ({best} if each run's best validation accuracy counts"
    epochs = max(entry["epochs"] for entry in chosen(lstm, 7))
    yield f"{count(chosen(lstm, 7))} LSTM runs reach 99 % validation accuracy, where training stops"
    yield f", within {epochs} epochs"
    yield f"{count(chosen(rnn, 7))} RNN runs do."
    needed = {(entry["input_length"], entry["seed"]): entry["updates_to_99"] for entry in lstm}
    sooner = [
        entry["updates_to_99"] < needed[entry["input_length"], entry["seed"]]
        for entry in chosen(rnn, 7)
        if entry["reached"]
    ]
    yield f"the LSTM of the same seed and length in {sum(sooner)} of {len(sooner)} cases"
    falls = [
        [mean_of(of, seed, 3, 11) - mean_of(of, seed, 19, 25) >= 0.1 for seed in {run["seed"] for run in of}]
        for of in (rnn, chosen(protocols, protocol="split", optimizer="adam", cell="rnn"))
    ]
    told = ", with Adam in ".join(f"{sum(of)} of {len(of)}" for of in falls).replace(",", " seeds,", 1)
    yield f"at 19 to 25 digits is at least .1 below that at 3 to 11 in {told}"
    adam = [count(chosen(protocols, 7, protocol="split", optimizer="adam", cell=cell)) for cell in ("lstm", "rnn")]
    yield f"With Adam it is {adam[0]} and {adam[1]} (5 seeds)"
    yield f"holds for {count(lstm, lambda entry: entry['reached'] and entry['epochs'] < 30)} LSTM runs"
    exact = [
        count(chosen(group, 25), lambda entry, name=name: entry[name] == 1)
        for group in (lstm, lstm_published)
        for name in ("accuracy", "test_accuracy")
    ]
    yield f"digits holds for {exact[0]} runs on the 2,000 palindromes"
    yield f"and for {exact[1]} on 10,000 test palindromes"
    yield f"as published, where training stops later, for {exact[2]} and {exact[3]}"

    runs = load("long_inputs", "runs")["runs"]
    usual, plain, biased = (
        chosen(runs, cell=cell, forget_bias=bias) for cell, bias in (("lstm", None), ("rnn", None), ("lstm", 4.0))
    )
    a, b, c, d = (count(chosen(group, input_length=n)) for group in (usual, plain) for n in (35, 50))
    yield f"reaches 99 % in {a} runs at 35 digits and in {b} at 50; the RNN in {c} and {d}"
    near = [entry for entry in biased if entry["input_length"] <= 100]
    most = max(entry["updates"] for entry in near)
    yield f"does so in {count(near)} runs at 35, 50, 75 and 100 digits, within {most:,} updates"
    far = chosen(biased, 200)
    assert max(entry["accuracy"] for entry in far) < 0.13
    yield f"At 200 digits this LSTM, too, stays at chance level ({len(far)} runs, {far[0]['epochs']} epochs)"

    settings = load("three_digits", "settings")["settings"]
    of = {(s["cell"], s["hidden_size"], s["optimizer"]): s for s in settings if s["batch_size"] == 80}
    percent = {o: f"{100 * of['lstm', 128, o]['accuracy_at_budget']['median']:.0f} %" for o in ("rmsprop", "adam")}
    yield f"classifies {percent['rmsprop']} of them correctly after the report's 100 updates"
    yield f"Adam: {percent['adam']}), and with RMSprop all of them after 500"
    assert of["lstm", 128, "rmsprop"]["accuracy_at_end"]["min"] == 1
    needed = {key: setting["updates_to_99_percent"]["median"] for key, setting in of.items()}
    yield f"slows it ({needed['lstm', 64, 'rmsprop']} updates to 99 % against {needed['lstm', 128, 'rmsprop']})"
    first, heavy, light = 5, *(of["rnn", size, "rmsprop"]["updates_to_99_percent"]["seeds"] for size in (256, 128))
    told = f"at the first evaluation, after {first} updates, in {heavy.count(first)} of {len(heavy)} seeds"
    yield f"{told} (with 128 units in {light.count(first)} of {len(light)})"

    gradients = load("gradients", "runs", "summary")
    names = {"lstm": "LSTM", "rnn": "vanilla RNN", "biased": "LSTM, forget bias 4"}
    before, after = (
        {key: chosen(gradients["runs"], network=name, trained_on=stage) for key, name in names.items()}
        for stage in (None, 25)
    )
    first = {key: statistics.median(1 / run["last_over_first"]["h"] for run in runs) for key, runs in before.items()}
    yield f"is {first['lstm']:.0e} times that at the last in the LSTM and {first['rnn']:.0e} times in the RNN"
    lost = [run["curves"]["h"][-1] / run["curves"]["h"][-25] > 1000 for run in before["lstm"] + before["rnn"]]
    yield f"over the last 25 of them it is below a thousandth in {sum(lost)} of {len(lost)} networks"
    vanished = {
        key: [run["seed"] for run in runs if run["curves"]["h"][-1] / run["curves"]["h"][-25] > 1000]
        for key, runs in after.items()
    }
    seeds = [run["seed"] for run in after["rnn"]]
    learned = {entry["seed"]: entry["reached"] for entry in chosen(rnn, 25) if entry["seed"] in seeds}
    failed, rest = ([learned[seed] for seed in vanished["rnn"]].count(good) for good in (False, True))
    told = f"{failed} of the {[*learned.values()].count(False)} RNNs that missed 99 % validation accuracy"
    told += f" and in {rest} of the {sum(learned.values())} that reached it"
    yield f"below a thousandth in {len(vanished['lstm'])} of 5 LSTMs, in {told}"
    assert not any(run["last_over_first"]["h"] > 1000 for run in after["biased"])
    accuracy = {key: sorted(run["validation_accuracy"] for run in runs) for key, runs in after.items()}
    yield f"so trained on 25 digits have an accuracy of at least {decimals(accuracy['biased'][0], 3)} on 100 digits"
    ends = {key: f"{decimals(values[0], 3)} to {decimals(values[-1], 3)}" for key, values in accuracy.items()}
    yield f"accuracy of these networks is {ends['lstm']} (LSTM) and {ends['rnn']} (RNN)"
    renamed = {key: sorted(run["renamed_accuracy"] for run in runs) for key, runs in after.items()}
    told = " and ".join(f"{decimals(of[0], 3)} to {decimals(of[-1], 3)}" for of in (renamed["lstm"], renamed["rnn"]))
    yield f"the accuracy on 1,000 others is {told}"
    kept = [sorted(run["gates"]["units_keeping_half"] for run in after[key]) for key in ("lstm", "biased")]
    some = [units for units in kept[0] if units > 0]
    yield f"In {len(kept[0]) - len(some)} of {len(kept[0])} trained LSTMs no unit keeps more than half"
    yield f"in the others {min(some):.1f} to {max(some):.1f} of 128 units do, on average"
    yield f"it is {kept[1][0]:.0f} to {kept[1][-1]:.0f} units"
    yield f"{load('sweep_speed', 'times_the_usual')['times_the_usual']['sweep']:.1f} times as many runs per minute"


def test_every_number_in_the_findings_is_a_result():
    """Each computed phrase stands in README.md, and no further number in the findings but settings."""
    prose = " ".join(README[README.index("## Findings") : README.index("## Speed")].split())
    text, missing = " ".join(README.split()), []
    for phrase in sentences():
        if phrase not in text:
            missing.append(phrase)
        prose = prose.replace(phrase, " ")
    assert missing == []
    prose = re.sub(r"\*[^*]+\*(?!\*)|!?\[[^]]*\]\([^)]*\)", " ", prose.replace("**", ""))  # captions, links
    assert {number.rstrip(".,") for number in re.findall(r"\d[\d,.e-]*", prose)} - SETTINGS == set()


def test_speed_table():
    found = load("benchmark", "rows", "provenance")
    of = {(row["length"], row["variant"], row["threads"]): f"{row['milliseconds']:.1f}" for row in found["rows"]}
    variants = ["equations", "equations, compiled", "fast", "nn.LSTM", "products"]
    for length in sorted({row["length"] for row in found["rows"]}):
        cells = [f"{of[length, variant, 1]}, {of[length, variant, 2]}" for variant in variants]
        assert f"| {length} | {' | '.join(cells)} |" in README
    where = found["provenance"]
    assert f"({where['processor']}, torch {where['torch']}, batch 128" in README


def test_links_and_files():
    for target in re.findall(r"\]\((\.\./[^)]+)\)", README):
        assert (PART / target).exists(), target
    table = README[README.index("## Files") : README.index("## Extend")]
    named = set(re.findall(r"`(\w+\.py)`", table))
    assert named == {path.name for path in PART.glob("*.py")}
