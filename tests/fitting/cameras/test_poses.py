"""Poses that are fitted: exact gradients, a gauge that is free and then fixed, and cameras that come back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from reconstruction.small_captures import cameras_around, known_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.rotations import rotation_vectors, rotations_of
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.fitting import SceneRates, SeenViews, psnr, scattered_gaussians
from splatlearn.fitting.cameras.poses import PoseDeltas, PoseRates, aligning, pose_errors, rigid_motions
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.losses.photometric import photometric_loss
from splatlearn.fitting.scene_fit import SceneFit
from splatlearn.fitting.scene_schedule import SceneSchedule
from splatlearn.fitting.strategies.default import DefaultOptions, DefaultStrategy
from splatlearn.rendering import render

DISTANCE = 3.0


def batch_of(cameras: list[Camera]) -> Camera:
    """Cameras of one lens as a batch."""
    return replace(cameras[0], viewmats=torch.stack([each.viewmats for each in cameras]))


def disturbed(cameras: Camera, generator: torch.Generator, degrees: float, distance: float) -> Camera:
    """Each camera turned by an angle about a random axis, and moved by a length in a random direction."""
    count = len(cameras.viewmats)
    turn, shift = (torch.nn.functional.normalize(torch.randn(count, 3, generator=generator)) for _ in range(2))
    moves = rigid_motions(math.radians(degrees) * turn, distance * shift)
    return replace(cameras, viewmats=moves @ cameras.viewmats)


def ids(*rows: int) -> SeenViews:
    return SeenViews(torch.tensor(rows), 1, Draws(0, 1))


def errors_after_alignment(poses: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The mean angle in degrees, and the root mean squared distance of centres: the absolute trajectory error."""
    angles, distances = pose_errors(aligning(poses, truth).cameras(poses), truth)
    return float(angles.mean()), float(np.sqrt((distances**2).mean()))


def test_rotations_are_scipys_and_turn_back(generator: torch.Generator) -> None:
    vectors = 2.5 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    vectors *= (3.0 / vectors.norm(dim=1, keepdim=True)).clamp_max(1.0)
    vectors[:4] *= torch.tensor([[1e-2], [1e-4], [1e-9], [0.0]], dtype=torch.float64)
    made = rotations_of(vectors)
    np.testing.assert_allclose(made.numpy(), Rotation.from_rotvec(vectors.numpy()).as_matrix(), atol=1e-13)
    torch.testing.assert_close(rotation_vectors(made), vectors, rtol=1e-9, atol=1e-12)


def test_rotations_have_exact_gradients_also_at_zero(generator: torch.Generator) -> None:
    for size in (0.0, 1e-5, 2e-3, 1.0):
        vectors = (size * torch.randn(3, 3, generator=generator, dtype=torch.float64)).requires_grad_()
        assert torch.autograd.gradcheck(rotations_of, (vectors,))
        assert torch.autograd.gradcheck(lambda each: rotation_vectors(rotations_of(each)), (vectors,))


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_the_gradient_of_a_pose_is_that_of_finite_differences(backend: str, generator: torch.Generator) -> None:
    """Of the loss, with harmonics and the turn of covariances; float64 in the specification.

    The Gaussians reach beyond the picture: where one ends in it, its smallest opacity is a jump.
    """
    dtype = torch.float64 if backend == "torch" else torch.float32
    scene = known_gaussians(count=12)
    sh = torch.cat([0.3 * scene.fixed_colors()[:, None], 0.1 * torch.randn(12, 3, 3, generator=generator)], 1)
    wide = 1.2 + 4 * scene.scales
    scene = replace(scene, colors=None, sh=sh, scales=wide, opacities=0.4 * scene.opacities).to(dtype)
    cameras = batch_of(cameras_around(5, 24, 20)).to(dtype)
    target = torch.rand(1, 3, 20, 24, generator=generator, dtype=dtype)
    model = PoseDeltas(cameras.viewmats)
    for each in model.rows.parameters.values():
        each.data = 0.05 * torch.randn(5, 3, generator=generator, dtype=dtype)

    def loss() -> Tensor:
        camera = model.cameras(ids(2), cameras[2:3])
        return photometric_loss(render(scene, camera, "black", backend, depth=False, check=False).color, target)

    loss().backward()
    step = 1e-5 if backend == "torch" else 2e-3
    for name, each in model.rows.parameters.items():
        assert each.grad is not None and not each.grad[[0, 1, 3, 4]].any()
        for axis in range(3):
            values = []
            for sign in (1, -1):
                each.data[2, axis] += sign * step
                values.append(float(loss().detach()))
                each.data[2, axis] -= sign * step
            slope = (values[0] - values[1]) / (2 * step)
            tolerance = 1e-3 if backend == "torch" else 2e-2
            assert float(each.grad[2, axis]) == pytest.approx(slope, rel=tolerance, abs=tolerance / 10), (name, axis)


