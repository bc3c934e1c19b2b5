"""The latent space by hand: a window with sliders, and what the classifier makes of every image.

    python explore.py                       # the generator in the repository
    python explore.py --from 3 --to 8 --slerp --seed 5
    python explore.py --snapshot explore.png --alpha 0.6 --digit 6 --strength 1.2    # a picture, without a window

    left     the path between the latents of two digits:  (1 - alpha) z_from + alpha z_to
    right    the report's roof on any digit:              z_digit + s (z_7 - z_1)

With --slerp the path is spherical, between the latents as they are, and the sum is scaled to norm 10. The bars under
an image are the classifier's probabilities of the ten digits. "New latents" takes those of the next seed (latents.py).

Reads generator.pt and classifier.pt; writes the file of --snapshot alone.
"""

import torch
from matplotlib.widgets import Button, RadioButtons, Slider

import dataset
import latents
import metrics
import plots
import utils
from gan import sample

BACKENDS = ("macosx", "qtagg", "gtk4agg", "gtk3agg", "wxagg", "tkagg")  # of windows, in the order that they are tried
GEOMETRIES = ("straight line", "on the sphere")
BLUE, GREY = "#0072B2", "0.75"


class Explorer:
    """The figure with its sliders and buttons; `state` holds their values, `z` the latents {digit: (latent_dim,)}."""

    def __init__(self, generator, classifier, state, args):
        self.generator, self.classifier, self.state, self.args = generator, classifier, state, args
        self.figure = utils.plt.figure(figsize=(10, 8), layout="none")
        self.panels = {"path": self.add_panel(0.08), "sum": self.add_panel(0.56)}
        digit = {"valmin": 0, "valmax": 9, "valstep": 1}
        self.sliders = {
            "from": self.add_slider("from", "from digit", 0.17, 0.25, **digit),
            "to": self.add_slider("to", "to digit", 0.17, 0.21, **digit),
            "alpha": self.add_slider("alpha", "alpha", 0.17, 0.17, valmin=0, valmax=1),
            "digit": self.add_slider("digit", "digit", 0.65, 0.25, **digit),
            "strength": self.add_slider("strength", "strength s", 0.65, 0.21, valmin=-2, valmax=2),
        }
        choice = self.figure.add_axes([0.16, 0.06, 0.22, 0.09], frame_on=False)
        self.radio = RadioButtons(choice, GEOMETRIES, int(state["slerp"]), activecolor=BLUE)
        self.radio.on_clicked(lambda label: self.change("slerp", label == GEOMETRIES[1]))
        self.button = Button(self.figure.add_axes([0.65, 0.08, 0.16, 0.05]), "New latents")
        self.button.ax.spines[:].set_visible(False)
        self.button.on_clicked(lambda event: self.renew(self.state["seed"] + 1))
        self.renew(state["seed"])

    def add_panel(self, left):
        """An image with ten bars under it: (axes of the image, axes of the bars, the bars)."""
        image = self.figure.add_axes([left, 0.5, 0.36, 0.43])
        ax = self.figure.add_axes([left, 0.33, 0.36, 0.13])
        bars = ax.bar(range(10), [0] * 10, color=GREY)
        ax.set(ylim=(0, 1), xticks=range(10), yticks=[0, 0.5, 1])
        ax.grid(visible=False, axis="x")
        return image, ax, bars

    def add_slider(self, name, label, left, bottom, **limits):
        """A slider that sets an entry of the state."""
        ax = self.figure.add_axes([left, bottom, 0.23, 0.03])
        slider = Slider(ax, label, valinit=self.state[name], color=BLUE, **limits)
        slider.on_changed(lambda value: self.change(name, value))
        return slider

    def change(self, name, value):
        """Set an entry of the state and draw it."""
        self.state[name] = value
        self.draw()

    def renew(self, seed):
        """Take the latents of a seed, the first of each digit, and draw."""
        self.state["seed"] = seed
        found = latents.find_latents(self.generator, self.classifier, range(10), seed, confidence=self.args.confidence)
        self.z = {digit: of_digit[0] for digit, of_digit in found.items()}
        self.draw()

    def points(self):
        """The two latents of the state with their titles: {panel: (title, z (latent_dim,))}."""
        state, z, sphere = self.state, self.z, self.state["slerp"]
        start, end, alpha = z[state["from"]], z[state["to"]], state["alpha"]
        path = latents.slerp if sphere else latents.line
        between = path(start.unsqueeze(0), end.unsqueeze(0), torch.tensor([alpha]))[0, 0]
        added = z[state["digit"]] + state["strength"] * (z[7] - z[1])
        title = f"slerp from $z_{state['from']}$ to $z_{state['to']}$, alpha = {alpha:.2f}"
        if not sphere:
            title = f"{1 - alpha:.2f} $z_{state['from']}$ + {alpha:.2f} $z_{state['to']}$"
        sign = "-" if state["strength"] < 0 else "+"
        total = f"$z_{state['digit']}$ {sign} {abs(state['strength']):.2f} ($z_7$ - $z_1$)"
        if sphere:
            return {"path": (title, between), "sum": (f"{total}, on the sphere", latents.on_sphere(added))}
        return {"path": (title, between), "sum": (total, added)}

    def draw(self):
        """Draw both images and the probabilities of their digits."""
        points = self.points()
        images = sample(self.generator, torch.stack([z for _, z in points.values()]))
        probabilities = metrics.outputs(self.classifier, images)[1].cpu()
        for (title, z), (ax, below, bars), image, shares in zip(
            points.values(), self.panels.values(), images, probabilities, strict=True
        ):
            ax.clear()
            plots.draw_images(ax, image.unsqueeze(0), columns=1)
            ax.set_title(f"{title}\nnorm {z.norm():.1f}")
            for digit, (bar, share) in enumerate(zip(bars, shares.tolist(), strict=True)):
                bar.set(height=share, color=BLUE if digit == shares.argmax() else GREY)
            below.set_title(f"classified as {shares.argmax()}, probability {shares.max():.2f}", fontsize=11)
        self.figure.canvas.draw_idle()


