"""Surfaces of reconstructions: depth errors of their views, and distances of their meshes to known points.

    python -m benchmarks.surfaces RUN [RUN ...] [--points FILE.npz] [--voxel 0.02] [--within 0.05] [--json-file FILE]

Each run of `splatlearn reconstruct` is fused to a mesh (`splatlearn mesh`) from median and from mean depths. Known
points are those of a file (`points` [N, 3], in the world of the capture), or else the depth maps of the capture's own
sensor, or else the points that the cameras were found by. Where the photographs have masks, "in hull" is the share of
the mesh, by area, that lies in the visual hull: its picture is in the mask of each view, or within a pixel of it.
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
from splatlearn.surfaces import Mesh, MeshOptions, depth_views, fuse

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


def known_points(run: SceneRun, options: Options) -> np.ndarray:
    """Points [N, 3] of the true surface, in the world of the capture."""
    if options.points is not None:
        return np.load(options.points)["points"].astype(np.float64)
    if any(view.depth_path is not None for view in run.capture.views):
        return sensed_points(run)
    return run.capture.points.xyz.astype(np.float64)


def share_in_hull(mesh: Mesh, run: SceneRun) -> float | None:
    """The share of a mesh's area in the visual hull of the masks; None for a capture without masks."""
    if not all(view.mask_path is not None for view in run.capture.views):
        return None
    places = torch.from_numpy(mesh.points(SENSED, np.random.default_rng(0)))
    inside = torch.ones(len(places), dtype=torch.bool)
    with Photographs(run.capture.views, run.recipe.capture.max_size) as photographs:
        for index in range(len(photographs)):
            photo = photographs[index]
            assert photo.mask is not None
            mask = torch.nn.functional.max_pool2d((photo.mask > 0)[None, None].float(), 3, 1, 1)[0, 0] > 0
            camera = photo.camera
            view = camera.viewmats.double()
            ahead = places @ view[:3, :3].T + view[:3, 3]
            columns = (camera.fx * ahead[:, 0] / ahead[:, 2] + camera.cx).floor().long()
            rows = (camera.fy * ahead[:, 1] / ahead[:, 2] + camera.cy).floor().long()
            shown = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
            # What a view does not show, it says nothing of.
            inside &= ~shown | mask[rows.clamp(0, mask.shape[0] - 1), columns.clamp(0, mask.shape[1] - 1)]
    return float(inside.double().mean())


def measured(folder: Path, options: Options) -> dict[str, Any]:
    """The numbers of one run."""
    run = SceneRun(folder)
    truth = known_points(run, options)
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
        more = {"faces": len(mesh.faces), "f_score": score.f_score, "in_hull": share_in_hull(mesh, run)}
        found["meshes"][kind] = dataclasses.asdict(score) | more
    return found


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    results = [measured(each, options) for each in options.runs]
    rows = [
        [
            each["run"], each["primitive"], f"{each['count']:,}", f"{each['psnr']:.2f}" if each["psnr"] else "",
            kind, f"{mesh['accuracy']:.4f}", f"{mesh['completeness']:.4f}", f"{mesh['f_score']:.3f}",
            "" if mesh["in_hull"] is None else f"{mesh['in_hull']:.3f}",
        ]
        for each in results
        for kind, mesh in each["meshes"].items()
    ]  # fmt: skip
    print(table(["run", "primitive", "count", "PSNR", "depth", "accuracy", "completeness", "F", "in hull"], rows))
    print(json.dumps(results, indent=1))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
