"""Does the gradient vanish? |dL/dh_t| and |dL/dc_t| over the steps t, and what the LSTM's forget gates let through.

    python -m studies.gradients --train-length 25 --forget-bias 4    trained on 25 digits, measured on 100; an LSTM with
                                                                     forget bias 4 besides: about 10 minutes
    python -m studies.gradients --out-dir mine                       trained on 100 digits: 5 seeds, about an hour
    python -m studies.gradients --out-dir mine --input-length 25     the report's longest input

L is the cross entropy of one palindrome and dL/dh_t its total derivative, through everything that comes after h_t; |.|
is the Euclidean norm over the hidden units. A curve is the mean of these norms over one batch of validation
palindromes, at each t, in double precision and by the equations (lstm.py, rnn.py). It is drawn relative to its last
value: how much of the last step's gradient reaches step t, whatever the size of the loss.

By equation (5), c_T holds the share f_2 (.) ... (.) f_T of c_1, unit by unit: as much as the forget gates let through.
The first digit may survive without it, if it is handed from unit to unit by way of h.

The networks are those of train.py, before their first and after their last update, one run per seed; finished runs with
the same options in OUT_DIR/gradients are used as they are. A run that does not learn its task is measured as well: the
accuracies stand beside the curves. Far from its training length a network may still hold the first digit and give it
another name, so there is a renamed accuracy too (see `renamed_accuracy`).

Writes OUT_DIR/gradients.json (every curve; the decay per step and the last gradient over the first, as medians and
ranges over the seeds; units that keep more than half of c_1), and in FIGURES_DIR gradients.png and gates.png (one
palindrome, read by the LSTM with the best validation accuracy at the length that it was trained on).
"""

import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import cells
import dataset
import plots
import run_folder
import sweep
import train
import utils
from cells import CELLS
from claims import VANISHED, vanished
from sweep import median_and_range
from utils import number

GATES = ["input gate", "forget gate", "output gate"]


def gradient_curves(model, digits, targets):
    """|dL/dz_t| for each state z of the cell, mean over the rows: {"h": (time), "c": (time)}; an RNN has no "c".

    digits int64 (rows, time), targets int64 (rows); L is each row's own cross entropy.
    """
    steps = [states if isinstance(states, tuple) else (states,) for states in model.steps(digits)]
    loss = F.cross_entropy(model.W_ph(steps[-1][0]), targets, reduction="sum")  # no row's gradient holds another's
    curves = {}
    for name, states in zip("hc", zip(*steps, strict=True), strict=False):
        gradients = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
        scale = gradients.abs().amax(2, keepdim=True).clamp(min=1e-300)  # squares would underflow long before
        curves[name] = ((gradients / scale).norm(dim=2) * scale[:, :, 0]).mean(1)
    return curves


def decay(curve):
    """The factor from step t to step t - 1, geometric mean over a curve's steps; None if only zeros are left.

    Leading zeros, gradients too small for a double, are left out.
    """
    first = next((t for t, value in enumerate(curve[:-1]) if value > 0), None)
    if first is None or curve[-1] == 0:
        return None
    return math.exp((math.log(curve[first]) - math.log(curve[-1])) / (len(curve) - 1 - first))


@torch.no_grad()
def gate_values(model, digits):
    """The gates of lstm.LSTM at every step, equations (2)-(4): digits int64 (rows, time) -> i, f, o in (0, 1).

    Each (rows, time, units). From the states that the model computes: a gate depends on x_t and h_(t-1) alone.
    """
    h = model.states(digits)[0]
    x, before = F.one_hot(digits, model.input_size).to(h.dtype), F.pad(h[:, :-1], (0, 0, 1, 0))  # h_0 = 0
    i = torch.sigmoid(model.W_ix(x) + model.W_ih(before))
    f = torch.sigmoid(model.W_fx(x) + model.W_fh(before))
    o = torch.sigmoid(model.W_ox(x) + model.W_oh(before))
    return i, f, o


def kept_of_first(f):
    """The share of c_1 in c_t: forget gates (rows, time, units) -> f_2 (.) ... (.) f_t, 1 at the first step."""
    return torch.cat([torch.ones_like(f[:, :1]), f[:, 1:]], dim=1).cumprod(dim=1)


def survival(f):
    """How many units there are, and how many keep more than half of c_1 to the end, mean over the rows.

    f is the forget gates (rows, time, units).
    """
    counts = (kept_of_first(f)[:, -1] > 0.5).sum(1)
    return {"units": f.shape[2], "units_keeping_half": counts.double().mean().item()}


