"""Count how often each statement of the report about the LSTM is true, and write it down with the figures.

    python report.py                    # of the results in the repository
    python report.py --out-dir mine     # of your own, and how far they agree with the repository's

Reads the studies' rows in OUT_DIR. Writes OUT_DIR/claims.json and OUT_DIR/report.md.
"""

import functools
import statistics

import claims
import runs
import utils
from studies.gradients import VANISHED

TEXT = """A rule is true or false of one unit, mostly a run. The verdict is a count: *yes* from 5 in 6 units on, *no* up
to 1 in 6, *mixed* between; below five units the count alone. A cell is empty where that side has no such runs. A
*control* is the same count where the statement should not hold.

By the *code*, the LSTM trains on repeated palindromes until 99.9 % validation accuracy and the RNN on fresh ones. Its
accuracies are the report's: the LSTM's best validation accuracy, the RNN's mean over its last 100 batches. By the
*text*, both train on repeated palindromes until 99 %. Its accuracies are those at the end on test palindromes (figure 1
shows the best on validation palindromes), or on validation palindromes up to 7 digits, where no others are left."""
STUDIES = ("compare", "repetition", "long_inputs", "three_digits", "gradients")
LONG = 15  # digits from which on the report speaks of long sequences


def accuracy(row):
    """A run's accuracy as its side has it."""
    if row["side"] == "code":
        return row["accuracy"]
    return row["val_accuracy"] if row["test_accuracy"] is None else row["test_accuracy"]


def of_runs(cell, true, low=0, high=1000):
    """A count over figure 1's runs of a cell from `low` to `high` digits: is `true(row)`?"""

    def count(rows, side):
        chosen = [r for r in rows["compare"] if (r["side"], r["cell"]) == (side, cell)]
        return [true(r) for r in chosen if low <= r["input_length"] <= high]

    return count


def of_seeds(true):
    """A count over figure 1's seeds: is `true(mean)`, where mean(cell, low, high) is a seed's mean accuracy?"""

    def count(rows, side):
        def mean(seed, cell, low=0, high=1000):
            chosen = [r for r in rows["compare"] if (r["side"], r["cell"], r["seed"]) == (side, cell, seed)]
            return statistics.mean(accuracy(r) for r in chosen if low <= r["input_length"] <= high)

        seeds = sorted({r["seed"] for r in rows["compare"] if r["side"] == side})
        return [true(functools.partial(mean, seed)) for seed in seeds]

    return count


def vanished(cell, learned, wanted=True):
    """A count over the repetition study's runs of a cell from LONG digits on: had the gradient vanished at the end?

    The end is 99 % on test palindromes, or figure 1's number of updates. learned: only runs that had (or had not)
    learned by then, None for both. With `wanted` False: had it not?
    """

    def count(rows, side):
        size, budget = {"code": (0, 2000), "text": (8000, 6300)}[side]
        truths = []
        for r in rows["repetition"]:
            kind, in_time = (r["cell"], r["size"], r["forget_bias"]), (r["updates_to_99"] or budget + 1) <= budget
            if kind == (cell, size, None) and LONG <= r["input_length"] <= 25 and learned in (None, in_time):
                ratio = [ratio for updates, ratio in r["gradients"] if updates <= budget][-1]
                truths.append((ratio is None or ratio > VANISHED) == wanted)
        return truths

    return count


def text_only(count):
    """The count by the text; by the code there is none."""
    return lambda rows, side: count(rows) if side == "text" else []


def recovered(rows):
    """Of the LSTMs on 64,000 palindromes whose gradient had vanished at update 500: did they learn?"""
    chosen = [r for r in rows["repetition"] if (r["cell"], r["size"]) == ("lstm", 64_000)]
    lost = [r for r in chosen if any(u == 500 and (q is None or q > VANISHED) for u, q in r["gradients"])]
    return [r["updates_to_99"] is not None for r in lost]


def three_digits(true):
    """A count over the seeds of three_digits: is `true(row of the LSTM, row of the LSTM of half the size)`?"""

    def count(rows):
        by_seed = {}
        for r in rows["three_digits"]:
            if r["cell"] == "lstm":
                by_seed.setdefault(r["seed"], {})[r["hidden_size"]] = r
        truths = [true(pair[128], pair[64]) for _, pair in sorted(by_seed.items())]
        return [truth for truth in truths if truth is not None]

    return text_only(count)


def long_inputs(length):
    """A count over the plain LSTM's runs at a length beyond the report's: is the accuracy at least .99?"""

    def count(rows):
        chosen = [r for r in rows["long_inputs"] if (r["cell"], r["forget_bias"]) == ("lstm", None)]
        return [r["test_accuracy"] >= 0.99 for r in chosen if r["input_length"] == length]

    return text_only(count)


def untrained(rows):
    """Over the untrained LSTMs: has the gradient over the last 25 of 100 steps not vanished?"""
    curves = [r["curve"][-25:] for r in rows["gradients"] if r["network"] == "LSTM" and not r["trained_on"]]
    return [curve[0] > 0 and curve[-1] / curve[0] <= VANISHED for curve in curves]


