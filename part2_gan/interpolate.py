"""Figure 6: the images along a straight line between the latents of two digits.

    python interpolate.py                                   # the generator in the repository: 7 to 6, and 3 to 4
    python interpolate.py --out-dir mine --pairs 8-0 1-9 --seed 3       # other digits, other latents
    python interpolate.py --out-dir mine --checkpoint RUN/checkpoint.pt     # another generator

    z_alpha = (1 - alpha) z_1 + alpha z_2,   alpha = 0, 1/8, ..., 1

The ends are the first latents of their digits in the order of the seed (see latents.py). Above them stands the first
pair that shows what the report's strips show: a 1 between the two digits, and no other digit. How often a path passes a
1 is studies/latent_rates.py's question.

Reads generator.pt and classifier.pt. Writes fig6_interpolation.png and interpolate.json, the class of every image.
"""

import re
from argparse import ArgumentTypeError

import latents
import strips
import utils


def pair(text):
    """An argparse type: "7-6" as (7, 6)."""
    if not re.fullmatch("[0-9]-[0-9]", text):
        raise ArgumentTypeError(f"{text!r} is not a pair of digits such as 7-6")
    return int(text[0]), int(text[2])


def main(argv=None):
    parser = utils.Parser("Figure 6: interpolate between latents of two digits.")
    parser.add_argument("--pairs", type=pair, nargs="+", default=[(7, 6), (3, 4)], help="ends (default: 7-6 3-4)")
    strips.add_options(parser)
    args = parser.parse_args(argv)
    generator, classifier, options, source = latents.load_networks(args)

    z = strips.find_latents(generator, classifier, {digit for digits in args.pairs for digit in digits}, args)
    groups = {}
    for first, second in args.pairs:
        starts, ends = (z[first][::2], z[first][1::2]) if first == second else (z[first], z[second])

        def passes_a_1(strip, usual=(first, 1, second)):
            return 1 in strips.clear(strip)[1:-1] and set(strip["digits"]) <= set(usual)

        made = strips.make(generator, classifier, starts[: len(ends)], ends, args.steps)
        title, rule = f"From a {first} to a {second} in a straight line", "pass through a 1 and no other digit"
        groups[f"{first}-{second}"] = strips.choose(title, made, passes_a_1, rule, args.examples)
    strips.save(args, "interpolate", {"fig6_interpolation": groups}, options, source)


if __name__ == "__main__":
    utils.run(main)
