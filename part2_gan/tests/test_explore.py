"""The page for the browser: its networks are torch's, in Python and in a headless Chromium where there is one."""

import json
import re
import shutil
import subprocess

import pytest
import torch
from conftest import RESULTS
from torch import nn

import explore
import files
from classifier import load_classifier
from gan import LATENT_DIM, PIXELS, Generator
from latents import load_generator

CHECKPOINT = RESULTS / "generator_best.pt"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync", "--dump-dom"]
DRIVE = """<script>  // uses the controls and counts; at the end the body is a list of what the page said
const notes = [], said = (part, k) => notes.push(byId(part).querySelectorAll("figcaption")[k].innerText);
function change(id, value) {
  byId(id).value = value;
  byId(id).dispatchEvent(new Event("input", { bubbles: true }));
}
function use() {
  if (byId("count").disabled) return setTimeout(use, 100);
  change("digit", 8); said("samples", 15);
  change("from", 2); change("to", 5); said("strip", 0); said("strip", 10);
  change("alpha", 0.5); said("point", 0);
  change("way", "on the sphere"); said("point", 0);
  change("b", 3); change("s", 0); said("terms", 0); said("terms", 1); said("terms", 3);
  document.querySelector("section button").click(); said("terms", 1);
  byId("count").click();
  finish();
}
function finish() {
  if (!byId("sums").textContent.includes("of 1000")) return setTimeout(finish, 100);
  notes.push(byId("counted").textContent, [...document.querySelectorAll("#chart span")].map(bar => bar.innerText));
  document.body.textContent = JSON.stringify(notes);
}
use();
</script></body>"""
in_browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """explore_gan.html of the generator in the repository."""
    folder = tmp_path_factory.mktemp("page")
    explore.main(["--checkpoint", str(CHECKPOINT), "--figures-dir", str(folder)])
    return folder / "explore_gan.html"


def dump(page, folder, *options, at=""):
    """The body of a page as Chromium shows it."""
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'profile'}", *options, f"{page.as_uri()}{at}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return re.search("<body>(.*)</body>", done.stdout, re.DOTALL)[1]


@pytest.mark.parametrize("kind", ["text", "code"])
def test_layers_with_batchnorm_in_them_are_the_generator(kind):
    torch.manual_seed(0)
    generator = Generator(kind, bn_eps=0.8).eval()
    for norm in (module for module in generator.modules() if isinstance(module, nn.BatchNorm1d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
    layers, z = explore.linear_layers(generator), torch.randn(50, LATENT_DIM)
    assert [len(bias) for _, bias in layers] == [128, 256, 512, 1024, PIXELS]
    with torch.no_grad():
        images = explore.forward(layers, 0.2 if kind == "text" else 0, z).tanh()
        torch.testing.assert_close(images, generator(z), atol=0.05, rtol=0)  # an error of BatchNorm's place is 1


def test_page_is_small_and_whole_and_keeps_the_classes(page):
    content = page.read_text(encoding="utf-8")
    assert len(content) < 3e6
    assert not re.search("https?:|src=|@import|url\\(", content)
    generator, options = load_generator(CHECKPOINT, "cpu")
    classifier, _ = load_classifier(RESULTS / "classifier_mlp.pt", "cpu")
    _, same = explore.page_data(generator, 0.2 if options["generator"] == "text" else 0, classifier)
    assert same >= 0.996


@in_browser
def test_browser_computes_what_torch_does(page, tmp_path):
    rows = json.loads(dump(page, tmp_path, at="#check"))
    assert len(rows) == explore.CHECKED
    assert all(row["same"] for row in rows)
    assert max(row["image"] for row in rows) < 0.2  # of a single pixel: the rounding
    assert max(row["probability"] for row in rows) < 0.05


@in_browser
def test_every_control_changes_what_it_says(page, tmp_path):
    (tmp_path / "driven.html").write_text(page.read_text(encoding="utf-8").replace("</body>", DRIVE), encoding="utf-8")
    notes = json.loads(dump(tmp_path / "driven.html", tmp_path, "--virtual-time-budget=600000"))
    digits = [note[0] for note in notes[:-2]]
    assert digits[:3] == ["8", "2", "5"]
    straight, sphere = (float(re.search(r"length ([\d.]+)", note)[1]) for note in notes[3:5])
    assert sphere / straight == pytest.approx(2**0.5, abs=0.15)  # of two directions at about 90 degrees
    assert notes[5] == notes[7]  # with s = 0 the sum is its first term
    assert (digits[5], digits[6], digits[8]) == ("6", "3", "7")
    assert notes[9] == "6 + 1.00 (7 − 1)"
    for kind in 0, 1:
        assert sum(map(int, notes[10][kind::2])) == pytest.approx(100, abs=6)  # rounded percents


def test_files_of_another_kind_are_named(tmp_path):
    mlp, generator = RESULTS / "classifier_mlp.pt", CHECKPOINT
    for checkpoint, classifier, data, text in (
        (mlp, mlp, "mnist", "classifier_mlp.pt: a file of kind 'gan' is needed"),
        (generator, generator, "mnist", "a file of kind 'classifier' is needed"),
        (generator, RESULTS / "classifier.pt", "mnist", "classifier.pt: the page needs an MLP"),
        (generator, mlp, "typeset", "was trained on mnist, not on typeset"),
    ):
        options = ["--checkpoint", str(checkpoint), "--classifier", str(classifier), "--dataset", data]
        with pytest.raises(files.InputError, match=re.escape(text)):
            explore.main([*options, "--figures-dir", str(tmp_path)])
    assert not (tmp_path / "explore_gan.html").exists()
