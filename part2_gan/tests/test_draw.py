"""Every figure is drawn from the committed rows, in seconds: no training, no digits."""

import importlib
import shutil

import pytest
from conftest import RESULTS

import dataset
import dynamics
import runs

STUDIES = {  # {module: (its figures, the options that give its committed rows)}
    "dynamics": (dynamics.NAMES, ["--seeds", "5"]),
    "studies.overpowering": (["why_d_won"], []),
    "studies.recipes": (["recipes", "recipes_best"], []),
    "studies.latent_rates": (["latent_rates", "sum_classes"], []),
}


@pytest.mark.parametrize("name", STUDIES)
def test_figures_of_committed_rows(tmp_path, monkeypatch, name):
    """Drawn by --draw; and the commands that gave the rows find all of them there, with the options of today."""
    figures, options = STUDIES[name]
    module, study = importlib.import_module(name), f"{name.split('.')[-1]}.json"
    monkeypatch.setattr(runs, "in_parallel", lambda _, jobs, __: [pytest.fail(f"{run} is missing") for run, _ in jobs])
    monkeypatch.setattr(dataset, "load", lambda *_, **__: pytest.fail("digits were read"))
    module.main(["--draw", "--figures-dir", str(tmp_path / "drawn")])
    drawn = {path.stem: path.read_bytes() for path in (tmp_path / "drawn").glob("*.png")}
    assert sorted(drawn) == sorted(figures)
    assert all(content.startswith(b"\x89PNG") and 15_000 < len(content) < 500_000 for content in drawn.values())

    for path in RESULTS.glob("*.json"):
        shutil.copy(path, tmp_path)
    module.main([*options, "--out-dir", str(tmp_path)])
    assert runs.load_rows(tmp_path / study) == runs.load_rows(RESULTS / study)
