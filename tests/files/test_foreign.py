"""Files of other formats are refused with a sentence that names them."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatlearn.files import SplatFileError, read_splats

CONVERT = "; convert it to PLY, SPZ or SOG first, for example with PlayCanvas' splat-transform"


def splat_rows(count: int = 7) -> bytes:
    """Rows of .splat: positions, scales, colour and rotation."""
    rng = np.random.default_rng(0)
    floats = np.concatenate([rng.normal(size=(count, 3)), rng.uniform(0.01, 0.1, (count, 3))], axis=1)
    return b"".join(row.astype("<f4").tobytes() + rng.bytes(8) for row in floats)


def ksplat() -> bytes:
    head = struct.pack("<BBxx4I", 0, 1, 1, 1, 4, 4).ljust(4096, b"\0")
    return head + bytes(1024) + bytes(4 * 44)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


GLTF = json.dumps({"accessors": ["x" * 5000], "asset": {"version": "2.0"}}).encode()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n"
FILES: dict[str, tuple[str, bytes, str]] = {
    ".splat": ("scene.splat", splat_rows(), f"a .splat file (antimatter15){CONVERT}"),
    ".splat by another name": ("scene.ply", splat_rows(3), f"a .splat file (antimatter15){CONVERT}"),
    ".ksplat": ("scene.ksplat", ksplat(), f"a .ksplat file (GaussianSplats3D){CONVERT}"),
    "binary glTF": ("scene.glb", b"glTF" + struct.pack("<2I", 2, 12), f"a binary glTF file{CONVERT}"),
    "glTF": ("scene.gltf", GLTF, f"a glTF file{CONVERT}"),
    "JSON": ("scene.json", b'{"scene": 1}', "a JSON file"),
    "pointer": ("scene.ply", POINTER, "a Git LFS pointer instead of the file; `git lfs pull` fetches it"),
    "page": ("scene.ply", b"\n<!DOCTYPE html><html>404</html>", "an HTML page, perhaps of a failed download"),
    "text": ("scene.splat", b"404: Not Found", "a text that begins with '404: Not Found'"),
    "long text": ("scene.ply", "é".encode() * 5000, "a text that begins with 'éé"),
    "mesh": ("scene.obj", b"v 0 0 0\nf 1 1 1\n", "an OBJ mesh"),
    "image": ("scene.sog", png(), "a PNG image"),
    "nothing": ("scene.ply", b"", "an empty file"),
    "bytes": ("scene.spz", bytes(range(40)), "a file that begins with b'\\x00\\x01"),
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_named(name: str, tmp_path: Path) -> None:
    file, content, kind = FILES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(SplatFileError) as caught:
        read_splats(tmp_path / file)
    assert caught.value.reason.startswith(f"expected PLY, SPZ or SOG, got {kind}")
