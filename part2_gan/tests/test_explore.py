"""The window's callbacks, without a window; the window itself where there is a virtual display."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import PART

import explore
import latents
import utils
from classifier import load_classifier
from gan import sample


def snapshot(folder, *options):
    """What main draws with the networks in the repository, on one thread."""
    folders = ["--out-dir", str(folder), "--figures-dir", str(folder), "--threads", "1"]
    return explore.main(["--snapshot", str(folder / "explore.png"), *options, *folders])


def shown(explorer):
    """The images and bars of a figure: {panel: (pixels of the image, heights of the ten bars)}."""
    found = {}
    for name, (ax, _, bars) in explorer.panels.items():
        found[name] = torch.tensor(ax.images[0].get_array()), [bar.get_height() for bar in bars]
    return found


def test_sliders_and_buttons_draw_what_they_say(tmp_path):
    explorer = snapshot(tmp_path, "--alpha", "0.25", "--digit", "3")
    assert (tmp_path / "explore.png").read_bytes().startswith(b"\x89PNG")
    generator, _ = latents.load_generator(utils.RESULTS / "generator.pt", "cpu")
    classifier, _ = load_classifier(utils.RESULTS / "classifier.pt", "cpu")

    def check(path, total):
        images = sample(generator, torch.stack([path, total]))
        shares = classifier(images).softmax(1)
        for image, share, (pixels, bars) in zip(images, shares, shown(explorer).values(), strict=True):
            torch.testing.assert_close(pixels, (image.reshape(28, 28) + 1) / 2, atol=1e-5, rtol=0)
            assert bars == pytest.approx(share.tolist(), abs=1e-5)

    with torch.no_grad():
        z = {digit: rows[0] for digit, rows in latents.find_latents(generator, classifier, range(10), 0).items()}
        check(0.75 * z[7] + 0.25 * z[6], z[3] + z[7] - z[1])
        for name, value in {"from": 2, "to": 5, "alpha": 0.9, "digit": 6, "strength": -0.5}.items():
            explorer.sliders[name].set_val(value)
        check(0.1 * z[2] + 0.9 * z[5], z[6] - 0.5 * (z[7] - z[1]))
        explorer.radio.set_active(1)
        sphere = latents.slerp(z[2][None], z[5][None], torch.tensor([0.9]))[0, 0]
        check(sphere, latents.on_sphere(z[6] - 0.5 * (z[7] - z[1])))
        explorer.renew(1)
        z = {digit: rows[0] for digit, rows in latents.find_latents(generator, classifier, range(10), 1).items()}
        explorer.radio.set_active(0)
        check(0.1 * z[2] + 0.9 * z[5], z[6] - 0.5 * (z[7] - z[1]))


def test_without_a_display_one_line_names_the_snapshot(monkeypatch):
    monkeypatch.setattr(explore, "BACKENDS", ("no-such-backend-1", "no-such-backend-2"))
    monkeypatch.setattr(utils.plt, "switch_backend", lambda name: (_ for _ in ()).throw(ImportError(f"no {name}")))
    with pytest.raises(utils.InputError, match=r"no-such-backend-2.*--snapshot FILE.png"):
        explore.main([])


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no virtual display here: xvfb-run is not installed")
def test_window_under_a_virtual_display():
    pytest.importorskip("tkinter", reason="TkAgg needs tkinter, which this Python lacks")
    code = "import explore, utils; utils.plt.show = lambda: utils.plt.pause(0.5); explore.main([])"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = ["xvfb-run", "-a", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PART, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
