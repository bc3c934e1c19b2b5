"""The latent space in the browser: a page that draws digits, walks between them and calculates with them.

    python explore.py                                   # the best generator in the repository
    python explore.py --checkpoint RUN/checkpoint.pt    # another one

Writes FIGURES_DIR/explore_gan.html, which opens by a double click. The page has generator and classifier in it and runs
them itself. Their weights are rounded: of the large layers to 8 bits, of the small ones to 16. explore.html is the page
without them.
"""

import base64
import json

import torch
import torch.nn.functional as F
from torch import nn

import files
import utils
from classifier import FILES, repository
from gan import LATENT_DIM, PIXELS, SLOPE
from latents import load_networks

TITLE, PLACE = "A latent space by hand", '{ "source": "This is the template; explore.py makes the page." }'
LARGE = 200_000  # weights; with the smaller layers in 8 bits as well, 5 samples in 1,000 change their class
SAMPLES = 2000  # that the rounding is tried on
CHECKED = 8  # of them are in the page with torch's numbers, for explore_gan.html#check


def linear_layers(network):
    """The layers of a network in eval mode: [(weight (rows, columns), bias (rows,))], BatchNorm within them."""
    layers = []
    for module in network.modules():
        if isinstance(module, nn.Linear):
            layers.append((module.weight, module.bias))
        elif isinstance(module, nn.BatchNorm1d):  # between a Linear and its activation
            weight, bias = layers.pop()
            factor = module.weight / (module.running_var + module.eps).sqrt()
            layers.append((weight * factor[:, None], (bias - module.running_mean) * factor + module.bias))
    return layers


def rounded(weight):
    """A weight (rows, columns) as integers, and the scales (rows, 1) that they are multiplied by."""
    kind = torch.int8 if weight.numel() > LARGE else torch.int16
    scales = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / torch.iinfo(kind).max
    return (weight / scales).round().to(kind), scales


def forward(layers, slope, x):
    """What the page computes of inputs (n, columns): layers with rounded weights and LeakyReLU between them."""
    for depth, (weight, bias) in enumerate(layers):
        numbers, scales = rounded(weight)
        x = F.linear(F.leaky_relu(x, slope) if depth else x, numbers * scales, bias)
    return x


def text(tensor):
    """The bytes of a tensor in base64."""
    return base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()


def packed(layers, slope):
    """A network as the page reads it."""
    rows = []
    for weight, bias in layers:
        numbers, scales = rounded(weight)
        row = {"weights": text(numbers), "scales": text(scales), "bias": text(bias)}
        rows.append(row | {"bits": 8 * numbers.element_size()})
    return {"slope": slope, "layers": rows}


@torch.no_grad()
def page_data(generator, slope, classifier):
    """What the page holds, a dictionary, and the share of samples whose class the rounding does not change."""
    (weight, bias), *others = linear_layers(classifier)
    # It reads ink from 0 to 1 instead of -1 to 1: rounded weights of pixels without ink then change nothing.
    networks = [(linear_layers(generator), slope), ([(2 * weight, bias - weight.sum(1)), *others], 0)]

    z = torch.randn(SAMPLES, LATENT_DIM, generator=torch.Generator().manual_seed(0))
    images = generator(z)
    probabilities = classifier(images).softmax(1)
    logits = forward(*networks[1], (forward(*networks[0], z).tanh() + 1) / 2)
    same = (logits.argmax(1) == probabilities.argmax(1)).float().mean().item()

    rows = list(zip(z, (images + 1) / 2, probabilities, strict=True))[:CHECKED]
    check = [{"latent": text(z), "image": text(image), "probabilities": text(p)} for z, image, p in rows]
    return {"networks": [packed(*network) for network in networks], "check": check}, same


def main(argv=None):
    parser = utils.Parser("Write a page for the browser: the latent space by hand.")
    add = parser.add_argument
    add("--checkpoint", type=utils.path, help="the generator (default: generator_best.pt in the repository)")
    add("--classifier", type=utils.path, help="an MLP (default: classifier_mlp.pt in the repository)")
    add("--dataset", choices=utils.TITLES, default="mnist", help="the digits that the networks were trained on")
    utils.add_folders(parser)
    parser.set_defaults(device="cpu", threads=torch.get_num_threads())
    args = parser.parse_args(argv)

    args.checkpoint = args.checkpoint or repository(args.dataset, "generator_best.pt")
    args.classifier = args.classifier or repository(args.dataset, FILES["mlp"])
    generator, classifier, options, source = load_networks(args)
    if linear_layers(classifier)[0][0].shape[1] != PIXELS:
        remedy = "classifier.py --kind mlp makes one"
        raise files.InputError(f"{args.classifier}: the page needs an MLP, this is a CNN; {remedy}")

    data, same = page_data(generator, SLOPE if options["generator"] == "text" else 0, classifier)
    accuracy = files.load(args.classifier)["result"]["test_accuracy"]
    data["source"] = f"{source}. Classifier: an MLP, right on {accuracy:.1%} of the test digits."
    page = (utils.HERE / "explore.html").read_text(encoding="utf-8").replace(PLACE, json.dumps(data))
    if args.dataset != "mnist":
        page = page.replace(TITLE, f"{TITLE}: {utils.TITLES[args.dataset]}")
    args.figures_dir.mkdir(parents=True, exist_ok=True)
    path = args.figures_dir / "explore_gan.html"
    with files.written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"page: {path} ({len(page) / 1e6:.1f} MB); its rounding keeps the class of {same:.1%} of {SAMPLES:,} samples")


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was written")
