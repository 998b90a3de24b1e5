"""Surfaces of reconstructions: depth errors of their views, and distances of their meshes to known points.

    python -m benchmarks.surfaces RUN [RUN ...] [--points FILE.npz] [--voxel 0.02] [--within 0.05] [--json-file FILE]

Each run of `splatlearn reconstruct` is fused to a mesh (`splatlearn mesh`) from median and from mean depths. Known
points are those of a file (`points` [N, 3], in the world of the capture), or else the depth maps of the capture's own
sensor.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.common import table
from splatlearn.captures import Photographs
from splatlearn.evaluation.views.meshes import score_mesh
from splatlearn.reconstruction import SceneRun
from splatlearn.reconstruction.results.scene_run import moved
from splatlearn.surfaces import MeshOptions, depth_views, fuse

SENSED = 200_000
"""Points that are taken of a sensor's maps."""


@dataclass(frozen=True)
class Options:
    """What is measured."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Runs of reconstruct of one capture."""
    points: Path | None = None
    """File of known points."""
    voxel: float = 0.02
    """Side of a voxel, in units of the capture."""
    within: float = 0.05
    """Distance that counts as found."""
    json_file: Path | None = None
    """File for all numbers."""


def sensed_points(run: SceneRun) -> np.ndarray:
    """Points [N, 3] of the sensor's depth maps, in the world of the capture, the same in every call."""
    found = []
    with Photographs(run.capture.views, 640, depth=True) as photographs:
        for index in range(len(photographs)):
            photo = photographs[index]
            assert photo.depth is not None
            rows, columns = (photo.depth > 0).nonzero().unbind(1)
            depth, camera = photo.depth[rows, columns].double(), photo.camera
            x, y = (columns + 0.5 - camera.cx) / camera.fx, (rows + 0.5 - camera.cy) / camera.fy
            ahead = torch.stack([x * depth, y * depth, depth], dim=-1).double()
            view = camera.viewmats.double()
            found.append((ahead - view[:3, 3]) @ view[:3, :3])
    points = torch.cat(found).numpy()
    return points[np.random.default_rng(0).permutation(len(points))[:SENSED]]


def measured(folder: Path, options: Options) -> dict[str, Any]:
    """The numbers of one run."""
    run = SceneRun(folder)
    truth = np.load(options.points)["points"].astype(np.float64) if options.points else sensed_points(run)
    to_unit = run.capture.to_unit
    gaussians = moved(run.gaussians, to_unit)
    with Photographs(run.capture.views, run.recipe.capture.max_size, frame=to_unit) as photographs:
        cameras = [photographs.camera(index) for index in range(len(photographs))]
    scores = run.scores or {}
    found: dict[str, Any] = {
        "run": folder.name, "primitive": run.recipe.scene.primitive, "count": run.gaussians.count,
        "psnr": scores.get("psnr"), "depth": scores.get("depth"), "meshes": {},
    }  # fmt: skip
    chosen = MeshOptions(options.voxel * to_unit.scale)
    for kind in ("median", "mean"):
        mesh = fuse(depth_views(gaussians, cameras, kind, run.filter), chosen).mesh.transformed(to_unit.inverse)
        score = score_mesh(mesh, truth, options.within, farthest=4 * options.within)
        found["meshes"][kind] = dataclasses.asdict(score) | {"faces": len(mesh.faces), "f_score": score.f_score}
    return found


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    results = [measured(each, options) for each in options.runs]
    rows = [
        [
            each["run"], each["primitive"], f"{each['count']:,}", f"{each['psnr']:.2f}" if each["psnr"] else "",
            kind, f"{mesh['accuracy']:.4f}", f"{mesh['completeness']:.4f}", f"{mesh['f_score']:.3f}",
        ]
        for each in results
        for kind, mesh in each["meshes"].items()
    ]  # fmt: skip
    print(table(["run", "primitive", "count", "PSNR", "depth", "accuracy", "completeness", "F"], rows))
    print(json.dumps(results, indent=1))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
