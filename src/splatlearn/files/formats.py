"""Reading and writing of splat files by their content and their name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import get_args

import numpy as np

from splatlearn.core.errors import InputError, Malformed, MissingError
from splatlearn.core.gaussians import CONVEX, GAUSSIAN, Gaussians
from splatlearn.core.geometry.frames import LIBRARY_FRAME, check_frame, frame_matrix
from splatlearn.core.kinds import check_kind, check_path
from splatlearn.core.numbers import check_number
from splatlearn.files.choices import SplatFormat
from splatlearn.files.errors import MAX_GAUSSIANS, SplatFileError
from splatlearn.files.foreign import kind_of
from splatlearn.files.gltf.formats import GLTF
from splatlearn.files.interface import ReadRequest, Writer, WriteRequest
from splatlearn.files.ksplat.formats import KSPLAT
from splatlearn.files.offset import NO_OFFSET, Offset
from splatlearn.files.ply.formats import PLY
from splatlearn.files.rad.formats import RAD
from splatlearn.files.sl3.formats import SL3
from splatlearn.files.sog.formats import SOG
from splatlearn.files.splat.formats import SPLAT
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.spz.container import SpzVersion
from splatlearn.files.spz.formats import SPZ
from splatlearn.files.tensors.formats import TENSORS_FOLDER

CONTAINERS = (TENSORS_FOLDER, PLY, SPZ, SOG, SL3, GLTF, KSPLAT, RAD, SPLAT)
"""The registry: a new format is a sub-room with a Container, a line here, and a name in `choices.py`. The first knows
its own folders, all others of which are taken for SOG's; the last has no header: it is known by its name alone."""
SPLAT_FORMATS: tuple[SplatFormat, ...] = get_args(SplatFormat)
WRITERS: dict[SplatFormat, Writer] = {writer.name: writer for container in CONTAINERS for writer in container.writers}
ENDINGS: dict[str, SplatFormat] = {ending: writer.name for writer in WRITERS.values() for ending in writer.endings}
SHOWN_COLORS: dict[SplatFormat, tuple[float, float]] = {name: each.shown_colors for name, each in WRITERS.items()}
"""The smallest and the largest colour of degree 0 that files hold and viewers show, which clamp at 0."""


def read_splats(
    path: str | PathLike[str],
    *,
    frame: str = LIBRARY_FRAME,
    stored_frame: str | None = None,
    max_gaussians: int = MAX_GAUSSIANS,
    drop_invalid: bool = False,
) -> Gaussians:
    """Read the Gaussians [K] of a splat file, with `sh` of the degree that it has.

    3DGS or 2DGS PLY, compressed PLY, SPZ (versions 1 to 4), SOG (versions 1 and 2), glTF with KHR_gaussian_splatting,
    .sl3, .ksplat, .rad, .splat or our folder of tensors; the content says which, but for .splat, which its name must
    end in.

    - `path`: a file; for SOG a bundle, a folder or the meta.json in it; for tensors a folder or the splats.json in it.
    - `frame`: where the axes of the result point, by letters of right, left, up, down, front, back. The default is the
      frame of the cameras here.
    - `stored_frame`: the frame of the file where it is not the usual one: "RUB" for SPZ without a frame of its own,
      "LUF" for glTF, "RDF" for the others.
    - `max_gaussians`: files that claim more are refused before memory is taken for them.
    - `drop_invalid`: drop Gaussians with numbers that are NaN or infinite, or without a rotation (four zeros);
      `read_splat_file` says how many. By default they are an error.

    Raises SplatFileError (a FormatError) for files that are cut off, inconsistent or in no such format, and for invalid
    Gaussians; MissingError where there is no file; and InputError for letters that name no frame.
    """
    found = read_splat_file(
        path, frame=frame, stored_frame=stored_frame, max_gaussians=max_gaussians, drop_invalid=drop_invalid
    )
    return found.gaussians