def test_a_similarity_of_scene_and_cameras_changes_no_picture_and_no_gradient(generator: torch.Generator) -> None:
    scene, cameras = known_gaussians(count=30).to(torch.float64), batch_of(cameras_around(4, 32, 24)).to(torch.float64)
    target = torch.rand(4, 3, 24, 32, generator=generator, dtype=torch.float64)
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    gauge = Similarity(1.7, turn, np.array([0.4, -2.0, 1.0]))
    moved = scene.transformed(torch.from_numpy(turn), torch.from_numpy(gauge.translation), gauge.scale)
    poses = replace(cameras, viewmats=torch.from_numpy(gauge.cameras(cameras.viewmats.numpy())), near=0.017)
    found = []
    for gaussians, views in ((scene, cameras), (moved, poses)):
        model = PoseDeltas(views.viewmats, extent=1.0)
        camera = model.cameras(ids(0, 1, 2, 3), views)
        loss = photometric_loss(render(gaussians, camera, "black", "torch", depth=False).color, target)
        loss.backward()
        # Translations are of another unit after the similarity.
        shift = model.rows["translation"].grad
        assert shift is not None
        found.append((loss.detach(), model.rows["rotation"].grad, shift * (gauge.scale if len(found) else 1.0)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_the_gauge_leads_back_whatever_similarity_the_fit_drifted_by(generator: torch.Generator) -> None:
    given = batch_of(cameras_around(6)).viewmats.double().numpy()
    small = disturbed(batch_of(cameras_around(6)).to(torch.float32), generator, 0.5, 0.02).viewmats.double().numpy()
    drift = Similarity(1.3, Rotation.from_rotvec([0.2, 0.1, -0.4]).as_matrix(), np.array([1.0, 2.0, 3.0]))
    back = aligning(drift.cameras(small), given).cameras(drift.cameras(small))
    plain = aligning(small, given).cameras(small)
    np.testing.assert_allclose(back, plain, atol=1e-6)
    # Fixed means: nothing is left to align.
    again = aligning(plain, given)
    assert again.scale == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(again.rotation, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(again.translation, 0, atol=1e-9)
    angles, distances = pose_errors(plain, given)
    assert angles.max() < 1.0 and distances.max() < 0.06


def test_one_camera_is_its_own_gauge() -> None:
    given = batch_of(cameras_around(1)).viewmats
    model = PoseDeltas(given)
    with torch.no_grad():
        model.rows["rotation"].add_(0.1)
        model.rows["translation"].sub_(0.3)
    np.testing.assert_allclose(model.settled(), given.double().numpy(), atol=1e-6)
    with pytest.raises(InputError, match=r"viewmats: expected shape \[N, 4, 4\]"):
        PoseDeltas(given[:0])


def fitted(
    cameras: Camera, pictures: Tensor, start: Gaussians, steps: int, rates: PoseRates | None
) -> tuple[PoseDeltas | None, float]:
    """Fit all views in each step; returns the poses and the mean PSNR of the fitted views."""
    poses = None if rates is None else PoseDeltas(cameras.viewmats, DISTANCE, rates)
    schedule = SceneSchedule(steps=steps, degree=0, rates=SceneRates(position=8e-4, position_last=8e-6))
    options = DefaultOptions(cap=400, start=100, every=50, stop=steps // 2, reset_every=10**6)
    fit = SceneFit(start, DISTANCE, DefaultStrategy(options), schedule, view_models=() if poses is None else (poses,))
    every = torch.arange(len(pictures))
    for _ in range(steps):
        fit.step(cameras, pictures, views=every)
    if poses is not None:
        cameras = replace(cameras, viewmats=torch.from_numpy(poses.fitted()).float())
    return poses, float(psnr(render(fit.gaussians().detach(), cameras, "black", depth=False).color, pictures).mean())


@pytest.mark.parametrize(
    ("count", "steps", "size", "better"),
    [(4, 120, (32, 24), 1.0), pytest.param(8, 1500, (64, 48), 4.0, marks=pytest.mark.large)],
)
def test_wrong_poses_are_mended(
    count: int, steps: int, size: tuple[int, int], better: float, generator: torch.Generator
) -> None:
    """Off by 3° and 5 % of the distance: the error of the trajectory halves, and pictures are better than without."""
    truth, right = known_gaussians(count=200), batch_of(cameras_around(count, *size))
    pictures = (255 * render(truth, right, "black", depth=False).color.clamp(0, 1)).round().to(torch.uint8)
    wrong = disturbed(right, generator, 3.0, 0.05 * DISTANCE)
    if count == 4:
        # A start near the truth, as from points.
        start = replace(truth, means=truth.means + 0.02 * torch.randn(200, 3, generator=generator))
    else:
        start = scattered_gaussians(wrong, 200, 0, 0.5, 0.4)
    poses, quality = fitted(wrong, pictures, start, steps, PoseRates(3e-3, 3e-3))
    _, frozen = fitted(wrong, pictures, start, steps, None)
    known = right.viewmats.double().numpy()
    assert poses is not None
    turned, moved = errors_after_alignment(poses.settled(), known)
    before = errors_after_alignment(wrong.viewmats.double().numpy(), known)
    assert moved < 0.5 * before[1] and turned < 0.5 * before[0]
    assert quality > frozen + better
