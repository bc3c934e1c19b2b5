"""What is read is what runs: other networks and losses, each by an edit of gan.py in a copy of this folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PART = Path(__file__).resolve().parent.parent
DATA = ["--dataset", "typeset", "--threads", "1"]
RUN = [*DATA, "--limit", "300", "--name", "run"]

# The README's own words for a convolutional generator.
CONVOLUTIONAL = """class Generator(nn.Module):
    def __init__(self, kind="written", latent_dim=LATENT_DIM, bn_eps=1e-5):
        super().__init__()
        self.first = nn.Linear(latent_dim, 32 * 7 * 7)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(32, eps=bn_eps), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16, eps=bn_eps), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
        )

    def forward(self, z):
        return self.layers(self.first(z).view(-1, 32, 7, 7)).flatten(1)


"""


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(PART, tmp_path / "part2_gan", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return tmp_path / "part2_gan"


def start(script, *options):
    """Run a script of a copy by its own files alone."""
    command = [sys.executable, script, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}, cwd="/")
    assert done.returncode == 0, done.stderr[-2000:]


def results_of(copy):
    return copy.parent / "results" / "part2_gan" / "typeset"


def weights_of(copy):
    return torch.load(results_of(copy) / "run" / "checkpoint.pt", weights_only=True)


def test_a_convolutional_generator(copy):
    """It trains, goes on after a stop, draws samples, and is evaluated."""
    text = (copy / "gan.py").read_text()
    begin, end = text.index("class Generator"), text.index("class Discriminator")
    (copy / "gan.py").write_text(text[:begin] + CONVOLUTIONAL + text[end:])
    start(copy / "classifier.py", *DATA, "--limit", "1000", "--epochs", "1")
    start(copy / "train.py", *RUN, "--epochs", "2", "--ema", "0.9")
    assert weights_of(copy)["generator"]["first.weight"].shape == (32 * 7 * 7, 100)
    samples = torch.load(results_of(copy) / "run" / "samples.pt", weights_only=True)["samples"]
    assert samples[2].shape == (25, 784)

    (results_of(copy) / "run" / "result.json").unlink()  # as if stopped before its end
    start(copy / "train.py", *RUN, "--epochs", "2", "--ema", "0.9", "--resume")
    assert (results_of(copy) / "run" / "result.json").exists()
    checkpoint = results_of(copy) / "run" / "checkpoint.pt"
    start(copy / "evaluate.py", *DATA, "--limit", "500", "--checkpoint", checkpoint, "--name", "run")
    assert json.loads((results_of(copy) / "evaluate.json").read_text())["run"]["frechet_distance"] > 0


def test_an_edit_of_a_loss_or_an_activation_takes_effect(copy):
    """Three runs by the same command: as it stands, with the hinge loss for D, without a slope in LeakyReLU."""
    text, found = (copy / "gan.py").read_text(), []
    hinge = "    return (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()) / 2\n\n\n"
    begin, end = text.index("    real_loss = F.softplus"), text.index("def generator_loss")
    for edited in text, text[:begin] + hinge + text[end:], text.replace("SLOPE = 0.2", "SLOPE = 0.0"):
        (copy / "gan.py").write_text(edited)
        start(copy / "train.py", *RUN, "--epochs", "1", "--restart")
        found.append(weights_of(copy)["discriminator"]["layers.0.weight"])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
