"""Depth maps of a ball and of the still life, whose surfaces are known exactly, against the meshes made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from splatlearn.captures.still_life.arrangement import arrange
from splatlearn.captures.still_life.photographing import camera_of
from splatlearn.captures.still_life.surfaces import Ball
from splatlearn.captures.still_life.tracing import Piece, Thing
from splatlearn.core.errors import InputError
from splatlearn.surfaces import DepthView, Fused, Mesh, MeshOptions, fuse, volume
from surfaces.views import around, traced

RADIUS, VOXEL = 0.9, 0.03
MIDDLE = (0.1, -0.05, 0.02)


@pytest.fixture(scope="module")
def views() -> list[DepthView]:
    """A ball from all sides."""
    ball = [Thing([Piece(Ball(MIDDLE, RADIUS), torch.ones(3, 1, 1))])]
    return [traced(ball, camera)[0] for camera in around(12, (120, 120))]


@pytest.fixture(scope="module")
def ball(views: list[DepthView]) -> Fused:
    return fuse(views, MeshOptions(VOXEL))


def edges(mesh: Mesh) -> np.ndarray:
    """The directed edges of all faces [3 M, 2]."""
    return np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])


def test_the_surface_of_a_ball_is_found_within_a_fraction_of_a_voxel(ball: Fused) -> None:
    away = np.linalg.norm(ball.mesh.vertices - MIDDLE, axis=1) - RADIUS
    assert np.abs(away).mean() < 0.15 * VOXEL
    assert np.abs(away).max() < 0.6 * VOXEL


def test_the_mesh_of_a_ball_is_closed_across_chunks_and_faces_outwards(ball: Fused) -> None:
    mesh = ball.mesh
    assert np.ptp(mesh.vertices[:, 0]) > 32 * VOXEL  # the planes x = 0, y = 0 and z = 0 part it into chunks
    directed = edges(mesh)
    forward, counts = np.unique(directed, axis=0, return_counts=True)
    assert (counts == 1).all()
    assert np.array_equal(forward, np.unique(directed[:, ::-1], axis=0))
    assert len(mesh.vertices) - len(directed) // 2 + len(mesh.faces) == 2
    first, second, third = np.moveaxis(mesh.corners, 1, 0)
    inside = (first * np.cross(second, third)).sum() / 6
    assert inside == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert mesh.areas.sum() == pytest.approx(4 * np.pi * RADIUS**2, rel=0.02)


def test_vertices_have_the_colours_of_the_pixels_that_show_them(ball: Fused) -> None:
    wanted = 0.5 + 0.5 * ball.mesh.vertices / 1.5
    assert np.abs(ball.mesh.colors / 255.0 - wanted).mean() < 0.01


def test_points_are_spread_evenly_by_area(ball: Fused) -> None:
    points = ball.mesh.points(4000, np.random.default_rng(0))
    # A share of a sphere's area is that of its diameter (Archimedes).
    height = (points[:, 2] - MIDDLE[2]) / RADIUS
    assert np.histogram(height, 4, (-1, 1))[0] == pytest.approx(1000, abs=120)
    assert not len(Mesh.empty().points(10, np.random.default_rng(0)))


def test_places_that_few_cameras_see_have_no_surface(views: list[DepthView]) -> None:
    one_side = fuse(views[:1], MeshOptions(VOXEL, least_views=1)).mesh
    assert one_side.vertices[:, 2].min() > -RADIUS
    assert not len(fuse(views[:1], MeshOptions(VOXEL, least_views=2)).mesh.faces)


def test_the_largest_parts_are_kept() -> None:
    pieces = [
        Piece(Ball((0.0, 0.0, 0.0), 0.5), torch.ones(3, 1, 1)),
        Piece(Ball((0.9, 0.0, 0.0), 0.15), torch.ones(3, 1, 1)),
    ]
    views = [traced([Thing([each]) for each in pieces], camera)[0] for camera in around(8, (80, 80))]
    both, one = (fuse(views, MeshOptions(0.05, parts=parts)).mesh for parts in (2, 1))
    assert both.vertices[:, 0].max() > 0.95
    assert one.vertices[:, 0].max() < 0.6
    assert len(one.vertices) == len(np.unique(one.faces))


def test_the_default_voxel_is_three_pixels_and_far_things_are_left_out(views: list[DepthView]) -> None:
    depth = torch.cat([view.depth[view.depth > 0].median().reshape(1) for view in views]).median()
    pixel = float(depth / views[0].camera.fx)
    made = fuse(views)
    assert made.grid.voxel == pytest.approx(3 * pixel, rel=0.01)
    assert made.farthest == pytest.approx(3 * float(depth), rel=0.01)
    assert not len(fuse(views, MeshOptions(VOXEL, farthest=2.0)).mesh.faces)


def test_the_still_life_is_fused_to_its_surfaces() -> None:
    things, voxel = arrange(), 0.03
    cameras = [camera_of(number, 10, (128, 96)) for number in range(10)]
    made = [traced(things, camera) for camera in cameras]
    mesh = fuse([view for view, _ in made], MeshOptions(voxel)).mesh
    truth = torch.cat([points for _, points in made]).numpy()
    found = mesh.points(20_000, np.random.default_rng(0))
    missed, _ = KDTree(found).query(truth)
    astray, _ = KDTree(truth).query(found)
    assert np.median(missed) < 0.6 * voxel
    assert np.mean(missed < 2 * voxel) > 0.95
    assert np.median(astray) < 0.8 * voxel
    assert np.mean(astray < 2 * voxel) > 0.95


def test_a_volume_that_memory_does_not_hold_is_refused(views: list[DepthView], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "available_memory", lambda: 10**6)
    with pytest.raises(InputError, match=r"voxel: expected a volume of at most 500 kB, got .*; choose one above"):
        fuse(views, MeshOptions(VOXEL))


def test_maps_without_a_depth_are_refused(views: list[DepthView]) -> None:
    empty = views[0]._replace(depth=torch.zeros_like(views[0].depth))
    with pytest.raises(InputError, match="views: expected depth maps of something, got 1 without a depth"):
        fuse([empty])
