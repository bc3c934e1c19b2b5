"""The LSTM of lstm.py with its backward pass through time written by hand: same parameters, same results, faster.

Every matrix here is feature-major, (features, batch), one column a sample: a gate is then a contiguous block of the
four that are stacked in a_t, and its point-wise kernels run in place. With e_t the one-hot column of the digit read at
step t, the four gates are one product:

    a_t = W [h_(t-1); e_t]            W = [W_h | W_x + b]: the weights of g, i, f, o below each other, (4 hidden,
                                      hidden + input); e_t picks one column, so the bias may be added to every one
    g = tanh(a_g),  i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)                                   (1)-(4)
    c_t = g (.) i + c_(t-1) (.) f                                                                        (5)
    h_t = tanh(c_t) (.) o                                                                                (6)

The backward pass. Write dz for the derivative of the loss by z. At step t, dh and dc hold what comes from step t + 1
and, if the loss reads all states, from the loss itself. The chain rule, from the last equation to the first, gives:

    (6)       do = dh (.) tanh(c_t)           dc += dh (.) o (.) (1 - tanh(c_t)^2)
    (5)       dg = dc (.) i     di = dc (.) g     df = dc (.) c_(t-1)     dc_(t-1) = dc (.) f
    (1)-(4)   da_g = dg (.) (1 - g^2)         da_s = ds (.) s (.) (1 - s) for s = i, f, o
    product   dW += da_t [h_(t-1); e_t]^T     dh_(t-1) = W_h^T da_t

Only dh and dc are recurrent there; whatever they are multiplied by is known before. So each step first makes these
factors, in two kernels over blocks that lie beside each other, and then multiplies:

    q_g = i (.) (1 - g^2)       q_i, q_f, q_o = (g, c_(t-1), tanh(c_t)) (.) (i, f, o) (.) (1 - (i, f, o))
    p = o (.) (1 - tanh(c_t)^2)
    dc += dh (.) p              da_g, da_i, da_f = dc (.) (q_g, q_i, q_f)              da_o = dh (.) q_o

So only i, f, o, g, c_(t-1), tanh(c_t) and [h_t; e_(t+1)] have to be kept.

Three things make it fast on a CPU besides:

- tanh(z) is computed as 2 sigmoid(2z) - 1: torch.tanh takes eight times as long as torch.sigmoid there.
- Single-precision products go through oneDNN, by the operator that torch.compile uses for the same purpose: torch.mm
  (MKL) takes twice as long on some processors. Where there is no such operator, torch.mm it is.
- The memory of the kept states is used again by the next training step: pages that come anew from the operating system
  cost up to a quarter of the time.

With precision torch.bfloat16 the factors of the products are rounded to 8 significant bits, which processors with such
instructions multiply at twice the speed; gates, states, sums and weights stay as they are.

benchmark.py measures it all.
"""

import weakref

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


def product(a, b, activation="none"):
    """The matrix product a b^T, (n, k) and (m, k) -> (n, m): b transposed, as oneDNN's operator wants it.

    activation: "none", or "tanh" of the product, which costs oneDNN next to nothing.
    """
    if ONEDNN is None or a.dtype not in (torch.float32, torch.bfloat16) or a.device.type != "cpu":
        return torch.tanh(a @ b.t()) if activation == "tanh" else a @ b.t()
    return ONEDNN(a, b, None, activation, [], "")


def allocate(T, H, D, B, like, precision, rows):
    """Memory for the states: (h, c, he, steps).

    h (T + 1, H, B) and c, a list of T + 1 (H, B), of which the first are zero; he (T + 1, H + D, B) with [h_t; e_(t+1)]
    at t. he is of the dtype `precision`, all else of `like`'s; where the two are the same, h is a part of he. steps
    lists what forward and backward pass read and write at each step: views, made once, as they cost as much as a small
    kernel. With rows = 1 instead of T, all steps share one memory for gates and cells.
    """
    kept = like.new_empty(rows, 6, H, B).expand(T, 6, H, B)  # of each step i, f, o, g, c_(t-1), tanh(c_t)
    last = like.new_empty(H, B) if rows == T else kept[0, 4]  # c_T, which no step reads
    kept[0, 4].zero_()
    he = like.new_zeros(T + 1, H + D, B, dtype=precision)
    h = he[:, :H] if precision == like.dtype else like.new_zeros(T + 1, H, B)
    c = [*kept[:, 4], last]
    steps = []
    for t, k in enumerate(kept.unbind()):
        i, f, o, g, c_old, tanh_c = k.unbind()
        forward = k[:4].view(4 * H, B), i, f, o, g, c_old, tanh_c, c[t + 1], h[t + 1], he[t].t(), he[t + 1, :H]
        backward = k[:3], k[3:], k[:3:2], k[3::2], f, he[t]  # (i, f, o), (g, c_old, tanh_c), (i, o), (g, tanh_c)
        steps.append((forward, backward))
    return h, c, he, steps


