"""Input of commands about scenes: a splat file, or a run of reconstruct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from splatlearn.cli.notes import note
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError
from splatlearn.files.choices import SPLAT_ENDINGS, SplatFormat
from splatlearn.files.offset import NO_OFFSET, Offset, shown_offset

if TYPE_CHECKING:
    from splatlearn.core.gaussians import Gaussians
    from splatlearn.reconstruction.results.scene_run import SceneRun


IN_FOLDERS = ("meta.json", "splats.json")
"""The files that stand for their folder: SOG's and that of tensors."""


@dataclass(frozen=True, eq=False)
class SceneInput:
    """A scene: its Gaussians and a name for files.

    `run`: the run that made it, if it is one; `frame`, `dropped`, `antialiased`, `offset`: see `SplatFile`.
    """

    name: str
    gaussians: Gaussians
    run: SceneRun | None = None
    dropped: int = 0
    antialiased: bool = False
    frame: str = "RDF"
    offset: Offset = NO_OFFSET

    @property
    def filter(self) -> str:
        """The filter that it was fitted with, for `render`."""
        return self.run.filter if self.run is not None else "mip" if self.antialiased else "point"

    @property
    def background(self) -> Literal["black", "white"]:
        """The background of a run's scores; black for a file, which says nothing of it."""
        if self.run is None:
            return "black"
        from splatlearn.reconstruction.results.scene_run import shown_background

        return shown_background(self.run.recipe, self.run.capture)

    @property
    def up(self) -> tuple[float, float, float]:
        """The direction that is up: of the capture of a run; −y in splat files, as the cameras here have it."""
        if self.run is None:
            return (0.0, -1.0, 0.0)
        x, y, z = (float(value) for value in self.run.capture.up)
        return (x, y, z)

    def sky_for_file(self) -> Gaussians | None:
        """The sky of a run as far Gaussians, with a note about them; None without a sky."""
        if self.run is None or self.run.sky is None:
            return None
        from splatlearn.reconstruction.results.sky_file import sky_gaussians

        made = sky_gaussians(self.run.sky, self.gaussians, self.run.capture.to_unit)
        note(f"the sky of {self.name} becomes {made.count:,} far Gaussians: files of splats have none")
        return made


def is_splat_file(path: str | None) -> bool:
    """Whether a positional argument names a splat file, by its ending, or a folder of SOG or of tensors."""
    if path is None:
        return False
    return path.lower().endswith(SPLAT_ENDINGS) or any((Path(path) / each).is_file() for each in IN_FOLDERS)


def is_reconstruction(path: str | None) -> bool:
    """Whether a positional argument names a run of reconstruct."""
    if path is None or not Path(path).is_dir():
        return False
    from splatlearn.reconstruction.results.scene_run import is_scene_run

    return is_scene_run(Path(path))


def read_scene(path: str, stored_frame: str | None = None) -> SceneInput:
    """Read a scene; raises InputError for what is neither a splat file nor a run, and what the readers raise.

    `stored_frame`: the axes of a splat file, where they are not those that it or its format says.
    """
    if is_reconstruction(path):
        from splatlearn.reconstruction.results.scene_run import SceneRun

        run = SceneRun(Path(path))
        name, gaussians = run.folder.resolve().name, run.gaussians
        return SceneInput(name, gaussians, run, antialiased=run.filter != "point", offset=run.offset)
    if not is_splat_file(path):
        raise InputError(f"scene: expected a splat file or a run of splatlearn reconstruct, got {path}")
    from splatlearn.files import read_splat_file

    found = read_splat_file(path, stored_frame=stored_frame, drop_invalid=True)
    name = Path(path).resolve()
    stem = name.parent.name if name.name in IN_FOLDERS else name.stem.removesuffix(".compressed")
    said = found.dropped, found.antialiased, found.frame, found.offset
    return SceneInput(stem or "scene", found.gaussians, None, *said)


def note_offset(path: Path, offset: Offset, frame: str | None = None) -> None:
    """Say what the positions in a file are relative to, in its own axes, and whether the file says it.

    `frame`: the axes that were asked for. Nothing is said of positions that are relative to nothing.
    """
    from splatlearn.files.formats import holds_offset, offset_in

    if offset == NO_OFFSET:
        return
    said = "which the file says too" if holds_offset(path) else "which the file has no place for: note it elsewhere"
    note(f"positions in {path.name} are relative to {shown_offset(offset_in(path, offset, frame))}, {said}")


def scene_files(scene: str) -> list[Path]:
    """The files that make up an input: all of a folder, or what lies beside a meta.json, splats.json or .gltf file."""
    path = Path(scene)
    if path.is_dir():
        return [each for each in path.iterdir() if each.is_file()]
    if not is_splat_file(scene):
        return [path]
    from splatlearn.files.formats import files_beside

    return [path, *files_beside(path)]


def output_scene(
    out: str, overwrite: bool, inputs: Sequence[str] = (), format: SplatFormat | None = None
) -> list[Path]:
    """Check that a command may write a splat file and all files that belong to it, and return them, `out` first.

    Raises InputError as `output_file` does, and for an unknown ending without a format.
    """
    from splatlearn.files.formats import files_beside

    read = [file for each in inputs for file in scene_files(each)]
    path = output_file(out, overwrite, inputs=read, example="scene.spz")
    return [path, *(output_file(each, overwrite, inputs=read) for each in files_beside(path, format))]
