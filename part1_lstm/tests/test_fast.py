"""The fast forms against the equations: outputs, states and gradients; the LSTM's reuse of memory."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F

from cells import CELLS
from fast_lstm import FREE


def pair(cell="lstm", hidden=32):
    """The two models with equal weights, the equations first."""
    torch.manual_seed(0)
    model, fast = CELLS[cell].equations(hidden_size=hidden), CELLS[cell].fast(hidden_size=hidden)
    fast.load_state_dict(model.state_dict())
    return model, fast


def digits_of(batch, time, seed=1):
    return torch.randint(10, (batch, time), generator=torch.Generator().manual_seed(seed))


def gradients(loss, model, **options):
    return torch.autograd.grad(loss, list(model.parameters()), **options)


def assert_near(found, expected, atol=1e-5):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


def last_loss(model, digits):
    return F.cross_entropy(model(digits), digits[:, 0])


def states_of(model, digits):
    """(h, c) of the LSTM, (h,) of the RNN."""
    states = model.states(digits)
    return states if isinstance(states, tuple) else (states,)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (7, 2), (33, 10), (5, 60)])
def test_outputs_states_and_gradients_equal_the_equations(cell, batch, time):
    model, fast = pair(cell)
    digits = digits_of(batch, time)
    assert_near(fast(digits), model(digits))
    states, expected = states_of(fast, digits), states_of(model, digits)
    assert all(state.shape == (batch, time, 32) for state in states)
    assert_near(states, expected)
    assert_near(gradients(last_loss(fast, digits), fast), gradients(last_loss(model, digits), model))
    weights = torch.randn(2, batch, time, 32) / time
    for used in [0], [1], [0, 1]:  # through all h, through all c, through both
        if max(used) < len(states):
            found, wanted = (
                gradients(sum((of[k] * weights[k]).sum() for k in used), network, retain_graph=True, allow_unused=True)
                for of, network in ((states, fast), (expected, model))
            )
            for name, a, b in zip(dict(model.named_parameters()), found, wanted, strict=True):
                if name.startswith("W_ph"):
                    assert a is b is None
                else:  # o_t of the last step has no part in any c: autograd may say None for what is zero
                    assert_near([a], [torch.zeros_like(a) if b is None else b], 1e-5 * max(1, float(a.abs().max())))
    with torch.no_grad():
        assert_near(fast(digits), model(digits))
        assert_near(states_of(fast, digits), expected)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_two_forward_passes_before_a_backward_pass(cell):
    model, fast = pair(cell)
    digits = digits_of(6, 8, seed=1), digits_of(6, 8, seed=2)
    losses = [last_loss(fast, d) for d in digits]
    for d, loss in zip(digits, losses, strict=True):
        assert_near(gradients(loss, fast), gradients(last_loss(model, d), model))


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_retained_graph_gives_the_same_gradients_again(cell):
    _, fast = pair(cell)
    loss = last_loss(fast, digits_of(6, 8))
    first = gradients(loss, fast, retain_graph=True)
    with torch.no_grad():
        fast(digits_of(6, 8, seed=3))
    assert all(torch.equal(a, b) for a, b in zip(first, gradients(loss, fast), strict=True))


def test_a_retained_graph_never_gives_other_gradients():
    """Its memory is another step's by then: an error is correct, silence would not be."""
    _, fast = pair()
    loss = last_loss(fast, digits_of(6, 8))
    gradients(loss, fast, retain_graph=True)
    gradients(last_loss(fast, digits_of(6, 8, seed=2)), fast)  # another step of the same shape
    with pytest.raises(RuntimeError, match="memory of this retained graph"):
        gradients(loss, fast)
    loss = last_loss(fast, digits_of(6, 8))
    gradients(loss, fast)
    with pytest.raises(RuntimeError, match="second time"):
        gradients(loss, fast)


def test_evaluation_between_forward_and_backward():
    model, fast = pair()
    digits, many = digits_of(6, 8), digits_of(50, 8, seed=2)
    loss = last_loss(fast, digits)
    FREE.clear()
    with torch.no_grad():
        assert_near(fast(many), model(many))
        assert_near(fast.states(many), model.states(many))
    assert not FREE  # evaluation keeps no memory
    assert_near(gradients(loss, fast), gradients(last_loss(model, digits), model))


def test_memory_is_free_after_the_backward_pass_and_used_again():
    _, fast = pair()
    FREE.clear()
    spaces = []
    for batch in (6, 6, 6, 4, 6):
        loss = last_loss(fast, digits_of(batch, 8))  # still there during the next forward pass, as in train.py
        assert not FREE
        loss.backward()
        assert FREE[0].he.shape[2] == batch
        spaces.append(FREE[0])
    assert spaces[0] is spaces[1] is spaces[2]
    assert len({id(space) for space in spaces}) == 3
    with torch.enable_grad():
        last_loss(fast, digits_of(6, 8))  # given up: its memory goes with its graph
    last_loss(fast, digits_of(6, 8)).backward()
    assert len(FREE) == 1
    states = fast.states(digits_of(6, 8))
    before = [state.detach().clone() for state in states]
    sum(state.sum() for state in states).backward()
    last_loss(fast, digits_of(6, 8, seed=5)).backward()  # writes into the same memory
    assert all(torch.equal(state.detach(), kept) for state, kept in zip(states, before, strict=True))


def test_threads_do_not_share_memory():
    model, fast = pair(hidden=16)
    wanted = {seed: gradients(last_loss(model, digits_of(5, 9, seed=seed)), model) for seed in range(4)}
    found = {}

    def work(seed):
        for _ in range(10):
            found[seed] = gradients(last_loss(fast, digits_of(5, 9, seed=seed)), fast)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in wanted.items():
        assert_near(found[seed], expected)


def test_a_copy_and_frozen_weights():
    model, fast = pair()
    digits = digits_of(3, 5)
    assert_near(copy.deepcopy(fast)(digits), model(digits))
    for network in (model, fast):
        network.W_gx.weight.requires_grad_(False)
        last_loss(network, digits).backward()
    for found, expected in zip(fast.parameters(), model.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None)
        if expected.grad is not None:
            assert_near([found.grad], [expected.grad])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_equal_on_a_gpu(cell):
    model, fast = (network.cuda() for network in pair(cell))
    digits = digits_of(7, 12).cuda()
    assert_near(fast(digits), model(digits))
    assert_near(gradients(last_loss(fast, digits), fast), gradients(last_loss(model, digits), model))


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_the_incoming_gradient_is_left_as_it_is(cell):
    """With one sequence its transpose is the same memory, and the backward pass writes to its own copy."""
    _, fast = pair(cell)
    last = fast.through_time(digits_of(1, 5), every=False)
    incoming = torch.ones_like(last)
    torch.autograd.grad(last, [next(fast.parameters())], incoming)
    assert torch.equal(incoming, torch.ones_like(last))
