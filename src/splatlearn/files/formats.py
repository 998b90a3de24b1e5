"""Reading and writing of splat files by their content and their name."""

from __future__ import annotations

import math
import zipfile
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import get_args

import numpy as np

from splatlearn.core.disk.atomic import replacing
from splatlearn.core.errors import InputError, MissingError
from splatlearn.core.geometry.frames import LIBRARY_FRAME, check_frame
from splatlearn.core.kinds import check_kind, check_path
from splatlearn.files.choices import SplatFormat
from splatlearn.files.cloud import SplatCloud
from splatlearn.files.errors import MAX_GAUSSIANS, Malformed, SplatFileError
from splatlearn.files.foreign import kind_of
from splatlearn.files.ply import compressed as ply_compressed
from splatlearn.files.ply.container import is_ply, parse_ply
from splatlearn.files.ply.gaussians import gaussian_ply_bytes, read_gaussian_ply
from splatlearn.files.sog import writer as sog_write
from splatlearn.files.sog.meta import META_NAME
from splatlearn.files.sog.reader import read_sog
from splatlearn.files.sog.store import Bundle, Folder
from splatlearn.files.spz.container import SpzVersion, is_spz, read_spz, spz_bytes
from splatlearn.files.spz.numbers import HIGHEST_COLOR

SPLAT_FORMATS: tuple[SplatFormat, ...] = get_args(SplatFormat)
SUFFIXES: dict[str, SplatFormat] = {
    ".compressed.ply": "compressed-ply",
    ".ply": "ply",
    ".spz": "spz",
    ".sog": "sog",
    META_NAME: "sog",
}
STORED_FRAMES: dict[SplatFormat, str] = {"ply": "RDF", "compressed-ply": "RDF", "sog": "RDF", "spz": "RUB"}
"""The frame that each format's files are in by convention; none but SPZ can say so."""
SHOWN_COLORS: dict[SplatFormat, tuple[float, float]] = {
    "ply": (0.0, math.inf),
    "compressed-ply": (0.0, math.inf),
    "sog": (0.0, math.inf),
    "spz": (0.0, HIGHEST_COLOR),
}
"""The smallest and the largest colour of degree 0 that files hold and viewers show, which clamp at 0."""
HIGHEST_DEGREES: dict[SplatFormat, int] = {
    "compressed-ply": ply_compressed.HIGHEST_DEGREE,
    "sog": sog_write.HIGHEST_DEGREE,
}


def read_splats(
    path: str | PathLike[str],
    frame: str = LIBRARY_FRAME,
    stored_frame: str | None = None,
    max_gaussians: int = MAX_GAUSSIANS,
    drop_invalid: bool = False,
) -> SplatCloud:
    """Read 3DGS or 2DGS PLY, compressed PLY, SPZ (versions 2 to 4) or SOG (version 2); the content says which.

    - `path`: a file; for SOG a bundle, a folder or the meta.json in it.
    - `frame`: the frame of the cloud that comes back. The default is that of the cameras here.
    - `stored_frame`: the frame of the file where it is not the usual one: "RUB" for SPZ without a frame of its own,
      "RDF" for the others.
    - `max_gaussians`: files that claim more are refused before memory is taken for them.
    - `drop_invalid`: drop Gaussians with numbers that are NaN or infinite, or without a rotation (four zeros). The
      result says how many in `dropped`. By default they are an error.

    Raises SplatFileError (a FormatError) for files that are cut off, inconsistent or in no such format, and for invalid
    Gaussians; MissingError where there is no file; and InputError for letters that name no frame.
    """
    check_path("path", path)
    check_frame("frame", frame)
    if stored_frame is not None:
        check_frame("stored_frame", stored_frame)
    try:
        # Numbers that overflow on the way are found where the cloud is made.
        with np.errstate(all="ignore"):
            cloud = _read(Path(path), stored_frame, max_gaussians, drop_invalid)
    except Malformed as error:
        raise SplatFileError(path, str(error)) from None
    except MemoryError:
        raise SplatFileError(path, "not enough memory for what the file holds") from None
    return cloud.in_frame(frame)


