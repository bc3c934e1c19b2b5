"""The one command: run_all.sh --quick, from nothing to eight figures, on stand-in digits."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FIGURES = [
    "fig1_lstm_vs_rnn",
    "fig2_initial_losses",
    "fig3_initial_samples",
    "fig4_balanced_losses",
    "fig5_progression",
    "fig6_interpolation",
    "fig7_roof_to_6",
    "fig8_hybrid_to_6",
    "at_a_glance",
]

pytestmark = pytest.mark.skipif(not (ROOT / "run_all.sh").exists(), reason="part2_gan was copied out alone")


def run_all(folder, *options):
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    environment.pop("OMP_NUM_THREADS", None)
    command = ["bash", "run_all.sh", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository's files without data and results, as in a fresh clone."""
    folder = tmp_path_factory.mktemp("clone") / "repo"
    ignore = shutil.ignore_patterns("__pycache__", ".pytest_cache", "tests")
    for name in "part1_lstm", "part2_gan", ".ci":
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in "run_all.sh", "requirements.txt":
        shutil.copy(ROOT / name, folder)
    return folder


def test_quick_makes_every_figure_and_touches_nothing_else(copy):
    done = run_all(copy, "--quick", "--dataset", "typeset")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for name in FIGURES:
        assert (copy / "figures" / "quick" / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    assert [path.name for path in (copy / "figures").iterdir()] == ["quick"]
    assert [path.name for path in (copy / "results").iterdir()] == ["quick"]
    runs = json.loads((copy / "results" / "quick" / "part1_lstm" / "compare.json").read_text())["runs"]
    assert {run["input_length"] for run in runs} == {3, 7, 11, 13, 15, 17, 19, 21, 25}
    for name in "study", "interpolate", "arithmetic", "classifier":
        text = (copy / "results" / "quick" / "part2_gan" / "typeset" / f"{name}.json").read_text()
        assert "typeset" in text, name


@pytest.mark.long
def test_killed_run_all_goes_on(copy):
    """Killed with all its processes, twice, at moments that fall into different steps; the third start ends it."""
    command = ["bash", "run_all.sh", "--quick", "--dataset", "typeset"]
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    for seconds in 25, 60:
        started = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            started.communicate(timeout=seconds)
        os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
    runs = copy / "results" / "quick" / "part1_lstm" / "compare"
    finished = {path: path.stat().st_mtime_ns for path in runs.glob("*/result.json")}
    assert finished
    test_quick_makes_every_figure_and_touches_nothing_else(copy)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.parametrize("options", [["--fast"], ["--dataset", "cifar"], ["--dataset"]])
def test_bad_options_of_run_all(copy, options):
    done = run_all(copy, *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
