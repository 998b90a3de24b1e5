import pytest
import torch
from torch import nn

from splatlearn.training.loop.guard import FiniteGuard, NonFiniteError, finite_or_nan


@pytest.fixture(params=[True, False], ids=["fused", "not-fused"])
def fused(request: pytest.FixtureRequest) -> bool:
    """Whether the optimiser can be told on the device to skip a step."""
    return request.param


def trained(bad_steps: set[int], steps: int, fused: bool) -> tuple[nn.Module, FiniteGuard, list[bool]]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
    guard = FiniteGuard(torch.device("cpu"), limit=3)
    seen = []
    for step in range(steps):
        loss = layer(torch.ones(1, 3)).sum() * (float("nan") if step in bad_steps else 1.0)
        loss.backward()
        seen.append(guard.look())
        guard.clip(layer.parameters(), optimizer, clip_norm=1.0)
        guard.step(optimizer)
        optimizer.zero_grad()
    return layer, guard, seen


def test_a_non_finite_gradient_changes_nothing(fused: bool) -> None:
    with_bad, guard, seen = trained({1, 3}, 5, fused)
    without, _, _ = trained(set(), 3, fused)
    for one, other in zip(with_bad.parameters(), without.parameters(), strict=True):
        assert torch.equal(one, other)
    # What became of a step is heard when the next one is there.
    assert seen == [False, False, True, False, True]
    assert not guard.look() and guard.skipped == 2


def test_stops_after_several_in_a_row(fused: bool) -> None:
    _, guard, _ = trained({0, 1, 3, 4}, 6, fused)
    guard.look()
    guard.check(6)
    assert guard.skipped == 4 and guard.in_a_row == 0
    _, guard, _ = trained({1, 2, 3}, 4, fused)
    assert not guard.exhausted
    assert guard.look() and guard.exhausted
    with pytest.raises(NonFiniteError, match="NaN or infinite for 3 steps in a row up to step 4.*--resume"):
        guard.check(4)


def test_asking_twice_counts_once() -> None:
    _, guard, _ = trained({0}, 1, fused=True)
    assert guard.look() and not guard.look()
    assert guard.skipped == 1 and guard.in_a_row == 1


def test_an_infinite_loss_with_a_finite_gradient_is_non_finite() -> None:
    weight = torch.ones(2, requires_grad=True)
    finite_or_nan(weight.sum() + torch.inf).backward()
    assert weight.grad is not None and bool(weight.grad.isnan().all())


def test_a_finite_loss_is_left_as_it_is() -> None:
    weight = torch.tensor([0.1, 0.7], requires_grad=True)
    loss = weight.square().sum()
    assert torch.equal(finite_or_nan(loss), loss)
    finite_or_nan(loss).backward()
    assert weight.grad is not None and torch.equal(weight.grad, 2 * weight.detach())


def test_clips_to_the_norm(fused: bool) -> None:
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=fused)
    (layer(torch.full((1, 3), 100.0)).sum()).backward()
    norm = FiniteGuard(torch.device("cpu")).clip(layer.parameters(), optimizer, 2.0)
    assert norm > 100
    total = sum(p.grad.square().sum() for p in layer.parameters() if p.grad is not None)
    assert float(total) == pytest.approx(4.0, rel=1e-4)
