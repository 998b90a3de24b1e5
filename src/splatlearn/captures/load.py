"""Captures from disk: which layout a folder has, and the capture in it."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from splatlearn.captures.assembly import assemble
from splatlearn.captures.capture import Capture
from splatlearn.captures.colmap.model import describe_colmap, ending_of, find_models
from splatlearn.captures.described import Described
from splatlearn.captures.finding.archives import is_archive, unpacked
from splatlearn.captures.foreign import hint
from splatlearn.captures.rgbd.reader import describe_rgbd, find_rgbd
from splatlearn.captures.transforms.reader import describe_transforms, find_transforms
from splatlearn.core.errors import InputError, MissingError, SplatlearnError
from splatlearn.core.kinds import check_path
from splatlearn.images.listing import images_in

Layout = Literal["colmap", "transforms", "rgbd"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
NEAR = ("sparse", ".")
"""Where a COLMAP model is read before transforms.json; one elsewhere is what another tool made that file from."""


def load_capture(
    path: str | PathLike[str],
    *,
    layout: Layout | None = None,
    images: str | PathLike[str] | None = None,
    hold_out: int | None = None,
    cache: str | PathLike[str] | None = None,
) -> Capture:
    """Load photographs with their cameras, as COLMAP, nerfstudio, instant-ngp, Blender or a depth camera left them.

    - `path`: the folder of the capture; or a zip archive of one, a transforms file, or the folder of a COLMAP model.
    - `layout`: "colmap" (`sparse/0`, binary or text), "transforms" (`transforms.json`, or one file for each split) or
      "rgbd" (text files with poses and intrinsics). By default what is there, in this order.
    - `images`: the folder of the photographs if it is another than the usual ones, such as "images_4"; relative to the
      capture. Lenses are scaled to the sizes that the photographs have.
    - `hold_out`: hold out the first of each `hold_out` views in the order of their names; 0 for none. By default the
      capture's own split, or every eighth view.
    - `cache`: the folder into which an archive is unpacked, by default that of the user.

    Nothing is decoded. Views without a photograph, or with numbers that no camera has, are left out, and named in
    `problems`. Raises MissingError where there is nothing, InputError for a folder that is no capture, and FormatError
    for files that are damaged, or of which no view can be used.
    """
    check_path("path", path)
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
    try:
        return _load(Path(path), layout, images, hold_out, None if cache is None else Path(cache))
    except SplatlearnError:
        raise
    except OSError as error:
        raise InputError(f"path: cannot read {path}: {error}") from error


def _load(
    given: Path, layout: Layout | None, images: str | PathLike[str] | None, hold_out: int | None, cache: Path | None
) -> Capture:
    if not given.exists():
        raise MissingError(f"path: expected a capture, found nothing at {given}")
    if given.is_file() and is_archive(given):
        given = unpacked(given, cache)
    folder, describe = _layout(given, layout)
    described = describe()
    if images is not None:
        described = _with_pictures(described, folder, Path(images))
    return assemble(folder, described, hold_out)


Found = tuple[Path, Callable[[], Described]]
"""The folder of a capture and what describes it."""


def _layout(given: Path, layout: Layout | None) -> Found:
    if given.is_file():
        if given.suffix.lower() == ".json" and layout in (None, "transforms"):
            return given.parent, lambda: describe_transforms(given.parent, [given])
        raise InputError(f"path: expected a folder, a zip archive or a transforms file (.json), got the file {given}")
    if layout in (None, "colmap") and ending_of(given) and (outer := _around(given)) is not None:
        return outer, lambda: describe_colmap(outer, [given])
    folder = given
    while True:
        found = _inside(folder, layout)
        if found is not None:
            return found
        # Archives and downloads often hold a single folder.
        inside = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "__"))]
        if len(inside) != 1 or len(folder.parts) - len(given.parts) > 8:
            raise InputError(_nothing(given, layout))
        folder = inside[0]


def _inside(folder: Path, layout: Layout | None) -> Found | None:
    """The layout that a folder itself has."""
    files = find_transforms(folder) if layout in (None, "transforms") else []
    models = find_models(folder, NEAR) if layout in (None, "colmap") else []
    if not models and not files and layout in (None, "colmap"):
        models = find_models(folder)
    if models:
        return folder, lambda: describe_colmap(folder, models)
    if files:
        return folder, lambda: describe_transforms(folder, files)
    intrinsics = find_rgbd(folder) if layout in (None, "rgbd") else None
    if intrinsics is not None:
        return folder, lambda: describe_rgbd(folder, intrinsics)
    return None


def _around(model: Path) -> Path | None:
    """The folder of the capture that a model belongs to: one with photographs, or the one above `sparse`."""
    here = model.resolve()
    for folder in (here, *here.parents[:3]):
        if folder.name != "sparse" and any((folder / name).is_dir() for name in ("images", "input")):
            return folder
    return here.parent.parent if here.parent.name == "sparse" else here


def _with_pictures(described: Described, folder: Path, images: Path) -> Described:
    place = images if images.is_absolute() else folder / images
    if not place.is_dir():
        raise MissingError(f"images: expected a folder of photographs, found none at {place}")
    return Described(
        described.layout, described.entries, [place], described.points, described.lists_all, described.problems
    )


def _nothing(folder: Path, layout: Layout | None) -> str:
    layouts = {
        "colmap": "sparse/0 (COLMAP)",
        "transforms": "transforms.json or transforms_train.json",
        "rgbd": "color/, pose/ and intrinsics.txt",
    }
    places = [folder / name for name in (".", "images", "input")]
    pictures = sum(len(images_in(each)[0]) for each in places if each.is_dir())
    expected = ", ".join(text for name, text in layouts.items() if layout in (None, name))
    if pictures:
        wanted, found = "cameras beside the photographs", f"{pictures:,} photographs without any"
    else:
        wanted, found = "a capture", "none"
    nothing = f"path: expected {wanted} ({expected}), found {found} in {folder}"
    way = hint(folder) or ("compute them first, for example with COLMAP" if pictures else "")
    return f"{nothing}; {way}" if way else nothing
