"""A run over objects: each is fitted by itself in one of several processes, and a bad one is named and passed over."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
import traceback
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.disk.outputs import outputs_in
from splatlearn.core.errors import InputError, SplatlearnError, first_line
from splatlearn.files import write_splats
from splatlearn.reconstruction.objects.fitting import ObjectError, fit_object
from splatlearn.reconstruction.objects.recipe import SINGLE_FILES, ObjectsRecipe
from splatlearn.reconstruction.objects.sources import Shape, list_shapes, read_shape
from splatlearn.reconstruction.objects.summary import SUMMARY, Call, ObjectsResult, read_entries, write_summary
from splatlearn.runs.data_identity import DATA, DataIdentity
from splatlearn.runs.folder import RunFolder, entered
from splatlearn.runs.log import Logbook
from splatlearn.runs.processes import Processes, bounded_map
from splatlearn.runs.signals import StopRequest

AHEAD = 2
"""Number of objects that wait for each process; a run that is stopped still fits them."""


@dataclass(frozen=True)
class _Job:
    shape: Shape
    recipe: ObjectsRecipe


def run_objects(recipe: ObjectsRecipe) -> ObjectsResult:
    """Fit splats to all objects of a recipe, into its folder, and say how it went.

    The folder has a splat file for each object in folders for splits and classes, `objects.json` with its numbers, the
    log, and the recipe. Objects that cannot be read or fitted are named there and counted, and the others go on. An
    interruption (Ctrl-C, SIGTERM, SIGUSR1) ends the run after the objects at hand; with `resume` it goes on, tries
    failed ones again, and ends with the files that a run without interruption has. Raises InputError (or a subclass
    that names the thing) for shapes, options and folders that cannot work, before the first object, and ObjectError
    where more than `max_failed` of the objects failed.
    """
    shapes = list_shapes([Path(each) for each in recipe.shapes.paths], recipe.shapes.per_class)
    with entered(recipe.run, Processes(torch.device("cpu"))) as folder:
        return _Objects(recipe, folder, shapes).run()


class _Objects:
    """One run, made and run once; everything that can be wrong is found before its folder is made."""

    def __init__(self, recipe: ObjectsRecipe, folder: RunFolder, shapes: Sequence[Shape]) -> None:
        self.recipe, self.folder, self.shapes = recipe, folder, shapes
        folder.check_recipe(recipe)
        self.entries = read_entries(folder.path)
        self.todo = [shape for shape in shapes if not self._is_done(shape)]
        written = {entry["file"] for entry in self.entries.values() if "file" in entry}
        names = [file_of(shape, recipe) for shape in self.todo]
        outputs_in(recipe.run.out, names, owned=lambda name: name in written)
        numbers = 17 * 4 * recipe.fit.splats * len(self.todo)
        self._check_shapes()
        folder.make(recipe, {"shapes": identity(shapes)}, numbers)

    def _check_shapes(self) -> None:
        """Raise InputError for a list of shapes that is not the one that the run began with."""
        here = identity(self.shapes)
        there = read_object(self.folder.path / DATA).get("shapes") if self.entries else None
        if there is not None and there != asdict(here) and not self.recipe.run.allow_other_data:
            raise InputError(
                f"paths: the run in {self.folder.path} began with {there.get('samples')} shapes (fingerprint "
                f"{there.get('fingerprint')}), got {here.samples} shapes (fingerprint {here.fingerprint}); resume with "
                "the shapes of before, or add --allow-other-data"
            )

    def _is_done(self, shape: Shape) -> bool:
        """Whether the file of an object is there as the log has it."""
        entry = self.entries.get(shape.name, {})
        path = self.folder.path / entry.get("file", "")
        return "file" in entry and path.is_file() and path.stat().st_size == entry["bytes"]

    def run(self) -> ObjectsResult:
        """Fit the objects that are left, until the last, `stop_after` or an interruption."""
        recipe, began = self.recipe, time.perf_counter()
        room = recipe.run.stop_after
        before = len(self.shapes) - len(self.todo)
        todo = self.todo if room is None else self.todo[: max(0, room - before)]
        processes = min(recipe.run.processes or usable_cores(), max(1, len(todo)))
        logbook = Logbook(self.folder.path, len(self.entries), len(self.shapes))
        tried, failed = 0, 0
        with contextlib.closing(logbook), StopRequest() as request:

            def asked() -> Iterator[_Job]:
                for shape in todo:
                    if request.signal:
                        return
                    yield _Job(shape, recipe)

            for entry in self._fitted(asked(), processes):
                tried += 1
                self.entries[entry["object"]] = entry
                logbook.write({"step": len(self.entries), **entry})
                if "error" in entry:
                    failed += 1
                    logbook.say(f"{entry['object']} is left out: {entry['error']}")
                logbook.flush(before + tried, f"{tried / (time.perf_counter() - began):.2f} objects/s")
        call = Call(tried, time.perf_counter() - began, processes, request.signal)
        result = write_summary(self.folder.path, recipe, self.shapes, self.entries, call)
        if failed > recipe.run.max_failed * tried:
            raise ObjectError(
                f"shapes: expected at most {recipe.run.max_failed:.0%} of objects to fail, got {failed} of {tried}; "
                f"{SUMMARY} in {self.folder.path} names them"
            )
        return result

    def _fitted(self, jobs: Iterator[_Job], processes: int) -> Iterator[dict[str, Any]]:
        try:
            yield from bounded_map(_fit, jobs, processes, AHEAD, begin=_begin)
        except BrokenProcessPool as error:
            raise ObjectError(
                "a process was ended from outside, as for too little memory; --resume goes on, with fewer --processes"
            ) from error


def file_of(shape: Shape, recipe: ObjectsRecipe) -> str:
    """The splat file of an object, below the folder of the run."""
    return shape.name + SINGLE_FILES[recipe.run.format]


def identity(shapes: Sequence[Shape]) -> DataIdentity:
    """The identity of a list of shapes: their number, names, and the sizes of their files."""
    sizes: dict[Path, int] = {}
    for shape in shapes:
        if shape.file not in sizes:
            sizes[shape.file] = shape.file.stat().st_size
    text = "\n".join(f"{shape.name} {sizes[shape.file]}" for shape in shapes)
    return DataIdentity(len(shapes), hashlib.sha256(text.encode()).hexdigest()[:16])


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """Set up a process: one thread, and interruptions are the first process's affair."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _fit(job: _Job) -> dict[str, Any]:
    """Fit and write one object; returns its entry in the log, with what went wrong in place of numbers."""
    shape, recipe = job.shape, job.recipe
    began, cpu = time.perf_counter(), time.process_time()
    try:
        return {"object": shape.name, **_written(shape, recipe, began, cpu)}
    except (SplatlearnError, OSError, MemoryError) as error:
        return {"object": shape.name, "error": first_line(error)}
    except Exception as error:
        # One object in thousands that nobody foresaw ends no run; where it went wrong is in the log.
        return {"object": shape.name, "error": first_line(error), "traceback": traceback.format_exc()}


def _written(shape: Shape, recipe: ObjectsRecipe, began: float, cpu: float) -> dict[str, Any]:
    read = read_shape(shape)
    up = None if recipe.shapes.up == "auto" else recipe.shapes.up
    # A name, not a place in the list, so that other objects change nothing.
    seed = (recipe.run.seed + zlib.crc32(shape.name.encode())) % 2**64
    fitted = fit_object(read, recipe.fit, seed, up)
    name = file_of(shape, recipe)
    path = Path(recipe.run.out) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_splats(path, fitted.gaussians, recipe.run.format)
    return {
        "file": name,
        "shape": read.kind,
        "faces": len(read.mesh.faces),
        "splats": fitted.gaussians.count,
        "bytes": path.stat().st_size,
        "psnr": round(fitted.psnr, 3),
        "inside": round(fitted.inside, 3),
        "start_psnr": round(fitted.start_psnr, 3),
        "picture_seconds": round(fitted.picture_seconds, 3),
        "fit_seconds": round(fitted.fit_seconds, 3),
        "seconds": round(time.perf_counter() - began, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }
