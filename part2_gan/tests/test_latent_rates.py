"""Rates in the latent space: planted networks whose every class is known, and the scripts end to end."""

import pytest
import torch

import metrics
import train
import utils
from classifier import CNN
from gan import Generator, sample
from studies import latent_rates


class Planted(torch.nn.Module):
    """G of a world whose images are their latents: the first 100 pixels."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, z):
        return torch.nn.functional.pad(z * self.scale, (0, 684))


class Rounding(torch.nn.Module):
    """Classifies as round(z_0), below 0 and above 9 as 0; z_1 = 1 makes it unsure. Its features are z_0 and z_1."""

    suffix, title = "", "a planted classifier"

    def features(self, images):
        return images[:, :2]

    def out(self, features):
        digit = features[:, 0].round()
        digit = digit.where((digit >= 0) & (digit <= 9), 0).long()
        return torch.nn.functional.one_hot(digit, 10) * torch.where(features[:, 1:] > 0.4, 1.0, 50.0)

    def forward(self, images):
        return self.out(self.features(images))


def line_of_digits(count=40):
    """Groups in which every latent of digit d is d times the first unit vector."""
    return {digit: torch.eye(100)[:1].repeat(count, 1) * digit for digit in range(10)}


def test_wilson_against_published_intervals():
    """Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3."""
    for count, total, low, high in (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718):
        assert metrics.wilson(count, total) == pytest.approx((low, high), abs=5e-5)
        assert metrics.wilson(total - count, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert metrics.wilson(0, 20) == (0, pytest.approx(0.1611, abs=5e-5))
    assert metrics.wilson(20, 20)[1] == 1


def test_t_interval_of_a_textbook_sample():
    """Student 1908: the additional hours of sleep by hyoscyamine, n = 10."""
    hours = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    assert metrics.t_interval(hours) == pytest.approx([-0.530, 2.030], abs=1e-3)
    assert metrics.t_interval([1.0]) is None


def test_rates_of_a_known_world():
    """z_7 - z_1 has the image of a 6 there, z_6 + (z_7 - z_1) that of a 12, which counts as 0."""
    source = torch.Generator().manual_seed(0)
    found = latent_rates.measure(Planted(), Rounding(), line_of_digits(), source, 40)
    line = found["paths"]["line"]
    assert (line["passes_1"], line["middle_1"]) == (0, 0)
    assert line["length_over_distance"] == pytest.approx(1, abs=1e-3)
    assert line["largest_step"] == pytest.approx(0.05, abs=1e-3)
    assert found["middle_1_between_others"] == pytest.approx(1 / len(latent_rates.OTHERS))  # of 0 and 2 alone
    assert found["length_over_distance_of_others"] == pytest.approx([1] * len(latent_rates.OTHERS), abs=1e-3)
    sums = found["sums"]["one"]
    classes = {kind: max(range(10), key=sums[kind].__getitem__) for kind in ("roof", "sum", "one_plus_roof")}
    assert classes == {"roof": 6, "sum": 0, "one_plus_roof": 7}
    assert sums["equation_10"][0] == 1
    assert sums["random"][6] > 0.2  # most of a random direction is across the line of digits
    assert found["strip_9"] == 1  # from 13.2 down to 6
    assert found["shift_to_6"] == 1
    assert found["shift_length"] == pytest.approx(1)


def test_random_directions_are_as_long_and_point_elsewhere():
    vectors = torch.randn(50, 100)
    random = latent_rates.random_like(vectors, torch.Generator().manual_seed(0))
    assert torch.allclose(random.norm(dim=1), vectors.norm(dim=1))
    assert torch.cosine_similarity(random, vectors).abs().max() < 0.5


def test_recipes_of_generators():
    for name in "written", "published":
        config = train.config_of(train.parse_args(["--recipe", name, "--seed", "5", "--epochs", "7"]))
        assert latent_rates.recipe_of(config) == name
        changes = {"arch": "initial"}, {"bn_eps": 0.1}, {"ema": 0.999}, {"scheme": "g-first"}, {"loss": "minimax"}
        for change in (*changes, {"lr": 0.01}, {"dropout": 0.0}):
            assert latent_rates.recipe_of(config | change) == "other"


def test_draw_uses_every_latent_equally_often():
    z = torch.arange(5.0).reshape(5, 1)
    drawn = latent_rates.draw(z, 15, torch.Generator().manual_seed(0))
    assert drawn.flatten().long().bincount().tolist() == [3] * 5
    assert latent_rates.draw(z, 4, torch.Generator(), mean_of=5).flatten().tolist() == [2.0] * 4


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Two untrained generators, mirror images, and a classifier that tells their images apart into all ten digits."""
    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(0)
    model, generator = CNN().eval(), Generator().eval()
    with torch.no_grad():
        logits = model(sample(generator, torch.randn(1000, 100)))
        model.out.weight /= logits.std(0).unsqueeze(1)
        model.out.bias.copy_((model.out.bias - logits.mean(0)) / logits.std(0))
    for number in 0, 1:
        generator.layers[0].weight.data *= -1  # the second draws of -z what the first draws of z
        config = {"arch": "balanced", "bn_eps": 1e-5, "seed": number, "epochs": 0, "dataset": "typeset"}
        state = {"kind": "gan", "config": config, "epoch": 0, "generator": generator.state_dict()}
        (folder / f"run{number}").mkdir()
        utils.save_checkpoint(folder / f"run{number}" / "checkpoint.pt", state)
    result = {"dataset": "typeset", "test_accuracy": 0.1}
    utils.save_checkpoint(
        folder / "classifier.pt", {"kind": "classifier", "model": model.state_dict(), "result": result}
    )
    return folder


def test_end_to_end(untrained, tmp_path, monkeypatch, capsys):
    """Two generators; alone, the second has the same numbers, and the first, where it draws no 7, has no rates."""
    monkeypatch.setattr(latent_rates, "SAMPLES", 200)
    monkeypatch.setattr(latent_rates, "NEIGHBOURS", 50)

    def measure(*numbers, confidence, options=()):
        words = ["--classifier", str(untrained / "classifier.pt"), "--mlp", str(untrained / "classifier.pt")]
        words += ["--dataset", "typeset", "--limit", "300", "--tries", "2000", "--count", "20", "--threads", "1"]
        words += ["--out-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures"), "--confidence", confidence]
        checkpoints = [str(untrained / f"run{number}" / "checkpoint.pt") for number in numbers]
        latent_rates.main([*words, "--checkpoints", *checkpoints, *options])
        return utils.load_json(tmp_path / "latent_rates.json", "generators", "summary")

    both, alone = measure(0, 1, confidence="0"), measure(1, confidence="0")
    assert list(both["generators"]) == ["run0", "run1"]
    assert both["generators"]["run1"] == alone["generators"]["run1"]
    added = measure(0, confidence="0", options=["--keep"])
    assert (added["generators"], added["summary"]) == (both["generators"], both["summary"])
    with pytest.raises(utils.InputError, match=r"its results have confidence 0.0, not 1.0; leave out --keep"):
        measure(0, confidence="1", options=["--keep"])
    assert [row["n"] for row in both["summary"]["written"]] == [2] * len(latent_rates.ROWS)
    assert (tmp_path / "figures" / "latent_rates.png").stat().st_size < 400_000
    assert "without_rates" in measure(0, confidence="1")["generators"]["run0"]
    assert capsys.readouterr().out.count("no rates: ") == 1
