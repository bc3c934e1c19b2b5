"""A small network that classifies digits: it says what samples show, and which latents stand for which digit.

    python classifier.py               # a CNN, at least 99 % of MNIST's test digits, two minutes on two cores
    python classifier.py --kind mlp    # a second one of another kind, at least 98 %, to check the first one by

Reads the digits of --dataset. Writes into OUT_DIR classifier.pt, 1 MB in half precision, and classifier.json, what is
to say of it: options, accuracy, what real digits reach with it. With --kind mlp classifier_mlp.pt and .json.
"""

import time

import torch
import torch.nn.functional as F
from torch import nn

import dataset
import files
import metrics
import runs
import utils
from gan import IMAGE_SIZE, PIXELS

FILES, EPOCHS = {"cnn": "classifier.pt", "mlp": "classifier_mlp.pt"}, {"cnn": 5, "mlp": 20}


class Classifier(nn.Module):
    """A network of a kind, "cnn" or "mlp"; `features` makes (n, 128), all at least 0, of images (n, 784) in [-1, 1]."""

    def __init__(self, kind="cnn"):
        super().__init__()
        if kind == "cnn":
            self.features = nn.Sequential(
                nn.Unflatten(1, (1, IMAGE_SIZE, IMAGE_SIZE)),
                *(nn.Conv2d(1, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
                *(nn.Conv2d(32, 64, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
                *(nn.Flatten(), nn.Dropout(0.4), nn.Linear(64 * 7 * 7, 128), nn.ReLU()),
            )
            self.to(memory_format=torch.channels_last)  # on CPUs the pooling is several times faster this way
        else:
            self.features = nn.Sequential(
                *(nn.Dropout(0.1), nn.Linear(PIXELS, 384), nn.ReLU()),
                *(nn.Dropout(0.3), nn.Linear(384, 128), nn.ReLU()),
            )
        self.out = nn.Linear(128, 10)

    def forward(self, images):
        """Logits (n, 10) of images (n, 784) in [-1, 1]."""
        return self.out(self.features(images))


def repository(data, name):
    """Where the repository keeps a network of a data set, such as repository("typeset", "generator.pt")."""
    return (utils.RESULTS if data == "mnist" else utils.RESULTS / data) / name


def load_classifier(path, device):
    """The classifier saved at `path`, in eval mode, and what its JSON file says of it.

    Raises InputError if the file is missing, damaged or of another kind.
    """
    if not path.exists():
        raise files.InputError(f"{path}: there is no such file; classifier.py, with its --dataset, makes one")
    saved = files.load(path, "model", "result", kind="classifier", device=device)
    with files.fitting(path):
        classifier = Classifier(saved["result"]["kind"]).to(device)
        classifier.load_state_dict(saved["model"])  # half precision is converted by the copy
    return classifier.eval(), saved["result"]


def with_test_digits(args, device):
    """The classifier of --classifier, or the repository's, and its `metrics.outputs` for the test digits of `args`.

    Raises InputError if there is no classifier, or one of another data set, or too few test digits.
    """
    path = args.classifier or repository(args.dataset, FILES["cnn"])
    classifier, result = load_classifier(path, device)
    if result["dataset"] != args.dataset:
        raise files.InputError(f"{path} was trained on {result['dataset']}, not on {args.dataset}; give --classifier")
    images = dataset.load(args, train=False)[0]
    if len(images) < metrics.FEWEST:
        place = f"--limit {args.limit}" if args.limit else args.data_dir
        raise files.InputError(f"{place}: {len(images)} test digits, at least {metrics.FEWEST} are needed")
    return classifier, metrics.outputs(classifier, dataset.scale(images).to(device))


def measure_real(train, test):
    """What real digits reach, from the metrics.outputs of training digits (10,000 at most) and of the test digits."""
    if len(test[0]) < metrics.FEWEST:
        return None
    manifolds = [metrics.manifold(metrics.thinned(features, 5000)) for features, _ in (train, test)]
    precision, recall = metrics.precision_recall(*manifolds)
    result = {"frechet_distance": metrics.frechet_distance(train[0], test[0]), "precision": precision, "recall": recall}
    return result | {"sure_share": metrics.describe(test[1])["sure_share"]}


def train(args):
    """Train, measure on the test digits, save; returns what is written to the JSON file.

    Raises FloatingPointError, before anything is saved, if a weight is not finite.
    """
    started, device = time.perf_counter(), utils.pick_device(args)
    images, labels = (tensor.to(device) for tensor in dataset.load(args))
    test_images, test_labels = (tensor.to(device) for tensor in dataset.load(args, train=False))
    args.out_dir.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    classifier = Classifier(args.kind).to(device)
    steps = args.epochs * -(-len(images) // args.batch_size)
    adam = torch.optim.Adam(classifier.parameters(), lr=args.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=args.lr, total_steps=steps)
    with utils.progress(total=steps, desc="classifier", unit="step") as progress:
        for _ in range(args.epochs):
            for batch in torch.randperm(len(images), device=device).split(args.batch_size):
                loss = F.cross_entropy(classifier(dataset.scale(images[batch])), labels[batch])
                adam.zero_grad()
                loss.backward()
                adam.step()
                schedule.step()
                progress.update()

    weights = {name: tensor.half() for name, tensor in classifier.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise FloatingPointError(f"after {steps} steps a weight is not finite; try a smaller --lr; nothing was saved")
    classifier.eval().load_state_dict(weights)  # measured as it is saved
    known, test = (metrics.outputs(classifier, dataset.scale(part)) for part in (images[:10_000], test_images))
    names = ("kind", "dataset", "limit", "seed", "epochs", "batch_size", "lr")
    result = {name: getattr(args, name) for name in names} | {
        "test_accuracy": (test[1].argmax(1) == test_labels).float().mean().item(),
        "test_images": len(test_images),
        "real": measure_real(known, test),
        "seconds": round(time.perf_counter() - started, 1),
        **utils.provenance(device),
    }
    path = args.out_dir / FILES[args.kind]
    files.save(path, {"kind": "classifier", "model": weights, "result": result})
    files.save(path.with_suffix(".json"), result)
    return result


def main(argv=None):
    parser = utils.Parser("Train a classifier of digits.")
    add, count = parser.add_argument, utils.number(int, low=1)
    add("--kind", choices=FILES, default="cnn", help="of network")
    add("--epochs", type=count, help="passes over the training images (default: cnn 5, mlp 20)")
    add("--batch-size", type=count, default=128, help="images per step")
    add("--lr", type=utils.number(float, above=0), default=3e-3, help="Adam's highest learning rate")
    dataset.add_options(parser)
    utils.add_options(parser, threads=min(4, runs.CORES))
    args = parser.parse_args(argv)
    args.epochs = args.epochs or EPOCHS[args.kind]
    result = train(args)
    accuracy = f"{result['test_accuracy']:.2%} of {result['test_images']:,} test digits"
    print(f"{utils.TITLES[args.dataset]}: right on {accuracy}; saved to {args.out_dir / FILES[args.kind]}")


if __name__ == "__main__":
    utils.run(main, after_stop="nothing was saved")
