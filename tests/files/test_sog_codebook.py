"""Codebooks of SOG: near the values wherever these lie."""

import numpy as np
import pytest

from splatlearn.files.sog.writer import LEVELS, codebook


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0])
def test_values_that_crowd_in_few_places_are_kept(spread: float) -> None:
    """Few clusters of many values: k-means finds fewer centres than a codebook has entries, and says nothing of it."""
    rng = np.random.default_rng(0)
    values = np.concatenate([place + spread * 1e-3 * rng.random(200) for place in (0.0, 1.0, 50.0)]).astype(np.float32)
    values = np.concatenate([values, values[:1].repeat(2000)])
    book, places = codebook(values)
    assert book.shape == (LEVELS,)
    assert np.abs(book[places] - values).max() <= 0.01
    assert (np.diff(book) >= 0).all()
