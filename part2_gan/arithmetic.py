"""Figures 7 and 8: is 6 + (7 - 1) a 9? The report's vector arithmetic, every image read by the classifier.

    python arithmetic.py                    # the generator in the repo
    python arithmetic.py --strength 0.8 --seed 3

    z_roof   = z_7 - z_1                    (8)
    z_hybrid = z_6 + 1.2 z_roof             (9)

Figure 7 walks from z_roof to z_6, figure 8 from z_hybrid to z_6, both in a straight line. On the second, the point at
1 - alpha is z_6 + 1.2 (1 - alpha) (z_7 - z_1): the weight of z_6 stays 1 along the whole strip. (The report's equation
(10) gives it 1.8, which no image of the strip has.)

The three latents are found by the classifier (see classifier.find_latents), never by eye. Writes fig7_roof_to_6.png,
fig8_hybrid_to_6.png and arithmetic.json.
"""

import utils
from classifier import find_latents
from interpolate import add_latent_options, draw_strips, load_networks, strip


def main():
    parser = utils.Parser("Figures 7 and 8: vector arithmetic in the latent space.")
    parser.add_argument(
        "--strength", type=utils.number(float, low=-100, high=100), default=1.2, help="how much of z_roof to add to z_6"
    )
    add_latent_options(parser)
    args = parser.parse_args()
    generator, classifier, config, source = load_networks(args)

    latents = find_latents(generator, classifier, [1, 6, 7], args.seed, confidence=args.confidence)
    z_1, z_6, z_7 = (latents[digit][0] for digit in (1, 6, 7))
    z_roof = z_7 - z_1  # (8)
    z_hybrid = z_6 + args.strength * z_roof  # (9)

    walks = {
        "fig7_roof_to_6": ("z_roof = z_7 - z_1  to  z_6", z_roof),
        "fig8_hybrid_to_6": (f"z_hybrid = z_6 + {args.strength:g} z_roof  to  z_6", z_hybrid),
    }
    result = {
        "strength": args.strength,
        "seed": args.seed,
        "confidence": args.confidence,
        "norms": {
            name: z.norm().item()
            for name, z in {"z_1": z_1, "z_6": z_6, "z_7": z_7, "z_roof": z_roof, "z_hybrid": z_hybrid}.items()
        },
    }
    for name, (title, start) in walks.items():
        images, readings = strip(generator, classifier, start, z_6, args.steps)
        draw_strips({title: (images, readings)}, args.figures_dir / f"{name}.png", source, args.dataset)
        result[name] = readings
        print(f"{title} reads", *(reading["digit"] for reading in readings))
        print(f"figure: {args.figures_dir / name}.png")
    result |= {"generator": config, "provenance": utils.provenance(next(generator.parameters()).device)}
    utils.save_json(args.out_dir / "arithmetic.json", result)


if __name__ == "__main__":
    utils.run(main)
