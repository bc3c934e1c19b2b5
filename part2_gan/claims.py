"""The report's statements about the GAN as rules, and in how many runs or generators each is true.

*As published* means the settings of the report's code: a generator with ReLU and without its first BatchNorm, eps 0.8,
simultaneous updates. *As written* means those of its text, with torch's eps of 1e-5 and alternating updates where it is
silent. G's loss is the non-saturating one in both: the text's equation (7) is not the loss that its figures show. The
author published no code of the initial discriminator's run (figures 2 and 3): there *as published* means the settings
of the code of figures 4 and 5 with that discriminator, an assumption that figure 2's shape supports and cannot prove.

A rule is true or false of one unit: a training run, or a generator. A statement *holds* if the 95 % Wilson interval of
the share of units for which its rule is true lies above one half, and *does not hold* if it lies below. Otherwise, or
if leaving out any one unit would change the verdict, or moving a limit of ours by a tenth (a share by a tenth of its
distance from 0 or 1; a limit of 0 is not moved), the table shows the count alone, as it does where a rule cannot decide
its sentence. After the count stand the measured values: up to five units' own, else their median. Where a rule says
*more often*, it is the difference of two shares less two standard errors. A confident image is one that the CNN
classifies with a confidence above 0.99. Limits such as 0.1 are ours; the values show how near they are.
"""

import functools
import itertools
import math
import statistics
from operator import ge, getitem, gt, le, lt
from typing import NamedTuple

import metrics

LOG2 = math.log(2)
SIDES = ("published", "written")


class Unit(NamedTuple):
    """What is counted: words, or a function of the results, and `cases(results, side)`, the arguments of measures."""

    words: object
    cases: object = None


class Rule(NamedTuple):
    """True of a number if compare(number, limit); `ours`: whether the limit is ours, not the report's or natural."""

    compare: object
    limit: float
    ours: bool = True

    def __call__(self, number):
        return self.compare(number, self.limit)

    def limits(self):
        """The limit and, if it is ours, one a tenth lower and one higher (a share: of its distance from 0 or 1)."""
        reach = min(self.limit, 1 - self.limit) if 0 < self.limit < 1 else abs(self.limit)
        return [self.limit + step * reach for step in ((0, -0.1, 0.1) if self.ours else (0,))]


def near(middle):
    """The comparison of a number's distance from `middle` with a limit: True up to the limit."""
    return lambda number, limit: abs(number - middle) <= limit


class Claim(NamedTuple):
    """A statement of the report: its words, the rule in words, the unit, and what is measured.

    `measure(*case)` is a number, or None where the rule does not apply, and `holds` is the Rule. `record` is the
    report's own number, in words, or a function of the results. A claim without `measure` states what was built, or is
    not tested. Only the sides in `decides` have a verdict beside the count.
    """

    id: str
    says: str
    rule: str
    unit: Unit
    measure: object = None
    holds: Rule = Rule(gt, 0)
    record: object = None
    decides: tuple = SIDES


def verdict(k, n):
    """What k of n units say: "holds", "does not hold" or "open"."""

    def at(k, n):
        low, high = metrics.wilson(k, n)
        return "holds" if low > 0.5 else "does not hold" if high < 0.5 else "open"

    without_one = [(k - 1, n - 1)] * (k > 0) + [(k, n - 1)] * (k < n)
    words = {at(k, n)} | {at(*counts) for counts in without_one if n > 1}
    return words.pop() if len(words) == 1 else "open"


# Measures of training runs. Epochs are counted from 1, both ends included.


def runs_of(results, side, arch):
    """The runs of a recipe against one discriminator by seed: {seed: run}."""
    start = f"{side}_{arch}_seed"
    runs = results["dynamics"]["runs"].items()
    return {int(name.removeprefix(start)): run for name, run in runs if name.startswith(start)}


def mean(run, column, first, last):
    """The mean of a history column over epochs; negative ones count from the end, so (-10, -1) are the last ten."""
    values = run["by_epoch"][column]
    return statistics.mean(values[first - 1 if first > 0 else first : last if last > 0 else len(values) + last + 1])


def runs_against(arch):
    """The unit of the runs against one discriminator, each with the numbers of real digits as `real`."""

    def cases(results, side):
        real = results["dynamics"]["real"]
        return [(run | {"real": real},) for run in runs_of(results, side, arch).values()]

    return Unit(f"run, {arch} D", cases)


