"""The report's statements about the LSTM as rules, and in how many runs or seeds each is true.

*As published* means the settings of the report's code: the LSTM trains on 8,000 palindromes until 99.9 % validation
accuracy, the RNN on 2,000 batches of fresh ones. *As written* means the protocol of its text: 8,000 palindromes, until
99 % or for 100 epochs. The text names no protocol for the RNN; here it gets the same. It names no optimizer either: on
both sides it is the code's RMSprop.

A rule is true or false of one unit: a training run, or a seed with its runs of all lengths. A statement *holds* if the
95 % Wilson interval of the share of units for which its rule is true lies above one half, and *does not hold* if it
lies below. Otherwise, or if leaving out any one unit or any one seed would change the verdict, or moving a limit of
ours by a tenth (a share by a tenth of its distance from 0 or 1; a limit of 0 is not moved), the table shows the count
alone, as it does where a rule cannot decide its sentence. After the count stand the measured values: up to five units'
own, else their median. Accuracy as published is the report's measure: the LSTM's best validation accuracy, the RNN's
mean training accuracy over its last 100 batches. As written it is the accuracy at the end of training, on 10,000
palindromes of neither split or, up to 7 digits, where none are left, on the validation palindromes. Figure 1's runs
fill both columns; the studies' runs fill *as written* only, except those on fresh batches with RMSprop. Limits such as
0.1 are ours; the values show how near they are. Results with settings other than those that a rule names are not
counted.
"""

import functools
import math
import statistics
from operator import eq, ge, gt, itemgetter, le, lt
from typing import NamedTuple

import sweep
from compare import ZONE_FROM as LONG

SIDES = ("published", "written")
VANISHED = 1000  # the gradient norm at the last step over that at the first


def vanished(ratio):
    """Whether the gradient with respect to h at the first step is below a thousandth of that at the last.

    `ratio` is that at the last over that at the first, None where nothing is left at the first.
    """
    return ratio is None or ratio > VANISHED


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


class Claim(NamedTuple):
    """A statement of the report: its words, the rule in words, the unit, and what is measured.

    `measure(results, side)` gives a pair of seed and number for each unit, the number None where the rule does not
    apply, and `holds` is the Rule. `rule` and `record`, the report's own number, are words or functions of the results.
    A claim without `measure` states what was built. Only the sides in `decides` have a verdict beside the count.
    """

    id: str
    says: str
    rule: object
    unit: str
    measure: object = None
    holds: Rule = None
    record: object = None
    decides: tuple = SIDES


def verdict(units):
    """What (seed, true or false) pairs say: "holds", "does not hold" or "open"; None for no units."""

    def at(truths):
        low, high = sweep.wilson(sum(truths), len(truths))
        return "holds" if low > 0.5 else "does not hold" if high < 0.5 else "open"

    truths = [true for _, true in units]
    groups = [truths] + [truths[:place] + truths[place + 1 :] for place in range(len(units))]
    groups += [[true for other, true in units if other != seed] for seed in {seed for seed, _ in units}]
    words = {at(group) for group in groups if group}
    return (words.pop() if len(words) == 1 else "open") if units else None


# Measures of figure 1's runs. Lengths are in digits, both ends included.


def runs_of(results, side, cell, low=0, high=1000):
    """The runs of figure 1 of a cell, from `low` to `high` digits."""
    return [
        run
        for run in results["compare"]["runs"]
        if (run["side"], run["cell"]) == (side, cell) and low <= run["input_length"] <= high
    ]


def per_run(cell, value, low=0, high=1000):
    """The measure `value(run)` over the runs of a cell."""
    return lambda results, side: [(run["seed"], value(run)) for run in runs_of(results, side, cell, low, high)]


def accuracy(run):
    """A run's accuracy: as published the report's measure, as written that at the end of training."""
    if run.get("side") == "published":
        return run["accuracy"]
    return run["val_accuracy"] if run["test_accuracy"] is None else run["test_accuracy"]


best = itemgetter("best_val_accuracy")


