"""The report's statements about the GAN as rules, and in how many runs or generators each is true.

A rule is true or false of one unit: a training run, or a generator. A statement *holds* if the 95 % Wilson interval of
the share of units for which its rule is true lies above one half, and *does not hold* if it lies below. Otherwise, or
if leaving out any one unit would change the verdict, the table shows the count alone. Every rule stands in its row
with the number that decides; nothing here is typed in by hand but the report's own words and numbers.
"""

import math
import statistics
from typing import NamedTuple

import metrics

LOG2 = math.log(2)
SIDES = ("published", "written")


class Claim(NamedTuple):
    """A statement of the report: its words, the rule in words, the unit, and what is measured.

    `measure(results, side)` gives a list of numbers, one a unit, and `holds(number)` is the rule. `record` is the
    report's own number, in words, or a function of the results. A claim without `measure` states what was built.
    """

    id: str
    says: str
    rule: str
    unit: str
    measure: object = None
    holds: object = None
    record: object = None


def verdict(k, n):
    """What k of n units say: "holds", "does not hold" or "open"; None for no units."""

    def at(k, n):
        low, high = metrics.wilson(k, n)
        return "holds" if low > 0.5 else "does not hold" if high < 0.5 else "open"

    if n == 0:
        return None
    without_one = [(k - 1, n - 1)] * (k > 0) + [(k, n - 1)] * (k < n)
    words = {at(k, n)} | {at(*counts) for counts in without_one if n > 1}
    return words.pop() if len(words) == 1 else "open"


# Measures of training runs. Epochs are counted from 1, both ends included.


def runs_of(results, side, arch):
    """The runs of a recipe against one discriminator by seed: {seed: run}."""
    start = f"{side}_{arch}_seed"
    runs = (results.get("dynamics") or {"runs": {}})["runs"]
    return {int(name.removeprefix(start)): run for name, run in runs.items() if name.startswith(start)}


def mean(run, column, first, last):
    """The mean of a history column over epochs; negative ones count from the end, so (-10, -1) are the last ten."""
    values = run["by_epoch"][column]
    return statistics.mean(values[first - 1 if first > 0 else first : last if last > 0 else len(values) + last + 1])


def per_run(arch, value):
    """The measure `value(run)` over the runs against the discriminator `arch`."""
    return lambda results, side: [value(run) for run in runs_of(results, side, arch).values()]


def at_epoch(run, epoch):
    """The evaluation of a run after an epoch."""
    return next(entry for entry in run["quality"] if entry["epoch"] == epoch)


def per_pair(value):
    """The measure `value(initial, balanced, epoch)` over the seeds that have a run against each discriminator.

    The two are compared after the same number of epochs, the initial one's.
    """

    def measure(results, side):
        initial, balanced = (runs_of(results, side, arch) for arch in ("initial", "balanced"))
        both = sorted(initial.keys() & balanced.keys())
        return [value(initial[seed], balanced[seed], initial[seed]["epochs"]) for seed in both]

    return measure


def gradient_ratio(loss):
    """The norm of G's gradient against the initial D over that against the balanced D, for one of G's losses."""

    def value(initial, balanced, epoch):
        norms = [at_epoch(run, epoch)["g_gradients"][loss]["norm"] for run in (initial, balanced)]
        return norms[0] / norms[1]

    return per_pair(value)


def distance_from_log2(run, first, last):
    """The larger distance of the two losses' means over epochs from log 2."""
    return max(abs(mean(run, column, first, last) - LOG2) for column in ("d_loss", "g_loss"))


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


def losses_and_quality(run):
    """Spearman's correlation over a run's evaluations of the losses' distance from log 2 and the Fréchet distance."""
    gaps = [distance_from_log2(run, entry["epoch"], entry["epoch"]) for entry in run["quality"]]
    return spearman(gaps, [entry["frechet_distance"] for entry in run["quality"]])


def beside_real(arch, value):
    """The measure `value(run, real)` over the runs against the discriminator `arch`; `real` is that of real digits."""

    def measure(results, side):
        return [value(run, results["dynamics"]["real"]) for run in runs_of(results, side, arch).values()]

    return measure


