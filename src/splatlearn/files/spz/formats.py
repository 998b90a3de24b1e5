"""SPZ as a registered format."""

from __future__ import annotations

from splatlearn.files.interface import Container, Writer
from splatlearn.files.spz.container import is_spz, read_spz, spz_bytes
from splatlearn.files.spz.numbers import HIGHEST_COLOR

SPZ = Container(
    lambda data, name: is_spz(data),
    lambda data, request: read_spz(data, request.frame, request.limit, request.drop_invalid),
    (
        Writer(
            "spz",
            (".spz",),
            "RUB",
            lambda gaussians, request: spz_bytes(gaussians, request.antialiased, request.spz_version),
            shown_colors=(0.0, HIGHEST_COLOR),
        ),
    ),
)
