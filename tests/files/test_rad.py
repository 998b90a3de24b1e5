"""The format .rad of Spark 2, which is only read."""

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from files.clouds import random_cloud, sh_of
from files.rad_files import CHOICES, described, rad, rad_parts
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import SplatFileError, read_splat_file

BITS = {"usual": 8, "floats": 24, "halves": 11, "bytes": 8}


def angles(one: Gaussians, two: Gaussians) -> torch.Tensor:
    """Between rotations, radians."""
    return 2 * (one.quaternions * two.quaternions).sum(dim=1).abs().clamp(max=1).acos()


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("degree", [0, 3])
def test_every_encoding(choice: str, degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 300, degree)
    path = tmp_path / "scene.rad"
    path.write_bytes(rad(cloud, choice, compression=choice != "floats"))
    found = read_splat_file(path)
    assert (found.format, found.frame, found.count, found.degree) == ("rad", "RDF", 300, degree)
    back, chosen = found.gaussians, CHOICES[choice]
    exact = chosen["center"].startswith("f32")
    torch.testing.assert_close(back.means, cloud.means, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-4)
    # Half a step of bytes, or half floats.
    widths = {"f32": 1e-6, "f16": 5e-4, "r8": 0.51 / 255}
    torch.testing.assert_close(back.opacities, cloud.opacities, rtol=0, atol=widths[chosen["alpha"]])
    logs = cloud.scales.log()
    width = {"f32": 1e-5, "ln_f16": 5e-3, "ln_0r8": 0.51 / 254 * float(logs.max() - logs.min())}[chosen["scales"]]
    assert (back.scales.log() - logs).abs().max() <= width
    high, wanted = sh_of(back), sh_of(cloud)
    range_of = max(1.0, float(wanted[:, 1:].abs().max()) if degree else 1.0)
    step = {"f": 1e-5, "h": 2e-3, "u": 0.51 / 127 * range_of, "b": 0.51 / 127 * range_of}[choice[0]]
    assert degree == 0 or (high[:, 1:] - wanted[:, 1:]).abs().max() <= step
    color = wanted[:, 0]
    step = {"f": 1e-5, "h": 5e-3, "u": 0.51 / 255, "b": 0.51 / 255}[choice[0]] * float(color.max() - color.min() + 1)
    assert (high[:, 0] - color).abs().max() <= step
    # Bytes of the octahedron: two hundredths of a radian or so.
    assert angles(back, cloud).max() < {"f": 3e-3, "h": 0.1, "u": 0.03, "b": 0.03}[choice[0]]


def test_a_tree_of_detail_gives_its_leaves(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 300, 1)
    one, two = tmp_path / "tree.rad", tmp_path / "plain.rad"
    one.write_bytes(rad(cloud, "floats", tree=True))
    two.write_bytes(rad(cloud, "floats"))
    for name, each in read_splat_file(one).gaussians.tensors().items():
        assert torch.equal(each, read_splat_file(two).gaussians.tensors()[name]), name


def test_harmonics_of_a_codebook(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 300, 2)
    path = tmp_path / "scene.rad"
    path.write_bytes(rad(cloud, "floats", codes=True))
    assert torch.equal(sh_of(read_splat_file(path).gaussians)[:, 1:], sh_of(cloud)[:, 1:])
    good, labels = rad(cloud, "floats", codes=True, compression=False), np.arange(256, 300, dtype="<u2")
    path.write_bytes(good.replace(labels.tobytes(), (labels + 1).tobytes()))
    with pytest.raises(SplatFileError, match="sh_label: expected numbers below 300, the size of the codebook, got 300"):
        read_splat_file(path)
    path.write_bytes(good.replace(b'"sh1_code"', b'"xx1_code"'))
    with pytest.raises(SplatFileError, match="sh_label: expected numbers below 0, the size of the codebook, got"):
        read_splat_file(path)