def epochs(run):
    """The epochs of a run until it stopped early, the report's maximum of 100 if it did not."""
    return run["epochs"] if run["reached"] else 100


def per_seed(value):
    """The measure `value(mean)` over the seeds; mean(cell, low, high) is the mean accuracy of a seed's runs."""

    def measure(results, side):
        def mean_of(seed, *runs):
            return statistics.mean(accuracy(run) for run in runs_of(results, side, *runs) if run["seed"] == seed)

        seeds = sorted({run["seed"] for run in runs_of(results, side, "lstm")})
        return [(seed, value(functools.partial(mean_of, seed))) for seed in seeds]

    return measure


def lowest(measure):
    """The measure's lowest number of each seed."""
    return lambda results, side: sorted(dict(sorted(measure(results, side), reverse=True)).items())


def lead(mean, low=0, high=1000):
    """The LSTM's mean accuracy less the RNN's."""
    return mean("lstm", low, high) - mean("rnn", low, high)


# Measures of the studies.

# Training set (0: fresh batches) and updates: 2,000, or 100 epochs of 63.
DATA_AND_UPDATES = {"published": (0, 2000), "written": (8000, 6300)}


def gradient_ratios(cell, failed):
    """The gradient ratio at the end of the repetition study's runs of a cell, from LONG digits on.

    The end is 99 % or figure 1's number of updates. failed: only runs that had (or had not) failed to reach 99 % by
    then, None for both. Infinite where no gradient is left at the first step.
    """

    def measure(results, side):
        size, budget = DATA_AND_UPDATES[side]
        pairs = []
        for run in results["repetition"]["runs"]:
            if (run["cell"], run["size"]) != (cell, size) or run["input_length"] < LONG:
                continue
            if failed in (None, (run["updates_to_99"] or math.inf) > budget):
                ratio = [ratio for updates, ratio in run["gradients"] if updates <= budget][-1]
                pairs.append((run["seed"], math.inf if ratio is None else ratio))
        return pairs

    return measure


def written_only(measure):
    """The measure as written; as published nothing is measured."""
    return lambda results, side: measure(results, side) if side == "written" else []


def at_the_end(times):
    """The rule on the gradient ratio in words, with the study's lengths; times: "over" or "at most"."""

    def rule(results):
        runs = (results["repetition"] or {"runs": []})["runs"]
        lengths = sorted({run["input_length"] for run in runs if run["input_length"] >= LONG})
        return (
            f"at {', '.join(map(str, lengths)) or f'{LONG} or more'} digits the gradient at the last step is {times} "
            f"{VANISHED:,} times that at the first when a run reaches 99 % on unseen palindromes, else at the last "
            "measurement (one every 500 updates) within 2,000 updates on fresh batches (as published) or 6,300 on "
            "8,000 palindromes (as written)"
        )

    return rule


def network(name, trained, value):
    """The measure `value(run)` over the runs of a network in gradients.json, untrained or trained on 25 digits."""

    def measure(results, side):
        found = results["gradients"]
        return [
            (run["seed"], value(run))
            for run in (found["runs"] if side == "written" and found["config"]["input_length"] == 100 else [])
            if (run["network"], run["trained_on"]) == (name, 25 if trained else None)
        ]

    return measure


def norm_ratio(run, state="h"):
    """The gradient norm at the last step over that at the first of the last 25, the report's longest input."""
    curve = run["curves"][state][-25:]
    return curve[-1] / curve[0] if curve[0] else math.inf


def three_digits(value):
    """The measure `value(of)` over the seeds of three_digits.json; of(cell, hidden_size) is what a seed found.

    That is the updates to 99 % of the held-out palindromes, infinite where there were not enough, and the accuracies on
    them after the report's 100 updates and at the end.
    """

    def measure(results, side):
        found = results["three_digits"]
        rows = {
            (row["cell"], row["hidden_size"]): row
            for row in found["settings"]
            if (row["optimizer"], row["batch_size"]) == ("rmsprop", 80)
        }

        def seed_of(n):
            names = ("updates_to_99_percent", "accuracy_at_budget", "accuracy_at_end")
            return lambda *network: [
                math.inf if (entry := rows[network][name]["seeds"][n]) is None else entry for name in names
            ]

        counted = side == "written" and found["config"]["updates"] == 500
        return [(n, value(seed_of(n))) for n in range(found["config"]["seeds"] if counted else 0)]

    return measure


