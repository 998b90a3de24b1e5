"""`.ksplat` (GaussianSplats3D, version 0.1) as a registered format, which is read only."""

from __future__ import annotations

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.core.geometry.harmonics import C0, coefficient_count
from splatlearn.files.foreign import is_ksplat
from splatlearn.files.interface import Container, ReadRequest
from splatlearn.files.ksplat.header import BUCKET_SIZE, Header, Section, parse_header, row_type
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, from_stored

FRAME = "RDF"


def read(data: bytes, request: ReadRequest) -> SplatFile:
    """Read all sections; raises Malformed where headers and sizes disagree."""
    header = parse_header(data, request.limit)
    degree = max(section.degree for section in header.sections)
    parts = [_read_section(data, header, section, degree) for section in header.sections]
    stored = Stored.joined(parts)
    gaussians, dropped = from_stored(stored, request.drop_invalid)
    return SplatFile(gaussians, "ksplat", request.frame or FRAME, dropped=dropped)


def _read_section(data: bytes, header: Header, section: Section, degree: int) -> Stored:
    """The numbers of a section, with harmonics of `degree`, which are zeros where it has fewer."""
    rows = np.frombuffer(data, row_type(header.compression, section.degree), section.count, section.data_start)
    means = rows["means"].astype(np.float32)
    if header.compression:
        means = (means - section.middle) * np.float32(section.step) + _bucket_centers(data, section)
    colors = rows["colors"] / np.float32(255)
    sh = np.zeros((section.count, coefficient_count(degree), 3), np.float32)
    sh[:, 0] = (colors[:, :3] - np.float32(0.5)) / np.float32(C0)
    if section.degree:
        high = rows["sh"].astype(np.float32)
        if header.compression == 2:
            high = high / np.float32(255) * np.float32(header.highest - header.lowest) + np.float32(header.lowest)
        offset = 0
        for band in range(1, section.degree + 1):
            size = 2 * band + 1
            coefficients = high[:, offset : offset + 3 * size].reshape(-1, 3, size)
            sh[:, band * band : band * band + size] = coefficients.transpose(0, 2, 1)
            offset += 3 * size
    return Stored(
        means=means,
        log_scales=np.log(rows["scales"].astype(np.float32)),
        quaternions=rows["rotation"].astype(np.float32),
        opacities=colors[:, 3],
        sh=sh,
    )


def _bucket_centers(data: bytes, section: Section) -> np.ndarray:
    """The centre [K, 3] of the bucket of each Gaussian; full buckets come first, partial ones state their lengths."""
    lengths = np.frombuffer(data, "<u4", section.partial_buckets, section.start).astype(np.int64)
    centers_start = section.start + 4 * section.partial_buckets
    centers = np.frombuffer(data, "<f4", section.buckets * BUCKET_SIZE // 4, centers_start).reshape(-1, 3)
    in_full = min(section.full_buckets * section.bucket_size, section.count)
    if in_full + int(lengths.sum()) < section.count:
        raise Malformed(f"expected buckets of {section.count} Gaussians, got {in_full} and {int(lengths.sum())}")
    ends = np.cumsum(lengths)
    indices = np.arange(section.count)
    full = indices // max(section.bucket_size, 1)
    partial = section.full_buckets + np.searchsorted(ends, indices - in_full, side="right")
    return centers[np.where(indices < in_full, full, partial)]


KSPLAT = Container(lambda data, name: is_ksplat(data), read, ())
