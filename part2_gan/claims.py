"""The claims of the report's Part II: what each asks of the results, and the verdict that follows. Not a script.

A claim is a sentence of the report, what was measured about it, and a verdict that is computed from the results: holds,
holds in part, does not hold, or, where a result is missing, not tested. Nothing here is typed in by hand but the
report's own words; a result of another size (a quick run, stand-in digits) gives the verdict of that size.
"""

import math

from gan import DISCRIMINATORS, GENERATOR_WIDTHS, PIXELS

HOLDS, PART, NOT, UNTESTED = "holds", "holds in part", "does not hold", "not tested"
LOG2 = math.log(2)


def grade(*conditions):
    """All conditions true: holds; none: does not hold; else in part."""
    return HOLDS if all(conditions) else PART if any(conditions) else NOT


def percent(value, interval=None, digits=0):
    """Such as `13 %`, with an interval `13 % (11 to 15 %)`."""
    text = f"{100 * value:.{digits}f} %"
    if interval is None:
        return text
    return f"{text} ({100 * interval[0]:.{digits}f} to {100 * interval[1]:.{digits}f} %)"


def last(results, name):
    """Means over the last epoch of a run of study.py."""
    return results["study"]["runs"][name]["last_epoch"]


def mended(results, name):
    """What the first discriminator's run without the two slips ends with, as text; empty where it was not trained."""
    if "initial_mended" not in results["study"]["runs"]:
        return ""
    return f"; without the two slips {last(results, 'initial_mended')[name]:.2f}"


def seeds(results, *names):
    """Last figures of the report's recipe under several seeds, as text; empty where recipes.py has not run them."""
    try:
        runs = results["recipes"]["final"]["final"]["report"]["runs"].values()
    except (KeyError, TypeError):
        return ""
    ends = [run["last_epoch"] | run["end"] for run in runs]
    if len(ends) < 2:
        return ""
    told = (f"{name.replace('_', ' ')} {', '.join(f'{end[name]:.3g}' for end in ends)}" for name in names)
    return f". Over {len(ends)} seeds: {'; '.join(told)}"


def networks(results):
    """Layer widths, optimizer."""
    config = results["study"]["runs"]["balanced"]["config"]
    widths = "-".join(str(width) for width in (100, *GENERATOR_WIDTHS, PIXELS))
    d = DISCRIMINATORS["balanced"]
    measured = (
        f"G {widths}, D {PIXELS}-{'-'.join(map(str, d['widths']))}-1 with dropout {d['dropout']:g}; Adam, lr "
        f"{config['lr']:g}, beta1 {config['beta1']:g}; BatchNorm eps {config['bn_eps']:g}, not named in the report"
    )
    return measured, grade(d["dropout"] == 0.4, config["lr"] == 2e-4, config["beta1"] == 0.5)


def d_loss_falls(results):
    """Does D's loss fall to near zero against the first discriminator?"""
    d = last(results, "initial")["d_loss"]
    measured = f"D's loss {d:.2f} in the last epoch (log 2 = {LOG2:.2f}){mended(results, 'd_loss')}"
    return measured, grade(d < 0.75 * LOG2, d < 0.1)


def g_loss_high(results):
    """Does G's loss stand high?"""
    g = last(results, "initial")["g_loss"]
    return f"G's loss {g:.2f} in the last epoch{mended(results, 'g_loss')}", grade(g > 2 * LOG2)


def d_overpowers(results):
    """Is D nearly always right?"""
    values = [last(results, name)["d_accuracy"] for name in ("initial", "balanced")]
    measured = "D is right about {} of its training batches, the balanced one about {}".format(*map(percent, values))
    return measured, grade(values[0] > 0.75, values[0] - values[1] > 0.2)


def no_gradient(results):
    """Does G get almost no gradient then?"""
    initial, balanced = (last(results, name)["g_grad_norm"] for name in ("initial", "balanced"))
    measured = (
        f"the gradient that reaches G has norm {initial:.2g} in the last epoch, {balanced:.2g} in the balanced run: "
    )
    return f"{measured}{initial / balanced:.1f} times as much", grade(initial < 0.1 * balanced)


