"""The vanilla RNN of rnn.py with its backward pass through time written by hand: same parameters, same results, faster.

Every matrix is feature-major, (features, batch), as in fast_lstm.py. With e_t the one-hot column of the digit read at
step t:

    h_t = tanh(W [h_(t-1); e_t])      W = [W_hh | W_hx + b], (hidden, hidden + input); e_t picks one column, so the
                                      bias may be added to every one

The backward pass. Write dz for the derivative of the loss by z, and a_t for what tanh is taken of. dh holds what comes
from step t + 1 and, if the loss reads all states, from the loss itself:

    da_t = dh (.) (1 - h_t^2)         dW += da_t [h_(t-1); e_t]^T         dh_(t-1) = W_hh^T da_t

So only [h_t; e_(t+1)] has to be kept. As in fast_lstm.py, tanh(z) is 2 sigmoid(2z) - 1, with the factor 2 put into W.
"""

import torch
import torch.nn.functional as F

from fast_lstm import tanh_backward
from rnn import VanillaRNN


class ThroughTime(torch.autograd.Function):
    """All steps of the recurrence as one function, with the backward pass of the module's docstring."""

    @staticmethod
    def forward(ctx, e, every, keep, W_hh, W_hx, b):
        """All steps: e (time, input_size, batch) one-hot digits, and the weights of rnn.py.

        Returns the last h, (batch, hidden), or, if `every`, all of them, (batch, time, hidden). keep: whether a
        backward pass may follow.
        """
        (T, D, B), H = e.shape, len(W_hh)
        W, minus_one = 2 * torch.cat((W_hh, W_hx + b[:, None]), 1), W_hh.new_tensor(-1.0)
        rows = T + 1 if keep or every else 1  # with 1, all steps share the memory of one
        he = W.new_empty(rows, H + D, B).expand(T + 1, H + D, B)  # [h_t; e_(t+1)] at t
        he[0, :H], half = 0, W.new_empty(H, B)
        for e_t, old, new in zip(e.unbind(), he.unbind(), he[1:, :H].unbind(), strict=False):
            old[H:] = e_t
            torch.add(minus_one, torch.mm(W, old, out=half).sigmoid_(), alpha=2, out=new)
        ctx.save_for_backward(W_hh, he)
        return he[1:, :H].permute(2, 0, 1).contiguous() if every else new.t().contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_h):
        """From the derivatives by what forward returned to those by the weights."""
        W_hh, he = ctx.saved_tensors
        (_, K, B), H, every = he.shape, len(W_hh), grad_h.dim() == 3
        W_hhT, dW, da = W_hh.t().contiguous(), he.new_zeros(H, K), he.new_empty(H, B)
        dh = he.new_zeros(H, B)
        if not every:
            dh.copy_(grad_h.t())  # a copy: dh is written to
        states = list(zip(he.transpose(1, 2).unbind(), he[1:, :H].unbind(), strict=False))
        for t in reversed(range(len(states))):
            old_T, h = states[t]
            if every:
                dh += grad_h[:, t].t()
            tanh_backward(dh, h, grad_input=da)
            dW.addmm_(da, old_T)
            torch.mm(W_hhT, da, out=dh)
        d_table = dW[:, H:]  # one digit of each row was 1: the bias's derivative is the sum over digits
        return None, None, None, dW[:, :H], d_table, d_table.sum(1)


class FastRNN(VanillaRNN):
    """rnn.VanillaRNN with other arithmetic: the same parameters, state_dict, outputs, states and gradients."""

    def through_time(self, digits, every):
        """Run ThroughTime on digits, int64 (batch, time); F.one_hot raises RuntimeError for anything but digits."""
        e = F.one_hot(digits, self.input_size).permute(1, 2, 0)
        weights = self.W_hh.weight, self.W_hx.weight, self.W_hx.bias
        return ThroughTime.apply(e, every, torch.is_grad_enabled(), *weights)

    def states(self, digits):
        """All hidden states: digits (batch, time) -> h (batch, time, hidden_size)."""
        return self.through_time(digits, every=True)

    def forward(self, digits):
        """Logits of the next digit, from the last hidden state: digits (batch, time) -> (batch, num_classes)."""
        return self.W_ph(self.through_time(digits, every=False))