# Measures of generators, from latent_rates.json.


def per_generator(value):
    """The measure `value(entry)` over the generators of a recipe that draw the digits it takes."""

    def measure(results, side):
        entries = (results.get("latent_rates") or {"generators": {}})["generators"].values()
        return [value(entry) for entry in entries if entry["recipe"] == side]

    return measure


def share(*keys):
    """A number of a generator's rates as the CNN classifies; the last of `keys` may be a digit, an index of a list."""

    def value(entry):
        found = entry["classifiers"]["cnn"]
        for key in keys:
            found = found[key]
        return found

    return value


def most_frequent(*keys):
    """The most frequent class among ten shares of a generator."""
    return lambda entry: max(range(10), key=share(*keys)(entry).__getitem__)


def difference(first, second):
    """The difference of two measures of a generator."""
    return lambda entry: first(entry) - second(entry)


def record_losses(results):
    """The report's printed losses of single batches, [d], [g]; two empty lists without report_record.json."""
    losses = (results.get("record") or {}).get("losses", {})
    return losses.get("d_loss", []), losses.get("g_loss", [])


def recorded_means(results):
    """The means of the report's printed losses over its last 100 epochs, in words."""
    halves = [statistics.mean(values[len(values) // 2 :]) for values in record_losses(results) if values]
    return "D {:.3f}, G {:.3f}".format(*halves) if halves else None


RUN, PAIR, GENERATOR = "run", "seed (a run against each D)", "generator"
CLAIMS = [
    Claim("networks", "the architectures, Adam with learning rate 0.0002 and beta1 0.5",
          "as `--recipe written` has them; the published code differs in the generator (see gan.py)", "implemented"),
    Claim("minimax", "the training objective follows the minimax game of equation (7)",
          "G's loss is never positive, as log(1 - D(G(z))) is", "printed loss of the report's own run",
          lambda results, side: record_losses(results)[1] if side == "published" else [], lambda loss: loss <= 0),
    Claim("d_too_strong", "the Discriminator quickly became too strong",
          "D classifies more than 75 % of its training batches correctly in epochs 6 to 10", RUN + ", initial D",
          per_run("initial", lambda run: mean(run, "d_accuracy", 6, 10)), lambda v: v > 0.75),
    Claim("d_loss_falls", "the Discriminator's loss rapidly decreases ...",
          "mean over epochs 6 to 10 below half of log 2", RUN + ", initial D",
          per_run("initial", lambda run: mean(run, "d_loss", 6, 10)), lambda v: v < LOG2 / 2),
    Claim("d_loss_near_zero", "... to near zero", "mean over the last ten epochs below 0.1", RUN + ", initial D",
          per_run("initial", lambda run: mean(run, "d_loss", -10, -1)), lambda v: v < 0.1, "figure 2: 0 to 1"),
    Claim("g_loss_spikes", "the Generator's loss spikes ...",
          "its largest batch loss is at least twice the mean over the last ten epochs", RUN + ", initial D",
          per_run("initial", lambda run: run["largest_g_loss"] / mean(run, "g_loss", -10, -1)), lambda v: v >= 2,
          "figure 2: up to 14"),
    Claim("g_loss_high", "... and remains high", "mean over the last ten epochs above 2 log 2", RUN + ", initial D",
          per_run("initial", lambda run: mean(run, "g_loss", -10, -1)), lambda v: v > 2 * LOG2, "figure 2: 3 to 8"),
    Claim("no_gradient", "... the Generator receives almost no useful gradient information (by the loss it trains on)",
          "the norm of its gradient is less than a tenth of that against the balanced D", PAIR,
          gradient_ratio("non-saturating"), lambda v: v < 0.1),
    Claim("no_gradient_minimax", "... (by the loss of equation (7), at the same weights)",
          "the norm of its gradient is less than a tenth of that against the balanced D", PAIR,
          gradient_ratio("minimax"), lambda v: v < 0.1),
    Claim("unsatisfactory", "the generated images after 50 epochs were unsatisfactory",
          "less than half as many samples as test digits are classified with a confidence above 0.99",
          RUN + ", initial D",
          beside_real("initial", lambda run, real: run["quality"][-1]["confident_share"] / real["confident_share"]),
          lambda v: v < 0.5),
    Claim("balances", "dropout and fewer neurons in D help to balance the power",
          "after as many epochs D's accuracy is at least 10 points lower than that of the initial D", PAIR,
          per_pair(lambda a, b, n: mean(a, "d_accuracy", n - 9, n) - mean(b, "d_accuracy", n - 9, n)),
          lambda v: v >= 0.1),
    Claim("dynamics_improved", "the training dynamics improved significantly",
          "after as many epochs the losses are at most half as far from log 2 as with the initial D", PAIR,
          per_pair(lambda a, b, n: distance_from_log2(b, n - 9, n) / distance_from_log2(a, n - 9, n)),
          lambda v: v <= 0.5),
    Claim("stable", "both losses fluctuate around a stable point",
          "neither mean changes by 0.05 or more from the third quarter of the epochs to the last", RUN + ", balanced D",
          per_run("balanced", drift), lambda v: v < 0.05),
    Claim("near_log2", "the loss of both networks hovers around log 2",
          "both means over the second half of the epochs are within 0.05 of log 2 = 0.693", RUN + ", balanced D",
          per_run("balanced", lambda run: distance_from_log2(run, run["epochs"] // 2 + 1, -1)), lambda v: v < 0.05,
          recorded_means),
    Claim("d_guesses", "the Discriminator is guessing randomly (50% accuracy)",
          "it classifies 45 to 55 % of its training batches correctly in the last ten epochs", RUN + ", balanced D",
          per_run("balanced", lambda run: mean(run, "d_accuracy", -10, -1)), lambda v: 0.45 <= v <= 0.55),
    Claim("losses_tell_quality", "... suggesting that the Generator has become proficient",
          "over the evaluations of a run, losses nearer to log 2 go with better samples: rank correlation at least 0.5",
          RUN + ", balanced D", per_run("balanced", losses_and_quality), lambda v: v >= 0.5),
    Claim("high_quality", "the Generator produces high-quality images ...",
          "precision against test digits at least 0.9 times that of training digits", RUN + ", balanced D",
          beside_real("balanced", lambda run, real: run["precision_recall"]["precision"] / real["precision"]),
          lambda v: v >= 0.9),
    Claim("resemble_real", "... that closely resemble real MNIST digits",
          "Fréchet distance at most twice that of training digits", RUN + ", balanced D",
          beside_real("balanced", lambda run, real: run["quality"][-1]["frechet_distance"] / real["frechet_distance"]),
          lambda v: v <= 2),
    Claim("stage_a", "at the beginning, mostly noise with few consistent patterns",
          "at most 5 of the 25 samples after the first epoch are classified with a confidence above 0.99",
          RUN + ", balanced D", per_run("balanced", lambda run: run["stages"]["confident"][0]), lambda v: v <= 5),
    Claim("stage_b", "by the middle, digit-like structures",
          "at least 13 of the 25 samples are classified with a confidence above 0.99", RUN + ", balanced D",
          per_run("balanced", lambda run: run["stages"]["confident"][1]), lambda v: v >= 13),
    Claim("stage_c", "at the end, the generated images look nicer ...",
          "Fréchet distance lower at the end than in the middle", RUN + ", balanced D",
          per_run("balanced", lambda run: run["quality"][-1]["frechet_distance"]
                  / at_epoch(run, run["epochs"] // 2)["frechet_distance"]), lambda v: v < 1),
    Claim("some_weird", "... although some digits are still a bit weird",
          "5 to 50 % fewer samples than test digits are classified with a confidence above 0.99", RUN + ", balanced D",
          beside_real("balanced",
                      lambda run, real: 1 - run["quality"][-1]["confident_share"] / real["confident_share"]),
          lambda v: 0.05 <= v <= 0.5),
    Claim("looks_like_1", "the intermediate images [from 7 to 6] look like 1",
          "more than half of the straight paths pass an image classified as 1", GENERATOR,
          per_generator(share("paths", "line", "passes_1")), lambda v: v > 0.5, "its one strip does"),
    Claim("between", "in GAN's latent space, 1 is located between 7 and 6",
          "the middle is a 1 more often than that between two other digits, neither of them a 1", GENERATOR,
          per_generator(difference(share("paths", "line", "middle_1"), share("middle_1_between_others"))),
          lambda v: v > 0),
    Claim("smooth", "a smooth transition from digit 7 to digit 6",
          "in the classifier's features the largest of 20 steps is at most a quarter of the path (median)", GENERATOR,
          per_generator(share("paths", "line", "largest_step")), lambda v: v <= 0.25),
    Claim("not_memorised", "rather than simply memorizing training samples",
          "in pixels the median sample is at least as far from its nearest training digit as a test digit is",
          GENERATOR,
          per_generator(lambda entry: entry["neighbour_ratio"]), lambda v: v >= 1),
    Claim("manifold", "the GAN has learned the underlying continuous manifold",
          "the middles between different digits are classified with a confidence above 0.9 at least 0.9 times as often "
          "as random samples", GENERATOR,
          per_generator(lambda entry: share("middle_confident")(entry) / share("sample_confident")(entry)),
          lambda v: v >= 0.9),
    Claim("roof_is_7", "the roof still looks like a 7", "z_7 - z_1 is most often classified as 7", GENERATOR,
          per_generator(most_frequent("sums", "one", "roof")), lambda v: v == 7, "its one image does"),
    Claim("sevens_space", "7 might occupy a huge space in the latent space",
          "7 is the most frequent class of random latents", GENERATOR, per_generator(most_frequent("samples")),
          lambda v: v == 7),
    Claim("roof_makes_7", "7 is a 1 plus a roof",
          "z_1 + (z_7 - z_1) of another 7 and 1 is classified as 7 more often than with a random direction", GENERATOR,
          per_generator(difference(*(share("sums", "one", f"one_plus_{what}", 7) for what in ("roof", "random")))),
          lambda v: v > 0),
    Claim("nine_on_strip", "a digit that resembles 9 emerges [from z_hybrid to z_6]",
          "more than half of the strips pass an image classified as 9", GENERATOR,
          per_generator(share("strip_9")), lambda v: v > 0.5, "7 7 9 9 9 4 6 6 6 6"),
    Claim("sum_is_9", "7 - 1 + 6 is about 9", "z_7 - z_1 + z_6 is most often classified as 9", GENERATOR,
          per_generator(most_frequent("sums", "one", "sum")), lambda v: v == 9),
    Claim("sum_beats_chance", "... more than by chance",
          "it is classified as 9 more often than with a random direction and with other digits' difference", GENERATOR,
          per_generator(lambda e: share("sums", "one", "sum", 9)(e) - max(
              share("sums", "one", kind, 9)(e) for kind in ("random", "others"))), lambda v: v > 0),
    Claim("equation_10", "z_9 is about 1.8 z_6 + 0.96 z_7 - 0.96 z_1 (equation (10))",
          "it is most often classified as 9; figure 8's own point at 0.8 has weight 1 for z_6, not 1.8", GENERATOR,
          per_generator(most_frequent("sums", "one", "equation_10")), lambda v: v == 9),
]  # fmt: skip


def measured(claim, results, side):
    """One side of a claim: {k, n, value, verdict}, `value` the median over the units; None without results."""
    try:
        values = claim.measure(results, side)
    except (KeyError, IndexError, StopIteration, TypeError, ZeroDivisionError, statistics.StatisticsError):
        return None  # a result of an earlier version, or of a run too short for the rule
    if not values:
        return None
    k = sum(bool(claim.holds(value)) for value in values)
    return {"k": k, "n": len(values), "value": statistics.median(values), "verdict": verdict(k, len(values))}


def count(results):
    """All claims as they go into claims.json; `results` has the parsed files by name, None for those not there."""
    claims = []
    for claim in CLAIMS:
        record = claim.record(results) if callable(claim.record) else claim.record
        sides = {side: measured(claim, results, side) if claim.measure else None for side in SIDES}
        claims.append(
            {name: getattr(claim, name) for name in ("id", "says", "rule", "unit")} | {"record": record} | sides
        )
    return claims
