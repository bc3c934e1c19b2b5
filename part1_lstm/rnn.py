"""The vanilla RNN that the LSTM is compared with (Elman 1990), same interface and same kind of layers as lstm.py.

x is the one-hot digit read at step t, h the hidden state, p the logits of the next digit:

    h_t = tanh(W_hx x_t + W_hh h_(t-1) + b_h)
    p   = W_ph h_T + b_p
"""

import torch
import torch.nn.functional as F
from torch import nn


class VanillaRNN(nn.Module):
    """Reads digits one by one and predicts the next one.

    Parameters, each an nn.Linear with its default initialisation, uniform in +-1/sqrt(fan in):
        W_hx   (hidden_size, input_size) with bias
        W_hh   (hidden_size, hidden_size) without bias
        W_ph   (num_classes, hidden_size) with bias

    With the defaults that is 19,082 numbers, about a quarter of the LSTM's.
    """

    def __init__(self, input_size=10, hidden_size=128, num_classes=10):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W_hx, self.W_hh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_ph = nn.Linear(hidden_size, num_classes)

    def cell(self, x, h):
        """One step: x (batch, input_size) one-hot, h (batch, hidden_size) -> the new h, in (-1, 1)."""
        return torch.tanh(self.W_hx(x) + self.W_hh(h))

    def steps(self, digits):
        """Yield h (batch, hidden_size) after every digit; it starts at zero.

        digits: int64 (batch, time), values 0 to input_size - 1; F.one_hot raises RuntimeError for anything else.
        """
        x = F.one_hot(digits, self.input_size).to(self.W_hx.weight.dtype)
        h = x.new_zeros(len(digits), self.hidden_size)
        for x_t in x.unbind(dim=1):
            h = self.cell(x_t, h)
            yield h

    def states(self, digits):
        """All hidden states: digits (batch, time) -> h (batch, time, hidden_size)."""
        return torch.stack(list(self.steps(digits)), dim=1)

    def forward(self, digits):
        """Logits of the next digit, from the last hidden state: digits (batch, time) -> (batch, num_classes)."""
        for h in self.steps(digits):  # noqa: B007  (only the last h is used: no other has to stay in memory)
            pass
        return self.W_ph(h)
