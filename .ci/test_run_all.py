"""run_all.sh, and the environment that it and run_tests.sh set up."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIGURES = [
    "fig1_lstm_vs_rnn",
    "fig2_initial_losses",
    "fig3_initial_samples",
    "fig4_balanced_losses",
    "fig5_progression",
    "fig6_interpolation",
    "fig7_roof_to_6",
    "fig8_hybrid_to_6",
]
QUICK = ["bash", "run_all.sh", "--quick", "--dataset", "typeset"]


def start(*command, cwd=ROOT, **variables):
    """Run a command in an environment with `variables`; returns exit code, standard output and standard error."""
    environment = os.environ | {"CONDA_PREFIX": "", "VIRTUAL_ENV": sys.prefix} | variables
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


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
    code, out, errors = start(*QUICK, cwd=copy)
    assert code == 0, out[-2000:] + errors[-2000:]
    assert "\r" not in out + errors  # no terminal here: plain lines, no progress bars
    for name in FIGURES:
        folder = copy / "figures" / "quick" / ("" if name.startswith("fig1") else "typeset")
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    assert [path.name for path in (copy / "figures").iterdir()] == ["quick"]
    assert [path.name for path in (copy / "results").iterdir()] == ["quick"]
    for name in "part1_lstm", "part2_gan/typeset":
        assert json.loads((copy / "results" / "quick" / name / "claims.json").read_text())["claims"], name


@pytest.mark.long
def test_killed_run_all_goes_on(copy):
    """Killed with all its processes, twice, at moments that fall into different steps; the third start ends it."""
    for seconds in 25, 60:
        started = subprocess.Popen(
            QUICK,
            cwd=copy,
            env=os.environ | {"VIRTUAL_ENV": sys.prefix},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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


def test_help_from_anywhere_and_bad_options(copy, tmp_path):
    link = tmp_path / "link.sh"
    link.symlink_to(copy / "run_all.sh")
    for command in ["bash", link, "--help"], ["sh", copy / "run_all.sh", "--quick", "-h"]:
        code, out, errors = start(*command, cwd=tmp_path)
        assert (code, errors) == (0, "")
        assert "--deep" in out
        assert "[1/" not in out
    for options in ["--fast"], ["--dataset", "cifar"], ["--dataset"]:
        code, out, errors = start("bash", copy / "run_all.sh", *options, cwd=tmp_path)
        assert (code, out) == (2, "")
        assert errors.count("\n") == 1


@pytest.fixture
def environment(tmp_path):
    """Makes an environment whose python is the present one behind a few lines of shell."""

    def make(lines):
        (tmp_path / "bin").mkdir(parents=True, exist_ok=True)
        python = tmp_path / "bin" / "python"
        python.write_text(f'#!/bin/sh\n{lines}\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        return str(tmp_path)

    return make


SOURCE = ["bash", "-c", 'EXTRA_PACKAGES=(pytest); source .ci/environment.sh; echo "$PYTHON"', "run_all.sh"]
NO_PIP = 'case "$*" in *"-m pip"*) echo "pip was called"; exit 1 ;; esac'
LACKING = 'if [ "$1" = - ]; then echo "torch>=2.6"; exit; fi\n'  # what the list of missing packages says


def pip_says(text):
    return LACKING + f'case "$*" in *"pip install"*) echo "{text}" >&2; exit 1 ;; esac'


@pytest.mark.parametrize(
    ("lines", "variables", "told"),
    [
        (NO_PIP, {}, None),
        (LACKING + NO_PIP, {}, "lacks torch>=2.6 and has no pip"),
        ('case "$*" in *version_info*) exit 1 ;; --version) echo Python 3.9.1; exit ;; esac', {}, "has Python 3.9.1"),
        (pip_says("connection refused"), {}, "when the network is back"),
        (pip_says("conflicting dependencies"), {"PIP_CONSTRAINT": "c.txt"}, "PIP_CONSTRAINT=c.txt"),
        (pip_says("No space left on device"), {}, "the disk is full"),
        (pip_says("odd"), {}, "could not install"),
        (None, {"VIRTUAL_ENV": "/gone"}, "/gone has no Python"),
        (None, {"VIRTUAL_ENV": "", "CONDA_PREFIX": "/gone"}, "/gone has no Python"),
    ],
)
def test_environment(environment, lines, variables, told):
    if lines:
        variables = {"VIRTUAL_ENV": environment(lines)} | variables
    code, out, errors = start(*SOURCE, **variables)
    assert code == (1 if told else 0), errors
    if told:
        assert told in errors.splitlines()[-1]
    else:
        assert out.strip() == variables["VIRTUAL_ENV"] + "/bin/python"


@pytest.mark.parametrize(("code", "typeset"), [(2, False), (3, True)])
def test_damaged_mnist_stops_and_missing_mnist_is_replaced(environment, copy, code, typeset):
    steps = 'case "$*" in *.py*) exit 7 ;; esac'
    variables = {"VIRTUAL_ENV": environment(f'case "$*" in *dataset.py) exit {code} ;; esac\n{steps}')}
    found, out, _ = start("bash", "run_all.sh", "--quick", cwd=copy, **variables)
    assert found == (7 if typeset else 2)
    assert ("typeset digits instead" in out) == typeset


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step(environment, copy, tmp_path, number):
    """The step is a sleep here, whose process is named in the file `step`."""
    lines = f'case "$*" in *dataset.py) exit ;; *.py*) echo $$ > "{tmp_path}/step"; exec sleep 60 ;; esac'
    variables = os.environ | {"VIRTUAL_ENV": environment(lines)}
    started = subprocess.Popen(
        ["bash", "run_all.sh", "--quick"], cwd=copy, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not ((tmp_path / "step").exists() and (tmp_path / "step").read_text().strip()):
        assert started.poll() is None
        time.sleep(0.05)
    started.send_signal(number)
    _, errors = started.communicate(timeout=10)
    assert started.returncode == 128 + number
    assert b"stopped; the same command resumes" in errors
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "step").read_text()), 0)


def test_scripts_have_unix_line_ends_on_every_system(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    clone = ["git", "clone", "--quiet", "--no-checkout", "-c", "core.autocrlf=true", str(ROOT), str(tmp_path / "clone")]
    assert start(*clone)[0] == 0
    assert start("git", "checkout", "HEAD", "--", "run_all.sh", ".gitattributes", cwd=tmp_path / "clone")[0] == 0
    assert b"\r" not in (tmp_path / "clone" / "run_all.sh").read_bytes()
