"""Written files stay what they are: hashes of their bytes, behind compressors whose versions may differ."""

import gzip
import hashlib
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image

from splatlearn.core.gaussians import Gaussians
from splatlearn.files import write_splats
from splatlearn.files.formats import files_beside
from splatlearn.files.spz.container import SpzVersion

HASHES: dict[tuple[str, SpzVersion], str] = {
    ("a.ply", 3): "d660b2628ed8fcd3",
    ("a.compressed.ply", 3): "b0dbe66b6345eee9",
    ("a.spz", 2): "9cfaab5df63e27db",
    ("a.spz", 3): "386bef1e126b6d9c",
    ("a.spz", 4): "79f45fbf215f5a0d",
    ("a.sog", 3): "b330532bbd075853",
    ("a.glb", 3): "58417528d40ac602",
    ("a.gltf", 3): "ca32b25db87ca54e",
    ("a.splat", 3): "c8c42b9c2ca6fc7f",
    ("a.sl3", 3): "0630c6765b5d0b3b",
    ("splats.json", 3): "9497ecbefe25c32c",
}


def scene() -> Gaussians:
    """Eight Gaussians of numbers that float32 holds exactly, and none of which lies near the middle of two steps."""
    steps = torch.arange(24.0).reshape(8, 3)
    quaternions = torch.nn.functional.one_hot(torch.arange(8) % 4, 4).float()
    harmonics = (torch.arange(96.0).reshape(8, 4, 3) % 17 - 8) / 32
    return Gaussians(steps / 8, 0.25 + steps / 32, quaternions, torch.arange(1, 9) / 16, sh=harmonics)


def unpacked(path: Path) -> bytes:
    """The content of a file without what a compressor does to it."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:5] == b"NGSP\4":
        sizes = [struct.unpack_from("<QQ", data, 32 + 16 * index) for index in range(data[15])]
        offset, parts = 32 + 16 * len(sizes), [data[:32]]
        for packed, size in sizes:
            parts.append(pyarrow.decompress(data[offset : offset + packed], size, codec="zstd", asbytes=True))
            offset += packed
        return b"".join(parts)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        return b"".join(_pixels(each) if name.endswith(".webp") else each for name, each in members.items())
    if data[:3] == b"SL3":
        (length,) = struct.unpack_from("<I", data, 4)
        header = json.loads(data[8 : 8 + length])
        model, _ = header.pop("sections")["model"]
        start = 8 + length
        return json.dumps(header).encode() + zlib.decompress(data[start : start + model]) + data[start + model :]
    return data


def _pixels(image: bytes) -> bytes:
    return np.asarray(Image.open(io.BytesIO(image))).tobytes()


@pytest.mark.parametrize(("name", "version"), HASHES)
def test_the_bytes_stay_what_they_are(name: str, version: SpzVersion, tmp_path: Path) -> None:
    path = tmp_path / name
    write_splats(path, scene().with_degree(0) if name.endswith(".splat") else scene(), spz_version=version)
    content = b"".join(unpacked(each) for each in (path, *files_beside(path)) if each.is_file())
    assert hashlib.sha256(content).hexdigest()[:16] == HASHES[name, version]