def write_splats(
    cloud: SplatCloud,
    path: str | PathLike[str],
    format: SplatFormat | None = None,
    stored_frame: str | None = None,
    spz_version: SpzVersion = 3,
) -> None:
    """Write a cloud; the file appears whole or not at all, and replaces an earlier one.

    - `format`: by default what the name ends in: .compressed.ply, .ply, .spz, .sog (a bundle) or meta.json (SOG in a
      folder, beside its images).
    - `stored_frame`: the frame to write in, by default the format's usual one; readers take SPZ to be "RUB".
    - `spz_version`: 3 is what most viewers read; 4 is its successor, 2 has coarser rotations.

    What is lost: nothing beyond float32 in PLY. Compressed PLY rounds positions and logarithms of scales to 10 or 11
    bits of the range of 256 neighbours, rotations to 10 bits, colours and opacities to 8, and cuts harmonics above
    degree 0 to ±4. SPZ rounds positions to 23 bits of the farthest, logarithms of scales to 1/16 within −10 to 5.9,
    rotations to 9 bits and a sign, the rest to 8, and cuts harmonics to ±3.3 in degree 0 and ±1 above. SOG rounds
    positions to 16 bits, rotations to 8, scales and colours to codebooks of 256. Compressed PLY and SOG change the
    order of the Gaussians.

    Raises InputError for names of no known ending, numbers that are not finite or out of range, and degrees above 3
    where the format ends there.
    """
    check_kind("cloud", cloud, SplatCloud, advice="SplatCloud.from_gaussians makes one of Gaussians")
    check_path("path", path)
    path = Path(path)
    chosen = _format_of(path) if format is None else format
    if chosen not in SPLAT_FORMATS:
        raise InputError(f"format: expected one of {', '.join(SPLAT_FORMATS)}, got {chosen!r}")
    highest = HIGHEST_DEGREES.get(chosen)
    if highest is not None and cloud.degree > highest:
        raise InputError(
            f"cloud: expected harmonics of degree {highest} at most for {chosen}, got {cloud.degree}; "
            f"write cloud.with_degree({highest}), or PLY or SPZ"
        )
    if stored_frame is not None:
        check_frame("stored_frame", stored_frame)
    cloud = cloud.in_frame(stored_frame or STORED_FRAMES[chosen])
    if chosen == "sog":
        _write_sog(path, sog_write.sog_files(cloud))
    elif chosen == "spz":
        _write(path, spz_bytes(cloud, spz_version))
    else:
        _write(path, gaussian_ply_bytes(cloud) if chosen == "ply" else ply_compressed.compressed_ply_bytes(cloud))


def _read(path: Path, stored_frame: str | None, limit: int, drop_invalid: bool) -> SplatCloud:
    if path.is_dir() or path.name == META_NAME:
        folder = Folder(path if path.is_dir() else path.parent)
        return read_sog(folder, stored_frame or STORED_FRAMES["sog"], limit, drop_invalid)
    if not path.exists():
        raise MissingError(f"{path}: expected a splat file, found none")
    if not path.is_file():
        raise Malformed("expected a regular file")
    data = path.read_bytes()
    if is_ply(data):
        ply = parse_ply(data)
        reader = ply_compressed.read_compressed_ply if ply_compressed.is_compressed(ply) else read_gaussian_ply
        return reader(ply, stored_frame or STORED_FRAMES["ply"], limit, drop_invalid)
    if is_spz(data):
        return read_spz(data, stored_frame, limit, drop_invalid)
    if data[:2] == b"PK":
        return read_sog(Bundle(data), stored_frame or STORED_FRAMES["sog"], limit, drop_invalid)
    raise Malformed(f"expected PLY, SPZ or SOG, got {kind_of(data, path.name)}")


def _format_of(path: Path) -> SplatFormat:
    for ending, name in SUFFIXES.items():
        if path.name.lower().endswith(ending):
            return name
    raise InputError(f"path: expected a name that ends in {', '.join(SUFFIXES)}, got {path.name!r}; or give the format")


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as beside:
        beside.write_bytes(content)


def _write_sog(path: Path, files: dict[str, bytes]) -> None:
    if path.name == META_NAME:
        for name, content in files.items():
            _write(path.with_name(name), content)
        return
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            # A fixed date: the same cloud gives the same file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    _write(path, buffer.getvalue())
