""".sl3 as a registered format: small files, read to the same bits on every machine."""

from __future__ import annotations

from splatlearn.files.interface import Container, Writer
from splatlearn.files.sl3.reader import is_sl3, read_sl3
from splatlearn.files.sl3.writer import FRAME, sl3_bytes

SL3 = Container(
    lambda data, name: is_sl3(data),
    lambda data, request: read_sl3(data, request.frame, request.limit),
    (
        Writer(
            "sl3",
            (".sl3",),
            FRAME,
            lambda gaussians, request: sl3_bytes(
                gaussians, request.antialiased, request.coarseness, request.frame, told=request.told
            ),
        ),
    ),
)
