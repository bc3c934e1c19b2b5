"""Figures 7 and 8: is 6 + (7 - 1) a 9? The report's vector arithmetic in the latent space.

    python arithmetic.py                    # the generator in the repository
    python arithmetic.py --out-dir mine --strength 0.8 --seed 3

    z_roof   = z_7 - z_1                    (8)
    z_hybrid = z_6 + 1.2 z_roof             (9)

Figure 7 goes from z_roof to z_6, figure 8 from z_hybrid to z_6, both in a straight line. On the second, the point at
1 - alpha is z_6 + 1.2 (1 - alpha) (z_7 - z_1): the weight of z_6 stays 1 along the whole strip. (The report's equation
(10) gives it 1.8, which no image of the strip has.)

z_1, z_6 and z_7 are the first latents of their digits in the order of the seed (see latents.py). How often the sum is a
9 is studies/latent_rates.py's question.

Reads generator.pt and classifier.pt. Writes fig7_roof_to_6.png, fig8_hybrid_to_6.png and arithmetic.json, which holds
the class of every image, a strip for each example, and the norms of the latents.
"""

import latents
import utils


def main(argv=None):
    parser = utils.Parser("Figures 7 and 8: vector arithmetic in the latent space.")
    strength = utils.number(float, low=-100, high=100)
    parser.add_argument("--strength", type=strength, default=1.2, help="the factor of z_roof in z_hybrid")
    latents.add_strip_options(parser)
    args = parser.parse_args(argv)
    generator, classifier, config, source = latents.load_networks(args)
    utils.make_folder(args.out_dir, args.figures_dir)

    found = latents.find_latents(generator, classifier, [1, 6, 7], args.seed, args.examples, args.confidence)
    z_1, z_6, z_7 = (found[digit] for digit in (1, 6, 7))  # (examples, latent_dim) each
    z_roof = z_7 - z_1  # (8)
    z_hybrid = z_6 + args.strength * z_roof  # (9)

    figures = {}
    for name, title, starts in (
        ("fig7_roof_to_6", "z_roof = z_7 - z_1  to  z_6", z_roof),
        ("fig8_hybrid_to_6", f"z_hybrid = z_6 + {args.strength:g} z_roof  to  z_6", z_hybrid),
    ):
        ends = zip(starts, z_6, strict=True)
        figures[name] = {title: [latents.strip(generator, classifier, *pair, args.steps) for pair in ends]}
    vectors = {"z_1": z_1, "z_6": z_6, "z_7": z_7, "z_roof": z_roof, "z_hybrid": z_hybrid}
    result = {"strength": args.strength, "norms": {name: z.norm(dim=1).tolist() for name, z in vectors.items()}}
    result |= {name: [classes for _, classes in of] for name, strips in figures.items() for of in strips.values()}
    latents.save_strips(args, "arithmetic", figures, result, config, source)


if __name__ == "__main__":
    utils.run(main)
