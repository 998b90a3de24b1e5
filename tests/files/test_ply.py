import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from files.clouds import random_cloud
from splatlearn.files import SplatFileError, read_splats, write_splats
from splatlearn.files.errors import Malformed
from splatlearn.files.ply import parse_ply

NAMES = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
         "rot_0", "rot_1", "rot_2", "rot_3"]  # fmt: skip
ROW = [0.5, -1.0, 2.0, 1.0, 0.0, -1.0, 0.0, -1.0, -2.0, -3.0, 2.0, 0.0, 0.0, 0.0]


def header(
    encoding: str = "binary_little_endian", kind: str = "float", count: int = 1, names: list[str] = NAMES
) -> str:
    lines = ["ply", f"format {encoding} 1.0", "comment made by hand", f"element vertex {count}"]
    return "\n".join([*lines, *(f"property {kind} {name}" for name in names), "end_header", ""])


def contents() -> dict[str, bytes]:
    """The same Gaussian in every encoding and width."""
    text = " ".join(map(str, ROW)).encode()
    shuffled = sorted(range(len(NAMES)), key=lambda index: NAMES[index][::-1])
    return {
        "little endian": header().encode() + struct.pack("<14f", *ROW),
        "big endian": header("binary_big_endian").encode() + struct.pack(">14f", *ROW),
        "double": header(kind="double").encode() + struct.pack("<14d", *ROW),
        "named by width": header(kind="float32").encode() + struct.pack("<14f", *ROW),
        "ascii": header("ascii").encode() + text + b"\n",
        "returns": header("ascii").replace("\n", "\r\n").encode() + text + b"\r\n",
        "another order": header(names=[NAMES[index] for index in shuffled]).encode()
        + struct.pack("<14f", *(ROW[index] for index in shuffled)),
        "more properties": header(names=[*NAMES, "label"]).encode() + struct.pack("<15f", *ROW, 7.0),
    }


