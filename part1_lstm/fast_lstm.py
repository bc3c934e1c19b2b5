"""The LSTM of lstm.py with its backward pass through time written by hand: same parameters, same results, faster.

Every matrix here is feature-major, (features, batch), one column a sample: a gate is then a contiguous block of the four
that are stacked in a_t, and its point-wise kernels run in place. With e_t the one-hot column of the digit read at step t,
the four gates are one product:

    a_t = W [h_(t-1); e_t]            W = [W_h | W_x + b]: the weights of g, i, f, o below each other, (4 hidden,
                                      hidden + input); e_t picks one column, so the bias may be added to every one
    g = tanh(a_g),  i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)                                   (1)-(4)
    c_t = g (.) i + c_(t-1) (.) f                                                                        (5)
    h_t = tanh(c_t) (.) o                                                                                (6)

The backward pass. Write dz for the derivative of the loss by z. At step t, dh and dc hold what comes from step t + 1 and,
if the loss reads all states, from the loss itself. The product and chain rules, applied from the last equation to the
first, give:

    (6)       do = dh (.) tanh(c_t)           dc += dh (.) o (.) (1 - tanh(c_t)^2)
    (5)       dg = dc (.) i     di = dc (.) g     df = dc (.) c_(t-1)     dc_(t-1) = dc (.) f
    (1)-(4)   da_g = dg (.) (1 - g^2)         da_s = ds (.) s (.) (1 - s) for s = i, f, o
    product   dW += da_t [h_(t-1); e_t]^T     dh_(t-1) = W_h^T da_t

So only the activated gates, c_t, tanh(c_t) and [h_t; e_t] have to be kept; autograd on lstm.py keeps more, and runs some
forty small kernels a step where this runs twenty.

Two things make it fast on a CPU besides. tanh(z) is computed as 2 sigmoid(2z) - 1, as torch.tanh takes eight times as
long as torch.sigmoid there. And single-precision products go through oneDNN, by the operator that torch.compile uses for
the same purpose, as torch.mm (MKL) takes twice as long on some processors; where there is no such operator, torch.mm it
is. benchmark.py measures all this.
"""

import torch
import torch.nn.functional as F

from lstm import LSTM

tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (dy, y) -> dy (1 - y^2), into grad_input
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (dy, y) -> dy y (1 - y), into grad_input


def find_onednn():
    """oneDNN's x w^T as an operator, or None where this torch has none."""
    try:
        return torch.ops.mkldnn._linear_pointwise.default if torch.backends.mkldnn.is_available() else None
    except AttributeError:  # it is not public: another release may not have it
        return None


ONEDNN = find_onednn()


def product(a, b):
    """The matrix product a b, (n, k) and (k, m) -> (n, m)."""
    if ONEDNN is None or a.dtype != torch.float32 or a.device.type != "cpu":
        return a @ b
    return ONEDNN(a, b.t(), None, "none", [], "")


