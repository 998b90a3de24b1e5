"""Files of formats and versions that are only read, built from the numbers of Gaussians."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zipfile

import numpy as np
from PIL import Image

from splatlearn.core.gaussians import Gaussians

C0 = 0.28209479177387814


def arrays_of(cloud: Gaussians) -> dict[str, np.ndarray]:
    return {name: each.numpy() for name, each in cloud.tensors().items()}


def ksplat(cloud: Gaussians, compression: int, bucket_size: int = 7, side: float = 2.0) -> bytes:
    """Two sections, of which the second has harmonics of degree 0; the last bucket of each is partial."""
    half = cloud.count // 2
    rest = cloud.select(slice(half, None)).with_degree(0)
    parts = [_ksplat_section(cloud.select(slice(half)), compression, bucket_size, side)]
    parts.append(_ksplat_section(rest, compression, bucket_size, side))
    head = struct.pack("<BBxx4IH2x5f", 0, 1, 2, 2, cloud.count, cloud.count, compression, 0, 0, 0, -1.0, 1.0)
    heads = b"".join(part.ljust(1024, b"\0") for part, _ in parts)
    return head.ljust(4096, b"\0") + heads + b"".join(body for _, body in parts)


def _ksplat_section(cloud: Gaussians, compression: int, bucket_size: int, side: float) -> tuple[bytes, bytes]:
    found, count = arrays_of(cloud), cloud.count
    number = "<f4" if compression == 0 else "<f2"
    full, left = divmod(count, bucket_size)
    buckets = full + (left > 0)
    centers = np.linspace(-0.5, 0.5, 3 * buckets).reshape(-1, 3).astype("<f4")
    places = found["means"].astype("<f4")
    if compression:
        places = (places - centers[np.arange(count) // bucket_size]) / (side / 2 / 32767) + 32767
        places = np.rint(places).clip(0, 65535).astype("<u2")
    colors = np.concatenate([found["sh"][:, 0] * C0 + 0.5, found["opacities"][:, None]], axis=1)
    rows = [places, found["scales"].astype(number), found["quaternions"].astype(number)]
    rows.append(np.rint(255 * colors.clip(0, 1)).astype("u1"))
    for band in range(1, cloud.degree + 1):
        high = found["sh"][:, band**2 : (band + 1) ** 2].transpose(0, 2, 1).reshape(count, -1)
        rows.append(
            np.rint((high + 1) / 2 * 255).clip(0, 255).astype("u1") if compression == 2 else high.astype(number)
        )
    body = b"".join(b"".join(each[index].tobytes() for each in rows) for index in range(count))
    if compression == 0:
        return struct.pack("<4IfH2xI4xIIH", count, count, 0, 0, 0, 0, 0, 0, 0, cloud.degree), body
    head = struct.pack(
        "<4IfH2xI4xIIH", count, count, bucket_size, buckets, side, 12, 32767, full, left > 0, cloud.degree
    )
    return head, (struct.pack("<I", left) if left else b"") + centers.tobytes() + body


def first_spz(cloud: Gaussians) -> bytes:
    """SPZ of version 1: half floats for positions, first three of a rotation."""
    found = arrays_of(cloud)
    signed = found["quaternions"] * np.where(found["quaternions"][:, :1] < 0, -1, 1)
    parts = [
        found["means"].astype("<f2"),
        _bytes(found["opacities"] * 255),
        _bytes((found["sh"][:, 0] * 0.15 + 0.5) * 255),
        _bytes((np.log(found["scales"]) + 10) * 16),
        _bytes((signed[:, 1:] + 1) * 127.5),
        _bytes(found["sh"][:, 1:] * 128 + 128),
    ]
    head = struct.pack("<4sIIBBBB", b"NGSP", 1, cloud.count, cloud.degree, 0, 0, 0)
    return gzip.compress(head + b"".join(part.tobytes() for part in parts), mtime=0)


def _bytes(numbers: np.ndarray) -> np.ndarray:
    return np.rint(numbers).clip(0, 255).astype(np.uint8)


def first_sog(cloud: Gaussians) -> bytes:
    """A bundle of SOG of version 1: numbers go evenly from the smallest to the largest of a channel."""
    found, count = arrays_of(cloud), cloud.count
    logs = np.sign(found["means"]) * np.log1p(np.abs(found["means"]))
    meta, files = {}, {}

    def shares(values: np.ndarray, levels: int) -> tuple[np.ndarray, dict[str, list[float]]]:
        low, high = values.min(axis=0), values.max(axis=0)
        steps = np.rint((values - low) / (high - low) * levels).astype(np.int64)
        return steps, {"mins": low.tolist(), "maxs": high.tolist()}

    steps, meta["means"] = shares(logs, 65535)
    files["means_l.webp"], files["means_u.webp"] = _image(steps & 255), _image(steps >> 8)
    steps, meta["scales"] = shares(np.log(found["scales"]), 255)
    files["scales.webp"] = _image(steps)
    logits = np.log(found["opacities"] / (1 - found["opacities"]))
    steps, meta["sh0"] = shares(np.concatenate([found["sh"][:, 0], logits[:, None]], axis=1), 255)
    files["sh0.webp"] = _image(steps)
    largest = np.abs(found["quaternions"]).argmax(axis=1)
    signs = np.sign(found["quaternions"][np.arange(count), largest])[:, None]
    others = (found["quaternions"] * signs)[~np.eye(4, dtype=bool)[largest]].reshape(-1, 3)
    rotations = np.rint((others * np.sqrt(2) + 1) * 127.5)
    files["quats.webp"] = _image(np.concatenate([rotations, 252 + largest[:, None]], axis=1))
    meta["quats"] = {"encoding": "quaternion_packed"}
    if cloud.degree:
        # Each Gaussian has its own entry in the palette.
        size, high = cloud.degree * (cloud.degree + 2), found["sh"][:, 1:]
        rows = -(-count // 64)
        steps = np.zeros((rows * 64, size, 3))
        steps[:count] = np.rint((high - high.min()) / np.ptp(high) * 255)
        files["shN_centroids.webp"] = _image(steps.reshape(-1, 3), 64 * size)
        labels = np.arange(count)
        files["shN_labels.webp"] = _image(np.stack([labels & 255, labels >> 8, 0 * labels], axis=1))
        meta["shN"] = {"mins": float(high.min()), "maxs": float(high.max()), "quantization": 8}
    for name, part in meta.items():
        part["files"] = [file for file in files if file.startswith(f"{name}.") or file.startswith(f"{name}_")]
    meta["means"]["shape"] = [count, 3]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _image(pixels: np.ndarray, width: int = 32) -> bytes:
    rows = -(-len(pixels) // width)
    whole = np.full((rows * width, 4), 255, np.uint8)
    whole[: len(pixels), : pixels.shape[1]] = pixels
    buffer = io.BytesIO()
    Image.fromarray(whole.reshape(rows, width, 4)).save(buffer, "WEBP", lossless=True, exact=True)
    return buffer.getvalue()


def attributes_of(cloud: Gaussians) -> dict:
    """The attributes of a primitive, for `gltf`."""
    found = arrays_of(cloud)
    sh = {
        f"SH_DEGREE_{degree}_COEF_{place}": np.ascontiguousarray(found["sh"][:, degree**2 + place])
        for degree in range(cloud.degree + 1)
        for place in range(2 * degree + 1)
    }
    quaternions = np.ascontiguousarray(found["quaternions"][:, [1, 2, 3, 0]])
    return {
        "POSITION": found["means"],
        "ROTATION": quaternions,
        "SCALE": found["scales"],
        "OPACITY": found["opacities"],
        **sh,
    }


def gltf(primitives: list[dict], nodes: list[dict], **more: object) -> dict:
    """A document of primitives, each a mesh, which are given as `attributes` and `extension`.

    The numbers lie in a data URI. An attribute is an array, or a pair of an array and whether it is normalised.
    """
    views, accessors, meshes, parts = [], [], [], b""
    for each in primitives:
        attributes = {}
        for name, values in each["attributes"].items():
            array, normalized = values if isinstance(values, tuple) else (values, False)
            views.append({"buffer": 0, "byteOffset": len(parts), "byteLength": array.nbytes})
            kind = {"f4": 5126, "i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123}[array.dtype.str[1:]]
            width = 1 if array.ndim == 1 else array.shape[1]
            accessors.append(
                {
                    "bufferView": len(views) - 1,
                    "componentType": kind,
                    "count": len(array),
                    "type": {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[width],
                    **({"normalized": True} if normalized else {}),
                }
            )
            key = name if name in ("POSITION", "COLOR_0") else f"KHR_gaussian_splatting:{name}"
            attributes[key] = len(accessors) - 1
            parts += array.tobytes() + bytes(-array.nbytes % 4)
        extension = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", **each.get("extension", {})}
        primitive = {"mode": 0, "attributes": attributes, "extensions": {"KHR_gaussian_splatting": extension}}
        meshes.append({"primitives": [primitive]})
    uri = "data:application/octet-stream;base64," + base64.b64encode(parts).decode()
    return {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": meshes,
        "buffers": [{"byteLength": len(parts), "uri": uri}],
        "bufferViews": views,
        "accessors": accessors,
        **more,
    }
