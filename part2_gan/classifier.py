"""A small network that classifies digits: it says what samples show, and which latents stand for which digit.

    python classifier.py               # a CNN, at least 99 % of MNIST's test digits, two minutes on two cores
    python classifier.py --kind mlp    # a second classifier of another kind, at least 98 %, to check the first one by

    cnn    images (n, 784) in [-1, 1] -> 32 x 3x3, pool -> 64 x 3x3, pool -> 128 features -> 10 logits
    mlp    images (n, 784) in [-1, 1] -> 384 -> 128 features -> 10 logits

Reads the digits of --dataset. Writes into OUT_DIR classifier.pt (half precision, 1 MB) and classifier.json, its
accuracy on the test digits; with --kind mlp classifier_mlp.pt and classifier_mlp.json. The .pt file also holds the
features of the test digits in summary (metrics.reference), so that evaluate.py needs no MNIST.
"""

import time

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import dataset
import metrics
import utils
from gan import IMAGE_SIZE, PIXELS


class CNN(nn.Module):
    """Two convolutions and two linear layers; `features` is the layer before the last, (n, 128), all at least 0."""

    title, suffix, epochs = "a CNN", "", 5  # suffix: of its files' names

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.dropout = nn.Dropout(0.4)
        self.hidden = nn.Linear(64 * 7 * 7, 128)
        self.out = nn.Linear(128, 10)
        self.to(memory_format=torch.channels_last)  # on CPUs max_pool2d is several times faster this way

    def features(self, images):
        """Features (n, 128) of images (n, 784) in [-1, 1]."""
        x = images.reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
        x = F.max_pool2d(self.conv1(x), 2).relu()
        x = F.max_pool2d(self.conv2(x), 2).relu()
        return self.hidden(self.dropout(x.flatten(1))).relu()

    def forward(self, images):
        """Logits (n, 10) of images (n, 784) in [-1, 1]."""
        return self.out(self.features(images))


class MLP(nn.Module):
    """Three linear layers, nothing of which knows that pixels have neighbours; `features` as in CNN."""

    title, suffix, epochs = "an MLP", "_mlp", 20

    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(
            *(nn.Dropout(0.1), nn.Linear(PIXELS, 384), nn.ReLU()),
            *(nn.Dropout(0.3), nn.Linear(384, 128), nn.ReLU()),
        )
        self.out = nn.Linear(128, 10)

    def features(self, images):
        """Features (n, 128) of images (n, 784) in [-1, 1]."""
        return self.hidden(images)

    def forward(self, images):
        """Logits (n, 10) of images (n, 784) in [-1, 1]."""
        return self.out(self.features(images))


KINDS = {"cnn": CNN, "mlp": MLP}


def load_classifier(path, device):
    """The classifier saved at `path`, in eval mode, and what its JSON file says of it.

    Raises utils.InputError if the file is missing, damaged or of another kind.
    """
    checkpoint = utils.load_checkpoint(path, "classifier", device)
    try:
        classifier = KINDS[checkpoint.get("network", "cnn")]().to(device)
        classifier.load_state_dict(checkpoint["model"])
        return classifier.eval(), checkpoint["result"]
    except (AttributeError, KeyError, RuntimeError, TypeError):
        raise utils.InputError(f"{path}: its contents do not fit the networks of classifier.py") from None


def path_of(args, kind="cnn"):
    """Where the repository keeps the classifier of a kind for the data set of `args`."""
    return utils.subfolder(utils.RESULTS, args.dataset) / f"classifier{KINDS[kind].suffix}.pt"


def check_there(path, dataset, script, option):
    """Raise utils.InputError, which names the remedy, if the file of a network of a data set is missing."""
    if not path.exists():
        raise utils.InputError(
            f"{path}: there is no such file; {script} --dataset {dataset} makes one, or give {option}"
        )


