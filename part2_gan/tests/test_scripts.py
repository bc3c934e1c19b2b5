"""The options of the scripts: bad ones, and where the files go."""

import importlib
from pathlib import Path

import pytest

import train
import utils

BAD = [
    ("train", "--epochs", "0"),
    ("train", "--epochs", "many"),
    ("train", "--lr", "nan"),
    ("train", "--lr", "inf"),
    ("train", "--bn-eps", "0"),
    ("train", "--beta1", "1"),
    ("train", "--arch", "huge"),
    ("train", "--seed", "-1"),
    ("train", "--epoch", "3"),  # no abbreviations
    ("train", "--dataset", "typeset", "--limit", "50", "--batch-size", "64"),
    ("train", "--name", ".."),
    ("dynamics", "--workers", "0"),
    ("classifier", "--kind", "svm"),
    ("evaluate", "--samples", "100"),
    ("evaluate", "--name", "a/b"),
    ("interpolate", "--pairs", "7to6"),
    ("interpolate", "--checkpoint", "nowhere.pt"),
    ("arithmetic", "--steps", "1"),
    ("explore", "--snapshot", "explore.bmp"),
    ("studies.latent_rates", "--confidence", "1.5"),
    ("studies.overpowering", "--seed", "2147483647", "--seeds", "2"),
    ("studies.recipes", "--seed", "2147483647", "--seeds", "2"),
]


@pytest.mark.parametrize("command", BAD, ids=" ".join)
def test_bad_options_are_one_line_and_leave_nothing(command, tmp_path, monkeypatch, capsys):
    folders = ["--out-dir", str(tmp_path / "out"), "--figures-dir", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*command, *folders])
    with pytest.raises(SystemExit) as caught:
        utils.run(importlib.import_module(command[0]).main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "results", "figures"),
    [
        ("", utils.RESULTS, utils.FIGURES),
        ("--dataset typeset", utils.RESULTS / "typeset", utils.FIGURES / "typeset"),
        ("--out-dir mine", Path("mine"), Path("mine")),
        ("--out-dir mine --figures-dir other --dataset typeset", Path("mine"), Path("other")),
    ],
)
def test_figures_go_where_results_are_sent_to(words, results, figures):
    args = train.parse_args(words.split())
    assert (args.out_dir, args.figures_dir) == (results, figures)
