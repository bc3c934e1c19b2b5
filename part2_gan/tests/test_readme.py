"""The numbers in README.md are those of the committed results."""

import math
import re
import statistics
from pathlib import Path

import pytest

import claims
import metrics
import utils
from report import SIDES
from studies import overpowering

PART = Path(__file__).resolve().parent.parent
README = (PART / "README.md").read_text()
# Numbers that are settings or the report's own, not our results: widths, epochs, lengths, digits, names of things.
SETTINGS = {"0", "0.4", "0.8", "0.96", "1", "1.2", "1.8", "1e-5", "2", "2e-4", "3", "4"}
SETTINGS |= {"4e-4", "6", "7", "8", "9", "10", "14", "99"}
SETTINGS |= {"20", "25", "50", "60", "95", "100", "200", "469", "784-512-256-1", "784-256-128-1", "-1"}
SETTINGS |= {"5,000", "10,000", "50,000"}
pytestmark = pytest.mark.usefixtures("committed")


def load(name, *keys):
    return utils.load_json(utils.RESULTS / f"{name}.json", *keys)


def number(value, digits=2):
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def between(values, digits=2):
    return f"{number(min(values), digits)} to {number(max(values), digits)}"


def hundredths(values):
    """The range of shares in per cent."""
    return " to ".join(dict.fromkeys(f"{100 * end:.0f}" for end in (min(values), max(values))))