def read_splat_file(
    path: str | PathLike[str],
    *,
    frame: str = LIBRARY_FRAME,
    stored_frame: str | None = None,
    max_gaussians: int = MAX_GAUSSIANS,
    drop_invalid: bool = False,
) -> SplatFile:
    """Read a splat file with what it says of itself: format, frame, antialiasing, writer.

    Arguments and errors are those of `read_splats`.
    """
    check_path("path", path)
    check_frame("frame", frame)
    if stored_frame is not None:
        check_frame("stored_frame", stored_frame)
    try:
        # Numbers that overflow on the way are found where the Gaussians are made.
        with np.errstate(all="ignore"):
            found = _read(Path(path), ReadRequest(stored_frame, max_gaussians, drop_invalid))
    except Malformed as error:
        raise SplatFileError(path, str(error)) from None
    except MemoryError:
        raise SplatFileError(path, "not enough memory for what the file holds") from None
    offset = _turned(found.offset, found.frame, frame)
    return replace(found, gaussians=_moved(found.gaussians, found.frame, frame), offset=offset)


def write_splats(
    path: str | PathLike[str],
    gaussians: Gaussians,
    format: SplatFormat | None = None,
    *,
    frame: str = LIBRARY_FRAME,
    stored_frame: str | None = None,
    antialiased: bool = False,
    spz_version: SpzVersion = 3,
    coarseness: float = 1.0,
    offset: Offset = NO_OFFSET,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write Gaussians to a splat file; it appears whole or not at all, and replaces an earlier one.

    - `gaussians`: one set [K], with `sh`, or with three `colors`, which become harmonics of degree 0.
    - `format`: by default what the name ends in: .compressed.ply, .ply, .spz, .sog (a bundle), meta.json (SOG in a
      folder, beside its images), .splat, .glb, .gltf (whose numbers lie in a .bin beside it), .sl3, or splats.json (in
      a folder, with its tensors in splats.safetensors).
    - `frame`: the frame that the Gaussians are in.
    - `stored_frame`: the frame to write in, by default the format's usual one; readers take SPZ to be "RUB".
    - `antialiased`: mark the file as fitted with opacities that make up for the blur of small splats.
    - `coarseness`: factor of the steps of .sl3. A larger one makes a smaller file.
    - `offset`: the point of the world, in `frame`, that the positions are relative to. PLY and compressed PLY say it in
      a comment, `world offset X Y Z`; it is for scenes so far from the origin that float32 is too coarse there.
    - `spz_version`: 3 is what most viewers read; 4 is its successor, 2 has coarser rotations.
    - `told` is called with how much is done and how much there is, at least when all is.

    What is lost: nothing beyond float32 in PLY, glTF and tensors. Compressed PLY rounds positions and logarithms of
    scales to 10 or 11 bits of the range of 256 neighbours, rotations to 10 bits, colours and opacities to 8, and cuts
    harmonics above degree 0 to ±4. SPZ rounds positions to 23 bits of the farthest, logarithms of scales to 1/16 within
    −10 to 5.9, rotations to 9 bits and a sign, the rest to 8, and cuts harmonics to ±3.3 in degree 0 and ±1 above. SOG
    rounds positions to 16 bits, rotations to 8, scales and colours to codebooks of 256. .splat rounds rotations,
    opacities and colours to 8 bits, cuts colours to [0, 1], and holds neither harmonics above degree 0 nor the mark of
    antialiasing. .sl3, which only this library reads, rounds all numbers to steps that suit the scene: positions to
    0.15 of the median scale, doubling far from the middle, scales to a twelfth of an octave, rotations to 1/160 for
    what is long and thin and up to eight times as coarsely for what is round, opacities to 1/80, harmonics to 0.02 in
    degree 0 and 0.03 above; `compress` chooses them by pictures. Compressed PLY, SOG, .splat and .sl3 change the order
    of the Gaussians. Surfels become flat Gaussians but in PLY, where they have two scales, and in tensors. Other
    primitives than Gaussians are in these two alone. In PLY a comment names them, and their further numbers are
    properties `shape_0` and so on; other programs show Gaussians in their place. Convexes, which look like nothing of
    the kind, are in tensors alone.

    Raises InputError for other primitives in other formats, a batch of sets, other numbers of colours than three, names
    of no known ending, numbers that are not finite or out of range, degrees above 3 where the format ends there, and an
    offset where the format has no place for it.
    """
    check_path("path", path)
    check_kind("gaussians", gaussians, Gaussians)
    check_number("coarseness", coarseness, above=0)
    check_frame("frame", frame)
    if stored_frame is not None:
        check_frame("stored_frame", stored_frame)
    if gaussians.batch_shape:
        got = list(gaussians.means.shape)
        raise InputError(f"gaussians: expected one set, means of shape [K, 3], got {got}; index the batch")
    path = Path(path)
    chosen = _format_of(path) if format is None else format
    if chosen not in SPLAT_FORMATS:
        raise InputError(f"format: expected one of {', '.join(SPLAT_FORMATS)}, got {chosen!r}")
    writer = WRITERS[chosen]
    if gaussians.degree > writer.highest_degree:
        raise InputError(
            f"gaussians: expected harmonics of degree {writer.highest_degree} at most for {chosen}, got "
            f"{gaussians.degree}; write gaussians.with_degree({writer.highest_degree}), or PLY or SPZ"
        )
    if not writer.holds_primitives:
        gaussians = gaussians.flattened()
    holds = writer.holds_convexes if gaussians.primitive == CONVEX else writer.holds_primitives
    if gaussians.primitive != GAUSSIAN and not holds:
        able = "PLY or a folder's splats.json" if gaussians.primitive != CONVEX else "a folder's splats.json"
        raise InputError(
            f"gaussians: expected plain Gaussians for {chosen}, which holds no {gaussians.primitive!r}; write {able}, "
            "or replace(gaussians, primitive='gaussian', shapes=None), which look different"
        )
    if offset != NO_OFFSET and not (writer.holds_offset and all(map(math.isfinite, offset))):
        able = ", ".join(name for name, each in WRITERS.items() if each.holds_offset)
        raise InputError(f"offset: expected finite numbers and one of the formats {able}, got {offset} and {chosen}")
    seen = gaussians if gaussians.sh is not None else gaussians.with_degree(0)
    stored_frame = stored_frame or writer.frame
    turned = _turned(offset, frame, stored_frame)
    request = WriteRequest(path, antialiased, stored_frame, spz_version, coarseness, turned, told)
    writer.write(_moved(seen, frame, stored_frame), request)
    told(1, 1)


def files_beside(path: str | PathLike[str], format: SplatFormat | None = None) -> list[Path]:
    """The further files that belong to a splat file of this name, of which SOG may have fewer.

    A name of a format that is read only stands alone. Raises InputError for an unknown ending without a format.
    """
    path = Path(path)
    if format is None and path.name.lower().endswith((".ksplat", ".rad")):
        return []
    writer = WRITERS[_format_of(path) if format is None else format]
    return [path.with_name(name) for name in writer.beside(path.name)]


def highest_degree(path: str | PathLike[str]) -> int:
    """The largest degree of harmonics that a file of this name holds; raises InputError for an unknown ending."""
    return WRITERS[_format_of(Path(path))].highest_degree


def holds_offset(path: str | PathLike[str]) -> bool:
    """Whether a file of this name says what its positions are relative to; raises InputError for an unknown ending."""
    return WRITERS[_format_of(Path(path))].holds_offset


def offset_in(path: str | PathLike[str], offset: Offset, stored_frame: str | None = None) -> Offset:
    """An offset of the library's frame in the axes of a file of this name; raises InputError for an unknown ending.

    `stored_frame`: as in `write_splats`.
    """
    return _turned(offset, LIBRARY_FRAME, stored_frame or WRITERS[_format_of(Path(path))].frame)


def _moved(gaussians: Gaussians, source: str, target: str) -> Gaussians:
    """Gaussians of one frame in another."""
    return gaussians if source == target else gaussians.transformed(frame_matrix(source, target))


def _turned(offset: Offset, source: str, target: str) -> Offset:
    """An offset of one frame in another."""
    # Adding 0 makes 0 of −0.
    x, y, z = (float(each) + 0.0 for each in frame_matrix(source, target).double().numpy() @ np.array(offset))
    return x, y, z


def _read(path: Path, request: ReadRequest) -> SplatFile:
    for container in CONTAINERS:
        if container.read_path is not None and container.matches_path(path):
            return container.read_path(path, request)
    if not path.exists():
        raise MissingError(f"{path}: expected a splat file, found none")
    if not path.is_file():
        raise Malformed("expected a regular file")
    data = path.read_bytes()
    for container in CONTAINERS:
        if container.matches(data, path.name):
            return container.read(data, request)
    raise Malformed(f"expected a splat file, got {kind_of(data)}")


def _format_of(path: Path) -> SplatFormat:
    for ending, name in ENDINGS.items():
        if path.name.lower().endswith(ending):
            return name
    raise InputError(f"path: expected a name that ends in {', '.join(ENDINGS)}, got {path.name!r}; or give the format")
