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

- tanh(z) is computed as 2 sigmoid(2z) - 1: torch.tanh takes eight times as long as torch.sigmoid there. The factor 2 is
  put into W for g, and for tanh(c_t) it is 2 c_t that is kept: with 2 c_(t-1) in its place, da_f above comes out
  doubled, which W_h^T and dW make good once for all steps.
- [h_(t-1); e_t] is filled up with zeros to a multiple of 16 rows, as processors read 16 numbers at a time.
- The memory of the kept states is used again by the next training step: pages that come anew from the operating system
  cost up to a quarter of the time.

train.py checks it against lstm.py at the start of each run; benchmark.py measures it.
"""

import torch
import torch.nn.functional as F

from lstm import LSTM

tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (dy, y) -> dy (1 - y^2), into grad_input
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (dy, y) -> dy y (1 - y), into grad_input


FREE = []  # the Workspace of the latest training step, from its backward pass to the next forward pass; else empty


class Workspace:
    """Memory for the states of all steps, and the views of it that forward and backward pass use at each step.

    h (T + 1, H, B) and c2, a list of T + 1 (H, B) with 2 c_t, of which the first are zero; he (T + 1, K, B) with
    [h_t; e_(t+1)] at t, K = H + D rounded up, and h a part of it. steps lists what the passes read and write at each
    step: views are made once, as they cost as much as a small kernel. With rows = 1 instead of T, all steps share one
    memory for gates and cells.
    """

    def __init__(self, T, H, D, B, like, rows):
        self.key, self.turn = (T, H, D, B, like.dtype, like.device), 0
        kept = like.new_empty(rows, 6, H, B).expand(T, 6, H, B)  # of each step i, f, o, g, 2 c_(t-1), tanh(c_t)
        last = like.new_empty(H, B) if rows == T else kept[0, 4]  # 2 c_T, which no step reads
        kept[0, 4].zero_()
        self.he = he = like.new_zeros(T + 1, -(-(H + D) // 16) * 16, B)
        self.h, self.c2, self.steps = he[:, :H], [*kept[:, 4], last], []
        for t, k in enumerate(kept.unbind()):
            i, f, o, g, c2_old, tanh_c = k.unbind()
            he_old = he[t] if t else he[0, H:]  # h_0 = 0 adds nothing to a product
            forward = k[:4].view(4 * H, B), i, f, o, g, c2_old, tanh_c, self.c2[t + 1], self.h[t + 1], he_old
            # (i, f, o), (g, c2_old, tanh_c), (i, o), (g, tanh_c)
            backward = k[:3], k[3:], k[:3:2], k[3::2], f, he_old.t()
            self.steps.append((forward, backward))

    @classmethod
    def take(cls, T, H, D, B, like):
        """The free workspace, if it has this shape, else a new one.

        One whose backward pass may still come is not free: several forward passes may run before one backward pass.
        Popping is atomic: threads do not get the same one.
        """
        try:
            workspace = FREE.pop()
        except IndexError:
            workspace = None
        if workspace is None or workspace.key != (T, H, D, B, like.dtype, like.device):
            workspace = None  # another shape's memory is freed before more is asked for
            workspace = cls(T, H, D, B, like, rows=T)
        workspace.turn += 1
        return workspace


class ThroughTime(torch.autograd.Function):
    """All steps of the recurrence as one function, with the backward pass of the module's docstring."""

    @staticmethod
    def forward(ctx, e, every, keep, *weights):
        """Equations (1)-(6) for all steps.

        e (time, input_size, batch): one-hot digits. weights: W_gh, W_ih, W_fh, W_oh, each (hidden, hidden), then W_gx,
        W_ix, W_fx, W_ox, each (hidden, input_size), then their four biases, each (hidden). keep: whether a backward
        pass may follow. Returns the last h, (batch, hidden), or, if `every`, all h and all c, each (batch, time,
        hidden).
        """
        (T, D, B), H = e.shape, len(weights[0])
        shape = T, H, D, B, weights[0]
        space = Workspace.take(*shape) if keep else Workspace(*shape, rows=T if every else 1)
        h, he = space.h, space.he
        W_h, W_x, b = (torch.cat((*kind[1:], kind[0])) for kind in (weights[:4], weights[4:8], weights[8:]))
        W = W_h.new_zeros(4 * H, he.shape[1])  # its rows: i, f, o, g, as in the workspace
        W[:, :H], W[:, H : H + D] = W_h, W_x + b[:, None]
        W[3 * H :] *= 2  # for g = tanh(a_g) = 2 sigmoid(2 a_g) - 1
        if keep:  # there the rows are g, i, f, o, and f's are for a doubled da_f
            W_hT = torch.cat((*weights[:2], weights[2] / 2, weights[3])).t().contiguous()
            ctx.save_for_backward(W_hT)
            ctx.workspace, ctx.turn, ctx.input_size = space, space.turn, D
        he[:T, H : H + D] = e
        minus_one, W_t = W.new_tensor(-1.0), W[:, H:]
        for (gates, i, f, o, g, c2_old, tanh_c, c2_new, h_new, he_old), _ in space.steps:
            torch.mm(W_t, he_old, out=gates)
            W_t = W
            gates.sigmoid_()  # (2)-(4)
            torch.add(minus_one, g, alpha=2, out=g)  # (1)
            torch.mul(c2_old, f, out=c2_new).addcmul_(g, i, value=2)  # (5), twice
            torch.sigmoid(c2_new, out=tanh_c)
            torch.add(minus_one, tanh_c, alpha=2, out=tanh_c)
            torch.mul(tanh_c, o, out=h_new)  # (6)
        ctx.set_materialize_grads(False)
        if every:
            states = h[1:].permute(2, 0, 1), torch.stack(space.c2[1:]).permute(2, 0, 1) / 2
            return tuple(s.clone(memory_format=torch.contiguous_format) for s in states)
        return h_new.t().clone(memory_format=torch.contiguous_format)  # a copy: the memory is used again

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_h, grad_c=None):
        """From the derivatives by what forward returned to those by the weights.

        Raises RuntimeError on a graph that was retained after its first backward pass while another step took over its
        workspace.
        """
        (W_hT,) = ctx.saved_tensors  # after a backward pass that did not retain the graph this raises
        space = ctx.workspace
        if space.turn != ctx.turn:
            raise RuntimeError("FastLSTM: another step has used the memory of this retained graph; use lstm.LSTM")
        he, steps = space.he, space.steps
        (_, K, B), H, D = he.shape, len(W_hT), ctx.input_size
        every = grad_h is None or grad_h.dim() == 3
        dh, dc = he.new_zeros(2, H, B)
        if not every:
            dh.copy_(grad_h.t())
        q = he.new_empty(5, H, B)  # the factors q_g, q_i, q_f, q_o, p; the first four become da_t, but for 2 da_f
        da, q_gif, q_ifo, q_o, q_g_p, p = q[:4].view(4 * H, B), q[:3], q[1:4], q[3], q[::4], q[4]
        dW = he.new_zeros(4 * H, K)
        for t in reversed(range(len(steps))):
            ifo, g_c_tanh, io, g_tanh, f, he_old_T = steps[t][1]
            if every and grad_h is not None:
                dh += grad_h[:, t].t()
            if grad_c is not None:
                dc += grad_c[:, t].t()
            sigmoid_backward(g_c_tanh, ifo, grad_input=q_ifo)
            tanh_backward(io, g_tanh, grad_input=q_g_p)
            dc.addcmul_(dh, p)  # (6)
            q_gif.mul_(dc)  # (5), (1)-(3)
            q_o.mul_(dh)  # (6), (4)
            dc.mul_(f)
            (dW if t else dW[:, H:]).addmm_(da, he_old_T)
            torch.mm(W_hT, da, out=dh)
        FREE[:] = [space]
        dW[2 * H : 3 * H] /= 2
        d_table = dW[:, H : H + D].contiguous()  # one digit of each row was 1: the bias's derivative is the sum of them
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