def spread(values):
    """Median and range of shares, in per cent."""
    values = [100 * value for value in values]
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def gradient_ratios(of_arch, loss, epoch):
    """The norm of G's gradient against the initial D over that against the balanced D: {seed: ratio}."""
    norms = [
        {seed: claims.at_epoch(run, epoch)["g_gradients"][loss]["norm"] for seed, run in of_arch[arch].items()}
        for arch in ("initial", "balanced")
    ]
    return {seed: norms[0][seed] / norms[1][seed] for seed in norms[0].keys() & norms[1].keys()}


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
    accuracies = {side: hundredths([run["last_epoch"]["d_accuracy"] for run in runs[side]["initial"].values()])
                  for side in runs}  # fmt: skip
    yield f"D is right on {accuracies['published']} % of its images,"
    yield f"D's loss ends at {between(d)} and G's at {between(g)} with single batches up to {max(spikes):.1f}"
    yield f"({len(d)} seeds; the report's figure: 0 to 1, and 3 to 8 with spikes up to 14)"
    d, g = (last["written", "initial", column] for column in ("d_loss", "g_loss"))
    told = f"it is right on {accuracies['written']} %, D's loss ends at {between(d)}, G's at {between(g)}"
    yield f"does not overpower G: {told}"
    recall = {side: [run["precision_recall"]["recall"] for run in runs[side]["initial"].values()] for side in runs}
    assert max(recall["published"]) < 0.005
    yield "the recall is .00: hardly any test digit has a sample like it"
    yield f"and the recall is {between(recall['written'])}"

    balanced = runs["published"]["balanced"]
    fallen = {seed for seed, run in balanced.items() if run["quality"][-1]["frechet_distance"] > 200}  # collapsed

    def by_end(of_seeds):
        """The values of a list of (seed, value): those of the runs that do not collapse, and of those that do."""
        return ([value for seed, value in of_seeds if (seed in fallen) is it] for it in (False, True))

    yield f"runs that do not collapse; {len(fallen)} of {len(balanced)} collapse"
    within = {seed: dynamics["record"]["within_each_run"][f"published_balanced_seed{seed}"] for seed in balanced}
    usual, other = by_end([(s, n / dynamics["record"]["losses"]) for s, of in within.items() for n in of.values()])
    yield f"printed, {hundredths(usual)} % lie within the central 95 % of the single batches of each"
    yield f"of the {len(balanced) - len(fallen)} runs with the same settings that do not collapse, and"
    yield f"{hundredths(other)} % within those of a collapsed one."
    rest, accuracies = by_end([(seed, run["last_epoch"]["d_accuracy"]) for seed, run in balanced.items()])
    ends = {(side, arch): [run["quality"][-1]["frechet_distance"] for run in of.values()]
            for side in runs for arch, of in runs[side].items()}  # fmt: skip
    good, bad = by_end([*zip(balanced, ends["published", "balanced"], strict=True)])
    yield f"end with D's accuracy at {hundredths(accuracies)} % and a Fréchet distance of {between(bad, 0)}, the others"
    yield f"at {hundredths(rest)} % and {between(good, 0)}."
    g, ours = dynamics["record"]["first"]["g_loss"], dynamics["record"]["first_of_each_run"].values()
    told = f"{between([of['g_loss'] for of in ours])} at the same steps ({len(ours)} seeds)"
    yield f"the report's G has a mean loss of {number(g)}, ours have {told}"
    assert g < min(of["g_loss"] for of in ours)
    usual = [dynamics["record"]["first_of_each_run"][f"published_balanced_seed{seed}"]["g_loss"]
             for seed in balanced.keys() - fallen]  # fmt: skip
    middle, reach = statistics.mean(usual), math.sqrt(len(usual) + 1)  # from the mean's interval to the prediction's
    ends_of_next = [middle + reach * (end - middle) for end in metrics.t_interval(usual)]
    yield f"a further such run is expected to have {between(ends_of_next)} (95 % prediction interval)"
    distances = distances_initial = ends["written", "initial"]
    yield f"end at a Fréchet distance of {between(distances, 1)} ({len(distances)} seeds)"
    distances = ends["written", "balanced"]
    at_50 = [claims.at_epoch(run, 50)["frechet_distance"] for run in runs["written"]["balanced"].values()]
    yield f"50 epochs end at {between(at_50, 1)} and 200 at {between(distances, 1)} ({len(distances)} seeds)"
    yield f"test digits: {dynamics['real']['frechet_distance']:.1f}"
    study = load("overpowering", "correlations", "runs", "config")
    seeds, epochs = range(study["config"]["seeds"]), study["config"]["epochs"]
    yield f"After {epochs} epochs, with alternating updates where none are named"
    yield f"**After {epochs} epochs, BatchNorm's eps of 0.8"
    yield f"**After {epochs} epochs against the initial discriminator, equation (7)"
    times, lower = {}, {}
    for name in overpowering.FACTORS:
        of = overpowering.effect(study["runs"], name, "frechet_distance", seeds)
        times[name] = f"{math.exp(of['mean']):.1f} ({' to '.join(f'{math.exp(end):.1f}' for end in of['interval'])})"
        pairs = [[study["runs"][overpowering.name_of(cell, seed)][-1]["frechet_distance"] for cell in pair]
                 for pair in overpowering.pairs_of(name) for seed in seeds]  # fmt: skip
        lower[name] = f"{sum(second < first for first, second in pairs)} of {len(pairs)}"
    yield f"corrected for {len(times)} factors"
    yield f"multiplies the Fréchet distance by {times['eps_initial']} against the initial discriminator"
    yield f"and by {times['eps_balanced']} against the balanced one"
    yield f"simultaneous updates by {times['scheme_initial']} and {times['scheme_balanced']}"
    told = f"{times['discriminator_report']} with eps 0.8, where the distance is lower in"
    yield f"by {told} {lower['discriminator_report']} pairs"
    none, _, pairs = lower["discriminator_torch"].split()
    assert none == "0"
    yield f"by {times['discriminator_torch']} with eps 1e-5, where it is higher in {pairs} of {pairs} (three"

    def factors(name, where, own=True):
        """The factor on the distance in each pair with these eps and updates, or (not own) in all others, by seed."""
        pairs = [(a, b) for a, b in overpowering.pairs_of(name) if ((b.eps, b.scheme) == where) is own]
        ends = [[study["runs"][overpowering.name_of(cell, seed)][-1]["frechet_distance"] for cell in pair]
                for pair in pairs for seed in seeds]  # fmt: skip
        return [second / first for first, second in ends]

    published, written = (0.8, "simultaneous"), (1e-5, "alternating")
    told = f"{between(factors('discriminator_report', published))} with simultaneous ones"
    rest = between(factors("discriminator_report", published, False))
    told += f" and {rest} with alternating ones or G updated first (all with the text's generator)"
    yield f"updates: it is {told}."

    def later(side, seeds, *at):
        """The factor of the balanced D after each of the epochs."""
        ends = [[claims.at_epoch(runs[side][arch][seed], epoch) for arch in ("balanced", "initial")]
                for epoch in at for seed in seeds]  # fmt: skip
        return [claims.frechet_ratio(*pair) for pair in ends]

    longer, pairs = (20, 30, 40, 50), runs["published"]["initial"].keys()
    told = [between(later("written", runs["written"]["initial"], *at), 1) for at in ((10,), longer)]
    yield f"is {told[0]} after 10 epochs and {told[1]} after 20 to 50 ({len(runs['written']['initial'])} seeds)."
    told = [between(later("published", pairs - fallen, *at)) for at in ((10,), longer)]
    yield f"it is {told[0]} after 10 epochs and {told[1]} after 20 to 50 where the balanced run does not collapse"
    other = between(later("published", pairs & fallen, 10, *longer))
    yield f"({len(pairs - fallen)} seeds), and {other} where it does."
    yield f"by {between(factors('loss', published))} with eps 0.8 and simultaneous updates"
    yield f"and by {between(factors('loss', published, False))} elsewhere"
    yield f"dropout alone multiplies the distance by {times['dropout_report']}, the width by {times['width_report']}"
    yield f"Instead of the non-saturating loss it multiplies the distance by {times['loss']}"
    yield f"Updating G first multiplies it by {times['g_first']}."
    yield f"{len(seeds)} seeds of {epochs} epochs"
    yield f"update schemes, {len(seeds)} seeds)."
    accuracies = [
        statistics.mean(study["runs"][f"initial_dropout0_{cell}_seed{seed}"][-1]["d_accuracy"] for seed in seeds)
        for cell in ("eps1e-05", "eps0.8", "eps1e-05_simultaneous", "eps0.8_simultaneous")
    ]
    written, eps, simultaneous, both = map(number, accuracies)
    told = f"{written} as written, {eps} with eps 0.8, {simultaneous} with simultaneous updates and {both} with both"
    yield f"accuracy is {told}"
    found = study["correlations"]["between runs"]
    yield f"After {epochs} epochs of the study's {found['n']} settings with the non-saturating loss"
    yield f"the rank correlation is {number(found['mean'])} (mean of {len(seeds)} seeds) among all"
    for eps in "1e-05", "0.8":
        apart = study["correlations"][f"between runs with eps {eps}"]
        assert apart["n"] == 9
        yield f"{between(apart['seeds'])} among the nine with eps {float(eps):g}".replace("1e-05", "1e-5")

    own, seven, own_written, seven_written = (
        [value for epoch in range(10, 51, 10) for value in gradient_ratios(runs[side], loss, epoch).items()]
        for side in claims.SIDES
        for loss in ("non-saturating", "minimax")
    )
    usual, other = by_end(own)
    told = f"{between(usual, 1)} times as large against the initial discriminator as against the balanced one"
    yield f"a norm {told} ({len(usual) // 5} seeds), and {between(other, 1)} times where the balanced run collapsed"
    seven, own_written, seven_written = ([value for _, value in of] for of in (seven, own_written, seven_written))
    yield f"it is {between(own_written, 1)} times as large ({len(own_written) // 5} seeds)"
    yield f"as published it is {between(seven, 1)} times as large, and as written {between(seven_written, 1)} times"
    correlations, written = (
        {arch: [claims.losses_and_quality(run) for run in of.values()] for arch, of in runs[side].items()}
        for side in claims.SIDES
    )
    yield f"the Fréchet distance is {between(correlations['balanced'])} ({len(correlations['balanced'])} seeds)"
    yield f"against the initial one it is {between(correlations['initial'])} (five evaluations each)"
    yield f"As written it is {between(written['balanced'])} and {between(written['initial'])}."
    changes = {(side, arch): between([claims.losses_and_quality(run, changes=True) for run in of.values()])
               for side in runs for arch, of in runs[side].items()}  # fmt: skip
    told = f"{changes['published', 'balanced']} as published and {changes['written', 'balanced']} as written"
    yield f"correlate at {told} against the balanced discriminator,"
    yield f"and at {changes['published', 'initial']} and {changes['written', 'initial']} against the initial one."

    found = load("latent_rates", "generators", "count")
    rates, count = found["generators"].values(), found["count"]
    own = {side: [e["classifiers"]["cnn"] for e in rates if e["recipe"] == side] for side in claims.SIDES}
    line, one, means = (lambda r: r["paths"]["line"]), (lambda r: r["sums"]["one"]), (lambda r: r["sums"]["mean3"])
    rows = {
        "figure 6: a straight path from 7 to 6 passes a 1": (lambda r: line(r)["passes_1"], None),
        "its middle is a 1": (lambda r: line(r)["middle_1"], lambda r: r["middle_1_between_others"]),
        "figure 7: 7 - 1 is a 7": (lambda r: one(r)["roof"][7], None),
        "conclusion: 7 - 1 + 6 is a 9": (lambda r: one(r)["sum"][9], lambda r: one(r)["random"][9]),
        "the same, scaled to norm 10, typical of latents": (
            lambda r: r["sums"]["sphere"]["sum"][9],
            lambda r: r["sums"]["sphere"]["random"][9],
        ),
        "the same with means of 3 latents": (lambda r: means(r)["sum"][9], lambda r: means(r)["random"][9]),
        "figure 8: its strip passes a 9": (lambda r: r["strip_9"], lambda r: r["strip_9_random"]),
    }
    for title, rates_of in rows.items():
        cells = [f"{spread(map(rate, own[side]))} |" if rate else "|" for side in claims.SIDES for rate in rates_of]
        yield f"| {title} | {' '.join(cells)}"
    head = [f"{words}, {len(own[side])} generators" for side, words in SIDES.items()]
    yield f"| {head[0]} | control | {head[1]} | control |"

    def more_often(first, second):
        """In how many generators of each recipe a share is larger by more than two standard errors."""
        exceeds = claims.exceeds(first, second)
        more = {side: [exceeds(r | {"count": count}) > 0 for r in own[side]] for side in claims.SIDES}
        return [f"{sum(of)} of {len(of)}" for of in more.values()]

    published, written = more_often(*rows["conclusion: 7 - 1 + 6 is a 9"])
    yield f"random direction in {published} generators as published and in {written} as written"
    published, written = more_often(rows["conclusion: 7 - 1 + 6 is a 9"][0], lambda r: one(r)["others"][9])
    yield f"(in {published} and {written} also more often than with the difference of two other digits)"
    published, written = more_often(*rows["figure 8: its strip passes a 9"])
    yield f"than with a random direction in {published} and in {written} (differences above two standard errors)"

    per_classifier = [[e["classifiers"][kind] for e in rates if "classifiers" in e] for kind in ("cnn", "mlp")]
    used, hundred = [rate for of in rows.values() for rate in of if rate], lambda r: r["sums"]["mean100"]["sum"][9]
    apart, of_hundred = (
        max(abs(rate(a) - rate(b)) for a, b in zip(*per_classifier, strict=True) for rate in rates_)
        for rates_ in (used, [hundred])
    )
    yield f"differ from the CNN's by at most {100 * apart:.0f} points."
    published, written = (spread(map(hundred, own[side])) for side in claims.SIDES)
    yield f"in {published} % as published and {written} % as written, and there the classifiers differ by up to"
    yield f"{100 * of_hundred:.0f} points."
    published, written = (spread(one(r)["one_plus_roof"][7] for r in own[side]) for side in claims.SIDES)
    more, never = more_often(lambda r: one(r)["one_plus_roof"][7], lambda r: one(r)["roof"][7])
    yield f"in {published} % as published (more often than 7 - 1 in {more}) and in {written} % as written (in {never})."

    medians = [statistics.median(map(rate, own["published"])) for of in rows.values() for rate in of if rate]
    passes_1, *_, strip, control = (100 * median for median in medians)
    first = own["published"][0]  # figures 6 to 8
    told = f"{100 * line(first)['passes_1']:.0f} % pass a 1; the median of all {len(own['published'])}"
    yield f"lines from 7 to 6, {told} is {passes_1:.0f} %."
    strips = load("arithmetic", "fig7_roof_to_6", "fig8_hybrid_to_6")
    assert 7 not in [strip[0]["digit"] for strip in strips["fig7_roof_to_6"]]
    assert 9 not in [image["digit"] for strip in strips["fig8_hybrid_to_6"] for image in strip]
    yield f"None of these three z_7 - z_1 is a 7; of this generator's, {100 * one(first)['roof'][7]:.0f} % are."
    shares = [f"{100 * first[name]:.0f} %" for name in ("strip_9", "strip_9_random")]
    yield f"generator's, {shares[0]} do, {shares[1]} with a random direction;"
    yield f"the medians of all {len(own['published'])} are {strip:.0f} and {control:.0f} %."
    ends = [(run["precision_recall"]["recall"], run["quality"][-1]["g_gradients"]["non-saturating"]["coherence"])
            for of_side in runs.values() for of in of_side.values() for run in of.values()]  # fmt: skip
    none, some = ([end for end in ends if (end[0] < 0.005) is it] for it in (True, False))
    recalls, coherences = zip(*some, strict=True)
    told = f"{between([coherence for _, coherence in none])} ({len(none)} runs), in all others"
    yield f"ends at .00, their coherence (1: all agree) is {told}"
    yield f"{between(coherences)} ({len(some)} runs; recall {between(recalls)})"
    told = f"the {len(runs['published']['initial'])} against the initial discriminator as published"
    yield f"The {len(none)} are {told} and the {len(fallen)} collapsed ones"

    study = load("recipes", "changes", "final")
    changes, final = study["changes"], study["final"]
    assert final["recipe"] == changes["chosen"] == "best_lr"
    yield f"of the {len(changes['changes'])} settings"
    medians = {
        name: f"{entry['at_end']['frechet_distance']['median']:.1f}" for name, entry in changes["changes"].items()
    }
    yield f"takes the median distance from {medians['average']} to {medians['beta1']};"
    yield f"the gradient penalty takes it to {medians['penalty']}, and a learning rate"
    yield f"falling from the start raises it to {medians['falling']}. With lr 2e-4 the whole recipe ({medians['best']})"
    ends = {name: [run["end"][name] for run in final["runs"].values()] for name in final["median"]}
    told = f"{between(ends['frechet_distance'], 1)} from the test digits ({len(final['runs'])} seeds"
    yield f"a Fréchet distance of {told}; training digits: {final['floor']['training_from_test']:.1f};"
    evaluated = load("evaluate", "best_lr")["best_lr"]
    ours, theirs = evaluated["frechet_distance"], final["runs"]["0"]["end"]["frechet_distance"]
    yield f"another draw of 10,000 samples of seed 0 gave {ours:.1f} instead of {theirs:.1f})"
    calls = evaluated["discriminator"]
    yield f"discriminator calls {100 * calls['training digits']:.0f} % of training digits real and"
    yield f"{100 * calls['test digits']:.0f} % of test digits"
    near = evaluated["neighbours"]["pixels"]
    told = "{:.1f} to {:.1f}".format(*(100 * end for end in near["closer_share_interval"]))
    yield f"of {evaluated['neighbours']['samples']:,} samples {100 * near['closer_share']:.1f} % ({told}) are nearer"
    digits = evaluated["precision_recall"]["training_digits"]
    told = f"{number(digits['precision'])} and {number(digits['recall'])}"
    yield f"a precision of {between(ends['precision'])} and a recall of {number(final['median']['recall'])}"
    yield f"(training digits: {told})"
    yield f"after 50 epochs at {between(distances_initial, 1)} and a recall of {between(recall['written'])}"
    assert len({number(value) for value in ends["recall"]}) == 1
    yield f"are {between(ends['distance_from_half'], 1)} away, the other half {final['floor']['half_from_half']:.1f}."


