"""Writing of SOG: codebooks by k-means, a palette of harmonics, and lossless WebP."""

from __future__ import annotations

import io
import json
import math
import warnings
from dataclasses import replace

import numpy as np
from PIL import Image

from splatlearn.core.gaussians import Gaussians
from splatlearn.files.sog.meta import LARGEST_PALETTE, LEVELS, META_NAME, PALETTE_COLUMNS
from splatlearn.files.sog.reader import FIRST_TAG
from splatlearn.files.stored import morton_order, pack_smallest_three, quantise, to_stored

HIGHEST_DEGREE = 3
BINS = 1 << 14
"""Steps of the histogram whose bins are clustered into a codebook."""
CLUSTERS = 4096
"""Entries of the palette where there are more Gaussians than a palette can hold."""


PALETTE_IMAGES = ("shN_centroids.webp", "shN_labels.webp")
IMAGES = ("means_l.webp", "means_u.webp", "quats.webp", "scales.webp", "sh0.webp", *PALETTE_IMAGES)
"""All images of a scene; those of the palette are written with harmonics above degree 0 alone."""


def sog_files(gaussians: Gaussians, antialiased: bool, order: np.ndarray | None = None) -> dict[str, bytes]:
    """The files of Gaussians [K] with `sh` of degree 3 at most by name, in the order of a Morton curve.

    - `order` [K]: another order, as indices: pixels row by row.

    Up to 65536 Gaussians keep harmonics of their own; of more, the harmonics are clustered.
    """
    stored = to_stored(gaussians)
    order = image_order(gaussians) if order is None else order
    # Harmonics, which are most of the memory, are not copied before they are needed.
    sh, stored = stored.sh, replace(stored, sh=stored.sh[:, :1]).reordered(order)
    side = image_size(gaussians.count)
    files: dict[str, bytes] = {}
    logs = np.sign(stored.means) * np.log1p(np.abs(stored.means.astype(np.float64)))
    low, span = logs.min(axis=0), np.ptp(logs, axis=0)
    steps = quantise((logs - low) / np.where(span > 0, span, 1.0), 65535)
    files["means_l.webp"] = _image(steps & 255, side)
    files["means_u.webp"] = _image(steps >> 8, side)
    largest, others = pack_smallest_three(stored.quaternions)
    turns = quantise(others * math.sqrt(0.5) + 0.5, 255)
    files["quats.webp"] = _image(np.column_stack([turns, largest + FIRST_TAG]), side)
    scale_codebook, scales = codebook(stored.log_scales)
    files["scales.webp"] = _image(scales, side)
    color_codebook, colors = codebook(stored.sh[:, 0])
    files["sh0.webp"] = _image(np.column_stack([colors, quantise(stored.opacities, 255)]), side)
    meta: dict[str, object] = {
        "version": 2,
        "asset": {"generator": "splatlearn"},
        "count": gaussians.count,
        **({"model": "antialiased"} if antialiased else {}),
        "means": {"mins": low.tolist(), "maxs": (low + span).tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scale_codebook.tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": color_codebook.tolist(), "files": ["sh0.webp"]},
    }
    if gaussians.degree:
        palette, images = _palette(sh[order, 1:].reshape(len(sh), -1), gaussians.degree, side)
        meta["shN"] = palette
        files |= images
    # The description comes last, so that a folder that has it is complete.
    return files | {META_NAME: json.dumps(meta).encode()}


# scikit-learn takes longer to import than all of this package: it is imported where it is used.


def codebook(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """256 rising numbers and for each value the place of the nearest, in the shape of the values.

    Values with at most 256 different numbers are kept exactly.
    """
    book = np.unique(values).astype(np.float64)
    if len(book) > LEVELS:
        counts, edges = np.histogram(values, BINS)
        book = ((edges[:-1] + edges[1:]) / 2)[counts > 0]
        if len(book) > LEVELS:
            from sklearn.cluster import KMeans
            from sklearn.exceptions import ConvergenceWarning

            # The square root keeps rare values, such as the largest scales, from being rounded the most.
            weights = np.sqrt(counts[counts > 0])
            start = np.interp(np.linspace(0, 1, LEVELS), np.cumsum(weights) / weights.sum(), book)
            means = KMeans(LEVELS, init=start[:, None], max_iter=30)  # pyright: ignore[reportArgumentType]
            with warnings.catch_warnings():
                # Values that crowd in a few places need fewer clusters than there are.
                warnings.simplefilter("ignore", ConvergenceWarning)
                means.fit(book[:, None], None, weights)
            book = np.sort(means.cluster_centers_[:, 0])
    book = np.pad(book, (0, LEVELS - len(book)), mode="edge")
    nearest = np.searchsorted((book[:-1] + book[1:]) / 2, values.astype(np.float64))
    return book.astype(np.float32), nearest.astype(np.uint8)


def _palette(high: np.ndarray, degree: int, side: tuple[int, int]) -> tuple[dict[str, object], dict[str, bytes]]:
    """The description and the images of harmonics [K, N] above degree 0."""
    if len(high) <= LARGEST_PALETTE:
        entries, labels = high, np.arange(len(high))
    else:
        from sklearn.cluster import MiniBatchKMeans

        means = MiniBatchKMeans(CLUSTERS, batch_size=8192, max_iter=20, random_state=0).fit(high)
        entries, labels = np.asarray(means.cluster_centers_), np.asarray(means.predict(high))
    book, places = codebook(entries.astype(np.float32))
    size = degree * (degree + 2)
    shape = (math.ceil(len(entries) / PALETTE_COLUMNS), PALETTE_COLUMNS * size)
    names = list(PALETTE_IMAGES)
    images = [
        _image(places.reshape(-1, 3), shape),
        _image(np.column_stack([labels & 255, labels >> 8, np.zeros_like(labels)]), side),
    ]
    part: dict[str, object] = {"count": len(entries), "bands": degree, "codebook": book.tolist(), "files": names}
    return part, dict(zip(names, images, strict=True))


def image_order(gaussians: Gaussians) -> np.ndarray:
    """Indices [K] of the Gaussians in the order of the pixels of a scene's images."""
    return morton_order(gaussians.means.detach().float().cpu().numpy())


def image_size(count: int) -> tuple[int, int]:
    """Rows and columns of an image with a pixel for each Gaussian, multiples of 4."""
    columns = 4 * math.ceil(math.sqrt(count) / 4)
    return 4 * math.ceil(count / columns / 4), columns


def _image(channels: np.ndarray, shape: tuple[int, int]) -> bytes:
    """Lossless WebP of pixels [count, 3 or 4], the remaining pixels empty."""
    pixels = np.zeros((shape[0] * shape[1], channels.shape[1]), np.uint8)
    pixels[: len(channels)] = channels
    buffer = io.BytesIO()
    # Without `exact` the encoder drops the colours of transparent pixels. Quality is effort; 100 takes 30 times longer.
    Image.fromarray(pixels.reshape(*shape, -1)).save(buffer, "WEBP", lossless=True, exact=True, quality=80, method=4)
    return buffer.getvalue()
