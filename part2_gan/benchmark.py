"""How long a training step of the GAN takes: from the usual script to train.py, one change per rung.

    python benchmark.py --out-dir mine                     # both discriminators, on one thread and on all
    python benchmark.py --out-dir mine --archs initial --rounds 3        # a quick try
    python benchmark.py                                    # replaces the published numbers by this machine's

Every rung does --steps training steps per round, with alternating updates, on batches of --batch-size digits:

    usual script         DataLoader over torchvision's MNIST with ToTensor and Normalize; D ends in a Sigmoid, is given
                         real and fake images one after the other, BCELoss; loss.backward() and Adam for each network;
                         .item() and a line of text per step, as in the well-known public scripts for this GAN
    digits as a tensor   ... the data set is one tensor, and a batch an index into it
    nothing waited for   ... losses stay on the device until the end of the epoch
    one pass of D        ... D is given real and fake images at once and returns logits, and each backward pass
                         computes the gradients of one network alone
    train.py             ... and fused Adam: train.train_epoch itself
    train.py, medium     ... with --matmul-precision medium, where that has an effect
    train.py, bf16       ... with --precision bf16, where the processor has it
    products alone       the matrix products of such a step in fp32, and nothing else

The rungs take turns; the table holds medians over the rounds, and a ratio is the median of the ratios of the rounds.
Peak memory is what a process of its own needs for --steps steps beyond what it had before (Linux only; on CUDA the
peak of torch's allocator). Reads the digits of --dataset; writes OUT_DIR/benchmark.json.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from PIL import Image  # torchvision brings it
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import dataset
import train
import utils
from gan import (
    DISCRIMINATORS,
    GENERATOR_WIDTHS,
    LATENT_DIM,
    PIXELS,
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
)

RUNGS = ["usual script", "digits as a tensor", "nothing waited for", "one pass of D"]
OWN = {"train.py": [], "train.py, medium": ["--matmul-precision", "medium"], "train.py, bf16": ["--precision", "bf16"]}
PRODUCTS = "products alone"


class PictureDataset(Dataset):
    """Digits as torchvision's MNIST yields them: one PIL image per sample, through `transform`."""

    def __init__(self, images, transform):
        self.images, self.transform = images.reshape(-1, 28, 28), transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index].numpy()))


def batches(images, args, device, as_tensor):
    """An endless iterator over batches of digits (batch, 784) in [-1, 1], in a new order every epoch."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    loader = DataLoader(PictureDataset(images, transform), batch_size=args.batch_size, shuffle=True, drop_last=True)
    images = images.to(device)
    while True:
        if as_tensor:
            order = torch.randperm(len(images), device=device)[: len(loader) * args.batch_size]
            yield from (dataset.scale(images[batch]) for batch in order.split(args.batch_size))
        else:
            yield from (batch.to(device).flatten(1) for batch in loader)


def usual_loop(rung, arch, images, args, device):
    """A function that does --steps steps as the usual script does, with the changes up to `rung`."""
    as_tensor, no_waiting, one_pass = (RUNGS.index(rung) >= n for n in (1, 2, 3))
    generator, discriminator = Generator().to(device), Discriminator(**DISCRIMINATORS[arch]).to(device)
    probability = nn.Sequential(discriminator, nn.Sigmoid())
    adam_g, adam_d = (
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, discriminator)
    )
    bce, source, lines = nn.BCELoss(), batches(images, args, device, as_tensor), []

    def step():
        real = next(source)
        fake = generator(torch.randn(len(real), LATENT_DIM, device=device))
        ones, zeros = torch.ones(len(real), device=device), torch.zeros(len(real), device=device)
        adam_d.zero_grad()
        if one_pass:
            d_loss = discriminator_loss(*discriminator(torch.cat([real, fake.detach()])).chunk(2))
            d_loss.backward()
        else:
            d_loss = (bce(probability(real), ones) + bce(probability(fake.detach()), zeros)) / 2
            d_loss.backward()
        adam_d.step()
        adam_g.zero_grad()
        if one_pass:
            g_loss = generator_loss(discriminator(fake))
            g_loss.backward(inputs=list(generator.parameters()))
        else:
            g_loss = bce(probability(fake), ones)
            g_loss.backward()
        adam_g.step()
        return torch.stack([d_loss.detach(), g_loss.detach()])

    def steps():
        losses = torch.empty(args.steps, 2, device=device)
        for i in range(args.steps):
            losses[i] = step()
            if not no_waiting:
                d_loss, g_loss = losses[i, 0].item(), losses[i, 1].item()
                lines.append(f"[batch {i}/{args.steps}] [D loss: {d_loss:f}] [G loss: {g_loss:f}]")
        return losses.cpu()

    return steps


def own_loop(rung, arch, images, args, device):
    """A function that does --steps steps of train.py's loop, on as many batches."""
    words = ["--arch", arch, "--batch-size", str(args.batch_size), "--device", device.type, *OWN[rung]]
    own = train.parse_args(words + ["--threads", str(torch.get_num_threads())])
    gan, adams = train.build(own, device)
    part = images[: args.steps * args.batch_size].to(device)

    def steps():
        before = torch.get_float32_matmul_precision()
        if "--matmul-precision" in words:
            torch.set_float32_matmul_precision(own.matmul_precision)
        train.train_epoch(gan, adams, part, own)
        torch.set_float32_matmul_precision(before)

    return steps


