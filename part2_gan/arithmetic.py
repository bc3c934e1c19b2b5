"""Figures 7 and 8: is 6 + (7 - 1) a 9? The report's vector arithmetic in the latent space.

    python arithmetic.py                    # the generator in the repository
    python arithmetic.py --out-dir mine --strength 0.8 --seed 3

    z_roof   = z_7 - z_1                    (8)
    z_hybrid = z_6 + 1.2 z_roof             (9)

Figure 7 goes from z_roof to z_6, figure 8 from z_hybrid to z_6, both in a straight line. On the second, the point at
1 - alpha is z_6 + 1.2 (1 - alpha) (z_7 - z_1): the weight of z_6 stays 1 along the whole strip. (The report's equation
(10) gives it 1.8, which no image of the strip has.)

z_7, z_1 and z_6 are the first latents of their digits in the order of the seed (see latents.py). Above them stand the
first three that show what the report's figure shows: in figure 7 z_roof looks like a 7, in figure 8 a 9 emerges. How
often the sum is a 9 is studies/latent_rates.py's question.

Reads generator.pt and classifier.pt. Writes fig7_roof_to_6.png, fig8_hybrid_to_6.png and arithmetic.json, the class of
every image.
"""

import latents
import strips
import utils


def main(argv=None):
    parser = utils.Parser("Figures 7 and 8: vector arithmetic in the latent space.")
    strength = utils.number(float, low=-100, high=100)
    parser.add_argument("--strength", type=strength, default=1.2, help="the factor of z_roof in z_hybrid")
    strips.add_options(parser)
    args = parser.parse_args(argv)
    generator, classifier, options, source = latents.load_networks(args)

    z = strips.find_latents(generator, classifier, (7, 1, 6), args)
    shown = {f"$z_{digit}$": z[digit] for digit in (7, 1, 6)}
    z_roof = z[7] - z[1]  # (8)
    z_hybrid = z[6] + args.strength * z_roof  # (9)

    def starts_as_a_7(strip):
        return strips.clear(strip)[0] == 7

    def passes_a_9(strip):
        return 9 in strips.clear(strip)[1:-1]

    def figure(start, title, shows, rule):
        made = strips.make(generator, classifier, start, z[6], args.steps, **shown)
        return strips.choose(title, made, shows, rule, args.examples)

    roof, hybrid = "$z_7 - z_1$", f"$z_6 + {args.strength:g}\\,(z_7 - z_1)$"
    figure_7 = figure(z_roof, f"From the roof, {roof}, to the 6", starts_as_a_7, "start as a 7")
    figure_8 = figure(z_hybrid, f"From the hybrid, {hybrid}, to the 6", passes_a_9, "pass through a 9")
    figures = {"fig7_roof_to_6": {"roof-6": figure_7}, "fig8_hybrid_to_6": {"hybrid-6": figure_8}}
    strips.save(args, "arithmetic", figures, options, source, strength=args.strength)


if __name__ == "__main__":
    utils.run(main)
