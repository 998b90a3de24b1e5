"""A small capture that is known exactly, and writers of it in every format that is read."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from splatlearn.captures.lenses import MODELS, Lens

WIDTH, HEIGHT = 48, 32
NAMES = tuple(f"{folder}/IMG {number:02d}.JPG" for folder in ("one", "two") for number in range(5))
"""With spaces, folders and a suffix in capitals; in order."""
LENSES = {
    "SIMPLE_PINHOLE": (40, 23, 17),
    "PINHOLE": (40, 42, 23, 17),
    "SIMPLE_RADIAL": (40, 23, 17, 0.05),
    "RADIAL": (40, 23, 17, 0.05, -0.02),
    "OPENCV": (40, 42, 23, 17, 0.05, -0.02, 0.001, -0.002),
    "OPENCV_FISHEYE": (40, 42, 23, 17, 0.05, -0.02, 0.01, -0.003),
    "FULL_OPENCV": (40, 42, 23, 17, 0.05, -0.02, 0.001, -0.002, 0.01, 0.02, -0.01, 0.003),
    "FOV": (40, 42, 23, 17, 0.3),
    "SIMPLE_RADIAL_FISHEYE": (40, 23, 17, 0.05),
    "RADIAL_FISHEYE": (40, 23, 17, 0.05, -0.02),
    "THIN_PRISM_FISHEYE": (40, 42, 23, 17, 0.05, -0.02, 0.001, -0.002, 0.01, -0.003, 0.002, -0.001),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        40, 42, 23, 17, 0.05, -0.02, 0.01, 0.003, -0.002, 0.001, 0.001, -0.002, 0.002, 0.001, -0.001, 0.0005,
    ),
    "SIMPLE_DIVISION": (40, 23, 17, 0.05),
    "DIVISION": (40, 42, 23, 17, 0.05),
    "SIMPLE_FISHEYE": (40, 23, 17),
    "FISHEYE": (40, 42, 23, 17),
    "EUCM": (40, 42, 23, 17, 0.6, 1.1),
    "EQUIRECTANGULAR": (WIDTH, HEIGHT),
}  # fmt: skip
"""Parameters of a lens of every model."""
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def lens_of(model: str) -> Lens:
    return Lens(model, WIDTH, HEIGHT, LENSES[model])


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Views of a lens by their names, `poses` [V, 4, 4] from world to camera, and N points that all of them see."""

    lens: Lens
    names: tuple[str, ...]
    poses: NDArray[np.float64]
    xyz: NDArray[np.float64]
    rgb: NDArray[np.uint8]
    pixels: NDArray[np.float64]
    """Where each view saw each point, [V, N, 2]."""

    @property
    def errors(self) -> NDArray[np.float64]:
        """The mean distance [N] of observations from projections."""
        return np.asarray(np.linalg.norm(self.pixels - projections(self), axis=-1).mean(axis=0), dtype=np.float64)


def projections(made: Synthetic) -> NDArray[np.float64]:
    seen = made.xyz @ made.poses[:, :3, :3].transpose(0, 2, 1) + made.poses[:, None, :3, 3]
    return np.asarray(made.lens.project(seen), dtype=np.float64)


def synthetic(lens: Lens, names: tuple[str, ...] = NAMES, count: int = 20) -> Synthetic:
    """Cameras in a ring, some of them a little rolled, round points at the origin."""
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (len(names), 1, 1))
    for index, pose in enumerate(poses):
        angle = 2 * math.pi * index / len(names)
        center = np.array([3 * math.cos(angle), 3 * math.sin(angle), 1.0])
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        turn = Rotation.from_rotvec([0, 0, 0.05 * rng.standard_normal()]).as_matrix()
        pose[:3, :3] = turn @ np.stack([right, np.cross(forward, right), forward])
        pose[:3, 3] = -pose[:3, :3] @ center
    xyz, rgb = rng.normal(0, 0.3, (count, 3)), rng.integers(0, 256, (count, 3), dtype=np.uint8)
    exact = projections(Synthetic(lens, names, poses, xyz, rgb, np.zeros(0)))
    return Synthetic(lens, names, poses, xyz, rgb, exact + rng.normal(0, 0.5, exact.shape))


