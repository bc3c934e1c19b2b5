"""explore.py: the page computes what torch computes, stands alone, and other files are refused in one line."""

import html
import json
import re
import shutil
import subprocess

import pytest
import torch

import explore
import files
from lstm import LSTM
from rnn import VanillaRNN

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync"


def save(path, cell="lstm", length=25, hidden_size=128, forget_bias=None):
    """A checkpoint as train.py writes it, of a network with weights large enough to have an opinion."""
    torch.manual_seed(0)
    model = {"lstm": LSTM, "rnn": VanillaRNN}[cell](hidden_size=hidden_size)
    with torch.no_grad():
        model.W_ph.weight *= 5
        if forget_bias is not None:
            model.W_fx.bias.fill_(forget_bias)
    options = {"cell": cell, "input_length": length, "hidden_size": hidden_size, "forget_bias": forget_bias}
    files.save(path, {"kind": "part1 run", "options": options, "model": model.state_dict()})


def write(folder, *options):
    """Run explore.py in `folder` and return the page's path."""
    explore.main(["--out-dir", str(folder), *options])
    return folder / "explore_lstm.html"


def check(page):
    """What the page says of itself, opened in a browser without a window: a dictionary for each network."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("there is no Chromium or Chrome here")
    command = [browser, *QUIET.split(), f"--user-data-dir={page.parent / 'profile'}", "--dump-dom"]
    dom = subprocess.run([*command, f"{page.as_uri()}#check"], capture_output=True, text=True, timeout=120).stdout
    return json.loads(html.unescape(re.search('<pre id="check">(.*?)</pre>', dom)[1]))


def test_page_computes_what_torch_computes(tmp_path):
    save(tmp_path / "lstm.pt")
    save(tmp_path / "lstm_open.pt", forget_bias=4)
    save(tmp_path / "rnn.pt", "rnn")
    page = write(tmp_path)
    assert page.stat().st_size < 500_000
    networks = check(page)
    assert [network["name"] for network in networks] == list(explore.NAMES.values())
    for network in networks:
        assert network["difference"] < 1e-3
        assert network["same"] == explore.CHECKS


@pytest.mark.parametrize(("cell", "length", "hidden_size"), [("rnn", 4, 7), ("lstm", 10, 30)])
def test_own_checkpoint(tmp_path, cell, length, hidden_size):
    save(tmp_path / "mine <script>.pt", cell, length, hidden_size)
    page = write(tmp_path, "--checkpoint", str(tmp_path / "mine <script>.pt"))
    assert "mine <script>" not in page.read_text(encoding="utf-8")
    (network,) = check(page)
    assert network["name"] == "mine <script>"
    assert network["difference"] < 1e-3


def test_page_stands_alone(tmp_path):
    template = (explore.utils.HERE / "explore.html").read_text(encoding="utf-8")
    assert template.count(explore.PLACEHOLDER) == 1
    assert not re.search(r"https?:|src=|href=|url\(|import|fetch", template)
    save(tmp_path / "lstm.pt", hidden_size=4)
    text = write(tmp_path).read_text(encoding="utf-8")
    data = json.loads(re.search('id="data">(.*)</script>', text)[1])
    assert [network["cell"] for network in data["networks"]] == ["lstm"]  # the other files are not there


def test_other_files_are_refused(tmp_path):
    save(path := tmp_path / "lstm.pt")
    checkpoint = files.load(path)
    files.save(path, checkpoint | {"options": checkpoint["options"] | {"cell": "gru"}})
    with pytest.raises(files.InputError, match="do not fit"):
        write(tmp_path)
    assert not (tmp_path / "explore_lstm.html").exists()
