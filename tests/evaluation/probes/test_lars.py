"""LARS against steps worked out by hand."""

import pytest
import torch

from splatlearn.evaluation import LARS


def test_two_steps_by_hand():
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))  # norm 5
    optimizer = LARS([weight], lr=2.0, momentum=0.5, weight_decay=0.1, trust=0.01)
    weight.grad = torch.tensor([[0.0, 2.0]])
    optimizer.step()
    # With decay the gradient is (0.3, 2.4), its norm 2.4187; scaled by 0.01 · 5 / 2.4187 = 0.020672.
    norm = (0.3**2 + 2.4**2) ** 0.5
    momentum = [0.3 * 0.05 / norm, 2.4 * 0.05 / norm]
    expected = [3 - 2 * momentum[0], 4 - 2 * momentum[1]]
    torch.testing.assert_close(weight.detach(), torch.tensor([expected]))

    weight.grad = torch.tensor([[1.0, 0.0]])
    optimizer.step()
    decayed = [1 + 0.1 * expected[0], 0.1 * expected[1]]
    scale = 0.01 * (expected[0] ** 2 + expected[1] ** 2) ** 0.5 / (decayed[0] ** 2 + decayed[1] ** 2) ** 0.5
    momentum = [0.5 * old + scale * new for old, new in zip(momentum, decayed, strict=True)]
    torch.testing.assert_close(
        weight.detach(), torch.tensor([[expected[0] - 2 * momentum[0], expected[1] - 2 * momentum[1]]])
    )


def test_step_of_a_matrix_does_not_depend_on_the_size_of_its_gradient():
    steps = []
    for size in (1e-3, 1.0, 1e3):
        weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        weight.grad = size * torch.tensor([[0.6, 0.8]])
        LARS([weight], lr=1.0).step()
        steps.append(weight.detach())
    torch.testing.assert_close(steps[0], steps[1])
    torch.testing.assert_close(steps[2], torch.tensor([[3 - 0.6 * 0.005, 4 - 0.8 * 0.005]]))


def test_vectors_take_plain_momentum_without_decay():
    bias, twin = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    ours, plain = LARS([bias], lr=0.1, weight_decay=0.5), torch.optim.SGD([twin], lr=0.1, momentum=0.9)
    for gradient in ([0.5, 1.0], [-1.0, 0.25], [0.0, 3.0]):
        bias.grad, twin.grad = torch.tensor(gradient), torch.tensor(gradient)
        ours.step()
        plain.step()
    torch.testing.assert_close(bias.detach(), twin.detach())


@pytest.mark.parametrize(("weights", "gradient"), [([[0.0, 0.0]], [[1.0, 2.0]]), ([[1.0, 1.0]], [[0.0, 0.0]])])
def test_zero_weights_or_gradients_give_no_nan(weights, gradient):
    weight = torch.nn.Parameter(torch.tensor(weights))
    weight.grad = torch.tensor(gradient)
    LARS([weight], lr=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.tensor(weights) - 0.5 * torch.tensor(gradient))


def test_closure_is_evaluated_and_unused_parameters_stay():
    weight, unused = torch.nn.Parameter(torch.ones(1, 1)), torch.nn.Parameter(torch.ones(1, 1))
    optimizer = LARS([weight, unused], lr=1.0)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (2 * weight).sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 2.0
    assert weight.item() == pytest.approx(0.999) and unused.item() == 1.0


def test_negative_numbers_are_named():
    with pytest.raises(ValueError, match="momentum: expected a number ≥ 0, got -1"):
        LARS([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=-1.0)
