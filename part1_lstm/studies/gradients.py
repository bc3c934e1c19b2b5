"""Where the gradient goes: |dL/dh_t| and |dL/dc_t| over the steps t, and how much the LSTM's forget gates let through.

    python gradients.py                              100 digits, both cells, 5 seeds: about an hour of one core
    python gradients.py --train-length 25            trained on 25 digits, measured on 100: about 8 minutes of one
    python gradients.py --train-length 100 25        both, side by side
    python gradients.py --input-length 25            the report's longest
    python gradients.py --forget-bias 1              beside them an LSTM whose forget gate begins with that bias

Measured on one batch of validation palindromes, in double precision, with the equations one by one (lstm.py, rnn.py).
L is the cross entropy of one palindrome and dL/dh_t its total derivative, through everything that comes after h_t; |.|
is the Euclidean norm over the hidden units. A curve is the mean of these norms over the batch, at each t. It is drawn
relative to its last value: what reaches step t of what the last step gets, whatever the size of the loss.

The networks are those of train.py with the options given here, before their first and after their last update, one run
a seed; finished runs with the same options are taken as they are. A run that does not learn its task is measured as
well: the accuracies stand beside the curves.

A second figure shows the gates (gates.py) for one palindrome of the length that the LSTM was trained on; of all LSTMs
it is the one with the best validation accuracy there.

Writes OUT_DIR/gradients.json (every curve; the decay a step and the last gradient over the first, as medians and
ranges over the seeds; units that keep more than half of c_1), FIGURES_DIR/gradients.png and FIGURES_DIR/gates.png. The
runs are in OUT_DIR/gradients.
"""

import argparse
import math
import statistics
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import cells
import dataset
import train
from cells import CELLS
from compare import seeds_text, source_text
from gates import gate_values, plot_gates, survival
from sweep import add_run_options, one_run, train_all
from utils import (
    Parser,
    hold,
    load_checkpoint,
    make_folder,
    number,
    pick_device,
    provenance,
    run,
    save_figure,
    save_json,
)

BIASED_COLOUR = "#009E73"
VANISHED = 1000  # a first gradient below a thousandth of the last one counts as vanished


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
        argparse.Namespace(
            **vars(one_run(args, cell=cell, forget_bias=bias, input_length=length, seed=seed))
            | {"out_dir": args.out_dir / "gradients"}
        )
        for length in args.train_length
        for cell, bias in networks
        for seed in range(args.seed, args.seed + args.seeds)
    ]


def checkpoint_of(run_args):
    """Where the run keeps its weights."""
    return run_args.out_dir / train.run_name(run_args) / "checkpoint.pt"


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


def measure(run_args, state, input_length, trained_on):
    """One row of the results: the run's network with the weights `state`, at `input_length`.

    trained_on: the length it was trained on, or None. For a trained LSTM the row also has its gates' `survival` on a
    validation batch of that length, and the accuracy there.
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
        "last_over_first": {name: curve[-1] / curve[0] if curve[0] else None for name, curve in curves.items()},
        "decay_a_step": {name: decay(curve) for name, curve in curves.items()},
        "curves": {name: [float(f"{value:.3g}") for value in curve] for name, curve in curves.items()},
    }
    if trained_on and run_args.cell == "lstm":
        digits, targets = validation(run_args, trained_on)
        row["gates"] = {"validation_accuracy": train.evaluate(fast, digits, targets)[1]}
        row["gates"] |= survival(gate_values(model, digits[:rows])[1])
    return row


def spread(values):
    """Median, least and largest of the seeds' values; None if one of them is None."""
    if None in values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(rows):
    """Medians and ranges over the seeds of what `measure` returned, a dictionary for each stage and network."""
    groups = {}
    for row in rows:
        groups.setdefault((row["trained_on"], row["network"]), []).append(row)
    return [
        {"trained_on": trained_on, "network": name, "cell": group[0]["cell"], "seeds": len(group)}
        | {"validation_accuracy": spread([row["validation_accuracy"] for row in group])}
        | {
            quantity: {state: spread([row[quantity][state] for row in group]) for state in group[0]["curves"]}
            for quantity in ("last_over_first", "decay_a_step")
        }
        for (trained_on, name), group in groups.items()
    ]


def stage(trained_on):
    """What a panel shows; trained_on is a length or None."""
    return f"trained on {trained_on} digits" if trained_on else "untrained"


