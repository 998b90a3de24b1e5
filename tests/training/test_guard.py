import pytest
import torch
from torch import nn

from splatlearn.training.guard import FiniteGuard, NonFiniteError


def trained(bad_steps: set[int], steps: int) -> tuple[nn.Module, FiniteGuard]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    guard = FiniteGuard(torch.device("cpu"), limit=3)
    for step in range(steps):
        loss = layer(torch.ones(1, 3)).sum() * (float("nan") if step in bad_steps else 1.0)
        loss.backward()
        guard.clip(layer, optimizer, clip_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
    return layer, guard


def test_a_non_finite_gradient_changes_nothing() -> None:
    with_bad, guard = trained({1, 3}, 5)
    without, _ = trained(set(), 3)
    for one, other in zip(with_bad.parameters(), without.parameters(), strict=True):
        assert torch.equal(one, other)
    assert guard.check(5) == 2


def test_stops_after_several_in_a_row() -> None:
    assert trained({0, 1, 3, 4}, 6)[1].check(6) == 4
    with pytest.raises(NonFiniteError, match="NaN or infinite for 3 steps in a row up to step 6.*--resume"):
        trained({1, 2, 3}, 6)[1].check(6)


def test_clips_to_the_norm() -> None:
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    (layer(torch.full((1, 3), 100.0)).sum()).backward()
    norm = FiniteGuard(torch.device("cpu")).clip(layer, optimizer, 2.0)
    assert norm > 100
    total = sum(p.grad.square().sum() for p in layer.parameters() if p.grad is not None)
    assert float(total) == pytest.approx(4.0, rel=1e-4)