def name_of(run_args):
    """What the run's network is called in figure and results, such as "LSTM, forget bias 1"."""
    bias = "" if run_args.forget_bias is None else f", forget bias {run_args.forget_bias:g}"
    return CELLS[run_args.cell].label + bias


def plan(args):
    """The options of every run, network by network and seed by seed; InputError if they do not go together."""
    dataset.sizes(args.input_length, args.total_len, args.train_portion)
    networks = [("lstm", None), ("rnn", None)]
    if args.forget_bias is not None:
        networks.insert(1, ("lstm", args.forget_bias))
    return [
        sweep.one_run(args, "gradients", cell=cell, forget_bias=bias, input_length=length, seed=seed)
        for length in args.train_length
        for cell, bias in networks
        for seed in range(args.seed, args.seed + args.seeds)
    ]


def trained_weights(run_args):
    """The weights of a finished run, as a state_dict."""
    return utils.load_checkpoint(sweep.folder_of(run_args) / "checkpoint.pt", run_folder.KIND)["model"]


def network(cell, run_args, state):
    """A network of class `cell` with the weights `state`, a state_dict."""
    model = cell(hidden_size=run_args.hidden_size)
    model.load_state_dict(state)
    return model


def validation(run_args, length):
    """The run's validation split at this length: digits int64 (rows, length), targets int64 (rows)."""
    options = (run_args.total_len, run_args.train_portion, run_args.data_seed, run_args.seed)
    digits, targets = dataset.load(length, *options)["validation"]
    return digits.long(), targets


@torch.no_grad()
def renamed_accuracy(model, digits, targets):
    """The accuracy if each answer stands for the digit that it was most often given for; .1 is chance.

    That digit is found on the first half of the rows, and the share is of the other: digits int64 (rows, time), targets
    int64 (rows).
    """
    answers = torch.cat([model(part).argmax(dim=1) for part in digits.split(train.EVALUATION_BATCH)])
    half = len(digits) // 2
    meant = torch.stack([targets[:half][answers[:half] == answer].bincount(minlength=10) for answer in range(10)])
    return (meant.argmax(dim=1)[answers[half:]] == targets[half:]).double().mean().item()


def measure(run_args, state, input_length, trained_on):
    """One row of the results: the run's network with the weights `state`, at `input_length`.

    trained_on: the length it was trained on, or None. For a trained LSTM the row also has its gates' `survival` on a
    validation batch of that length, and the accuracy on the whole split of that length.
    """
    digits, targets = validation(run_args, input_length)
    kind, _, _ = cells.pick(run_args.cell, run_args.implementation, run_args.hidden_size)
    fast, rows = network(kind, run_args, state), run_args.batch_size
    model = network(CELLS[run_args.cell].equations, run_args, state).double()
    curves = gradient_curves(model, digits[:rows], targets[:rows])
    curves = {name: curve.tolist() for name, curve in curves.items()}
    row = {
        "network": name_of(run_args),
        "cell": run_args.cell,
        "trained_on": trained_on,
        "seed": run_args.seed,
        "validation_accuracy": train.evaluate(fast, digits, targets)[1],
        "renamed_accuracy": renamed_accuracy(fast, digits, targets),
        "last_over_first": {name: curve[-1] / curve[0] if curve[0] else None for name, curve in curves.items()},
        "decay_per_step": {name: decay(curve) for name, curve in curves.items()},
        "curves": {name: [float(f"{value:.3g}") for value in curve] for name, curve in curves.items()},
    }
    if trained_on and run_args.cell == "lstm":
        digits, targets = validation(run_args, trained_on)
        row["gates"] = {"validation_accuracy": train.evaluate(fast, digits, targets)[1]}
        row["gates"] |= survival(gate_values(model, digits[:rows])[1])
    return row


def summarise(rows):
    """Medians and ranges over the seeds of what `measure` returned, a dictionary for each stage and network."""
    groups = {}
    for row in rows:
        groups.setdefault((row["trained_on"], row["network"]), []).append(row)
    return [
        {"trained_on": trained_on, "network": name, "cell": group[0]["cell"], "seeds": len(group)}
        | {name: median_and_range([row[name] for row in group]) for name in ("validation_accuracy", "renamed_accuracy")}
        | {
            quantity: {state: median_and_range([row[quantity][state] for row in group]) for state in group[0]["curves"]}
            for quantity in ("last_over_first", "decay_per_step")
        }
        for (trained_on, name), group in groups.items()
    ]


