"""The fast path against the equations of lstm.py: outputs, states, gradients and training, and its reuse of memory."""

import copy
import threading

import pytest
import torch
from comparing import assert_near, digits_of, gradients, last_loss
from torch.func import functional_call

from fast_lstm import FREE, FastLSTM
from lstm import LSTM


def pair(hidden=32, seed=0):
    """The two models with equal weights, the readable one first."""
    torch.manual_seed(seed)
    model, fast = LSTM(hidden_size=hidden), FastLSTM(hidden_size=hidden)
    fast.load_state_dict(model.state_dict())
    return model, fast


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (7, 2), (33, 10), (5, 60)])
def test_outputs_states_and_gradients_equal_the_equations(batch, time):
    model, fast = pair()
    digits = digits_of(batch, time)
    assert_near(fast(digits), model(digits))
    states, expected = fast.states(digits), model.states(digits)
    for found, state in zip(states, expected, strict=True):
        assert found.shape == (batch, time, 32)
        assert_near(found, state)
    for found, gradient in zip(
        gradients(last_loss(fast, digits), fast), gradients(last_loss(model, digits), model), strict=True
    ):
        assert_near(found, gradient)
    weights = torch.randn(2, batch, time, 32) / time
    for used in ([0], [1], [0, 1]):  # through all h, through all c, through both
        found = gradients(sum((states[k] * weights[k]).sum() for k in used), fast, retain_graph=True, allow_unused=True)
        wanted = gradients(
            sum((expected[k] * weights[k]).sum() for k in used), model, retain_graph=True, allow_unused=True
        )
        for name, a, b in zip(dict(model.named_parameters()), found, wanted, strict=True):
            if name.startswith("W_ph"):
                assert a is b is None
            else:  # o_t of the last step has no part in any c: autograd may say None for what is zero
                assert_near(a, torch.zeros_like(a) if b is None else b, atol=1e-5 * max(1, float(a.abs().max())))


@pytest.mark.parametrize("every", [False, True])
def test_gradients_equal_finite_differences(every):
    torch.manual_seed(0)
    model = FastLSTM(input_size=4, hidden_size=3, num_classes=4).double()
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


def test_two_forward_passes_before_a_backward_pass():
    model, fast = pair()
    digits = digits_of(6, 8, seed=1), digits_of(6, 8, seed=2)
    losses = [last_loss(fast, d) for d in digits]
    for d, loss in zip(digits, losses, strict=True):
        for found, expected in zip(gradients(loss, fast), gradients(last_loss(model, d), model), strict=True):
            assert_near(found, expected)


def test_a_retained_graph_never_gives_other_gradients():
    """Its memory is another step's by then: an error is right, and silence would not be."""
    _, fast = pair()
    digits = digits_of(6, 8)
    loss = last_loss(fast, digits)
    first = gradients(loss, fast, retain_graph=True)
    with torch.no_grad():
        fast(digits_of(6, 8, seed=3))
    for a, b in zip(first, gradients(loss, fast, retain_graph=True), strict=True):
        assert torch.equal(a, b)
    gradients(last_loss(fast, digits_of(6, 8, seed=2)), fast)  # another step of the same shape
    with pytest.raises(RuntimeError, match="memory of this retained graph"):
        gradients(loss, fast)
    loss = last_loss(fast, digits)
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
        for found, expected in zip(fast.states(many), model.states(many), strict=True):
            assert_near(found, expected)
    assert not FREE  # evaluation keeps no memory
    for found, expected in zip(gradients(loss, fast), gradients(last_loss(model, digits), model), strict=True):
        assert_near(found, expected)


def test_memory_is_free_after_the_backward_pass_and_used_again():
    _, fast = pair()
    FREE.clear()
    seen = []
    for batch in (6, 6, 6, 4, 6):
        loss = last_loss(fast, digits_of(batch, 8))  # still there during the next forward pass, as in train.py
        assert not FREE
        loss.backward()
        assert FREE[0].he.shape[2] == batch
        seen.append(FREE[0])
    assert seen[0] is seen[1] is seen[2]
    assert len({id(space) for space in seen}) == 3
    with torch.enable_grad():
        last_loss(fast, digits_of(6, 8))  # given up: its memory goes with its graph
    last_loss(fast, digits_of(6, 8)).backward()
    assert len(FREE) == 1
    states = fast.states(digits_of(6, 8))
    before = [state.detach().clone() for state in states]
    sum(state.sum() for state in states).backward()
    last_loss(fast, digits_of(6, 8, seed=5)).backward()  # writes into the same memory
    for state, kept in zip(states, before, strict=True):
        assert torch.equal(state.detach(), kept)


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
        for a, b in zip(found[seed], expected, strict=True):
            assert_near(a, b)


def test_state_dict_serves_both():
    model, fast = pair()
    assert list(fast.state_dict()) == list(model.state_dict())
    back = LSTM(hidden_size=32)
    back.load_state_dict(fast.state_dict())
    digits = digits_of(3, 5)
    assert torch.equal(back(digits), model(digits))
    assert_near(copy.deepcopy(fast)(digits), model(digits))


def test_frozen_weights_get_no_gradient():
    model, fast = pair()
    digits = digits_of(3, 5)
    for network in (model, fast):
        network.W_gx.weight.requires_grad_(False)
        last_loss(network, digits).backward()
    for found, expected in zip(fast.parameters(), model.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None)
        if expected.grad is not None:
            assert_near(found.grad, expected.grad)


def test_training_gives_the_same_losses():
    losses = []
    for model in pair():
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
        losses.append([])
        for seed in range(12):
            loss = last_loss(model, digits_of(16 if seed % 4 else 9, 10, seed=seed))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses[-1].append(loss.item())
    assert_near(torch.tensor(losses[1]), torch.tensor(losses[0]), atol=1e-4)


@pytest.mark.parametrize("bad", [torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.uint8), torch.full((2, 3), 10)])
def test_anything_but_digits_is_refused(bad):
    with pytest.raises(RuntimeError, match=r"one_hot|num_classes"):
        FastLSTM(hidden_size=16)(bad)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_equal_on_a_gpu():
    model, fast = (network.cuda() for network in pair())
    digits = digits_of(7, 12).cuda()
    assert_near(fast(digits), model(digits))
    for found, expected in zip(
        gradients(last_loss(fast, digits), fast), gradients(last_loss(model, digits), model), strict=True
    ):
        assert_near(found, expected)
