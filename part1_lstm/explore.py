"""Write a page that shows a trained network at work in the browser: figures/explore_lstm.html.

    python explore.py                               the networks in the repository
    python explore.py --checkpoint checkpoint.pt    a run of your own, LSTM or RNN: train.py says where it lies

Reads OUT_DIR/lstm.pt and, where they are there, lstm_open.pt and rnn.pt: checkpoints of train.py. Opens by a double
click and needs nothing else: the page, explore.html, computes every step itself.
"""

import base64
import json

import torch

import dataset
import files
import utils
from lstm import LSTM
from rnn import VanillaRNN

CELLS = {"lstm": LSTM, "rnn": VanillaRNN}
NAMES = {"lstm": "LSTM", "lstm_open": "LSTM, open forget gate", "rnn": "RNN"}
PLACEHOLDER = '<script type="application/json" id="data">null</script>'
TESTS, CHECKS = 2000, 20  # palindromes that give the accuracy; those of them with which the page checks itself


def read(path):
    """The network in a checkpoint and the number of digits it reads; raises InputError if the file does not fit."""
    checkpoint = files.load(path, "options", "model", kind="part1 run")
    with files.fitting(path):
        options = checkpoint["options"]
        model = CELLS[options["cell"]](hidden_size=options["hidden_size"])
        model.load_state_dict(checkpoint["model"])
        return model, int(options["input_length"])


def text(tensor, kind):
    """A tensor's numbers as base64, in the given numpy type."""
    return base64.b64encode(tensor.numpy().astype(kind).tobytes()).decode()


def pack(layer):
    """An nn.Linear as texts: 16-bit integers with a float32 scale a row, and the bias as float32.

    With 8 bits one in fifty of the RNN's answers was another: its states repeat and enlarge what rounding leaves.
    """
    weight = layer.weight
    scale = weight.abs().amax(dim=1).clamp(min=1e-30) / 32767
    bias = "" if layer.bias is None else text(layer.bias, "<f4")
    return {"values": text((weight / scale[:, None]).round(), "<i2"), "scale": text(scale, "<f4"), "bias": bias}


@torch.no_grad()
def describe(name, model, digits, targets):
    """What the page holds of a network; torch's probabilities of the first palindromes are what it checks itself by."""
    p = model(digits).softmax(dim=1)
    return {
        "name": name,
        "cell": next(cell for cell, kind in CELLS.items() if isinstance(model, kind)),
        "hidden_size": model.hidden_size,
        "accuracy": (p.argmax(dim=1) == targets).float().mean().item(),
        "layers": {layer: pack(linear) for layer, linear in model.named_children()},
        "torch": [[round(value, 6) for value in row] for row in p[:CHECKS].tolist()],
    }


def main(argv=None):
    """Write the page and print where it lies."""
    parser = utils.Parser("Write a page that shows a trained network reading palindromes, for the browser.")
    parser.add_argument("--checkpoint", type=utils.path, help="show this run (default: those in --out-dir)")
    utils.add_folders(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)

    paths = [args.out_dir / f"{stem}.pt" for stem in NAMES]
    paths = [args.checkpoint] if args.checkpoint else paths[:1] + [path for path in paths[1:] if path.exists()]
    models, (length, *_) = zip(*map(read, paths), strict=True)
    digits, targets = dataset.draw(length, TESTS, torch.Generator().manual_seed(0))
    names = [NAMES.get(path.stem, path.stem) for path in paths]
    networks = [describe(*network, digits.long(), targets) for network in zip(names, models, strict=True)]
    data = {"length": length, "palindromes": digits[:CHECKS].tolist(), "networks": networks}
    page = (utils.HERE / "explore.html").read_text(encoding="utf-8")
    data = json.dumps(data).replace("<", "\\u003c")  # a file's name must not end the script
    page = page.replace(PLACEHOLDER, PLACEHOLDER.replace("null", data))
    args.figures_dir.mkdir(parents=True, exist_ok=True)
    out = args.figures_dir / "explore_lstm.html"
    with files.written_whole(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(out)


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
