"""The page of a reconstruction's panoramas, to look around in and compare."""

from __future__ import annotations

from pathlib import Path

import torch

from splatlearn.captures import Photographs
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.results.scene_run import SceneRun, shown_background
from splatlearn.rendering import render
from splatlearn.rendering.compositing import background_colors
from splatlearn.report.scenes.view import composed_over
from splatlearn.viewer.panorama_page import ViewedPanorama, write_panorama_view

MOST = 12
"""Largest number of panoramas of the page, held-out ones first."""
SIZE = 1600
"""Longer side of their pictures, pixels."""
LEAD = "Drag to look around, turn the wheel for a narrower view; compare each rendering with its photograph."


def write_run_panoramas(run: SceneRun, path: Path) -> Path | None:
    """Write the page of a run's panoramas, and return its path; None for a capture without any that can be read."""
    capture, scores = run.capture, run.scores or {}
    quality = {each["name"]: each["psnr"] for each in scores.get("views", ())}
    ordered = [capture.views[index] for index in (*capture.held_out, *capture.training)]
    views = [view for view in ordered if view.lens.is_panorama][:MOST]
    if not views:
        return None
    gaussians, background, sky = run.gaussians, shown_background(run.recipe, capture), run.sky
    behind = background_colors(background, torch.zeros(1, 1, 3))[0]
    listed = []
    with Photographs(views, SIZE) as photographs, torch.no_grad():
        photographs.prefetch(range(len(views)))
        for index, view in enumerate(views):
            try:
                photo = photographs[index]
            except UnreadableImage:
                continue
            shown = render(gaussians, photo.camera, background, depth=False, check=False, filter=run.filter)
            color = (shown.color if sky is None else sky.over(shown, photo.camera)).clamp(0, 1)
            pixels = (color * 255).round().byte().permute(1, 2, 0).contiguous()
            taken, is_held_out = composed_over(photo, behind), view.split == "test"
            listed.append(ViewedPanorama(view.name, pixels, taken, quality.get(view.name), is_held_out))
    if not listed:
        return None
    facts = [("Gaussians", f"{gaussians.count:,}"), ("Capture", f"{len(capture):,} photographs")]
    return write_panorama_view(path, f"Panoramas of {run.folder.resolve().name}", LEAD, listed, facts)