def open_backend():
    """Switch to a backend of matplotlib that opens windows; raises utils.InputError where none does."""
    for name in BACKENDS:
        try:
            utils.plt.switch_backend(name)
            return
        except ImportError as error:  # no such toolkit, or no display for it
            reason = str(error).split("\n")[0]
    raise utils.InputError(f"no window can be opened ({reason}); --snapshot FILE.png draws the same without one")


def main(argv=None):
    parser = utils.Parser("Explore the latent space with sliders.")
    add, digit = parser.add_argument, utils.number(int, low=0, high=9)
    add("--from", type=digit, default=7, help="digit at the start of the path")
    add("--to", type=digit, default=6, help="digit at its end")
    add("--alpha", type=utils.number(float, low=0, high=1), default=0.5, help="position on the path")
    add("--digit", type=digit, default=6, help="digit that z_7 - z_1 is added to")
    add("--strength", type=utils.number(float, low=-2, high=2), default=1.0, help="the factor of z_7 - z_1")
    add("--slerp", action="store_true", help="slerp instead of a straight line, and the sum scaled to norm 10")
    add("--snapshot", type=dataset.png_file, help="write a picture into this PNG file and open no window")
    latents.add_latent_options(parser)
    args = parser.parse_args(argv)
    if not args.snapshot:
        open_backend()
    generator, classifier, _, source = latents.load_networks(args)
    state = {name: getattr(args, name) for name in ("from", "to", "alpha", "digit", "strength", "slerp", "seed")}
    explorer = Explorer(generator, classifier, state, args)
    if args.snapshot:
        utils.save_figure(explorer.figure, args.snapshot, source, args.dataset)
        print(f"figure: {args.snapshot}")
    else:
        utils.plt.show()
    return explorer


if __name__ == "__main__":
    utils.run(main, after_stop="the window is closed")