def products(arch, args, device):
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
    pairs = [(torch.randn(n, k, device=device), torch.randn(k, m, device=device)) for n, k, m in jobs]

    @torch.no_grad()
    def steps():
        for _ in range(args.steps):
            for a, b in pairs:
                a @ b

    return steps


def rungs_of(device):
    """The rungs that this machine can measure."""
    works = {"train.py": True, "train.py, bf16": train.multiplies_bf16(device)}
    try:
        works["train.py, medium"] = utils.matmul_precision("medium", device.type) == "medium"
    except utils.InputError:
        works["train.py, medium"] = False
    return [*RUNGS, *(rung for rung in OWN if works[rung]), PRODUCTS]


def make(rung, arch, images, args, device):
    """A function that does --steps steps of `rung`."""
    torch.manual_seed(args.seed)
    if rung == PRODUCTS:
        return products(arch, args, device)
    return (usual_loop if rung in RUNGS else own_loop)(rung, arch, images, args, device)


def measure(arch, images, args, device):
    """Interleaved rounds: {rung: [milliseconds per step in each round]}."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    rungs = {rung: make(rung, arch, images, args, device) for rung in rungs_of(device)}
    times = {rung: [] for rung in rungs}
    for round_ in range(args.rounds + 1):
        for rung, steps in rungs.items():
            wait()
            start = time.perf_counter()
            steps()
            wait()
            if round_:  # the first one warms up
                times[rung].append(1e3 * (time.perf_counter() - start) / args.steps)
    return times


def peak_mib(rung, arch, images, args, device):
    """The peak memory in MiB that --steps steps of `rung` add to this process, the networks included."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        make(rung, arch, images, args, device)()
        return torch.cuda.max_memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far: importing torch
    before = highest_resident_mib()
    make(rung, arch, images, args, device)()
    return max(0.0, highest_resident_mib() - before)  # Linux counts pages per core and sums them up with a small error


def highest_resident_mib():
    """The most memory in MiB that this process has held, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))


def measure_memory(rung, arch, args, device):
    """peak_mib in a process of its own; None where the system does not report it."""
    if device.type != "cuda" and not Path("/proc/self/clear_refs").exists():
        return None
    options = {"archs": arch, "memory-of": rung, "device": device.type, "threads": torch.get_num_threads()}
    for name in "batch_size", "steps", "seed", "dataset", "data_dir", "limit":
        options[name.replace("_", "-")] = getattr(args, name)
    command = [sys.executable, __file__] + [f"--{name}={value}" for name, value in options.items()]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["killed"])[-1]
        raise utils.InputError(f"the memory of {rung} could not be measured: {reason}")
    return json.loads(answer.stdout)


def parse_args(argv=None):
    """The benchmark's options."""
    parser = utils.Parser("Measure the GAN's training step: from the usual script to train.py, one change per rung.")
    count = utils.number(int, low=1)
    parser.add_argument("--archs", choices=DISCRIMINATORS, nargs="+", default=["initial", "balanced"], help="which D")
    parser.add_argument("--batch-size", type=utils.number(int, low=2), default=64, help="images per step")
    parser.add_argument("--steps", type=count, default=100, help="training steps of each rung per round")
    parser.add_argument("--rounds", type=count, default=7, help="rounds that are timed")
    parser.add_argument(
        "--memory-of", choices=[*RUNGS, *OWN], help="print only the MiB of this rung, of the first of --archs"
    )
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    device = utils.pick_device(args)
    images = dataset.load(args)[0]
    if len(images) < args.steps * args.batch_size:
        needed = f"--steps {args.steps} of --batch-size {args.batch_size} need {args.steps * args.batch_size} images"
        raise utils.InputError(f"{needed}, and there are {len(images)}: give fewer steps")
    if args.memory_of:
        print(peak_mib(args.memory_of, args.archs[0], images, args, device))
        return
    utils.make_folder(args.out_dir)  # before the minutes of measuring
    thread_counts = [args.threads] if args.threads else sorted({1, torch.get_num_threads()})
    rows = []
    for arch in args.archs:
        memory = {rung: measure_memory(rung, arch, args, device) for rung in rungs_of(device) if rung != PRODUCTS}
        for threads in thread_counts:
            torch.set_num_threads(threads)
            times = measure(arch, images, args, device)
            print(f"{arch} D, {threads} thread{'s' * (threads > 1)}: ms per step, speed-up, peak MiB")
            for rung, values in times.items():
                row = {
                    "arch": arch,
                    "threads": threads,
                    "rung": rung,
                    "milliseconds": statistics.median(values),
                    "times_the_usual": statistics.median(a / b for a, b in zip(times[RUNGS[0]], values, strict=True)),
                    "peak_mib": memory.get(rung),
                }
                rows.append(row)
                peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:8.0f}"
                print(f"  {rung:20} {row['milliseconds']:8.2f} {row['times_the_usual']:6.2f} {peak}", flush=True)
    result = {
        "rows": rows,
        "config": {n: getattr(args, n) for n in ("batch_size", "steps", "rounds", "seed", "dataset")},
        "provenance": utils.provenance(device),
    }
    utils.save_json(args.out_dir / "benchmark.json", result)


if __name__ == "__main__":
    utils.run(main)
