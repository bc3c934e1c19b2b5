"""Train the report's MLP GAN: one run, from options to checkpoint, samples and a row of results.

    python train.py                                  # the GAN of the report's text, 200 epochs of MNIST
    python train.py --recipe code --arch initial     # the settings of the author's code, the initial D, 50 epochs
    python train.py --resume                         # go on after a stop, as if there had been none
    python train.py --resume --epochs 300            # or train a finished run for longer

Reads the digits of --dataset and, with --evaluate-every, classifier.pt. Writes into OUT_DIR/NAME, where NAME holds the
recipe, the discriminator, every option off the recipe's default but --epochs, and the seed:

    checkpoint.pt              after every epoch: networks, optimizers, random states, history, samples
    samples.png, losses.png    every tenth epoch and at the end
    result.json                the run's row, at the end: options, means per epoch, bands of the losses, samples
"""

import argparse
import time

import torch
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import dataset
import files
import gan
import metrics
import plots
import runs
import utils
from checkpoint import check_finite, random_modules, restore
from classifier import with_test_digits
from utils import number

# One row a step. D's numbers are those of its training batch, dropout included; g_grad_norm is the norm of the
# gradient of G's loss by G's parameters.
HISTORY = ("d_loss", "g_loss", "d_real", "d_fake", "d_accuracy", "g_grad_norm")
SCHEMES = ("alternating", "simultaneous", "g-first")
EPOCHS = {"initial": 50, "balanced": 200}  # the report's
AVERAGE_EVERY = 4  # steps between two updates of the running average of G's weights
# What a recipe changes in the defaults of OPTIONS.
RECIPES = {
    "text": {},  # the report's text; where it is silent torch's defaults and the textbook's alternating updates
    "code": {"generator": "code", "bn_eps": 0.8, "scheme": "simultaneous"},  # the code that the author published
    "best": {"arch": "initial", "lr": 4e-4, "beta1": 0.0, "gradient_penalty": 0.3, "ema": 0.999, "decay_from": 0.5}
    | {"epochs": 60},
}
SHARE, COUNT = number(float, low=0, below=1), number(int, low=1)
# What makes a run what it is: {name: (type or choices, default, help)}.
OPTIONS = {
    "recipe": (list(RECIPES), "text", "sets the options below; those given here override it"),
    "arch": (list(gan.DISCRIMINATORS), "balanced", "which discriminator"),
    "dropout": (SHARE, None, "of the discriminator (None: that of --arch)"),
    "generator": (list(gan.GENERATORS), "text", "which generator"),
    "bn_eps": (number(float, above=0), 1e-5, "eps of BatchNorm in the generator"),
    "scheme": (list(SCHEMES), "alternating", "order of the updates (see train_step)"),
    "loss": (list(gan.GENERATOR_LOSSES), "non-saturating", "of G; minimax is equation (7)"),
    "epochs": (COUNT, None, "passes over the training images (None: 200, with --arch initial 50)"),
    "batch_size": (number(int, low=2), 64, "images per step"),
    "lr": (number(float, above=0), 2e-4, "Adam's learning rate, of both networks"),
    "beta1": (SHARE, 0.5, "Adam's decay of the mean gradient"),  # as in Radford et al. 2015
    "label_smoothing": (SHARE, 0.0, "D's target for real images is 1 minus this"),
    "gradient_penalty": (number(float, low=0), 0.0, "weight of R1 in D's loss"),
    "ema": (SHARE, 0.0, "decay per step of a running average of G's weights; 0: none"),
    "decay_from": (number(float, low=0, high=1), 1.0, "share of the epochs after which lr falls linearly to 0"),
    "seed": (number(int, low=0), 0, "fixes every random number"),
    "dataset": (list(utils.TITLES), "mnist", "typeset: the stand-in, no download"),
    "limit": (number(int, low=0), 0, "use the first so many images only (0: all)"),
}


def options(recipe="text", **own):
    """The options of a run, {name: value}: the recipe's, but for those in `own`."""
    chosen = {name: default for name, (_, default, _) in OPTIONS.items()} | RECIPES[recipe] | {"recipe": recipe} | own
    if chosen["dropout"] is None:
        chosen["dropout"] = gan.DISCRIMINATORS[chosen["arch"]]["dropout"]
    return chosen | {"epochs": chosen["epochs"] or EPOCHS[chosen["arch"]]}


def name_of(chosen):
    """Such as code_initial_seed0: the recipe, the discriminator, what departs from the recipe, and the seed."""
    usual = options(chosen["recipe"], arch=chosen["arch"])
    words = [f"{n}-{v}".replace("_", "-") for n, v in chosen.items() if v != usual[n] and n not in ("epochs", "seed")]
    return files.short_name("_".join([chosen["recipe"], chosen["arch"], *words])) + f"_seed{chosen['seed']}"


