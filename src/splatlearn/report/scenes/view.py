"""The page of a reconstruction: its scene to walk around in, with its photographs, scores and pictures on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from splatlearn.captures import Capture, Photographs, View
from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import SURFEL
from splatlearn.files.offset import NO_OFFSET, shown_offset
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.results.scene_run import SceneRun, shown_background, snapshots
from splatlearn.rendering.compositing import background_colors
from splatlearn.viewer import ScenePhotograph, Snapshot, ViewedScene, write_scene_view

MOST_PHOTOGRAPHS = 48
"""Photographs whose pixels the page holds; the cameras of all are there."""
MOST_SNAPSHOTS = 12
PAGE_SIZE = 800
"""Longer side of the photographs in the page, pixels."""
STANDING = (600, 800, 90.0)
"""Height, width and angle of the view that the page has where a panorama was taken."""
LEAD = "Drag to walk around, turn the wheel to go nearer; choose a photograph to compare with."


def write_run_view(run: SceneRun, path: Path) -> Path:
    """Write the page of a run, finished or not, and return its path.

    The photographs are read anew from where the run found them; those that are gone are left out. Raises MissingError
    for a run without a scene yet, and what `load_capture` raises where the capture is gone.
    """
    return write_scene_view(path, f"Scene of {run.folder.resolve().name}", LEAD, run_scene(run))


def run_scene(run: SceneRun) -> ViewedScene:
    """Collect the contents of a run's page."""
    capture, scores = run.capture, run.scores or {}
    quality = {each["name"]: each["psnr"] for each in scores.get("views", ())}
    # Held-out photographs first: they say how good the scene is.
    views = [*_of(capture, capture.held_out), *_of(capture, capture.training)]
    with Photographs(views, PAGE_SIZE) as photographs:
        shown = _evenly(len(capture.held_out), MOST_PHOTOGRAPHS // 2)
        shown |= {
            len(capture.held_out) + each for each in _evenly(len(capture.training), MOST_PHOTOGRAPHS - len(shown))
        }
        photographs.prefetch(sorted(shown))
        background = background_colors(shown_background(run.recipe, capture), torch.zeros(1, 1, 3))[0]
        listed = [
            _photograph(photographs, index, index in shown, quality, background) for index in range(len(photographs))
        ]
    has_panoramas = any(view.lens.is_panorama for view in views)
    pictures = [] if has_panoramas else _thinned(snapshots(run.folder))
    gaussians = run.gaussians_with_sky.flattened()
    colors = tuple(float(value) for value in background)
    assert len(colors) == 3
    up = tuple(float(value) for value in capture.up)
    assert len(up) == 3
    return ViewedScene(
        name=run.folder.resolve().name,
        gaussians=gaussians,
        photographs=listed,
        snapshots=[Snapshot(f"step {step:,}", _pixels(each)) for step, each in pictures],
        up=up,
        background=colors,
        facts=_facts(run, capture, scores),
        filter="point" if run.filter == "point" else "mip",  # The page has no third one.
    )


def _of(capture: Capture, indices: Sequence[int]) -> list[View]:
    return [capture.views[index] for index in indices]


def _evenly(count: int, most: int) -> set[int]:
    """At most `most` of `count` numbers, evenly spread, the first among them."""
    return {round(each * count / min(count, most)) for each in range(min(count, most))} if count else set()


def _photograph(
    photographs: Photographs, index: int, is_shown: bool, quality: Mapping[str, float], background: torch.Tensor
) -> ScenePhotograph:
    view = photographs.views[index]
    pixels = None
    if is_shown:
        try:
            pixels = composed_over(photographs[index], background)
        except UnreadableImage:
            pixels = None
    camera = photographs.camera(index)
    if camera.projection.is_spherical:
        # The page draws parts of a plane: it stands where the panorama was taken, and looks where its middle is.
        camera, pixels = Camera.pinhole(*STANDING, viewmats=camera.viewmats), None
    return ScenePhotograph(view.name, camera, pixels, quality.get(view.name), view.split == "test")


def composed_over(photo: Photo, background: torch.Tensor) -> torch.Tensor:
    """A photograph over the background of the page."""
    if photo.pixels.shape[2] == 3:
        return photo.pixels
    values = photo.pixels.float()
    alpha = values[..., 3:] / 255
    return (values[..., :3] * alpha + 255 * background * (1 - alpha)).round().byte()


def _thinned(found: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    return [found[index] for index in sorted(_evenly(len(found), MOST_SNAPSHOTS))]


def _pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB")))


def _depth(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The median error of rendered depths, where they are known."""
    depth = scores.get("depth")
    if not depth:
        return []
    return [("Held out: error of depth", f"{depth['median']:.4g} ({100 * depth['relative']:.1f} %)")]


def _aligned(run: SceneRun, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The PSNR after the alignment of colours, where photographs have exposures of their own."""
    if run.recipe.views.exposure == "none" or "aligned_psnr" not in scores:
        return []
    return [("Held out: PSNR, colours aligned", f"{scores['aligned_psnr']:.2f} dB")]


def _facts(run: SceneRun, capture: Capture, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("Photographs", f"{len(capture.training)} fitted, {len(capture.held_out)} held out")]
    if run.offset != NO_OFFSET:
        facts.append(("Positions relative to", shown_offset(run.offset)))
    if run.recipe.scene.primitive == SURFEL:
        facts.append(("Drawn", "flat Gaussians in place of surfels"))
    if "step" in scores and "seconds" in scores:
        facts.append(("Steps", f"{scores['step']:,} in {scores['seconds']:.0f} s"))
    if "psnr" in scores:
        facts += [
            ("Held out: PSNR", f"{scores['psnr']:.2f} dB"),
            ("Held out: SSIM", f"{scores['ssim']:.3f}"),
            *_aligned(run, scores),
            *([("Held out: LPIPS", f"{scores['lpips']:.3f}")] if "lpips" in scores else []),
            *_depth(scores),
        ]
    return facts
