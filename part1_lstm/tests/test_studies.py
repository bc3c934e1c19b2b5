"""The studies that are sweeps: protocols and long_inputs."""

import json

import compare
import sweep
import train
from run_folder import settings
from studies import long_inputs, protocols

TINY = ["--hidden-size", "4", "--total-len", "60", "--batch-size", "32", "--epochs", "2", "--workers", "1"]


def run_of(run_args):
    return sweep.folder_of(run_args), settings(run_args)


def test_the_studies_share_runs_with_figure_1():
    """And no two different runs have one folder."""
    figure1 = list(map(run_of, compare.plan(compare.parse_args([]))))
    planned = list(map(run_of, protocols.plan(protocols.parse_args([]))))
    planned += list(map(run_of, long_inputs.plan(long_inputs.parse_args([]))))
    assert len(planned) == 7 * 45 + (4 + 4 + 5) * 3
    assert len({folder for folder, _ in planned}) == len(planned)
    assert len(figure1) == 90
    assert all(run in planned for run in figure1)


def test_protocols(tmp_path, monkeypatch):
    places = ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)]
    options = [*TINY, *places, "--lengths", "3", "5", "--seeds", "1"]
    compare.main(options)
    started, real = [], train.train

    def counted(run_args, **keywords):
        started.append(train.run_name(run_args))
        return real(run_args, **keywords)

    monkeypatch.setattr(train, "train", counted)
    protocols.main([*options, "--updates", "100"])
    found = json.loads((tmp_path / "protocols.json").read_text())
    assert len(started) == len(set(started)) == (7 - 2) * 2  # two series are figure 1's
    groups = [tuple(row[key] for key in protocols.KEYS) for row in found["summary"]]
    assert len(groups) == len(set(groups)) == len(found["runs"]) == 7 * 2
    assert {(run["protocol"], run["updates"]) for run in found["runs"] if run["protocol"] == "fresh"} == {
        ("fresh", 100)
    }
    for name in "protocols", "updates_to_99":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.png").stat().st_size < 400_000


def test_long_inputs(tmp_path):
    options = ["--lengths", "5", "--far-lengths", "5", "6", "--farthest-lengths", "7", "--far-epochs", "1"]
    options += ["--seeds", "2", "--forget-biases", "1", "3"]
    long_inputs.main([*TINY, *options, "--out-dir", str(tmp_path), "--figures-dir", str(tmp_path)])
    found = json.loads((tmp_path / "long_inputs.json").read_text())
    assert [row["input_length"] for row in found["summary"]] == [5, 6, 5, 6, 5, 6, 7, 5, 6, 7]
    assert {row["forget_bias"] for row in found["summary"]} == {None, 1.0, 3.0}
    assert {row["runs"] for row in found["summary"]} == {2}
    assert {(run["input_length"], run["epochs"]) for run in found["runs"]} == {(5, 2), (6, 1), (7, 1)}
    assert (tmp_path / "long_inputs.png").read_bytes().startswith(b"\x89PNG")
