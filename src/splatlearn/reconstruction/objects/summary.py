"""What a run over objects made: its entries, their summary, and `objects.json`."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from splatlearn.core.disk.atomic import parse_object, write_whole
from splatlearn.core.errors import FormatError
from splatlearn.reconstruction.objects.recipe import ObjectsRecipe
from splatlearn.reconstruction.objects.sources import Shape
from splatlearn.runs.folder import LOG
from splatlearn.runs.signals import ASKED_BY_SCHEDULER

SUMMARY = "objects.json"
FRAME = "ball of radius 1 around the middle of the shape's box, x right, y down, z ahead"
SURFACED = {
    "voxels": "occupied voxels were blurred by half a voxel and surfaced by marching cubes before the fit",
    "points": "points became discs in the planes of their neighbours before the fit",
}


@dataclass(frozen=True)
class Call:
    """One call of a run: the number of objects that it tried, its seconds, its processes, and the signal that ended it.

    `signal` is 0 if none did.
    """

    tried: int
    seconds: float
    processes: int
    signal: int = 0


@dataclass(frozen=True)
class ObjectsResult:
    """How a run over objects went.

    - `folder`: of the run; `call`: this call of it.
    - `done`, `failed`, `left`: numbers of objects of the whole run.
    - `bytes`, `seconds`, `psnr`: medians of an object. Seconds are those of its own process.
    - `worst_psnr`: the smallest; `total_bytes`: of all splat files.
    - `shapes`: the numbers of meshes, points and voxels.
    - `errors`: by the names of objects.
    """

    folder: Path
    call: Call
    done: int
    failed: int
    left: int
    bytes: float
    seconds: float
    psnr: float
    worst_psnr: float
    total_bytes: int
    shapes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def requeue(self) -> bool:
        """Whether a scheduler ended it."""
        return self.call.signal in ASKED_BY_SCHEDULER


def read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the last entry of each object in the log of a run; torn lines are passed over."""
    path = folder / LOG
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entry = parse_object(line, str(path))
        except FormatError:
            continue
        if isinstance(entry.get("object"), str) and (isinstance(entry.get("bytes"), int) or "error" in entry):
            found[entry.pop("object")] = entry
    return {name: {"object": name} | {k: v for k, v in entry.items() if k != "step"} for name, entry in found.items()}


def write_summary(
    folder: Path, recipe: ObjectsRecipe, shapes: Sequence[Shape], entries: Mapping[str, dict[str, Any]], call: Call
) -> ObjectsResult:
    """Write `objects.json` for the objects of a run that were tried, and return its numbers."""
    tried = [entries[shape.name] for shape in shapes if shape.name in entries]
    made = [entry for entry in tried if "file" in entry]

    def middle(name: str) -> float:
        return statistics.median(entry[name] for entry in made) if made else math.nan

    result = ObjectsResult(
        folder=folder,
        call=call,
        done=len(made),
        failed=len(tried) - len(made),
        left=len(shapes) - len(tried),
        bytes=middle("bytes"),
        seconds=middle("seconds"),
        psnr=middle("psnr"),
        worst_psnr=min((entry["psnr"] for entry in made), default=math.nan),
        total_bytes=sum(entry["bytes"] for entry in made),
        shapes=dict(Counter(entry["shape"] for entry in made)),
        errors={entry["object"]: entry["error"] for entry in tried if "error" in entry},
    )
    numbers = {name: value for name, value in asdict(result).items() if name not in ("folder", "call", "errors")}
    content = {
        "frame": FRAME,
        "light": recipe.fit.light,
        "surfaced": {kind: SURFACED[kind] for kind in sorted(result.shapes) if kind in SURFACED},
        "numbers": {name: None if value != value else value for name, value in numbers.items()},
        "errors": result.errors,
        "objects": made,
    }
    write_whole(folder / SUMMARY, json.dumps(content, indent=1) + "\n")
    return result
