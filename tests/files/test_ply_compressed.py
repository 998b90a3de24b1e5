import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from files.clouds import random_cloud, sh_of
from splatlearn.core.geometry.harmonics import C0
from splatlearn.files import SplatFileError, read_splats, write_splats
from splatlearn.files.ply.compressed import CHUNK_NAMES, COLOR_NAMES, PACKED

BOUNDS = [-1.0, -2.0, -3.0, 1.0, 2.0, 3.0, -8.0, -7.0, -6.0, -1.0, -2.0, -3.0, 0.1, 0.2, 0.3, 0.9, 0.8, 0.7]
WORDS = [2047 << 21 | 0 << 11 | 1024, 2 << 30 | 1023 << 20 | 0 << 10 | 700, 100 << 21 | 512 << 11 | 2047,
         255 << 24 | 0 << 16 | 128 << 8 | 51]  # fmt: skip


def content(with_colors: bool = True, chunks: int = 1, sh: list[int] | None = None) -> bytes:
    """One Gaussian packed by hand."""
    names = [*CHUNK_NAMES, *COLOR_NAMES] if with_colors else CHUNK_NAMES
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in names]
    lines += ["element vertex 1", *(f"property uint {name}" for name in PACKED)]
    if sh is not None:
        lines += ["element sh 1", *(f"property uchar f_rest_{index}" for index in range(len(sh)))]
    body = struct.pack(f"<{len(names)}f", *BOUNDS[: len(names)]) * chunks + struct.pack("<4I", *WORDS)
    return ("\n".join([*lines, "end_header", ""])).encode() + body + bytes(sh or [])


def read(data: bytes, tmp_path: Path):
    path = tmp_path / "scene.compressed.ply"
    path.write_bytes(data)
    return read_splats(path)


def test_a_gaussian_packed_by_hand(tmp_path: Path) -> None:
    cloud = read(content(), tmp_path)
    torch.testing.assert_close(cloud.means, torch.tensor([[1.0, -2.0, -3.0 + 6.0 * 1024 / 2047]]))
    logs = [-8.0 + 7.0 * 100 / 2047, -7.0 + 5.0 * 512 / 1023, -3.0]
    torch.testing.assert_close(cloud.scales.log(), torch.tensor([logs]))
    w, x, z = (1023 / 1023 - 0.5) * math.sqrt(2), -0.5 * math.sqrt(2), (700 / 1023 - 0.5) * math.sqrt(2)
    expected = torch.tensor([[w, x, math.sqrt(max(0.0, 1 - w * w - x * x - z * z)), z]])
    torch.testing.assert_close(cloud.quaternions, torch.nn.functional.normalize(expected, dim=-1))
    colors = [0.9, 0.2, 0.3 + 0.4 * 128 / 255]
    torch.testing.assert_close(C0 * sh_of(cloud)[:, 0] + 0.5, torch.tensor([colors]))
    assert cloud.opacities.item() == pytest.approx(51 / 255)


def test_colours_without_bounds(tmp_path: Path) -> None:
    cloud = read(content(with_colors=False), tmp_path)
    torch.testing.assert_close(C0 * sh_of(cloud)[:, 0] + 0.5, torch.tensor([[1.0, 0.0, 128 / 255]]))


def test_harmonics_are_bytes_channel_after_channel(tmp_path: Path) -> None:
    cloud = read(content(sh=[0, 255, 128, 1, 2, 3, 4, 5, 6]), tmp_path)
    assert cloud.degree == 1
    expected = [-4.0, 4.0, ((128 + 0.5) / 256 - 0.5) * 8]
    torch.testing.assert_close(sh_of(cloud)[0, 1:, 0], torch.tensor(expected))
    torch.testing.assert_close(sh_of(cloud)[0, 1, 2].item(), ((4 + 0.5) / 256 - 0.5) * 8)


def test_rounding_is_to_the_nearest_step(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=700, degree=3)
    path = tmp_path / "scene.compressed.ply"
    write_splats(path, cloud)
    back = read_splats(path)
    # The order changed: pairs are found by the nearest position.
    order = torch.cdist(back.means, cloud.means).argmin(dim=1)
    assert len(order.unique()) == 700
    cloud = cloud.select(order)
    half = 0.5001
    assert (back.means - cloud.means).abs().max() < half * 2 / 1023
    assert (back.scales.log() - cloud.scales.log()).abs().max() < half * math.log(15) / 1023
    assert (back.opacities - cloud.opacities).abs().max() < half / 255
    assert (sh_of(back)[:, 0] - sh_of(cloud)[:, 0]).abs().max() < half * 3 / 255
    assert (sh_of(back)[:, 1:] - sh_of(cloud)[:, 1:]).abs().max() < half * 8 / 256
    assert ((back.quaternions * cloud.quaternions).sum(-1).abs() > 1 - 2e-6).all()


