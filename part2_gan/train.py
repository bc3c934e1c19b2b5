"""Train the report's MLP GAN: one run, from options to checkpoint, history and sample grids.

    python train.py                                     # the GAN that the report's text describes, 200 epochs of MNIST
    python train.py --arch initial                      # ... with the discriminator it began with, 50 epochs
    python train.py --recipe published                  # the GAN of the report's published code
    python train.py --recipe best                       # the best digits that these two networks gave, in 60 epochs
    python train.py --dataset typeset --limit 6000 --epochs 3 # a try without any download
    python train.py --resume                            # go on after a stop, as if there had been none
    torchrun --nproc-per-node 2 train.py                # data-parallel: every process takes its share of each batch

Networks and losses are those of gan.py; the training step is `train_step`. A run lives in its own folder,
`<out-dir>/<name>/`:

    config.json      options, seed, data set, versions, commit
    checkpoint.pt    after every epoch: networks, optimizers, random states, history
    history.pt       one row a step, the columns named in HISTORY
    samples.pt       {epoch: (25, 784) uint8}, always from the same 25 latents, in eval mode
    samples.png, losses.png
    result.json      written last: a folder that has it holds a finished run

Under torchrun all processes draw the same batch and the same latents, each takes its share of the rows, and the
gradients are averaged before each of the two Adam steps: 7 to 8 MB a step. BatchNorm normalises each share by itself,
as torch's DistributedDataParallel does by default; its running statistics are averaged after every epoch. Dropout drops
the same units in the same row of every share. Rank 0 writes.
"""

import argparse
import contextlib
import hashlib
import json
import math
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

import dataset
import metrics
import utils
from classifier import load_classifier
from gan import (
    DISCRIMINATORS,
    GENERATOR_LOSSES,
    GENERATORS,
    LATENT_DIM,
    Discriminator,
    Generator,
    discriminator_loss,
    generator_gradients,
    generator_loss,
    gradient_penalty,
    sample,
)

# One row of history a step. D's numbers are those of its own training batch, with dropout where it has dropout;
# g_grad_norm is the norm of the gradient of G's loss by G's parameters.
HISTORY = ("d_loss", "g_loss", "d_real", "d_fake", "d_accuracy", "g_grad_norm")
AVERAGE_EVERY = 4  # steps: the running average of G's weights costs a quarter, and is the same to the eye
GRID_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 150, 200)
EPOCHS = {"initial": 50, "balanced": 200}  # the report's
ACCELERATORS = {"cuda": torch.cuda, "mps": torch.mps}  # with random states of their own
SCHEMES = ("alternating", "simultaneous", "g-first")
NOT_CONFIG = {
    "classifier",
    "recipe",
    "resume",
    "restart",
    "out_dir",
    "figures_dir",
    "data_dir",
    "device",
    "threads",
    "name",
}
# What a recipe changes in the defaults of the options, which are those of "written".
RECIPES = {
    "written": {},  # the report's text; where it is silent torch's defaults and the textbook's alternating updates
    "published": {"generator": "published", "bn_eps": 0.8, "scheme": "simultaneous"},  # the report's published code
    "best": {
        "arch": "initial",
        "beta1": 0.0,
        "gradient_penalty": 0.3,
        "ema": 0.999,
        "decay_from": 0.5,
        "epochs": 60,
    },
}


