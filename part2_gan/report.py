"""Count how often each statement of the report about the GAN is true, and write it down with the figures.

    python report.py                    # of the results in the repository
    python report.py --out-dir mine     # of your own, and how far they agree with the repository's

Reads the studies' rows and classifier.json in OUT_DIR, and report_record.json, the losses that the report's author
printed. Writes OUT_DIR/claims.json and OUT_DIR/report.md.
"""

import math
from statistics import mean, median

import claims
import files
import runs
import utils
from classifier import repository
from dynamics import collapsed
from studies.overpowering import of_setting
from train import EPOCHS

TEXT = """A rule is true or false of one unit: a run, a seed, or the generator of a run against the balanced D. The
verdict is a count: *yes* from 5 in 6 units on, *no* up to 1 in 6, *mixed* between; below five units the count alone. A
cell is empty where that side has no such runs, or where they were not measured. A *control* is the same count where
the statement should not hold, an *opposite* counts the other sign.

By the *code*, the settings are those of the author's code: a generator with ReLU and without its first BatchNorm, eps
0.8, simultaneous updates. By the *text*, they are those of the report's text; where it is silent, torch's eps of 1e-5
and alternating updates. G's loss is the non-saturating one in both. The author published no code of the run against the
initial D: by the code, it is assumed to differ in D alone. Runs are counted if they have the report's 50 or 200 epochs,
or those that the unit names; generators, if they draw enough of 1, 6 and 7.

D is *right on* a share of its training images, its dropout on. What an image shows, the classifier says; it is *sure*
with a confidence above .99. The Fréchet distance is that of samples from test digits. *More often* and *less often*
stand for shares that differ by more than two standard errors."""
STUDIES = ("dynamics", "overpowering", "latent_rates")
LOG2 = math.log(2)


def printed(rows, side):
    """Of each loss of G that the author's code printed: is it one of equation (7), which is never positive?"""
    record = files.load(utils.HERE / "report_record.json", "losses")["losses"]
    return [loss <= 0 for loss in record["g_loss"]] if side == "code" else []


def runs_of(rows, side, arch):
    """The runs against one discriminator, those with fewer epochs than the report's left out."""
    chosen = [r for r in rows["dynamics"] if (r["recipe"], r["arch"]) == (side, arch)]
    return [r for r in chosen if r["epochs"] >= EPOCHS[arch]]


def of_runs(arch, true):
    """A count over the runs against one discriminator: is `true(row)`?"""
    return lambda rows, side: [true(row) for row in runs_of(rows, side, arch)]


def of_pairs(true):
    """A count over the seeds with a run against each discriminator: is `true(initial row, balanced row)`?"""

    def count(rows, side):
        initial, balanced = ({row["seed"]: row for row in runs_of(rows, side, arch)} for arch in EPOCHS)
        return [true(initial[seed], balanced[seed]) for seed in sorted(initial.keys() & balanced.keys())]

    return count


def still_too_strong(eps):
    """A count over the overpowering study's runs with the code's updates and this eps: is the initial D too strong?"""

    def count(rows, side):
        chosen = of_setting(rows["overpowering"], {"arch": "initial", "scheme": "simultaneous", "bn_eps": eps})
        shares = [[q["d_accuracy"] for q in r["quality"] if 6 <= q["epoch"] <= 10] for r in chosen]
        return [mean(of_run) > 0.75 for of_run in shares] if side == "code" else []

    return count


def of_generators(true, *shares):
    """A count over the generators whose rows have these shares: is `true(row)`?"""

    def count(rows, side):
        chosen = [r for r in rows["latent_rates"] if (r["recipe"], r["arch"]) == (side, "balanced")]
        return [true(r) for r in chosen if all(share in r for share in shares)]

    return count


def more_often(name, other, digit=None):
    """A count over the generators: is the share `name` higher than the share `other`? Of sums, that of `digit`."""

    def true(row):
        p, q = (row[share] if digit is None else row[share][digit] for share in (name, other))
        return p - q > 2 * math.sqrt((p * (1 - p) + q * (1 - q)) / row["count"])

    return of_generators(true, name, other)


def after(row, epoch, name="frechet_distance"):
    """What the evaluation of a run after an epoch found."""
    return next(evaluation[name] for evaluation in row["quality"] if evaluation["epoch"] == epoch)


def too_strong(row):
    """Whether D is right on more than 75 % in epochs 6 to 10."""
    return mean(row["by_epoch"]["d_accuracy"][5:10]) > 0.75


