"""The page of an inspected capture: facts, problems, a plan of cameras and points, and the worst photographs."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.figure
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splatlearn.captures.capture import Capture
from splatlearn.captures.inspection import Inspection
from splatlearn.captures.photographs import Photographs
from splatlearn.images.errors import UnreadableImage
from splatlearn.report.parts.page import Block, Figure, KeyValues, Section, Table, write_page
from splatlearn.report.parts.style import TEXT, THEME, WIDTH

MOST_POINTS = 4000
"""Points that a plan shows."""
SHOWN = 3
"""Photographs of each kind."""
THUMBNAIL = 480
LINES = 20
"""Rows of the table of views."""


def write_capture_page(path: str | Path, inspection: Inspection) -> Path:
    """Write the page of an inspection as one HTML file, and return its path."""
    capture = inspection.capture
    number = len(inspection.problems)
    said = "No problems were found." if not number else f"{number} problem{'s' * (number > 1)} found."
    sections = [
        Section("Problems", said, [Table(["what, and what to do"], [[each] for each in inspection.problems])])
        if number
        else Section("Problems", said),
        Section("Facts", blocks=[KeyValues(inspection.facts)]),
        Section(
            "Cameras and points",
            "Seen along the axis that points up, and from the side. Lines show where cameras look.",
            [
                Figure(
                    _plan(inspection),
                    f"Plan and side view of {len(capture)} cameras and {len(capture.points)} points",
                    "Fitted views in the first colour, held-out views in the second; points in their own colours.",
                )
            ],
        ),
        *_worst(inspection),
        *_views(inspection),
    ]
    return write_page(
        path, f"Capture {capture.folder.resolve().name}", f"{capture.layout}, {len(capture)} views.", sections
    )


def _plan(inspection: Inspection) -> matplotlib.figure.Figure:
    """Cameras and points from above and from the side."""
    capture = inspection.capture
    up = capture.up
    # The direction in which cameras spread most lies across.
    flat = capture.centers - capture.centers.mean(axis=0)
    flat = flat - (flat @ up)[:, None] * up
    across = np.linalg.svd(flat, full_matrices=True)[2][0]
    across = across - (across @ up) * up
    length = np.linalg.norm(across)
    across = across / length if length > 1e-6 else np.linalg.svd(up[None])[2][1]
    deep = np.cross(up, across)
    figure = matplotlib.figure.Figure(figsize=(WIDTH, WIDTH * 0.62), layout="constrained")
    above, aside = figure.subplots(1, 2)
    for axes, second, title in ((above, deep, "from above"), (aside, up, "from the side")):
        _draw(axes, inspection, np.stack([across, second]))
        axes.set_title(title, fontsize=TEXT, color=THEME["muted"])
    return figure


def _draw(axes, inspection: Inspection, onto: NDArray[np.float64]) -> None:
    """Draw points and cameras in a plane spanned by two vectors [2, 3]."""
    capture, extent = inspection.capture, inspection.geometry.extent
    origin = capture.centers.mean(axis=0)
    centers = (capture.centers - origin) @ onto.T
    low, high = centers.min(axis=0), centers.max(axis=0)
    points = capture.points
    if len(points):
        chosen = np.random.default_rng(0).permutation(len(points))[:MOST_POINTS]
        flat = (points.xyz[chosen] - origin) @ onto.T
        # Single points may lie far away.
        ends = np.percentile(flat, [2, 98], axis=0)
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
        axes.scatter(*flat.T, s=1.2, c=points.rgb[chosen] / 255, linewidths=0, rasterized=True)
    looks = capture.world_to_camera[:, 2, :3] @ onto.T * extent * 0.15
    for indices, color in ((capture.training, THEME["accent"]), (capture.held_out, THEME["second"])):
        index = np.array(indices, dtype=int)
        if len(index):
            axes.quiver(*centers[index].T, *looks[index].T, color=color, angles="xy", scale_units="xy", scale=1,
                        width=0.003, headwidth=0, headlength=0, headaxislength=0)  # fmt: skip
            axes.scatter(*centers[index].T, s=7, color=color, linewidths=0)
    margin = 0.08 * max(float((high - low).max()), 1e-9) + 0.15 * extent
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=TEXT - 2, colors=THEME["muted"])
    for spine in axes.spines.values():
        spine.set_color(THEME["line"])


def _worst(inspection: Inspection) -> list[Section]:
    """The photographs that stand apart, or those nearest to it."""
    qualities, names = inspection.qualities, [view.name for view in inspection.capture.views]
    if not qualities.measured:
        return []
    sharpness = qualities.values("sharpness")
    median, exposure = float(np.median(sharpness)), float(np.median(qualities.values("exposure")))
    soft = sorted(qualities.measured, key=lambda each: each.sharpness)[:SHOWN]
    apart = sorted(qualities.measured, key=lambda each: -abs(each.exposure - exposure))[:SHOWN]
    kinds = {
        "Least sharp": [
            (e.view, f"{names[e.view]}: {e.sharpness / max(median, 1e-9):.2f} of the median sharpness") for e in soft
        ],
        "Farthest from the common exposure": [
            (e.view, f"{names[e.view]}: {e.exposure - exposure:+.2f} stops, {e.clipped:.0%} black or white")
            for e in apart
        ],
    }
    errors = inspection.geometry.view_errors
    if np.isfinite(errors).any():
        worst = np.argsort(-np.nan_to_num(errors))[:SHOWN]
        kinds["Largest reprojection errors"] = [(int(e), f"{names[e]}: {errors[e]:.2f} px") for e in worst]
    return [Section(title, blocks=_thumbnails(inspection.capture, chosen)) for title, chosen in kinds.items()]


def _thumbnails(capture: Capture, chosen: list[tuple[int, str]]) -> list[Block]:
    blocks: list[Block] = []
    with Photographs([capture.views[view] for view, _ in chosen], THUMBNAIL, cache=False) as photographs:
        for place, (_, caption) in enumerate(chosen):
            try:
                pixels = photographs[place].pixels.numpy()
            except UnreadableImage:
                continue
            stored = io.BytesIO()
            Image.fromarray(pixels).save(stored, "PNG")
            blocks.append(Figure(stored.getvalue(), caption, caption))
    return blocks


def _views(inspection: Inspection) -> list[Section]:
    """A table of the views with the largest errors, or the first ones."""
    capture, geometry = inspection.capture, inspection.geometry
    by_view = {each.view: each for each in inspection.qualities.measured}
    order = np.argsort(-np.nan_to_num(geometry.view_errors), kind="stable")[:LINES]
    rows = []
    for index in map(int, order):
        view, found = capture.views[index], by_view.get(index)
        rows.append(
            [
                view.name,
                view.split,
                None if geometry.observations is None else int(geometry.observations[index]),
                float(geometry.view_errors[index]) if np.isfinite(geometry.view_errors[index]) else None,
                None if found is None else found.sharpness,
                None if found is None else float(np.exp2(found.exposure)),
            ]
        )
    columns = ["photograph", "split", "points", "error in px", "sharpness", "brightness"]
    intro = f"The {len(rows)} with the largest errors." if len(rows) < len(capture) else ""
    return [Section("Views", intro, [Table(columns, rows)])]