def test_every_number_in_the_findings_is_a_result():
    """Each computed phrase stands in README.md, and no further number in the findings but settings."""
    prose = " ".join(README[README.index("## Findings") : README.index("## Speed")].split())
    text, missing = " ".join(README.split()), []
    for phrase in sentences():
        if phrase not in text:
            missing.append(phrase)
        prose = prose.replace(phrase, " ")
    assert missing == []
    prose = re.sub(
        r"\*[^*]+\*(?!\*)|!?\[[^]]*\]\([^)]*\)|z_\d|bf16", " ", prose.replace("**", "")
    )  # captions, links, names
    assert {found.rstrip(".,") for found in re.findall(r"-?\.?\d[\d,.e-]*", prose)} - SETTINGS == set()


def test_speed_table():
    found = load("benchmark", "rows", "provenance")
    of = {(row["rung"], row["arch"]): f"{row['milliseconds']:.1f}" for row in found["rows"] if row["threads"] == 2}
    table = README[README.index("| the usual script") : README.index("`--precision bf16`")]
    rungs = [rung for rung in dict.fromkeys(rung for rung, _ in of) if "medium" not in rung and "bf16" not in rung]
    for line, rung in zip(table.strip().split("\n"), rungs, strict=True):
        numbers = re.findall(r"\d+\.\d", line.replace("**", ""))
        assert numbers[-2:] == [of[rung, "initial"], of[rung, "balanced"]], line
    assert f"{found['provenance']['processor']}, torch {found['provenance']['torch']}" in " ".join(README.split())


def test_links_and_files():
    for target in re.findall(r"\]\((\.\./[^)]+)\)", README):
        assert (PART / target).exists(), target
    named = set(re.findall(r"`(\w+\.py)`", README[README.index("## Files") : README.index("## Extend")]))
    assert named == {path.name for path in PART.glob("*.py")}
