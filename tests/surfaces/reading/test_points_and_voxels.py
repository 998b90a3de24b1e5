"""Points and voxels as surfaces: closed, the right way round, and nothing lost."""

import numpy as np
import pytest

from splatlearn.core.errors import Malformed
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.reading.points import Points, discs
from splatlearn.surfaces.reading.voxels import surface


def volume(mesh: Mesh) -> float:
    """The volume within a closed mesh, negative if its faces are seen from inside."""
    first, second, third = np.moveaxis(mesh.corners, 1, 0)
    return float(np.einsum("mi,mi->", first, np.cross(second, third)) / 6)


def test_a_ball_of_voxels() -> None:
    axis = np.arange(24) - 11.5
    radii = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    mesh = surface(radii < 9)
    # Faces count from outside, and the surface lies a quarter of a voxel outside of the voxels' own.
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 9.25**3, rel=0.03)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - 12.0, axis=1), 9.25, atol=0.7)


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 1, 1), (6, 6, 1)])
def test_thin_things_stay(shape: tuple[int, int, int]) -> None:
    grid = np.zeros((8, 8, 8), dtype=bool)
    grid[1 : 1 + shape[0], 1 : 1 + shape[1], 1 : 1 + shape[2]] = True
    mesh = surface(grid)
    assert volume(mesh) > 0
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 1 + np.array(shape) / 2, atol=1e-5)
    assert (high - low > 0).all() and (high - low <= np.array(shape) + 1).all()


def test_voxels_at_the_side_of_the_grid_are_closed() -> None:
    mesh = surface(np.ones((4, 4, 4), dtype=bool))
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_no_voxels() -> None:
    with pytest.raises(Malformed, match="expected some of 4×4×4 to be occupied, got none"):
        surface(np.zeros((4, 4, 4), dtype=bool))


def test_discs_lie_in_the_surface() -> None:
    generator = np.random.default_rng(0)
    places = generator.normal(size=(800, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    colors = generator.integers(0, 256, (800, 3)).astype(np.uint8)
    doubled = Points(np.concatenate([places, places[:5], [[np.nan, 0, 0]]]), np.concatenate([colors, colors[:6]]))
    mesh = discs(doubled)
    assert len(mesh.faces) == 4 * 800
    first, second, third = np.moveaxis(mesh.corners, 1, 0)
    normals = np.cross(second - first, third - first)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    middles = mesh.corners.mean(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    assert np.median(np.abs((normals * middles).sum(axis=1))) > 0.99
    # All of the ball is covered: its area and more, since discs overlap.
    assert 4 * np.pi < mesh.areas.sum() < 4 * 4 * np.pi
    at = {tuple(place): tuple(color) for place, color in zip(places.round(9), colors, strict=True)}
    rings = mesh.vertices.reshape(-1, 6, 3).mean(axis=1).round(9)
    assert all(at[tuple(ring)] == tuple(color) for ring, color in zip(rings, mesh.colors[::6], strict=True))


def test_too_few_points() -> None:
    with pytest.raises(Malformed, match="at least 4 different finite ones, got 1"):
        discs(Points(np.zeros((7, 3)), None))
