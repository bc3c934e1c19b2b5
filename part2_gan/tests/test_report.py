"""The report's statements: counts on planted rows with a known answer, the committed counts. Part 1 tests claims.py."""

import pytest
from conftest import RESULTS

import claims
import files
import report
import train


def run(side, arch, seed, *changes, frechet, sure=0.8, norms=(1.0, 1.0, 1.0), epochs=None):
    """A row that stays as it is, but for changes (column, first epoch, last epoch, value)."""
    epochs = epochs or train.EPOCHS[arch]
    by_epoch = {"d_loss": [0.69] * epochs, "g_loss": [0.69] * epochs, "d_accuracy": [0.5] * epochs}
    for column, first, last, value in changes:
        by_epoch[column][first - 1 : last] = [value] * (last - first + 1)
    quality = [
        {"epoch": epoch, "frechet_distance": frechet.get(epoch), "sure_share": sure}
        | {"g_gradients": {loss: {"norm": norm} for loss in ("non-saturating", "minimax")}}
        for epoch, norm in zip((10, 20, 50, 100, 200), (*norms, 9.0, 9.0), strict=True)
        if epoch <= epochs
    ]
    return train.options(side, arch=arch, seed=seed, epochs=epochs) | {"by_epoch": by_epoch, "quality": quality}


def dynamics(side):
    strong, near, high = ("d_accuracy", 6, 10, 0.76), ("d_loss", 41, 50, 0.09), ("g_loss", 41, 50, 1.39)
    weak = ("d_accuracy", 1, 50, 0.99), ("d_accuracy", 6, 10, 0.74), ("d_loss", 1, 40, 0.0), ("d_loss", 41, 50, 0.11)
    rows = [
        run(side, "initial", 0, strong, near, high, frechet={50: 41.0}, sure=0.44, norms=(5.0, 0.1, 0.1)),
        run(side, "initial", 1, *weak, ("g_loss", 41, 50, 1.38), frechet={50: 39.0}, sure=0.46, norms=(0.11, 0.11, 0)),
        run(side, "initial", 2, frechet={50: 19.0}, norms=(0.0, 2.0, 2.0)),
        run(side, "initial", 3, strong, near, high, frechet={50: 99.0}, epochs=49),  # too short to count
        run(side, "initial", 4, frechet={50: 99.0}, norms=(0.0, 0.0, 0.0)),  # without a balanced partner
    ]
    early = ("d_loss", 1, 100, 5.0), ("g_loss", 1, 100, 5.0), ("g_loss", 101, 200, 0.74), ("d_accuracy", 101, 150, 0.9)
    late = ("g_loss", 101, 200, 0.75), ("d_accuracy", 151, 200, 0.66)
    return rows + [
        run(side, "balanced", 0, *early, ("d_accuracy", 191, 200, 0.55), frechet={50: 20.0, 100: 11.0, 200: 10.0}),
        run(side, "balanced", 1, *late, frechet={50: 20.0, 100: 10.1, 200: 10.1}),
        run(side, "balanced", 2, strong, ("d_accuracy", 191, 200, 0.44), frechet={50: 20.0, 100: 30.0, 200: 20.0}),
        run(side, "balanced", 3, strong, *late, frechet={}, epochs=199),
    ]


def overpowering():
    """Accuracies in epochs 2 to 10 of runs with the code's updates, which count, and of others."""
    late, rows = {"arch": "initial", "scheme": "simultaneous"}, []
    for eps, early, last in (1e-5, 0, 0.76), (1e-5, 0, 0.76), (1e-5, 1, 0.74), (0.8, 0.9, 0.9):
        quality = [{"epoch": epoch, "d_accuracy": last if epoch > 5 else early} for epoch in (2, 4, 6, 8, 10)]
        rows.append(train.options(**late, bn_eps=eps, seed=len(rows)) | {"quality": quality})
    return rows + [rows[0] | part for part in ({"scheme": "alternating"}, {"generator": "code"}, {"arch": "balanced"})]


def latent_rates(side):
    """Of 1,000 images .30 and .25 differ by more than two standard errors, .30 and .26 do not."""
    middle, roof = ((0.30, 0.25), (0.30, 0.26), (0.25, 0.30)), ((0.51, 0.40), (0.50, 0.47), (0.0, 0.0))
    strip, shift = ((0.30, 0.25), (0.25, 0.30), (0.30, 0.26)), ((0.90, 0.10), (0.50, 0.50), (0.10, 0.90))
    zeros, nines = (0.2, 0.5, 0.5), ((0.40, 0.30, 0.39), (0.10, 0.20, 0.05), (0.50, 0.50, 0.50))
    rows = [train.options(side) | {"count": 1000} for _ in range(3)]
    for k, row in enumerate(rows):
        row["middle_1"], row["same_norm_1"] = middle[k]
        row["roof_7"], row["roof_random_7"] = roof[k]
        row["strip_9"], row["strip_random_9"] = strip[k]
        row["shift_6"], row["shift_random_6"] = shift[k]
        row["sum"], row["sum_random"], row["sum_others"] = ([zeros[k], *[0] * 8, nine] for nine in nines[k])
    return rows + [train.options(side) | {"without_rates": "too few"}, rows[0] | {"arch": "initial"}]


COUNTED = {  # true of so many units of so many, by the code and by the text
    (1, 4): "d_too_strong d_loss_near_zero g_loss_high unsatisfactory",
    (1, 3): "balanced_too no_gradient no_gradient_minimax larger_gradient samples_improved samples_worse collapsed "
    "d_guesses resemble_real between between_less roof_is_7 roof_more strip_passes_9 strip_less sum_is_9 sum_less "
    "sum_others meaningful",
    (2, 3): "near_log2 nearly_guesses stages mostly_9 mostly_0",
    None: "built equation_10",
}
COUNTED = {name: (count, count) for count, names in COUNTED.items() for name in names.split()}
COUNTED |= {"minimax": ((0, 469), None), "had_to": ((2, 3), None), "had_to_eps": ((1, 1), None)}


def count_in(folder):
    """Every claim with (true, units) by the code and by the text, from the files in a folder."""
    counted = claims.count(report.CLAIMS, report.load(folder))
    return {
        name: tuple(c and (c["k"], c["n"]) for c in (claim["code"], claim["text"])) for name, claim in counted.items()
    }


def test_counts_on_planted_rows(tmp_path, monkeypatch):
    """Without what real digits reach all but two are the same."""
    monkeypatch.setattr(report.utils, "RESULTS", tmp_path)
    planted = {"dynamics": dynamics("code") + dynamics("text"), "overpowering": overpowering()}
    for study, rows in (planted | {"latent_rates": latent_rates("code") + latent_rates("text")}).items():
        files.save(tmp_path / f"{study}.json", {"study": study, "rows": {str(n): row for n, row in enumerate(rows)}})
    files.save(tmp_path / "classifier.json", {"real": {"sure_share": 0.9, "frechet_distance": 5.0}})
    assert count_in(tmp_path) == COUNTED
    (tmp_path / "classifier.json").unlink()
    without = count_in(tmp_path)
    assert {name for name in without if without[name] != COUNTED[name]} == {"unsatisfactory", "resemble_real"}


@pytest.mark.usefixtures("committed")
def test_committed_counts_are_those_of_the_committed_rows():
    assert claims.count(report.CLAIMS, report.load(RESULTS)) == files.load(RESULTS / "claims.json")["claims"]
