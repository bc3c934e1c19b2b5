"""Every figure is drawn from the committed rows, in seconds: no training, no digits."""

import importlib
import re
import shutil

import pytest
from conftest import RESULTS

import dataset
import dynamics
import latents
import runs
import train

STUDIES = {  # {module: (its figures, the options that give its committed rows)}
    "dynamics": (dynamics.NAMES, ["--seeds", "5"]),
    "studies.overpowering": (["why_d_won"], []),
    "studies.recipes": (["recipes", "recipes_best"], []),
    "studies.latent_rates": (["latent_rates", "sum_classes"], []),
}


@pytest.mark.parametrize("name", STUDIES)
def test_figures_of_committed_rows(tmp_path, monkeypatch, capsys, name):
    """Drawn by --draw; and the commands that gave the rows find all of them there, with the options of today."""

    def refuse(*_, **__):
        raise AssertionError("a run was started")

    figures, options = STUDIES[name]
    module, study = importlib.import_module(name), f"{name.split('.')[-1]}.json"
    for owner, function in (train, "train"), (dataset, "load"), (latents, "find_latents"):
        monkeypatch.setattr(owner, function, refuse)
    module.main(["--draw", "--figures-dir", str(tmp_path / "drawn")])
    drawn = {path.stem: path.read_bytes() for path in (tmp_path / "drawn").glob("*.png")}
    assert sorted(drawn) == sorted(figures)
    assert all(content.startswith(b"\x89PNG") and 15_000 < len(content) < 500_000 for content in drawn.values())

    for path in RESULTS.glob("*.json"):
        shutil.copy(path, tmp_path)
    module.main([*options, "--out-dir", str(tmp_path)])
    assert runs.load_rows(tmp_path / study) == runs.load_rows(RESULTS / study)
    assert re.search(rf"/{study}: 0 of \d+ runs to train, the others are there", capsys.readouterr().out)
    with pytest.raises(AssertionError, match="a run was started"):
        module.main(["--restart", "--workers", "1", "--out-dir", str(tmp_path)])
