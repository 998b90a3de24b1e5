"""Depth maps from elsewhere supervise a run: of files, undistorted and aligned, and of a plane sweep."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from captures.synthetic import Synthetic, projections, synthetic, write_colmap_binary
from captures.synthetic import write_photographs as write_noise
from fitting.priors.test_plane_sweep import EYES, traced
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from reconstruction.test_depth import with_depths
from splatlearn.captures import Lens, load_capture
from splatlearn.core.errors import InputError, MissingError
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.reconstruction import SceneRecipe, reconstruct
from splatlearn.reconstruction.recipes.capture_options import CaptureOptions
from splatlearn.reconstruction.recipes.run_options import SceneRunOptions
from splatlearn.reconstruction.recipes.term_options import TermOptions
from splatlearn.reconstruction.results.known_depths import KnownDepths
from splatlearn.reconstruction.running.depth_prior import PriorDepths, supervising_depths
from splatlearn.reconstruction.running.photos import open_photographs
from splatlearn.runs.log import LOG

WIDTH, HEIGHT = 192, 128
SMALL: dict[str, Any] = {"steps": 3, "max_gaussians": 60, "degree": 0, "start": "random", "coarse": 0.0}


def flat_world(folder: Path) -> Synthetic:
    """A capture of points in the plane z = 0, with lenses that distort."""
    lens = Lens("OPENCV", WIDTH, HEIGHT, (160, 168, 92, 68, 0.2, -0.02, 0.001, -0.002))
    made = synthetic(lens, count=80)
    flat = replace(made, xyz=made.xyz * (2, 2, 0))
    flat = replace(flat, pixels=projections(flat))
    write_noise(folder / "images", flat.names, (WIDTH, HEIGHT))
    write_colmap_binary(folder / "sparse/0", flat)
    return flat


def write_maps(folder: Path, made: Synthetic, skipped: int = 1) -> None:
    """Inverse depths of the plane up to a scale and a shift, pixel by pixel of the photographs as they are stored."""
    folder.mkdir()
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = made.lens.unproject(np.stack([columns, rows], axis=-1).reshape(-1, 2))
    rays = rays / rays[:, 2:]
    for name, pose in [*zip(made.names, made.poses, strict=True)][skipped:]:
        inverse = plane_inverse(rays, pose)
        path = folder / Path(name).with_suffix(".npy")
        path.parent.mkdir(exist_ok=True)
        np.save(path, (0.3 * inverse + 0.05).reshape(HEIGHT, WIDTH))


def plane_inverse(rays: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Inverse depths at which rays (x, y, 1) of a camera meet the plane z = 0 of the world."""
    turned = rays @ pose[:3, :3]
    height = (-pose[:3, :3].T @ pose[:3, 3])[2]
    return np.maximum(-turned[:, 2] / height, 1e-6)


def recipe_of(photos: Path, **terms: Any) -> SceneRecipe:
    return SceneRecipe(
        CaptureOptions(str(photos), hold_out=0), SceneRunOptions("run"), terms=TermOptions(depth_weight=0.1, **terms)
    ).resolved()


def test_maps_of_files_are_undistorted_and_aligned(tmp_path: Path) -> None:
    made = flat_world(tmp_path)
    write_maps(tmp_path / "maps", made)
    capture, recipe = load_capture(tmp_path, hold_out=0), recipe_of(tmp_path, depth_prior=str(tmp_path / "maps"))
    known = KnownDepths(capture)
    with contextlib.ExitStack() as stack:
        training, _ = open_photographs(recipe, capture, stack)
        depths = supervising_depths(recipe, known, training)
        assert isinstance(depths, PriorDepths)
        first, *others = [*training]
        without = depths.of(first)
        assert without is not None and without.maps is None and without.points is not None
        for photo, pose in zip(others, made.poses[1:], strict=True):
            found = depths.of(photo)
            assert found is not None and found.maps is not None and found.points is not None
            camera = photo.camera
            rows, columns = torch.meshgrid(
                torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij"
            )
            x, y = (columns - float(camera.cx)) / float(camera.fx), (rows - float(camera.cy)) / float(camera.fy)
            rays = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3).double().numpy()
            wanted = torch.from_numpy(plane_inverse(rays, pose)).reshape(x.shape) / capture.to_unit.scale
            # The rest shows what lies beyond three times the distance of the cameras from the points.
            seen = (found.maps[0] > 0) & (wanted > 0.1 / capture.to_unit.scale)
            errors = (1 / found.maps[0][seen].double() / wanted[seen] - 1).abs()
            assert float(seen.float().mean()) > 0.5
            # A pixel takes the nearest one of the photograph, and the plane is slanted.
            assert float(errors.median()) < 0.01 and float((errors < 0.05).double().mean()) > 0.9


