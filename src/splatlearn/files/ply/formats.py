"""The formats in PLY files: 3DGS PLY and compressed PLY."""

from __future__ import annotations

from splatlearn.core.ply.container import is_ply, parse_ply
from splatlearn.files.interface import Container, ReadRequest, Writer
from splatlearn.files.ply.compressed import HIGHEST_DEGREE, compressed_ply_bytes, is_compressed, read_compressed_ply
from splatlearn.files.ply.gaussians import gaussian_ply_parts, read_gaussian_ply
from splatlearn.files.splat_file import SplatFile

FRAME = "RDF"


def read(data: bytes, request: ReadRequest) -> SplatFile:
    """Read either format; raises Malformed."""
    ply = parse_ply(data)
    reader = read_compressed_ply if is_compressed(ply) else read_gaussian_ply
    return reader(ply, request.frame or FRAME, request.limit, request.drop_invalid)


PLY = Container(
    lambda data, name: is_ply(data),
    read,
    (
        Writer(
            "compressed-ply",
            (".compressed.ply",),
            FRAME,
            lambda gaussians, request: compressed_ply_bytes(gaussians, request.antialiased, request.offset),
            HIGHEST_DEGREE,
            holds_offset=True,
        ),
        Writer(
            "ply",
            (".ply",),
            FRAME,
            lambda gaussians, request: gaussian_ply_parts(gaussians, request.antialiased, request.offset),
            holds_offset=True,
            holds_primitives=True,
        ),
    ),
)
