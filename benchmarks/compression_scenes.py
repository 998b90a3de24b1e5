"""Scenes of the benchmark of compression: splat files of several makers, and reconstructions made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from splatlearn.captures import Photographs, View
from splatlearn.compression import surrounding_cameras
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import evenly_spaced
from splatlearn.files import read_splat_file
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.results.evaluator import Evaluator
from splatlearn.reconstruction.results.scene_run import SceneRun, is_scene_run, moved, shown_background

VIEWS, KNOWN = 8, 24
"""Largest number of views of which pictures are compared, and that an encoder may look from."""
LONGER_SIDE = 400
"""Largest width or height of these pictures, pixels."""


@dataclass(frozen=True)
class Source:
    """Where a scene comes from.

    - `path`: in the folder of data: of a splat file, or of a capture that is reconstructed.
    - `grids`: formats whose steps the numbers of a file lie on already, since it was one of them before: a second
      encoding loses nothing, or less than a first one.
    """

    name: str
    path: str
    maker: str
    licence: str
    grids: tuple[str, ...] = ()
    is_capture: bool = False


SPLAT = ("splat",)
SOURCES = (
    Source("plush", "scenes3d/plush_multiview", "noname0310, photographs", "MIT", is_capture=True),
    Source("chair", "nerf_chair200", "1DInc, NeRF synthetic, pictures", "CC-0 (model)", is_capture=True),
    Source("lego", "scenes3d/nerf_lego200", "NeRF synthetic, pictures", "CC-BY-NC (model)", is_capture=True),
    Source("fox", "fox", "NVIDIA, photographs", "NVIDIA (research)", is_capture=True),
    Source("bonsai", "bonsai360", "Mip-NeRF 360, photographs", "none stated (research)", is_capture=True),
    Source("inria", "splat_files/inria_7000_sh3.ply", "INRIA's trainer, kacytran1122", "INRIA/MPII (research)"),
    Source("figure", "splat_files/misnamed_scene.compressed.ply", "pavel-around", "MIT"),
    Source("guitar", "scenes3d/gaussians/guitar.ply", "PlayCanvas", "MIT", ("compressed-ply",)),
    Source("playbot", "scenes3d/gaussians/playbot/sog_31k", "Stephane Agullo", "CC-BY-4.0", ("sog",)),
    Source("babylon", "splat_files/spz_v2_sh3.spz", "amaebi-dm, Babylon.js", "MIT", ("spz2", "spz3", "spz4")),
    Source("rope", "splat_files/gs_dynamics_rope.splat", "gs-dynamics, robo-alex", "MIT", SPLAT),
    Source("lucy", "splat_files/mesh2splat_lucy_10k.splat", "mesh2splat, Stanford", "Stanford (source)", SPLAT),
    Source("spot", "splat_objects/spot_10k.splat", "Keenan Crane", "CC0-1.0", SPLAT),
    Source("koala", "splat_objects/koala_10k.splat", "YahooJAPAN, odedstein-meshes", "CC-BY-3.0", SPLAT),
    Source("boat", "splat_objects/boat_10k.splat", "Stein, odedstein-meshes", "CC-BY-4.0", SPLAT),
    Source("boot", "splat_objects/boot_10k.splat", "inciprocal, odedstein-meshes", "CC-BY-4.0", SPLAT),
    Source("bust", "splat_objects/demosthenes_10k.splat", "ryanfb, odedstein-meshes", "CC-BY-4.0", SPLAT),
    Source("sword", "splat_objects/sword_10k.splat", "The Oakeshott Institute", "CC-BY-4.0", SPLAT),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene to compress.

    - `cameras`: single ones whose pictures are compared; `background`: of the pictures; `filter`: see `render`.
    - `known`: single cameras that an encoder may look from, of photographs that a reconstruction was fitted to.
    - `held_out`: PSNR and SSIM of given Gaussians against photographs that the scene was not fitted to; None for files.
    """

    source: Source
    gaussians: Gaussians
    cameras: list[Camera]
    known: list[Camera]
    background: Literal["black", "white"] = "black"
    filter: str = "point"
    held_out: Callable[[Gaussians], tuple[float, float]] | None = None


def opened(
    source: Source,
    data: Path,
    runs: Path,
    steps: int | None = None,
    max_gaussians: int | None = None,
    name: str | None = None,
    **options: float,
) -> Scene:
    """Read a scene, or reconstruct it into the folder `runs` where it is not there yet, with the preset `fast`.

    - `steps`, `max_gaussians`: of the reconstruction, None for those of the preset; `options`: further ones.
    - `name`: of the run, None for that of the source.
    """
    if not source.is_capture:
        found = read_splat_file(data / source.path, drop_invalid=True)
        # An encoder sees it from other sides.
        cameras, known = (
            [_sized(each) for each in surrounding_cameras(found.gaussians, count)] for count in (VIEWS, VIEWS + 5)
        )
        return Scene(source, found.gaussians, cameras, known, filter="mip" if found.antialiased else "point")
    folder = runs / (name or source.name)
    if not is_scene_run(folder) or SceneRun(folder).scores is None:
        more = {name: each for name, each in (("steps", steps), ("max_gaussians", max_gaussians)) if each is not None}
        reconstruct(data / source.path, folder, preset="fast", resume=is_scene_run(folder), **more, **options)
    return _of_run(source, SceneRun(folder))


def _of_run(source: Source, run: SceneRun) -> Scene:
    capture = run.capture
    views = [capture.views[index] for index in capture.held_out]
    background = shown_background(run.recipe, capture)
    fitted = [capture.views[index] for index in capture.training]

    def held_out(gaussians: Gaussians) -> tuple[float, float]:
        size = run.recipe.capture.max_size
        with Photographs(views, size, frame=capture.to_unit) as photographs:
            evaluator = Evaluator(photographs, background)
            evaluator.filter = run.filter
            scores = evaluator.all(moved(gaussians, capture.to_unit))
        return scores.psnr, scores.ssim

    cameras, known = _some_cameras(views, VIEWS), _some_cameras(fitted, KNOWN)
    return Scene(source, run.gaussians, cameras, known, background, run.filter, held_out)


def _some_cameras(views: Sequence[View], most: int) -> list[Camera]:
    """Cameras of some photographs, evenly chosen, in the capture's own coordinates."""
    chosen = [views[place] for place in evenly_spaced(len(views), min(most, len(views)))]
    with Photographs(chosen, LONGER_SIDE) as photographs:
        return [photographs.camera(index) for index in range(len(photographs))]


def _sized(camera: Camera) -> Camera:
    """The camera with pictures of `LONGER_SIDE`."""
    share = LONGER_SIDE / max(camera.height, camera.width)
    camera = camera.resized(round(share * camera.height), round(share * camera.width))
    return replace(camera, viewmats=camera.viewmats.to(torch.float32))
