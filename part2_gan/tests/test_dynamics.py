"""Figures 2 to 5 end to end, on typeset digits: killed, continued by two processes, and started over finished runs."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import TYPESET, fork, fork_ranks

import dynamics
import plots
import runs
import train
import utils
from latents import load_generator

FIGURES = ["fig2_initial_losses", "fig3_initial_samples", "fig4_balanced_losses", "fig5_progression"]
ELSEWHERE = {"epochs": 7}  # a run that dynamics.json knows from another machine


def options_of(folder, *options):
    small = [*TYPESET, "--limit", "600", "--batch-size", "32", "--epochs-initial", "2", "--epochs-balanced", "3"]
    small += ["--evaluate-every", "0", "--out-dir", str(folder), "--figures-dir", str(folder / "figures")]
    return [*small, *options]


def children(pid):
    """The processes that process `pid` has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Killed once a run is finished, which leaves no worker; then two processes share the rest."""
    folder = tmp_path_factory.mktemp("dynamics")
    (folder / "dynamics.json").write_text(json.dumps({"runs": {"published_balanced_seed9": ELSEWHERE}}))

    def start():
        context = multiprocessing.get_context("fork")  # a spawned worker would import torch anew
        runs.multiprocessing.get_context = lambda method: context
        dynamics.main(options_of(folder, "--workers", "1"))

    study = fork(start)
    finished, deadline = folder / "dynamics" / "published_balanced_seed0" / "result.json", time.time() + 100
    while not finished.exists() and time.time() < deadline:
        time.sleep(0.05)
    workers = children(study.pid)
    os.kill(study.pid, signal.SIGKILL)
    study.join()
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.time() < deadline:
        time.sleep(0.1)
    assert workers
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert not (folder / "figures" / f"{FIGURES[0]}.png").exists()
    trained_at = finished.stat().st_mtime_ns
    assert fork_ranks(dynamics.main, options_of(folder, "--workers", "1")) == [0, 0]
    assert finished.stat().st_mtime_ns == trained_at
    return folder


needs_proc = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods() or not Path("/proc/self/task").exists(),
    reason="finds the workers through /proc",
)


@needs_proc
def test_figures_and_numbers(folder):
    for name in FIGURES:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    assert (folder / "figures" / "training.gif").read_bytes().startswith(b"GIF89a")
    data = utils.load_json(folder / "dynamics.json", "columns", "record", "runs")
    assert data["runs"].pop("published_balanced_seed9") == ELSEWHERE  # its folder is not there
    assert {
        name: (run["config"]["arch"], run["config"]["bn_eps"], run["config"]["scheme"], run["epochs"])
        for name, run in data["runs"].items()
    } == {
        "published_initial_seed0": ("initial", 0.8, "simultaneous", 2),
        "published_balanced_seed0": ("balanced", 0.8, "simultaneous", 3),
        "written_initial_seed0": ("initial", 1e-5, "alternating", 2),
        "written_balanced_seed0": ("balanced", 1e-5, "alternating", 3),
    }
    run = data["runs"]["published_balanced_seed0"]
    assert {column: len(values) for column, values in run["by_epoch"].items()} == dict.fromkeys(train.HISTORY, 3)
    assert run["by_epoch"]["d_loss"][-1] == pytest.approx(run["last_epoch"]["d_loss"], abs=1e-4)
    assert run["provenance"]["torch"]


@needs_proc
def test_the_exported_generator_is_the_published_one_in_half_precision(folder):
    exported, config = load_generator(folder / "generator.pt", "cpu")
    whole, _ = load_generator(folder / "dynamics" / "published_balanced_seed0" / "checkpoint.pt", "cpu")
    z = torch.randn(20, 100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (exported(z) - whole(z)).abs().mean() < 5e-3
    assert (config["arch"], config["generator"]) == ("balanced", "published")
    assert (folder / "generator.pt").stat().st_size < 3.2e6


@needs_proc
def test_kept_runs_are_added_to(folder, tmp_path):
    """--keep trains what dynamics.json lacks, adds it, and leaves figures, settings and the common band as they are."""
    shutil.copy(folder / "dynamics.json", tmp_path)
    before = utils.load_json(tmp_path / "dynamics.json")
    more = ["--archs", "balanced", "--recipes", "published", "--keep", "--seeds", "2", "--workers", "1"]
    dynamics.main(options_of(tmp_path, *more))
    after = utils.load_json(tmp_path / "dynamics.json")
    assert [path.name for path in (tmp_path / "dynamics").iterdir()] == ["published_balanced_seed1"]
    assert not [*(tmp_path / "figures").iterdir()]
    assert {name: run for name, run in after["runs"].items() if name in before["runs"]} == before["runs"]
    assert after["config"] == before["config"]
    both = ["published_balanced_seed0", "published_balanced_seed1"]
    assert [*after["record"]["within_each_run"]] == [*after["record"]["first_of_each_run"]] == both
    assert after["record"]["within"] == before["record"]["within"]
    with pytest.raises(utils.InputError, match="its results have epochs balanced 3, not 4; leave out --keep"):
        dynamics.main(options_of(tmp_path, *more, "--epochs-balanced", "4"))


@needs_proc
def test_finished_runs_are_used_again_or_refused(folder, monkeypatch):
    """Nothing is trained anew, the data are not even loaded, and a run of other options is never destroyed."""
    monkeypatch.setattr(runs.dataset, "load", lambda *args: pytest.fail("needs no data"))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("dynamics/*/*")}
    dynamics.main(options_of(folder, "--archs", "initial"))
    for options, message in [
        (["--epochs-balanced", "4"], "the run there has epochs 3, not 4; give another --out-dir"),
        (["--evaluate-every", "2"], "this finished run has no evaluations at epoch 2"),
    ]:
        with pytest.raises(utils.InputError, match=message):
            dynamics.main(options_of(folder, *options))
    (folder / "dynamics" / "published_balanced_seed0" / "samples.pt").rename(folder / "samples.pt")
    with pytest.raises(utils.InputError, match=r"samples.pt: there is no such file"):
        dynamics.main(options_of(folder))
    (folder / "samples.pt").rename(folder / "dynamics" / "published_balanced_seed0" / "samples.pt")
    (folder / "dynamics.json").rename(folder / "good.json")
    for text in "", "[]", "{", "\0":
        (folder / "dynamics.json").write_text(text)
        with pytest.raises(utils.InputError, match=r"dynamics.json"):
            dynamics.main(options_of(folder))
    (folder / "good.json").rename(folder / "dynamics.json")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("dynamics/*/*")} == before


def test_bands_hold_the_stated_share_of_single_batches():
    """Of normal numbers the band of 95 % is that of 1.96 standard deviations, and so many others lie in it."""
    torch.manual_seed(0)
    histories = [torch.randn(200_000, 2) for _ in range(2)]
    middles, low, median, high = plots.loss_bands(histories, 0)
    assert len(middles) == plots.WINDOWS
    assert middles[:2].tolist() == [500, 1500]
    assert low.mean().item() == pytest.approx(-1.96, abs=0.02)
    assert high.mean().item() == pytest.approx(1.96, abs=0.02)
    assert median.mean().item() == pytest.approx(0, abs=0.01)

    steps, names = torch.arange(0, 200_000, 400), ("d_loss", "g_loss")
    record = {"d_loss": (steps, torch.randn(500)), "g_loss": (steps, torch.full((500,), 5.0))}
    found = dynamics.compare_record(record, dict(zip(names, histories, strict=True)))
    assert found["share"]["d_loss"] == pytest.approx(0.95, abs=0.03)
    assert found["within"]["g_loss"] == 0
    assert found["losses"] == 500
    assert found["within_each_run"].keys() == {*names}
    assert found["first"] == {"d_loss": record["d_loss"][1][:24].mean().item(), "g_loss": 5}
    at_steps = histories[1][: 24 * 400 : 400, 0].mean().item()
    assert found["first_of_each_run"]["g_loss"]["d_loss"] == pytest.approx(at_steps)


def test_the_record_is_the_report_s():
    """The 469 losses printed every 400 of 200 x 938 batches; in a shorter run those of its epochs."""
    record = dynamics.load_record(torch.zeros(200 * 938, 6), 200)
    steps, values = record["d_loss"]
    assert len(steps) == len(values) == len(record["g_loss"][1]) == 469
    assert steps.tolist() == pytest.approx(list(range(0, 200 * 938, 400)), rel=1e-6)
    assert values[:3].tolist() == pytest.approx([0.6698, 0.5497, 0.5383])
    assert values[-94:].mean().item() == pytest.approx(0.685, abs=1e-3)  # its last 40 epochs
    short, _ = dynamics.load_record(torch.zeros(2 * 469, 6), 2)["g_loss"]  # batches of 128
    assert short.tolist() == pytest.approx([0, 200, 400, 600, 800])


def test_the_foot_of_a_figure_tells_of_left_out_digits():
    assert plots.describe_digits({"dataset": "mnist", "limit": 6000}) == "MNIST, the first 6,000 images"
    assert plots.describe_digits({"dataset": "mnist", "limit": 0}) == "MNIST"