def parse_args(argv=None):
    """The options of one run; `argv` defaults to the command line."""
    parser = utils.Parser("Train the MLP GAN.")
    count, rate, share = utils.number(int, low=1), utils.number(float, above=0), utils.number(float, low=0, below=1)
    add = parser.add_argument
    add("--recipe", choices=RECIPES, default="written", help="sets the options below; those that are given count")
    add("--arch", choices=DISCRIMINATORS, default="balanced", help="which discriminator")
    add("--dropout", type=share, help="of the discriminator (default: as --arch has it)")
    add("--generator", choices=GENERATORS, default="written", help="as the text has it, as the published code, between")
    add("--bn-eps", type=rate, default=1e-5, help="BatchNorm's eps in the generator (see gan.py)")
    add("--scheme", choices=SCHEMES, default="alternating", help="who is updated when, by which fakes (see train_step)")
    add("--loss", choices=GENERATOR_LOSSES, default="non-saturating", help="what G minimises; minimax: equation (7)")
    add("--epochs", type=count, help="passes over the training images (default: 200, with --arch initial 50)")
    add("--batch-size", type=utils.number(int, low=2), default=64, help="images a step")
    add("--lr", type=rate, default=2e-4, help="Adam's learning rate, of both networks")
    add("--beta1", type=share, default=0.5, help="Adam's decay of the mean gradient")
    add("--label-smoothing", type=share, default=0.0, help="D's target for real images is 1 minus this")
    add("--gradient-penalty", type=utils.number(float, low=0), default=0.0, help="weight of R1 in D's loss")
    add("--ema", type=share, default=0.0, help="decay a step of a running average of G's weights, drawn from; 0: none")
    add(
        "--decay-from",
        type=utils.number(float, low=0, high=1),
        default=1.0,
        help="share of the epochs after which the learning rate falls, in a straight line, to zero; 1: never",
    )
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: matrix products under torch.autocast")
    add("--grid-epochs", type=count, nargs="*", default=GRID_EPOCHS, help="epochs to draw samples at")
    add(
        "--evaluate-every",
        type=utils.number(int, low=0),
        default=0,
        help="measure samples after every so many epochs and after the last one, by the classifier; 0: never",
    )
    add("--classifier", type=Path, help="the reader of digits for it (default: the one in the repo)")
    add("--name", type=folder_name, help="the run's folder (default: the recipe, what differs from it, the seed)")
    add("--resume", action="store_true", help="go on from the run's checkpoint")
    add("--restart", action="store_true", help="train anew where a run lies, in its place")
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    args = parser.parse_args(argv)
    parser.set_defaults(**RECIPES[args.recipe])
    args = parser.parse_args(argv)
    utils.choose_folders(args)
    args.name = args.name or run_name(args, parser)
    args.dropout = DISCRIMINATORS[args.arch]["dropout"] if args.dropout is None else args.dropout
    args.epochs = args.epochs or EPOCHS[args.arch]
    return args


def run_name(args, parser):
    """The recipe, every option with which the run departs from it, and the seed: written_arch-initial_seed0."""
    given = {name: value for name, value in vars(args).items() if name not in {*NOT_CONFIG, "seed", "dataset"}}
    words = [f"{name}-{value}" for name, value in given.items() if value != parser.get_default(name)]
    words = [word.replace("_", "-") for word in words if not word.startswith(("grid_epochs", "evaluate_every"))]
    return "_".join([args.recipe, *words, f"seed{args.seed}"])


def folder_name(text):
    """An argparse type: a name for a folder, not a path."""
    if not text or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a folder")
    return text


def train_step(gan, adams, real, z, args):
    """One update of D and one of G; real (batch, 784) in [-1, 1], z (batch, latent_dim).

    `gan` is (generator, discriminator), `adams` their optimizers. The scheme says what each learns from:

        alternating     D from fakes of the present G, then G from the new D (Goodfellow et al. 2014)
        simultaneous    G and D from the same fakes, each against the other as it was before the step: those that D
                        learns from are stale, made by a G that is gone. Much-copied code does this: it updates G first
        g-first         G, then D from fresh fakes of the new G, of the same z

    Returns the history row as a tensor (6,).
    """
    (generator, discriminator), (adam_g, adam_d) = gan, adams

    def update_d():
        real_logits, fake_logits = discriminator(torch.cat([real, fake.detach()])).chunk(2)
        loss = discriminator_loss(real_logits, fake_logits, args.label_smoothing)
        penalty = args.gradient_penalty * gradient_penalty(real_logits, real) if args.gradient_penalty else 0
        descend(loss + penalty, discriminator, adam_d)
        return loss, real_logits, fake_logits

    def update_g():
        loss = generator_loss(discriminator(fake), args.loss)
        gradients = descend(loss, generator, adam_g)
        squares = [gradient.flatten().dot(gradient.flatten()) for gradient in gradients]  # a third of norm()'s time
        return loss, torch.stack(squares).sum().sqrt()

    with rounding(real.device, args.precision):
        real.requires_grad_(args.gradient_penalty > 0)
        fake = generator(z)
        if args.scheme == "alternating":
            d_loss, real_logits, fake_logits = update_d()
            g_loss, g_grad_norm = update_g()
        else:
            g_loss, g_grad_norm = update_g()
            if args.scheme == "g-first":
                fake = generator(z)
            d_loss, real_logits, fake_logits = update_d()

    with torch.no_grad():
        d_real, d_fake = real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()
        d_accuracy = ((real_logits > 0).float().mean() + (fake_logits < 0).float().mean()) / 2
        return torch.stack([d_loss, g_loss, d_real, d_fake, d_accuracy, g_grad_norm])


