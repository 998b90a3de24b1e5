import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.lib.recfunctions as rfn
import pytest
import torch

from files.clouds import picture, psnr, random_cloud, sh_of
from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.ply.container import parse_ply, ply_bytes
from splatlearn.files import SplatFileError, read_splat_file, read_splats, write_splats

NAMES = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
         "rot_0", "rot_1", "rot_2", "rot_3"]  # fmt: skip
WHOLE = [3.0, -1.0, 2.0, 1.0, 0.0, -1.0, 0.0, -1.0, -2.0, -3.0, 2.0, 0.0, 0.0, 0.0]
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
        "whole numbers": header(kind="int16").encode() + struct.pack("<14h", *map(int, WHOLE)),
        "half": header(kind="float16").encode() + struct.pack("<14e", *ROW),
        "returns before bytes": header().replace("\n", "\r\n").encode() + struct.pack("<14f", *ROW),
        "returns alone": header().replace("\n", "\r").encode() + struct.pack("<14f", *ROW),
        "spaces in lines": header().replace("\n", "  \n").replace("property", " property ").encode()
        + struct.pack("<14f", *ROW),
        "a newline after the body": header().encode() + struct.pack("<14f", *ROW) + b"\n",
        "newlines after the body": header("binary_big_endian").encode() + struct.pack(">14f", *ROW) + b"\r\n\r\n",
        "a comment in UTF-8": header().replace("by hand", "für 点").encode() + struct.pack("<14f", *ROW),
        "a comment in another encoding": header().replace("by hand", "für").encode("latin-1")
        + struct.pack("<14f", *ROW),
        "a comment about the end": header().replace("by hand", "before end_header").encode()
        + struct.pack("<14f", *ROW),
        "object information": header().replace("comment made", "obj_info num_cols\nobj_info\ncomment").encode()
        + struct.pack("<14f", *ROW),
        "a mark of the byte order": b"\xef\xbb\xbf" + header("ascii").encode() + text,
    }