def stage(trained_on):
    """What a panel shows; trained_on is a length or None."""
    return f"trained on {trained_on} digits" if trained_on else "untrained"


def answer(rows, input_length):
    """In how many networks does the gradient vanish? A sentence for each stage; rows: what `measure` returned."""
    sentences = []
    for trained_on in dict.fromkeys(row["trained_on"] for row in rows):
        own, counts = [row for row in rows if row["trained_on"] == trained_on], []
        for name in dict.fromkeys(row["network"] for row in own):
            lost = [vanished(row["last_over_first"]["h"]) for row in own if row["network"] == name]
            counts.append(f"{sum(lost)} of {len(lost)} ({name})")
        sentences.append(
            f"{stage(trained_on).capitalize()}, {input_length} steps: the norm of the gradient with respect to h at "
            f"the last step is over {VANISHED:,} times that at the first, so it has vanished, in {', '.join(counts)}."
        )
    return sentences


def plot_gradients(rows, summary, args, path):
    """Write the gradient norms over t, relative to the last step's, to `path`: a panel for each stage of training."""
    stages = list(dict.fromkeys(entry["trained_on"] for entry in summary))
    figure, panels = plt.subplots(1, len(stages), figsize=(4.6 * len(stages), 5.2), sharey=True)
    t = range(1, args.input_length + 1)
    for axes, trained_on in zip(panels, stages, strict=True):
        for entry in (entry for entry in summary if entry["trained_on"] == trained_on):
            name = entry["network"]
            plain = name == CELLS[entry["cell"]].label
            colour = CELLS[entry["cell"]].colour if plain else plots.FURTHER_COLOURS[0]
            accuracies = (entry[of]["median"] for of in ("validation_accuracy", "renamed_accuracy"))
            accuracy = " (accuracy {:.2f}, renamed {:.2f})".format(*accuracies)
            group = [row for row in rows if (row["trained_on"], row["network"]) == (trained_on, name)]
            for state, factor in reversed(entry["decay_per_step"].items()):
                curves = torch.tensor([row["curves"][state] for row in group], dtype=torch.float64)
                curves = curves / curves[:, -1:]
                curves[curves == 0] = math.nan  # a gap: a logarithmic axis has no zero
                label = f"{name}{accuracy}, {state}$_t$" + (
                    f": \u00d7 {factor['median']:.2f} per step" if factor else ""
                )
                accuracy = ""  # once is enough
                style = "--" if (entry["cell"], state) == ("lstm", "h") else "-"
                axes.fill_between(
                    t, curves.amin(0).numpy(), curves.amax(0).numpy(), color=colour, alpha=0.15, linewidth=0
                )
                axes.plot(t, curves.quantile(0.5, 0), color=colour, linestyle=style, label=label)
        axes.set(yscale="log", xlabel="step t (digits read)", xlim=(1, args.input_length), title=stage(trained_on))
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13))  # inside, it would hide lines
    panels[0].set_ylabel("gradient norm at step t / at the last step")
    source = f"studies/gradients.py: |dL/dh_t| and |dL/dc_t|, {args.batch_size} validation palindromes, "
    source += f"{args.input_length} digits read; accuracies: all validation palindromes of that length; renamed: if "
    source += "each answer stands for the digit that it was most often given for; \u00d7: geometric mean of the factor "
    source += f"from t to t - 1; median and range of {plots.seeds_text(args.seed, args.seeds)}; {args.optimizer}, "
    source += plots.source_text(args)
    utils.save_figure(figure, path, source)


