"""Train the report's MLP GAN: one run, from options to checkpoint, history and samples.

    python train.py                                     # the GAN of the report's text, 200 epochs of MNIST
    python train.py --recipe published --arch initial   # the report's code, its first discriminator, 50 epochs
    python train.py --resume                            # continue after a stop, as if there had been none
    torchrun --nproc-per-node 2 train.py                # data-parallel: each process takes its share of every batch

Reads the digits of --dataset and, with --evaluate-every, classifier.pt. Writes into the run's folder OUT_DIR/NAME:

    config.json      options, seed, data set, versions, commit
    checkpoint.pt    before the first epoch and after every one: networks, optimizers, random states, history, samples
    samples.png, losses.png    after every evaluation and every tenth epoch
    history.pt       {"columns": HISTORY, "rows": (steps, columns)}
    samples.pt       {"samples": {epoch: (25, 784) uint8}}, from the same 25 latents, in eval mode
    result.json      written last: it marks a finished run

Under torchrun all processes draw the same batch and the same latents, each takes its share of the rows, and the
gradients are averaged before each Adam step. BatchNorm normalises each share by itself, as torch's
DistributedDataParallel does; its running statistics are averaged after every epoch. Dropout drops the same units in
the same row of every share. Rank 0 writes.
"""

import contextlib
import hashlib
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

import dataset
import gan
import metrics
import plots
import run_folder
import utils
from classifier import with_test_digits

# One row a step. D's numbers are those of its training batch, dropout included; g_grad_norm is the norm of the
# gradient of G's loss by G's parameters.
HISTORY = ("d_loss", "g_loss", "d_real", "d_fake", "d_accuracy", "g_grad_norm")
SCHEMES = ("alternating", "simultaneous", "g-first")
EPOCHS = {"initial": 50, "balanced": 200}  # the report's
AVERAGE_EVERY = 4  # steps between two updates of the running average of G's weights
GRID_EPOCHS = (1, 2, 5, 10, 20, 50, 100, 150, 200)
# What a recipe changes in the defaults of the options.
RECIPES = {
    "written": {},  # the report's text; where it is silent torch's defaults and the textbook's alternating updates
    "published": {"generator": "published", "bn_eps": 0.8, "scheme": "simultaneous"},  # the report's published code
    "best": {"arch": "initial", "beta1": 0.0, "gradient_penalty": 0.3, "ema": 0.999, "decay_from": 0.5, "epochs": 60},
}


