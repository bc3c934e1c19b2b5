"""A small CNN that reads digits: it picks latents by what they show, and says what samples look like.

    python classifier.py                  # train on MNIST, under two minutes on two cores; at least 99 % on test digits
    python classifier.py --reference-only # only measure the test digits again with the classifier.pt that is there

    images (n, 784) in [-1, 1] -> 32 x 3x3, pool -> 64 x 3x3, pool -> 128 features -> 10 logits

Writes `<out-dir>/classifier.pt` (half precision, 1 MB) and `classifier.json` with its accuracy on the test digits.
classifier.pt also holds what it sees in the test digits (metrics.reference): evaluate.py needs no MNIST then.
"""

import time

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import dataset
import metrics
import utils
from gan import IMAGE_SIZE, LATENT_DIM, sample


class Classifier(nn.Module):
    """Two convolutions and two linear layers; `features` is the layer before the last, (n, 128), all at least 0."""

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


@torch.no_grad()
def read(classifier, images):
    """What the classifier reads in images (n, 784) in [-1, 1]: digits (n,) int64 and confidences (n,) in (0.1, 1]."""
    confidence, digit = metrics.look(classifier, images)[1].max(1)
    return digit, confidence


def surely_read(generator, classifier, seed, confidence, tries):
    """Yield the latents among `tries` from N(0, 1) that are surely read, and the digits that are read.

    Nobody picks by eye: z is taken if the classifier reads its image with at least `confidence`. Comes as pairs
    z (n, latent_dim), digits (n,), in the order of the seed, one pair for 2,000 tries.
    """
    device, source = next(generator.parameters()).device, torch.Generator().manual_seed(seed)
    for _ in range(0, tries, 2000):
        z = torch.randn(2000, LATENT_DIM, generator=source).to(device)
        digits, found = read(classifier, sample(generator, z))
        yield z[found >= confidence], digits[found >= confidence]


def find_latents(generator, classifier, digits, seed, count=1, confidence=0.999, tries=50_000):
    """For each of `digits` the first `count` latents, in the order of the seed, that are surely read as that digit.

    Returns {digit: z (count, latent_dim)}; raises utils.InputError if `tries` samples hold too few of one digit.
    """
    found = {digit: [] for digit in digits}
    for z, read_digits in surely_read(generator, classifier, seed, confidence, tries):
        for digit, latents in found.items():
            latents.extend(z[read_digits == digit][: count - len(latents)])
        if all(len(latents) == count for latents in found.values()):
            return {digit: torch.stack(latents) for digit, latents in found.items()}
    refuse([digit for digit, latents in found.items() if len(latents) < count], tries, confidence)


def pool_latents(generator, classifier, needed, seed, confidence=0.999, tries=40_000, least=20):
    """All latents among `tries` that are surely read, sorted by what is read: {digit: z (n, latent_dim)}, 0 to 9.

    A pool may be empty, for a digit that the generator does not draw; raises utils.InputError if one of the digits
    `needed` has fewer than `least`.
    """
    parts = surely_read(generator, classifier, seed, confidence, tries)
    z, digits = (torch.cat(column) for column in zip(*parts, strict=True))
    if missing := [digit for digit in needed if (digits == digit).sum() < least]:
        refuse(missing, tries, confidence)
    return {digit: z[digits == digit] for digit in range(10)}


def refuse(missing, tries, confidence):
    """Raise utils.InputError for the digits that a generator draws too rarely."""
    raise utils.InputError(
        f"of {tries:,} samples too few are read as {missing} with confidence {confidence:g}: the generator does not "
        "draw these digits well enough; train it longer, or lower --confidence"
    )


def load_classifier(path, device):
    """The classifier saved at `path`, in eval mode, and what classifier.json says of it.

    Raises utils.InputError if the file is missing, damaged or of another kind.
    """
    checkpoint = utils.load_checkpoint(path, "classifier", device)
    classifier = Classifier().to(device)
    try:
        classifier.load_state_dict(checkpoint["model"])
    except (KeyError, RuntimeError):
        raise utils.InputError(f"{path}: its weights do not fit the network of classifier.py") from None
    return classifier.eval(), checkpoint["result"]


def see_digits(classifier, images, test_images):
    """The metrics.reference of uint8 test images, its floor from as many training images; None if it cannot be made."""
    seen, trained_on = (
        metrics.look(classifier, dataset.scale(part[:10_000])) for part in (test_images, images[: len(test_images)])
    )
    usable = len(test_images) >= metrics.FEWEST and torch.cat([seen[0], trained_on[0]]).isfinite().all()
    return metrics.reference(*seen, trained_on[0]) if usable else None


def renew_reference(args):
    """Put a new reference into the classifier.pt in --out-dir, weights and result as they are; returns the result.

    Raises utils.InputError if the file is missing, damaged, or was trained on another data set.
    """
    path, device = args.out_dir / "classifier.pt", utils.pick_device(args)
    classifier, result = load_classifier(path, device)
    if result["dataset"] != args.dataset:
        raise utils.InputError(f"{path} was trained on {result['dataset']}: say --dataset {result['dataset']}")
    images, test_images = (dataset.load(args, train=train)[0].to(device) for train in (True, False))
    checkpoint = utils.load_checkpoint(path, "classifier")
    utils.save_checkpoint(path, checkpoint | {"reference": see_digits(classifier, images, test_images)})
    return result


def train(args):
    """Train, measure on the test digits, save; returns what is written to classifier.json."""
    started, device = time.perf_counter(), utils.pick_device(args)
    images, labels = (tensor.to(device) for tensor in dataset.load(args))
    test_images, test_labels = (tensor.to(device) for tensor in dataset.load(args, train=False))

    utils.make_folder(args.out_dir)
    torch.manual_seed(args.seed)
    classifier = Classifier().to(device)
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
    accuracy = (read(classifier, dataset.scale(test_images))[0] == test_labels).float().mean().item()
    result = {
        "dataset": args.dataset,
        "test_accuracy": accuracy,
        "test_images": len(test_images),
        "config": {name: getattr(args, name) for name in ("seed", "epochs", "batch_size", "lr", "dataset", "limit")},
        "seconds": time.perf_counter() - started,
        "provenance": utils.provenance(device),
    }
    weights = {name: tensor.half().cpu() for name, tensor in classifier.state_dict().items()}
    checkpoint = {"kind": "classifier", "model": weights, "result": result}
    checkpoint["reference"] = see_digits(classifier, images, test_images)
    utils.save_checkpoint(args.out_dir / "classifier.pt", checkpoint)
    utils.save_json(args.out_dir / "classifier.json", result)
    return result


def main():
    parser = utils.Parser("Train the reader of digits.")
    count = utils.number(int, low=1)
    parser.add_argument("--epochs", type=count, default=5, help="passes over the training images")
    parser.add_argument("--batch-size", type=count, default=128, help="images a step")
    parser.add_argument("--lr", type=utils.number(float, above=0), default=3e-3, help="Adam's peak learning rate")
    parser.add_argument("--reference-only", action="store_true", help="train nothing, measure the test digits again")
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    args = parser.parse_args()
    utils.choose_folders(args)
    result = renew_reference(args) if args.reference_only else train(args)
    print(
        f"{utils.TITLES[args.dataset]}: {result['test_accuracy']:.2%} of {result['test_images']:,} test digits read "
        f"correctly after {result['seconds']:.0f} s; saved to {args.out_dir / 'classifier.pt'}"
    )


if __name__ == "__main__":
    utils.run(main)