class Loan:
    """The memory of one training step, given back when its graph lets go of it; the next step of that shape takes it.

    At most one set is free at a time, that of the latest shape. A set whose backward pass may still come is never free,
    so several forward passes may run before one. List methods are atomic: threads do not get the same set.
    """

    free = []

    def __init__(self, T, H, D, B, like, precision):
        self.key, self.memory = (T, H, D, B, like.dtype, like.device, precision), None
        try:
            key, self.memory = self.free.pop()
        except IndexError:
            key = None
        if key != self.key:
            self.memory = None  # another shape's memory is freed before more is asked for
            self.memory = allocate(T, H, D, B, like, precision, T)

    def __del__(self):
        if self.memory is not None:  # it is None when there was not enough
            self.free[:] = [(self.key, self.memory)]


class ThroughTime(torch.autograd.Function):
    """All steps of the recurrence as one function, with the backward pass of the module's docstring."""

    @staticmethod
    def forward(ctx, e, every, memory, precision, *weights):
        """Equations (1)-(6) for all steps.

        e (time, input_size, batch): one-hot digits. weights: W_gh, W_ih, W_fh, W_oh, each (hidden, hidden), then W_gx,
        W_ix, W_fx, W_ox, each (hidden, input_size), then their four biases, each (hidden). memory: a weak reference to
        a Loan if a backward pass may follow, else None. precision: the dtype that products are made in. Returns the
        last h, (batch, hidden), or, if `every`, all h and all c, each (batch, time, hidden).
        """
        (T, D, B), H = e.shape, len(weights[0])
        W_h, W_x, b = (torch.cat((*kind[1:], kind[0])) for kind in (weights[:4], weights[4:8], weights[8:]))
        W = torch.cat((W_h, W_x + b[:, None]), 1)  # its rows: i, f, o, g, as in the memory
        if memory:  # there the rows are g, i, f, o
            ctx.save_for_backward(torch.cat(weights[:4]).t().to(precision).contiguous())
            ctx.memory = memory
        h, c, he, steps = memory().memory if memory else allocate(T, H, D, B, W, precision, T if every else 1)
        he[:T, H:] = e
        W[3 * H :] *= 2  # for g = tanh(a_g) = 2 sigmoid(2 a_g) - 1
        minus_one, W = W.new_tensor(-1.0), W.to(precision)
        W_x = W[:, H:].contiguous()
        first = True
        for (gates, i, f, o, g, c_old, tanh_c, c_new, h_new, he_old_T, rounded), _ in steps:
            # h_0 = 0: the first product is by the digit's columns alone
            a = product(W_x, he_old_T[:, H:]) if first else product(W, he_old_T)
            first = False
            torch.sigmoid(a if a.dtype == gates.dtype else a.to(gates.dtype), out=gates)  # (2)-(4)
            torch.add(minus_one, g, alpha=2, out=g)  # (1)
            torch.mul(c_old, f, out=c_new).addcmul_(g, i)  # (5)
            torch.add(c_new, c_new, out=tanh_c).sigmoid_()
            torch.add(minus_one, tanh_c, alpha=2, out=tanh_c)
            torch.mul(tanh_c, o, out=h_new)  # (6)
            if he.dtype != h.dtype:
                rounded.copy_(h_new)
        ctx.set_materialize_grads(False)
        if every:
            states = h[1:].permute(2, 0, 1), torch.stack(c[1:]).permute(2, 0, 1)
            return tuple(s.clone(memory_format=torch.contiguous_format) for s in states)
        return h_new.t().clone(memory_format=torch.contiguous_format)  # a copy: the memory is used again

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_h, grad_c=None):
        """From the derivatives by what forward returned to those by the weights."""
        (W_hT,) = ctx.saved_tensors  # after a backward pass that did not retain the graph this raises
        loan = ctx.memory()
        h, _, he, steps = loan.memory
        (_, K, B), H = he.shape, len(W_hT)
        every = grad_h is None or grad_h.dim() == 3
        dh = h.new_zeros(H, B) if every else grad_h.t().contiguous()
        dc, dW = torch.zeros_like(dh), h.new_zeros(4 * H, K)
        q = h.new_empty(5, H, B)  # the factors q_g, q_i, q_f, q_o, p; the first four become da_t
        da, q_gif, q_ifo, q_o, q_g_p, p = q[:4].view(4 * H, B), q[:3], q[1:4], q[3], q[::4], q[4]
        for t in reversed(range(len(steps))):
            ifo, g_c_tanh, io, g_tanh, f, he_old = steps[t][1]
            if every and grad_h is not None:
                dh = dh + grad_h[:, t].t()
            if grad_c is not None:
                dc += grad_c[:, t].t()
            sigmoid_backward(g_c_tanh, ifo, grad_input=q_ifo)
            tanh_backward(io, g_tanh, grad_input=q_g_p)
            dc.addcmul_(dh, p)  # (6)
            q_gif.mul_(dc)  # (5), (1)-(3)
            q_o.mul_(dh)  # (6), (4)
            dc.mul_(f)
            rounded = da if he.dtype == da.dtype else da.to(he.dtype)
            if t:
                dW.add_(product(rounded, he_old))
                dh = product(W_hT, rounded.t())
                if dh.dtype != dc.dtype:
                    dh = dh.to(dc.dtype)
            else:  # h_0 = 0 adds nothing to dW_h, and nobody asks for its own derivative
                dW[:, H:].add_(product(rounded, he_old[H:]))
        d_table = dW[:, H:].contiguous()  # one digit of each row was 1: the bias's derivative is the sum over digits
        return None, None, None, None, *dW[:, :H].chunk(4), *d_table.chunk(4), *d_table.sum(1).chunk(4)


