"""The statements of the report: their rules on planted results, the verdicts, and the committed ones."""

import operator

import pytest

import claims
import report
import sweep
import utils

LENGTHS, SEEDS = (3, 7, 11, 15, 19, 25), range(5)


def figure_1(lstm, rnn):
    """What compare.json holds; lstm and rnn: accuracy by length, 1 where none is given, on both sides."""
    runs = [
        {"side": side, "cell": cell, "input_length": length, "seed": seed, "accuracy": accuracy.get(length, 1)}
        | {"best_val_accuracy": accuracy.get(length, 1), "test_accuracy": accuracy.get(length, 1)}
        | {"epochs": 20, "updates": 20 if length == 3 else 1260}
        | {"reached": accuracy.get(length, 1) >= 0.99, "updates_to_99": 20}
        for side in claims.SIDES
        for cell, accuracy in (("lstm", lstm), ("rnn", rnn))
        for length in LENGTHS
        for seed in SEEDS
    ]
    return {"runs": runs, "summary": sweep.summarise(runs, ("side", "cell", "input_length"))}


def repetition(reached, ratio):
    """What repetition.json holds of RNN runs on fresh batches; the gradient's ratio falls to 1 after 2,000 updates."""
    run = {"cell": "rnn", "size": 0, "input_length": 25, "updates_to_99": reached}
    return {"runs": [run | {"seed": seed, "gradients": [[500, 1e5], [2000, ratio], [2500, 1]]} for seed in SEEDS]}


def three_digits(budget=0.97, end=1.0, **needed):
    """What three_digits.json holds; needed: updates to 99 % by cell and units, such as lstm128, None for never."""
    settings = [
        {"cell": name[:-3], "hidden_size": int(name[-3:]), "optimizer": "rmsprop", "batch_size": 80}
        | {"updates_to_99_percent": {"seeds": [updates] * 5}}
        | {"accuracy_at_budget": {"seeds": [budget] * 5}, "accuracy_at_end": {"seeds": [end] * 5}}
        for name, updates in needed.items()
    ]
    return {"config": {"seeds": 5, "updates": 500}, "settings": settings}


def gradients(trained, network, ratio, kept=0.0):
    """What gradients.json holds of five networks: `ratio` over the last 25 steps, 1e9 over all 100."""
    run = {
        "network": network,
        "trained_on": trained,
        "curves": dict.fromkeys("hc", [1e-9] * 75 + [1 / ratio] + [1] * 24),
    }
    runs = [run | {"seed": seed, "gates": {"units_keeping_half": kept}} for seed in SEEDS]
    return {"runs": runs, "config": {"input_length": 100}}


def results_of(**results):
    return report.load(utils.HERE / "nowhere") | results


def sides(name, **results):
    """The verdicts of a claim on both sides; where it decides nothing, what its count would say."""
    (claim,) = [claim._replace(decides=claims.SIDES) for claim in claims.CLAIMS if claim.id == name]
    found = [claims.measured(claim, results_of(**results), side) for side in claims.SIDES]
    return [of and of["verdict"] for of in found]


HOLDS, NOT = ["holds"] * 2, ["does not hold"] * 2
AS_TOLD = figure_1({3: 0.95}, {15: 0.7, 19: 0.5, 25: 0.4})
CONTRARY = figure_1({15: 0.9, 19: 0.5, 25: 0.5}, {7: 0.7})  # half of the LSTM's and of the RNN's short runs succeed


@pytest.mark.parametrize(
    ("name", "contrary"),
    [
        *((name, NOT) for name in ("rnn_degrades", "lstm_stays_high", "exactly_100", "exactly_100_on_others")),
        *((name, NOT) for name in ("short_of_100", "lstm_superior", "superior_when_long")),
        *((name, ["open"] * 2) for name in ("rnn_short", "under_30_epochs")),
    ],
)
def test_verdicts_on_figure_1(name, contrary):
    assert sides(name, compare=AS_TOLD) == HOLDS
    assert sides(name, compare=CONTRARY) == contrary


def test_one_short_length_of_a_seed_falsifies_up_to_25():
    assert sides("up_to_25", compare=AS_TOLD) == HOLDS  # 3 digits do not count
    assert sides("up_to_25", compare=figure_1({7: 0.999}, {})) == NOT
    assert sides("up_to_25_rounded", compare=figure_1({7: 0.999}, {})) == HOLDS
    assert sides("up_to_25_rounded", compare=CONTRARY) == NOT


