"""Depth maps of other programs: found by names, and brought to a capture's scale whatever single points say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import MissingError
from splatlearn.fitting.priors.prior import DepthPrior, FolderPrior, PriorKind, PriorMap, aligned
from splatlearn.fitting.terms.targets import DepthPoints, DepthTargets


def photo(name: str) -> Photo:
    return Photo(name, torch.zeros(6, 8, 3, dtype=torch.uint8), None, Camera(8, 6, 8.0, 8.0, 4.0, 3.0))


def points(depth: torch.Tensor, count: int, generator: torch.Generator) -> DepthPoints:
    height, width = depth.shape
    rows = torch.randint(height, (count,), generator=generator)
    columns = torch.randint(width, (count,), generator=generator)
    pixels = torch.stack([columns, rows], dim=-1) + 0.5
    return DepthPoints(torch.zeros(count, dtype=torch.int64), pixels, depth[rows, columns], torch.ones(count))


@pytest.mark.parametrize("kind", ["inverse", "depth"])
def test_scale_and_shift_are_found_in_spite_of_wrong_points(kind: PriorKind, generator: torch.Generator) -> None:
    depth = 1.0 + 4.0 * torch.rand(40, 50, generator=generator)
    values = 3.0 * (1.0 / depth) + 0.2 if kind == "inverse" else 0.25 * depth + 0.1
    values[:3] = 0.0
    known = points(depth, 200, generator)
    wrong = known.depths.clone()
    wrong[::6] *= 3.0
    confidence = torch.rand(40, 50, generator=generator)
    noisy = DepthPoints(known.views, known.pixels, wrong, known.weights)
    found = aligned(PriorMap(values, kind, confidence), DepthTargets(points=noisy))
    assert found is not None and found.maps is not None and found.weights is not None
    assert float((found.maps[0, 3:] / depth[3:] - 1).abs().median()) < 0.02
    assert bool((found.maps[0, :3] == 0).all()) and torch.equal(found.weights[0], confidence)
    plain = aligned(PriorMap(values, kind), DepthTargets(points=known))
    assert plain is not None and plain.maps is not None and plain.weights is None
    torch.testing.assert_close(plain.maps[0, 3:], depth[3:], rtol=1e-3, atol=1e-3)


def test_too_little_is_no_alignment(generator: torch.Generator) -> None:
    depth = 1.0 + torch.rand(20, 20, generator=generator)
    few, many = points(depth, 5, generator), points(depth, 60, generator)
    assert aligned(PriorMap(1 / depth), DepthTargets(points=few)) is None
    assert aligned(PriorMap(torch.ones(20, 20)), DepthTargets(points=many)) is None
    # A map that runs the other way is no inverse depth.
    assert aligned(PriorMap(depth), DepthTargets(points=many)) is None


def test_maps_of_a_folder_are_called_as_photographs(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.float32).reshape(6, 8)
    (tmp_path / "left").mkdir()
    np.save(tmp_path / "left" / "a.npy", values)
    Image.fromarray(np.kron(values, np.ones((2, 2))).astype(np.uint16)).save(tmp_path / "b.png")
    prior = FolderPrior(tmp_path, "depth")
    assert isinstance(prior, DepthPrior)
    for name in ("left/a.jpg", "right/b.jpg"):
        found = prior(photo(name))
        assert found is not None and found.kind == "depth"
        np.testing.assert_array_equal(found.values, values)
    assert prior(photo("c.jpg")) is None
    with pytest.raises(MissingError, match="folder: expected a folder of depth maps, found none at"):
        FolderPrior(tmp_path / "gone")