class FastLSTM(LSTM):
    """lstm.LSTM with other arithmetic: the same parameters, state_dict, outputs, states and gradients.

    precision: the dtype that the recurrence's products are made in, default the weights' own; torch.bfloat16 makes
    them rougher (gradients off by less than 1 %) and, where the processor has such instructions, faster.
    """

    def __init__(self, input_size=10, hidden_size=128, num_classes=10, precision=None):
        super().__init__(input_size, hidden_size, num_classes)
        self.precision = precision

    def through_time(self, digits, every):
        """Run ThroughTime on digits, int64 (batch, time); F.one_hot raises RuntimeError for anything but digits."""
        x, h = (self.W_gx, self.W_ix, self.W_fx, self.W_ox), (self.W_gh, self.W_ih, self.W_fh, self.W_oh)
        weights = [layer.weight for layer in (*h, *x)] + [layer.bias for layer in x]
        e, precision = F.one_hot(digits, self.input_size).permute(1, 2, 0), self.precision or weights[0].dtype
        if not (torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)):
            return ThroughTime.apply(e, every, None, precision, *weights)
        loan = Loan(digits.shape[1], self.hidden_size, self.input_size, len(digits), weights[0], precision)
        # Only what the graph has saved holds the loan, so it ends with the backward pass, not with the last use of the
        # loss: the next training step finds the memory free.
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: (tensor, loan), lambda saved: saved[0]):
            return ThroughTime.apply(e, every, weakref.ref(loan), precision, *weights)

    def states(self, digits):
        """All hidden and cell states: digits (batch, time) -> (h, c), each (batch, time, hidden_size)."""
        return self.through_time(digits, every=True)

    def forward(self, digits):
        """Logits of the next digit, from the last hidden state: digits (batch, time) -> (batch, num_classes)."""
        return self.W_ph(self.through_time(digits, every=False))
