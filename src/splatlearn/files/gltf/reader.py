"""Reading of KHR_gaussian_splatting: all Gaussians of the scene that a document shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from splatlearn.core.errors import Malformed
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.files.errors import check_count, check_ratio
from splatlearn.files.gltf.document import Document
from splatlearn.files.gltf.nodes import placed_meshes, similarity
from splatlearn.files.splat_file import SplatFile
from splatlearn.files.stored import Stored, from_stored

EXTENSION = "KHR_gaussian_splatting"
POINTS = 0
BYTE, UNSIGNED_BYTE, SHORT, UNSIGNED_SHORT, FLOAT = 5120, 5121, 5122, 5123, 5126
LINEAR, DISPLAYED = "lin_rec709_display", "srgb_rec709_display"
COMMON = ("POSITION", "COLOR_0")
"""Attributes of glTF itself; all others have the extension's name before theirs."""
HIGHEST_DEGREE = 3
ANTIALIASED = "antialiased"
"""In the extras of the asset: the extension has no word for it."""
LONGEST_NAME = 200
SMALLEST_ROW = 56
"""Bytes of a Gaussian of degree 0 in memory: nodes may show one mesh often."""
Numbers = Callable[..., np.ndarray]
"""Of the name of an attribute, the numbers in a row, and the types that it may have."""


def read_gltf(document: Document, frame: str, limit: int, drop_invalid: bool) -> SplatFile:
    """Read all Gaussians of a document, placed by its nodes.

    Scales are standard deviations; a primitive with scales below 0 is of a draft of the extension and holds logarithms.
    Linear colours become those of a display: exactly for degree 0, to first order above it. Raises Malformed for
    documents without Gaussians, for other kernels, and for compressed ones.
    """
    found = list(_primitives(document))
    if not found:
        raise Malformed(f"expected Gaussians by the extension {EXTENSION}, got a glTF file without them")
    total = sum(document.count(attributes.get("POSITION")) for *_, attributes, _ in found)
    check_count(total, limit)
    check_ratio("glTF", SMALLEST_ROW * total, document.size)
    parts, dropped = [], 0
    for primitive, extension, attributes, matrix in found:
        gaussians, lost = from_stored(_stored(document, primitive, extension, attributes), drop_invalid)
        dropped += lost
        parts.append(_placed(gaussians, matrix))
    degree = max(part.degree for part in parts)
    whole = parts[0] if len(parts) == 1 else Gaussians.cat([part.with_degree(degree) for part in parts])
    asset = document.object("asset", document.json.get("asset"))
    generator, extras = asset.get("generator"), asset.get("extras")
    writer = generator[:LONGEST_NAME] or None if isinstance(generator, str) else None
    antialiased = isinstance(extras, dict) and extras.get(ANTIALIASED) is True
    return SplatFile(whole, "gltf", frame, antialiased, writer, dropped)


def _primitives(document: Document) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any], np.ndarray]]:
    """Primitives with Gaussians as often as they are shown: itself, its extension, its attributes, its matrix."""
    for mesh, matrix in placed_meshes(document):
        primitives = document.entry("meshes", mesh).get("primitives", [])
        if not isinstance(primitives, list):
            raise Malformed(f"meshes[{mesh}]: primitives: expected a list, got {type(primitives).__name__}")
        for each in primitives:
            primitive = document.object("primitive", each)
            extension = document.object("extensions", primitive.get("extensions", {})).get(EXTENSION)
            if extension is not None:
                attributes = document.object("attributes", primitive.get("attributes", {}))
                yield primitive, document.object(EXTENSION, extension), attributes, matrix


def _placed(gaussians: Gaussians, matrix: np.ndarray) -> Gaussians:
    if np.array_equal(matrix, np.eye(4)):
        return gaussians
    rotation, translation, scale = similarity(matrix)
    return gaussians.transformed(torch.from_numpy(rotation).float(), torch.from_numpy(translation).float(), scale)


