import gzip
import math
import struct
from pathlib import Path

import pyarrow
import pytest
import torch

from files.clouds import random_cloud, sh_of
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import SplatFileError, read_splat_file, read_splats, write_splats
from splatlearn.files.spz.container import SpzVersion
from splatlearn.files.spz.numbers import SPZ_FRAMES

POSITION = struct.pack("<i", 3 << 10)[:3] + struct.pack("<i", -5)[:3] + struct.pack("<i", -(1 << 23))[:3]
QUARTER = 200
ROTATION = 3 << 30 | 511 << 20 | (512 + QUARTER) << 10 | 0  # x positive, y negative, z zero, w the largest


def parts(version: int = 3, harmonics: bytes = bytes(range(9))) -> list[bytes]:
    """One Gaussian packed by hand: positions, opacities, colours, scales, rotations, harmonics."""
    rotation = bytes([255, 128, 64]) if version == 2 else struct.pack("<I", ROTATION)
    return [POSITION, bytes([51]), bytes([0, 128, 255]), bytes([0, 160, 255]), rotation, harmonics]


def head(version: int, count: int = 1, degree: int = 1, bits: int = 10, flags: int = 0, streams: int = 0) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, bits, flags, streams)


def content(
    version: int = 3, extensions: bytes = b"", header: bytes = b"", streams: list[bytes] | None = None
) -> bytes:
    flags = 2 if extensions else 0
    pieces = parts(version)
    if version < 4:
        return gzip.compress((header or head(version, flags=flags)) + b"".join(pieces) + extensions, mtime=0)
    small = [pyarrow.compress(piece, codec="zstd", asbytes=True) for piece in pieces] if streams is None else streams
    toc = b"".join(struct.pack("<QQ", len(after), len(before)) for after, before in zip(small, pieces, strict=True))
    start = (header or head(4, flags=flags, streams=6)) + struct.pack("<I12x", 32 + len(extensions))
    return start + extensions + toc + b"".join(small)


def read(data: bytes, tmp_path: Path, frame: str = "RUB", **options) -> Gaussians:
    path = tmp_path / "scene.spz"
    path.write_bytes(data)
    return read_splats(path, frame=frame, **options)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_gaussian_packed_by_hand(version: int, tmp_path: Path) -> None:
    cloud = read(content(version), tmp_path)
    torch.testing.assert_close(cloud.means, torch.tensor([[3.0, -5 / 1024, -(2.0**13)]]))
    torch.testing.assert_close(cloud.scales.log(), torch.tensor([[-10.0, 0.0, 255 / 16 - 10]]))
    assert cloud.opacities.item() == pytest.approx(51 / 255)
    torch.testing.assert_close(sh_of(cloud)[0, 0], torch.tensor([-0.5 / 0.15, (128 / 255 - 0.5) / 0.15, 0.5 / 0.15]))
    # Channels vary fastest.
    torch.testing.assert_close(sh_of(cloud)[0, 1:].flatten(), (torch.arange(9.0) - 128) / 128)
    if version == 2:
        x, y, z = 1.0, 128 / 127.5 - 1, 64 / 127.5 - 1
    else:
        x, y, z = math.sqrt(0.5), -math.sqrt(0.5) * QUARTER / 511, 0.0
    w = math.sqrt(max(0.0, 1 - x * x - y * y - z * z))
    expected = torch.nn.functional.normalize(torch.tensor([[w, x, y, z]]), dim=-1)
    torch.testing.assert_close(cloud.quaternions, expected)


@pytest.mark.parametrize("version", [2, 3])
def test_content_without_compression(version: int, tmp_path: Path) -> None:
    data = gzip.decompress(content(version))
    one, two = read(content(version), tmp_path), read(data, tmp_path)
    assert torch.equal(one.means, two.means) and torch.equal(sh_of(one), sh_of(two))
    for broken, message in [(data[:-1], "got 28; the file is cut off"), (data + b"!", "got more; the count is wrong")]:
        with pytest.raises(SplatFileError, match=message.replace("28", str(len(broken) - 16))):
            read(broken, tmp_path)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_white_space_at_the_end_is_passed_over(version: int, tmp_path: Path) -> None:
    for data in (content(version), gzip.decompress(content(version)) if version < 4 else content(4)):
        assert torch.equal(read(data + b"\r\n", tmp_path).means, read(data, tmp_path).means)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("degree", range(5))
def test_rounding_is_to_the_nearest_step(
    version: SpzVersion, degree: int, tmp_path: Path, generator: torch.Generator
) -> None:
    cloud = random_cloud(generator, degree=degree)
    path = tmp_path / "scene.spz"
    write_splats(path, cloud, spz_version=version)
    back = read_splats(path)
    half = 0.5001
    assert (back.means - cloud.means).abs().max() < half * 2.0**-20
    assert (back.scales.log() - cloud.scales.log()).abs().max() < half / 16
    assert (back.opacities - cloud.opacities).abs().max() < half / 255
    assert (sh_of(back)[:, 0] - sh_of(cloud)[:, 0]).abs().max() < half / 255 / 0.15
    if degree:
        assert (sh_of(back)[:, 1:] - sh_of(cloud)[:, 1:]).abs().max() < half / 128
    closeness = (back.quaternions * cloud.quaternions).sum(-1).abs().min()
    # In version 2 w follows from x, y, z: where it is small, their rounding is magnified.
    assert closeness > (1 - 1e-2 if version == 2 else 1 - 2e-6)


