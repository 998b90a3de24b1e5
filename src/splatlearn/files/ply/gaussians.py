"""3DGS PLY: the training output of 3D Gaussian splatting (Kerbl et al. 2023), all degrees of harmonics."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.gaussians import GAUSSIAN, SURFEL, Gaussians
from splatlearn.core.geometry.harmonics import C0, degree_of
from splatlearn.core.ply.container import Ply, columns, ply_header
from splatlearn.files.errors import check_count
from splatlearn.files.offset import NO_OFFSET, Offset
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, blocks, from_stored, logits, sigmoids, to_stored

MEANS = ["x", "y", "z"]
NORMALS = ["nx", "ny", "nz"]
COLORS = ["red", "green", "blue"]
DIRECT = [f"f_dc_{number}" for number in range(3)]
SCALES = [f"scale_{number}" for number in range(3)]
ROTATIONS = [f"rot_{number}" for number in range(4)]

# How Brush and Postshot mark Gaussians that were fitted with antialiasing.
ANTIALIASED = {"splatrendermode: mip": True, "splatrendermode: default": False, "antialiased 1": True}
MARK = "SplatRenderMode: mip"
PRIMITIVE, SHAPE = "Primitive: ", "shape_"
"""How a file names what its Gaussians are drawn as, and the properties of its further numbers."""
OFFSET = "world offset"
"""Begins the comment with the point of the world that positions are relative to."""
WRITTEN_BY = re.compile(r"(?:generated|exported|created|written) (?:by|from|with|using)\s+(\S.*)", re.IGNORECASE)
"""How programs name themselves in a comment: "Exported from Brush"."""


def read_gaussian_ply(ply: Ply, frame: str, limit: int, drop_invalid: bool) -> SplatFile:
    """Read a parsed file; positions, colours, opacities, scales and rotations in any order of properties.

    Colours `red`, `green` and `blue`, whole numbers up to 255 or others up to 1, may stand for those of degree 0.
    A file of 2D Gaussian splatting (Huang et al. 2024) has no `scale_2`: its Gaussians are surfels.
    Raises Malformed without an element `vertex` of such properties, or with an impossible number of harmonics.
    """
    if "vertex" not in ply.tables:
        raise Malformed(f"expected an element vertex of Gaussians, found {', '.join(ply.tables) or 'no table'}")
    table = ply.tables["vertex"]
    names = table.dtype.names or ()
    if set(MEANS) <= set(names) and not set(names) & {"opacity", *SCALES, *ROTATIONS}:
        raise Malformed(f"expected Gaussians, got points without extents: element vertex has {', '.join(names)[:100]}")
    check_count(len(table), limit)
    stored = Stored(
        means=columns(table, MEANS, "vertex"),
        log_scales=_log_scales(table),
        quaternions=columns(table, ROTATIONS, "vertex"),
        opacities=sigmoids(columns(table, ["opacity"], "vertex")[:, 0]),
        sh=_harmonics(table),
        **_primitive(ply.comments, table),
    )
    gaussians, dropped = from_stored(stored, drop_invalid)
    said = is_antialiased(ply.comments), writer_of(ply.comments), dropped, offset_of(ply.comments)
    return SplatFile(gaussians, "ply", frame, *said)


def gaussian_ply_parts(gaussians: Gaussians, antialiased: bool, offset: Offset = NO_OFFSET) -> Iterator[bytes]:
    """The parts of the file of Gaussians [K] with `sh`, with normals of zero as the original code writes them.

    Surfels have two scales, as the code of 2D Gaussian splatting writes them.
    """
    stored = to_stored(gaussians)
    scales = SCALES[:2] if stored.primitive == SURFEL else SCALES
    count = gaussians.count
    shapes = np.empty((count, 0), np.float32) if stored.shapes is None else stored.shapes
    names = [
        *(*MEANS, *NORMALS, *DIRECT, *rest_names(3 * stored.sh.shape[1] - 3), "opacity", *scales, *ROTATIONS),
        *(f"{SHAPE}{number}" for number in range(shapes.shape[1])),
    ]
    comments = marks(antialiased, offset)
    if stored.primitive != GAUSSIAN:
        comments.append(f"{PRIMITIVE}{stored.primitive}")
    yield ply_header({"vertex": (np.dtype([(name, "<f4") for name in names]), count)}, comments)
    for rows in blocks(count):
        sh = stored.sh[rows]
        columns = (
            stored.means[rows],
            np.zeros_like(stored.means[rows]),
            sh[:, 0],
            sh[:, 1:].transpose(0, 2, 1).reshape(len(sh), -1),
            logits(stored.opacities[rows])[:, None],
            stored.log_scales[rows, : len(scales)],
            stored.quaternions[rows],
            shapes[rows],
        )
        yield np.concatenate(columns, axis=1).astype("<f4").tobytes()


def rest_names(count: int) -> list[str]:
    """The properties of the harmonics above degree 0, channel after channel."""
    return [f"f_rest_{number}" for number in range(count)]


def marks(antialiased: bool, offset: Offset) -> list[str]:
    """The comments by which a file says that it is antialiased, and what its positions are relative to."""
    found = [MARK] if antialiased else []
    return found if offset == NO_OFFSET else [*found, f"{OFFSET} {' '.join(f'{each:.17g}' for each in offset)}"]


def offset_of(comments: list[str]) -> Offset:
    """What positions are relative to, by the last comment that says it; raises Malformed for one without numbers."""
    found = NO_OFFSET
    for comment in comments:
        if comment.startswith(f"{OFFSET} "):
            words = comment.removeprefix(OFFSET).split()
            try:
                x, y, z = (float(word) for word in words)
            except ValueError:
                raise Malformed(f"comment {OFFSET}: expected three numbers, got {' '.join(words)[:60]!r}") from None
            if not all(map(math.isfinite, (x, y, z))):
                raise Malformed(f"comment {OFFSET}: expected finite numbers, got {x} {y} {z}")
            found = (x, y, z)
    return found


def is_antialiased(comments: list[str]) -> bool:
    """Whether the last comment that says so marks Gaussians fitted with antialiasing."""
    marks = [ANTIALIASED[comment.lower()] for comment in comments if comment.lower() in ANTIALIASED]
    return bool(marks) and marks[-1]


def writer_of(comments: list[str]) -> str | None:
    """The program that the first comment which names one names."""
    found = (WRITTEN_BY.fullmatch(comment.strip()) for comment in comments)
    return next((match[1] for match in found if match), None)


def rest_degree(names: tuple[str, ...]) -> int:
    """The degree of the harmonics whose f_rest properties a table has; raises Malformed for an impossible number."""
    count = sum(name.startswith("f_rest_") for name in names)
    degree = degree_of(count // 3 + 1) if count % 3 == 0 else None
    if degree is None:
        raise Malformed(f"expected 0, 9, 24, 45 or 72 properties f_rest_, got {count}")
    return degree


def split_rest(rest: np.ndarray, direct: np.ndarray) -> np.ndarray:
    """Harmonics [K, M, 3] from those above degree 0, channel after channel [K, 3 (M − 1)], and those of it [K, 3]."""
    high = rest.reshape(len(rest), 3, -1).transpose(0, 2, 1)
    return np.concatenate([direct[:, None], high], axis=1)


def _harmonics(table: np.ndarray) -> np.ndarray:
    degree = rest_degree(table.dtype.names or ())
    direct = _direct(table)
    if degree == 0:
        return direct[:, None]
    return split_rest(columns(table, rest_names(3 * degree * (degree + 2)), "vertex"), direct)


def _direct(table: np.ndarray) -> np.ndarray:
    """Coefficients of degree 0 [K, 3], which some writers (Nerfstudio) store as colours in bytes."""
    names = table.dtype.names or ()
    if set(DIRECT) & set(names) or not set(COLORS) <= set(names):
        return columns(table, DIRECT, "vertex")
    whole = np.array([table.dtype[name].kind in "iu" for name in COLORS])
    return (columns(table, COLORS, "vertex") / np.where(whole, np.float32(255), 1) - np.float32(0.5)) / np.float32(C0)


def _primitive(comments: list[str], table: np.ndarray) -> dict[str, Any]:
    """The last primitive that a comment names, and its numbers; nothing of a file of Gaussians."""
    named = [comment.removeprefix(PRIMITIVE).strip() for comment in comments if comment.startswith(PRIMITIVE)]
    if not named:
        return {} if SCALES[2] in (table.dtype.names or ()) else {"primitive": SURFEL}
    if named[-1] == GAUSSIAN:
        return {}
    count = sum(name.startswith(SHAPE) for name in table.dtype.names or ())
    if not count:
        return {"primitive": named[-1]}
    shapes = columns(table, [f"{SHAPE}{number}" for number in range(count)], "vertex")
    return {"primitive": named[-1], "shapes": shapes}


def _log_scales(table: np.ndarray) -> np.ndarray:
    if SCALES[2] in (table.dtype.names or ()):
        return columns(table, SCALES, "vertex")
    flat = columns(table, SCALES[:2], "vertex")
    return np.pad(flat, ((0, 0), (0, 1)), constant_values=-np.inf)
