"""The READMEs: short, their links and files are there, and their numbers are computed here from the committed rows."""

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READMES = ["README.md", "part1_lstm/README.md", "part2_gan/README.md"]
PARTS = ["part1_lstm", "part2_gan"]
TENTHS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def text(name):
    """A README on one line, without marks of emphasis."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").replace("**", "").split())


def rows(study, **wanted):
    """The committed rows of a study, such as part1_lstm/compare, that agree with `wanted`."""
    found = json.loads((ROOT / "results" / f"{study}.json").read_text())["rows"].values()
    return [row for row in found if all(row.get(name) == value for name, value in wanted.items())]


def claims(part):
    return json.loads((ROOT / "results" / part / "claims.json").read_text())["claims"]


def percent(values):
    return f"{100 * statistics.mean(values):.0f} %"


def test_sizes_links_and_files():
    for name in READMES:
        folder, content = (ROOT / name).parent, (ROOT / name).read_text(encoding="utf-8")
        assert len(content.encode()) <= (7500 if name == "README.md" else 9500)
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
    """Each row's verdicts are those of a claim."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.count("|") == 5]
    names = ["under_30_epochs", "rnn_degrades", "exactly_100"]
    part2 = ["d_too_strong", "samples_improved", "near_log2", "resemble_real", "sum_is_9"]
    found = [claims("part1_lstm")[name] for name in names] + [claims("part2_gan")[name] for name in part2]
    verdicts = [[claim[side]["verdict"] or "mixed" for side in ("code", "text")] for claim in found]
    assert [row[1:] for row in cells[2:]] == verdicts


def test_speeds():
    measured = [json.loads((ROOT / "results" / part / "benchmark.json").read_text())["rows"] for part in PARTS]
    first, second = (list(rows.values()) if isinstance(rows, dict) else rows for rows in measured)
    fast, equations, torch_lstm = (
        {(r["length"], r["threads"]): r["milliseconds"] for r in first if r["variant"] == variant}
        for variant in ("fast", "equations", "nn.LSTM")
    )
    assert all(0.4 < fast[key] / equations[key] < 0.7 for key in fast)
    assert all(fast[key] < torch_lstm[key] for key in fast if key[0] >= 100)
    assert all(1.8 < r["times_the_usual"] < 2.4 for r in second if r["rung"] == "train.py")


def test_numbers_of_part_1():
    counts = []
    for side in "text", "code":
        long = [r["reached"] for r in rows("part1_lstm/compare", side=side, cell="rnn") if r["input_length"] >= 19]
        counts += [sum(long), len(long)]
    words = f"in {counts[0]} runs. Trained as in the code it does so in {TENTHS[counts[2]]}, of {counts[1]} each"
    assert f"from 19 digits on, {words}" in text("README.md")
    part = text("part1_lstm/README.md")
    learned = [r["reached"] for r in rows("part1_lstm/compare", side="text", cell="rnn", input_length=25)]
    assert f"even 25 digits in {TENTHS[sum(learned)]} of {TENTHS[len(learned)]} runs" in part
    plain = {"cell": "lstm", "forget_bias": None}
    for size, wanted, words in (8000, True, "in all runs"), (0, False, "from fresh ones in none"):
        for length in 19, 25:
            for row in rows("part1_lstm/repetition", size=size, input_length=length, **plain):
                assert (row["updates_to_99"] is not None) == wanted, words
        assert words in part
    for bias in 1, 4:
        for length in 19, 25:
            found = rows("part1_lstm/repetition", size=0, input_length=length, cell="lstm", forget_bias=bias)
            assert len(found) == 5
            assert sum(r["updates_to_99"] is not None for r in found) >= 4
    recovered = claims("part1_lstm")["vanishing_recovers"]["text"]
    assert (recovered["k"], recovered["n"]) == (10, 10)
    assert "All ten learned later" in part
    far = [r["reached"] for r in rows("part1_lstm/long_inputs", forget_bias=4.0) if r["input_length"] <= 100]
    assert all(far)
    assert len(far) == 20
    assert "learns up to 100 digits, in all runs" in part
    plain = [r["reached"] for r in rows("part1_lstm/long_inputs", input_length=50, **plain)]
    assert f"learns 50 digits in {TENTHS[sum(plain)]} run of {TENTHS[len(plain)]}" in part


