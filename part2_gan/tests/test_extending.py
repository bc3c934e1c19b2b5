"""The code one edits is the code that runs: other networks and losses, in a copy of the folder."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import PART, TYPESET, fork

import utils

RUN = [*TYPESET, "--limit", "200", "--name", "run"]

# A convolutional generator instead of gan.py's.
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


def start(copy, *commands):
    """Run scripts of a copy, ("train", options), by its own files alone, in a process of their own."""

    def run():
        for name, module in [*sys.modules.items()]:
            own = Path(getattr(module, "__file__", None) or "/").parent == PART
            if own and name != "typeset":  # which has drawn its glyphs already
                del sys.modules[name]
        sys.path[:] = [str(copy), *(path for path in sys.path if path != str(PART))]
        for script, options in commands:
            __import__(script).main([str(word) for word in options])

    process = fork(run)
    process.join(200)
    assert process.exitcode == 0


def test_a_convolutional_generator(copy, trained):
    """It trains, goes on after a stop, draws samples, and is evaluated; each result lies beside the copy."""
    text = (copy / "gan.py").read_text()
    begin, end = text.index("class Generator"), text.index("class Discriminator")
    (copy / "gan.py").write_text(text[:begin] + CONVOLUTIONAL + text[end:])
    results = copy.parent / "results" / "part2_gan" / "typeset"
    run, checkpoint = results / "run", results / "run" / "checkpoint.pt"
    start(copy, ("train", [*RUN, "--epochs", "2", "--ema", "0.9"]))
    assert utils.load_checkpoint(checkpoint, "gan")["generator"]["first.weight"].shape == (32 * 7 * 7, 100)
    assert utils.load_tensors(run / "samples.pt", "samples")["samples"][2].shape == (25, 784)

    (run / "result.json").unlink()  # as if stopped before its end
    shutil.copy(trained / "classifier.pt", results)
    evaluated = [*TYPESET, "--limit", "500", "--samples", "500", "--checkpoint", checkpoint, "--name", "run"]
    start(copy, ("train", [*RUN, "--epochs", "2", "--ema", "0.9", "--resume"]), ("evaluate", evaluated))
    assert (run / "result.json").exists()
    assert utils.load_json(results / "evaluate.json", "run")["run"]["frechet_distance"] > 0


def test_an_edit_of_a_loss_or_an_activation_takes_effect(copy):
    """Three runs by the same command: as it stands, with the hinge loss for D, without a slope in LeakyReLU."""
    text, weights = (copy / "gan.py").read_text(), []
    hinge = "    return (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()) / 2\n\n\n"
    begin, end = text.index("    real_loss = F.softplus"), text.index("def generator_loss")
    for edited in text, text[:begin] + hinge + text[end:], text.replace("SLOPE = 0.2", "SLOPE = 0.0"):
        (copy / "gan.py").write_text(edited)
        start(copy, ("train", [*RUN, "--epochs", "1", "--restart"]))
        path = copy.parent / "results" / "part2_gan" / "typeset" / "run" / "checkpoint.pt"
        weights.append(utils.load_checkpoint(path, "gan")["discriminator"]["layers.0.weight"])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
