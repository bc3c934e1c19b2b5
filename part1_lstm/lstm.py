"""The LSTM of the report, written out gate by gate: equations (1)-(6), without torch.nn.LSTM.

Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000. x is the one-hot digit read at step t, h the
hidden state, c the cell state, (.) the element-wise product:

    g_t = tanh   (W_gx x_t + W_gh h_(t-1) + b_g)    (1)  candidate memory
    i_t = sigmoid(W_ix x_t + W_ih h_(t-1) + b_i)    (2)  input gate
    f_t = sigmoid(W_fx x_t + W_fh h_(t-1) + b_f)    (3)  forget gate
    o_t = sigmoid(W_ox x_t + W_oh h_(t-1) + b_o)    (4)  output gate
    c_t = g_t (.) i_t + c_(t-1) (.) f_t             (5)  cell state
    h_t = tanh(c_t) (.) o_t                         (6)  hidden state

The last hidden state gives the logits of the next digit: p = W_ph h_T + b_p.
"""

import torch
import torch.nn.functional as F
from torch import nn


class LSTM(nn.Module):
    """Reads digits one by one and predicts the next one.

    Parameters, each an nn.Linear with its default initialisation, uniform in +-1/sqrt(fan in):
        W_gx, W_ix, W_fx, W_ox   (hidden_size, input_size) with the gate's bias (hidden_size)
        W_gh, W_ih, W_fh, W_oh   (hidden_size, hidden_size) without bias: one bias a gate is enough
        W_ph                     (num_classes, hidden_size) with bias

    With the defaults that is 72,458 numbers.
    """

    def __init__(self, input_size=10, hidden_size=128, num_classes=10):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W_gx, self.W_gh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_ix, self.W_ih = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_fx, self.W_fh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_ox, self.W_oh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_ph = nn.Linear(hidden_size, num_classes)

    def cell(self, x, h, c):
        """One step, equations (1)-(6).

        x (batch, input_size) one-hot, h and c (batch, hidden_size) of the step before -> the new (h, c), h in (-1, 1).
        """
        g = torch.tanh(self.W_gx(x) + self.W_gh(h))  # (1)
        i = torch.sigmoid(self.W_ix(x) + self.W_ih(h))  # (2)
        f = torch.sigmoid(self.W_fx(x) + self.W_fh(h))  # (3)
        o = torch.sigmoid(self.W_ox(x) + self.W_oh(h))  # (4)
        c = g * i + c * f  # (5)
        h = torch.tanh(c) * o  # (6)
        return h, c

    def steps(self, digits):
        """Yield (h, c), each (batch, hidden_size), after every digit; both start at zero.

        digits: int64 (batch, time), values 0 to input_size - 1; F.one_hot raises RuntimeError for anything else.
        """
        x = F.one_hot(digits, self.input_size).to(self.W_gx.weight.dtype)
        h = c = x.new_zeros(len(digits), self.hidden_size)
        for x_t in x.unbind(dim=1):
            h, c = self.cell(x_t, h, c)
            yield h, c

    def states(self, digits):
        """All hidden and cell states: digits (batch, time) -> (h, c), each (batch, time, hidden_size)."""
        h, c = zip(*self.steps(digits), strict=True)
        return torch.stack(h, dim=1), torch.stack(c, dim=1)

    def forward(self, digits):
        """Logits of the next digit, from the last hidden state: digits (batch, time) -> (batch, num_classes)."""
        for h, _ in self.steps(digits):  # noqa: B007  (only the last h is used: no other has to stay in memory)
            pass
        return self.W_ph(h)