def test_neighbours_share_chunks(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=5000, degree=0)
    path = tmp_path / "scene.compressed.ply"
    write_splats(path, cloud)
    means = read_splats(path).means[: 5000 // 256 * 256].reshape(-1, 256, 3)
    volume = (means.amax(1) - means.amin(1)).prod(-1)
    assert volume.median() < 8 / 4


@pytest.mark.parametrize(("flat", "limit"), [(1.0, 1.9e-4), (1e-3, 9e-5)])
def test_chunks_are_compact_in_flat_scenes_and_beside_far_gaussians(
    flat: float, limit: float, tmp_path: Path, generator: torch.Generator
) -> None:
    """The errors (rms) were 2.5e-4 and 2.4e-4 along a Morton curve that had a span of its own for each axis."""
    cloud = random_cloud(generator, count=20_000, degree=0)
    cloud.means[:, 2] *= flat
    cloud.means[0] = 1000.0
    path = tmp_path / "scene.compressed.ply"
    write_splats(path, cloud)
    back = read_splats(path)
    chunks = back.means.split(256)
    near = torch.cat([chunk for chunk in chunks if (chunk < 2).all()])
    assert len(near) >= 20_000 - 256
    distances, _ = KDTree(cloud.means.numpy()).query(near.numpy())
    assert (distances**2).mean() ** 0.5 < limit


@pytest.mark.parametrize("kind", ["uint32", "int", "int32"])
def test_words_by_other_names_of_their_type(kind: str, tmp_path: Path) -> None:
    data = content(sh=list(range(9)))
    named = data.replace(b"property uint ", f"property {kind} ".encode()).replace(b"uchar", b"uint8")
    one, two = read(data, tmp_path), read(named, tmp_path)
    for name in ("means", "scales", "quaternions", "opacities", "sh"):
        assert torch.equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("encoding", ["ascii", "binary_big_endian"])
def test_other_encodings(encoding: str, tmp_path: Path) -> None:
    data = content()
    head, _, _ = data.partition(b"end_header\n")
    if encoding == "ascii":
        body = " ".join(map(str, [*BOUNDS, *WORDS])).encode()
    else:
        body = struct.pack(f">{len(BOUNDS)}f4I", *BOUNDS, *WORDS)
    one = read(data, tmp_path)
    two = read(head.replace(b"binary_little_endian", encoding.encode()) + b"end_header\n" + body, tmp_path)
    assert torch.equal(one.means, two.means) and torch.equal(sh_of(one), sh_of(two))


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_harmonics_without_properties_are_of_degree_0(rows: int, tmp_path: Path) -> None:
    data = content().replace(b"end_header", f"element sh {rows}\nend_header".encode())
    assert read(data, tmp_path).degree == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (content(chunks=2), "expected one chunk for every 256 Gaussians, got 2 for 1"),
        (content().replace(b"uint packed_scale", b"float packed_scale"), "the property packed_scale of type uint"),
        (content().replace(b"element chunk", b"element block"), "expected the elements chunk and vertex, found block"),
        (content().replace(b"float min_x", b"float min_q"), "element chunk: expected the property min_x, found none"),
        (content(sh=[1, 2, 3]), "expected 0, 9, 24, 45 or 72 properties f_rest_, got 3"),
        (content(sh=[1] * 9).replace(b"sh 1", b"sh 0")[:-9], "element sh: expected 1 rows, one for each"),
        (content()[:-1], "the file is cut off"),
    ],
)
def test_errors(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(SplatFileError, match=message):
        read(data, tmp_path)


def test_bounds_that_are_not_finite(tmp_path: Path) -> None:
    start = content().index(b"end_header\n") + len(b"end_header\n")
    for bad in (np.nan, np.inf, -np.inf):
        data = bytearray(content())
        data[start : start + 4] = struct.pack("<f", bad)
        with pytest.raises(SplatFileError, match="1 of 1 Gaussians cannot be used: 1 with NaN or infinite positions"):
            read(bytes(data), tmp_path)
