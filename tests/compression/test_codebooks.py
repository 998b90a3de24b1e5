"""Residual codebooks: what stages leave, what they cost, and rows that need few codes."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from splatlearn.compression import ResidualCodes, residual_codes


@pytest.fixture
def rows(generator: torch.Generator) -> torch.Tensor:
    # Correlated rows, as scales and rotations are.
    return torch.randn(500, 4, generator=generator) @ torch.randn(4, 4, generator=generator)


def test_the_residual_falls_at_each_stage(rows: torch.Tensor) -> None:
    found = residual_codes(rows, 5, 16)
    rests = [float((found.decoded(stages) - rows).square().sum()) for stages in range(1, 6)]
    assert all(after < 0.75 * before for before, after in zip([float(rows.square().sum()), *rests], rests))  # noqa: B905
    # No single row becomes longer either: an entry of each codebook is zero.
    lengths = torch.stack([(found.decoded(stages) - rows).norm(dim=1) for stages in range(1, 6)])
    assert (lengths.diff(dim=0) <= 1e-5).all()


def test_each_row_has_the_nearest_entry(rows: torch.Tensor) -> None:
    found = residual_codes(rows, 1, 16)
    distances = (rows[:, None] - found.codebooks[0]).square().sum(dim=2)
    torch.testing.assert_close(
        distances.gather(1, found.labels[:, :1].long())[:, 0], distances.min(dim=1).values, rtol=1e-4, atol=1e-5
    )
    # About as good as scikit-learn's own with all entries free.
    free = KMeans(16, random_state=0).fit_transform(rows.numpy()).min(axis=1)
    assert float(distances.min(dim=1).values.sum()) < 1.15 * float(np.square(free).sum())


def test_more_codes_leave_less(rows: torch.Tensor) -> None:
    rests = [float((residual_codes(rows, 1, codes).decoded() - rows).square().sum()) for codes in (1, 4, 16, 64, 256)]
    assert rests == sorted(rests, reverse=True)
    assert rests[0] == pytest.approx(float(rows.square().sum()), rel=1e-5)


def test_few_different_rows_are_exact() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).repeat(40, 1)
    found = residual_codes(rows, 2, 8)
    torch.testing.assert_close(found.decoded(), rows)


def test_sizes_are_those_of_an_entropy_coder() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.choice(16, (20_000, 2), p=np.r_[0.7, np.full(15, 0.02)]).astype(np.uint8))
    found = ResidualCodes(torch.zeros(2, 16, 3), labels)
    shares = np.r_[0.7, np.full(15, 0.02)]
    entropy = -(shares * np.log2(shares)).sum() * 40_000 / 8
    books = 2 * 2 * 16 * 3
    assert entropy < found.size - books < 1.05 * entropy


def test_arguments_that_cannot_be(rows: torch.Tensor) -> None:
    for arguments, message in [
        ((rows, 0, 4), "stages: expected"),
        ((rows, 1, 257), "codes: expected"),
        ((rows[:0], 1, 4), "rows: expected at least one, got none"),
    ]:
        with pytest.raises(ValueError, match=message):
            residual_codes(*arguments)
