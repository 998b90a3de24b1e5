"""The inspection of a capture: facts, and one sentence for each problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from splatlearn.captures.capture import Capture
from splatlearn.captures.choices import LOOKED_AT
from splatlearn.captures.finding.names import count, listed
from splatlearn.captures.inspection.geometry import Geometry, measure_geometry
from splatlearn.captures.inspection.light import LightOfPoints
from splatlearn.captures.inspection.quality import Qualities, measure

FEWEST = 12
"""Photographs below which a fit has little to go on."""
LARGE_ERROR = 2.0
"""Mean reprojection error above which poses or lens are doubtful, in pixels of a photograph whose longer side has 1600.
The limit is in proportion to that side, and at least one pixel."""
HOLE = (100.0, 180.0)
"""Smallest and largest hole, in degrees, between cameras that go round something. A wider gap means a capture from one
side."""
CHANGING = 0.2
"""Spread of the brightness of the same points, in powers of two, from which on photographs are said to differ in light:
15 %, which the eye sees."""
FEW_POINTS = 0.1
"""Share of the median number of points of a view, below which the pose of a view is doubtful."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """Facts and problems of a capture.

    - `facts`: names and values for people.
    - `problems`: one sentence each, with what to do about it; none for a capture that is as it should be.
    """

    capture: Capture
    geometry: Geometry
    qualities: Qualities
    facts: dict[str, str]
    problems: tuple[str, ...]


def inspect_capture(
    capture: Capture,
    photographs: int = LOOKED_AT,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Inspection:
    """Inspect a capture.

    - `photographs`: how many are decoded at most, spread evenly.
    - `progress`: called with the number of photographs that were looked at, and of those to be looked at.
    """
    geometry = measure_geometry(capture)
    light = LightOfPoints(capture)
    qualities = measure(capture.views, photographs, progress, light.see)
    spread = light.spread()
    problems = [
        *capture.problems,
        *_registration(capture),
        *_geometry(capture, geometry),
        *_photographs(capture, qualities),
        *_light(spread),
    ]
    facts = _facts(capture, geometry, qualities)
    if spread is not None:
        facts["light of the same points"] = f"differs by {spread:.2f} stops between photographs"
    return Inspection(capture, geometry, qualities, facts, tuple(dict.fromkeys(problems)))


def _facts(capture: Capture, geometry: Geometry, qualities: Qualities) -> dict[str, str]:
    views, points = capture.views, capture.points
    models = Counter(view.lens.model for view in views)
    sizes = Counter((view.lens.width, view.lens.height) for view in views)
    everything = len(views) + len(capture.unposed) + len(capture.missing)
    facts = {
        "layout": capture.layout,
        "photographs with a camera": f"{len(views):,} of {everything:,}",
        "camera models": ", ".join(f"{name} ({number:,})" for name, number in models.most_common()),
        "sizes": ", ".join(f"{w} x {h} ({number:,})" for (w, h), number in sizes.most_common(4)),
        "extent of the cameras": f"{geometry.extent:.4g} units of the capture",
        "points": f"{len(points):,}",
        "held out": f"{len(capture.held_out):,} of {len(views):,} views: "
        + (listed([views[index].name for index in capture.held_out]) or "none"),
    }
    if panoramas := sum(view.lens.is_panorama for view in views):
        facts["panoramas"] = f"{panoramas:,}, fitted as they are"
    if masks := sum(view.mask_path is not None for view in views):
        facts["masks"] = f"{masks:,} of {len(views):,} photographs"
    if len(geometry.errors):
        middle, high = np.percentile(geometry.errors, [50, 95])
        facts["reprojection error"] = (
            f"mean {geometry.errors.mean():.2f} px, median {middle:.2f} px, 95 % below {high:.2f} px"
        )
    if geometry.observations is not None:
        facts["points of a view"] = (
            f"{int(geometry.observations.min()):,} to {int(geometry.observations.max()):,}, "
            f"median {int(np.median(geometry.observations)):,}"
        )
    if geometry.gap is not None:
        sides = "all around" if geometry.gap <= HOLE[0] else "with a hole" if geometry.gap <= HOLE[1] else "one side"
        facts["cameras round the middle"] = f"{360 - geometry.gap:.0f} of 360 degrees, {sides}"
    if qualities.measured:
        low, high = np.exp2(np.percentile(qualities.values("exposure"), [5, 95]))
        facts["brightness"] = f"{low:.2f} to {high:.2f} (5 and 95 % of {len(qualities.measured):,} photographs)"
    return facts


def _registration(capture: Capture) -> list[str]:
    found = []
    if capture.unposed and not any(capture.unposed[0] in each for each in capture.problems):
        found.append(
            f"{count(len(capture.unposed), 'photograph')} of {len(capture.unposed) + len(capture):,} without a camera "
            f"({listed(capture.unposed)}); take more photographs between them and the others, or leave them out"
        )
    if capture.missing and not any(capture.missing[0] in each for each in capture.problems):
        found.append(f"{count(len(capture.missing), 'camera')} without a photograph ({listed(capture.missing)})")
    if len(capture) < FEWEST:
        found.append(
            f"only {count(len(capture), 'view')}; take at least {FEWEST} photographs, better 50 to 200, each "
            "overlapping the next by two thirds"
        )
    return found


def _geometry(capture: Capture, geometry: Geometry) -> list[str]:
    found: list[str] = []
    names = [view.name for view in capture.views]
    if len(geometry.errors) and (mean := float(geometry.errors.mean())) > _large_error(capture):
        found.append(
            f"the reprojection error is {mean:.1f} px on average; poses or lens are doubtful: compute them again with "
            "one camera for all photographs of a device"
        )
    if geometry.behind > 0.01:
        found.append(
            f"{geometry.behind:.0%} of the observations lie behind their camera; the poses may have other axes than "
            "their format says"
        )
    if len(geometry.groups) > 1:
        found.append(
            f"the views fall into {len(geometry.groups)} groups that share no points "
            f"({', '.join(map(str, geometry.groups[:5]))} views); take photographs that connect them"
        )
    if geometry.observations is not None:
        weak = np.flatnonzero(geometry.observations < FEW_POINTS * np.median(geometry.observations))
        if len(weak):
            found.append(
                f"{count(len(weak), 'view')} with hardly any points ({listed([names[each] for each in weak])}), whose "
                "poses are doubtful"
            )
        errors = geometry.view_errors
        known = errors[np.isfinite(errors)]
        limit = max(3 * float(np.median(known)), _large_error(capture)) if len(known) else np.inf
        apart = np.flatnonzero(errors > limit)
        if len(apart):
            found.append(
                f"{count(len(apart), 'view')} with a reprojection error of more than three times the median "
                f"({listed([names[each] for each in apart])}), whose poses are doubtful"
            )
    if geometry.near:
        found.append(f"{count(geometry.near, 'point')} within a hundredth of the extent of a camera, left out of a fit")
    if not len(capture.points):
        found.append(
            f"there are no points; a fit starts from random Gaussians, which needs more steps{_starts(capture)}"
        )
    if geometry.gap is not None and HOLE[0] < geometry.gap <= HOLE[1]:
        found.append(
            f"no camera stands in {geometry.gap:.0f} of the 360 degrees round the scene; parts seen only from there "
            "will be a guess: take photographs from that side, or keep to the others"
        )
    return found


def _photographs(capture: Capture, qualities: Qualities) -> list[str]:
    found = []
    names = [view.name for view in capture.views]
    if qualities.unreadable:
        found.append(
            f"{count(len(qualities.unreadable), 'photograph')} not readable, left out of a fit: "
            f"{listed(qualities.unreadable, 2)}"
        )
    if qualities.masked:
        found.append(
            f"{count(len(qualities.masked), 'photograph')} masked or transparent everywhere "
            f"({listed([names[each] for each in qualities.masked])}); check the masks, in which black is left out"
        )
    if blurred := qualities.blurred:
        found.append(
            f"{count(len(blurred), 'photograph')} much less sharp than the others "
            f"({listed([names[each.view] for each in blurred])}); leave them out if the others cover the same parts"
        )
    if off := qualities.off_exposure:
        shown = [f"{names[each.view]} {stops:+.1f} stops" for each, stops in off]
        found.append(
            f"{count(len(off), 'photograph')} much brighter or darker than the others ({listed(shown)}); fix the "
            "exposure of the camera next time, or use --exposure affine"
        )
    return found


def _starts(capture: Capture) -> str:
    """Advice on a start without points; none for panoramas."""
    if all(view.has_alpha or view.mask_path is not None for view in capture.views):
        return "; use --start hull"
    return "" if any(view.lens.is_panorama for view in capture.views) else "; try --start planes"


def _light(spread: float | None) -> list[str]:
    if spread is None or spread < CHANGING:
        return []
    return [
        f"the same points are brighter in some photographs than in others, by {spread:.2f} stops (10 to 90 % of the "
        "photographs): exposure or light changes; use --exposure affine, or grid if it changes within photographs"
    ]


def _large_error(capture: Capture) -> float:
    longest = max(max(view.lens.width, view.lens.height) for view in capture.views)
    return max(1.0, LARGE_ERROR * longest / 1600)
