"""The READMEs: short, their links and files are there, and their numbers are computed here from the committed rows."""

import itertools
import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READMES = ["README.md", "part1_lstm/README.md", "part2_gan/README.md"]
WORDS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def text(name):
    """A README on one line, without marks of emphasis."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").replace("**", "").split())


def rows(study, **wanted):
    """The committed rows of a study, such as part1_lstm/compare, that agree with `wanted`."""
    there = json.loads((ROOT / "results" / f"{study}.json").read_text())["rows"].values()
    return [row for row in there if all(row.get(name) == value for name, value in wanted.items())]


def claims(part):
    return json.loads((ROOT / "results" / part / "claims.json").read_text())["claims"]


def percent(values):
    return f"{100 * statistics.mean(values):.0f} %"


def test_sizes_links_and_files():
    for name in READMES:
        folder, content = (ROOT / name).parent, (ROOT / name).read_text(encoding="utf-8")
        assert len(content.encode()) <= (7500 if name == "README.md" else 9500)
        assert content.count("```") % 2 == 0
        for target in re.findall(r"\]\(([^)#]+)\)", content):
            assert target.startswith("https://") or (folder / target).exists(), target
        for file in re.findall(r"`((?:part\d_\w+/)?\w+\.(?:py|html|json|sh))`", content):
            places = folder, folder / "part1_lstm", folder / "part2_gan"
            assert file in ("gru.py", "report_record.json") or any((place / file).exists() for place in places), file


def test_words():
    """At most thirty words a sentence, two numbers at most; code and links do not count."""
    for name in READMES:
        content = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.S)
        lines = [line for line in content.splitlines() if not line.startswith(("|", "    ", "#", "!["))]
        prose = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", "\n".join(lines)))
        for paragraph in re.split(r"\n\s*\n|\n[-*\d]+[. ]", prose):
            for sentence in re.split(r"(?<=[.!?:])\s+", " ".join(paragraph.split())):
                assert len(sentence.split()) <= 30, sentence


def test_table_of_the_front_page():
    """Each row's verdicts are those of a claim; at 3 digits the first one does not hold."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.count("|") == 5]
    names = ["under_30_epochs", "rnn_degrades", "exactly_100"]
    part2 = ["d_too_strong", "samples_improved", "near_log2", "resemble_real", "mostly_9", "sum_is_9"]
    chosen = [claims("part1_lstm")[name] for name in names] + [claims("part2_gan")[name] for name in part2]
    verdicts = [[claim[side]["verdict"] or "mixed" for side in ("code", "text")] for claim in chosen]
    assert [[cell.removesuffix("; not at 3 digits") for cell in row[1:]] for row in cells[2:]] == verdicts
    assert cells[2][1:] == ["yes; not at 3 digits"] * 2
    short = rows("part1_lstm/compare", cell="lstm", input_length=3)
    for side in "code", "text":
        early = [r["reached"] and r["epochs_trained"] < 30 for r in short if r["side"] == side]
        assert sum(early) <= len(early) / 5


def test_speeds():
    for fast in rows("part1_lstm/benchmark", variant="fast"):
        same = {"length": fast["length"], "threads": fast["threads"]}
        (equations,) = rows("part1_lstm/benchmark", variant="equations", **same)
        assert 0.4 < fast["milliseconds"] / equations["milliseconds"] < 0.7
        assert fast["of_nn_lstm"] < 1 or fast["length"] < 100
    assert all(1.8 < row["times_the_usual"] < 2.4 for row in rows("part2_gan/benchmark", rung="train.py"))


