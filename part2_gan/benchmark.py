"""How long a training step of the GAN takes, with either discriminator, on one thread and on all.

    python benchmark.py --out-dir mine      # minutes; leave the machine alone meanwhile

Two take turns: the usual script (DataLoader over PIL images, transforms, Sigmoid, BCELoss, .item() in every step) and
train.train_epoch. Milliseconds are medians over the rounds, `times_the_usual` is the median of the rounds' ratios.
Reads the digits; writes OUT_DIR/benchmark.json.
"""

import argparse
import statistics
import time

import torch
from PIL import Image  # torchvision brings it
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

import dataset
import files
import gan
import runs
import train
import utils

TRANSFORM = transforms.Compose([Image.fromarray, transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])


def usual_epoch(loader, generator, probability, adam_g, adam_d, device):
    """An epoch as well-known public scripts for this GAN train it; `probability` is D with its Sigmoid.

    Returns the losses of D and G in each step.
    """
    bce, losses = nn.BCELoss(), []
    for pictures in loader:
        real = pictures.to(device).flatten(1)
        fake = generator(torch.randn(len(real), gan.LATENT_DIM, device=device))
        ones, zeros = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)
        adam_d.zero_grad()
        d_loss = (bce(probability(real), ones) + bce(probability(fake.detach()), zeros)) / 2
        d_loss.backward()
        adam_d.step()
        adam_g.zero_grad()
        g_loss = bce(probability(fake), ones)
        g_loss.backward()
        adam_g.step()
        losses.append([d_loss.item(), g_loss.item()])  # such a script prints them
    return losses


def measure(arch, images, rounds, device):
    """{name: milliseconds per step in each round}; a round before them warms up."""
    options = argparse.Namespace(**train.options(arch=arch))
    networks, adams = train.build(options, device)
    plain = [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in networks]
    loader = DataLoader(
        images.view(-1, 28, 28).numpy(), 64, True, collate_fn=lambda p: torch.stack([*map(TRANSFORM, p)])
    )
    images, probability = images.to(device), nn.Sequential(networks[1], nn.Sigmoid())
    ways = {
        "usual script": lambda: usual_epoch(loader, networks[0], probability, *plain, device),
        "train.py": lambda: train.train_epoch(networks, adams, images, options),
    }
    times = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, epoch in ways.items():
            start = time.perf_counter()
            epoch()
            times[name].append(1e3 * (time.perf_counter() - start) / len(loader))
    return {name: values[1:] for name, values in times.items()}


def main(argv=None):
    parser = utils.Parser("Measure the GAN's training step.")
    parser.add_argument("--rounds", type=utils.number(int, low=1), default=7, help="rounds that are timed")
    dataset.add_options(parser)
    utils.add_options(parser, threads=runs.CORES)
    parser.set_defaults(limit=6400)  # a hundred steps
    args = parser.parse_args(argv)
    device, rows = utils.pick_device(args), {}
    images = dataset.load(args)[0]
    for arch in gan.DISCRIMINATORS:
        for threads in sorted({1, args.threads}):
            torch.set_num_threads(threads)
            times = measure(arch, images, args.rounds, device)
            for name, values in times.items():
                ratios = [usual / value for usual, value in zip(times["usual script"], values, strict=True)]
                numbers = {"milliseconds": statistics.median(values), "times_the_usual": statistics.median(ratios)}
                run = f"{name}, {arch} D, --threads {threads}"
                rows[run] = {"arch": arch, "rung": name} | numbers | utils.provenance(device)
                print(run, *(f"{what} {value:.2f}" for what, value in numbers.items()), flush=True)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    files.save(args.out_dir / "benchmark.json", {"study": "benchmark", "rows": rows})


if __name__ == "__main__":
    utils.run(main)
