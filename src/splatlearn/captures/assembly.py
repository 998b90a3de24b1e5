"""Assembly of a capture from its description: photographs found, lenses fitted, views split, problems named."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from splatlearn.captures.capture import Capture, Points, Split, Tracks, View
from splatlearn.captures.described import Described, Entry
from splatlearn.captures.finding.depths import with_depths
from splatlearn.captures.finding.headers import Header, fitted, read_header
from splatlearn.captures.finding.masks import MaskIndex
from splatlearn.captures.finding.names import count, listed, parts_of
from splatlearn.captures.finding.photographs import PictureIndex, best_root
from splatlearn.captures.frames import unit_frame, up_direction
from splatlearn.captures.lenses import Lens
from splatlearn.captures.splits import splits_of
from splatlearn.core.errors import FormatError, InputError, Malformed
from splatlearn.images.errors import UnreadableImage

MISSING = "has no photograph"
"""Why a view is left out, as the other reasons are."""


@dataclass
class Matching:
    """Views as they are found, by the index of their entry, and the names that are left out for each reason."""

    views: dict[int, View] = field(default_factory=dict)
    ratios: dict[int, tuple[float, float]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    turned: list[str] = field(default_factory=list)


def assemble(folder: Path, described: Described, hold_out: int | None) -> Capture:
    """Build a capture. Raises FormatError if no photograph of it can be used, and InputError for `hold_out`."""
    index, found = best_root(described.roots, [entry.name for entry in described.entries])
    matching = _matched(described.entries, index, found)
    if not matching.views:
        reasons = "; ".join(_reasons(matching)) or "its files list none"
        raise FormatError(f"{folder}: no photograph of the capture can be used: {reasons}; looked below {index.root}")
    order = sorted(matching.views, key=lambda each: matching.views[each].name)
    views = [matching.views[each] for each in order]
    stated: list[Split | None] = [described.entries[each].split for each in order]
    splits = splits_of([view.name for view in views], stated, hold_out)
    masked, problems = _with_masks([described.entries[each] for each in order], views, folder, index)
    views = [replace(view, split=split) for view, split in zip(masked, splits, strict=True)]
    views, depth_problems = with_depths([described.entries[each] for each in order], views, folder)
    unposed = _unposed(described, index, found)
    matrices = np.stack([view.world_to_camera for view in views])
    points = _points(described.points, order, matching)
    centers = np.stack([view.center for view in views])
    return Capture(
        folder=folder,
        layout=described.layout,
        views=tuple(views),
        points=points,
        to_unit=unit_frame(centers, points.xyz),
        up=up_direction(matrices),
        problems=(
            *(f"{sentence}." for sentence in _reasons(matching)),
            *_turned(matching),
            *_without_pose(unposed, index, len(views)),
            *problems,
            *depth_problems,
            *described.problems,
        ),
        missing=tuple(matching.left_out[MISSING]),
        unposed=tuple(unposed),
    )


def _matched(entries: list[Entry], index: PictureIndex, found: list[str | None]) -> Matching:
    result = Matching()
    seen: set[str] = set()
    lenses: dict[tuple[int, int, int], Lens] = {}
    for number, (entry, name) in enumerate(zip(entries, found, strict=True)):
        shown = name or "/".join(parts_of(entry.name)) or f"frame {number}"
        if name is None and not entry.fault:
            result.left_out[MISSING].append(shown)
        elif entry.world_to_camera is None or entry.lens is None or name is None:
            result.left_out[f"cannot be used: {entry.fault}"].append(shown)
        elif name in seen:
            result.left_out["is listed more than once; the first pose is taken"].append(shown)
        else:
            try:
                view, ratio = _view(entry, index.root / name, name, lenses)
            except (Malformed, InputError) as error:
                result.left_out[f"cannot be used: {error}"].append(shown)
            except UnreadableImage as error:
                result.left_out[f"cannot be read: {error.reason}"].append(shown)
            else:
                seen.add(name)
                result.views[number], result.ratios[number] = view, ratio
                if view.orientation != 1:
                    result.turned.append(name)
    return result


def _view(
    entry: Entry, path: Path, name: str, lenses: dict[tuple[int, int, int], Lens]
) -> tuple[View, tuple[float, float]]:
    """A view, and its pixels for each of those that the entry's lens has."""
    assert entry.lens is not None and entry.world_to_camera is not None
    header = read_header(path, name)
    lens = entry.lens if isinstance(entry.lens, Lens) else entry.lens(header.width, header.height)
    size = fitted(header, lens.width, lens.height)
    if size is None:
        raise Malformed(_other_shape(header, lens))
    width, height, orientation = size
    key = id(entry.lens), width, height
    if key not in lenses:
        lenses[key] = lens if (lens.width, lens.height) == (width, height) else lens.scaled(width, height)
    view = View(name, path, lenses[key], entry.world_to_camera, None, header.has_alpha, "train", orientation)
    return view, (width / lens.width, height / lens.height)