def with_test_digits(args, device):
    """The classifier of --classifier, or the repository's, and its `metrics.outputs` for the test digits of `args`.

    Raises utils.InputError if there is no classifier, or one of another data set.
    """
    path = args.classifier or path_of(args)
    check_there(path, args.dataset, "classifier.py", "--classifier")
    classifier, trained = load_classifier(path, device)
    if trained["dataset"] != args.dataset:
        told = f"give --classifier, or run classifier.py --dataset {args.dataset}"
        raise utils.InputError(f"{path} was trained on {trained['dataset']}, not on {args.dataset}: {told}")
    return classifier, metrics.outputs(classifier, dataset.scale(dataset.load(args, train=False)[0]).to(device))


def measure_digits(classifier, images, test_images):
    """The metrics.reference of uint8 test images, its floor from as many training images; None if it cannot be made."""
    test, training = (
        metrics.outputs(classifier, dataset.scale(part[:10_000])) for part in (test_images, images[: len(test_images)])
    )
    usable = len(test_images) >= metrics.FEWEST and torch.cat([test[0], training[0]]).isfinite().all()
    return metrics.reference(*test, training[0]) if usable else None


def train(args):
    """Train, measure on the test digits, save; returns what is written to the JSON file.

    Raises FloatingPointError, before anything is saved, if a parameter is not finite.
    """
    started, device = time.perf_counter(), utils.pick_device(args)
    images, labels = (tensor.to(device) for tensor in dataset.load(args))
    test_images, test_labels = (tensor.to(device) for tensor in dataset.load(args, train=False))

    utils.make_folder(args.out_dir)
    torch.manual_seed(args.seed)
    classifier = KINDS[args.kind]().to(device)
    steps = args.epochs * -(-len(images) // args.batch_size)
    adam = torch.optim.Adam(classifier.parameters(), lr=args.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=args.lr, total_steps=steps)
    bar = tqdm(total=steps, desc="classifier", unit="step")
    for _ in range(args.epochs):
        for batch in torch.randperm(len(images), device=device).split(args.batch_size):
            loss = F.cross_entropy(classifier(dataset.scale(images[batch])), labels[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            bar.update()
    bar.close()

    classifier.half().float().eval()  # measured as it is saved
    utils.check_finite(f"after {steps} steps with --lr {args.lr:g}; try a smaller one; nothing was saved", classifier)
    probabilities = metrics.outputs(classifier, dataset.scale(test_images))[1]
    result = {
        "dataset": args.dataset,
        "test_accuracy": (probabilities.argmax(1) == test_labels).float().mean().item(),
        "test_images": len(test_images),
        "config": {name: getattr(args, name) for name in ("kind", "seed", "epochs", "batch_size", "lr", "limit")},
        "seconds": time.perf_counter() - started,
        "provenance": utils.provenance(device),
    }
    weights = {name: tensor.half().cpu() for name, tensor in classifier.state_dict().items()}
    checkpoint = {"kind": "classifier", "network": args.kind, "model": weights, "result": result}
    checkpoint["reference"] = measure_digits(classifier, images, test_images)
    path = args.out_dir / f"classifier{classifier.suffix}.pt"
    utils.save_checkpoint(path, checkpoint)
    utils.save_json(path.with_suffix(".json"), result)
    return result


def main(argv=None):
    parser = utils.Parser("Train a classifier of digits.")
    count = utils.number(int, low=1)
    parser.add_argument("--kind", choices=KINDS, default="cnn", help="of network")
    parser.add_argument("--epochs", type=count, help="passes over the training images (default: cnn 5, mlp 20)")
    parser.add_argument("--batch-size", type=count, default=128, help="images per step")
    parser.add_argument("--lr", type=utils.number(float, above=0), default=3e-3, help="Adam's highest learning rate")
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    args = parser.parse_args(argv)
    args.epochs = args.epochs or KINDS[args.kind].epochs
    result = train(args)
    print(
        f"{utils.TITLES[args.dataset]}: accuracy {result['test_accuracy']:.2%} on {result['test_images']:,} test "
        f"digits after {result['seconds']:.0f} s; saved to {args.out_dir}/classifier{KINDS[args.kind].suffix}.pt"
    )


if __name__ == "__main__":
    utils.run(main)
