"""The fast path of the vanilla RNN against the equations of rnn.py: outputs, states, gradients and training."""

import pytest
import torch
from comparing import assert_near, digits_of, gradients, last_loss
from torch.func import functional_call

from fast_rnn import FastRNN
from rnn import VanillaRNN


def pair(hidden=32):
    """The two models with equal weights, the readable one first."""
    torch.manual_seed(0)
    model, fast = VanillaRNN(hidden_size=hidden), FastRNN(hidden_size=hidden)
    fast.load_state_dict(model.state_dict())
    return model, fast


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (7, 2), (33, 10), (5, 60)])
def test_outputs_states_and_gradients_equal_the_equations(batch, time):
    model, fast = pair()
    digits = digits_of(batch, time)
    assert_near(fast(digits), model(digits))
    states, expected = fast.states(digits), model.states(digits)
    assert states.shape == (batch, time, 32)
    assert_near(states, expected)
    wanted = gradients(last_loss(model, digits), model)
    for found, gradient in zip(gradients(last_loss(fast, digits), fast), wanted, strict=True):
        assert_near(found, gradient)
    weights = torch.randn(batch, time, 32) / time
    found = gradients((states * weights).sum(), fast, allow_unused=True)
    wanted = gradients((expected * weights).sum(), model, allow_unused=True)
    for name, a, b in zip(dict(model.named_parameters()), found, wanted, strict=True):
        if name.startswith("W_ph"):
            assert a is b is None
        else:
            assert_near(a, b, atol=1e-5 * max(1, float(b.abs().max())))
    with torch.no_grad():
        assert_near(fast(digits), model(digits))
        assert_near(fast.states(digits), model.states(digits))


@pytest.mark.parametrize("every", [False, True])
def test_gradients_equal_finite_differences(every):
    torch.manual_seed(0)
    model = FastRNN(input_size=4, hidden_size=3, num_classes=4).double()
    names, values = zip(*((n, p) for n, p in model.named_parameters() if not (every and "W_ph" in n)), strict=True)
    digits = digits_of(batch=2, time=4, below=4)

    class Called(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self):
            return self.model.states(digits) if every else self.model(digits)

    def outputs(*parameters):
        return functional_call(Called(), {f"model.{n}": p for n, p in zip(names, parameters, strict=True)}, ())

    assert torch.autograd.gradcheck(outputs, values)


def test_a_retained_graph_and_two_forward_passes():
    model, fast = pair()
    digits = digits_of(6, 8, seed=1), digits_of(6, 8, seed=2)
    losses = [last_loss(fast, d) for d in digits]
    for d, loss in zip(digits, losses, strict=True):
        wanted = gradients(last_loss(model, d), model)
        first = gradients(loss, fast, retain_graph=True)
        for a, b, c in zip(first, gradients(loss, fast), wanted, strict=True):
            assert torch.equal(a, b)
            assert_near(a, c)


def test_training_gives_the_same_losses():
    losses = []
    for model in pair():
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
        losses.append([])
        for seed in range(12):
            loss = last_loss(model, digits_of(16 if seed % 4 else 9, 10, seed=seed))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert_near(torch.tensor(losses[1]), torch.tensor(losses[0]), atol=1e-4)


@pytest.mark.parametrize("bad", [torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.uint8), torch.full((2, 3), 10)])
def test_anything_but_digits_is_refused(bad):
    with pytest.raises(RuntimeError, match=r"one_hot|num_classes"):
        FastRNN(hidden_size=16)(bad)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_equal_on_a_gpu():
    model, fast = (network.cuda() for network in pair())
    digits = digits_of(7, 12).cuda()
    assert_near(fast(digits), model(digits))
    wanted = gradients(last_loss(model, digits), model)
    for found, expected in zip(gradients(last_loss(fast, digits), fast), wanted, strict=True):
        assert_near(found, expected)


def test_the_incoming_gradient_is_left_as_it_is():
    """With one sequence its transpose is the same memory, and the backward pass writes to its own copy."""
    _, fast = pair()
    last = fast.through_time(digits_of(1, 5), every=False)
    incoming = torch.ones_like(last)
    torch.autograd.grad(last, [fast.W_hh.weight], incoming)
    assert torch.equal(incoming, torch.ones_like(last))
