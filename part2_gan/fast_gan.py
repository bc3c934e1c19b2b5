"""The gradients of gan.py with the backward passes written by hand: same networks, same numbers, faster.

Let f be the logits of n fakes x = G(z), r those of n real images, s the sigmoid, L_D gan.discriminator_loss with
smoothing q, and L_G gan.generator_loss. The derivatives by the logits:

    dL_D/dr = (q - s(-r)) / 2n      dL_D/df = s(f) / 2n
    dL_G/df = -s(-f) / n  (non-saturating)      -s(f) / n  (minimax)

From there the chain rule goes back through D, whose layer k has the input x_k, the pre-activation a_k and the output
h_k = x_(k+1), dropout included. With J_k = keep_k (.) LeakyReLU'(a_k), keep_k being dropout's 0 or 1 / (1 - p):

    d_out = dL/dlogit      d_k = (d_(k+1) W_(k+1)) (.) J_k      dL/dx = d_1 W_1
    dL/dW_k = d_k^T x_k    dL/db_k = d_k^T 1

D's update needs no dL/dx and G's no dL_D/dW: neither is computed. G goes on from dL_G/dx by the chain rule through
Tanh, Linear, LeakyReLU and BatchNorm. A bias before BatchNorm, which subtracts the mean, has the gradient 0.

The gradient penalty, E |v|^2 / 2 with v = D's derivative by a real image, needs no second derivatives: D is linear
wherever no LeakyReLU changes sign. With e_k like d_k above, but from e_out = 1, v is e_1 W_1, a product of matrices,
and its way back is a way forward without biases:

    t_1 = v / n      t_(k+1) = (t_k W_k^T) (.) J_k      dP/dW_k = e_k^T t_k      dP/db_k = 0

Besides, all parameters of a network are views of one vector, and so are their gradients: Adam, rounding and the norm of
the gradient are then one kernel each instead of one a parameter.

With precision torch.bfloat16 activations and the factors of products are rounded to 8 significant bits; weights, losses
and Adam stay in single precision, as under torch.autocast. benchmark.py measures it.
"""

from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import nn

from gan import SLOPE

leaky_relu_backward = torch.ops.aten.leaky_relu_backward  # (dy, y, slope, y is the output) -> dy (.) LeakyReLU'
tanh_backward = torch.ops.aten.tanh_backward  # (dy, y) -> dy (1 - y^2)
batch_norm_backward = torch.ops.aten.native_batch_norm_backward


class Flat:
    """A network whose parameters are views of one vector, `parameter`, the only one that an optimizer has to know.

    weights, grads: dictionaries of tensors by the parameters' names; the weights rounded to `precision`, and what the
    backward pass writes, in the same precision. With the parameters' own precision both are views of the vectors.
    """

    def __init__(self, network, precision):
        named = dict(network.named_parameters())
        sizes = [weight.numel() for weight in named.values()]

        def views(vector):
            parts = zip(named.items(), vector.split(sizes), strict=True)
            return {name: part.view(weight.shape) for (name, weight), part in parts}

        self.parameter = nn.Parameter(torch.cat([weight.detach().flatten() for weight in named.values()]))
        self.parameter.grad = torch.zeros_like(self.parameter)
        for name, view in views(self.parameter.data).items():
            named[name].data = view
        self.exact = precision == self.parameter.dtype
        self.rounded, self.written = self.parameter.data, self.parameter.grad
        if not self.exact:
            self.rounded, self.written = self.rounded.to(precision), self.written.to(precision)
        self.weights, self.grads = views(self.rounded), views(self.written)

    def renew(self):
        """Round the weights; to be called when they have changed."""
        if not self.exact:
            self.rounded.copy_(self.parameter.data)

    def collect(self):
        """The gradient (count,), as the optimizer wants it, of the backward pass that has just been written."""
        if not self.exact:
            self.parameter.grad.copy_(self.written)
        return self.parameter.grad


def layers(network, kind):
    """The layers of `network` that are of a kind, by name, in order."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, kind)}


def through_unit(d, h, keep):
    """d (.) keep (.) LeakyReLU', of a layer with output h (rows, width); where both are None, d."""
    if keep is not None:
        d = d * keep
    return d if h is None else leaky_relu_backward(d, h, SLOPE, True)  # a dropped unit's h is 0, and so is its d