def _stored(
    document: Document, primitive: dict[str, Any], extension: dict[str, Any], attributes: dict[str, Any]
) -> Stored:
    """The numbers of one primitive."""
    inner = document.object("extensions", extension.get("extensions", {}))
    kernel, space = extension.get("kernel", "ellipse"), extension.get("colorSpace", DISPLAYED)
    packed = next((name for name in inner if "compression" in name), None)
    if packed is not None:
        raise Malformed(f"expected Gaussians without compression, got the extension {packed[:80]}")
    if kernel != "ellipse" or space not in (LINEAR, DISPLAYED) or primitive.get("mode", POINTS) != POINTS:
        raise Malformed(
            f"expected points with the kernel ellipse and colours of {LINEAR} or {DISPLAYED}, got the kernel "
            f"{str(kernel)[:40]!r}, colours of {str(space)[:40]!r} and mode {str(primitive.get('mode'))[:20]}"
        )

    def numbers(name: str, width: int, *types: int) -> np.ndarray:
        key = name if name in COMMON else f"{EXTENSION}:{name}"
        if key not in attributes:
            raise Malformed(f"expected the attribute {key}, found none")
        found = document.array(attributes[key], width, types)
        if len(found) != count:
            raise Malformed(f"{key}: expected {count} rows, as positions have, got {len(found)}")
        return found

    count = document.count(attributes.get("POSITION"))
    scales = numbers("SCALE", 3, FLOAT, BYTE, UNSIGNED_BYTE, SHORT, UNSIGNED_SHORT)
    is_draft = bool((scales < 0).any())
    sh = _harmonics(document, numbers, attributes)
    return Stored(
        means=numbers("POSITION", 3, FLOAT, BYTE, UNSIGNED_BYTE, SHORT, UNSIGNED_SHORT),
        log_scales=scales if is_draft else np.log(scales),
        quaternions=numbers("ROTATION", 4, FLOAT, BYTE, SHORT)[:, [3, 0, 1, 2]],
        opacities=numbers("OPACITY", 1, FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT)[:, 0],
        sh=_displayed(sh) if space == LINEAR else sh,
    )


def _harmonics(document: Document, numbers: Numbers, attributes: dict[str, Any]) -> np.ndarray:
    """Harmonics [K, M, 3] of all whole degrees, or colours where there are none."""
    if f"{EXTENSION}:SH_DEGREE_0_COEF_0" not in attributes:
        if "COLOR_0" not in attributes:
            raise Malformed(f"expected {EXTENSION}:SH_DEGREE_0_COEF_0 or COLOR_0, found neither")
        width = 3 if document.entry("accessors", attributes["COLOR_0"]).get("type") == "VEC3" else 4
        colors = numbers("COLOR_0", width, FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT)
        return (colors[:, None, :3] - np.float32(0.5)) / np.float32(C0)
    found = []
    for degree in range(HIGHEST_DEGREE + 1):
        names = [f"SH_DEGREE_{degree}_COEF_{place}" for place in range(2 * degree + 1)]
        if not all(f"{EXTENSION}:{name}" in attributes for name in names):
            break
        found += [numbers(name, 3, FLOAT) for name in names]
    return np.stack(found, axis=1)


def _displayed(sh: np.ndarray) -> np.ndarray:
    """Harmonics of linear colours as those of sRGB, about the colour of degree 0."""
    linear = np.maximum(sh[:, 0].astype(np.float64) * C0 + 0.5, 0.0)
    low = linear <= 0.0031308
    above = np.where(low, 1.0, linear)
    shown = np.where(low, 12.92 * linear, 1.055 * above ** (1 / 2.4) - 0.055)
    slope = np.where(low, 12.92, 1.055 / 2.4 * above ** (1 / 2.4 - 1))
    return np.concatenate([((shown - 0.5) / C0)[:, None], sh[:, 1:] * slope[:, None]], axis=1).astype(np.float32)
