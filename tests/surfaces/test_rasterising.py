"""Scan conversion against rays, which are intersected with every face."""

import numpy as np
import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.rasterising import Hits, visible
from splatlearn.surfaces.shading import BELOW, LAMP, LAMP_AT, SUN, SUN_AT, ZENITH, lit


def random_mesh(seed: int, count: int) -> Mesh:
    generator = np.random.default_rng(seed)
    vertices = generator.uniform(-1, 1, (3 * count, 3))
    faces = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    return Mesh(vertices, faces, generator.integers(0, 256, (3 * count, 3)).astype(np.uint8))


def rays(camera: Camera, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """The nearest face and its depth at each pixel's centre, by Möller and Trumbore; −1 where there is none."""
    view = camera.viewmats.double().numpy()
    turn = np.linalg.inv(view[:3, :3]).T
    eye = -turn.T @ view[:3, 3]
    rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    # Of depth 1 along the axis: distances along the ray are depths.
    toward = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ turn
    first, second, third = np.moveaxis(mesh.corners, 1, 0)
    one, other = second - first, third - first
    p = np.cross(toward[:, None], other)
    det = (p * one).sum(-1)
    start = eye - first
    u = (p * start).sum(-1) / det
    q = np.cross(start, one)
    v = (toward[:, None] * q).sum(-1) / det
    depth = (q * other).sum(-1) / det
    depth = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0), depth, np.inf)
    nearest = depth.argmin(axis=1)
    best = depth[np.arange(len(depth)), nearest]
    return np.where(np.isfinite(best), nearest, -1), best


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_face_of_each_pixel(seed: int) -> None:
    mesh, camera = random_mesh(seed, 60), Camera.look_at((1.5, -2.0, -3.0), (0.1, 0.0, 0.0), 37, 53, 45.0)
    hits = visible(mesh, camera)
    face, depth = rays(camera, mesh)
    found = np.full(37 * 53, -1)
    found[hits.pixels] = hits.faces
    assert (face >= 0).mean() > 0.2
    # Rounding may say otherwise about a centre on an edge.
    assert (found == face).mean() > 0.999
    same = face[hits.pixels] == hits.faces
    np.testing.assert_allclose(hits.depths[same], depth[hits.pixels][same], rtol=1e-9)


def test_weights_are_places_on_the_faces() -> None:
    mesh, camera = random_mesh(5, 40), Camera.look_at((0.5, -1.0, -3.0), (0.0, 0.0, 0.0), 32, 48, 50.0)
    hits = visible(mesh, camera)
    points = np.einsum("pk,pkc->pc", hits.weights, mesh.corners[hits.faces])
    pixels, depths = camera.project(torch.from_numpy(points))
    centres = np.stack([hits.pixels % 48, hits.pixels // 48], axis=-1) + 0.5
    np.testing.assert_allclose(pixels.numpy(), centres, atol=1e-9)
    np.testing.assert_allclose(depths.numpy(), hits.depths, rtol=1e-9)


def test_neighbours_share_every_pixel_of_their_edge_once() -> None:
    # The corners lie on centres of pixels, so that edges pass through many.
    side = 8
    at = np.stack(np.meshgrid(np.arange(side + 1), np.arange(side + 1), indexing="ij"), axis=-1).reshape(-1, 2)
    vertices = np.concatenate([at * 3 - 12.0, np.full((len(at), 1), 20.0)], axis=1)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side + 2], 1),
            np.stack([corner, corner + side + 2, corner + side + 1], 1),
        ]
    ).astype(np.int32)
    camera = Camera(32, 32, 20.0, 20.0, 16.5, 16.5)
    counts = np.zeros(32 * 32, dtype=int)
    for face in faces:
        counts[visible(Mesh(vertices, face[None], np.zeros((len(vertices), 3), np.uint8)), camera).pixels] += 1
    assert counts.max() == 1 and counts.sum() == 24 * 24


def test_cameras_that_are_refused() -> None:
    mesh = random_mesh(0, 3)
    with pytest.raises(InputError, match="in front of the camera"):
        visible(mesh, Camera.look_at((0.2, 0.0, -0.1), (0.0, 0.0, 5.0), 8, 8))
    with pytest.raises(InputError, match="one pinhole camera, got"):
        visible(mesh, Camera.orthographic(8, 8))
    assert len(visible(Mesh.empty(), Camera.look_at((0, 0, -3), (0, 0, 0), 8, 8)).pixels) == 0


def test_light_is_lamberts_on_the_side_of_the_camera() -> None:
    for normal in np.random.default_rng(0).normal(size=(20, 3)):
        normal /= np.linalg.norm(normal)
        across = np.cross(normal, [0.3, 0.5, 0.8])
        across /= np.linalg.norm(across)
        corners = np.stack([across, np.cross(normal, across), -across])
        mesh = Mesh(corners, np.array([[0, 1, 2]], np.int32), np.full((3, 3), 51, np.uint8))
        hit = Hits(np.array([0]), np.array([0]), np.full((1, 3), 1 / 3), np.ones(1))
        for side in (1, -1):
            seen = lit(mesh, hit, 5 * side * normal)
            np.testing.assert_allclose(seen.normals[0], side * normal, atol=1e-12)
            light = BELOW + (ZENITH - BELOW) * (1 - side * normal[1]) / 2
            for strength, toward in ((SUN, np.array(SUN_AT)), (LAMP, np.array(LAMP_AT))):
                light += strength * max(0.0, float(side * normal @ toward / np.linalg.norm(toward)))
            np.testing.assert_allclose(seen.colors[0], min(1.0, 0.2 * light), atol=1e-12)
        np.testing.assert_allclose(lit(mesh, hit, 5 * normal, is_shaded=False).colors[0], 0.2)