def gained(of):
    """The LSTM's gain after the report's 100 updates if it ends at 100 %, else 0; None if it was there before."""
    _, budget, end = of("lstm", 128)
    return None if budget == 1 else end - budget if end == 1 else 0


def long_inputs(length):
    """The measure as written of the plain LSTM's accuracy at a length beyond the report's."""
    key = ("lstm", None, length)
    return written_only(
        lambda results, side: [
            (run["seed"], accuracy(run))
            for run in results["long_inputs"]["runs"]
            if (run["cell"], run["forget_bias"], run["input_length"]) == key
        ]
    )


def recorded(cell, *lengths, note=""):
    """The report's own mean accuracies at some lengths, in words; at all of them if none are given."""

    def words(results):
        rows = results["record"]["accuracy"][cell]["lengths"]
        rows = [row for row in rows if not lengths or row["input_length"] in lengths]
        return ", ".join(f"{row['input_length']}: {row['mean']:.4g}" for row in rows) + note

    return words


def recorded_fall(results):
    """By how much the report's RNN is less accurate at 19 to 25 digits than at 3 to 11, in words."""
    means = {row["input_length"]: row["mean"] for row in results["record"]["accuracy"]["rnn"]["lengths"]}
    short, long = ([mean for n, mean in means.items() if low <= n <= high] for low, high in ((3, 11), (19, 25)))
    return f"{statistics.mean(short) - statistics.mean(long):.2f}"