class FastGAN:
    """The gradients of one pair of networks: make, then d_gradients and g_gradients in either order.

    generator, discriminator: of gan.py, in training mode and on their device. This owns their parameters' memory from
    then on: a state dictionary may be loaded into them, followed by `renew`, but nothing may replace them. The
    gradients are in `flat_g` and `flat_d`, after `collect`, for an optimizer each.
    """

    def __init__(
        self, generator, discriminator, loss="non-saturating", smoothing=0.0, penalty=0.0, precision=torch.float32
    ):
        self.generator, self.discriminator = generator, discriminator
        self.loss, self.smoothing, self.penalty, self.precision = loss, smoothing, penalty, precision
        self.flats = self.flat_g, self.flat_d = Flat(generator, precision), Flat(discriminator, precision)
        self.g_linear, self.d_linear = (list(layers(net, nn.Linear)) for net in (generator, discriminator))
        self.norms = layers(generator, nn.BatchNorm1d)
        self.dropouts = [layer.p for layer in layers(discriminator, nn.Dropout).values()]

    def renew(self):
        """Round both networks' weights; to be called when something else has changed them."""
        for flat in self.flats:
            flat.renew()

    @torch.no_grad()
    def d_gradients(self, real, fake):
        """gan.discriminator_gradients, of `real` (n, 784) in [-1, 1] and of `fake`, what `make` has returned.

        Returns the logits of real and of fake images, each (n,), in single precision at least.
        """
        images, n = torch.cat([real.to(self.precision), fake[0]]), len(real)
        logits, kept = self.judge(images)
        real_logits, fake_logits = logits.chunk(2)
        by_logit = torch.cat([self.smoothing - torch.sigmoid(-real_logits), torch.sigmoid(fake_logits)]) / (2 * n)
        grads = self.flat_d.grads
        for name, x, d in self.through_d(by_logit, kept):
            torch.mm(d.t(), x, out=grads[name + ".weight"])
            torch.sum(d, 0, out=grads[name + ".bias"])
        if self.penalty:
            self.add_penalty([[None if part is None else part[:n] for part in layer] for layer in kept])
        return real_logits, fake_logits

    def add_penalty(self, kept):
        """Add the gradients of the gradient penalty, from what `judge` has kept of the real images."""
        weights, grads = self.flat_d.weights, self.flat_d.grads
        n = len(kept[0][0])
        *slopes, (first, _, e) = self.through_d(kept[0][0].new_ones(n), kept)
        slopes = [e, *(slope for _, _, slope in reversed(slopes))]
        t = (e @ weights[first + ".weight"]) * (self.penalty / n)
        for name, slope, (_, h, keep) in zip(self.d_linear, slopes, kept, strict=True):
            grads[name + ".weight"].addmm_(slope.t(), t)
            t = through_unit(t @ weights[name + ".weight"].t(), h, keep)

    @torch.no_grad()
    def g_gradients(self, fake):
        """gan.generator_gradients, of what `make` has returned; returns D's logits of it, as d_gradients does."""
        images, kept = fake
        logits, d_kept = self.judge(images)
        by_logit = (-torch.sigmoid(logits) if self.loss == "minimax" else -torch.sigmoid(-logits)) / len(images)
        for name, _, d in self.through_d(by_logit, d_kept):
            last = d, name
        d, name = last
        self.through_g(d @ self.flat_d.weights[name + ".weight"], images, kept)
        return logits

    @torch.no_grad()
    def make(self, z):
        """G: latents (n, latent_dim) -> images (n, 784), and what the way back needs of every hidden layer."""
        weights, kept, x = self.flat_g.weights, [], z.to(self.precision)
        for name, norm in zip(self.g_linear, self.norms.values(), strict=False):  # the last layer has no norm
            a = torch.addmm(weights[name + ".bias"], x, weights[name + ".weight"].t())
            y, *statistics = torch.native_batch_norm(
                a, norm.weight, norm.bias, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
            )
            y = F.leaky_relu_(y, SLOPE)
            kept.append((x, a, y, statistics))
            x = y
        name = self.g_linear[-1]
        return torch.addmm(weights[name + ".bias"], x, weights[name + ".weight"].t()).tanh_(), kept

    def judge(self, x):
        """D: images (m, 784) -> logits (m,), in single precision at least, and what the way back needs of its layers.

        That is a list of (x_k, h_k, keep_k), keep_k None without dropout, and h_k as well at the last layer.
        """
        weights, kept = self.flat_d.weights, []
        for name, p in zip_longest(self.d_linear[:-1], self.dropouts, fillvalue=0):
            h = F.leaky_relu_(torch.addmm(weights[name + ".bias"], x, weights[name + ".weight"].t()), SLOPE)
            keep = None
            if p:
                keep = (torch.rand(h.shape, device=h.device) >= p).to(h.dtype).mul_(1 / (1 - p))
                h.mul_(keep)
            kept.append((x, h, keep))
            x = h
        name = self.d_linear[-1]
        logits = torch.addmm(weights[name + ".bias"], x, weights[name + ".weight"].t()).squeeze(1)
        return logits.to(torch.promote_types(logits.dtype, torch.float32)), [*kept, (x, None, None)]

    def through_d(self, by_logit, kept):
        """The way back through D from dL/dlogit (m,): yields (layer's name, x_k, d_k), from the last to the first."""
        d, weights = by_logit.to(self.precision).unsqueeze(1), self.flat_d.weights
        for name, (x, h, keep) in zip(reversed(self.d_linear), reversed(kept), strict=True):
            d = through_unit(d, h, keep)
            yield name, x, d
            if x is not kept[0][0]:
                d = d @ weights[name + ".weight"]

    def through_g(self, d, fake, kept):
        """Write G's gradients, of dL_G/dx (n, 784)."""
        weights, grads = self.flat_g.weights, self.flat_g.grads
        d = tanh_backward(d, fake)
        above = self.g_linear[-1]
        torch.mm(d.t(), kept[-1][2], out=grads[above + ".weight"])
        torch.sum(d, 0, out=grads[above + ".bias"])
        for name, norm_name, (x, a, y, statistics) in zip(
            reversed(self.g_linear[:-1]), reversed(self.norms), reversed(kept), strict=True
        ):
            d = leaky_relu_backward(d @ weights[above + ".weight"], y, SLOPE, True)
            norm, above = self.norms[norm_name], name
            d, by_weight, by_bias = batch_norm_backward(
                d, a, norm.weight, norm.running_mean, norm.running_var, *statistics, True, norm.eps, [True] * 3
            )
            torch.mm(d.t(), x, out=grads[name + ".weight"])
            grads[norm_name + ".weight"].copy_(by_weight)
            grads[norm_name + ".bias"].copy_(by_bias)
