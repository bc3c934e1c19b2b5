"""Figure 6: the images along a straight line between the latents of two digits.

    python interpolate.py                               # the generator in the repository: 7 to 6, and 3 to 4
    python interpolate.py --out-dir mine --pairs 8-0 1-9 --seed 3      # other digits, other latents
    python interpolate.py --out-dir mine --checkpoint RUN/checkpoint.pt    # another generator

    z_alpha = (1 - alpha) z_1 + alpha z_2,   alpha = 0, 1/9, ..., 1

The ends are the first latents of their digits in the order of the seed (see latents.py). How often such a path passes a
1 is studies/latent_rates.py's question.

Reads generator.pt and classifier.pt. Writes fig6_interpolation.png and interpolate.json, which holds the class of every
image: {pair: [a strip for each example]}.
"""

import re
from argparse import ArgumentTypeError

import latents
import utils


def digits(text):
    """An argparse type: "7-6" as (7, 6)."""
    if not re.fullmatch("[0-9]-[0-9]", text):
        raise ArgumentTypeError(f"{text!r} is not a pair of digits such as 7-6")
    return int(text[0]), int(text[2])


def main(argv=None):
    parser = utils.Parser("Figure 6: interpolate between latents of two digits.")
    add, default = parser.add_argument, [(7, 6), (3, 4)]
    add("--pairs", type=digits, nargs="+", default=default, help="digits at the ends (default: 7-6 3-4)")
    latents.add_strip_options(parser)
    args = parser.parse_args(argv)
    generator, classifier, config, source = latents.load_networks(args)
    utils.make_folder(args.out_dir, args.figures_dir)

    ends = sorted({digit for pair in args.pairs for digit in pair})
    # Twice as many of each, so that a pair such as 8-8 has two ends.
    z = latents.find_latents(generator, classifier, ends, args.seed, 2 * args.examples, args.confidence)
    strips = {}
    for first, second in args.pairs:
        others = z[second][args.examples :] if first == second else z[second]
        strips[f"{first} to {second}"] = [
            latents.strip(generator, classifier, z[first][k], others[k], args.steps) for k in range(args.examples)
        ]
    result = {"pairs": {name: [found for _, found in of] for name, of in strips.items()}}
    latents.save_strips(args, "interpolate", {"fig6_interpolation": strips}, result, config, source)


if __name__ == "__main__":
    utils.run(main)
