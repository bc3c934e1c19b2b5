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

Two things make it fast on a CPU besides:

- tanh(z) is computed as 2 sigmoid(2z) - 1: torch.tanh takes eight times as long as torch.sigmoid there. The factor 2 is
  put into W for g, and for tanh(c_t) it is 2 c_t that is kept: with 2 c_(t-1) in its place, da_f above comes out
  doubled, which W_h^T and dW make good once for all steps.
- [h_(t-1); e_t] is filled up with zeros to a multiple of 16 rows, as processors read 16 numbers at a time.

train.py checks it against lstm.py at the start of each run; benchmark.py measures it.
"""

import torch
import torch.nn.functional as F

from lstm import LSTM

tanh_backward = torch.ops.aten.tanh_backward.grad_input  # (dy, y) -> dy (1 - y^2), into grad_input
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # (dy, y) -> dy y (1 - y), into grad_input


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
        W_h, W_x, b = (torch.cat((*kind[1:], kind[0])) for kind in (weights[:4], weights[4:8], weights[8:]))
        W = W_h.new_zeros(4 * H, -(-(H + D) // 16) * 16)  # its rows: i, f, o, g; its columns filled up with zeros
        W[:, :H], W[:, H : H + D] = W_h, W_x + b[:, None]
        W[3 * H :] *= 2  # for g = tanh(a_g) = 2 sigmoid(2 a_g) - 1
        minus_one, kept, c2, states = W.new_tensor(-1.0), [], W.new_zeros(H, B), []
        he = W.new_zeros(W.shape[1], B)  # [h_0; e_1], h_0 = 0
        for t in range(T):
            he[H : H + D] = e[t]
            step = W.new_empty(6, H, B)  # i, f, o, g, 2 c_(t-1), tanh(c_t)
            i, f, o, g, c2_old, tanh_c = step.unbind()
            torch.mm(W, he, out=step[:4].view(4 * H, B)).sigmoid_()  # (2)-(4)
            torch.add(minus_one, g, alpha=2, out=g)  # (1)
            c2_old.copy_(c2)
            c2 = torch.mul(c2, f).addcmul_(g, i, value=2)  # (5), twice
            torch.sigmoid(c2, out=tanh_c)
            torch.add(minus_one, tanh_c, alpha=2, out=tanh_c)
            if keep:
                kept += [step, he]
            he = torch.zeros_like(he)
            torch.mul(tanh_c, o, out=he[:H])  # (6)
            if every:
                states.append((he[:H].t(), c2.t() / 2))
        if keep:  # there the rows are g, i, f, o, and f's are for a doubled da_f
            ctx.save_for_backward(torch.cat((*weights[:2], weights[2] / 2, weights[3])).t().contiguous(), *kept)
            ctx.input_size = D
        ctx.set_materialize_grads(False)
        if every:
            return tuple(torch.stack(z, dim=1) for z in zip(*states, strict=True))
        return he[:H].t().contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_h, grad_c=None):
        """From the derivatives by what forward returned to those by the weights."""
        W_hT, *kept = ctx.saved_tensors
        (K, B), H, D = kept[1].shape, len(W_hT), ctx.input_size
        every = grad_h is None or grad_h.dim() == 3
        dh, dc = W_hT.new_zeros(2, H, B)
        if not every:
            dh.copy_(grad_h.t())
        q = W_hT.new_empty(5, H, B)  # the factors q_g, q_i, q_f, q_o, p; the first four become da_t, but for 2 da_f
        da, q_gif, q_ifo, q_o, q_g_p, p = q[:4].view(4 * H, B), q[:3], q[1:4], q[3], q[::4], q[4]
        dW = W_hT.new_zeros(4 * H, K)
        for t in reversed(range(len(kept) // 2)):
            k, he = kept[2 * t : 2 * t + 2]
            if every and grad_h is not None:
                dh += grad_h[:, t].t()
            if grad_c is not None:
                dc += grad_c[:, t].t()
            sigmoid_backward(k[3:], k[:3], grad_input=q_ifo)  # (g, 2 c_(t-1), tanh(c_t)) by (i, f, o)
            tanh_backward(k[:3:2], k[3::2], grad_input=q_g_p)  # (i, o) by (g, tanh(c_t))
            dc.addcmul_(dh, p)  # (6)
            q_gif.mul_(dc)  # (5), (1)-(3)
            q_o.mul_(dh)  # (6), (4)
            dc.mul_(k[1])
            dW.addmm_(da, he.t())
            torch.mm(W_hT, da, out=dh)
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