def with_initial(results, side):
    """(a balanced run, all initial runs) for each balanced run of a recipe whose initial D is too strong in all."""
    initial, balanced = (list(runs_of(results, side, arch).values()) for arch in ("initial", "balanced"))
    too_strong = initial and all(TOO_STRONG(EARLY_ACCURACY(run)) for run in initial)
    return [(run, initial) for run in balanced] if too_strong else []


def with_small_eps(results, side):
    """The study's runs with eps 1e-5, the updates as published and the initial D: their evaluations."""
    runs = results["overpowering"]["runs"].items() if side == "published" else ()
    return [(run,) for name, run in runs if name.startswith("initial_dropout0_eps1e-05_simultaneous_seed")]


def pairs(results, side):
    """(the initial run, the balanced run, the initial one's last epoch) of each seed that has both."""
    initial, balanced = (runs_of(results, side, arch) for arch in ("initial", "balanced"))
    return [(initial[seed], balanced[seed], initial[seed]["epochs"]) for seed in sorted(initial.keys() & balanced)]


def at_epoch(run, epoch):
    """The evaluation of a run after an epoch."""
    return next(entry for entry in run["quality"] if entry["epoch"] == epoch)


def ten_to(epoch):
    """The first of the ten epochs that end with `epoch`."""
    return max(1, epoch - 9)


def over(first, last, column):
    """The mean of a run's column over epochs, as a function of the run."""
    return lambda run: mean(run, column, first, last)


def relative_to_real(name):
    """A number of a run's last evaluation over that of real digits."""
    return lambda run: run["quality"][-1][name] / run["real"][name]


def precision_relative_to_real(run):
    """The share of samples among real digits (precision, Kynkäänniemi et al. 2019) over that of training digits."""
    return run["precision_recall"]["precision"] / run["real"]["precision"]


def unconfidence(run):
    """The larger of 1 - D(x) and D(G(z)), each its mean over the last ten epochs."""
    return max(1 - mean(run, "d_real", -10, -1), mean(run, "d_fake", -10, -1))


def gradient_ratio(loss):
    """The norm of G's gradient against the initial D over that against the balanced D, for one of G's losses.

    The median over the epochs at which both runs were evaluated; None where the initial D is not too confident.
    """

    def value(a, b, _):
        if not CONFIDENT(unconfidence(a)):
            return None
        epochs = {entry["epoch"] for entry in a["quality"]} & {entry["epoch"] for entry in b["quality"]}
        return statistics.median(norm(at_epoch(a, e), loss) / norm(at_epoch(b, e), loss) for e in epochs)

    return value


def norm(evaluation, loss):
    """The norm of G's gradient by one of its losses."""
    return evaluation["g_gradients"][loss]["norm"]


def vanishing(run):
    """The norm of G's gradient by equation (7) over that by the loss it trains on: median of the evaluations."""
    return statistics.median(norm(entry, "minimax") / norm(entry, "non-saturating") for entry in run["quality"])


def frechet_ratio(evaluation, other):
    """The Fréchet distance of an evaluation over that of another."""
    return evaluation["frechet_distance"] / other["frechet_distance"]


def distance_from_log2(run, first, last):
    """The larger distance of the two losses' means over epochs from log 2."""
    return max(abs(mean(run, column, first, last) - LOG2) for column in ("d_loss", "g_loss"))


