"""The scripts as their users run them: study, classifier, strips, and what they refuse."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import classifier as reader
import dataset
import study
import train
import utils
from gan import Generator

PART = Path(__file__).resolve().parent.parent
ELSEWHERE = {"epochs": 7}  # a run that study.json knows from another machine


def script(name, *options, folder=None):
    """Run one of the part's scripts in a process of its own."""
    command = [sys.executable, str(PART / name), *map(str, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def reader_of(folder):
    """Options of study.py that go with the fixture's classifier."""
    return ["--batch-size", "32", "--classifier", str(folder / "classifier.pt")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small study and a classifier, made by the scripts themselves on stand-in digits."""
    folder = tmp_path_factory.mktemp("trained")
    common = ("--dataset", "typeset", "--limit", "4000", "--out-dir", folder, "--figures-dir", folder / "figures")
    study_options = *common, "--epochs-initial", "1", "--epochs-balanced", "3", *reader_of(folder)
    (folder / "study.json").write_text(json.dumps({"runs": {"balanced_simultaneous": ELSEWHERE}}))
    outputs = [
        script("classifier.py", *common, "--epochs", "2"),
        script("study.py", *study_options),
        script("study.py", *study_options, "--runs", "initial_alternating", "initial_mended"),
    ]
    assert [output.returncode for output in outputs] == [0, 0, 0], outputs[-1].stderr
    return folder


def test_classifier_reads(trained):
    result = json.loads((trained / "classifier.json").read_text())
    assert result["test_accuracy"] > 0.85
    model, saved = reader.load_classifier(trained / "classifier.pt", "cpu")
    assert saved["test_accuracy"] == result["test_accuracy"]
    images, labels = dataset.typeset(4000, train=False)
    digits, confidence = reader.read(model, dataset.scale(images))
    assert (digits == labels).float().mean().item() == pytest.approx(result["test_accuracy"], abs=1e-3)
    assert 0.1 <= confidence.min() <= confidence.max() <= 1


def test_study_leaves_figures_and_numbers(trained):
    names = ["fig2_initial_losses", "fig3_initial_samples", "fig4_balanced_losses", "fig5_progression", "slips"]
    for name in names:
        assert (trained / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    runs = json.loads((trained / "study.json").read_text())["runs"]
    assert runs.pop("balanced_simultaneous") == ELSEWHERE  # its folder is not there
    assert {
        name: (run["config"]["arch"], run["config"]["bn_eps"], run["config"]["scheme"], run["epochs"])
        for name, run in runs.items()
    } == {
        "balanced": ("balanced", 0.8, "alternating", 3),
        "initial": ("initial", 0.8, "simultaneous", 1),
        "initial_alternating": ("initial", 0.8, "alternating", 1),
        "initial_mended": ("initial", 1e-5, "alternating", 1),
    }
    assert (trained / "figures" / "training.gif").read_bytes().startswith(b"GIF89a")
    assert len(runs["balanced"]["by_epoch"]["d_loss"]) == 3


def test_study_goes_on_without_training_again(trained):
    before = (trained / "balanced" / "checkpoint.pt").stat().st_mtime_ns
    common = ["--dataset", "typeset", "--limit", "4000", "--out-dir", str(trained), *reader_of(trained)]
    options = study.plan(study.parse_args([*common, "--epochs-initial", "1", "--epochs-balanced", "3"]))
    result = study.run_one(options["balanced"], 0)
    assert result == json.loads((trained / "balanced" / "result.json").read_text())
    assert (trained / "balanced" / "checkpoint.pt").stat().st_mtime_ns == before
    options = study.plan(study.parse_args([*common, "--epochs-initial", "1", "--epochs-balanced", "2"]))
    with pytest.raises(utils.InputError, match="--epochs 2 contradicts"):
        study.run_one(options["balanced"], 0)


def test_exported_generator_is_the_trained_one_in_half_precision(trained):
    exported, config = train.load_generator(trained / "generator.pt", "cpu")
    whole, _ = train.load_generator(trained / "balanced" / "checkpoint.pt", "cpu")
    z = torch.randn(20, 100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (exported(z) - whole(z)).abs().mean() < 5e-3
    assert config["arch"] == "balanced"
    assert (trained / "generator.pt").stat().st_size < 3.2e6


def biased(model, digit):
    """A classifier that leans so far to one digit that it reads it in everything."""
    torch.nn.init.zeros_(model.out.weight)
    torch.nn.init.zeros_(model.out.bias)
    model.out.bias.data[digit] = 20
    return model


def test_latents_are_what_the_classifier_reads_in_the_order_of_the_seed(trained):
    generator, _ = train.load_generator(trained / "generator.pt", "cpu")
    model, _ = reader.load_classifier(trained / "classifier.pt", "cpu")
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(3))
    digits, confidence = reader.read(model, reader.sample(generator, z))
    wanted = digits.bincount().argmax().item()
    expected = z[(digits == wanted) & (confidence >= 0.3)][:2]
    found = reader.find_latents(generator, model, [wanted], seed=3, count=2, confidence=0.3)
    torch.testing.assert_close(found[wanted], expected)


def test_a_digit_that_is_never_read_is_an_error_and_not_another_digit():
    with pytest.raises(utils.InputError, match=r"\[0\]"):
        reader.find_latents(Generator().eval(), biased(reader.Classifier().eval(), 4), [4, 0], seed=0, tries=4000)


def strip_options(folder, networks):
    return (
        *("--dataset", "typeset", "--out-dir", folder, "--figures-dir", folder, "--confidence", "0"),
        *("--checkpoint", networks / "generator.pt", "--classifier", networks / "classifier.pt"),
    )


def test_interpolation_reads_every_image(trained, tmp_path):
    generator, _ = train.load_generator(trained / "generator.pt", "cpu")
    model, _ = reader.load_classifier(trained / "classifier.pt", "cpu")
    z = torch.randn(2000, 100, generator=torch.Generator().manual_seed(0))
    counts = reader.read(model, reader.sample(generator, z))[0].bincount(minlength=10)
    first, second = counts.topk(2).indices.tolist()
    done = script("interpolate.py", "--pairs", f"{first}-{second}", *strip_options(tmp_path, trained))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fig6_interpolation.png").exists()
    result = json.loads((tmp_path / "interpolate.json").read_text())
    readings = result["pairs"][f"{first} to {second}"]
    assert [readings[0]["digit"], readings[-1]["digit"]] == [first, second]
    assert [reading["alpha"] for reading in readings] == pytest.approx([i / 9 for i in range(10)])


def test_equations_8_and_9(trained, tmp_path, monkeypatch):
    """The walks start where equations (8) and (9) say; every latent is handed in, none is searched."""
    import arithmetic

    z = {digit: torch.full((1, 100), float(digit)) for digit in (1, 6, 7)}
    starts = []
    monkeypatch.setattr(arithmetic, "find_latents", lambda *args, **kwargs: z)
    monkeypatch.setattr(arithmetic, "draw_strips", lambda *args: None)

    def strip(generator, model, start, end, steps):
        starts.append((start[0].item(), end[0].item()))
        return torch.zeros(steps, 784), [{"alpha": 0.0, "digit": 0, "confidence": 1.0}] * steps

    monkeypatch.setattr(arithmetic, "strip", strip)
    monkeypatch.setattr(sys, "argv", ["arithmetic.py", *map(str, strip_options(tmp_path, trained))])
    arithmetic.main()
    assert starts == [(7 - 1, 6), (pytest.approx(6 + 1.2 * (7 - 1)), 6)]


BAD = [
    ("train.py", "--epochs", "0"),
    ("train.py", "--epochs", "many"),
    ("train.py", "--lr", "nan"),
    ("train.py", "--lr", "-1"),
    ("train.py", "--lr", "inf"),
    ("train.py", "--bn-eps", "0"),
    ("train.py", "--beta1", "1"),
    ("train.py", "--arch", "huge"),
    ("train.py", "--dataset", "cifar"),
    ("train.py", "--seed", "-1"),
    ("train.py", "--batch-size", "1"),
    ("train.py", "--epoch", "3"),
    ("train.py", "--dataset", "typeset", "--limit", "50", "--batch-size", "64"),
    ("train.py", "--resume"),
    ("study.py", "--workers", "0"),
    ("interpolate.py", "--pairs", "7to6"),
    ("interpolate.py", "--steps", "1"),
    ("interpolate.py", "--checkpoint", "nowhere.pt"),
    ("arithmetic.py", "--strength", "nan"),
    ("classifier.py", "--epochs", "-3"),
    ("evaluate.py", "--samples", "100"),
    ("evaluate.py", "--name", "a/b"),
    ("at_a_glance.py",),
    ("at_a_glance.py", "--compare", "nowhere.json"),
    ("interpolate_rates.py", "--pairs", "9"),
    ("interpolate_rates.py", "--checkpoints", "nowhere.pt"),
    ("arithmetic_rates.py", "--checkpoints"),
    ("directions.py", "--confidence", "1.5"),
]


@pytest.mark.parametrize("command", BAD, ids=" ".join)
def test_bad_options_are_one_line_and_leave_nothing(command, tmp_path, monkeypatch, capsys):
    """In this process, which is quick; the test below shows that a real one is no different."""
    folders = ["--out-dir", str(tmp_path / "out"), "--figures-dir", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*command, *folders])
    with pytest.raises(SystemExit) as caught:
        utils.run(importlib.import_module(Path(command[0]).stem).main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_bad_option_in_a_process(tmp_path):
    done = script("train.py", "--resume", "--out-dir", tmp_path / "out", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_damaged_checkpoints_are_named(trained, tmp_path):
    whole = (trained / "generator.pt").read_bytes()
    files = {"cut.pt": whole[:1000], "empty.pt": b"", "text.pt": b"not a checkpoint"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(utils.InputError, match=name):
            train.load_generator(tmp_path / name, "cpu")
    with pytest.raises(utils.InputError, match="'gan' is needed, this file holds 'classifier'"):
        train.load_generator(trained / "classifier.pt", "cpu")


def test_evaluate_tells_digits_from_noise(trained, tmp_path):
    """Training digits are near the floor by construction; a generator of three epochs is far above it."""
    options = [word for word in strip_options(tmp_path, trained) if word not in ("--confidence", "0")]
    done = script("evaluate.py", "--samples", "500", "--limit", "1000", *options)
    assert done.returncode == 0, done.stderr
    entry = json.loads((tmp_path / "evaluate.json").read_text())["balanced"]
    assert sum(entry["histogram"]) + entry["unsure"] == entry["samples"] == 500
    low, high = entry["frechet_distance_interval"]
    assert 3 * entry["floor"] < low < entry["frechet_distance"] < high
    assert entry["test_digits"]["score"] > entry["score"]
    assert entry["precision_recall"]["training_digits"]["recall"] > entry["precision_recall"]["samples"]["recall"]
    assert entry["neighbours"]["pixels"]["closer_share"] < 0.1
    assert entry["discriminator"] is None
    assert "the checkpoint holds none" in done.stdout
    assert (tmp_path / "nearest_neighbours.png").read_bytes().startswith(b"\x89PNG")


def run_here(monkeypatch, name, *options):
    """Run a script's main in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
    importlib.import_module(Path(name).stem).main()


def test_at_a_glance_with_and_without_part_1(trained, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(utils, "save_figure", lambda figure, *_: drawn.append(figure))
    monkeypatch.setattr(utils, "RESULTS", tmp_path / "part2_gan")  # no part 1 beside it
    options = "--dataset", "typeset", "--out-dir", trained, "--figures-dir", tmp_path
    run_here(monkeypatch, "at_a_glance.py", *options)
    runs = [
        {"cell": cell, "input_length": 3, "seed": seed, "accuracy": accuracy}
        for cell, accuracies in (("lstm", (1.0, 1.0, 0.9)), ("rnn", (0.2, 0.4, 1.0)))
        for seed, accuracy in enumerate(accuracies)
    ]
    (tmp_path / "compare.json").write_text(json.dumps({"runs": runs}))
    run_here(monkeypatch, "at_a_glance.py", *options, "--compare", tmp_path / "compare.json")
    alone, both = (figure.axes for figure in drawn)
    assert (len(alone), len(both)) == (2, 3)
    assert [line.get_ydata()[0] for line in both[0].lines[:2]] == [1.0, 0.4]  # medians
    by_epoch = json.loads((trained / "study.json").read_text())["runs"]["balanced"]["by_epoch"]
    assert list(both[1].lines[2].get_ydata()) == by_epoch["g_loss"]


def missing(*args, **kwargs):
    raise dataset.Missing("MNIST is not there")


def test_evaluate_without_digits(trained, tmp_path, monkeypatch, capsys):
    """What the classifier's checkpoint knows of the test digits gives the same figures as the digits themselves."""
    options = ("--dataset", "typeset", "--samples", 500, "--limit", 4000, "--out-dir", tmp_path, "--threads", 1)
    networks = ("--checkpoint", trained / "balanced" / "checkpoint.pt", "--figures-dir", tmp_path)
    options += (*networks, "--classifier", tmp_path / "classifier.pt")
    whole = torch.load(trained / "classifier.pt", weights_only=True)
    bare = {name: whole[name] for name in ("kind", "model", "result")}
    utils.save_checkpoint(tmp_path / "classifier.pt", bare)

    run_here(monkeypatch, "evaluate.py", *options, "--name", "digits")
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "load", missing)
        with pytest.raises(utils.InputError, match=r"MNIST is not there.*holds no measured test digits"):
            run_here(patch, "evaluate.py", *options)
    run_here(monkeypatch, "classifier.py", "--reference-only", *options[:2], *options[4:8])
    monkeypatch.setattr(dataset, "load", missing)
    capsys.readouterr()
    run_here(monkeypatch, "evaluate.py", *options, "--name", "no digits")
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert "D: not measured" in output.out

    renewed = torch.load(tmp_path / "classifier.pt", weights_only=True)
    assert renewed["result"] == bare["result"]
    assert all(torch.equal(renewed["model"][name], weights) for name, weights in bare["model"].items())
    known, unknown = json.loads((tmp_path / "evaluate.json").read_text()).values()
    for figure in "frechet_distance", "frechet_distance_interval", "score", "floor":
        assert unknown[figure] == pytest.approx(known[figure], rel=1e-4), figure
    assert unknown["histogram"] == known["histogram"]
    absent = ("precision_recall", "neighbours", "discriminator")
    assert [unknown[what] for what in absent] == [None, None, None]
    assert all(0 <= accuracy <= 1 for accuracy in known["discriminator"].values())


def test_accuracy_of_the_discriminator(trained, tmp_path):
    """One that calls everything real is right about all digits and no sample; it is judged in eval mode."""
    import evaluate

    checkpoint = torch.load(trained / "balanced" / "checkpoint.pt", weights_only=True)
    images = {"digits": (torch.rand(200, 784), True), "samples": (torch.rand(200, 784), False)}
    judged = evaluate.judge(trained / "balanced" / "checkpoint.pt", checkpoint["config"], images)
    assert judged == evaluate.judge(trained / "balanced" / "checkpoint.pt", checkpoint["config"], images)
    for weights in checkpoint["discriminator"].values():
        weights.zero_()
    *_, last_bias = checkpoint["discriminator"].values()
    last_bias.fill_(1)
    utils.save_checkpoint(tmp_path / "checkpoint.pt", checkpoint)
    assert evaluate.judge(tmp_path / "checkpoint.pt", checkpoint["config"], images) == {"digits": 1, "samples": 0}