def descend(loss, network, adam):
    """One step of `adam` down the gradient of `loss` by the parameters of `network`; returns that gradient."""
    parameters = list(network.parameters())
    # Of this network alone: the other one's are not computed. An unused parameter has a gradient of 0.
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    average(gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    adam.step()
    return gradients


def rounding(device, precision):
    """Where products are rounded to bfloat16, if `precision` says so; weights, losses and Adam stay in fp32.

    Weights change within a step, so autocast must not keep rounded copies of them (cache_enabled).
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def train_epoch(gan, adams, images, args, averaged=None):
    """One pass over `images` (n, 784) uint8 in a new random order; returns the history (steps, columns), on the CPU.

    `gan` is (generator, discriminator), `adams` their optimizers; `averaged` follows G's weights. Nothing in the loop
    waits for the device: the history is read once, at the end.
    """
    generator, _ = gan
    generator.train()
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    order = torch.randperm(len(images), device=images.device)
    # Every process has the same number of rows, and two at least, for BatchNorm.
    batches = [batch[: len(batch) // world * world] for batch in order.split(args.batch_size)]
    batches = [batch for batch in batches if len(batch) >= 2 * world]
    history = torch.empty(len(batches), len(HISTORY), device=images.device)
    for step, batch in enumerate(batches):
        z = torch.randn(len(batch), LATENT_DIM, device=images.device)
        real = dataset.scale(images[batch[rank::world]])
        history[step] = train_step(gan, adams, real, z[rank::world], args)
        if averaged and step % AVERAGE_EVERY == 0:
            averaged.update_parameters(generator)
    buffers = [*generator.buffers(), *(averaged.buffers() if averaged else [])]
    average([history, *(buffer for buffer in buffers if buffer.is_floating_point())])
    return history.cpu()


@torch.no_grad()
def average(tensors):
    """Replace tensors, in place, by their mean over all processes, in one exchange; alone, do nothing."""
    if not dist.is_initialized():
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def build(args, device):
    """The untrained networks of a seed and their optimizers: (generator, discriminator), (adam_g, adam_d)."""
    torch.manual_seed(args.seed)
    gan = (
        Generator(args.generator, bn_eps=args.bn_eps),
        Discriminator(**DISCRIMINATORS[args.arch] | {"dropout": args.dropout}),
    )
    # beta1 = 0.5 (Radford et al. 2015): with 0.9 Adam's momentum carries D and G past each other.
    adams = [
        torch.optim.Adam(network.parameters(), lr=args.lr, betas=(args.beta1, 0.999), fused=True) for network in gan
    ]
    return gan, adams


def train(args, position=0):
    """Train as `args` say and return the result that is also written to result.json.

    `position` is the line of the progress bar when several runs are under way.
    Raises utils.InputError for data or checkpoints that do not fit, FloatingPointError when a loss is not finite.
    """
    folder, started = args.out_dir / args.name, time.perf_counter()
    config = {name: value for name, value in vars(args).items() if name not in NOT_CONFIG}
    config["grid_epochs"] = list(args.grid_epochs)
    device = utils.pick_device(args)
    if args.precision == "bf16" and not multiplies_bf16(device):
        raise utils.InputError(f"--precision bf16: this {device.type} has no bf16 products; use --precision fp32")
    checkpoint = load_run(folder, config) if args.resume else None
    if checkpoint and (folder / "result.json").exists():
        return json.loads((folder / "result.json").read_text())

    images, _ = dataset.load(args)
    # A run's bits depend on these as well, which no option names.
    origin = {
        "images": hashlib.sha256(images.numpy()).hexdigest()[:16],
        "processes": dist.get_world_size() if dist.is_initialized() else 1,
    }
    for name, value in origin.items() if checkpoint else ():
        if checkpoint["config"].get(name) != value:
            raise utils.InputError(
                f"{folder}: this run has {name} {checkpoint['config'].get(name)} and cannot go on with {value}; "
                "--restart trains it anew"
            )
    config |= origin
    if len(images) < args.batch_size:
        raise utils.InputError(f"--batch-size {args.batch_size} is larger than the {len(images)} training images")
    images = images.to(device)
    measure = meter(args, device) if args.evaluate_every else None

    gan, adams = build(args, device)
    generator, discriminator = gan
    fixed_z = torch.randn(25, LATENT_DIM, generator=torch.Generator().manual_seed(args.seed)).to(device)
    state = {"epoch": 0, "seconds": 0.0, "history": torch.empty(0, len(HISTORY)), "samples": {}, "quality": []}
    parts = {"generator": generator, "discriminator": discriminator, "adam_g": adams[0], "adam_d": adams[1]}
    averaged = None
    if args.ema:
        mean = get_ema_multi_avg_fn(args.ema**AVERAGE_EVERY)
        averaged = parts["averaged"] = AveragedModel(generator, multi_avg_fn=mean, use_buffers=True)
    if checkpoint:
        restore(folder / "checkpoint.pt", checkpoint, parts, state, device)
    before = state["seconds"]

    def save():
        states = {name: part.state_dict() for name, part in parts.items()}
        data = {"kind": "gan", "config": config, "rng": rng_state(device), **state, **states}
        utils.save_checkpoint(folder / "checkpoint.pt", data)

    writes = not dist.is_initialized() or dist.get_rank() == 0
    with utils.hold(folder) if writes else contextlib.nullcontext():
        if writes and not checkpoint:
            (folder / "result.json").unlink(missing_ok=True)
            utils.save_json(folder / "config.json", config | utils.provenance(device))
            save()  # a run that is stopped in its first epoch can be resumed as well
        bar = tqdm(
            range(state["epoch"] + 1, args.epochs + 1),
            desc=args.name,
            unit="epoch",
            position=position,
            initial=state["epoch"],
            total=args.epochs,
            disable=not writes,
        )
        for epoch in bar:
            falling = (1 - (epoch - 1) / args.epochs) / (1 - args.decay_from) if args.decay_from < 1 else 1
            for group in adams[0].param_groups + adams[1].param_groups:
                group["lr"] = args.lr * min(1, falling)
            rows = train_epoch(gan, adams, images, args, averaged)
            check_finite(rows, gan, epoch, folder)
            state["epoch"], state["seconds"] = epoch, before + time.perf_counter() - started
            state["history"] = torch.cat([state["history"], rows])
            drawer = averaged.module if averaged else generator
            if epoch in args.grid_epochs or epoch == args.epochs:
                state["samples"][epoch] = to_bytes(sample(drawer, fixed_z))
            if measure and (epoch % args.evaluate_every == 0 or epoch == args.epochs):
                gradients = {"g_gradients": gradients_of_generator(gan, args)}
                state["quality"].append({"epoch": epoch, **measure(drawer), **gradients})
            if writes:
                save()
            means = zip(HISTORY, rows.mean(0).tolist(), strict=True)
            bar.set_postfix({name: f"{value:.2f}" for name, value in means})
        return finish(folder, config, state, device) if writes else None


def gradients_of_generator(gan, args, batches=16):
    """generator_gradients of `gan`, in training mode, for batches of latents of their own random stream."""
    device = next(gan[0].parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(10_000 + args.seed)
        return generator_gradients(*gan, torch.randn(batches, args.batch_size, LATENT_DIM, device=device))


def multiplies_bf16(device):
    """Whether the device has instructions for products of bfloat16 numbers."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = utils.cpu_abilities() if device.type == "cpu" else {}
    return any(abilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def meter(args, device):
    """A function that measures a generator's samples against the test digits of `args`, as metrics.quality does.

    Raises utils.InputError if there is no classifier, or one of another data set.
    """
    path = args.classifier or utils.subfolder(utils.RESULTS, args.dataset) / "classifier.pt"
    classifier, reader = load_classifier(path, device)
    if reader["dataset"] != args.dataset:
        raise utils.InputError(f"{path} was trained on {reader['dataset']}, not on {args.dataset}: run classifier.py")
    test = dataset.scale(dataset.load(args, train=False)[0]).to(device)
    reference = metrics.reference(*metrics.look(classifier, test))
    return lambda generator: metrics.quality(generator, classifier, reference, seed=10_000 + args.seed)


def check_finite(rows, gan, epoch, folder):
    """Stop a run whose losses, gradients or parameters are NaN or infinite, before they overwrite its checkpoint."""
    bad = (~rows.isfinite().all(1)).nonzero()
    tensors = [(name, tensor) for network in gan for name, tensor in network.state_dict().items()]
    broken = [name for name, tensor in tensors if not tensor.isfinite().all()]
    if len(bad):
        step = bad[0].item()
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(HISTORY, rows[step].tolist(), strict=True))
    elif broken:  # by the last update, which is in no row
        step, values = len(rows) - 1, f"{', '.join(broken[:3])} not finite after the update"
    else:
        return
    raise FloatingPointError(
        f"epoch {epoch}, step {step + 1}: {values}; try a smaller --lr. "
        f"The last good state, if there is one, is {folder / 'checkpoint.pt'}"
    )


def draw_samples(grids, size):
    """A row of grids of samples, {title: images (n, 784) as bytes}, each `size` inches wide."""
    # Titles and foot need 0.9 inches: with less the titles are cut off.
    figure, axes = utils.plt.subplots(1, len(grids), figsize=(max(size * len(grids), 4), size + 0.9), squeeze=False)
    for ax, (title, images) in zip(axes[0], grids.items(), strict=True):
        utils.draw_images(ax, dataset.scale(images), columns=5)
        ax.set_title(title)
    return figure


def finish(folder, config, state, device):
    """Write what a finished run leaves beside its checkpoint, result.json last."""
    history, samples = state["history"], state["samples"]
    shown = list(samples)[:: -(-len(samples) // 9)]  # a film has too many for one row
    utils.save_checkpoint(folder / "history.pt", {"kind": "gan history", "columns": HISTORY, "rows": history})
    utils.save_checkpoint(folder / "samples.pt", {"kind": "gan samples", "samples": samples})

    figure = draw_samples({f"epoch {epoch}": samples[epoch] for epoch in shown}, size=2.6)
    utils.save_figure(figure, folder / "samples.png", describe(config), config["dataset"])

    figure, ax = utils.plt.subplots(figsize=(8, 4.5))
    plot_losses(ax, history)
    ax.legend(loc="upper center", ncols=3)
    utils.save_figure(figure, folder / "losses.png", describe(config), config["dataset"])

    last = history[-(len(history) // state["epoch"]) :].mean(0)
    result = {
        "epochs": state["epoch"],
        "steps": len(history),
        "last_epoch": dict(zip(HISTORY, last.tolist(), strict=True)),
        "quality": state["quality"],
        "seconds": state["seconds"],
        "config": config,
        "provenance": utils.provenance(device),
    }
    utils.save_json(folder / "result.json", result)
    return result


def plot_losses(ax, history):
    """Both losses against the step, thin as they come and thick as a running mean, with log 2 marked."""
    for column, color, label in (0, "C0", "discriminator (mean of real and fake)"), (1, "C1", "generator"):
        values = history[:, column].numpy()
        ax.plot(values, color=color, lw=0.3, alpha=0.35, rasterized=True)
        window = max(1, len(values) // 200)
        smooth = values[: len(values) // window * window].reshape(-1, window).mean(1)
        ax.plot([window * (i + 0.5) for i in range(len(smooth))], smooth, color=color, lw=1.8, label=label)
    ax.axhline(math.log(2), color="0.3", lw=1, ls="--", label="log 2")
    top = 1.12 * history[:, :2].max().item()  # leaves room for the legend
    ax.set(xlabel="training step", ylabel="loss (nats)", xlim=(0, len(history)), ylim=(0, top))


def describe(config):
    """One line that says where a figure comes from."""
    widths = "-".join(str(width) for width in (784, *DISCRIMINATORS[config["arch"]]["widths"], 1))
    return (
        f"{utils.TITLES[config['dataset']]}; {config['arch']} D {widths}, dropout {config['dropout']:g}; "
        f"G {config['generator']}, BatchNorm eps {config['bn_eps']:g}; {config['loss']} loss, {config['scheme']}; "
        f"batch {config['batch_size']}, lr {config['lr']:g}, beta1 {config['beta1']:g}, {config['epochs']} epochs, "
        f"seed {config['seed']}"
    )


def load_run(folder, config):
    """The checkpoint of the run in `folder`, if it was started with the same options.

    Raises utils.InputError if there is none, or if an option contradicts it.
    """
    checkpoint = utils.load_checkpoint(folder / "checkpoint.pt", "gan")
    if "scheme" not in checkpoint["config"]:
        raise utils.InputError(
            f"{folder / 'checkpoint.pt'}: an earlier version of train.py trained this run, with other code; it cannot "
            "go on: move it away, or give another --name"
        )
    for name, value in config.items():
        if checkpoint["config"].get(name) != value:
            option = "--" + name.replace("_", "-")
            raise utils.InputError(
                f"{option} {value} contradicts the run in {folder}, which has {checkpoint['config'].get(name)}; "
                "--restart in the place of --resume trains it anew"
            )
    return checkpoint


def restore(path, checkpoint, parts, state, device):
    """Put a run's checkpoint back into its networks and optimizers `parts`, its `state` and the random generators.

    Raises utils.InputError if something is missing or does not fit.
    """
    try:
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
        state |= {name: checkpoint[name] for name in state}
        torch.set_rng_state(checkpoint["rng"]["cpu"].cpu())
        if device.type != "cpu" and checkpoint["rng"]["device"] is not None:
            ACCELERATORS[device.type].set_rng_state(checkpoint["rng"]["device"].cpu())
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:120]
        raise utils.InputError(f"{path}: this checkpoint does not fit the run it should resume ({reason})") from None


def rng_state(device):
    """The states of torch's random generators that a run on `device` draws from, for a checkpoint."""
    own = ACCELERATORS.get(device.type)
    return {"cpu": torch.get_rng_state(), "device": own and own.get_rng_state()}


def to_bytes(images):
    """Images in [-1, 1] as uint8, 0 to 255, on the CPU."""
    return ((images + 1) * 127.5).round().to(torch.uint8).cpu()


def load_generator(path, device):
    """The generator in eval mode and the config of its training, from a run's checkpoint or an exported generator.pt.

    The config's `epochs` are those that the checkpoint has seen.
    Raises utils.InputError if the file is missing, damaged or of another kind.
    """
    checkpoint = utils.load_checkpoint(path, "gan", device)
    config = checkpoint["config"]
    generator = Generator(config.get("generator", "written"), bn_eps=config["bn_eps"]).to(device)
    try:
        weights = checkpoint["generator"]
        if "averaged" in checkpoint:
            prefix = "module."
            weights = {name.removeprefix(prefix): w for name, w in checkpoint["averaged"].items() if prefix in name}
        generator.load_state_dict(weights)  # half precision is converted by the copy
        epochs = checkpoint["epoch"]
    except (KeyError, RuntimeError):
        raise utils.InputError(f"{path}: its weights do not fit the generator of gan.py") from None
    return generator.eval(), config | {"epochs": epochs}


def main():
    args = parse_args()
    utils.refuse_second_start(args, args.out_dir / args.name)
    rank, _ = utils.join_ranks(utils.pick_device(args))
    result = train(args)
    if dist.is_initialized():
        dist.destroy_process_group()
    if rank > 0:
        return
    last = ", ".join(f"{name} {value:.3f}" for name, value in result["last_epoch"].items())
    print(f"{result['epochs']} epochs in {result['seconds']:.0f} s; means of the last epoch: {last}")
    print(f"checkpoint, samples and losses: {args.out_dir / args.name}")


if __name__ == "__main__":
    utils.run(main, after_stop="the same command with --resume goes on after the last whole epoch")
