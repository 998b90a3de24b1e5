"""Malformed files of every format give a named error or a sound cloud, and never take much memory.

SPLATLEARN_MUTATIONS is the number of mutations of each format that are tried (300 by default).
"""

import gzip
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import numpy.lib.recfunctions as rfn
import pytest
import torch

from files.builders import attributes_of, first_spz, gltf, ksplat
from files.builders import first_sog as whole_sog_1
from files.clouds import random_cloud, sh_of
from files.mutations import mutate
from files.rad_files import rad
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.ply.container import parse_ply, ply_bytes
from splatlearn.files import SplatFileError, read_splats, write_splats
from splatlearn.files.spz.container import SpzVersion

MUTATIONS = int(os.environ.get("SPLATLEARN_MUTATIONS", "300"))
MOST_MEMORY = 100_000_000
SPZ_VERSIONS: dict[str, SpzVersion] = {"spz 2": 2, "spz 3": 3, "spz 4": 4, "spz unpacked": 2}
FILES = (
    *("ply", "ascii ply", "flat ply", "list ply", "compressed ply", "gsplat ply"),
    *(*SPZ_VERSIONS, "spz 1", "sog", "first sog", "sog 1"),
    *("splat", "ksplat 0", "ksplat 1", "ksplat 2", "glb", "gltf", "sl3", "rad", "plain rad"),
)
ENDINGS = {"splat": ".splat", "gltf": ".gltf"}
"""Of names without which a reader does not know the format, or where numbers are."""


def good_file(kind: str, folder: Path) -> bytes:
    degree = 0 if kind in ("gsplat ply", "splat") else 1
    # What decodes an .sl3 file takes longest.
    count = 100 if kind == "sl3" else 300
    cloud = random_cloud(torch.Generator().manual_seed(0), count, degree=degree)
    match kind.split():
        case ["spz", "1"]:
            return first_spz(cloud)
        case ["sog", "1"]:
            return whole_sog_1(cloud)
        case ["ksplat", compression]:
            return ksplat(cloud, int(compression), side=4.0)
        case [*plain, "rad"]:
            return rad(cloud, tree=not plain, compression=not plain)
        case ["gltf"]:
            return json.dumps(gltf([{"attributes": attributes_of(cloud)}], [{"mesh": 0}])).encode()
    ending = "compressed.ply" if kind in ("compressed ply", "gsplat ply") else kind.split()[0 if "spz" in kind else -1]
    path = folder / f"good.{ending}"
    write_splats(path, cloud, spz_version=SPZ_VERSIONS.get(kind, 3))
    data = path.read_bytes()
    match kind:
        case "ascii ply":
            return ascii_ply(cloud.select(slice(20)), path)
        case "flat ply":
            table = parse_ply(data).tables["vertex"]
            names = [name for name in table.dtype.names or () if name != "scale_2"]
            return ply_bytes({"vertex": rfn.repack_fields(table[names])}, ["SplatRenderMode: 2dgs"])
        case "list ply":
            lists = b"element face 2\nproperty list uchar int corners\nelement vertex"
            head, mark, body = data.replace(b"element vertex", lists).partition(b"end_header\n")
            return head + mark + b"\3" + bytes(12) + b"\0" + body
        case "gsplat ply":
            return data.replace(b"end_header", b"element sh 300\nend_header")
        case "spz unpacked":
            return gzip.decompress(data)
        case "first sog":
            return first_sog(data)
    return data


def ascii_ply(cloud: Gaussians, path: Path) -> bytes:
    write_splats(path, cloud)
    head, _, body = path.read_bytes().partition(b"end_header\n")
    rows = np.frombuffer(body, "<f4").reshape(cloud.count, -1)
    text = "\n".join(" ".join(f"{value:.6g}" for value in row) for row in rows)
    return head.replace(b"binary_little_endian", b"ascii") + b"end_header\n" + text.encode()


def first_sog(data: bytes) -> bytes:
    """The bundle without the size and the degree of its palette."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(buffer, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "meta.json":
                meta = json.loads(content)
                del meta["shN"]["bands"], meta["shN"]["count"]
                content = json.dumps(meta).encode()
            archive.writestr(name, content)
    return buffer.getvalue()


def is_sound(cloud: Gaussians) -> bool:
    tensors = (cloud.means, cloud.scales, cloud.quaternions, cloud.opacities, sh_of(cloud))
    lengths = cloud.quaternions.norm(dim=-1)
    return (
        all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
        and bool((cloud.scales > 0).all())
        and bool(((cloud.opacities >= 0) & (cloud.opacities <= 1)).all())
        and bool(((lengths - 1).abs() < 1e-4).all())
    )


@pytest.mark.parametrize("kind", FILES)
def test_mutations(kind: str, tmp_path: Path) -> None:
    good = good_file(kind, tmp_path)
    path = tmp_path / f"mutated{ENDINGS.get(kind, '')}"
    path.write_bytes(good)
    assert is_sound(read_splats(path))
    rng = np.random.default_rng(FILES.index(kind))
    errors = 0
    for number in range(MUTATIONS):
        path.write_bytes(mutate(good, rng))
        tracemalloc.start()
        try:
            assert is_sound(read_splats(path, drop_invalid=number % 2 == 1)), number
        except SplatFileError:
            errors += 1
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < MOST_MEMORY, (number, peak)
    # Most of what is broken is seen to be; a changed colour is not.
    assert errors > MUTATIONS // 4


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "splat"])
def test_cut_anywhere(kind: str, tmp_path: Path) -> None:
    good = good_file(kind, tmp_path)
    path = tmp_path / f"cut{ENDINGS.get(kind, '')}"
    step = max(1, len(good) // MUTATIONS)
    # The last number of an ASCII file may lose digits and stay a number.
    end = len(good) - (12 if kind == "ascii ply" else 0)
    for length in (*range(0, end, step), *range(end - 50, end)):
        path.write_bytes(good[:length])
        with pytest.raises(SplatFileError):
            read_splats(path)


def test_random_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "random"
    for start in (
        b"",
        b"ply\n",
        b"NGSP\4\0\0\0",
        b"\x1f\x8b\x08",
        b"PK\x03\x04",
        b"glTF\2\0\0\0",
        b"\0\1",
        b"RAD0",
        b"RADC",
    ):
        for size in (0, 10, 1000):
            path.write_bytes(start + rng.bytes(size))
            with pytest.raises(SplatFileError):
                read_splats(path)