def from_log2(row):
    """How far the farther of the two losses is from log 2, in the mean over the second half of the epochs."""
    return max(abs(mean(row["by_epoch"][name][row["epochs"] // 2 :]) - LOG2) for name in ("d_loss", "g_loss"))


def gradient(initial, balanced, loss="non-saturating"):
    """The norm of G's gradient against the initial D over that against the balanced one: the median of the epochs."""
    norms, others = ({q["epoch"]: q["g_gradients"][loss]["norm"] for q in r["quality"]} for r in (initial, balanced))
    return median(norms[epoch] / others[epoch] for epoch in norms.keys() & others.keys())


# The report's words; the rule; the unit; what counts it, None for what was built.
CLAIMS = {
    "built": ("the Generator, the Discriminator and Adam; latents by equations (8) and (9)",
              "built so; the author's code has ReLU, no first BatchNorm and eps 0.8", "", None),
    "minimax": ("the training objective follows the minimax game of equation (7)",
                "not positive, as equation (7) never is", "loss of G that the author's code printed", printed),
    "d_too_strong": ("the Discriminator quickly became too strong", "it is right on more than 75 % in epochs 6 to 10",
                     "run, initial D", of_runs("initial", too_strong)),
    "balanced_too": ("... (control)", "so is the balanced D", "run, balanced D", of_runs("balanced", too_strong)),
    "d_loss_near_zero": ("the Discriminator's loss rapidly decreases to near zero",
                         "its mean over the last ten epochs is below .1", "run, initial D",
                         of_runs("initial", lambda r: mean(r["by_epoch"]["d_loss"][-10:]) < 0.1)),
    "g_loss_high": ("the Generator's loss [...] remains high", "its mean over the last ten epochs is above 2 log(2)",
                    "run, initial D", of_runs("initial", lambda r: mean(r["by_epoch"]["g_loss"][-10:]) > 2 * LOG2)),
    "no_gradient": ("the Generator receives almost no useful gradient information",
                    "its gradient's norm is, in the median epoch, at most a tenth of that against the balanced D",
                    "seed", of_pairs(lambda a, b: gradient(a, b) <= 0.1)),
    "no_gradient_minimax": ("... (by equation (7))", "the same of the gradient by the loss of equation (7)", "seed",
                            of_pairs(lambda a, b: gradient(a, b, "minimax") <= 0.1)),
    "larger_gradient": ("... (opposite)", "its gradient's norm is larger than against the balanced D", "seed",
                        of_pairs(lambda a, b: gradient(a, b) > 1)),
    "unsatisfactory": ("the generated images after 50 epochs were unsatisfactory",
                       "less than half as many are sure as of real digits", "run, initial D",
                       of_runs("initial", lambda r: after(r, 50, "sure_share") < r["real"]["sure_share"] / 2)),
    "had_to": ("I had to decrease the Discriminator's capacity",
               "with the text's G, the code's updates and torch's eps, D is right on more than 75 % in epochs 6 to 10",
               "run of 10 epochs", still_too_strong(1e-5)),
    "had_to_eps": ("... (control)", "the same with the code's eps", "run of 10 epochs", still_too_strong(0.8)),
    "samples_improved": ("This adjustment helps [...], allowing both networks to learn effectively",
                         "after 50 epochs the Fréchet distance is less than half of that with the initial D", "seed",
                         of_pairs(lambda a, b: after(b, 50) < after(a, 50) / 2)),
    "samples_worse": ("... (opposite)", "it is larger than with the initial D", "seed",
                      of_pairs(lambda a, b: after(b, 50) > after(a, 50))),
    "near_log2": ("the loss of both networks hovers around log(2)",
                  "both are within .05 of it in the mean over the second half of the epochs", "run, balanced D",
                  of_runs("balanced", lambda r: from_log2(r) < 0.05)),
    "collapsed": ("... (opposite)", "D is right on more than 65 % in the last quarter of the epochs",
                  "run, balanced D", of_runs("balanced", collapsed)),
    "d_guesses": ("the Discriminator is guessing randomly (50% accuracy)",
                  "it is right on 45 to 55 % in the last ten epochs", "run, balanced D",
                  of_runs("balanced", lambda r: 0.45 <= mean(r["by_epoch"]["d_accuracy"][-10:]) <= 0.55)),
    "nearly_guesses": ("... (nearly)", "it is right on at most 57 %", "run, balanced D",
                       of_runs("balanced", lambda r: mean(r["by_epoch"]["d_accuracy"][-10:]) <= 0.57)),
    "resemble_real": ("high-quality images that closely resemble real MNIST digits",
                      "the Fréchet distance is at most twice that of training digits", "run, balanced D",
                      of_runs("balanced", lambda r: after(r, r["epochs"]) <= 2 * r["real"]["frechet_distance"])),
    "stages": ("at the end of training (Figure 5c), the generated images look nicer",
               "the Fréchet distance is lower than in the middle of training", "run, balanced D",
               of_runs("balanced", lambda r: after(r, r["epochs"]) < after(r, r["epochs"] // 2))),
    "between": ("In GAN's latent space, 1 is located between 7 and 6",
                "the middle is a 1 more often than a latent of the same length", "generator",
                more_often("middle_1", "same_norm_1")),
    "between_less": ("... (opposite)", "less often", "generator", more_often("same_norm_1", "middle_1")),
    "roof_is_7": ("the roof still looks like a 7", "more than half of 7 - 1 are a 7", "generator",
                  of_generators(lambda r: r["roof_7"] > 0.5, "roof_7")),
    "roof_more": ("... (control)", "7 - 1 is a 7 more often than a random direction of the same length", "generator",
                  more_often("roof_7", "roof_random_7")),
    "strip_passes_9": ("a digit that resembles 9 emerging", "figure 8's strip passes a 9 more often than with a random "
                       "direction in place of 7 - 1", "generator", more_often("strip_9", "strip_random_9")),
    "strip_less": ("... (opposite)", "less often", "generator", more_often("strip_random_9", "strip_9")),
    "sum_is_9": ("7 - 1 + 6 ≈ 9", "it is a 9 more often than with a random direction in place of 7 - 1", "generator",
                 more_often("sum", "sum_random", 9)),
    "sum_less": ("... (opposite)", "less often", "generator", more_often("sum_random", "sum", 9)),
    "sum_others": ("... (control)", "more often than with the difference of two other digits", "generator",
                   more_often("sum", "sum_others", 9)),
    "mostly_9": ("... (most often)", "a 9", "generator", of_generators(lambda r: r["sum"][9] == max(r["sum"]), "sum")),
    "mostly_0": ("... (most often)", "a 0", "generator", of_generators(lambda r: r["sum"][0] == max(r["sum"]), "sum")),
    "equation_10": ("z_9 ≈ 1.8 z_6 + 0.96 z_7 - 0.96 z_1 (equation (10))",
                    "no image of figure 8's strip has the weight 1.8: z_6 has 1 in all", "", None),
    "meaningful": ("the GAN learned a semantically meaningful data manifold",
                   "7 + mean 6 - mean 7 is a 6 more often than with a random direction", "generator",
                   more_often("shift_6", "shift_random_6")),
}  # fmt: skip

CAPTIONS = {
    "fig2_initial_losses": "Figure 2. Losses, and how often D is right, with the initial D. Left: code; right: text.",
    "fig3_initial_samples": "Figure 3. Samples after training with the initial D. Left: code; right: text.",
    "fig4_balanced_losses": "Figure 4. As figure 2, with the balanced D; dots: the losses that the author printed.",
    "fig5_progression": "Figure 5. Samples at the beginning, in the middle and at the end, with the balanced D.",
    "fig6_interpolation": "Figure 6. From one digit to another in a straight line; below, the classifier's reading.",
    "fig7_roof_to_6": "Figure 7. From 7 - 1, the roof, to the 6.",
    "fig8_hybrid_to_6": "Figure 8. From 6 + 1.2 (7 - 1), the hybrid, to the 6.",
    "why_d_won": "Samples, accuracy of D and Fréchet distance: the code's two slips, repaired, and a smaller D.",
    "sum_classes": "Which digits 7 - 1 + 6 is, beside 6 + a random direction of the same length.",
    "latent_rates": "How often four combinations of latents show a digit; hatched: with a random direction instead.",
    "recipes": "The distance of the samples from held-out digits, by recipe.",
    "recipes_best": "The best recipe and runs of the report. Left: the distance by epoch; right: precision and recall.",
    "nearest_neighbours": "Samples, and the training digits that are nearest to them in pixels and in features.",
}


def load(folder):
    """The rows of each study that lies in `folder`; those of dynamics have as `real` what real digits reach."""
    paths = {name: folder / f"{name}.json" for name in STUDIES}
    rows = {name: list(runs.load_rows(path).values()) for name, path in paths.items() if path.exists()}
    if rows.get("dynamics"):
        measured = folder / "classifier.json"
        path = measured if measured.exists() else repository(rows["dynamics"][0]["dataset"], measured.name)
        real = files.load(path, "real")["real"] if path.exists() else None
        rows["dynamics"] = [row | {"real": real or {}} for row in rows["dynamics"]]
    return rows


if __name__ == "__main__":
    title = "Part 2: what the report says about the GAN, counted"
    utils.run(lambda: claims.main(title, TEXT, CLAIMS, CAPTIONS, load))