def hovers(run):
    """The larger distance of the two losses' means over the second half of the epochs from log 2."""
    return distance_from_log2(run, run["epochs"] // 2 + 1, -1)


def drift(run):
    """The larger change of the two losses' means from the third quarter of the epochs to the last one."""
    half, three, end = run["epochs"] // 2, 3 * run["epochs"] // 4, run["epochs"]
    return max(abs(mean(run, c, half + 1, three) - mean(run, c, three + 1, end)) for c in ("d_loss", "g_loss"))


def ranks(values):
    """The rank of every value, equal ones with their mean rank."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) - 1) / 2 for value in values]


def spearman(x, y):
    """Spearman's rank correlation of two lists; 0 where one of them is constant."""
    x, y = ranks(x), ranks(y)
    return statistics.correlation(x, y) if min(len(set(x)), len(set(y))) > 1 else 0.0


def losses_and_quality(run, changes=False):
    """Spearman's correlation over a run's evaluations of the losses' distance from log 2 and the Fréchet distance.

    With `changes` it is that of their changes between evaluations, in which a shared trend does not count.
    """
    gaps = [distance_from_log2(run, entry["epoch"], entry["epoch"]) for entry in run["quality"]]
    distances = [entry["frechet_distance"] for entry in run["quality"]]
    if changes:
        gaps, distances = ([b - a for a, b in itertools.pairwise(values)] for values in (gaps, distances))
    return spearman(gaps, distances)


# Measures of generators, from latent_rates.json and evaluate.json. Shares are those of the CNN's classes.


def generators(results):
    """The unit of the rates in words, with how many generators of a recipe have rates where not all have."""
    entries, told = (results["latent_rates"] or {"generators": {}})["generators"].values(), []
    for side in SIDES:
        known = ["classifiers" in entry for entry in entries if entry["recipe"].startswith(side)]
        if not all(known):
            told.append(f"{sum(known)} of {len(known)} as {side}")
    return "generator that draws 1, 6 and 7" + (f" ({', '.join(told)})" if told else "")


def rates(results, side):
    """The entries of a recipe's generators that have rates, with `count`, the number of images of a share."""
    entries, count = results["latent_rates"]["generators"].values(), results["latent_rates"]["count"]
    return [(entry | {"count": count},) for entry in entries if entry["recipe"] == side]


def share(*keys):
    """A number of a generator's rates, or its ten shares of the digits."""
    return lambda entry: functools.reduce(getitem, keys, entry["classifiers"]["cnn"])


def single(kind, *digits):
    """The share of `digits` among the images of a sum of single latents."""
    return lambda entry: sum(share("sums", "one", kind)(entry)[digit] for digit in digits)


def lead(digit, *keys):
    """The share of a digit less the largest share of another one."""

    def value(entry):
        shares = share(*keys)(entry)
        return shares[digit] - max(shares[:digit] + shares[digit + 1 :])

    return value


def exceeds(first, *others):
    """A share less each of the others and two standard errors of the difference; the smallest of these numbers."""

    def value(entry):
        p, n = first(entry), entry["count"]
        return min(p - q - 2 * math.sqrt((p * (1 - p) + q * (1 - q)) / n) for q in (other(entry) for other in others))

    return value


def recorded_means(results):
    """The means of the losses that the report's author printed over the last 100 epochs, in words."""
    losses = results["record"]["losses"]
    d, g = (statistics.mean(losses[name][len(losses[name]) // 2 :]) for name in ("d_loss", "g_loss"))
    return f"D {d:.3f}, G {g:.3f}"


BUILT = Unit("implemented as written")
INITIAL, BALANCED = runs_against("initial"), runs_against("balanced")
PAIR, GENERATOR = Unit("seed with a run against each D", pairs), Unit(generators, rates)
OWN_RUN = Unit("the report's own run", lambda results, side: [(results["record"]["losses"],)] * (side == "published"))
COMMITTED = Unit("the generator in the repository", lambda results, side: [
    (entry,) for entry in [results["evaluate"]["generator"]] if entry["generator"].get("generator") == side
])  # fmt: skip
CONFIDENT = Rule(lt, 0.2)
EARLY_ACCURACY, TOO_STRONG, LINE = over(6, 10, "d_accuracy"), Rule(gt, 0.75), ("paths", "line")
ROOF_MAKES_7 = exceeds(single("one_plus_roof", 7), single("one_plus_random", 7))
SUM_MAKES_9 = exceeds(single("sum", 9), single("random", 9), single("others", 9))
CLAIMS = [
    Claim("generator", "the Generator (128 to 256 to 512 to 1024, each followed by Batch Normalization and LeakyReLU, "
          "then Tanh)", "`--recipe written` has it", BUILT, record="code: ReLU, no first BatchNorm, eps 0.8"),
    Claim("discriminator", "the Discriminator (784 to 256 to 128, LeakyReLU, Dropout 0.4, Sigmoid), latents of length "
          "100 from N(0, 1), Adam with learning rate 0.0002 and beta1 0.5", "both recipes have them", BUILT),
    Claim("recommended", "the recommended structure (784 to 512 to 256 without Dropout)",
          "`--arch initial`; the code of its run is not published", BUILT),
    Claim("latent_formulas", "z_alpha = (1 - alpha) z_1 + alpha z_2, equations (8) and (9)",
          "interpolate.py and arithmetic.py have them", BUILT),
    Claim("minimax", "the training objective follows the minimax game of equation (7)",
          "no printed loss of G is positive, as log(1 - D(G(z))) never is; shown: the largest", OWN_RUN,
          lambda losses: max(losses["g_loss"]), Rule(le, 0, ours=False), "code: 469 of 469 positive"),
    Claim("d_too_strong", "the Discriminator quickly became too strong, ...",
          "D classifies more than 75 % of its training batches correctly in epochs 6 to 10", INITIAL,
          EARLY_ACCURACY, TOO_STRONG),
    Claim("vanishing", "... leading to vanishing gradients for the Generator",
          "at the same weights equation (7)'s gradient has less than a tenth of the non-saturating one's norm (median "
          "of the evaluations)", INITIAL, vanishing, Rule(lt, 0.1)),
    Claim("d_loss_falls", "the Discriminator's loss rapidly decreases ...",
          "mean over epochs 6 to 10 below half of log 2", INITIAL, over(6, 10, "d_loss"), Rule(lt, LOG2 / 2)),
    Claim("d_loss_near_zero", "... to near zero, ...", "mean over the last ten epochs below 0.1", INITIAL,
          over(-10, -1, "d_loss"), Rule(lt, 0.1), "figure 2: 0 to 1"),
    Claim("distinguishes", "... indicating it can easily distinguish real from fake images",
          "it classifies at least 90 % of its training batches correctly in the last ten epochs", INITIAL,
          over(-10, -1, "d_accuracy"), Rule(ge, 0.9)),
    Claim("g_loss_spikes", "the Generator's loss spikes ...",
          "its largest batch loss is above 8, the top of figure 2's ordinary range", INITIAL,
          lambda run: run["largest_g_loss"], Rule(gt, 8), "figure 2: up to 14"),
    Claim("g_loss_high", "... and remains high", "mean over the last ten epochs above 2 log 2", INITIAL,
          over(-10, -1, "g_loss"), Rule(gt, 2 * LOG2), "figure 2: 3 to 8"),
    Claim("too_confident", "when the Discriminator is too confident, ...",
          "in the last ten epochs the mean of D(x) is above 0.8 and that of D(G(z)) below 0.2; shown: the larger of "
          "1 - D(x) and D(G(z))", INITIAL,
          unconfidence, CONFIDENT),
    Claim("no_gradient", "... the Generator receives almost no useful gradient information (by the loss it trains on)",
          "where it is (row above), the norm of its gradient is less than a tenth of that against the balanced D "
          "(median of the evaluations after the same epochs); a norm cannot show whether a gradient is useful", PAIR,
          gradient_ratio("non-saturating"), Rule(lt, 0.1), decides=()),
    Claim("no_gradient_minimax", "... (by the loss of equation (7), at each run's own weights)",
          "where it is (two rows above), the norm of this gradient is less than a tenth of that against the balanced D "
          "(median of the evaluations after the same epochs); a norm cannot show whether a gradient is useful", PAIR,
          gradient_ratio("minimax"), Rule(lt, 0.1), decides=()),
    Claim("unsatisfactory", "the generated images after 50 epochs were unsatisfactory",
          "less than half as many samples as test digits are confident", INITIAL,
          relative_to_real("confident_share"), Rule(lt, 0.5)),
    Claim("had_to", "to address this problem, I had to decrease the Discriminator's capacity",
          "with eps 1e-5 in place of 0.8 and nothing else changed (simultaneous updates, the text's generator), the "
          "initial D still classifies more than 75 % of its training batches correctly in epochs 6 to 10 (mean of the "
          "evaluated ones)",
          Unit("run of the study, initial D", with_small_eps),
          lambda run: statistics.mean(entry["d_accuracy"] for entry in run if 6 <= entry["epoch"] <= 10), TOO_STRONG),
    Claim("balances", "dropout and fewer neurons in D help to balance the power, ...",
          "after the same number of epochs D's accuracy, its dropout active (without it: not measured), is at least "
          "0.1 lower than that of the initial D; a collapsed run passes as well", PAIR,
          lambda a, b, n: mean(a, "d_accuracy", ten_to(n), n) - mean(b, "d_accuracy", ten_to(n), n), Rule(ge, 0.1),
          decides=()),
    Claim("no_longer_too_strong", "... (is the balanced D no longer too strong?)",
          "D, its dropout active, classifies at most 75 % of its training batches correctly in epochs 6 to 10",
          BALANCED, EARLY_ACCURACY, Rule(le, 0.75), decides=()),
    Claim("samples_improved", "... allowing both networks to learn effectively (are the samples better?)",
          "after the same number of epochs the Fréchet distance is less than half of that with the initial D; whether "
          "a network learns effectively it cannot show", PAIR,
          lambda a, b, n: frechet_ratio(at_epoch(b, n), at_epoch(a, n)), Rule(lt, 0.5), decides=()),
    Claim("dynamics_improved", "the training dynamics improved significantly (losses)",
          "after the same number of epochs the losses are at most half as far from log 2 as with the initial D; a "
          "collapsed run, or one with worse samples, passes as well", PAIR,
          lambda a, b, n: distance_from_log2(b, ten_to(n), n) / distance_from_log2(a, ten_to(n), n), Rule(le, 0.5),
          decides=()),
    Claim("stable", "both losses fluctuate around a stable point",
          "neither mean changes by 0.05 or more from the third quarter of the epochs to the last", BALANCED, drift,
          Rule(lt, 0.05)),
    Claim("near_log2", "the loss of both networks hovers around log 2",
          "both means over the second half of the epochs are within 0.05 of log 2 = 0.693", BALANCED, hovers,
          Rule(lt, 0.05), recorded_means),
    Claim("d_guesses", "the Discriminator is guessing randomly (50% accuracy), ...",
          "it classifies 45 to 55 % of its training batches correctly in the last ten epochs, its dropout active; "
          "without dropout, which lowers it, not measured", BALANCED, over(-10, -1, "d_accuracy"),
          Rule(near(0.5), 0.05), decides=()),
    Claim("losses_tell_quality", "... suggesting that the Generator has become proficient ...",
          "where both losses hover near log 2 (as two rows above), the Fréchet distance is at most twice that of "
          "10,000 training digits; shown: their ratio; how near proficient is the report does not say", BALANCED,
          lambda run: relative_to_real("frechet_distance")(run) if hovers(run) < 0.05 else None, Rule(le, 2),
          decides=()),
    Claim("fools_d", "... to fool the Discriminator half the time (its mean output)",
          "the mean of D(G(z)) is 0.45 to 0.55 in the last ten epochs, D's dropout active", BALANCED,
          over(-10, -1, "d_fake"), Rule(near(0.5), 0.05)),
    Claim("high_quality", "the Generator produces high-quality images ...",
          "at least 0.9 times as many samples as test digits are confident; how many make high quality the report does "
          "not say", BALANCED, relative_to_real("confident_share"), Rule(ge, 0.9), decides=()),
    Claim("resemble_real", "... that closely resemble real MNIST digits (as a set)",
          "Fréchet distance at most twice that of 10,000 training digits; it counts lack of variety as well", BALANCED,
          relative_to_real("frechet_distance"), Rule(le, 2), decides=()),
    Claim("resemble_real_singly", "... (each by itself)",
          "the precision of the samples is at least 0.9 times that of training digits; a collapsed run may pass",
          BALANCED, precision_relative_to_real, Rule(ge, 0.9), decides=()),
    Claim("stage_a", "at the beginning, mostly noise with few consistent patterns",
          "at most 5 of the 25 samples after the first epoch are confident", BALANCED,
          lambda run: run["stages"]["confident"][0], Rule(le, 5)),
    Claim("stage_b", "by the middle, digit-like structures ...",
          "at least half of 5,000 samples are confident", BALANCED,
          lambda run: at_epoch(run, run["epochs"] // 2)["confident_share"], Rule(ge, 0.5)),
    Claim("few_noise", "... with few noise", "nothing here measures noise", BALANCED),
    Claim("stage_c", "at the end, the generated images look nicer, ...",
          "the Fréchet distance is lower at the end than in the middle", BALANCED,
          lambda run: frechet_ratio(run["quality"][-1], at_epoch(run, run["epochs"] // 2)), Rule(lt, 1, ours=False)),
    Claim("some_weird", "... although some digits are still a bit weird",
          "0.5 to 0.95 times as many samples as test digits are confident", BALANCED,
          relative_to_real("confident_share"), Rule(near(0.725), 0.225)),
    Claim("manifold", "the GAN has learned the underlying continuous manifold ...",
          "the middles between latents of different digits, each picked with a confidence of 0.999, have a confidence "
          "above 0.9 at least 0.9 times as often as unselected samples; a generator that draws few kinds of digits "
          "would pass as well", GENERATOR,
          lambda entry: share("middle_confident")(entry) / share("sample_confident")(entry), Rule(ge, 0.9),
          decides=()),
    Claim("not_memorised", "... rather than simply memorizing training samples (distance)",
          "in pixels the median sample is at least as far from its nearest training digit as a test digit is; "
          "blurred or noisy samples would pass as well", GENERATOR, lambda entry: entry["neighbour_ratio"],
          Rule(ge, 1, ours=False), decides=()),
    Claim("no_copies", "... (copies)",
          "in pixels and in features at most 1 % of samples are nearer to a training digit than 99 % of test digits "
          "are; cannot show that nothing was memorised", COMMITTED,
          lambda entry: max(entry["neighbours"][space]["closer_share"] for space in ("pixels", "features")),
          Rule(le, 0.01)),
    Claim("smooth", "a smooth transition from digit 7 to digit 6",
          "in the classifier's features no step of 20 is as long as half the distance of the ends (medians; even steps "
          "on a straight way: 0.05)", GENERATOR,
          lambda entry: math.prod(share(*LINE, name)(entry) for name in ("largest_step", "length_over_distance")),
          Rule(lt, 0.5), decides=()),
    Claim("similar_parts", "both digits have similar structural components, ...",
          "nothing here measures what two digits share", GENERATOR),
    Claim("looks_like_1", "... and the intermediate images look like 1",
          "more than half of the straight paths pass an image classified as 1; the report speaks of its one strip",
          GENERATOR, share(*LINE, "passes_1"), Rule(gt, 0.5), "its one strip does", decides=()),
    Claim("between", "we can probably guess that: in GAN's latent space, 1 is located between 7 and 6",
          "more than half of the middles between a 7 and a 6 are classified as 1", GENERATOR, share(*LINE, "middle_1"),
          Rule(gt, 0.5)),
    Claim("between_beats_chance", "... more than by chance",
          "the middle is a 1 more often than that between two other digits, neither of them a 1", GENERATOR,
          exceeds(share(*LINE, "middle_1"), share("middle_1_between_others"))),
    Claim("roof_makes_7", "I hypothesized that a 7 can be conceptually decomposed into a 1 plus a roof",
          "z_1 + (z_7 - z_1) of another 7 and 1 is classified as 7 more often than z_1 plus a random direction of the "
          "same length; it contains z_7, and so would pass whatever the 1 does", GENERATOR, ROOF_MAKES_7,
          decides=()),
    Claim("one_adds", "... (does the 1 add anything?)",
          "z_1 + (z_7 - z_1) of another 7 and 1 is classified as 7 more often than z_7 - z_1 alone, a shorter vector",
          GENERATOR, exceeds(single("one_plus_roof", 7), single("roof", 7)), decides=()),
    Claim("roof_is_7", "the roof still looks like a 7", "more than half of z_7 - z_1 are classified as 7; the report "
          "speaks of its one image", GENERATOR, single("roof", 7), Rule(gt, 0.5), "its one image does", decides=()),
    Claim("sevens_space", "I get that 7 might occupy a huge space in the latent space",
          "a fifth of random latents or more, twice a tenth, are classified as 7; z_7 - z_1, of which the report says "
          "it, is about 1.4 times as long", GENERATOR,
          lambda entry: share("samples")(entry)[7], Rule(ge, 0.2)),
    Claim("nine_on_strip", "a digit that resembles 9 emerges [from z_hybrid to z_6] ...",
          "more than half of the strips pass an image classified as 9; the report speaks of its one strip", GENERATOR,
          share("strip_9"), Rule(gt, 0.5), "7 7 9 9 9 4 6 6 6 6", decides=()),
    Claim("strip_beats_chance", "... more than by chance",
          "a strip passes an image classified as 9 more often than with a random direction", GENERATOR,
          exceeds(share("strip_9"), share("strip_9_random"))),
    Claim("equation_10", "z_9 is about 1.8 z_6 + 0.96 z_7 - 0.96 z_1 (equation (10))",
          "for any z_1, z_6 and z_7 it is most often classified as 9: its share less the next largest; figure 8's own "
          "point at 0.8 has weight 1 for z_6, not 1.8", GENERATOR, lead(9, "sums", "one", "equation_10"),
          record="one strip: 7 7 9 9 9 4 6 6 6 6"),
    Claim("loop", "the weight of 6's loop is higher than 7's roof, so the final result has a loop?",
          "1.8 z_6 + 0.96 (z_7 - z_1) is classified as 0, 6, 8 or 9 more often than z_6 + (z_7 - z_1); the report asks "
          "and does not say", GENERATOR, exceeds(*(single(kind, 0, 6, 8, 9) for kind in ("equation_10", "sum"))),
          decides=()),
    Claim("overcame", 'overcame the "Discriminator Overpowering" instability by regulating D\'s capacity',
          "where the initial D is too strong by the rule above, after the same number of epochs the Fréchet distance "
          "is less than half that of each run against the initial D; shown: its ratio to the lowest",
          Unit("run, balanced D", with_initial),
          lambda run, initial: max(frechet_ratio(at_epoch(run, a["epochs"]), a["quality"][-1]) for a in initial),
          Rule(lt, 0.5)),
    Claim("sum_is_9", "(e.g.) 7 - 1 + 6 is about 9 ...",
          "for any z_7, z_1 and z_6 their sum is most often classified as 9: its share less the next largest; the "
          "report has one of each", GENERATOR, lead(9, "sums", "one", "sum"), record="one strip: 7 7 9 9 9 4 6 6 6 6"),
    Claim("scaled_sum_is_9", "... (the sum scaled to a latent's length)",
          "it is most often classified as 9: its share less the next largest", GENERATOR,
          lead(9, "sums", "sphere", "sum"), decides=()),
    Claim("sum_of_3_is_9", "... (for means of 3 latents, as in Radford et al.)",
          "mean 7 - mean 1 + mean 6 is most often classified as 9: its share less the next largest", GENERATOR,
          lead(9, "sums", "mean3", "sum")),
    Claim("sum_of_100_is_9", "... (for means of 100 latents: nearly one image per generator)",
          "mean 7 - mean 1 + mean 6 is most often classified as 9: its share less the next largest", GENERATOR,
          lead(9, "sums", "mean100", "sum"), decides=()),
    Claim("sum_beats_chance", "... more than by chance",
          "z_7 - z_1 + z_6 is classified as 9 more often than with a random direction and with other digits' "
          "difference", GENERATOR, SUM_MAKES_9),
    Claim("meaningful", "the GAN learned a semantically meaningful data manifold, ...",
          "a 7 plus mean 6 less mean 7 is classified as 6 more often than a 7 plus a random direction; a generator of "
          "ten stored images, one for each digit, would pass as well", GENERATOR,
          exceeds(share("shift_to_6"), share("shift_to_6_random")), decides=()),
    Claim("compositions", "... where digits are compositions of structural features (strokes and loops)",
          'both "a 1 plus a roof" and "7 - 1 + 6 is about 9, more than by chance" are true', GENERATOR,
          lambda entry: min(ROOF_MAKES_7(entry), SUM_MAKES_9(entry)), decides=()),
    Claim("not_pixel_maps", "... rather than isolated pixel maps",
          "a straight path from 7 to 6 passes a 1 more often than the cross-fade of its end images; shows only that "
          "the path is no cross-fade", GENERATOR, exceeds(share(*LINE, "passes_1"), share("paths", "fade", "passes_1")),
          decides=()),
]  # fmt: skip


def measured(claim, results, side):
    """One side of a claim: {k, n, values, value, verdict}, `value` their median; None without results."""
    try:
        values = [claim.measure(*case) for case in claim.unit.cases(results, side)]
        values = [value for value in values if value is not None]
    except (KeyError, IndexError, StopIteration, TypeError, ZeroDivisionError, statistics.StatisticsError):
        return None  # a result of an earlier version, or of a run too short for the rule
    if not values:
        return None
    rules = [claim.holds._replace(limit=limit) for limit in claim.holds.limits()]
    k, *others = (sum(bool(rule(value)) for value in values) for rule in rules)
    words = {verdict(count, len(values)) for count in (k, *others)} if side in claim.decides else ()
    found = {"k": k, "n": len(values), "values": values, "value": statistics.median(values)}
    return found | {"verdict": words.pop() if len(words) == 1 else "open"}


def count(results):
    """All claims as they go into claims.json; `results` has the parsed files by name, None for those not there."""
    claims = []
    for claim in CLAIMS:
        fields = {name: getattr(claim, name) for name in ("id", "says", "rule", "record")} | {"unit": claim.unit.words}
        told = {name: value(results) if callable(value) else value for name, value in fields.items()}
        claims.append(told | {side: measured(claim, results, side) if claim.measure else None for side in SIDES})
    return claims