def test_numbers_of_part_2():
    front, part = text("README.md"), text("part2_gan/README.md")
    right = {}
    for recipe in "code", "text":
        found = rows("part2_gan/dynamics", recipe=recipe, arch="initial")
        right[recipe] = [statistics.mean(r["by_epoch"]["d_accuracy"][-10:]) for r in found]
    assert f"is right on {percent(right['code'])} of its images at the end" in part
    assert f"the same D is right on {percent(right['text'])}" in part
    tenths = {side: TENTHS[round(10 * statistics.mean(values))] for side, values in right.items()}
    assert f"it tells real from fake {tenths['code']} times in ten" in front
    assert f"the same D is right {tenths['text']} times in ten" in front

    def distance(**own):
        usual = {"generator": "text", "loss": "non-saturating", "dropout": 0.0, "arch": "initial"}
        found = rows("part2_gan/overpowering", **usual | own)
        assert len(found) == 5
        return f"{statistics.median(r['quality'][-1]['frechet_distance'] for r in found):.0f}"

    slips = {"bn_eps": 0.8, "scheme": "simultaneous"}
    repaired = {"bn_eps": 1e-5, "scheme": "alternating"}
    assert f"the Fréchet distance from {distance(**slips)} to {distance(**repaired)}" in part
    assert f"brings it to {distance(**slips, arch='balanced', dropout=0.4)} after the same ten epochs" in part

    def right_on(**own):
        usual = {"generator": "text", "loss": "non-saturating", "dropout": 0.0, "arch": "initial"}
        found = rows("part2_gan/overpowering", **usual | slips | own)
        return f"{100 * statistics.median(r['quality'][-1]['d_accuracy'] for r in found):.0f} %"

    assert f"With both slips it is about {right_on()}" in part
    assert f"D is right on about {right_on(bn_eps=1e-5)}" in part
    assert f"Leave out `--scheme simultaneous`. Expect: about {right_on(scheme='alternating')}" in part
    assert f"Write `--arch balanced`. Expect: about {right_on(arch='balanced', dropout=0.4)}" in part
    assert f"Add `--loss minimax`. Expect: no. About {right_on(loss='minimax')}" in part
    record = json.loads((ROOT / "part2_gan" / "report_record.json").read_text())
    stages = {"3": ("initial", "50"), "5a": ("balanced", "1"), "5b": ("balanced", "100"), "5c": ("balanced", "200")}
    for figure, (arch, epoch) in stages.items():
        lines = (ROOT / "part2_gan/README.md").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith(f"| figure {figure}, "))
        found = [[r["sure"][epoch] for r in rows("part2_gan/dynamics", recipe=side, arch=arch)] for side in right]
        numbers = [record["pictures"]["sure"][f"figure {figure}"], *map(statistics.median, found)]
        assert line.endswith("| " + " | ".join(f"{number:g}" for number in numbers) + " |")
    assert f"{100 * record['discriminator']['without_dropout']['real']:.0f} % of them" in part
    near = claims("part2_gan")["near_log2"]["code"]
    assert f"in {TENTHS[near['k']]} of {TENTHS[near['n']]} runs; the others collapse" in part
    nines = {
        recipe: [r["sum"] for r in rows("part2_gan/latent_rates", recipe=recipe) if "sum" in r] for recipe in right
    }
    shares = [percent([sum[9] for sum in nines[side]]) for side in ("code", "text")]
    assert f"in {shares[0]} of sums by the code, in {shares[1]} by the text" in front
    random = [r["shift_random_6"] for r in rows("part2_gan/latent_rates") if "sum" in r]
    assert max(random) <= 0.0011
    assert "it is so in at most one of 1,000" in part
    assert claims("part2_gan")["mostly_0"]["text"]["verdict"] == "yes"
    more, less = (claims("part2_gan")[name]["code"] for name in ("sum_is_9", "sum_less"))
    assert f"and with {TENTHS[more['k']]} of {TENTHS[more['n']]} by the code" in part
    assert f"With {TENTHS[less['k']]} of those {TENTHS[less['n']]}" in part
    for recipe in right:
        found = [r["shift_6"] for r in rows("part2_gan/latent_rates", recipe=recipe) if "shift_6" in r]
        assert 0.6 < statistics.mean(found) < 0.75, "about two cases of three"


@pytest.mark.parametrize("name", READMES)
def test_fences_are_closed(name):
    assert (ROOT / name).read_text(encoding="utf-8").count("```") % 2 == 0
