"""`.splat` (antimatter15) as a registered format: rows of 32 bytes without a header.

A row is the position and the standard deviations as six float32, then bytes: red, green, blue and opacity of 255, and
the quaternion, w first, as 128 + 128·q. There are no harmonics above degree 0.
"""

from __future__ import annotations

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.files.errors import check_count
from splatlearn.files.foreign import is_text, kind_of
from splatlearn.files.interface import Container, ReadRequest, Writer, WriteRequest
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, from_stored, linear_scales, quantise, to_stored

ENDING = ".splat"
FRAME = "RDF"
ROW = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("colors", "u1", 4), ("rotation", "u1", 4)])


def read(data: bytes, request: ReadRequest) -> SplatFile:
    """Read rows in the frame of the request, "RDF" without one; raises Malformed for text and for incomplete rows."""
    if not data or len(data) % ROW.itemsize or is_text(data):
        raise Malformed(f"expected rows of {ROW.itemsize} bytes, got {kind_of(data)} of {len(data)} bytes")
    check_count(len(data) // ROW.itemsize, request.limit)
    rows = np.frombuffer(data, ROW)
    shares = rows["colors"] / np.float32(255)
    stored = Stored(
        means=rows["means"],
        log_scales=np.log(rows["scales"]),
        quaternions=(rows["rotation"].astype(np.float32) - 128) / 128,
        opacities=shares[:, 3],
        sh=((shares[:, None, :3] - np.float32(0.5)) / np.float32(C0)),
    )
    gaussians, dropped = from_stored(stored, request.drop_invalid)
    return SplatFile(gaussians, "splat", request.frame or FRAME, dropped=dropped)


def content(gaussians: Gaussians, request: WriteRequest) -> bytes:
    """The rows of Gaussians [K] with `sh` of degree 0; those that cover most come first, as viewers expect."""
    stored, scales = to_stored(gaussians), linear_scales(gaussians)
    order = np.argsort(-scales.astype(np.float64).prod(axis=1) * stored.opacities, kind="stable")
    stored = stored.reordered(order)
    rows = np.empty(len(order), ROW)
    rows["means"], rows["scales"] = stored.means, scales[order]
    rows["colors"][:, :3] = quantise(stored.sh[:, 0] * C0 + 0.5, 255)
    rows["colors"][:, 3] = quantise(stored.opacities, 255)
    # 1 has no byte but −1 has: of a rotation's two quaternions, the one whose largest entry is negative is written.
    quaternions = stored.quaternions
    largest = np.take_along_axis(quaternions, np.abs(quaternions).argmax(axis=1)[:, None], axis=1)
    rows["rotation"] = np.rint(np.where(largest > 0, -quaternions, quaternions) * 128 + 128)
    return rows.tobytes()


def matches(data: bytes, name: str) -> bool:
    """Whether a file is named so: without a header, content does not tell."""
    return name.lower().endswith(ENDING)


SPLAT = Container(
    matches,
    read,
    (Writer("splat", (ENDING,), FRAME, content, highest_degree=0, shown_colors=(0.0, 1.0)),),
)
