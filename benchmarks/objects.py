"""Splats of objects: bytes, seconds and PSNR of each, for meshes, points and voxels.

    python -m benchmarks.objects SHAPES [SHAPES ...] [--per-class 6] [--processes 2] [--splats 2048] [--formats ply spz]
        [--json-file FILE]

The shapes are those of `splatlearn objects`, and so is what is done with them. Seconds are those of an object in its
own process, on one thread, with its file; `wall` is the time of the whole run by the number of objects, with the start
of the processes. Other formats are written from the same splats, and scored on the same held-out views as they are
read back.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.common import table
from splatlearn.files import read_splats, write_splats
from splatlearn.reconstruction import ObjectFitOptions, ObjectsRecipe, ObjectsRunOptions, ShapeOptions, run_objects
from splatlearn.reconstruction.objects.fitting import HELD_OUT, scores
from splatlearn.reconstruction.objects.sources import list_shapes, read_shape
from splatlearn.reconstruction.objects.summary import SUMMARY
from splatlearn.reconstruction.objects.views import cameras_around, in_unit_ball, look_around


@dataclass(frozen=True)
class Options:
    """What is measured."""

    shapes: tyro.conf.Positional[tuple[str, ...]]
    """Files and folders of shapes."""
    per_class: int = 6
    """Largest number of objects of each class."""
    processes: int = 2
    """Number of processes."""
    splats: int = ObjectFitOptions.splats
    """Number of splats of an object."""
    steps: int = ObjectFitOptions.steps
    """Number of steps."""
    formats: tuple[str, ...] = ("spz", "splat")
    """Further formats that are compared."""
    json_file: Path | None = None
    """File for all numbers."""


def rewritten(folder: Path, entries: list[dict[str, Any]], options: Options) -> dict[str, dict[str, float]]:
    """Medians of bytes and PSNR of all objects in each further format."""
    shapes = {shape.name: shape for shape in list_shapes([Path(each) for each in options.shapes])}
    found: dict[str, dict[str, list[float]]] = {name: {"bytes": [], "psnr": []} for name in options.formats}
    for entry in entries:
        read = read_shape(shapes[entry["object"]])
        mesh = in_unit_ball(read.mesh, read.up)
        views = look_around(mesh, cameras_around(HELD_OUT, ObjectFitOptions.size, phase=0.5))
        gaussians = read_splats(folder / entry["file"])
        for name in options.formats:
            path = folder / f"again.{name}"
            write_splats(path, gaussians)
            found[name]["bytes"].append(path.stat().st_size)
            found[name]["psnr"].append(scores(read_splats(path), views)[0])
    return {name: {key: statistics.median(values) for key, values in each.items()} for name, each in found.items()}


def measured(options: Options) -> dict[str, Any]:
    """The numbers of one run."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        result = run_objects(
            ObjectsRecipe(
                ShapeOptions(options.shapes, options.per_class),
                ObjectsRunOptions(str(folder), processes=options.processes),
                ObjectFitOptions(splats=options.splats, steps=options.steps),
            )
        )
        entries = json.loads((folder / SUMMARY).read_text())["objects"]
        formats = rewritten(folder, entries, options)
    kinds = {}
    for kind in sorted({entry["shape"] for entry in entries}):
        of = [entry for entry in entries if entry["shape"] == kind]
        names = ("faces", "bytes", "seconds", "cpu_seconds", "picture_seconds", "start_psnr", "psnr", "inside")
        kinds[kind] = {"objects": len(of)} | {name: statistics.median(entry[name] for entry in of) for name in names}
        kinds[kind]["slowest"] = max(entry["seconds"] for entry in of)
    return {
        "options": {name: value for name, value in asdict(options).items() if name not in ("shapes", "json_file")},
        "wall": result.call.seconds / max(1, result.call.tried),
        "failed": result.failed,
        "kinds": kinds,
        "formats": {"ply": {"bytes": result.bytes, "psnr": result.psnr}} | formats,
        "objects": entries,
    }


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    found = measured(options)
    columns = ("objects", "faces", "seconds", "slowest", "cpu_seconds", "start_psnr", "psnr", "inside")
    rows = [[kind, *(f"{each[name]:,.4g}" for name in columns)] for kind, each in found["kinds"].items()]
    print(table(["shapes", *columns], rows))
    rows = [[name, f"{each['bytes']:,.0f}", f"{each['psnr']:.2f}"] for name, each in found["formats"].items()]
    print(table(["format", "bytes", "PSNR"], rows))
    print(f"wall: {found['wall']:.2f} s an object with {options.processes} processes; {found['failed']} failed")
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