def parse_args(argv=None):
    """The options of one run; `argv` defaults to the command line."""
    parser = utils.Parser("Train the MLP GAN.")
    count, rate, share = utils.number(int, low=1), utils.number(float, above=0), utils.number(float, low=0, below=1)
    closed, natural = utils.number(float, low=0, high=1), utils.number(int, low=0)
    add = parser.add_argument
    add("--recipe", choices=RECIPES, default="written", help="sets the options below; those given here override it")
    add("--arch", choices=gan.DISCRIMINATORS, default="balanced", help="which discriminator")
    add("--dropout", type=share, help="of the discriminator (default: that of --arch)")
    add("--generator", choices=gan.GENERATORS, default="written", help="which generator")
    add("--bn-eps", type=rate, default=1e-5, help="eps of BatchNorm in the generator")
    add("--scheme", choices=SCHEMES, default="alternating", help="order of the updates (see train_step)")
    add("--loss", choices=gan.GENERATOR_LOSSES, default="non-saturating", help="of G; minimax is equation (7)")
    add("--epochs", type=count, help="passes over the training images (default: 200, with --arch initial 50)")
    add("--batch-size", type=utils.number(int, low=2), default=64, help="images per step")
    add("--lr", type=rate, default=2e-4, help="Adam's learning rate, of both networks")
    add("--beta1", type=share, default=0.5, help="Adam's decay of the mean gradient")  # as in Radford et al. 2015
    add("--label-smoothing", type=share, default=0.0, help="D's target for real images is 1 minus this")
    add("--gradient-penalty", type=utils.number(float, low=0), default=0.0, help="weight of R1 in D's loss")
    add("--ema", type=share, default=0.0, help="decay per step of a running average of G's weights; 0: none")
    add("--decay-from", type=closed, default=1.0, help="share of the epochs after which lr falls linearly to 0")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: matrix products under torch.autocast")
    add("--grid-epochs", type=count, nargs="*", default=GRID_EPOCHS, help="epochs at which to draw samples")
    add("--evaluate-every", type=natural, default=0, help="epochs between two evaluations of samples; 0: never")
    add("--classifier", type=Path, help="the classifier for them (default: the one in the repository)")
    add("--name", type=run_folder.folder_name, help="the run's folder (default: recipe, what departs from it, seed)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="continue from the run's checkpoint")
    start.add_argument("--restart", action="store_true", help="train anew where a run lies, in its place")
    dataset.add_data_options(parser)
    utils.add_common_options(parser)
    parser.set_defaults(**RECIPES[parser.parse_args(argv).recipe])
    args = parser.parse_args(argv)
    args.name = args.name or run_name(args, parser)
    args.dropout = gan.DISCRIMINATORS[args.arch]["dropout"] if args.dropout is None else args.dropout
    args.epochs = args.epochs or EPOCHS[args.arch]
    return args


# Where a run is computed and written; every other option is part of its config.
NOT_CONFIG = {"recipe", "resume", "restart", "name", "classifier", "out_dir", "figures_dir", "data_dir"}
NOT_CONFIG |= {"device", "threads"}


def config_of(args):
    """The options that make the run what it is, as its files hold them."""
    config = {name: value for name, value in vars(args).items() if name not in NOT_CONFIG}
    return config | {"grid_epochs": list(args.grid_epochs)}


def run_name(args, parser):
    """The recipe, every option that changes numbers and departs from it, and the seed: written_arch-initial_seed0."""
    same_numbers = {*NOT_CONFIG, "seed", "grid_epochs", "evaluate_every"}
    given = {name: value for name, value in vars(args).items() if name not in same_numbers}
    words = [f"{name}-{value}".replace("_", "-") for name, value in given.items() if value != parser.get_default(name)]
    return "_".join([args.recipe, *words, f"seed{args.seed}"])


def train_step(networks, adams, real, z, args):
    """One update of D and one of G; real (batch, 784) in [-1, 1], z (batch, latent_dim).

    `networks` is (generator, discriminator), `adams` their optimizers. args.scheme says what each learns from:

        alternating     D from images of the present G, then G from the new D (Goodfellow et al. 2014)
        simultaneous    G and D from the same images, each against the other as it was before the step: D learns from
                        images of the G before its update. Much-copied code does this, it updates G first
        g-first         G, then D from images of the new G, from the same z

    Returns the history row as a tensor (6,).
    """
    (generator, discriminator), (adam_g, adam_d) = networks, adams
    # Weights change within a step, so autocast must not keep rounded copies of them (cache_enabled).
    with torch.autocast(real.device.type, torch.bfloat16, enabled=args.precision == "bf16", cache_enabled=False):
        fake = generator(z)
        if args.scheme == "alternating":
            d_loss, d_outputs = update_d(discriminator, adam_d, real, fake.detach(), args)
            g_loss, g_grad_norm = update_g(generator, discriminator, adam_g, fake, args)
        else:
            g_loss, g_grad_norm = update_g(generator, discriminator, adam_g, fake, args)
            if args.scheme == "g-first":
                fake = generator(z)
            d_loss, d_outputs = update_d(discriminator, adam_d, real, fake.detach(), args)
    return torch.stack([d_loss, g_loss, *d_outputs, g_grad_norm])


def update_d(discriminator, adam, real, fake, args):
    """One update of D on real and generated images (batch, 784).

    Returns its loss, with its mean output D(x), its mean output D(G(z)) and its accuracy, all before the update.
    """
    real.requires_grad_(args.gradient_penalty > 0)
    real_logits, fake_logits = discriminator(torch.cat([real, fake])).chunk(2)
    loss = gan.discriminator_loss(real_logits, fake_logits, args.label_smoothing)
    penalty = args.gradient_penalty * gan.gradient_penalty(real_logits, real) if args.gradient_penalty else 0
    descend(loss + penalty, discriminator, adam)
    with torch.no_grad():
        accuracy = ((real_logits > 0).float().mean() + (fake_logits < 0).float().mean()) / 2
        return loss.detach(), (real_logits.sigmoid().mean(), fake_logits.sigmoid().mean(), accuracy)


def update_g(generator, discriminator, adam, fake, args):
    """One update of G by what D says of its images `fake` (batch, 784); returns its loss and its gradient's norm."""
    loss = gan.generator_loss(discriminator(fake), args.loss)
    gradients = descend(loss, generator, adam)
    squares = [gradient.flatten().dot(gradient.flatten()) for gradient in gradients]  # a third of norm()'s time
    return loss.detach(), torch.stack(squares).sum().sqrt()


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


@torch.no_grad()
def average(tensors):
    """Replace tensors, in place, by their mean over all processes; does nothing in a single process."""
    if dist.is_initialized():
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def train_epoch(networks, adams, images, args, averaged=None):
    """One pass over `images` (n, 784) uint8 in a new random order; returns the history (steps, columns), on the CPU.

    `averaged` follows G's weights. Nothing in the loop waits for the device: the history is fetched once, at the end.
    """
    generator, _ = networks
    generator.train()
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    order = torch.randperm(len(images), device=images.device)
    # Every process has the same number of rows, and two at least, for BatchNorm.
    batches = [batch[: len(batch) // world * world] for batch in order.split(args.batch_size)]
    batches = [batch for batch in batches if len(batch) >= 2 * world]
    history = torch.empty(len(batches), len(HISTORY), device=images.device)
    for step, batch in enumerate(batches):
        z = torch.randn(len(batch), gan.LATENT_DIM, device=images.device)
        real = dataset.scale(images[batch[rank::world]])
        history[step] = train_step(networks, adams, real, z[rank::world], args)
        if averaged and step % AVERAGE_EVERY == 0:
            averaged.update_parameters(generator)
    buffers = [*generator.buffers(), *(averaged.buffers() if averaged else [])]
    average([history, *(buffer for buffer in buffers if buffer.is_floating_point())])
    return history.cpu()


def build(args, device):
    """The untrained networks of a seed and their optimizers: (generator, discriminator), (adam_g, adam_d)."""
    torch.manual_seed(args.seed)
    generator = gan.Generator(args.generator, bn_eps=args.bn_eps).to(device)
    discriminator = gan.Discriminator(gan.DISCRIMINATORS[args.arch]["widths"], args.dropout).to(device)
    networks, betas = (generator, discriminator), (args.beta1, 0.999)
    return networks, [torch.optim.Adam(net.parameters(), lr=args.lr, betas=betas, fused=True) for net in networks]


def train(args, position=0):
    """Train as `args` say; returns what is also written to result.json, None on ranks other than 0.

    `position` is the line of the progress bar when several runs are under way.
    Raises utils.InputError for data or checkpoints that do not fit, FloatingPointError when a number is not finite.
    """
    folder, started = args.out_dir / args.name, time.perf_counter()
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    if args.batch_size < 2 * world:
        raise utils.InputError(f"--batch-size {args.batch_size}: {world} processes need two images each, {2 * world}")
    device, config = utils.pick_device(args), config_of(args)
    if args.precision == "bf16" and not multiplies_bf16(device):
        raise utils.InputError(f"--precision bf16: this {device.type} has no bf16 products; use --precision fp32")
    checkpoint = run_folder.load(folder, config) if args.resume else None
    if checkpoint and (folder / "result.json").exists():
        return None if rank else utils.load_json(folder / "result.json", "epochs", "seconds", "last_epoch")

    images, _ = dataset.load(args)
    if len(images) < args.batch_size:
        raise utils.InputError(f"--batch-size {args.batch_size} is larger than the {len(images)} training images")
    # A run's bits depend on these as well, which no option names.
    config |= {"images": hashlib.sha256(images.numpy()).hexdigest()[:16], "processes": world}
    images = images.to(device)
    evaluate = evaluator(args, device) if args.evaluate_every else None

    networks, adams = build(args, device)
    generator, discriminator = networks
    fixed_z = torch.randn(25, gan.LATENT_DIM, generator=torch.Generator().manual_seed(args.seed)).to(device)
    state = {"epoch": 0, "seconds": 0.0, "history": torch.empty(0, len(HISTORY)), "samples": {}, "quality": []}
    # A checkpoint holds `state` and, of each of the `parts`, its state_dict.
    parts = {"generator": generator, "discriminator": discriminator, "adam_g": adams[0], "adam_d": adams[1]}
    averaged = None
    if args.ema:
        mean = get_ema_multi_avg_fn(args.ema**AVERAGE_EVERY)
        averaged = parts["averaged"] = AveragedModel(generator, multi_avg_fn=mean, use_buffers=True)
    if checkpoint:
        run_folder.check_config(folder, checkpoint["config"], config)
        run_folder.restore(folder, checkpoint, parts, state, device)
    before = state["seconds"]

    with contextlib.nullcontext() if rank else utils.hold(folder, args):
        if rank == 0 and not checkpoint:
            (folder / "result.json").unlink(missing_ok=True)
            utils.save_json(folder / "config.json", config | utils.provenance(device))
            run_folder.save(folder, config, parts, state, device)  # a stop in the first epoch can be resumed as well
        epochs = range(state["epoch"] + 1, args.epochs + 1)
        bar = {"total": args.epochs, "initial": state["epoch"], "unit": "epoch", "position": position}
        for epoch in (progress := tqdm(epochs, args.name, disable=rank > 0 or None, **bar)):
            falling = (1 - (epoch - 1) / args.epochs) / (1 - args.decay_from) if args.decay_from < 1 else 1
            for group in adams[0].param_groups + adams[1].param_groups:
                group["lr"] = args.lr * min(1, falling)
            rows = train_epoch(networks, adams, images, args, averaged)
            run_folder.check_finite(rows, HISTORY, networks, epoch, folder)
            state["epoch"], state["seconds"] = epoch, before + time.perf_counter() - started
            state["history"] = torch.cat([state["history"], rows])
            final = averaged.module if averaged else generator
            if epoch in args.grid_epochs or epoch == args.epochs:
                state["samples"][epoch] = plots.to_bytes(gan.sample(final, fixed_z))
            if is_due(epoch, args.evaluate_every, args.epochs):
                gradients = metrics.generator_gradients(networks, args.batch_size, seed=10_000 + args.seed)
                state["quality"].append({"epoch": epoch, **evaluate(final), "g_gradients": gradients})
            if rank == 0:
                run_folder.save(folder, config, parts, state, device)
                if epoch < args.epochs and (is_due(epoch, 10) or is_due(epoch, args.evaluate_every)):
                    plots.draw_run(folder, config, state["history"], state["samples"])
            means = zip(HISTORY, rows.mean(0).tolist(), strict=True)
            progress.set_postfix({name: f"{value:.2f}" for name, value in means})
        return run_folder.finish(folder, config, HISTORY, state, device) if rank == 0 else None


def is_due(epoch, every, last=None):
    """Whether something that is done after every so many epochs (0: never), and after the last, is due now."""
    return every > 0 and (epoch % every == 0 or epoch == last)


def evaluator(args, device):
    """A function that compares a generator's samples with the test digits of `args`, as metrics.quality does.

    Raises utils.InputError as with_test_digits does.
    """
    classifier, test = with_test_digits(args, device)
    reference = metrics.reference(*test)
    return lambda generator: metrics.quality(generator, classifier, reference, seed=10_000 + args.seed)


def multiplies_bf16(device):
    """Whether the device has instructions for products of bfloat16 numbers."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = utils.cpu_abilities() if device.type == "cpu" else {}
    return any(abilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def main(argv=None):
    args = parse_args(argv)
    utils.join_ranks(utils.pick_device(args))
    result = train(args)
    if dist.is_initialized():
        dist.destroy_process_group()
    if result:
        last = ", ".join(f"{name} {value:.3f}" for name, value in result["last_epoch"].items())
        print(f"{result['epochs']} epochs in {result['seconds']:.0f} s; means of the last epoch: {last}")
        print(f"checkpoint, samples and losses: {args.out_dir / args.name}")


if __name__ == "__main__":
    utils.run(main, after_stop="the same command with --resume goes on after the last whole epoch")
