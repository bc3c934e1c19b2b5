"""How long the GAN's training takes: the loop that people usually write, train.py's own, and the floor.

    python benchmark.py                                    both discriminators, some minutes on two cores
    python benchmark.py --archs initial --rounds 3         a first look
    python benchmark.py --threads 1                        on one CPU thread

The peers do --steps training steps a round on batches of --batch-size digits, with all that belongs to them:

    usual      DataLoader over torchvision's MNIST with ToTensor and Normalize; D once on real and once on fake images,
               G's images made for D and G at once but judged in separate passes; BCELoss on probabilities; Adam as it
               comes; .item() and a line of text a step, as the well-known public scripts for this GAN do it
    fp32       train.py's train_epoch: digits as one tensor on the device, the gradients of fast_gan.py, one fused Adam
               kernel a network, history read once an epoch
    bf16       the same with --precision bf16
    products   the matrix products of one such step alone, in fp32; `products bf16` in bf16

They take turns; the table holds medians over the rounds, and a ratio is the median of the ratios of the rounds. On a
CPU torch's profiler tells besides where the time of fp32 and bf16 goes; its own cost is in it, so these are shares, not
milliseconds. Writes OUT_DIR/benchmark.json. The digits are those of --dataset; with `typeset` the usual loop reads them
through the same transforms.
"""

import os
import statistics
import time

import torch
from PIL import Image  # torchvision brings it
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import dataset
import train
import utils
from fast_gan import FastGAN
from gan import DISCRIMINATORS, GENERATOR_WIDTHS, LATENT_DIM, PIXELS, Discriminator, Generator

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler writes lines of its own to the terminal
RATIOS = [("usual", "fp32"), ("usual", "bf16"), ("fp32", "bf16"), ("fp32", "products"), ("bf16", "products bf16")]

KERNELS = {
    "aten::mm": "products",
    "aten::addmm": "products",
    "aten::_fused_adam_": "Adam",
    "aten::copy_": "conversions and copies",
    "aten::native_batch_norm": "batch norm",
    "aten::native_batch_norm_backward": "batch norm",
}


class PictureDataset(Dataset):
    """Digits as torchvision's MNIST gives them out: a PIL image a sample, through `transform`."""

    def __init__(self, images, transform):
        self.images, self.transform = images.reshape(-1, 28, 28), transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index].numpy()))


def usual_loop(arch, images, args, device):
    """A generator that does one step a turn, as the usual script does."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    loader = DataLoader(PictureDataset(images, transform), batch_size=args.batch_size, shuffle=True, drop_last=True)
    generator = Generator().to(device)
    discriminator = nn.Sequential(Discriminator(**DISCRIMINATORS[arch]), nn.Sigmoid()).to(device)
    adams = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, discriminator)]
    adam_g, adam_d = adams
    loss = nn.BCELoss()
    lines = []
    while True:
        for i, batch in enumerate(loader):
            real = batch.to(device).flatten(1)
            valid, fake = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)
            adam_g.zero_grad()
            made = generator(torch.randn(len(real), LATENT_DIM, device=device))
            g_loss = loss(discriminator(made), valid)
            g_loss.backward()
            adam_g.step()
            adam_d.zero_grad()
            d_loss = (loss(discriminator(real), valid) + loss(discriminator(made.detach()), fake)) / 2
            d_loss.backward()
            adam_d.step()
            lines.append(f"[batch {i}/{len(loader)}] [D loss: {d_loss.item():f}] [G loss: {g_loss.item():f}]")
            yield


def own_loop(arch, images, args, device, precision):
    """A function that does --steps steps of train.py's loop, on as many batches."""
    networks = Generator().to(device), Discriminator(**DISCRIMINATORS[arch]).to(device)
    gan = FastGAN(*networks, precision=precision)
    adams = [torch.optim.Adam([flat.parameter], lr=2e-4, betas=(0.5, 0.999), fused=True) for flat in gan.flats]
    part = images[: args.steps * args.batch_size].to(device)
    return lambda: train.train_epoch(gan, adams, part, args.batch_size)


