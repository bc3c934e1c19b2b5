"""The scripts as their users run them: study, classifier, strips, and what they refuse."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

import classifier as reader
import dataset
import latents
import utils
from gan import Generator

PART = Path(__file__).resolve().parent.parent


def test_classifier_reads(trained):
    result = json.loads((trained / "classifier.json").read_text())
    assert result["test_accuracy"] > 0.85
    model, saved = reader.load_classifier(trained / "classifier.pt", "cpu")
    assert saved["test_accuracy"] == result["test_accuracy"]
    images, labels = dataset.typeset(4000, train=False)
    digits, confidence = reader.read(model, dataset.scale(images))
    assert (digits == labels).float().mean().item() == pytest.approx(result["test_accuracy"], abs=1e-3)
    assert 0.1 <= confidence.min() <= confidence.max() <= 1


def biased(model, digit):
    """A classifier that leans so far to one digit that it reads it in everything."""
    torch.nn.init.zeros_(model.out.weight)
    torch.nn.init.zeros_(model.out.bias)
    model.out.bias.data[digit] = 20
    return model


def test_latents_are_what_the_classifier_reads_in_the_order_of_the_seed(trained):
    generator, _ = latents.load_generator(trained / "generator.pt", "cpu")
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
    generator, _ = latents.load_generator(trained / "generator.pt", "cpu")
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
    ("dynamics.py", "--workers", "0"),
    ("interpolate.py", "--pairs", "7to6"),
    ("interpolate.py", "--steps", "1"),
    ("interpolate.py", "--checkpoint", "nowhere.pt"),
    ("arithmetic.py", "--strength", "nan"),
    ("classifier.py", "--epochs", "-3"),
    ("evaluate.py", "--samples", "100"),
    ("evaluate.py", "--name", "a/b"),
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


def test_damaged_checkpoints_are_named(trained, tmp_path):
    whole = (trained / "generator.pt").read_bytes()
    files = {"cut.pt": whole[:1000], "empty.pt": b"", "text.pt": b"not a checkpoint"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(utils.InputError, match=name):
            latents.load_generator(tmp_path / name, "cpu")
    with pytest.raises(utils.InputError, match="'gan' is needed, this file holds 'classifier'"):
        latents.load_generator(trained / "classifier.pt", "cpu")


def run_here(monkeypatch, name, *options):
    """Run a script's main in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
    importlib.import_module(Path(name).stem).main()
