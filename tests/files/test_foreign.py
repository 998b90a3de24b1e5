"""Files of other formats are refused with a sentence that names them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatlearn.files import SplatFileError, read_splats


def splat_rows(count: int = 7) -> bytes:
    """Rows of .splat: positions, scales, colour and rotation."""
    rng = np.random.default_rng(0)
    floats = np.concatenate([rng.normal(size=(count, 3)), rng.uniform(0.01, 0.1, (count, 3))], axis=1)
    return b"".join(row.astype("<f4").tobytes() + rng.bytes(8) for row in floats)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n"
FILES: dict[str, tuple[str, bytes, str]] = {
    ".splat by another name": (
        "scene.ply",
        splat_rows(3),
        "what looks like .splat (antimatter15), which has no header; let its name end in .splat",
    ),
    "JSON": ("scene.json", b'{"scene": 1}', "a JSON file"),
    "pointer": ("scene.ply", POINTER, "a Git LFS pointer instead of the file; `git lfs pull` fetches it"),
    "page": ("scene.ply", b"\n<!DOCTYPE html><html>404</html>", "an HTML page, perhaps of a failed download"),
    "text": ("scene.txt", b"404: Not Found", "a text that begins with '404: Not Found'"),
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
    assert caught.value.reason.startswith(f"expected a splat file, got {kind}")