def test_numbers_of_part_1():
    long = [r for r in rows("part1_lstm/compare", cell="rnn") if r["input_length"] >= 19]
    by_text, by_code = ([r["reached"] for r in long if r["side"] == side] for side in ("text", "code"))
    words = f"in {sum(by_text)} of thirty runs with 19 digits and more. Trained as in the code, it does so in"
    assert f"{words} {WORDS[sum(by_code)]} of thirty." in text("README.md")
    assert len(by_code) == len(by_text) == 30
    part = text("part1_lstm/README.md")
    learned = [r["reached"] for r in rows("part1_lstm/compare", side="text", cell="rnn", input_length=25)]
    assert f"even 25 digits in {WORDS[sum(learned)]} of {WORDS[len(learned)]} runs" in part
    adam = [r["reached"] for r in rows("part1_lstm/compare", side="adam", cell="rnn", input_length=25)]
    assert f"in place of RMSprop it does so in {WORDS[sum(adam)]} of {WORDS[len(adam)]}" in part
    assert "from repeated palindromes in all runs, and from fresh ones in none" in part
    for size, bias, *counts in (8000, None, 5, 1), (8000, 1, 5, 5), (0, None, 0, 0), (0, 1, 5, 0), (0, 4, 5, 5):
        for length, count in zip((19, 25, 50), (counts[0], *counts), strict=True):
            same = {"cell": "lstm", "forget_bias": bias, "size": size, "input_length": length}
            learned = [r["updates_to_99"] is not None for r in rows("part1_lstm/repetition", **same)]
            assert (sum(learned), len(learned)) == (count, 5), same
    for length in 19, 25:
        plain, opened = (
            [r["updates_to_99"] for r in rows("part1_lstm/repetition", cell="lstm", input_length=length, **own)]
            for own in ({"forget_bias": None, "size": 8000}, {"forget_bias": 4, "size": 0})
        )
        assert max(opened) < min(plain), "sooner"
    words = "At 50 digits that takes a bias of 4. With 1 the LSTM learns repeated ones there, in all runs, and fresh"
    assert f"{words} ones in none." in part
    recovered = claims("part1_lstm")["vanishing_recovers"]["text"]
    assert (recovered["k"], recovered["n"]) == (10, 10)
    assert "All ten learned later" in part
    for row in rows("part1_lstm/long_inputs", forget_bias=4.0):
        assert row["reached"] == (row["input_length"] <= 100), "up to 100 digits in all runs, and 200 in none"
    for cell in "lstm", "rnn":
        plain = rows("part1_lstm/long_inputs", input_length=50, cell=cell, forget_bias=None)
        learned = [r["reached"] for r in plain]
        assert f"learns 50 digits in {WORDS[sum(learned)]} run of {WORDS[len(learned)]}, as the RNN does" in part