def products(arch, args, device, dtype):
    """A function that does the matrix products of --steps steps.

    G: forward, and the gradients by inputs (not by z) and by weights. D: the same on the real and the fake images
    together, but not by images; then, on the fakes alone, forward and the gradients by inputs.
    """
    jobs = []
    widths = (LATENT_DIM, *GENERATOR_WIDTHS, PIXELS)
    for n, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        jobs += [(args.batch_size, a, b), (a, args.batch_size, b)] + [(args.batch_size, b, a)] * (n > 0)
    widths = (PIXELS, *DISCRIMINATORS[arch]["widths"], 1)
    for n, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        rows = 2 * args.batch_size
        jobs += [(rows, a, b), (a, rows, b)] + [(rows, b, a)] * (n > 0)
        jobs += [(args.batch_size, a, b), (args.batch_size, b, a)]
    pairs = [
        (torch.randn(n, k, device=device, dtype=dtype), torch.randn(k, m, device=device, dtype=dtype))
        for n, k, m in jobs
    ]

    @torch.no_grad()
    def steps():
        for _ in range(args.steps):
            for a, b in pairs:
                a @ b

    return steps


def shares(steps):
    """Where the CPU time of `steps` goes, by torch's profiler: {kind of kernel: share}."""
    parts = dict.fromkeys([*KERNELS.values(), "other kernels"], 0.0)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        steps()
        whole = 1e6 * (time.perf_counter() - start)  # microseconds, as the profiler counts
    for event in profiler.key_averages():
        if event.key.startswith("aten::"):
            parts[KERNELS.get(event.key, "other kernels")] += event.self_cpu_time_total / whole
    return parts | {"between kernels": 1 - sum(parts.values())}


def measure(arch, images, args, device):
    """Interleaved rounds: {peer: [milliseconds a step in each round]}; and where the time goes, {peer: shares}."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    torch.manual_seed(args.seed)
    turns = usual_loop(arch, images, args, device)
    peers = {
        "usual": lambda: [next(turns) for _ in range(args.steps)],
        **{name: own_loop(arch, images, args, device, dtype) for name, dtype in train.PRECISIONS.items()},
        "products": products(arch, args, device, torch.float32),
        "products bf16": products(arch, args, device, torch.bfloat16),
    }
    times = {peer: [] for peer in peers}
    for round_ in range(args.rounds + 1):
        for peer, steps in peers.items():
            wait()
            start = time.perf_counter()
            steps()
            wait()
            if round_:  # the first one warms up
                times[peer].append(1e3 * (time.perf_counter() - start) / args.steps)
    return times, {peer: shares(peers[peer]) for peer in train.PRECISIONS if device.type == "cpu"}


def main():
    parser = utils.Parser("Measure the GAN's training step: the usual loop, this one, the bare products.")
    count = utils.number(int, low=1)
    parser.add_argument("--archs", choices=DISCRIMINATORS, nargs="+", default=["initial", "balanced"], help="which D")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images a step")
    parser.add_argument("--steps", type=count, default=100, help="training steps of each peer in a round")
    parser.add_argument("--rounds", type=count, default=7, help="rounds that are timed")
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    args = parser.parse_args()
    utils.choose_folders(args)
    device = utils.pick_device(args.device, args.threads)
    images = dataset.load(args)[0]
    if len(images) < args.steps * args.batch_size:
        raise utils.InputError(f"{args.steps} steps of {args.batch_size} need more than the {len(images)} images")
    epoch = len(images) // args.batch_size
    result = {
        "archs": {},
        "config": {n: getattr(args, n) for n in ("batch_size", "steps", "rounds", "seed", "dataset")},
    }
    for arch in args.archs:
        times, profiles = measure(arch, images, args, device)
        ratios = {
            f"{a} / {b}": statistics.median(p / q for p, q in zip(times[a], times[b], strict=True)) for a, b in RATIOS
        }
        medians = {peer: statistics.median(values) for peer, values in times.items()}
        result["archs"][arch] = {"milliseconds_a_step": medians, "ratios": ratios, "shares": profiles}
        for peer, value in medians.items():
            print(f"{arch:9} {peer:14} {value:7.2f} ms a step, {value * epoch / 1e3:6.1f} s an epoch")
        print(f"{arch:9} " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()), flush=True)
        for peer, parts in profiles.items():
            print(f"{arch:9} {peer}: " + ", ".join(f"{what} {100 * share:.0f} %" for what, share in parts.items()))
    result["provenance"] = utils.provenance(device)
    utils.make_folder(args.out_dir)
    utils.save_json(args.out_dir / "benchmark.json", result)


if __name__ == "__main__":
    utils.run(main)