def test_far_positions_take_bits_from_the_fraction(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=4)
    cloud.means[:] *= 5000 / cloud.means.abs().max()
    path = tmp_path / "scene.spz"
    write_splats(path, cloud)
    assert (read_splats(path).means - cloud.means).abs().max() <= 0.5 * 2.0**-10 + 1e-3
    cloud.means[0, 0] = 1e7
    with pytest.raises(ValueError, match=r"means: expected coordinates within ±8388607 for SPZ, got ±1e\+07"):
        write_splats(path, cloud)


def test_the_frame_is_right_up_back(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator)
    path = tmp_path / "scene.spz"
    write_splats(path, cloud)
    raw = read_splats(path, frame="RUB")
    torch.testing.assert_close(raw.means, cloud.means * torch.tensor([1.0, -1, -1]), atol=1e-6, rtol=0)
    # Some writers leave the frame of their PLY file in.
    write_splats(path, cloud, stored_frame="RDF")
    torch.testing.assert_close(read_splats(path, stored_frame="RDF").means, cloud.means, atol=1e-6, rtol=0)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(("number", "frame"), [(6, "RDF"), (10, "RFD"), (0, "RUB")])
def test_an_extension_names_the_frame(version: int, number: int, frame: str, tmp_path: Path) -> None:
    other = struct.pack("<II", 0xADBE0002, 12) + bytes(12)
    data = content(version, extensions=other + struct.pack("<III", 0xADBE0003, 4, number))
    plain = read(content(version), tmp_path)
    named = read(data, tmp_path, frame=frame)
    torch.testing.assert_close(named.means, plain.means)
    assert (SPZ_FRAMES[number] or "RUB") == frame == read_splat_file(tmp_path / "scene.spz").frame
    # What the caller says weighs more.
    torch.testing.assert_close(read(data, tmp_path, stored_frame="RUB").means, plain.means)
    assert read_splat_file(tmp_path / "scene.spz", stored_frame="RUB").frame == "RUB"


def test_antialiasing_is_a_flag(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "scene.spz"
    write_splats(path, random_cloud(generator), antialiased=True, spz_version=4)
    assert read_splat_file(path).antialiased and path.read_bytes()[14] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (content(3)[:-1], "the file is cut off"),
        (content(3)[:-20], "the file is cut off"),
        (content(3)[:5], "expected a header of 16 bytes, got 0"),
        (content(3) + b"!", "got more; the count is wrong"),
        (b"\x1f\x8b" + bytes(30), "gzip stream: Error -3"),
        (content(header=head(5)), "expected SPZ of one of the versions 1, 2, 3, 4, got version 5"),
        (content(header=head(0)), "expected SPZ of one of the versions 1, 2, 3, 4, got version 0"),
        (content(header=head(3, count=0)), "expected at least one Gaussian, got a count of 0"),
        (content(header=head(3, count=2)), "expected 58 bytes after the header, got 29; the file is cut off"),
        (content(header=head(3, degree=0)), "expected 20 bytes after the header, got more"),
        (content(header=head(3, degree=5)), "expected harmonics of degree 0 to 4, got 5"),
        (content(header=head(3, bits=32)), "expected 0 to 31 fractional bits of positions, got 32"),
        (content(header=head(3, count=2**32 - 1)), "at most 20000000 Gaussians, got a count of 4294967295"),
        (content(header=head(3, count=19_999_999)), "gzip stream: expected at most 1024 bytes from each byte"),
        (content(header=b"ABCD" + head(3)[4:]), "got gzip with content that begins with b'ABCD"),
        (content(4)[:-1], "the file is cut off or its table is wrong"),
        (content(4)[:20], "expected a header of 32 bytes, got 20"),
        (content(4, header=head(4, streams=5)), "expected a table of 6 streams within the file, got 5 at byte 32"),
        (content(4, header=head(4, degree=2, streams=6)), "stream 5: expected 24 bytes for 1 Gaussians, got 9"),
        (content(4, header=head(4, count=2, streams=6)), "stream 0: expected 18 bytes for 2 Gaussians, got 9"),
        (content(4, streams=[b"junk"] * 6), "stream 0: ZSTD decompress failed"),
        (content(4, streams=[pyarrow.compress(b"x" * size, codec="zstd", asbytes=True) for size in range(9, 15)]),
         "stream 1: expected 1 bytes, got more"),
        (content(3, extensions=struct.pack("<III", 0xADBE0003, 4, 17)), "expected the number of a frame, got 17"),
        (content(4, extensions=struct.pack("<II", 7, 99)), "extension 0x7: expected 99 bytes, got 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_errors(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(SplatFileError) as caught:
        read(data, tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("version", [3, 4])
def test_harmonics_that_are_all_zero_take_a_few_bytes(
    tmp_path: Path, generator: torch.Generator, version: SpzVersion
) -> None:
    cloud = random_cloud(generator, 4000, 0).with_degree(3)
    write_splats(tmp_path / "scene.spz", cloud, spz_version=version)
    found = sh_of(read_splats(tmp_path / "scene.spz"))
    assert found.shape == (4000, 16, 3) and not found[:, 1:].any()


def test_a_small_file_that_unpacks_to_a_large_one(tmp_path: Path) -> None:
    bomb = gzip.compress(head(3, count=1000, degree=0) + bytes(50_000_000))
    with pytest.raises(SplatFileError, match="expected 20000 bytes after the header, got more"):
        read(bomb, tmp_path)


@pytest.mark.usefixtures("no_shape_checks")
def test_versions_that_cannot_be_written(tmp_path: Path, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="spz_version: expected one of 2, 3, 4, got 5"):
        write_splats(tmp_path / "a.spz", random_cloud(generator), spz_version=5)  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())