def test_numbers_of_part_2():
    front, part = text("README.md"), text("part2_gan/README.md")
    right = {}
    for recipe in "code", "text":
        runs = rows("part2_gan/dynamics", recipe=recipe, arch="initial")
        right[recipe] = [statistics.mean(r["by_epoch"]["d_accuracy"][-10:]) for r in runs]
    assert f"is right on {percent(right['code'])} of its images at the end" in part
    assert f"the same D is right on {percent(right['text'])}" in part
    tenths = {side: WORDS[round(10 * statistics.mean(values))] for side, values in right.items()}
    assert f"it tells real from fake {tenths['code']} times in ten" in front
    assert f"the same D is right {tenths['text']} times in ten" in front

    def after_50(arch, recipe="text"):
        runs = rows("part2_gan/dynamics", recipe=recipe, arch=arch)
        return {r["seed"]: next(q for q in r["quality"] if q["epoch"] == 50)["frechet_distance"] for r in runs}

    initial, balanced = after_50("initial"), after_50("balanced")
    assert all(balanced[seed] > initial[seed] for seed in range(5)), "worse in five of five seeds"

    def ends(name, **changes):
        """What five runs with both slips, but for `changes`, have at the end, by seed."""
        usual = {"generator": "text", "loss": "non-saturating", "dropout": 0.0, "arch": "initial"}
        slips = {"bn_eps": 0.8, "scheme": "simultaneous"}
        runs = rows("part2_gan/overpowering", **usual | slips | changes)
        assert len(runs) == 5
        return [r["quality"][-1][name] for r in sorted(runs, key=lambda r: r["seed"])]

    def middle(name, **changes):
        return statistics.median(ends(name, **changes)) * (100 if name == "d_accuracy" else 1)

    distance, smaller = "frechet_distance", {"arch": "balanced", "dropout": 0.4}
    repaired = middle(distance, bn_eps=1e-5, scheme="alternating")
    assert f"the Fréchet distance from {middle(distance):.0f} to {repaired:.0f}" in part
    assert f"brings the distance to {middle(distance, **smaller):.0f} after the same ten epochs" in part
    assert middle(distance, bn_eps=1e-5) < middle(distance, scheme="alternating") / 2, "eps alone does most of it"

    distances = {
        (arch, p): ends(distance, scheme="alternating", arch=arch, dropout=p)
        for arch, p in itertools.product(("initial", "balanced"), (0.0, 0.4))
    }

    def lower(one, other):
        return sum(a < b for a, b in zip(distances[one], distances[other], strict=True))

    by_dropout = sum(lower((arch, 0.4), (arch, 0.0)) for arch in ("initial", "balanced"))
    by_width = sum(lower(("balanced", p), ("initial", p)) for p in (0.0, 0.4))
    words = f"in {WORDS[by_dropout]} of ten pairs of runs. The smaller width does so in {WORDS[by_width]}"
    assert f"dropout lowers the distance {words}" in part
    for words, changes in {
        "With both slips it is about": {},
        "D is right on about": {"bn_eps": 1e-5},
        "Leave out `--scheme simultaneous`. Expect: about": {"scheme": "alternating"},
        "Write `--arch balanced`. Expect: about": smaller,
        "Add `--loss minimax`. Expect: no. About": {"loss": "minimax"},
    }.items():
        assert f"{words} {middle('d_accuracy', **changes):.0f} %" in part
    record = json.loads((ROOT / "part2_gan" / "report_record.json").read_text())
    stages = {"3": ("initial", "50"), "5a": ("balanced", "1"), "5b": ("balanced", "100"), "5c": ("balanced", "200")}
    for figure, (arch, epoch) in stages.items():
        sure = [[r["sure"][epoch] for r in rows("part2_gan/dynamics", recipe=side, arch=arch)] for side in right]
        numbers = [record["pictures"]["sure"][f"figure {figure}"], *map(statistics.median, sure)]
        cells = r" \| ".join(f"{number:g}" for number in numbers)
        assert re.search(rf"\| figure {figure}, [^|]* \| {cells} \|", part)
    assert f"{100 * record['discriminator']['without_dropout']['real']:.0f} % of them" in part
    long = rows("part2_gan/again", recipe="text", arch="initial", scheme="simultaneous", epochs=50)
    assert len(long) == 5
    assert all(statistics.mean(r["by_epoch"]["d_accuracy"][-10:]) < 0.75 for r in long)
    assert "With it alone repaired D stays in check for 50 epochs, in five of five runs" in part
    near = claims("part2_gan")["near_log2"]["code"]
    assert f"that is so in {WORDS[near['k']]} of {WORDS[near['n']]} runs. In the others" in part
    runs = rows("part2_gan/dynamics", recipe="code", arch="balanced")
    at_6 = sorted((r["by_epoch"]["d_accuracy"][5], r["by_epoch"]["d_accuracy"][-1] > 0.65) for r in runs)
    assert [lost for _, lost in at_6] == [False] * near["k"] + [True] * (near["n"] - near["k"]), "apart by epoch 6"
    again = rows("part2_gan/again", recipe="code", arch="balanced")
    at_0, at_1 = (next(r["by_epoch"]["d_accuracy"] for r in again if r["seed"] == seed) for seed in (0, 1))
    assert min(at_0[5:30]) > 0.8, "looked collapsed for 30 epochs"
    assert 0.57 < statistics.mean(at_0[-50:]) < 0.66, "and came half-way back"
    before = next(r["by_epoch"]["d_accuracy"] for r in runs if r["seed"] == 1)
    assert before[-1] > 0.65 > 0.56 > at_1[-1], "a collapsed seed did not collapse"
    rates = [r for r in rows("part2_gan/latent_rates") if "sum" in r]
    shares = [percent([r["sum"][9] for r in rates if r["recipe"] == side]) for side in right]
    assert f"in {shares[0]} of sums by the code and in {shares[1]} by the text" in front
    for name in "sum", "sum_random":
        assert max(abs(r[name][9] - r["mlp"][name][9]) for r in rates) < 0.05, "about as many nines"
    random = [r["shift_random_6"] for r in rates]
    assert max(random) <= 0.0021
    assert "it is so in at most two of 1,000" in part
    assert claims("part2_gan")["mostly_0"]["text"]["verdict"] == "yes"
    (more, more_by_text), (less, less_by_text) = (
        [claims("part2_gan")[name][side] for side in ("code", "text")] for name in ("sum_is_9", "sum_less")
    )
    assert f"with {WORDS[more_by_text['k']]} of {WORDS[more_by_text['n']]} generators by the text, and with" in part
    assert f"and with {WORDS[more['k']]} of {WORDS[more['n']]} by the code" in part
    between, less_between = (
        [claims("part2_gan")[name][side] for side in ("code", "text")] for name in ("between", "between_less")
    )
    count, n = (sum(side[name] for side in between) for name in "kn")
    words = f"Of {WORDS[n]} generators that were checked, {WORDS[count]} have a one in the middle more often than in"
    assert f"{words} latents of its length, {WORDS[sum(side['k'] for side in less_between)]} less often" in part
    assert f"With {WORDS[less['k']]} others by the code" in part
    counts = f"With {more['k'] + more_by_text['k']} generators of {more['n'] + more_by_text['n']} that is more"
    assert counts in front
    assert f"With {WORDS[less['k'] + less_by_text['k']]} it is less" in front
    for recipe in right:
        shifts = [r["shift_6"] for r in rows("part2_gan/latent_rates", recipe=recipe) if "shift_6" in r]
        assert 0.6 < statistics.mean(shifts) < 0.75, "about two cases of three"
