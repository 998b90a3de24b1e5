"""Tiles over a picture."""

import pytest

from splatlearn.images.tiles import tile_starts


@pytest.mark.parametrize(("length", "side", "overlap"), [(10, 10, 0.5), (100, 30, 0.0), (101, 30, 0.5), (7, 2, 0.9)])
def test_tiles_reach_from_edge_to_edge_and_overlap_enough(length: int, side: int, overlap: float) -> None:
    starts = tile_starts(length, side, overlap)
    assert (starts[0], starts[-1]) == (0, length - side)
    steps = [after - before for before, after in zip(starts, starts[1:], strict=False)]
    assert all(0 < step <= max(1, side * (1 - overlap) + 0.5) for step in steps)