def answer(summary, input_length):
    """Does the gradient vanish, and in which network? A sentence for each stage."""
    sentences = []
    for trained_on in dict.fromkeys(entry["trained_on"] for entry in summary):
        vanished, told = [], []
        for entry in (entry for entry in summary if entry["trained_on"] == trained_on):
            ratios = {state: ratio and ratio["median"] for state, ratio in entry["last_over_first"].items()}
            if all(ratio is None or ratio > VANISHED for ratio in ratios.values()):
                vanished.append(entry["network"])
            states = " and ".join(f"{'inf' if r is None else format(r, '.2g')} ({s})" for s, r in ratios.items())
            told.append(f"{entry['network']}: {states}")
        sentences.append(
            f"{stage(trained_on).capitalize()}, {input_length} steps: the gradient vanishes in: "
            f"{'; '.join(vanished) or 'none'}. Last step's norm over the first's, median: {'; '.join(told)}."
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
            colour = CELLS[entry["cell"]].colour if name in [cell.label for cell in CELLS.values()] else BIASED_COLOUR
            accuracy = f" (accuracy {entry['validation_accuracy']['median']:.2f})"
            group = [row for row in rows if (row["trained_on"], row["network"]) == (trained_on, name)]
            for state, factor in reversed(entry["decay_a_step"].items()):
                curves = torch.tensor([row["curves"][state] for row in group], dtype=torch.float64)
                curves = curves / curves[:, -1:]
                curves[curves == 0] = math.nan  # a gap: a logarithmic axis has no zero
                label = f"{name}{accuracy}, {state}$_t$" + (f": \u00d7 {factor['median']:.2f} a step" if factor else "")
                accuracy = ""  # once is enough
                style = "--" if (entry["cell"], state) == ("lstm", "h") else "-"
                axes.fill_between(
                    t, curves.amin(0).numpy(), curves.amax(0).numpy(), color=colour, alpha=0.15, linewidth=0
                )
                axes.plot(t, curves.quantile(0.5, 0), color=colour, linestyle=style, label=label)
        axes.set(yscale="log", xlabel="step t (digits read)", xlim=(1, args.input_length), title=stage(trained_on))
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13))  # inside, it would hide lines
    panels[0].set_ylabel("gradient norm at step t / at the last step")
    source = (
        f"gradients.py: |dL/dh_t| and |dL/dc_t|, {args.batch_size} validation palindromes, {args.input_length} digits "
    )
    source += "read; \u00d7: geometric mean of the factor from t to t - 1; median and range of "
    source += f"{seeds_text(args.seed, args.seeds)}; {args.optimizer}, {source_text(args)}"
    save_figure(figure, path, source)


def show_gates(run_args, row, path):
    """Write a trained LSTM's gates on the first palindrome of its validation split; row: what `measure` returned."""
    state = load_checkpoint(checkpoint_of(run_args), train.CHECKPOINT_KIND)["model"]
    digits, targets = validation(run_args, row["trained_on"])
    palindrome = "".join(map(str, [*digits[0].tolist(), targets[0].item()]))
    title = f"{row['network']}, trained on {row['trained_on']} digits, "
    title += f"validation accuracy {row['gates']['validation_accuracy']:.3f}"
    source = f"gradients.py: seed {row['seed']}, reading {palindrome}"
    plot_gates(gate_values(network(CELLS["lstm"].equations, run_args, state), digits[:1]), title, path, source)


def parse_args(argv=None):
    """The options as a Namespace; a bad one is named in one line and exits with code 2."""
    parser = Parser("Measure how the gradient fades over the steps of a sequence, in LSTM and vanilla RNN.")
    length = number(int, low=2, high=dataset.MAX_INPUT_LENGTH)
    parser.add_argument("--input-length", type=length, default=100, help="digits that are read where it is measured")
    parser.add_argument(
        "--train-length", type=length, nargs="+", help="digits to train on, a panel for each; without it --input-length"
    )
    parser.add_argument("--forget-bias", type=number(float), help="adds an LSTM with this initial forget bias")
    add_run_options(parser)
    args = parser.parse_args(argv)
    args.train_length = list(dict.fromkeys(args.train_length or [args.input_length]))
    return args


def main(argv=None):
    """Run from the command line: train what is missing, measure, print the answer, write results and figures."""
    start = time.perf_counter()
    args = parse_args(argv)
    runs = plan(args)
    origin = provenance(pick_device(args))
    make_folder(args.figures_dir)
    with hold(args.out_dir / "gradients"):
        for run_args in runs:
            if not checkpoint_of(run_args).exists():  # deleted, or never written: the run has to be done again
                checkpoint_of(run_args).with_name("result.json").unlink(missing_ok=True)
        train_all(runs, args.workers, result_only=False)
        rows = []
        for run_args in runs[: len(runs) // len(args.train_length)]:  # the first weights are those of the seed alone
            rows.append(measure(run_args, train.build(run_args).state_dict(), args.input_length, None))
        for run_args in runs:
            state = load_checkpoint(checkpoint_of(run_args), train.CHECKPOINT_KIND)["model"]
            rows.append(measure(run_args, state, args.input_length, run_args.input_length))
        trained = zip(runs, rows[-len(runs) :], strict=True)
        shown = max(
            (pair for pair in trained if "gates" in pair[1]), key=lambda pair: pair[1]["gates"]["validation_accuracy"]
        )
        summary = summarise(rows)
        sentences = answer(summary, args.input_length)
        plot_gradients(rows, summary, args, args.figures_dir / "gradients.png")
        show_gates(*shown, args.figures_dir / "gates.png")
        result = {
            "answer": sentences,
            "summary": summary,
            "gates_shown": {name: shown[1][name] for name in ("network", "trained_on", "seed", "gates")},
            "runs": rows,
            "config": {name: value for name, value in vars(args).items() if name not in ("out_dir", "figures_dir")},
            "provenance": origin,
            "seconds": time.perf_counter() - start,
        }
        save_json(args.out_dir / "gradients.json", result)
    print(*sentences, args.out_dir / "gradients.json", sep="\n")
    print(args.figures_dir / "gradients.png", args.figures_dir / "gates.png", sep="\n")


if __name__ == "__main__":
    run(main)
