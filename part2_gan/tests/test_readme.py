"""The numbers in README.md are those of the committed results."""

import math
import re
import subprocess
from pathlib import Path

import pytest

import claims
import utils

PART = Path(__file__).resolve().parent.parent
README = (PART / "README.md").read_text()
# Numbers that are settings or the report's own, not our results: widths, epochs, lengths, digits, names of things.
SETTINGS = {"0", "0.4", "0.8", "0.96", "1", "1.2", "1.8", "1e-5", "2", "3", "4", "6", "7", "8", "9", "10", "14", "25"}
SETTINGS |= {"50", "60", "95", "100", "200", "469", "784-512-256-1", "784-256-128-1", "-1"}


def as_committed():
    """Whether the results are here, and as they were committed: runs of one's own may change them."""
    command = ["git", "-C", str(PART), "diff", "--quiet", "HEAD", "--", str(utils.RESULTS)]
    there = (utils.RESULTS / "latent_rates.json").exists()
    return there and subprocess.run(command, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not as_committed(), reason="the results here are not those of the repository")


def load(name, *keys):
    return utils.load_json(utils.RESULTS / f"{name}.json", *keys)


def number(value, digits=2):
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def between(values, digits=2):
    return f"{number(min(values), digits)} to {number(max(values), digits)}"


def percents(values):
    return ", ".join(f"{100 * value:.0f}" for value in values) + " %"


def sentences():
    """The phrases of README.md that hold results, computed."""
    dynamics = load("dynamics", "runs", "record", "real")
    results = {"dynamics": dynamics}
    runs = {side: {arch: claims.runs_of(results, side, arch) for arch in ("initial", "balanced")}
            for side in claims.SIDES}  # fmt: skip
    last = {(side, arch, column): [run["last_epoch"][column] for run in of.values()]
            for side in runs for arch, of in runs[side].items() for column in ("d_loss", "g_loss")}  # fmt: skip
    d, g = (last["published", "initial", column] for column in ("d_loss", "g_loss"))
    spikes = [run["largest_g_loss"] for run in runs["published"]["initial"].values()]
    yield f"D's loss ends at {between(d)} and G's at {between(g)} with single batches up to {max(spikes):.1f}"
    yield f"({len(d)} seeds; the report's figure: 0 to 1, and 3 to 8 with spikes up to 14)"
    d, g = (last["written", "initial", column] for column in ("d_loss", "g_loss"))
    yield f"overpowers nothing: D {between(d)}, G {between(g)}"

    record = dynamics["record"]["within_each_run"]
    good = [of for name, of in record.items() if dynamics["runs"][name]["quality"][-1]["frechet_distance"] < 200]
    shares = [of[column] / dynamics["record"]["losses"] for of in good for column in of]
    yield f"{100 * min(shares):.0f} to {100 * max(shares):.0f} % lie within the range of 95 % of the single batches"
    bad = [name for name in record if record[name] not in good]
    yield f"of {len(good)} of {len(record)} runs"
    collapsed = [dynamics["runs"][name] for name in bad]
    yield f"D's accuracy at {100 * collapsed[0]['last_epoch']['d_accuracy']:.0f} %"
    ends = {(side, arch): [run["quality"][-1]["frechet_distance"] for run in of.values()]
            for side in runs for arch, of in runs[side].items()}  # fmt: skip
    rest = sorted(distance for distance in ends["published", "balanced"] if distance < 200)
    worst = max(ends["published", "balanced"])
    yield f"a Fréchet distance of {worst:.0f}, where the others have {rest[0]:.0f} to {rest[-1]:.0f}"
    assert len(collapsed) == 1

    distances = ends["written", "initial"]
    yield f"end at a Fréchet distance of {between(distances, 1)} ({len(distances)} seeds)"
    distances = ends["written", "balanced"]
    told = between(distances, 1) if len(distances) > 1 else number(distances[0], 1)
    yield f"at {told} ({len(distances)} seed{'s' * (len(distances) > 1)})"
    yield f"test digits: {dynamics['real']['frechet_distance']:.1f}"
    effects = {
        name: math.exp(of["mean"])
        for name, of in load("overpowering", "effects")["effects"]["frechet_distance"].items()
    }
    yield f"multiplies the distance by {effects['eps']:.1f} and simultaneous updates by {effects['scheme']:.1f}"
    yield f"narrowing D multiplies it by {effects['width']:.1f}, dropout by {effects['dropout']:.1f}"

    ratios = {loss: claims.gradient_ratio(loss)(results, "published") for loss in ("non-saturating", "minimax")}
    yield f"a norm {between(ratios['non-saturating'], 1)} times as large"
    yield f"at the same weights, is {between(ratios['minimax'], 1)} times as large"
    correlations = {arch: [claims.losses_and_quality(run) for run in runs["published"][arch].values()]
                    for arch in ("initial", "balanced")}  # fmt: skip
    yield f"the Fréchet distance is {between(correlations['balanced'])} ({len(correlations['balanced'])} seeds)"
    yield f"against the initial one it is {between(correlations['initial'])}"

    rates = load("latent_rates", "generators")["generators"].values()
    own = {side: [e["classifiers"]["cnn"] for e in rates if e["recipe"] == side] for side in claims.SIDES}
    line, one = (lambda r: r["paths"]["line"]), (lambda r: r["sums"]["one"])
    rows = {
        "figure 6: a straight path from 7 to 6 passes a 1": (lambda r: line(r)["passes_1"], None),
        "its middle is a 1": (lambda r: line(r)["middle_1"], lambda r: r["middle_1_between_others"]),
        "figure 7: 7 - 1 + 6 is a 9": (lambda r: one(r)["sum"][9], lambda r: one(r)["random"][9]),
        "figure 8: its strip passes a 9": (lambda r: r["strip_9"], lambda r: r["strip_9_random"]),
    }
    for title, rates_of in rows.items():
        cells = [f"{percents(map(rate, own[side]))} |" if rate else "|" for side in claims.SIDES for rate in rates_of]
        yield f"| {title} | {' '.join(cells)}"

    final = load("recipes", "final")["final"]["final"]
    best, report = (
        [run["end"]["frechet_distance"] for run in final[name]["runs"].values()] for name in ("best", "report")
    )
    yield f"a Fréchet distance of {between(best, 1)} ({len(best)} seeds)"
    yield f"had {between(report, 1)} after 200"