class ThroughTime(torch.autograd.Function):
    """All steps of the recurrence as one function, with the backward pass of the module's docstring."""

    @staticmethod
    def forward(ctx, e, every, keep, *weights):
        """Equations (1)-(6) for all steps.

        e (time, input_size, batch): one-hot digits. weights: W_gh, W_ih, W_fh, W_oh, each (hidden, hidden), then W_gx,
        W_ix, W_fx, W_ox, each (hidden, input_size), then their four biases, each (hidden). Returns the last h, (batch,
        hidden), or, if `every`, all h and all c, each (batch, time, hidden). `keep`: a backward pass will follow;
        without it the steps share the memory of one.
        """
        (T, D, B), H = e.shape, len(weights[0])
        table = torch.cat(weights[4:8], 0) + torch.cat(weights[8:])[:, None]
        W = torch.cat((torch.cat(weights[:4]), table), 1)
        W_hT = W[:, :H].t().contiguous() if keep else None
        W[:H] *= 2  # for g = tanh(a_g) = 2 sigmoid(2 a_g) - 1
        minus_one = W.new_tensor(-1.0)

        gates = W.new_empty(T if keep else 1, 4, H, B)
        tanh_c = W.new_empty(T if keep else 1, H, B)
        c = W.new_empty(T + 1 if keep or every else 1, H, B)
        he = W.new_empty(T + 1, H + D, B)  # [h_t; e_(t+1)] at t
        he[:T, H:] = e
        c[0], he[0, :H] = 0, 0
        n = len(gates), len(c)
        for old, new, h in zip(range(T), range(1, T + 1), he[1:, :H].unbind(), strict=True):
            a, tc, c_new = gates[old % n[0]], tanh_c[old % n[0]], c[new % n[1]]
            g, i, f, o = a.unbind()
            torch.sigmoid(product(W, he[old]), out=a.view(4 * H, B))  # (2)-(4)
            torch.add(minus_one, g, alpha=2, out=g)  # (1)
            torch.mul(c[old % n[1]], f, out=c_new).addcmul_(g, i)  # (5)
            torch.mul(c_new, 2, out=tc).sigmoid_()
            torch.add(minus_one, tc, alpha=2, out=tc)
            torch.mul(tc, o, out=h)  # (6)
        if keep:
            ctx.save_for_backward(W_hT, gates, tanh_c, c, he)
        ctx.set_materialize_grads(False)
        if every:
            return he[1:, :H].permute(2, 0, 1).contiguous(), c[1:].permute(2, 0, 1).contiguous()
        return h.t().contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_h, grad_c=None):
        """From the derivatives by what forward returned to those by the weights."""
        W_hT, gates, tanh_c, c, he = ctx.saved_tensors
        (T, _, H, B), K = gates.shape, he.shape[1]
        every = grad_c is not None or grad_h.dim() == 3
        dh = he.new_zeros(H, B) if every else grad_h.t().contiguous()
        dc, part, da, dWT = torch.zeros_like(dh), torch.empty_like(dh), he.new_empty(4, H, B), he.new_zeros(K, 4 * H)
        da_ifo, stacked, (da_g, da_i, da_f, da_o) = da[1:], da.view(4 * H, B), da.unbind()
        stacked_t = stacked.t()
        kept = zip(gates.unbind(), gates[:, 1:].unbind(), tanh_c.unbind(), c.unbind(), he.unbind(), strict=False)
        for t, (a, ifo, tc, c_old, he_old) in reversed(list(enumerate(kept))):
            g, i, f, o = a.unbind()
            if grad_c is not None:
                dc += grad_c[:, t].t()
            if every and grad_h is not None:
                dh = dh + grad_h[:, t].t()
            torch.mul(dh, tc, out=da_o)  # (6)
            torch.mul(dh, o, out=part)
            dc += tanh_backward(part, tc, grad_input=part)
            torch.mul(dc, i, out=da_g)  # (5)
            torch.mul(dc, g, out=da_i)
            torch.mul(dc, c_old, out=da_f)
            dc *= f
            tanh_backward(da_g, g, grad_input=da_g)  # (1)
            sigmoid_backward(da_ifo, ifo, grad_input=da_ifo)  # (2)-(4)
            dWT += product(he_old, stacked_t)
            dh = product(W_hT, stacked)
        dW = dWT.t()
        d_table = dW[:, H:].contiguous()
        return None, None, None, *dW[:, :H].chunk(4), *d_table.chunk(4), *d_table.sum(1).chunk(4)


class FastLSTM(LSTM):
    """lstm.LSTM with other arithmetic: the same parameters, state_dict, outputs, states and gradients."""

    def through_time(self, digits, every):
        """Run ThroughTime on digits, int64 (batch, time); F.one_hot raises RuntimeError for anything but digits."""
        x, h = (self.W_gx, self.W_ix, self.W_fx, self.W_ox), (self.W_gh, self.W_ih, self.W_fh, self.W_oh)
        weights = [layer.weight for layer in (*h, *x)] + [layer.bias for layer in x]
        keep = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
        return ThroughTime.apply(F.one_hot(digits, self.input_size).permute(1, 2, 0), every, keep, *weights)

    def states(self, digits):
        """All hidden and cell states: digits (batch, time) -> (h, c), each (batch, time, hidden_size)."""
        return self.through_time(digits, every=True)

    def forward(self, digits):
        """Logits of the next digit, from the last hidden state: digits (batch, time) -> (batch, num_classes)."""
        return self.W_ph(self.through_time(digits, every=False))
