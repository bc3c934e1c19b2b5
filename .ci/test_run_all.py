"""run_all.sh, and the environment that it and run_tests.sh set up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def start(*command, cwd=ROOT, **variables):
    """Run a command in an environment with `variables`; returns exit code, standard output and standard error."""
    environment = os.environ | {"CONDA_PREFIX": "", "VIRTUAL_ENV": sys.prefix} | variables
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository's files as in a fresh clone, without tests and data."""
    folder = tmp_path_factory.mktemp("clone") / "repo"
    ignore = shutil.ignore_patterns("__pycache__", ".*cache", ".git", ".venv", "tests", "mine*", "quick*", "MNIST")
    shutil.copytree(ROOT, folder, ignore=ignore)
    return folder


def contents(folder):
    """Every file below a folder but those that run_all.sh --quick writes: {path: bytes}."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "quick" not in str(path.relative_to(folder))]
    return {path: path.read_bytes() for path in paths if "__pycache__" not in path.parts}


def test_quick_makes_every_figure_touches_nothing_else_and_goes_on(copy):
    before = contents(copy)
    code, out, errors = start("bash", "run_all.sh", "--quick", "--dataset", "typeset", cwd=copy)
    assert code == 0, out[-2000:] + errors[-2000:]
    assert len(out.splitlines()) <= 15
    assert out.count("counts agree with the repository's") == 2
    assert "\r" not in out + errors  # no terminal here: plain lines, no progress bars
    figures = sorted((copy / "figures" / "quick-typeset").glob("fig*.png"))
    assert [path.name[:5] for path in figures] == [f"fig{n}_" for n in range(1, 9)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)
    for name in "part1_lstm", "part2_gan":
        assert json.loads((copy / "results" / "quick-typeset" / name / "claims.json").read_text())["claims"], name
    assert contents(copy) == before
    rows = copy / "results" / "quick-typeset" / "part1_lstm" / "compare.json"
    written = rows.stat().st_mtime_ns
    assert start("bash", "run_all.sh", "--quick", "--dataset", "typeset", cwd=copy)[0] == 0
    assert rows.stat().st_mtime_ns == written  # what is finished is not trained again


def test_help_from_anywhere_and_bad_options(copy, tmp_path):
    (tmp_path / "link.sh").symlink_to(copy / "run_all.sh")
    for command in ["bash", tmp_path / "link.sh", "--help"], ["sh", copy / "run_all.sh", "--quick", "-h"]:
        code, out, errors = start(*command, cwd=tmp_path)
        assert (code, errors) == (0, "")
        assert "--deep" in out
    for options in ["--fast"], ["--dataset", "cifar"], ["--dataset"]:
        code, out, errors = start("bash", copy / "run_all.sh", *options, cwd=tmp_path)
        assert (code, out, errors.count("\n")) == (2, "", 1)


def environment(folder, lines):
    """An environment whose python is the present one behind a few lines of shell."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\n{lines}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return str(folder)


NO_PIP = 'case "$*" in *"-m pip"*) echo "pip was called" >&2; exit 1 ;; esac'
SOURCE = ["bash", "-c", 'EXTRA_PACKAGES=(pytest); source .ci/environment.sh; echo "$PYTHON"', "run_all.sh"]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (NO_PIP, None),
        (f'if [ "$1" = - ]; then exit 1; fi; {NO_PIP}', "could not install"),
        ('case "$*" in *version_info*) exit 1 ;; --version) echo Python 3.9.1; exit ;; esac', "there is: Python 3.9.1"),
    ],
)
def test_environment(tmp_path, lines, text):
    folder = environment(tmp_path, lines)
    code, out, errors = start(*SOURCE, VIRTUAL_ENV=folder)
    assert code == (1 if text else 0), errors
    assert out.strip() == f"{folder}/bin/python" if text is None else text in errors.splitlines()[-1]


@pytest.mark.parametrize(("code", "typeset"), [(2, False), (3, True)])
def test_damaged_mnist_stops_and_missing_mnist_is_replaced(tmp_path, copy, code, typeset):
    steps = 'case "$*" in *.py*) exit 7 ;; esac'
    variables = {"VIRTUAL_ENV": environment(tmp_path, f'case "$*" in *dataset.py) exit {code} ;; esac\n{steps}')}
    ended, out, _ = start("bash", "run_all.sh", "--quick", cwd=copy, **variables)
    assert ended == (1 if typeset else 2)
    assert ("typeset digits instead" in out) == typeset