BUILT, SEED, LSTM, RNN = "implemented", "seed", "LSTM run", "RNN run"
CLAIMS = [
    Claim("from_scratch", "an LSTM network from scratch, without torch.nn.LSTM, strictly following the recurrence "
          "equations", "lstm.py has equations (1) to (6); the tests compare it with torch.nn.LSTM", BUILT),
    Claim("layers", "separate nn.Linear layers for each gate component; each gate requires only one bias term",
          "lstm.py: bias=True for the input's layers, bias=False for the hidden state's", BUILT),
    Claim("one_hot", "One-Hot Encoding represents the input tokens; the input_size is set to 10",
          "lstm.py encodes the digits", BUILT),
    Claim("highway", "the cell state acts as a highway for information flow (content)",
          "at least one unit keeps over half of the first cell state to the last of 25 steps, mean over a batch",
          "trained LSTM", network("LSTM", True, lambda run: run["gates"]["units_keeping_half"]),
          Rule(ge, 1, ours=False)),
    Claim("highway_gradient", "... (gradient)", "over the last 25 of 100 steps, four times the length that it was "
          "trained on, the norm of the gradient with respect to the cell state at the last step is at most 10 times "
          "that at the first", "trained LSTM", network("LSTM", True, lambda run: norm_ratio(run, "c")), Rule(le, 10),
          decides=()),
    Claim("hyperparameters", "input dimension 10, 10 classes, 128 hidden units, batch size 128, learning rate 0.001, "
          "100 epochs at most, gradient norm 10.0 at most, data size 10000, train portion 0.8", "train.py's defaults",
          BUILT),
    Claim("early_stopping", "early stopping terminates training if the validation accuracy reaches 99%",
          "train.py --stop-at; as published 99.9 %", BUILT, record="code: 99.9 %"),
    Claim("under_30_epochs", "most training sessions converged in fewer than 30 epochs", "training stops early, before "
          "epoch 30", LSTM, per_run("lstm", epochs), Rule(lt, 30, ours=False)),
    Claim("previous_assignment", "the accuracy of the RNN is derived from my previous assignment",
          "compare.py, as published: 2,000 updates on fresh batches", BUILT,
          record=lambda results: results["record"]["accuracy"]["rnn"]["what"]),
    Claim("rnn_short", "the RNN model performs acceptably on short sequences (around 10)",
          "accuracy at least 0.8 at 7 to 13 digits", RNN, per_run("rnn", accuracy, 7, 13), Rule(ge, 0.8),
          recorded("rnn", 7, 11, 13)),
    Claim("rnn_degrades", "as the sequence length increases, the performance degrades significantly",
          "the RNN's mean accuracy at 19 to 25 digits is at least 0.1 (chance level) lower than at 3 to 11", SEED,
          per_seed(lambda mean: mean("rnn", 3, 11) - mean("rnn", 19, 25)), Rule(ge, 0.1), recorded_fall),
    Claim("vanishing_where_it_fails", "... due to the vanishing gradient problem (is it there where RNNs fail? no test "
          "of cause)", at_the_end("over"), "RNN run below 99 %", gradient_ratios("rnn", True), Rule(gt, VANISHED),
          decides=()),
    Claim("vanishing_only_there", "... (and not where they succeed?)",
          at_the_end("at most"), "RNN run that reaches 99 %", gradient_ratios("rnn", False), Rule(le, VANISHED),
          decides=()),
    Claim("lstm_stays_high", "the LSTM model maintains high accuracy even on long sequences",
          f"accuracy at least 0.99 from {LONG} digits on", LSTM, per_run("lstm", accuracy, LONG),
          Rule(ge, 0.99, ours=False), recorded("lstm", 15, 17, 19, 21, 25)),
    Claim("exactly_100", "exactly 100% accuracy on sequences of length 25",
          "no error on the validation palindromes, by which training stops", LSTM, per_run("lstm", best, 25, 25),
          Rule(eq, 1, ours=False), recorded("lstm", 25, note=" (at most 2 of 3 runs at 1)")),
    Claim("exactly_100_on_others", "... exactly 100% on sequences of length 25 (in general)",
          "no error on 10,000 palindromes of neither split", LSTM,
          per_run("lstm", lambda run: run["test_accuracy"], 25, 25), Rule(eq, 1, ours=False)),
    Claim("short_of_100", "the LSTM's performance did not reach 100% on sequences of length 3",
          "an error on the validation palindromes", LSTM, per_run("lstm", best, 3, 3),
          Rule(lt, 1, ours=False), recorded("lstm", 3)),
    Claim("combinations", "for such short sequences, the possible combinations are extremely limited (only 100)",
          "the first two digits determine a palindrome of four; dataset.py draws from all of them", BUILT),
    Claim("updates_per_epoch", "the restricted dataset size limits the gradient updates per epoch",
          "at 3 digits the 80 training palindromes are less than a batch of 128: one update per epoch", BUILT),
    Claim("few_updates", "... making it harder for the complex LSTM to converge (Probably I guess?) (because of few "
          "updates)",
          "at 3 digits, where accuracy on held-out palindromes is below 100 % after 100 updates (100 epochs), it is "
          "100 % after 500; shown: the rise", SEED, three_digits(gained), Rule(gt, 0)),
    Claim("harder_than_rnn", "... (than for the RNN)",
          "at 3 digits the LSTM needs more updates to 99 % on held-out palindromes than the RNN; shown: the difference",
          SEED, three_digits(lambda of: of("lstm", 128)[0] - of("rnn", 128)[0]), Rule(gt, 0)),
    Claim("lighter", "the simpler RNN benefits from its lighter structure on such small data. (Probably I guess?) "
          "(fewer weights alone)",
          "at 3 digits an LSTM with 64 instead of 128 units needs fewer updates to 99 %; shown: updates saved", SEED,
          three_digits(lambda of: of("lstm", 128)[0] - of("lstm", 64)[0]), Rule(gt, 0), decides=()),
    Claim("lstm_superior", "the LSTM demonstrates superior performance over the RNN",
          "its mean accuracy over all lengths is higher (as published: the LSTM's best validation accuracy on repeated "
          "palindromes, the RNN's mean training accuracy on fresh ones, which compares more than the cells)", SEED,
          per_seed(lead), Rule(gt, 0), decides=("written",)),
    Claim("superior_when_long", "... especially on longer sequences",
          f"its lead in the accuracies of the row above is larger from {LONG} digits on than below", SEED,
          per_seed(lambda mean: lead(mean, LONG) - lead(mean, 0, LONG - 1)), Rule(gt, 0), decides=("written",)),
    Claim("long_term", "... validating its effectiveness in handling long-term dependencies (beyond the report's)",
          "the LSTM's accuracy at 35 digits is at least 0.99; the report has up to 25", SEED,
          long_inputs(35), Rule(ge, 0.99, ours=False), decides=()),
    Claim("longer_term", "... (further beyond)", "the LSTM's accuracy at 50 digits is at least 0.99", SEED,
          long_inputs(50), Rule(ge, 0.99, ours=False), decides=()),
    Claim("inherent", "the vanishing gradient problem inherent in RNNs (before training)",
          f"before training, over the last 25 of 100 steps the gradient at the last is over {VANISHED:,} times that at "
          "the first", "untrained RNN",
          network("vanilla RNN", False, norm_ratio), Rule(gt, VANISHED), decides=()),
    Claim("addressed_before", "I successfully addressed the vanishing gradient problem (before training)",
          f"before training, over the last 25 of 100 steps the gradient at the last is at most {VANISHED:,} times that "
          "at the first", "untrained LSTM", network("LSTM", False, norm_ratio), Rule(le, VANISHED), decides=()),
    Claim("addressed_after", "I successfully addressed the vanishing gradient problem (after training)",
          at_the_end("at most"), "LSTM run",
          written_only(gradient_ratios("lstm", None)),  # the report's LSTM never trains on fresh batches
          Rule(le, VANISHED), decides=()),
    Claim("up_to_25", "the LSTM implementation achieved 100% accuracy on palindrome sequences up to length 25",
          "no error on the validation palindromes at any length from 7 to 25 digits (at 3 the report itself says that "
          "it did not reach 100 %); shown: the lowest accuracy; training stops before it, at 99.9 and 99 %", SEED,
          lowest(per_run("lstm", best, 7, 25)), Rule(eq, 1, ours=False),
          recorded("lstm", 7, 11, 13, 15, 17, 19, 21, 25), decides=()),
    Claim("up_to_25_rounded", "... (in whole per cent)", "it is at least 99.5 % at each of these lengths", SEED,
          lowest(per_run("lstm", best, 7, 25)), Rule(ge, 0.995, ours=False), decides=("published",)),
]  # fmt: skip


