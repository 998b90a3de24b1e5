"""Malformed files of every format give a named error or a sound cloud, and never take much memory.

SPLATLEARN_MUTATIONS sets how many mutations of each format are tried (300 by default).
"""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from files.clouds import random_cloud
from files.mutations import mutate
from splatlearn.files import SplatCloud, SplatFileError, read_splats, write_splats
from splatlearn.files.spz import SpzVersion

MUTATIONS = int(os.environ.get("SPLATLEARN_MUTATIONS", "300"))
MOST_MEMORY = 100_000_000
FILES: dict[str, tuple[str, SpzVersion]] = {
    "ply": ("a.ply", 3),
    "ascii ply": ("ascii.ply", 3),
    "compressed ply": ("a.compressed.ply", 3),
    "spz 2": ("a.spz", 2),
    "spz 3": ("a.spz", 3),
    "spz 4": ("a.spz", 4),
    "sog": ("a.sog", 3),
}


def good_file(kind: str, folder: Path) -> bytes:
    cloud = random_cloud(torch.Generator().manual_seed(0), count=300, degree=1)
    name, version = FILES[kind]
    if kind == "ascii ply":
        write_splats(cloud.select(slice(20)), folder / "binary.ply")
        head, _, body = (folder / "binary.ply").read_bytes().partition(b"end_header\n")
        rows = np.frombuffer(body, "<f4").reshape(20, -1)
        text = "\n".join(" ".join(f"{value:.6g}" for value in row) for row in rows)
        return head.replace(b"binary_little_endian", b"ascii") + b"end_header\n" + text.encode()
    write_splats(cloud, folder / name, spz_version=version)
    return (folder / name).read_bytes()


def is_sound(cloud: SplatCloud) -> bool:
    tensors = (cloud.means, cloud.scales, cloud.quaternions, cloud.opacities, cloud.harmonics)
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
    path = tmp_path / "mutated"
    path.write_bytes(good)
    assert is_sound(read_splats(path))
    rng = np.random.default_rng(list(FILES).index(kind))
    errors = 0
    for number in range(MUTATIONS):
        path.write_bytes(mutate(good, rng))
        tracemalloc.start()
        try:
            assert is_sound(read_splats(path)), number
        except SplatFileError:
            errors += 1
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < MOST_MEMORY, (number, peak)
    # Most of what is broken is seen to be; a changed colour is not.
    assert errors > MUTATIONS // 4


@pytest.mark.parametrize("kind", FILES)
def test_cut_anywhere(kind: str, tmp_path: Path) -> None:
    good = good_file(kind, tmp_path)
    path = tmp_path / "cut"
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
    for start in (b"", b"ply\n", b"NGSP\4\0\0\0", b"\x1f\x8b\x08", b"PK\x03\x04"):
        for size in (0, 10, 1000):
            path.write_bytes(start + rng.bytes(size))
            with pytest.raises(SplatFileError):
                read_splats(path)