def test_accuracy_as_written_is_that_at_the_end():
    found = figure_1({}, {})
    for run in found["runs"]:
        run.update(test_accuracy=None if run["input_length"] < 11 else 0.4, val_accuracy=0.7)
    assert sides("lstm_stays_high", compare=found) == ["holds", "does not hold"]
    assert sides("rnn_short", compare=found) == ["holds", "does not hold"]
    assert sides("exactly_100", compare=found) == HOLDS


@pytest.mark.parametrize(
    ("reached", "ratio", "fails", "succeeds"),
    [
        (None, 1e6, "holds", None),
        (None, None, "holds", None),  # nothing is left of the gradient
        (None, 2.0, "does not hold", None),
        (5000, 1e6, "holds", None),  # not within the 2,000 updates of the report's RNN
        (1900, 1e6, None, "does not hold"),
        (1900, 2.0, None, "holds"),
    ],
)
def test_verdicts_on_vanishing_gradients(reached, ratio, fails, succeeds):
    found = repetition(reached, ratio)
    assert sides("vanishing_where_it_fails", repetition=found) == [fails, None]
    assert sides("vanishing_only_there", repetition=found) == [succeeds, None]
    for run in found["runs"]:
        run.update(cell="lstm", size=8000)
    assert claims.at_the_end("over")({"repetition": found}).startswith("at 25 digits the gradient at the last step is")
    assert sides("addressed_after", repetition=found) == [None, "holds"]  # at update 2500


LIGHT = {"lstm064": 80, "lstm128": 160, "rnn128": 5, "rnn256": 10}


@pytest.mark.parametrize(
    ("name", "as_told", "contrary"),
    [
        ("few_updates", LIGHT, LIGHT | {"end": 0.99}),
        ("harder_than_rnn", LIGHT, LIGHT | {"lstm128": 5}),
        ("lighter", LIGHT, LIGHT | {"lstm064": 160}),
        ("lighter", LIGHT | {"lstm128": None}, LIGHT | {"lstm064": None}),
    ],
)
def test_verdicts_on_three_digits(name, as_told, contrary):
    assert sides(name, three_digits=three_digits(**as_told)) == [None, "holds"]
    assert sides(name, three_digits=three_digits(**contrary)) == [None, "does not hold"]


def test_seeds_that_need_no_more_updates_do_not_count():
    assert sides("few_updates", three_digits=three_digits(**LIGHT, budget=1)) == [None, None]


def test_long_inputs_are_counted_by_length():
    run = {"cell": "lstm", "forget_bias": None, "val_accuracy": 1}
    pairs = [(seed, length) for seed in SEEDS for length in (35, 50)]
    runs = [run | {"seed": s, "input_length": n, "test_accuracy": 0.5 if n == 50 else 1} for s, n in pairs]
    assert sides("long_term", long_inputs={"runs": runs}) == [None, "holds"]
    assert sides("longer_term", long_inputs={"runs": runs}) == [None, "does not hold"]


def test_verdicts_on_gradients_and_gates():
    assert sides("inherent", gradients=gradients(None, "vanilla RNN", 1e6)) == [None, "holds"]
    assert sides("inherent", gradients=gradients(None, "vanilla RNN", 10)) == [None, "does not hold"]
    assert sides("inherent", gradients=gradients(25, "vanilla RNN", 1e6)) == [None, None]
    assert sides("addressed_before", gradients=gradients(None, "LSTM", 1e6)) == [None, "does not hold"]
    assert sides("highway_gradient", gradients=gradients(25, "LSTM", 9)) == [None, "holds"]
    assert sides("highway_gradient", gradients=gradients(25, "LSTM", 12)) == [None, "does not hold"]
    assert sides("highway", gradients=gradients(25, "LSTM", 1, kept=1.7)) == [None, "holds"]
    assert sides("highway", gradients=gradients(25, "LSTM", 1, kept=0.2)) == [None, "does not hold"]


