"""Every figure is drawn from the committed rows, in seconds: no training, no data."""

import importlib
import shutil

import pytest
from conftest import RESULTS

import runs

STUDIES = {  # {module: (its figures, the options that give its committed rows)}
    "compare": (["fig1_lstm_vs_rnn", "repeated_or_fresh"], [["--seeds", "10"], ["--sides", "text", "adam", "fresh"]]),
    "studies.repetition": (["repetition"], [[]]),
    "studies.long_inputs": (["long_inputs"], [[]]),
    "studies.three_digits": (["three_digits"], [[]]),
    "studies.gradients": (["gradients"], [[]]),
    "benchmark": (["lstm_speed"], []),
}


@pytest.mark.parametrize("name", STUDIES)
def test_figures_of_committed_rows(tmp_path, monkeypatch, name):
    """Drawn by --draw; and the commands that gave the rows find all of them there, with the options of today."""
    figures, commands = STUDIES[name]
    module, path, study = importlib.import_module(name), tmp_path / f"{name.split('.')[-1]}.json", runs.study
    shutil.copy(RESULTS / path.name, path)
    module.main(["--draw", "--out-dir", str(tmp_path)])
    assert sorted(drawn.stem for drawn in tmp_path.glob("*.png")) == figures
    assert all(15_000 < drawn.stat().st_size < 400_000 for drawn in tmp_path.glob("*.png"))
    monkeypatch.setattr(runs, "in_parallel", lambda _, jobs, __: [pytest.fail(f"{run} is missing") for run, _ in jobs])
    monkeypatch.setattr(runs, "study", lambda *args: study(*args) and None)  # without rows nothing is drawn again
    for options in commands:
        module.main([*options, "--out-dir", str(tmp_path)])
    assert path.read_bytes() == (RESULTS / path.name).read_bytes()