@pytest.mark.parametrize("name", contents())
def test_every_encoding(name: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.ply"
    path.write_bytes(contents()[name])
    cloud = read_splats(path)
    torch.testing.assert_close(cloud.means, torch.tensor([[0.5, -1.0, 2.0]]))
    torch.testing.assert_close(cloud.scales, torch.tensor([[-1.0, -2.0, -3.0]]).exp())
    torch.testing.assert_close(cloud.quaternions, torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(cloud.opacities, torch.tensor([0.5]))
    torch.testing.assert_close(cloud.harmonics, torch.tensor([[[1.0, 0.0, -1.0]]]))


def test_other_elements_are_passed_over(tmp_path: Path) -> None:
    text = header().replace("element vertex", "element first 2\nproperty uchar a\nproperty short b\nelement vertex")
    text = text.replace("end_header", "element face 1\nproperty list uchar int vertex_indices\nend_header")
    path = tmp_path / "scene.ply"
    path.write_bytes(text.encode() + b"123456" + struct.pack("<14f", *ROW) + b"\x03" + struct.pack("<3i", 0, 0, 0))
    assert read_splats(path).count == 1


def test_the_layout_of_the_original_code(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=3, degree=2)
    path = tmp_path / "scene.ply"
    write_splats(cloud, path)
    head, _, body = path.read_bytes().partition(b"end_header\n")
    names = [line.split()[-1] for line in head.decode().splitlines() if line.startswith("property float")]
    rest = [f"f_rest_{index}" for index in range(24)]
    assert names == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity",
                     "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]  # fmt: skip
    rows = torch.from_numpy(np.frombuffer(body, "<f4").reshape(3, -1).copy())
    columns = dict(zip(names, rows.T, strict=True))
    torch.testing.assert_close(columns["z"], cloud.means[:, 2])
    torch.testing.assert_close(columns["opacity"], torch.logit(cloud.opacities), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(columns["scale_1"], cloud.scales[:, 1].log())
    torch.testing.assert_close(columns["rot_3"], cloud.quaternions[:, 3])
    # Channel after channel: green begins after the 8 coefficients of red.
    torch.testing.assert_close(columns["f_rest_0"], cloud.harmonics[:, 1, 0])
    torch.testing.assert_close(columns["f_rest_10"], cloud.harmonics[:, 3, 1])


def test_opacities_and_scales_at_their_ends(tmp_path: Path) -> None:
    infinite = float("inf")
    row = [0.0] * 6 + [infinite, -infinite, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0]
    path = tmp_path / "scene.ply"
    path.write_bytes(header().encode() + struct.pack("<14f", *row))
    cloud = read_splats(path)
    assert cloud.opacities.item() == 1.0 and 0 < cloud.scales[0, 0] < 1e-30
    assert cloud.quaternions.tolist() == [[1.0, 0.0, 0.0, 0.0]]
    write_splats(cloud, tmp_path / "again.ply")
    again = read_splats(tmp_path / "again.ply")
    assert again.opacities.item() == pytest.approx(1.0, abs=1e-6)


def rejected(name: str) -> tuple[bytes, str]:
    good, nan = contents()["little endian"], float("nan")
    short = [value for value in NAMES if value != "rot_2"]
    rest = [*NAMES, *(f"f_rest_{index}" for index in range(10))]
    text = header("ascii").encode()
    return {
        "cut off": (good[:-1], "element vertex: expected 1 rows of 56 bytes, got 55 in all; the file is cut off"),
        "too long": (good + b"!", "expected the file to end after its last element, got 1 more; wrong counts"),
        "no end": (good[:100], "expected a header that ends with end_header"),
        "count": (good.replace(b"vertex 1\n", b"vertex 999999999\n"), "expected 999999999 rows of 56 bytes"),
        "none": (header(count=0).encode(), "expected at least one Gaussian, got a count of 0"),
        "missing": (header(names=short).encode() + bytes(52), "expected the property rot_2, found none"),
        "rest": (header(names=rest).encode() + bytes(96), "expected 0, 9, 24, 45 or 72 properties f_rest_, got 10"),
        "nan": (header().encode() + struct.pack("<14f", nan, *ROW[1:]), "positions: expected finite numbers, got 1 of"),
        "opacity": (header().encode() + struct.pack("<14f", *ROW[:6], nan, *ROW[7:]), "opacity: expected logits"),
        "scale": (header().encode() + struct.pack("<14f", *ROW[:7], 99.0, *ROW[8:]), "scales: expected finite"),
        "line": (good.replace(b"comment", b"remark!"), "line 3 of the header: cannot make sense of 'remark! made"),
        "twice": (good.replace(b"float y", b"float x"), "line 6 of the header: cannot make sense"),
        "kind": (good.replace(b"float y", b"half y"), "line 6 of the header: cannot make sense"),
        "negative": (good.replace(b"vertex 1\n", b"vertex -1\n"), "line 4 of the header: cannot make sense"),
        "format": (good.replace(b"format", b"comment"), "expected a format line"),
        "bytes": (good.replace(b"made", b"m\xffde"), "expected a header in ASCII, got the byte 0xff"),
        "list": (
            good.replace(b"float y", b"list uchar int y"),
            "expected an element vertex of Gaussians, found no tab",
        ),
        "mesh": (
            good.replace(b"element vertex", b"element points"),
            "expected an element vertex of Gaussians, found poi",
        ),
        "words": (text + b"a" * 3 + b" 1" * 13, "element vertex: expected numbers, got could not convert"),
        "empty rows": (
            b"ply\nformat ascii 1.0\nelement vertex 9\nend_header\n",
            "expected properties, found none for 9",
        ),
    }[name]


@pytest.mark.parametrize("name", [
    "cut off", "too long", "no end", "count", "none", "missing", "rest", "nan", "opacity", "scale", "line", "twice",
    "kind", "negative", "format", "bytes", "list", "mesh", "words", "empty rows",
])  # fmt: skip
def test_errors(name: str, tmp_path: Path) -> None:
    content, message = rejected(name)
    path = tmp_path / "scene.ply"
    path.write_bytes(content)
    with pytest.raises(SplatFileError) as caught:
        read_splats(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: unreadable splat file: ")


def test_limits_on_counts(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "scene.ply"
    write_splats(random_cloud(generator, count=30, degree=0), path)
    assert read_splats(path, max_gaussians=30).count == 30
    with pytest.raises(SplatFileError, match="at most 29 Gaussians, got a count of 30; max_gaussians raises the limit"):
        read_splats(path, max_gaussians=29)


def test_whole_numbers_out_of_range() -> None:
    text = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty uchar a\nend_header\n256\n"
    with pytest.raises(Malformed, match=r"element vertex: expected whole numbers for a \(u1\), got others"):
        parse_ply(text)
    assert parse_ply(text.replace(b"256", b"255")).tables["vertex"]["a"].tolist() == [255]


def test_antialiasing_is_read_from_comments(tmp_path: Path) -> None:
    good = contents()["little endian"]
    for comment, expected in [(b"SplatRenderMode: mip", True), (b"antialiased 1", True), (b"antialiased 0", False)]:
        path = tmp_path / "scene.ply"
        path.write_bytes(good.replace(b"made by hand", comment))
        assert read_splats(path).antialiased == expected