def train_step(networks, adams, real, z, args):
    """One update of D and one of G; real (batch, 784) in [-1, 1], z (batch, 100).

    `networks` is (generator, discriminator), `adams` their optimizers. args.scheme says what each learns from:

        alternating     D from images of the present G, then G from the new D (Goodfellow et al. 2014)
        simultaneous    G and D from the same images, each against the other as it was before the step: D learns from
                        images of the G before its update. Much-copied code does this, it updates G first
        g-first         G, then D from images of the new G, from the same z

    Returns the history row as a tensor (6,).
    """
    (generator, discriminator), (adam_g, adam_d) = networks, adams
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
    adam.zero_grad()
    (loss + penalty).backward(inputs=list(discriminator.parameters()))
    adam.step()
    with torch.no_grad():
        accuracy = ((real_logits > 0).float().mean() + (fake_logits < 0).float().mean()) / 2
        return loss.detach(), (real_logits.sigmoid().mean(), fake_logits.sigmoid().mean(), accuracy)


def update_g(generator, discriminator, adam, fake, args):
    """One update of G by what D says of its images `fake` (batch, 784); returns its loss and its gradient's norm."""
    loss = gan.generator_loss(discriminator(fake), args.loss)
    adam.zero_grad()
    loss.backward(inputs=list(generator.parameters()))  # of G alone: D's gradients are not computed
    adam.step()
    return loss.detach(), get_total_norm([parameter.grad for parameter in generator.parameters()])


def train_epoch(networks, adams, images, args, averaged=None):
    """One pass over `images` (n, 784) uint8 in a new random order; returns the history (steps, columns), on the CPU.

    `averaged` follows G's weights. Nothing in the loop waits for the device: the history is fetched once, at the end.
    """
    networks[0].train()
    order = torch.randperm(len(images), device=images.device)
    batches = [batch for batch in order.split(args.batch_size) if len(batch) > 1]  # BatchNorm needs two images
    history = torch.empty(len(batches), len(HISTORY), device=images.device)
    for step, batch in enumerate(batches):
        z = torch.randn(len(batch), gan.LATENT_DIM, device=images.device)
        history[step] = train_step(networks, adams, dataset.scale(images[batch]), z, args)
        if averaged and step % AVERAGE_EVERY == 0:
            averaged.update_parameters(networks[0])
    return history.cpu()


def build(args, device):
    """The untrained networks of a seed and their optimizers: (generator, discriminator), (adam_g, adam_d)."""
    torch.manual_seed(args.seed)
    generator = gan.Generator(args.generator, args.bn_eps).to(device)
    discriminator = gan.Discriminator(gan.DISCRIMINATORS[args.arch]["widths"], args.dropout).to(device)
    networks, betas = (generator, discriminator), (args.beta1, 0.999)
    return networks, [torch.optim.Adam(net.parameters(), lr=args.lr, betas=betas, fused=True) for net in networks]


def train(args):
    """Train as `args` (OPTIONS and parse_args's) say; returns the run's row, which result.json holds as well.

    With args.resume it goes on from the checkpoint in args.folder, if there is one. Raises InputError for data or a
    checkpoint that do not fit, FloatingPointError, before the last checkpoint is replaced, for numbers not finite.
    """
    started, device, path = time.perf_counter(), utils.pick_device(args), args.folder / "checkpoint.pt"
    images = dataset.load(args)[0].to(device)
    if len(images) < args.batch_size:
        raise files.InputError(f"--batch-size {args.batch_size} is larger than the {len(images)} training images")
    evaluate = evaluator(args, device) if args.evaluate_every else None
    networks, adams = build(args, device)
    generator, discriminator = networks
    fixed_z = torch.randn(25, gan.LATENT_DIM, generator=torch.Generator().manual_seed(args.seed)).to(device)
    parts = {"generator": generator, "discriminator": discriminator, "adam_g": adams[0], "adam_d": adams[1]}
    averaged = None
    if args.ema:
        mean = get_ema_multi_avg_fn(args.ema**AVERAGE_EVERY)
        averaged = parts["averaged"] = AveragedModel(generator, multi_avg_fn=mean, use_buffers=True)
    state = {"options": {name: getattr(args, name) for name in OPTIONS}, "epoch": 0, "seconds": 0.0}
    state |= {"history": torch.empty(0, len(HISTORY)), "samples": {}, "quality": [], "code": CODE}
    if args.resume and path.exists():
        state |= restore(path, state["options"], parts, CODE, device)
    before, drawn_at = state["seconds"], sample_epochs(args.epochs)
    args.folder.mkdir(parents=True, exist_ok=True)

    bar = {"total": args.epochs, "initial": state["epoch"], "unit": "epoch", "position": args.position}
    with utils.progress(desc=args.folder.name, **bar) as progress:
        for epoch in range(state["epoch"] + 1, args.epochs + 1):
            falling = (1 - (epoch - 1) / args.epochs) / (1 - args.decay_from) if args.decay_from < 1 else 1
            for group in adams[0].param_groups + adams[1].param_groups:
                group["lr"] = args.lr * min(1, falling)
            rows = train_epoch(networks, adams, images, args, averaged)
            check_finite(rows, HISTORY, networks, f"{path}: epoch {epoch}")
            state["history"] = torch.cat([state["history"], rows])
            final = averaged.module if averaged else generator
            if epoch in drawn_at:
                state["samples"][epoch] = dataset.to_bytes(gan.sample(final, fixed_z))
            if evaluate and (epoch % args.evaluate_every == 0 or epoch == args.epochs):
                state["quality"].append({"epoch": epoch} | evaluate(networks, final, full=epoch == args.epochs))
            state |= {"epoch": epoch, "seconds": before + time.perf_counter() - started}
            state["rng"] = [module.get_rng_state() for module in random_modules(device)]
            files.save(path, {"kind": "gan"} | state | {name: part.state_dict() for name, part in parts.items()})
            if epoch % 10 == 0 or epoch == args.epochs:
                plots.draw_run(args.folder, row_of(state))
            progress.set_postfix_str(f"D's loss {rows[:, 0].mean():.2f}, G's {rows[:, 1].mean():.2f}", refresh=False)
            progress.update()
    row = row_of(state) | utils.provenance(device)
    files.save(args.folder / "result.json", row)
    return row