def write_photographs(folder: Path, names: tuple[str, ...], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def numbers_of(made: Synthetic) -> list[int]:
    """Numbers of images as COLMAP gives them: out of order, with gaps."""
    return [3 * index + 2 for index in reversed(range(len(made.names)))]


def quaternions(made: Synthetic) -> NDArray[np.float64]:
    return Rotation.from_matrix(made.poses[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]


def features(made: Synthetic, view: int) -> list[tuple[float, float, int]]:
    """What a view detected: every second feature has no point."""
    found: list[tuple[float, float, int]] = []
    for point, (x, y) in enumerate(made.pixels[view].tolist()):
        found += [(x + 1, y + 1, -1), (x, y, 10 * point + 7)]
    return found


def write_colmap_text(folder: Path, made: Synthetic) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lens = made.lens
    params = " ".join(map(repr, lens.params))
    (folder / "cameras.txt").write_text(
        f"# Camera list\n# Number of cameras: 1\n5 {lens.model} {lens.width} {lens.height} {params}\n"
    )
    lines = ["# Image list", f"# Number of images: {len(made.names)}"]
    for view, (number, name, turn) in enumerate(zip(numbers_of(made), made.names, quaternions(made), strict=True)):
        pose = " ".join(map(repr, (*turn.tolist(), *made.poses[view, :3, 3].tolist())))
        lines += [f"{number} {pose} 5 {name}", " ".join(f"{x!r} {y!r} {point}" for x, y, point in features(made, view))]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list"]
    for point, (xyz, rgb, error) in enumerate(zip(made.xyz.tolist(), made.rgb.tolist(), made.errors, strict=True)):
        track = " ".join(f"{number} {2 * point + 1}" for number in numbers_of(made))
        lines.append(f"{10 * point + 7} {' '.join(map(repr, xyz))} {' '.join(map(str, rgb))} {float(error)!r} {track}")
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def write_colmap_binary(folder: Path, made: Synthetic) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lens = made.lens
    model = MODELS[lens.model].number
    camera = struct.pack(f"<QIiQQ{len(lens.params)}d", 1, 5, model, lens.width, lens.height, *lens.params)
    (folder / "cameras.bin").write_bytes(camera)
    images = [struct.pack("<Q", len(made.names))]
    for view, (number, name, turn) in enumerate(zip(numbers_of(made), made.names, quaternions(made), strict=True)):
        images.append(struct.pack("<I7dI", number, *turn, *made.poses[view, :3, 3], 5) + name.encode() + b"\0")
        images.append(struct.pack("<Q", 2 * len(made.xyz)))
        images += [struct.pack("<ddq", *feature) for feature in features(made, view)]
    (folder / "images.bin").write_bytes(b"".join(images))
    points = [struct.pack("<Q", len(made.xyz))]
    for point, (xyz, rgb, error) in enumerate(zip(made.xyz, made.rgb.tolist(), made.errors, strict=True)):
        points.append(struct.pack("<Q3d3BdQ", 10 * point + 7, *xyz, *rgb, error, len(made.names)))
        points += [struct.pack("<II", number, 2 * point + 1) for number in numbers_of(made)]
    (folder / "points3D.bin").write_bytes(b"".join(points))


def frame_of(made: Synthetic, view: int, name: str) -> dict[str, Any]:
    matrix = np.linalg.inv(made.poses[view]) @ OPENGL
    return {"file_path": name, "transform_matrix": matrix.tolist()}


def words_of(lens: Lens) -> dict[str, Any]:
    """The intrinsics in nerfstudio's words."""
    words: dict[str, Any] = {"w": lens.width, "h": lens.height}
    if lens.model == "EQUIRECTANGULAR":
        return words
    words |= {"fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx, "cy": lens.cy}
    names = MODELS[lens.model].parameters
    return words | dict(zip(names[-len(lens.further) :] if lens.further else (), lens.further, strict=True))


def write_nerfstudio(folder: Path, made: Synthetic) -> None:
    """The first view has its intrinsics in the header, all others their own; the points lie in a PLY file."""
    folder.mkdir(parents=True, exist_ok=True)
    words = words_of(made.lens)
    frames = [frame_of(made, view, f"images/{name}") | words for view, name in enumerate(made.names)]
    frames[0] = {name: value for name, value in frames[0].items() if name not in words}
    document = {
        "camera_model": made.lens.model,
        **words,
        "frames": frames,
        "applied_transform": np.eye(4)[:3].tolist(),
        "ply_file_path": "sparse_pc.ply",
    }
    (folder / "transforms.json").write_text(json.dumps(document))
    kind = [(name, "<f8") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    table = np.array([(*xyz, *rgb) for xyz, rgb in zip(made.xyz, made.rgb, strict=True)], kind)
    lines = [f"property {'double' if size == '<f8' else 'uchar'} {name}" for name, size in kind]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}", *lines, "end_header", ""]
    (folder / "sparse_pc.ply").write_bytes("\n".join(head).encode() + table.tobytes())


def write_instant_ngp(folder: Path, made: Synthetic) -> None:
    """What colmap2nerf.py writes: sizes as floats, names relative to the file, and keys that are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    words = words_of(made.lens)
    document = {
        **words,
        "w": float(made.lens.width),
        "h": float(made.lens.height),
        "camera_angle_x": 1.0,
        "is_fisheye": made.lens.model == "OPENCV_FISHEYE",
        "aabb_scale": 16,
        "scale": 0.5,
        "offset": [0.1, 0.2, 0.3],
        "frames": [
            frame_of(made, view, f"./images/{name}") | {"sharpness": 30.0 + view}
            for view, name in enumerate(made.names)
        ],
    }
    (folder / "transforms.json").write_text(json.dumps(document))


def write_blender(folder: Path, made: Synthetic) -> None:
    """NeRF-synthetic's three files, names without suffix; the pinhole's angle of view and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    assert made.lens.is_pinhole and made.lens.fx == made.lens.fy
    parts = {"train": range(0, 6), "val": range(6, 8), "test": range(8, len(made.names))}
    for split, views in parts.items():
        frames = [frame_of(made, view, f"./{made.names[view].removesuffix('.png')}") for view in views]
        angle = 2 * math.atan(made.lens.width / 2 / made.lens.fx)
        document = {"camera_angle_x": angle, "frames": [frame | {"rotation": 0.01} for frame in frames]}
        (folder / f"transforms_{split}.json").write_text(json.dumps(document))