def test_every_number_in_the_findings_is_a_result():
    """Each computed phrase stands in README.md, and no further number in the findings but settings."""
    prose = " ".join(README[README.index("## Findings") : README.index("## Speed")].split())
    text, missing = " ".join(README.split()), []
    for phrase in sentences():
        if phrase not in text:
            missing.append(phrase)
        prose = prose.replace(phrase, " ")
    assert missing == []
    prose = re.sub(r"\*[^*]+\*(?!\*)|!?\[[^]]*\]\([^)]*\)|z_\d", " ", prose.replace("**", ""))  # captions, links, names
    assert {found.rstrip(".,") for found in re.findall(r"-?\d[\d,.e-]*", prose)} - SETTINGS == set()


def test_speed_table():
    found = load("benchmark", "rows", "provenance")
    of = {(row["rung"], row["arch"]): f"{row['milliseconds']:.1f}" for row in found["rows"] if row["threads"] == 2}
    table = README[README.index("| the usual script") : README.index("`--precision bf16`")]
    for line, rung in zip(table.strip().split("\n"), list(dict.fromkeys(rung for rung, _ in of)), strict=False):
        if "medium" not in rung and "bf16" not in rung:
            numbers = re.findall(r"\d+\.\d", line.replace("**", ""))
            assert numbers[-2:] == [of[rung, "initial"], of[rung, "balanced"]], line
    assert f"{found['provenance']['processor']}, torch {found['provenance']['torch']}" in " ".join(README.split())


def test_links_and_files():
    for target in re.findall(r"\]\((\.\./[^)]+)\)", README):
        assert (PART / target).exists(), target
    named = set(re.findall(r"`(\w+\.py)`", README[README.index("## Files") : README.index("## Extend")]))
    assert named == {path.name for path in PART.glob("*.py")}