def evaluator(args, device):
    """A function of the networks and of G as it is sampled: metrics.quality on the test digits, and G's gradients.

    With `full` precision and recall as well. torch's random states stay as they are.
    """
    classifier, test = with_test_digits(args, device)
    reference, digits = metrics.gaussian(test[0]), metrics.manifold(metrics.thinned(test[0], 5000))

    def evaluate(networks, generator, full):
        states = [module.get_rng_state() for module in random_modules(device)]
        gradients = metrics.generator_gradients(networks, args.batch_size, seed=10_000 + args.seed)
        for module, state in zip(random_modules(device), states, strict=True):
            module.set_rng_state(state)
        found = metrics.quality(generator, classifier, reference, digits if full else None, seed=10_000 + args.seed)
        return found | {"g_gradients": gradients}

    return evaluate


def sample_epochs(epochs):
    """When samples are drawn: after the first, middle and last epoch and some 40 between them, close at first."""
    return sorted({round(epochs ** (i / 50)) for i in range(51)} | {1, max(1, epochs // 2), epochs})


def row_of(state):
    """The row of a run so far: options, means per epoch, bands of the losses, evaluations, samples (dataset.pack)."""
    history, epochs = state["history"], state["epoch"]
    means = torch.stack([part.mean(0) for part in history.chunk(epochs)])
    return state["options"] | {
        "by_epoch": {name: [round(v, 4) for v in means[:, i].tolist()] for i, name in enumerate(HISTORY)},
        "bands": {name: plots.band(history[:, i]) for i, name in enumerate(HISTORY[:2])},
        "steps": len(history),
        "quality": state["quality"],
        "samples": {str(epoch): dataset.pack(images) for epoch, images in state["samples"].items()},
        "seconds": round(state["seconds"], 1),
        "code": state["code"],
    }


CODE = files.digest(*(utils.HERE / name for name in ("gan.py", "train.py", "dataset.py")))  # of what trains here


def add_evaluation(parser):
    """Add the options of the evaluations of a run, or of a study's runs; they do not change how it trains."""
    add = parser.add_argument
    add("--evaluate-every", type=number(int, low=0), default=10, help="epochs between two evaluations; 0: never")
    add("--classifier", type=utils.path, help="the classifier for them (default: the repository's)")


def parse_args(argv=None):
    """The options of one run; `argv` defaults to the command line."""
    parser = utils.Parser("Train the MLP GAN.")
    for name, (kind, default, help) in OPTIONS.items():
        kind = {"choices": kind} if isinstance(kind, list) else {"type": kind}
        if name != "seed":
            parser.add_argument("--" + name.replace("_", "-"), default=default, help=help, **kind)
    add_evaluation(parser)
    dataset.add_data_dir(parser)
    parser.set_defaults(evaluate_every=0, position=0)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the run's checkpoint; also with more --epochs")
    start.add_argument("--restart", action="store_true", help="train anew where a run lies, in its place")
    utils.add_options(parser, threads=min(4, runs.CORES))
    parser.set_defaults(**RECIPES[parser.parse_args(argv).recipe])
    args = parser.parse_args(argv)
    chosen = options(**{name: getattr(args, name) for name in OPTIONS})
    return argparse.Namespace(**vars(args) | chosen | {"folder": args.out_dir / name_of(chosen)})


def main(argv=None):
    args = parse_args(argv)
    there = (args.folder / "checkpoint.pt").exists()
    if there and not (args.resume or args.restart):
        raise files.InputError(f"{args.folder}: a run lies here; --resume goes on with it, --restart replaces it")
    if args.resume and not there:
        raise files.InputError(f"--resume: no run of these options lies in {args.folder}")
    with files.hold(args.folder):
        row = train(args)
    last = ", ".join(f"{name} {values[-1]:.3f}" for name, values in row["by_epoch"].items())
    print(f"{row['epochs']} epochs in {row['seconds']:.0f} s; means of the last epoch: {last}")
    print(f"checkpoint, samples and losses: {args.folder}")


if __name__ == "__main__":
    utils.run(main, after_stop="the same command with --resume goes on after the last whole epoch")