def capacity_is_the_cure(results):
    """Is it width and dropout that cure it?"""
    names = ("initial", "initial_alternating", "balanced", "initial_mended")
    accuracies = [last(results, name)["d_accuracy"] for name in names]
    measured = (
        "D is right about {} in figure 2; about {} with alternating updates; about {} if it is narrowed and given "
        "dropout besides; and about {} with neither, but with torch's eps".format(*map(percent, accuracies))
    )
    cured, needed = accuracies[2] < accuracies[1] - 0.1, accuracies[3] > accuracies[1] - 0.1
    if results["overpowering"]:
        told = []
        for factor, words in (
            ("width", "narrower"),
            ("dropout", "dropout"),
            ("eps", "eps 0.8"),
            ("scheme", "both at once"),
        ):
            accuracy, distance = (
                results["overpowering"]["effects"][what][factor] for what in ("d_accuracy", "frechet_distance")
            )
            low, high = map(math.exp, distance["interval"])
            told.append(
                f"{words}: accuracy {100 * accuracy['mean']:+.0f} points, Frechet distance times "
                f"{math.exp(distance['mean']):.1f} ({low:.1f} to {high:.1f})"
            )
        measured += f". Each by itself, over {results['overpowering']['config']['seeds']} seeds: {'; '.join(told)}"
    return measured, grade(cured, needed)


def unsatisfactory(results):
    """Are the first discriminator's samples poor?"""
    entry = results["evaluate"]["initial"]
    sure = sum(entry["histogram"])
    never = [digit for digit, count in enumerate(entry["histogram"]) if count <= 0.01 * sure]
    measured = (
        f"Frechet distance {entry['frechet_distance']:.0f} (real digits: {entry['floor']:.1f}); "
        f"{percent(entry['confident_share'])} of the samples are surely read"
    )
    if sure:
        measured += (
            f", {percent(max(entry['histogram']) / sure)} of these as one digit, and as {never or 'none'} at most "
        )
        measured += "1 % each"
    return measured, grade(entry["frechet_distance"] > 20 * entry["floor"])


def near_log2(results):
    """Do both losses end near log 2?"""
    d, g = (last(results, "balanced")[name] for name in ("d_loss", "g_loss"))
    measured = f"D {d:.3f}, G {g:.3f}, log 2 = {LOG2:.3f}{seeds(results, 'd_loss', 'g_loss')}"
    if "balanced_simultaneous" in results["study"]["runs"]:
        other = last(results, "balanced_simultaneous")
        measured += f". With simultaneous updates D {other['d_loss']:.3f}, G {other['g_loss']:.3f}"
    return measured, grade(abs(d - LOG2) < 0.07, abs(g - LOG2) < 0.07)


def d_guesses(results):
    """Does D guess?"""
    accuracy = last(results, "balanced")["d_accuracy"]
    measured = f"D is right about {percent(accuracy)} of its training batches, with dropout"
    judged = (results["evaluate"] or {}).get("balanced", {}).get("discriminator")
    if judged:
        measured += "; without: " + ", ".join(f"{percent(share)} of {what}" for what, share in judged.items())
    measured += seeds(results, "d_accuracy")
    return measured, grade(abs(accuracy - 0.5) < 0.1, abs(accuracy - 0.5) < 0.02)


def losses_tell_quality(results):
    """Do losses at log 2 mean good samples?"""
    balanced, other = (results["evaluate"][name] for name in ("balanced", "initial_mended"))
    g = last(results, "initial_mended")["g_loss"]
    measured = (
        f"the run whose G loss ends at {last(results, 'balanced')['g_loss']:.2f} has Frechet distance "
        f"{balanced['frechet_distance']:.1f}, one that ends at {g:.2f} has {other['frechet_distance']:.1f}"
    )
    if results["overpowering"]:
        measured += f". {results['overpowering']['near_log2']}"
    return measured, grade(balanced["frechet_distance"] < other["frechet_distance"])


def high_quality(results):
    """Do the samples resemble real digits?"""
    entry = results["evaluate"]["balanced"]
    found = entry["precision_recall"]
    real = found["training_digits"]
    measured = f"Frechet distance {entry['frechet_distance']:.1f} (real digits: {entry['floor']:.1f}); "
    measured += "; ".join(
        f"{what} {found['samples'][what]:.2f} (training digits {real[what]:.2f})" for what in ("precision", "recall")
    )
    measured += seeds(results, "frechet_distance", "precision", "recall")
    close = [found["samples"][what] > 0.9 * real[what] for what in ("precision", "recall")]
    return measured, grade(*close, entry["frechet_distance"] < 2 * entry["floor"])


def each(rates):
    """A list with the rate of every generator, as text; empty where only one was measured."""
    return f" (each generator: {', '.join(map(percent, rates))})" if len(rates) > 1 else ""