def test_a_run_is_supervised_by_files_and_goes_on_to_the_bit(tmp_path: Path, capsys: Any) -> None:
    made = flat_world(tmp_path / "photos")
    write_maps(tmp_path / "maps", made, skipped=2)
    options = SMALL | {"depth_weight": 0.5, "depth_prior": str(tmp_path / "maps")}
    whole = reconstruct(tmp_path / "photos", tmp_path / "whole", **options)
    assert f"depth maps of {tmp_path / 'maps'} for 7 of 8 photographs" in " ".join(capsys.readouterr().err.split())
    entries = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    assert all("depth" in entry["terms"] for entry in entries if "loss" in entry)
    reconstruct(tmp_path / "photos", tmp_path / "part", stop_after=1, **options)
    rest = reconstruct(tmp_path / "photos", tmp_path / "part", resume=True)
    for name, each in whole.gaussians.tensors().items():
        assert torch.equal(each, rest.gaussians.tensors()[name]), name


def test_a_sweep_is_a_prior_that_needs_neither_files_nor_points(tmp_path: Path) -> None:
    views, truth = zip(*(traced(eye, 48) for eye in EYES[:4]), strict=True)
    photos = write_capture(tmp_path / "photos", known_gaussians(), [view.camera for view in views])
    for number, view in enumerate(views):
        pixels = (255 * view.colors.clamp(0, 1)).round().byte().numpy()
        Image.fromarray(pixels).save(photos / f"images/photo-{number:03d}.png")
    capture, recipe = load_capture(photos, hold_out=0), recipe_of(photos, depth_prior="sweep")
    with contextlib.ExitStack() as stack:
        training, _ = open_photographs(recipe, capture, stack)
        depths = supervising_depths(recipe, KnownDepths(capture), training)
        assert depths is not None
        for photo, depth in zip(training, truth, strict=True):
            found = depths.of(photo)
            assert isinstance(found, DepthTargets) and found.maps is not None and found.weights is not None
            seen = found.maps[0] > 0
            errors = (found.maps[0] / capture.to_unit.scale / depth - 1).abs()[seen]
            assert float(seen.float().mean()) > 0.3 and float(errors.median()) < 0.02
            assert torch.equal(found.weights[0] > 0, seen)


def test_what_cannot_be_a_prior_is_said_before_the_first_step(tmp_path: Path) -> None:
    photos, made = tmp_path / "photos", flat_world(tmp_path / "points")
    write_capture(photos, known_gaussians(), cameras_around(4), points=0)
    out, some = tmp_path / "run", {**SMALL, "depth_weight": 0.1}
    with pytest.raises(InputError, match="depth_prior: expected a depth_weight above 0"):
        reconstruct(photos, out, **SMALL, depth_prior="sweep")
    with pytest.raises(MissingError, match="folder: expected a folder of depth maps"):
        reconstruct(photos, out, **some, depth_prior=str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"called as photographs are, such as .*\.npy or \.png, got none of"):
        reconstruct(tmp_path / "points", out, **some, depth_prior=str(tmp_path / "empty"))
    np.save(tmp_path / "empty" / "photo-001.npy", np.ones((4, 4)))
    with pytest.raises(InputError, match="expected a capture with points that photographs observe"):
        reconstruct(photos, out, **some, depth_prior=str(tmp_path / "empty"))
    with pytest.raises(InputError, match="expected photographs that agree on some depths"):
        reconstruct(photos, out, **some, depth_prior="sweep")
    with pytest.raises(InputError, match="expected a capture without depth maps of its own"):
        reconstruct(with_depths(tmp_path / "sensor", 4), out, **some, depth_prior="sweep")
    assert not out.exists() and len(made.names) == 10
