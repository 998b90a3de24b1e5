"""The recipe of a run over objects: every choice, as one tree of dataclasses.

The fields are the command-line options, their docstrings its help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import tyro

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole
from splatlearn.files.choices import SplatFormat
from splatlearn.runs.recipe import StoredRecipe, check_choices, check_range

SINGLE_FILES = {"ply": ".ply", "compressed-ply": ".compressed.ply", "spz": ".spz", "splat": ".splat", "sl3": ".sl3"}
"""Formats in which an object is one file, and their endings."""
ObjectFormat = Literal["ply", "compressed-ply", "spz", "splat", "sl3"]
Light = Literal["sun", "none"]
UpOption = Literal["auto", "y", "z"]


@dataclass(frozen=True)
class ShapeOptions:
    """Which shapes are fitted."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files of shapes, or folders of them in classes: meshes (.off, .obj, .ply), points (.npy, .npz, .ply without
    faces), and grids of voxels (.npz)."""
    per_class: int | None = None
    """Largest number of objects of each class, the first ones of each split. Default: all."""
    up: UpOption = "auto"
    """The axis of the files that points up. auto: y in OBJ, z in all others."""


@dataclass(frozen=True)
class ObjectFitOptions:
    """How splats are fitted to an object."""

    splats: int = 2048
    """Number of splats of an object."""
    steps: int = 80
    """Number of gradient steps; 0 leaves the splats as they are put on the surface."""
    size: int = 96
    """Height and width of the pictures that are fitted, pixels."""
    views: int = 24
    """Number of pictures, from all around."""
    views_per_step: int = 1
    """Number of pictures that are compared in a step."""
    light: Light = "sun"
    """sun: a sun and a sky light the surface, and their light becomes part of the colours; none: the colours of the
    file as they are."""


@dataclass(frozen=True)
class ObjectsRunOptions:
    """Where the run works and what it writes."""

    out: str
    """Folder for the splat files, in folders for splits and classes, and for the summary."""
    format: ObjectFormat = "ply"
    """Format of the splat files."""
    seed: int = 0
    """Seed of the order of pictures and their backgrounds."""
    processes: int | None = None
    """Number of processes, each of which fits one object on one thread. Default: the number of cores."""
    max_failed: float = 1.0
    """Largest fraction of objects that may fail before the run ends; each of them is named."""
    resume: bool = False
    """Go on with the run in this folder: objects whose files are there are not fitted again."""
    allow_other_data: bool = False
    """Resume even if the list of shapes is not the one that the run began with."""
    stop_after: int | None = None
    """Stop after this number of objects; --resume continues the run. Default: the last object."""


@dataclass(frozen=True)
class ObjectsRecipe(StoredRecipe):
    """Everything that fixes a run over objects."""

    free = frozenset(
        f"run.{name}" for name in ("out", "processes", "max_failed", "resume", "allow_other_data", "stop_after")
    ) | {"shapes.paths", "shapes.per_class"}

    shapes: ShapeOptions
    run: ObjectsRunOptions
    fit: ObjectFitOptions = field(default_factory=ObjectFitOptions)

    def __post_init__(self) -> None:
        fit, run = self.fit, self.run
        if not self.shapes.paths:
            raise InputError("paths: expected files or folders of shapes, got none")
        check_choices(up=(self.shapes.up, UpOption), light=(fit.light, Light), format=(run.format, ObjectFormat))
        for name in ("splats", "views", "views_per_step"):
            check_whole(name, getattr(fit, name), 1)
        check_whole("steps", fit.steps, 0)
        check_whole("size", fit.size, 16, 4096)
        check_whole("seed", run.seed, 0, 2**64 - 1)
        for name, value in (("per_class", self.shapes.per_class), ("processes", run.processes)):
            if value is not None:
                check_whole(name, value, 1)
        check_range("a number from 0 to 1", lambda value: 0 <= value <= 1, max_failed=run.max_failed)
        check_range("a number ≥ 0", lambda value: value >= 0, stop_after=run.stop_after)


assert set(SINGLE_FILES) == set(get_args(ObjectFormat)) <= set(get_args(SplatFormat))