def measured(claim, results, side):
    """One side of a claim: {k, n, values, value, verdict}, `value` the median, None if infinite; None if untested."""
    try:
        pairs = [pair for pair in claim.measure(results, side) if pair[1] is not None]
    except (IndexError, KeyError, TypeError, statistics.StatisticsError):
        return None  # a result that is not there, or runs too few or too short for the rule
    if not pairs:
        return None
    rules = [claim.holds._replace(limit=limit) for limit in claim.holds.limits()]
    of_limits = [[(seed, bool(rule(number))) for seed, number in pairs] for rule in rules]
    units, words = of_limits[0], {verdict(units) for units in of_limits} if side in claim.decides else ()
    numbers = [number for _, number in pairs]
    *values, value = [number if math.isfinite(number) else None for number in (*numbers, statistics.median(numbers))]
    found = {"k": sum(true for _, true in units), "n": len(units), "values": values, "value": value}
    return found | {"verdict": words.pop() if len(words) == 1 else "open"}


def count(results):
    """All claims as they go into claims.json; `results` has the parsed files by name, None for those not there."""
    claims = []
    for claim in CLAIMS:
        fields = {name: getattr(claim, name) for name in ("id", "says", "rule", "unit", "record")}
        told = {name: words(results) if callable(words) else words for name, words in fields.items()}
        claims.append(told | {side: measured(claim, results, side) if claim.measure else None for side in SIDES})
    return claims