def passes_1(results):
    """Does the way from 7 to 6 pass a 1?"""
    drawn = [reading["digit"] for reading in results["interpolate"]["pairs"]["7 to 6"][0]]
    measured = f"the strip of figure 6 reads {' '.join(map(str, drawn))}"
    if not results["interpolation_rates"]:
        return measured, grade(1 in drawn)
    section = results["interpolation_rates"]
    line, ones = section["pooled"]["line"], [generator["rates"]["line"] for generator in section["generators"]]
    passed = line["passes_digit"]
    measured += (
        f"; of {passed['of']:,} pairs {percent(passed['rate'][1], (passed['low'][1], passed['high'][1]))} pass a 1"
        + each([one["passes_digit"]["rate"][1] for one in ones])
        + f", {percent(line['middle_is_1']['rate'], line['middle_is_1']['interval'])} have it in the middle"
        + each([one["middle_is_1"]["rate"] for one in ones])
    )
    return measured, grade(1 in drawn, passed["rate"][1] > 0.5)


def between(results):
    """Is 1 between 7 and 6 more than between other digits?"""
    section = results["interpolation_rates"]
    pooled, ones = section["pooled"], [generator["rates"] for generator in section["generators"]]
    own, others = pooled["line"]["middle_is_1"], pooled["middles_line"]["is_1_between_others"]
    measured = (
        f"the middle reads 1 in {percent(own['rate'], own['interval'], 1)} of the pairs 7-6"
        + each([one["line"]["middle_is_1"]["rate"] for one in ones])
        + f", and in {percent(others['rate'], others['interval'], 1)} of the pairs of other digits without a 1"
        + each([one["middles_line"]["is_1_between_others"]["rate"] for one in ones])
    )
    return measured, grade(own["rate"] > 0.5, own["interval"][0] > others["interval"][1])


def smooth(results):
    """Does no step of the way jump?"""
    pooled = results["interpolation_rates"]["pooled"]
    line, fade = pooled["line"], pooled["fade"]
    measured = (
        f"in features the way is {line['length_over_distance'][1]:.2f} times as long as the distance of its ends "
        f"(cross-fade {fade['length_over_distance'][1]:.2f}), its largest step {percent(line['largest_step'][1])} "
        f"of it ({percent(fade['largest_step'][1])}); medians"
    )
    return measured, grade(line["largest_step"][1] < 0.25)


def not_memorised(results):
    """Are samples no copies of training digits?"""
    near = results["evaluate"]["balanced"]["neighbours"]
    measured = "; ".join(
        f"in {space} a sample is {near[space]['median_ratio']:.2f} times as far from its nearest training digit as a "
        f"test digit is, {percent(near[space]['closer_share'], near[space]['closer_share_interval'], 1)} are nearer "
        "than 99 % of the test digits"
        for space in ("pixels", "features")
    )
    return measured, grade(*(near[space]["closer_share"] < 0.02 for space in ("pixels", "features")))


def roof_is_a_7(results):
    """Does z_7 - z_1 by itself look like a 7?"""
    first = results["arithmetic"]["fig7_roof_to_6"][0][0]
    return f"read as {first['digit']} with confidence {first['confidence']:.2f}; one triple", grade(first["digit"] == 7)


def strip_passes_9(results):
    """Does the hybrid's strip pass a 9?"""
    drawn = [reading["digit"] for reading in results["arithmetic"]["fig8_hybrid_to_6"][0]]
    return f"the strip of figure 8 reads {' '.join(map(str, drawn))}; one triple", grade(9 in drawn)


def readings(results, way, kind, strength):
    """Rate of 9, its interval, and the counts of all ten readings of one sum."""
    found = results["arithmetic_rates"]["pooled"][way][kind]
    at = found["strengths"].index(strength)
    nine = found["is_9"]
    return nine["rate"][at], (nine["low"][at], nine["high"][at]), found["along"]["classified"][at]


def each_sum(results, way):
    """The rate of 9 of 6 + (7 - 1) for every generator, a list."""
    sums = [generator["rates"][way]["roof"] for generator in results["arithmetic_rates"]["generators"]]
    return [found["is_9"]["rate"][found["strengths"].index(1.0)] for found in sums]


def sum_is_9(results):
    """Is 7 - 1 + 6 a 9? The verdict is about single latents, as the report's are."""
    texts, ahead, most = [], [], []
    for way, words in (
        ("one", "as it is"),
        ("one_sphere", "scaled to the norm of training"),
        ("mean100", "with means of 100 latents"),
    ):
        rate, interval, counts = readings(results, way, "roof", 1.0)
        controls = [readings(results, way, kind, 1.0) for kind in ("others", "random")]
        ahead.append(all(interval[0] > high for _, (_, high), _ in controls))
        most.append(max(range(10), key=counts.__getitem__))
        beside = " and ".join(percent(control, digits=1) for control, _, _ in controls)
        found = f"{words} {percent(rate, interval, 1)}{each(each_sum(results, way))}"
        texts.append(f"{found}, controls {beside}, most often a {most[-1]}")
    return "the sum reads as 9: " + "; ".join(texts), grade(all(ahead[:2]), most[:2] == [9, 9])


