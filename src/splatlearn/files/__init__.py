"""Splat files: 3DGS PLY, compressed PLY, SPZ and SOG, read and written as clouds with spherical harmonics."""

from splatlearn.files.bake import bake_pinhole
from splatlearn.files.cloud import SplatCloud
from splatlearn.files.errors import MAX_GAUSSIANS, SplatFileError
from splatlearn.files.formats import SPLAT_FORMATS, SplatFormat, read_splats, write_splats
from splatlearn.files.harmonics import harmonics_basis

__all__ = [
    "MAX_GAUSSIANS",
    "SPLAT_FORMATS",
    "SplatCloud",
    "SplatFileError",
    "SplatFormat",
    "bake_pinhole",
    "harmonics_basis",
    "read_splats",
    "write_splats",
]