# The report's words; the rule; the unit; what counts it, None for what was built.
CLAIMS = {
    "from_scratch": ("an LSTM from scratch: equations (1) to (6), one bias a gate, one-hot digits, early stopping at "
                     "99 % validation accuracy", "built so; the author's code stops at 99.9 %", "", None),
    "under_30_epochs": ("most training sessions converged in fewer than 30 epochs",
                        "a run stops before epoch 30; at 3 digits few do",
                        "LSTM run", of_runs("lstm", lambda r: r["reached"] and r["epochs_trained"] < 30)),
    "rnn_short": ("the RNN performs acceptably on short sequences (around 10)",
                  "accuracy at least .8 at 7 to 13 digits", "RNN run",
                  of_runs("rnn", lambda r: accuracy(r) >= 0.8, 7, 13)),
    "rnn_degrades": ("as the sequence length increases, the performance degrades significantly",
                     "the RNN's mean accuracy at 19 to 25 digits is at least .1 below that at 3 to 11", "seed",
                     of_seeds(lambda mean: mean("rnn", 3, 11) - mean("rnn", 19, 25) >= 0.1)),
    "vanishing": ("... due to the vanishing gradient problem", "where an RNN fails, the gradient at the first step is "
                  "below a thousandth of that at the last", "RNN run that fails", vanished("rnn", learned=False)),
    "vanishing_learned": ("... (control)", "the same where an RNN learns", "RNN run that learns",
                          vanished("rnn", learned=True)),
    "vanishing_recovers": ("... (control)", "an LSTM whose gradient had vanished at update 500 (64,000 palindromes) "
                           "learns later", "LSTM run", text_only(recovered)),
    "lstm_stays_high": ("the LSTM maintains high accuracy even on long sequences",
                        "accuracy at least .99 from 15 digits on", "LSTM run",
                        of_runs("lstm", lambda r: accuracy(r) >= 0.99, LONG)),
    "exactly_100": ("exactly 100 % accuracy on sequences of length 25",
                    "no error on 10,000 test palindromes (the author's own mean is .9998)",
                    "LSTM run", of_runs("lstm", lambda r: r["test_accuracy"] == 1, 25, 25)),
    "few_updates": ("at 3 digits few updates make it harder for the LSTM to converge (Probably I guess?)",
                    "not all right after 100 updates, but after 500", "seed below 100 % after 100 updates",
                    three_digits(lambda r, _: r["accuracy_at_end"] == 1 if r["accuracy_at_100"] < 1 else None)),
    "lighter": ("... whereas the simpler RNN benefits from its lighter structure",
                "at 3 digits an LSTM of half the size needs fewer updates", "seed",
                three_digits(lambda whole, half: (half["updates_to_99"] or 10**9) < (whole["updates_to_99"] or 10**9))),
    "lstm_superior": ("the LSTM demonstrates superior performance over the RNN",
                      "its mean accuracy over all lengths is higher", "seed",
                      of_seeds(lambda mean: mean("lstm") > mean("rnn"))),
    "long_term": ("... validating its effectiveness in handling long-term dependencies",
                  "accuracy at least .99 at 35 digits, beyond the report's 25", "LSTM run", long_inputs(35)),
    "longer_term": ("... (further)", "accuracy at least .99 at 50 digits", "LSTM run", long_inputs(50)),
    "addressed_before": ("I successfully addressed the vanishing gradient problem (before training)",
                         "not vanished over the last 25 steps", "untrained LSTM", text_only(untrained)),
    "addressed": ("... (after training)", "not vanished at the end of training on repeated palindromes", "LSTM run",
                  text_only(functools.partial(vanished("lstm", None, wanted=False), side="text"))),
    "addressed_fresh": ("... (the same on fresh ones)", "not vanished after 2,000 updates, from 15 digits on",
                        "LSTM run",
                        text_only(functools.partial(vanished("lstm", None, wanted=False), side="code"))),
}  # fmt: skip

CAPTIONS = {
    "fig1_lstm_vs_rnn": "Figure 1. Left: as in the report's code, with the report's own means. Right: as in its text.",
    "repeated_or_fresh": "Both cells on repeated palindromes with Adam, and on fresh ones.",
    "repetition": "How many runs learn, by cell, training palindromes and initial forget bias; below, the gradient.",
    "long_inputs": "How many runs learn inputs longer than the report's.",
    "gradients": "The gradient at step t relative to that at the last step, before and after training.",
    "three_digits": "Training at 3 digits, where only 100 palindromes exist.",
    "lstm_speed": "Time of a training step.",
}


def load(folder):
    """The rows of each study that lies in `folder`."""
    paths = {name: folder / f"{name}.json" for name in STUDIES}
    return {name: list(runs.load_rows(path).values()) for name, path in paths.items() if path.exists()}


if __name__ == "__main__":
    title = "Part 1: what the report says about the LSTM, counted"
    utils.run(lambda: claims.main(title, TEXT, CLAIMS, CAPTIONS, load))
