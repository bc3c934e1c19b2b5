"""The studies beyond figure 1."""

import json

import pytest

import beyond
import compare
import train
from utils import InputError

GRID = ["--lengths", "3", "5", "--seeds", "1", "--hidden-size", "4", "--total-len", "60", "--epochs", "2"]
GRID += ["--batch-size", "32"]
TINY = [*GRID, "--updates", "100", "--long-lengths", "5", "6", "--long-seeds", "2", "--long-epochs", "2"]
TINY += ["--far-lengths", "7", "--farthest-lengths", "8", "--far-epochs", "1"]


def run_of(run_args):
    return run_args.out_dir / train.run_name(run_args), train.settings(run_args)


def test_the_plan_shares_its_runs_with_figure_1():
    planned = beyond.plan(beyond.parse_args([]))
    figure1 = list(map(run_of, compare.plan(compare.parse_args([]))))
    shared = [(study, run_args) for study, run_args in planned if run_of(run_args) in figure1]
    assert len(shared) == len(figure1) == 90
    assert {(study, run_args.optimizer) for study, run_args in shared} == {("optimizers", "rmsprop")}
    counts = {name: sum(study == name for study, _ in planned) for name in beyond.STUDIES}
    assert counts == {"optimizers": 2 * 90, "fresh": 3 * 45, "long": 2 * 3 * 3, "far": (2 * 3 + 1) * 3}
    assert len({run_of(run_args)[0] for _, run_args in planned}) == len(planned)  # no two in one folder


def test_studies_are_trained_once_and_written(tmp_path, monkeypatch):
    places = ["--workers", "1", "--out-dir", str(tmp_path / "out"), "--figures-dir", str(tmp_path / "figures")]
    compare.main([*GRID, *places])
    started, real = [], train.train

    def counted(run_args, **keywords):
        started.append(train.run_name(run_args))
        return real(run_args, **keywords)

    monkeypatch.setattr(train, "train", counted)
    beyond.main([*TINY, *places, "--forget-biases", "1", "3"])
    first = json.loads((tmp_path / "out" / "beyond.json").read_text())
    # 4 runs under Adam, 6 on fresh batches, 4 * 2 * 2 long ones, (2 + 2 * 2) * 2 far ones; 4 are figure 1's, 2 of them
    # long as well
    assert len(started) == len(set(started)) == 4 + 6 + 16 + 12 - 2
    assert len(first["runs"]) == 8 + 6 + 16 + 12
    assert set(first["studies"]) == set(beyond.STUDIES)
    assert all({"config", "provenance", "run_commits"} < set(header) for header in first["studies"].values())
    groups = [tuple(row[key] for key in beyond.KEYS) for row in first["summary"]]
    assert len(groups) == len(set(groups)) == 8 + 6 + 8 + 6
    for row in first["summary"]:
        group = [run for run in first["runs"] if all(run[key] == row[key] for key in beyond.KEYS)]
        assert row["runs"] == len(group) == (2 if row["study"] in ("long", "far") else 1)
        assert row["protocol"] == ("fresh" if row["study"] == "fresh" else "split")
    assert {row["forget_bias"] for row in first["summary"]} == {None, 1.0, 3.0}
    figures = sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in figures] == [
        "fig1_lstm_vs_rnn.png", "long_lengths.png", "protocols.png", "updates_to_99.png"
    ]  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 400_000 for path in figures)

    started.clear()
    beyond.main([*TINY, *places, "--studies", "long", "--forget-biases", "1", "3"])
    second = json.loads((tmp_path / "out" / "beyond.json").read_text())
    assert not started
    for part in "runs", "summary":  # those of the other studies are kept
        assert sorted(second[part], key=str) == sorted(first[part], key=str)
    assert second["studies"]["long"] != first["studies"]["long"]
    assert second["studies"]["fresh"] == first["studies"]["fresh"]
    assert {run["epochs"] for run in second["runs"] if run["study"] == "far"} == {1}


def test_runs_that_would_overwrite_each_other_are_refused(tmp_path):
    options = ["--long-lengths", "25", "50", "--out-dir", str(tmp_path)]
    assert beyond.plan(beyond.parse_args(options))
    with pytest.raises(InputError, match="--long-epochs 7: length 25 "):
        beyond.main([*options, "--long-epochs", "7"])
    assert beyond.plan(beyond.parse_args([*options, "--long-epochs", "7", "--studies", "fresh", "long"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "bad",
    [["--studies", "all"], ["--studies"], ["--long-lengths", "1001"], ["--forget-biases", "nan"], ["--long-seeds", "0"]]
    + [["--long-epochs", "0"], ["--updates", "150"], ["--protocol", "fresh"], ["--total-len", "1"]],
    ids=" ".join,
)
def test_bad_options_are_named_in_one_line(bad, capsys):
    with pytest.raises((SystemExit, InputError)) as refusal:
        beyond.plan(beyond.parse_args(bad))
    if refusal.type is SystemExit:
        assert refusal.value.code == 2
    error = capsys.readouterr().err + str(refusal.value)
    assert len(error.splitlines()) <= 2
    assert bad[0] in error
