"""The LSTM and the vanilla RNN against torch's own, by copied weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lstm import LSTM
from rnn import VanillaRNN

BATCH, TIME, HIDDEN = 5, 12, 16
GATES = "ifgo"  # the order in which nn.LSTM stacks the gates


def digits_of():
    return torch.randint(10, (BATCH, TIME), generator=torch.Generator().manual_seed(1))


def stacked(model, names):
    return torch.cat([model.get_parameter(name) for name in names])


def copy_of_lstm(model):
    """nn.LSTM with the weights of `model`; its second bias, which ours has not, stays zero."""
    reference = nn.LSTM(10, HIDDEN, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(stacked(model, [f"W_{gate}x.weight" for gate in GATES]))
        reference.weight_hh_l0.copy_(stacked(model, [f"W_{gate}h.weight" for gate in GATES]))
        reference.bias_ih_l0.copy_(stacked(model, [f"W_{gate}x.bias" for gate in GATES]))
        reference.bias_hh_l0.zero_()
    return reference


def copy_of_rnn(model):
    reference = nn.RNN(10, HIDDEN, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(model.W_hx.weight)
        reference.weight_hh_l0.copy_(model.W_hh.weight)
        reference.bias_ih_l0.copy_(model.W_hx.bias)
        reference.bias_hh_l0.zero_()
    return reference


def gradients(loss, parameters):
    return torch.autograd.grad(loss, list(parameters))


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_lstm_states_equal_torch():
    torch.manual_seed(0)
    model, digits = LSTM(hidden_size=HIDDEN), digits_of()
    reference, x = copy_of_lstm(model), F.one_hot(digits, 10).float()
    h, c = model.states(digits)
    assert h.shape == c.shape == (BATCH, TIME, HIDDEN)
    assert_near(h, reference(x)[0])
    for t in range(TIME):  # torch returns the last cell state only, so it reads every beginning of the sequence
        assert_near(c[:, t], reference(x[:, : t + 1])[1][1][0])
    assert_near(model(digits), model.W_ph(reference(x)[0][:, -1]))


def test_rnn_states_equal_torch():
    torch.manual_seed(0)
    model, digits = VanillaRNN(hidden_size=HIDDEN), digits_of()
    reference, x = copy_of_rnn(model), F.one_hot(digits, 10).float()
    assert_near(model.states(digits), reference(x)[0])
    assert_near(model(digits), model.W_ph(reference(x)[0][:, -1]))


def test_lstm_gradients_equal_torch():
    torch.manual_seed(0)
    model, digits, target = LSTM(hidden_size=HIDDEN), digits_of(), torch.arange(BATCH)
    reference = copy_of_lstm(model)
    names = [f"W_{gate}{kind}" for kind in ("x.weight", "h.weight", "x.bias") for gate in GATES]
    own = gradients(F.cross_entropy(model(digits), target), map(model.get_parameter, [*names, "W_ph.weight"]))
    logits = model.W_ph(reference(F.one_hot(digits, 10).float())[0][:, -1])
    theirs = gradients(
        F.cross_entropy(logits, target),
        [reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0, model.W_ph.weight],
    )
    assert all(gradient.abs().max() > 1e-4 for gradient in own)  # else nothing would be compared
    for index, expected in enumerate(theirs[:3]):
        assert_near(torch.cat(own[4 * index : 4 * index + 4]), expected)
    assert_near(own[-1], theirs[-1])


def test_rnn_gradients_equal_torch():
    torch.manual_seed(0)
    model, digits, target = VanillaRNN(hidden_size=HIDDEN), digits_of(), torch.arange(BATCH)
    reference = copy_of_rnn(model)
    own = gradients(
        F.cross_entropy(model(digits), target),
        [model.W_hx.weight, model.W_hh.weight, model.W_hx.bias, model.W_ph.weight],
    )
    logits = model.W_ph(reference(F.one_hot(digits, 10).float())[0][:, -1])
    theirs = gradients(
        F.cross_entropy(logits, target),
        [reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0, model.W_ph.weight],
    )
    assert all(gradient.abs().max() > 1e-4 for gradient in own)
    for found, expected in zip(own, theirs, strict=True):
        assert_near(found, expected)


@pytest.mark.parametrize(
    ("cell", "layers", "total"),
    [(LSTM, 4 * (10 * 128 + 128 + 128 * 128), 72_458), (VanillaRNN, 10 * 128 + 128 + 128 * 128, 19_082)],
)
def test_parameter_count(cell, layers, total):
    model = cell()
    assert sum(parameter.numel() for parameter in model.parameters()) == layers + 128 * 10 + 10 == total
    assert [name for name, _ in model.named_parameters() if name.endswith("h.bias")] == ["W_ph.bias"]