def plot_gates(values, title, path, source):
    """Write one palindrome's gates over t, and what is left of c_1 in each unit, to `path`.

    values: i, f, o as `gate_values` returns them, with one row each.
    """
    length = values[0].shape[1]
    t = range(1, length + 1)
    figure, grid = plt.subplot_mosaic([[name, "left"] for name in GATES], figsize=(9, 5))
    for name, gate in zip(GATES, values, strict=True):
        low, high = gate[0].quantile(gate.new_tensor([0.1, 0.9]), dim=1)
        grid[name].fill_between(
            t, low.numpy(), high.numpy(), color="0.5", alpha=0.3, linewidth=0, label="10 to 90 % of the units"
        )
        grid[name].plot(t, gate[0].mean(1), color="#0072B2", label="mean over the units")
        grid[name].set(ylabel=f"{name} {name[0]}$_t$", ylim=(0, 1), xlim=(0.5, length + 0.5))
        grid[name].tick_params(labelbottom=name == GATES[-1])
    grid[GATES[-1]].set_xlabel("step t (digits read)")
    grid[GATES[0]].legend(fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    kept = kept_of_first(values[1])[0].t()
    kept = kept[kept.mean(1).argsort(descending=True)].numpy()
    extent = (0.5, length + 0.5, len(kept) + 0.5, 0.5)
    image = grid["left"].imshow(kept, aspect="auto", cmap="cividis", vmin=0, vmax=1, extent=extent)
    grid["left"].grid(False)
    grid["left"].set(xlabel="step t (digits read)", ylabel="unit, in order of what they keep")
    count = (kept[:, -1] > 0.5).sum().item()
    grid["left"].set_title(f"share of c$_1$ in c$_t$; above half at the end: {count} of {len(kept)} units", fontsize=10)
    figure.colorbar(image, ax=grid["left"])
    figure.suptitle(title)
    utils.save_figure(figure, path, source)


def show_gates(run_args, row, path):
    """Write a trained LSTM's gates on the first palindrome of its validation split; row: what `measure` returned."""
    digits, targets = validation(run_args, row["trained_on"])
    palindrome = "".join(map(str, [*digits[0].tolist(), targets[0].item()]))
    title = f"{row['network']}, trained on {row['trained_on']} digits, "
    title += f"validation accuracy {row['gates']['validation_accuracy']:.3f}"
    source = f"studies/gradients.py: seed {row['seed']}, reading {palindrome}"
    model = network(CELLS["lstm"].equations, run_args, trained_weights(run_args))
    plot_gates(gate_values(model, digits[:1]), title, path, source)


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = utils.Parser("Measure the gradient over the steps of a sequence, in LSTM and vanilla RNN.")
    length = number(int, low=2, high=dataset.MAX_INPUT_LENGTH)
    add = parser.add_argument
    add("--input-length", type=length, default=100, help="digits read for the measurement")
    help = "digits to train on, a panel for each; without it --input-length"
    add("--train-length", type=length, nargs="+", help=help)
    add("--forget-bias", type=train.FORGET_BIAS, help="adds an LSTM with this initial forget bias")
    sweep.add_run_options(parser)
    args = parser.parse_args(argv)
    args.train_length = list(dict.fromkeys(args.train_length or [args.input_length]))
    return args


def main(argv=None):
    """Run from the command line: train what is missing, measure, print the answer, write results and figures."""
    start = time.perf_counter()
    args = parse_args(argv)
    runs = plan(args)
    origin = utils.provenance(utils.pick_device(args))
    utils.make_folder(args.figures_dir)
    paths = args.out_dir / "gradients.json", args.figures_dir / "gradients.png", args.figures_dir / "gates.png"
    with utils.hold(args.out_dir / "gradients"):
        for run_args in runs:
            folder = sweep.folder_of(run_args)
            if not (folder / "checkpoint.pt").exists():  # deleted: the run has to be trained again
                (folder / "result.json").unlink(missing_ok=True)
        sweep.train_all(runs, args.workers, result_only=False, restart=args.restart)
        rows = []
        for run_args in runs[: len(runs) // len(args.train_length)]:  # the first weights are those of the seed alone
            rows.append(measure(run_args, train.build(run_args).state_dict(), args.input_length, None))
        for run_args in runs:
            rows.append(measure(run_args, trained_weights(run_args), args.input_length, run_args.input_length))
        trained = zip(runs, rows[-len(runs) :], strict=True)
        shown = max(
            (pair for pair in trained if "gates" in pair[1]), key=lambda pair: pair[1]["gates"]["validation_accuracy"]
        )
        summary = summarise(rows)
        sentences = answer(rows, args.input_length)
        result = {
            "answer": sentences,
            "summary": summary,
            "runs": rows,
            **sweep.header(args, origin),
            "seconds": time.perf_counter() - start,
        }
        utils.save_json(paths[0], result)
        plot_gradients(rows, summary, args, paths[1])
        show_gates(*shown, paths[2])
    print(*sentences, *paths, sep="\n")


if __name__ == "__main__":
    utils.run(main)