@pytest.mark.parametrize("name", contents())
def test_every_encoding(name: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.ply"
    path.write_bytes(contents()[name])
    cloud = read_splats(path)
    row = WHOLE if name == "whole numbers" else ROW
    torch.testing.assert_close(cloud.means, torch.tensor([row[:3]]))
    torch.testing.assert_close(cloud.scales, torch.tensor([row[7:10]]).exp())
    torch.testing.assert_close(cloud.quaternions, torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(cloud.opacities, torch.tensor([0.5]))
    torch.testing.assert_close(sh_of(cloud), torch.tensor([[[1.0, 0.0, -1.0]]]))


def test_other_elements_are_passed_over(tmp_path: Path) -> None:
    text = header().replace("element vertex", "element first 2\nproperty uchar a\nproperty short b\nelement vertex")
    text = text.replace("end_header", "element face 1\nproperty list uchar int vertex_indices\nend_header")
    path = tmp_path / "scene.ply"
    path.write_bytes(text.encode() + b"123456" + struct.pack("<14f", *ROW) + b"\x03" + struct.pack("<3i", 0, 0, 0))
    assert read_splats(path).count == 1


@pytest.mark.parametrize("encoding", ["binary_little_endian", "binary_big_endian", "ascii"])
def test_lists_before_the_gaussians_are_passed_over(encoding: str, tmp_path: Path) -> None:
    lists = "element face 3\nproperty list uchar short corners\nproperty int8 kind\nproperty list int8 float none\n"
    text = header(encoding).replace("element vertex", f"{lists}element vertex").encode()
    path = tmp_path / "scene.ply"
    rows = [(3, 7, 8, 9), (0,), (1, 5)]
    if encoding == "ascii":
        body = " ".join(" ".join(map(str, row)) + " 4 0" for row in rows).encode()
        body += (" " + " ".join(map(str, ROW))).encode()
    else:
        order = "<" if "little" in encoding else ">"
        body = b"".join(struct.pack(f"{order}B{row[0]}hbb", *row, 4, 0) for row in rows)
        body += struct.pack(f"{order}14f", *ROW)
    path.write_bytes(text + body)
    torch.testing.assert_close(read_splats(path).means, torch.tensor([ROW[:3]]))
    path.write_bytes(text + (b"99" if encoding == "ascii" else b"\x63") + body[1:])
    with pytest.raises(SplatFileError, match="element face: expected lists within the file; it is cut off"):
        read_splats(path)


def test_2d_gaussians_are_flat(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=40, degree=1)
    path = tmp_path / "scene.ply"
    write_splats(path, cloud)
    ply = parse_ply(path.read_bytes()).tables["vertex"]
    kept = [name for name in ply.dtype.names or () if name != "scale_2"]
    path.write_bytes(ply_bytes({"vertex": rfn.repack_fields(ply[kept])}, []))
    flat = read_splats(path)
    torch.testing.assert_close(flat.scales[:, :2], cloud.scales[:, :2])
    assert (flat.scales[:, 2] > 0).all() and (flat.scales[:, 2] < 1e-30).all()
    assert flat.primitive == "surfel"
    write_splats(tmp_path / "again.ply", flat)
    again = read_splats(tmp_path / "again.ply")
    assert again.primitive == "surfel"
    assert (
        b"scale_1" in (tmp_path / "again.ply").read_bytes() and b"scale_2" not in (tmp_path / "again.ply").read_bytes()
    )
    for name, each in again.tensors().items():
        torch.testing.assert_close(each, flat.tensors()[name])
    # Other formats hold Gaussians: the picture is that of discs of hardly any thickness.
    thin = replace(cloud, scales=cloud.scales * torch.tensor([1.0, 1.0, 1e-4]))
    assert psnr(picture(flat.flattened()), picture(thin)) > 40
    for name in ("a.compressed.ply", "a.spz", "a.sog"):
        write_splats(tmp_path / name, flat)
        assert read_splats(tmp_path / name).primitive == "gaussian"
        assert psnr(picture(read_splats(tmp_path / name)), picture(flat.flattened())) > 40


@pytest.mark.parametrize(("kind", "color"), [("B", (255, 51, 0)), ("f", (1.0, 0.2, 0.0))])
def test_colours_in_place_of_harmonics(kind: str, color: tuple[float, ...], tmp_path: Path) -> None:
    names = ["red" if name == "f_dc_0" else "green" if name == "f_dc_1" else "blue" if name == "f_dc_2" else name
             for name in NAMES]  # fmt: skip
    text = header(names=names)
    for name in ("red", "green", "blue") if kind == "B" else ():
        text = text.replace(f"float {name}", f"uchar {name}")
    path = tmp_path / "scene.ply"
    path.write_bytes(text.encode() + struct.pack(f"<3f3{kind}8f", *ROW[:3], *color, *ROW[6:]))
    seen = read_splats(path).colors_seen(torch.ones(1, 3))
    torch.testing.assert_close(seen, torch.tensor([[1.0, 0.2, 0.0]]), atol=1e-6, rtol=0)


def test_invalid_rows_are_named_or_dropped(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=20, degree=1)
    path = tmp_path / "scene.ply"
    write_splats(path, cloud)
    start = path.read_bytes().index(b"end_header\n") + 11
    rows = np.frombuffer(path.read_bytes(), "<f4", offset=start).reshape(20, -1).copy()
    names = list(parse_ply(path.read_bytes()).tables["vertex"].dtype.names or ())
    for row, name, value in [
        (3, "x", np.nan), (5, "z", np.inf), (5, "opacity", np.nan), (6, "f_rest_4", -np.inf), (8, "scale_1", 99.0),
        (9, "rot_2", np.nan),
    ]:  # fmt: skip
        rows[row, names.index(name)] = value
    rows[11:13, names.index("rot_0") :] = 0.0
    path.write_bytes(path.read_bytes()[:start] + rows.tobytes())
    with pytest.raises(SplatFileError) as caught:
        read_splats(path)
    assert str(caught.value).endswith(
        "7 of 20 Gaussians cannot be used: 2 with NaN or infinite positions, the first at index 3; "
        "1 with NaN or infinite scales, the first at index 8; 1 with NaN or infinite rotations, the first at index 9; "
        "2 without a rotation (four zeros), the first at index 11; 1 with NaN opacities, the first at index 5; "
        "1 with NaN or infinite colours, the first at index 6; drop_invalid=True drops them"
    )
    found = read_splat_file(path, drop_invalid=True)
    kept = found.gaussians
    left = [index for index in range(20) if index not in (3, 5, 6, 8, 9, 11, 12)]
    assert found.dropped == 7 and found.count == kept.count == 13
    torch.testing.assert_close(kept.means, cloud.means[left])
    torch.testing.assert_close(sh_of(kept), sh_of(cloud)[left])
    # Opacities that are logits of 0 and 1, and scales of nothing, are no fault.
    rows = rows[left]
    rows[0, names.index("opacity")], rows[1, names.index("scale_0")] = np.inf, -np.inf
    path.write_bytes(path.read_bytes()[:start].replace(b"vertex 20", b"vertex 13") + rows.tobytes())
    assert read_splat_file(path).dropped == 0
    rows[:, names.index("rot_0") :] = 0.0
    path.write_bytes(path.read_bytes()[:start] + rows.tobytes())
    with pytest.raises(SplatFileError, match=r"13 of 13 Gaussians cannot be used: 13 without a rotation .* index 0$"):
        read_splats(path, drop_invalid=True)


def test_the_layout_of_the_original_code(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=3, degree=2)
    path = tmp_path / "scene.ply"
    write_splats(path, cloud)
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
    torch.testing.assert_close(columns["f_rest_0"], sh_of(cloud)[:, 1, 0])
    torch.testing.assert_close(columns["f_rest_10"], sh_of(cloud)[:, 3, 1])


def test_opacities_and_scales_at_their_ends(tmp_path: Path) -> None:
    infinite = float("inf")
    row = [0.0] * 6 + [infinite, -infinite, -1.0, -1.0, 2.0, 0.0, 0.0, 0.0]
    path = tmp_path / "scene.ply"
    path.write_bytes(header().encode() + struct.pack("<14f", *row))
    cloud = read_splats(path)
    assert cloud.opacities.item() == 1.0 and 0 < cloud.scales[0, 0] < 1e-30
    assert cloud.quaternions.tolist() == [[1.0, 0.0, 0.0, 0.0]]
    write_splats(tmp_path / "again.ply", cloud)
    again = read_splats(tmp_path / "again.ply")
    assert again.opacities.item() == pytest.approx(1.0, abs=1e-6)


def rejected(name: str) -> tuple[bytes, str]:
    good, nan = contents()["little endian"], float("nan")
    short = [value for value in NAMES if value != "rot_2"]
    rest = [*NAMES, *(f"f_rest_{index}" for index in range(10))]
    text = header("ascii").encode()
    return {
        "cut off": (good[:-1], "element vertex: expected 1 rows of 56 bytes, got 55 in all; the file is cut off"),
        "too long": (
            good + b"!",
            "expected the file to end after its last element, got 1 more bytes; the file is damaged",
        ),
        "no end": (good[:100], "expected a header that ends with end_header"),
        "count": (good.replace(b"vertex 1\n", b"vertex 999999999\n"), "expected 999999999 rows of 56 bytes"),
        "none": (header(count=0).encode(), "expected at least one Gaussian, got a count of 0"),
        "missing": (header(names=short).encode() + bytes(52), "expected the property rot_2, found none"),
        "rest": (header(names=rest).encode() + bytes(96), "expected 0, 9, 24, 45 or 72 properties f_rest_, got 10"),
        "nan": (header().encode() + struct.pack("<14f", nan, *ROW[1:]), "1 of 1 Gaussians cannot be used: 1 with NaN"),
        "line": (good.replace(b"comment", b"remark!"), "line 3 of the header: cannot make sense of 'remark! made"),
        "twice": (good.replace(b"float y", b"float x"), "line 6 of the header: cannot make sense"),
        "kind": (good.replace(b"float y", b"quad y"), "line 6 of the header: cannot make sense"),
        "negative": (good.replace(b"vertex 1\n", b"vertex -1\n"), "line 4 of the header: cannot make sense"),
        "format": (good.replace(b"format", b"comment"), "expected a format line"),
        "bytes": (
            good.replace(b"float y", b"fl\xffat y"),
            "line 6 of the header: cannot make sense of 'property flÿat y'",
        ),
        "points": (
            header("ascii", names=["x", "y", "z", "red"]).encode() + b"1 2 3 4",
            "expected Gaussians, got points without extents: element vertex has x, y, z, red",
        ),
        "list": (
            good.replace(b"float y", b"list uchar int y"),
            "expected an element vertex of Gaussians, found no tab",
        ),
        "mesh": (
            good.replace(b"element vertex", b"element points"),
            "expected an element vertex of Gaussians, found poi",
        ),
        "words": (text + b"a" * 3 + b" 1" * 13, "element vertex: expected numbers, got could not convert"),
        "empty rows": (b"ply\nformat ascii 1.0\nelement vertex 9\nend_header\n", "expected the property x, found none"),
        "lists of words": (
            good.replace(b"element", b"element face 1\nproperty list float int a\nelement"),
            "line 5 of the header: cannot make sense of 'property list float int a'",
        ),
    }[name]


@pytest.mark.parametrize("name", [
    "cut off", "too long", "no end", "count", "none", "missing", "rest", "nan", "line", "twice", "kind", "negative",
    "format", "bytes", "points", "list", "mesh", "words", "empty rows", "lists of words",
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
    write_splats(path, random_cloud(generator, count=30, degree=0))
    assert read_splats(path, max_gaussians=30).count == 30
    with pytest.raises(SplatFileError, match="at most 29 Gaussians, got a count of 30; max_gaussians raises the limit"):
        read_splats(path, max_gaussians=29)


def test_whole_numbers_out_of_range() -> None:
    text = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty uchar a\nend_header\n256\n"
    with pytest.raises(Malformed, match=r"element vertex: expected whole numbers for a \(u1\), got others"):
        parse_ply(text)
    assert parse_ply(text.replace(b"256", b"255")).tables["vertex"]["a"].tolist() == [255]


def test_numbers_as_c_libraries_write_them() -> None:
    text = b"ply\nformat ascii 1.0\nelement vertex 4\nproperty float a\nend_header\n-nan(ind) NAN inf -1e3\n"
    values = parse_ply(text).tables["vertex"]["a"]
    assert np.isnan(values[:2]).all() and values[2:].tolist() == [np.inf, -1000.0]
    with pytest.raises(Malformed, match="element vertex: expected numbers, got could not convert"):
        parse_ply(text.replace(b"NAN", b"nano"))


def test_antialiasing_is_read_from_comments(tmp_path: Path) -> None:
    good = contents()["little endian"]
    for comment, expected in [(b"SplatRenderMode: mip", True), (b"antialiased 1", True), (b"antialiased 0", False)]:
        path = tmp_path / "scene.ply"
        path.write_bytes(good.replace(b"made by hand", comment))
        assert read_splat_file(path).antialiased == expected


def test_a_comment_says_what_positions_are_relative_to(tmp_path: Path, generator: torch.Generator) -> None:
    path, offset = tmp_path / "far.ply", (451_200.125, -5_412_345.6789, 300.0)
    write_splats(path, random_cloud(generator, 5, 0), offset=offset)
    assert read_splat_file(path).offset == offset
    # In the axes that are asked for: y and z are flipped.
    assert read_splat_file(path, frame="RUB").offset == (offset[0], -offset[1], -offset[2])
    write_splats(path, random_cloud(generator, 5, 0), offset=offset, frame="RUB", stored_frame="RFU")
    assert b"comment world offset 451200.125 -300 -5412345.6" in path.read_bytes()
    write_splats(path, random_cloud(generator, 5, 0))
    assert b"offset" not in path.read_bytes() and read_splat_file(path).offset == (0, 0, 0)


@pytest.mark.parametrize("words", ["1 2", "1 2 x", "1 2 nan"])
def test_an_offset_without_three_numbers_is_refused(words: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.ply"
    path.write_bytes(header("ascii").replace("made by hand", f"world offset {words}").encode() + b"1 " * 14)
    with pytest.raises(SplatFileError, match="comment world offset: expected"):
        read_splat_file(path)


def test_formats_without_a_place_for_an_offset_refuse_one(tmp_path: Path, generator: torch.Generator) -> None:
    with pytest.raises(
        InputError, match="offset: expected finite numbers and one of the formats tensors, compressed-ply, ply"
    ):
        write_splats(tmp_path / "far.spz", random_cloud(generator, 5, 0), offset=(1.0, 0.0, 0.0))
    assert not (tmp_path / "far.spz").exists()