def equation_10(results):
    """Is 1.8 z_6 + .96 z_7 - .96 z_1 what the strip shows, and a 9?"""
    rate, interval, counts = readings(results, "one", "written", 0.96)
    most = max(range(10), key=counts.__getitem__)
    measured = (
        "the strip's point at 1 - alpha = 0.8 is z_6 + 0.96 (z_7 - z_1): its weight of z_6 is 1, not 1.8. As written "
        f"it reads as 9 in {percent(rate, interval, 1)}, most often as {most} ({percent(counts[most] / sum(counts))})"
    )
    return measured, grade(rate > 0.5)


# The id, the report's words, the question, the results that it takes, and the figure to look at.
CLAIMS = [
    ("networks", "the architectures and the optimizer", networks, ["study"], None),
    ("d_loss_near_zero", "the Discriminator's loss rapidly decreases to near zero", d_loss_falls, ["study"],
     "fig2_initial_losses"),
    ("g_loss_high", "the Generator's loss spikes and remains high", g_loss_high, ["study"], "fig2_initial_losses"),
    ("d_too_strong", "the Discriminator quickly became too strong", d_overpowers, ["study"], "fig2_initial_losses"),
    ("no_gradient_for_g", "the Generator receives almost no useful gradient", no_gradient, ["study"],
     "fig2_initial_losses"),
    ("capacity_is_the_cure", "decreasing the Discriminator's capacity (dropout, width) balances the power",
     capacity_is_the_cure, ["study"], "slips"),
    ("initial_images_poor", "the images after 50 epochs were unsatisfactory", unsatisfactory, ["evaluate"],
     "fig3_initial_samples"),
    ("losses_near_log2", "the loss of both networks hovers around log 2", near_log2, ["study"],
     "fig4_balanced_losses"),
    ("d_guesses", "the Discriminator is guessing randomly (50% accuracy)", d_guesses, ["study"],
     "fig4_balanced_losses"),
    ("losses_mean_quality", "... suggesting that the Generator has become proficient", losses_tell_quality,
     ["study", "evaluate"], "fig4_balanced_losses"),
    ("high_quality", "high-quality images that closely resemble real MNIST digits", high_quality, ["evaluate"],
     "fig5_progression"),
    ("passes_1", "the intermediate images [from 7 to 6] look like 1", passes_1, ["interpolate"], "fig6_interpolation"),
    ("1_between_7_and_6", "in GAN's latent space, 1 is located between 7 and 6", between, ["interpolation_rates"],
     "interpolation_7_6"),
    ("smooth", "a smooth transition", smooth, ["interpolation_rates"], "fig6_interpolation"),
    ("not_memorised", "the underlying continuous manifold rather than simply memorizing", not_memorised, ["evaluate"],
     "nearest_neighbours"),
    ("roof_is_a_7", "the roof still looks like a 7", roof_is_a_7, ["arithmetic"], "fig7_roof_to_6"),
    ("strip_passes_9", "a digit that resembles 9 emerging [on the way from z_hybrid to z_6]", strip_passes_9,
     ["arithmetic"], "fig8_hybrid_to_6"),
    ("equation_10", "equation (10), and the loop that weighs more than the roof", equation_10, ["arithmetic_rates"],
     "arithmetic_rates"),
    ("7_1_6_is_9", "7 - 1 + 6 is about 9", sum_is_9, ["arithmetic_rates"], "arithmetic_rates"),
]  # fmt: skip


def judge(results):
    """Every claim with what was measured, its verdict, and the files behind it; `results` as `read` returns them."""
    claims = []
    for name, says, ask, sources, figure in CLAIMS:
        files = [f"{source}.json" for source in sources]
        if missing := [source for source in sources if results[source] is None]:
            measured, verdict = f"{missing[0]}.json is not there", UNTESTED
        else:
            try:
                measured, verdict = ask(results)
            except (IndexError, KeyError, TypeError, ValueError) as error:
                measured, verdict = f"{files[0]} lacks what is needed ({error})", UNTESTED
        claim = {"id": name, "says": says, "measured": measured, "verdict": verdict}
        claims.append(claim | {"sources": files, "figure": figure})
    return claims