def _other_shape(header: Header, lens: Lens) -> str:
    return (
        f"the photograph has {header.width} x {header.height} pixels, its camera {lens.width} x {lens.height}, which "
        "is another shape; give the photographs that the cameras were computed from, whole or reduced"
    )


def _reasons(matching: Matching) -> list[str]:
    """A sentence without its end for each reason for which views were left out."""
    sentences: list[str] = []
    for reason, names in matching.left_out.items():
        if reason == MISSING:
            sentences.append(
                f"{count(len(names), 'view')} of the capture {'has' if len(names) == 1 else 'have'} no photograph on "
                f"disk and {'is' if len(names) == 1 else 'are'} left out: {listed(names)}"
            )
        else:
            sentences.append(f"{count(len(names), 'view')} left out ({listed(names)}): the view {reason}")
    return sentences


def _turned(matching: Matching) -> list[str]:
    if not matching.turned:
        return []
    return [
        f"Photographs that have the shape of their camera only when turned by their EXIF orientation are turned "
        f"({len(matching.turned):,}): {listed(matching.turned)}."
    ]


def _unposed(described: Described, index: PictureIndex, found: list[str | None]) -> list[str]:
    """Pictures in the folders of the others that no entry names."""
    if not described.lists_all:
        return []
    known = {name for name in found if name is not None}
    folders = {name.rpartition("/")[0] for name in known}
    return [name for name in index.names if name not in known and name.rpartition("/")[0] in folders]


def _without_pose(unposed: list[str], index: PictureIndex, posed: int) -> list[str]:
    if not unposed:
        return []
    total = posed + len(unposed)
    return [
        f"{len(unposed):,} of {total:,} photographs below {index.root} have no camera and are left out: "
        f"{listed(unposed)}; the tool that computed the cameras did not register them."
    ]


def _with_masks(
    entries: list[Entry], views: list[View], folder: Path, index: PictureIndex
) -> tuple[list[View], list[str]]:
    """The views with the paths of their masks, and sentences about masks."""
    masks = MaskIndex([index.root, index.root.parent] if index.root != folder else [folder])
    named = [entry.mask for entry in entries]
    found: list[Path | None] = []
    lost: list[str] = []
    own = PictureIndex(folder) if any(named) else None
    for view, mask in zip(views, named, strict=True):
        if mask is None or own is None:
            found.append(masks.find(view.name))
            continue
        name = own.find(mask)
        found.append(own.root / name if name else None)
        if name is None:
            lost.append(mask)
    problems: list[str] = []
    if lost:
        problems.append(f"Masks that frames name are not there ({len(lost):,}): {listed(lost)}.")
    paths = [path for path in found if path is not None]
    shared = {path for path in paths if paths.count(path) > 1} if len(set(paths)) < len(paths) else set()
    if shared:
        found = [None if path in shared else path for path in found]
        problems.append(
            f"More than one photograph would use the same mask, which is not used: "
            f"{listed(path.name for path in sorted(shared))}; put masks into folders as their photographs are."
        )
    without = [view.name for view, path in zip(views, found, strict=True) if path is None]
    if paths and without and not shared:
        problems.append(f"{len(without):,} of {len(views):,} views have no mask: {listed(without)}.")
    return [replace(view, mask_path=path) for view, path in zip(views, found, strict=True)], problems


def _points(points: Points, order: list[int], matching: Matching) -> Points:
    """The points with tracks of the views that were found, in pixels of their photographs."""
    tracks = points.tracks
    if tracks is None:
        return points
    highest = int(tracks.views.max(initial=-1)) + 1
    place, scale = np.full(highest, -1), np.ones((highest, 2))
    for index, entry in enumerate(order):
        if entry < highest:
            place[entry], scale[entry] = index, matching.ratios[entry]
    keep = place[tracks.views] >= 0
    starts = np.concatenate([[0], np.cumsum(keep)])[tracks.starts]
    kept = Tracks(starts, place[tracks.views][keep], (tracks.pixels * scale[tracks.views])[keep])
    return replace(points, tracks=kept)