def test_a_verdict_rests_on_no_limit_of_ours():
    def verdict(holds, *values, **more):
        claim = claims.Claim("", "", "", "", lambda results, side: list(enumerate(values)), holds, **more)
        return claims.measured(claim, {}, "written")["verdict"]

    rule = claims.Rule(operator.lt, 0.1)
    assert rule.limits() == pytest.approx([0.1, 0.09, 0.11])
    assert claims.Rule(operator.ge, 0.9).limits() == pytest.approx([0.9, 0.89, 0.91])
    assert claims.Rule(operator.gt, 1000).limits() == pytest.approx([1000, 900, 1100])
    assert claims.Rule(operator.gt, 0).limits() == [0, 0, 0]
    near, far = [0.105] * 5, [0.2] * 5
    assert [verdict(rule, *values) for values in (near, far)] == ["open", "does not hold"]
    assert verdict(rule._replace(ours=False), *near) == "does not hold"
    assert verdict(rule, *far, decides=("published",)) == "open"


def test_a_verdict_rests_on_no_single_unit_and_no_single_seed():
    def verdict(k, n):
        return claims.verdict([(unit, unit < k) for unit in range(n)])

    table = {
        (5, 5): "holds",
        (0, 5): "does not hold",
        (4, 5): "open",
        (3, 3): "open",
        (9, 10): "holds",
        (8, 10): "open",
    }
    assert {counts: verdict(*counts) for counts in table} == table
    one_seed_fails = [(seed, seed > 0) for seed in range(5) for _ in range(5)]
    assert claims.verdict(one_seed_fails) == "holds"
    assert claims.verdict([(seed, seed > 0 and (seed > 1 or n > 1)) for seed in range(5) for n in range(5)]) == "open"
    assert claims.verdict([]) is None


def test_missing_and_old_results_are_not_counted(tmp_path):
    counted = claims.count(report.load(tmp_path))
    assert {claim[side] for claim in counted for side in claims.SIDES} == {None}
    rows = report.claim_rows(counted)
    assert sum("not tested" in row for row in rows) == sum(claim["unit"] != claims.BUILT for claim in counted)
    (tmp_path / "fig1_lstm_vs_rnn.png").touch()
    utils.save_json(tmp_path / "compare.json", {"runs": [{"cell": "lstm"}], "summary": [{"cell": "lstm"}]})
    with pytest.raises(utils.InputError, match="not what compare.py writes; run it again"):
        report.main(["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)])
    assert not (tmp_path / "claims.json").exists()


def test_report_file_agrees_with_what_was_published(tmp_path, capsys):
    words = ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    (tmp_path / "fig1_lstm_vs_rnn.png").touch()
    utils.save_json(tmp_path / "compare.json", AS_TOLD)
    report.main([*words, "--publish"])
    assert "the committed ones" not in capsys.readouterr().out + (tmp_path / "report.md").read_text()
    utils.save_json(tmp_path / "compare.json", CONTRARY)
    report.main(words)
    assert "exactly_100, as written: true of 0 of 5 here, of 5 of 5 in the committed results" in capsys.readouterr().out
    text = (tmp_path / "report.md").read_text()
    assert "of 22 counts have the same majority as the committed ones" in text
    assert "**does not hold** (0 of 5: 0.5, 0.5, 0.5, 0.5, 0.5)" in text
    assert "| 25 | 0.500 (0/5) | 1.000 (5/5) | 0.500 (0/5) | 1.000 (5/5) |" in text


@pytest.mark.usefixtures("committed")
def test_committed_claims_follow_from_committed_results():
    counted = claims.count(report.load(utils.RESULTS))
    assert counted == utils.load_json(utils.RESULTS / "claims.json", "claims")["claims"]
    assert report.agreement(counted, utils.load_json(utils.RESULTS / "published.json", "claims")["claims"])[1:] == []


@pytest.mark.usefixtures("committed")
def test_no_committed_verdict_changes_without_one_unit_or_seed():
    results = report.load(utils.RESULTS)
    for claim in claims.CLAIMS:
        for side in claims.SIDES:
            found = claims.measured(claim, results, side) if claim.measure else None
            if found is None or found["verdict"] == "open":
                continue
            pairs = [pair for pair in claim.measure(results, side) if pair[1] is not None]
            parts = [pairs[:place] + pairs[place + 1 :] for place in range(len(pairs))]
            parts += [[pair for pair in pairs if pair[0] != seed] for seed in {seed for seed, _ in pairs}]
            for part in parts:
                low, high = sweep.wilson(sum(map(claim.holds, (value for _, value in part))), len(part))
                assert low > 0.5 if found["verdict"] == "holds" else high < 0.5, (claim.id, side)