def test_chunks_in_files_beside_it_and_alone(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 300, 1)
    header, chunks = rad_parts(cloud, "floats")
    places = [{"offset": 0, "bytes": len(each), "filename": f"s-{index}.radc"} for index, each in enumerate(chunks)]
    for place, content in zip(places, chunks, strict=True):
        (tmp_path / str(place["filename"])).write_bytes(content)
    path = tmp_path / "s.rad"
    path.write_bytes(described(b"RAD0", header | {"chunks": places}))
    assert torch.equal(read_splat_file(path).gaussians.means, cloud.means)
    assert torch.equal(read_splat_file(tmp_path / "s-1.radc").gaussians.means, cloud.means[128:256])
    (tmp_path / "other").write_bytes(path.read_bytes())
    with pytest.raises(SplatFileError, match=r"expected a name that ends in \.rad, since the chunks lie in files"):
        read_splat_file(tmp_path / "other")
    (tmp_path / "s-2.radc").unlink()
    with pytest.raises(SplatFileError, match=r"expected the chunk 's-2\.radc' beside it, found none"):
        read_splat_file(path)
    for name in ("../s-1.radc", "/etc/passwd", "a\\b", "..", ""):
        path.write_bytes(described(b"RAD0", header | {"chunks": [{"offset": 0, "bytes": 8, "filename": name}]}))
        with pytest.raises(SplatFileError, match="filename: expected the name of a file in the same folder"):
            read_splat_file(path)


def test_what_does_not_fit_together(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 300, 1)
    path, good = tmp_path / "scene.rad", rad(cloud, "usual", compression=False)
    for old, new, message in [
        (b'"version": 1, "type"', b'"version": 7, "type"', "the description: expected version 1, got 7"),
        (b'"gsplat"', b'"tsplat"', "expected the type 'gsplat', got 'tsplat'"),
        (b'"count": 300', b'"count": 299', "chunk 2: expected 299 Gaussians in all chunks, got more"),
        (b'"count": 128', b'"count": 127', "chunk 1: expected the Gaussians from 127 on, got from 128"),
        (b'"base": 128', b'"base": 129', "chunk 1: expected the Gaussians from 128 on, got from 129"),
        (b'"property": "alpha"', b'"property": "alfha"', "expected the property 'alpha' in every chunk"),
        (b'"encoding": "f16"', b'"encoding": "f99"', "alpha: expected an encoding of f32, f16, r8, got 'f99'"),
        (
            b'"maxSh": 1, "lodTree": false, "payload',
            b'"maxSh": 9, "lodTree": false, "payload',
            "of degree 0 to 3, got 9",
        ),
        (b"RADC", b"RADX", "chunk 0: expected b'RADC', got b'RADX'"),
    ]:
        assert good.count(old) >= 1, old
        path.write_bytes(good.replace(old, new, 1))
        with pytest.raises(SplatFileError, match=message):
            read_splat_file(path)
    path.write_bytes(good.replace(b'"count": 300', b'"count": 2147483648', 1)[:-8])
    with pytest.raises(SplatFileError):
        read_splat_file(path)
    (tmp_path / "nan.rad").write_bytes(rad(replace(cloud, means=cloud.means * np.nan), "floats"))
    with pytest.raises(SplatFileError, match="300 of 300 Gaussians cannot be used: 300 with NaN"):
        read_splat_file(tmp_path / "nan.rad")


def test_a_stream_that_unpacks_to_more_is_refused(tmp_path: Path, generator: torch.Generator) -> None:
    """A deflate bomb: 300 Gaussians with positions of ten megabytes."""
    header, chunks = rad_parts(random_cloud(generator, 100, 0), "floats", compression=False)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(10**7)) + packer.flush()
    (length,) = struct.unpack_from("<I", chunks[0], 4)
    said = json.loads(chunks[0][8 : 8 + length])
    start = len(chunks[0]) - said["payloadBytes"]
    said["properties"][0] |= {"offset": said["payloadBytes"], "bytes": len(bomb), "compression": "gz"}
    said["payloadBytes"] += len(bomb)
    body = chunks[0][start:] + bomb
    chunk = described(b"RADC", said) + struct.pack("<Q", len(body)) + body
    path = tmp_path / "bomb.rad"
    path.write_bytes(described(b"RAD0", header | {"chunks": [{"offset": 0, "bytes": len(chunk)}]}) + chunk)
    with pytest.raises(SplatFileError, match="center: expected 1200 bytes, got 1201 or more"):
        read_splat_file(path)
