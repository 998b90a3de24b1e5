"""Bytes of splat files against the quality of their pictures: every format that is written, and .sl3 at many points.

    python -m benchmarks.compression DATA [--runs runs/compression] [--scenes plush koala ...]
        [--again sl3 ...] [--json-file benchmarks/results/compression.json] [--markdown FILE]

Pictures of what a file holds are compared with those of the Gaussians before, from cameras around an object, or from
those of photographs that a reconstruction held out: PSNR over all pixels, mean SSIM, and mean FLIP (Andersson et al.
2020) if the package `flip-evaluator` is installed. For reconstructions the PSNR against these photographs is stated
too. Seconds are processor time, of encoding with the file written and of decoding from it.

Results are written after each scene, and those that the JSON file has are not made again, but for the arms that
`--again` names by how they begin. Reconstructions are made once, with the preset `fast`, in the folder `--runs`.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from benchmarks.common import table
from benchmarks.compression_scenes import SOURCES, Scene, opened
from benchmarks.compression_tables import markdown
from splatlearn.compression import compress, sensitivities
from splatlearn.core.cameras import Camera
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splats, write_splats
from splatlearn.files.formats import WRITERS, files_beside
from splatlearn.files.sl3.reader import read_sl3
from splatlearn.files.sl3.writer import sl3_bytes
from splatlearn.fitting.losses.metrics import ssim
from splatlearn.rendering import render
from splatlearn.runs.folder import environment

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "ply": (".ply", {}),
    "compressed-ply": (".compressed.ply", {}),
    "spz2": (".spz", {"spz_version": 2}),
    "spz3": (".spz", {"spz_version": 3}),
    "spz4": (".spz", {"spz_version": 4}),
    "sog": (".sog", {}),
    "splat": (".splat", {}),
    "gltf": (".glb", {}),
}
"""Endings of files and options of `write_splats` by the names of arms."""
COARSENESS = (0.5, 1.0, 2.0, 4.0)
"""Of .sl3 with all Gaussians; an arm each."""
SMALLER = (15, 20, 25)
"""The files of `compress` that are asked for are this many times smaller than float32 PLY: what was published, and the
goal."""
HALVINGS = 6
"""Steps of the search for the coarseness at which .sl3 is as good as SOG, over all octaves."""
BESIDE_PHOTOGRAPHS = ("spz4", "sog", "sl3 1", "sl3 2", "sl3 compress 15", "sl3 compress", "sl3 compress 25")
"""Arms whose pictures are compared with photographs that a reconstruction held out, too."""
SEARCHED = (-8.0, 2.0)
"""Octaves of coarseness between which .sl3 as good as SOG is searched."""


@dataclass(frozen=True)
class Options:
    """What is compressed."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the data; see `compression_scenes`."""
    runs: Path = Path("runs/compression")
    """Folder of the reconstructions."""
    scenes: tuple[str, ...] = tuple(source.name for source in SOURCES)
    """Names of scenes."""
    again: tuple[str, ...] = ()
    """Arms that are measured although the JSON file has them."""
    steps: int | None = None
    """Steps of the reconstructions. Default: those of the preset."""
    gaussians: int | None = None
    """Largest number of Gaussians of the reconstructions. Default: that of the preset."""
    json_file: Path = Path("benchmarks/results/compression.json")
    """File for the results, and of those that are there."""
    markdown: Path | None = None
    """File for the tables of the page of documentation."""


def main(options: Options) -> None:
    """Measure what is missing, and print a table."""
    sources = {source.name: source for source in SOURCES}
    if unknown := [name for name in options.scenes if name not in sources]:
        raise SystemExit(f"scenes: expected some of {', '.join(sources)}, got {unknown[0]}")
    result = {"environment": environment(), "scenes": {}}
    if options.json_file.is_file():
        result["scenes"] = json.loads(options.json_file.read_text())["scenes"]
    # Paths of this machine say nothing to others.
    result["environment"]["command"] = "benchmarks.compression DATA"
    for name in options.scenes:
        found = result["scenes"].setdefault(name, {"arms": {}})
        found["arms"] = {arm: each for arm, each in found["arms"].items() if not arm.startswith(options.again or "\0")}
        if not (missing := [arm for arm in ARMS if arm not in found["arms"]]):
            continue
        scene = opened(sources[name], options.data, options.runs, options.steps, options.gaussians)
        judge = Judge(scene)
        found |= _described(scene)
        for arm in missing:
            judge.beside_photographs = arm in BESIDE_PHOTOGRAPHS
            if (made := ARMS[arm](scene, judge, found["arms"])) is not None:
                found["arms"][arm] = made
                write_whole(options.json_file, json.dumps(result, indent=1) + "\n")
                print(f"{name} {arm}: {made.get('bytes', 0):,} bytes, {made.get('psnr', math.nan):.2f} dB", flush=True)
        write_whole(options.json_file, json.dumps(result, indent=1) + "\n")
    chosen = {name: result["scenes"][name] for name in options.scenes}
    print(_shown(chosen))
    if options.markdown is not None:
        options.markdown.write_text(markdown(chosen))


class Judge:
    """Pictures of a scene, with which those of a file are compared."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.pictures = [self.picture(scene.gaussians, camera) for camera in scene.cameras]
        self.beside_photographs = True
        begun = time.process_time()
        self.sensitivities = sensitivities(scene.gaussians, scene.known, scene.filter)
        self.seconds = time.process_time() - begun
        """That an encoder of .sl3 takes for what pictures change with."""

    def coded(self, coarseness: float, is_known: bool = True) -> bytes:
        """The .sl3 file of all Gaussians; its steps follow from the sensitivities if `is_known`."""
        known = self.sensitivities if is_known else None
        return sl3_bytes(self.scene.gaussians, self.scene.filter == "mip", coarseness, known=known)

    @torch.no_grad()
    def picture(self, gaussians: Gaussians, camera: Camera) -> Tensor:
        """The picture [3, H, W] of a camera."""
        background, filter = self.scene.background, self.scene.filter
        return render(gaussians, camera, background, depth=False, check=False, filter=filter).color.clamp(0, 1)

    def psnr(self, gaussians: Gaussians) -> float:
        """dB over all pixels of all views; equal pictures have 120."""
        made = [self.picture(gaussians, camera) for camera in self.scene.cameras]
        return _psnr(made, self.pictures)

    def scores(self, gaussians: Gaussians) -> dict[str, float | None]:
        """PSNR, SSIM and FLIP; PSNR and SSIM against photographs too, where there are some and the arm has them."""
        made = [self.picture(gaussians, camera) for camera in self.scene.cameras]
        pairs = list(zip(made, self.pictures, strict=True))
        similar = [float(ssim(one[None], two[None])) for one, two in pairs]
        found = {"psnr": _psnr(made, self.pictures), "ssim": sum(similar) / len(similar), "flip": _flip(pairs)}
        if self.beside_photographs and self.scene.held_out is not None:
            found["photo_psnr"], found["photo_ssim"] = self.scene.held_out(gaussians)
        return found


def _psnr(made: list[Tensor], wanted: list[Tensor]) -> float:
    errors = torch.cat([(one - two).double().flatten() for one, two in zip(made, wanted, strict=True)])
    return -10 * math.log10(max(float(errors.square().mean()), 1e-12))


def _flip(pairs: list[tuple[Tensor, Tensor]]) -> float | None:
    """The mean error over views, None without the package."""
    try:
        flip_evaluator = import_module("flip_evaluator")
    except ImportError:
        return None
    total = 0.0
    for one, two in pairs:
        test, reference = (each.permute(1, 2, 0).contiguous().numpy() for each in (one, two))
        total += float(flip_evaluator.evaluate(reference, test, "LDR")[1])
    return total / len(pairs)


def _described(scene: Scene) -> dict[str, Any]:
    """What is said of a scene beside its arms."""
    source, gaussians = scene.source, scene.gaussians
    about = {"maker": source.maker, "licence": source.licence, "file": source.path, "grids": list(source.grids)}
    about |= {"count": gaussians.count, "degree": gaussians.degree, "is_fitted": source.is_capture}
    about["processor"] = environment()["processor"]
    if scene.held_out is not None:
        about["photo_psnr"], about["photo_ssim"] = scene.held_out(gaussians)
    return about


Arm = Callable[[Scene, Judge, dict[str, Any]], dict[str, Any] | None]
"""Measures one way to store a scene, with what is known of the arms before; None where it does not apply."""


def _stored(ending: str, options: dict[str, Any], scene: Scene, judge: Judge, known: dict[str, Any]) -> dict[str, Any]:
    """A file of `write_splats`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scene{ending}"
        # What a format cannot hold is left out.
        highest = next(each.highest_degree for each in WRITERS.values() if ending in each.endings)
        begun = time.process_time()
        kept = scene.gaussians.with_degree(min(highest, scene.gaussians.degree))
        write_splats(path, kept, antialiased=scene.filter == "mip", **options)
        written = time.process_time()
        found = read_splats(path)
        read = time.process_time()
        size = sum(each.stat().st_size for each in (path, *files_beside(path)) if each.exists())
    return {"bytes": size, **judge.scores(found), "encode": written - begun, "decode": read - written}


def _as_its_maker(scene: Scene, judge: Judge, known: dict[str, Any]) -> dict[str, Any] | None:
    """SPZ 4 with harmonics of 5 bits in degree 1 and 4 bits above, as Niantic's own program rounds them."""
    sh = scene.gaussians.sh
    if sh is None or not scene.gaussians.degree:
        return None
    levels, steps = (128 * sh[:, 1:]).round() + 128, torch.full((sh.shape[1] - 1, 1), 16.0)
    steps[:3] = 8
    rounded = (((levels + steps / 2) / steps).floor() * steps).clamp(0, 255) / 128 - 1
    snapped = replace(scene.gaussians, sh=torch.cat([sh[:, :1], rounded], dim=1))
    return _stored(".spz", {"spz_version": 4}, replace(scene, gaussians=snapped), judge, known)


def _coded(
    coarseness: float, scene: Scene, judge: Judge, known: dict[str, Any], is_known: bool = True
) -> dict[str, Any]:
    """An .sl3 file of all Gaussians, with steps that suit the known cameras if `is_known`."""
    begun = time.process_time()
    content = judge.coded(coarseness, is_known)
    written = time.process_time()
    found = read_sl3(content, None, scene.gaussians.count).gaussians
    read = time.process_time()
    seconds = {"encode": is_known * judge.seconds + written - begun, "decode": read - written}
    return {"bytes": len(content), **judge.scores(found), **seconds, "coarseness": coarseness, "is_known": is_known}


def _as_good_as(other: str, scene: Scene, judge: Judge, known: dict[str, Any]) -> dict[str, Any] | None:
    """The smallest .sl3 with all Gaussians whose PSNR is at least that of another arm, of either kind of steps.

    The best file that is found, where none is as good.
    """
    if other in scene.source.grids:
        return None
    wanted = known[other]["psnr"]
    found = [_coded(_coarsest(judge, wanted, is_known), scene, judge, known, is_known) for is_known in (True, False)]
    return min(found, key=lambda each: (max(0.0, wanted - each["psnr"]), each["bytes"]))


def _coarsest(judge: Judge, wanted: float, is_known: bool) -> float:
    """The largest coarseness that bisection finds whose file has at least the PSNR that is wanted."""
    low, high = SEARCHED
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        made = read_sl3(judge.coded(2**middle, is_known), None, judge.scene.gaussians.count)
        if judge.psnr(made.gaussians) >= wanted:
            low = middle
        else:
            high = middle
    return 2**low


def compressed(smaller: int, scene: Scene, judge: Judge, known: dict[str, Any]) -> dict[str, Any] | None:
    """The file of `compress` so many times smaller than PLY; for reconstructions, with cameras that they saw."""
    if not scene.source.is_capture:
        return None
    begun = time.process_time()
    found = compress(
        scene.gaussians, known["ply"]["bytes"] // smaller, cameras=scene.known, background=scene.background,
        antialiased=scene.filter == "mip",
    )  # fmt: skip
    seconds = time.process_time() - begun
    return {
        "bytes": found.bytes,
        **judge.scores(found.gaussians),
        "encode": seconds,
        "share": found.share,
        "coarseness": found.coarseness,
    }


ARMS: dict[str, Arm] = {
    **{name: partial(_stored, *each) for name, each in FORMATS.items()},
    "spz4 as its maker": _as_its_maker,
    **{f"sl3 {each:g}": partial(_coded, each) for each in COARSENESS},
    "sl3 as sog": partial(_as_good_as, "sog"),
    **{f"sl3 compress{'' if each == 20 else f' {each}'}": partial(compressed, each) for each in SMALLER},
}


def _shown(scenes: dict[str, Any]) -> str:
    """All numbers as a table."""
    columns = ("scene", "arm", "bytes each", "dB", "SSIM", "FLIP", "photo dB", "encode s", "decode s")
    rows: list[tuple[str, ...]] = []
    for name, scene in scenes.items():
        for arm, made in scene["arms"].items():
            numbers = [
                "-" if made.get(key) is None else f"{made[key]:.{digits}f}"
                for key, digits in (
                    ("psnr", 2),
                    ("ssim", 4),
                    ("flip", 4),
                    ("photo_psnr", 2),
                    ("encode", 2),
                    ("decode", 2),
                )  # fmt: skip
            ]
            rows.append((name, arm, f"{made['bytes'] / scene['count']:.2f}", *numbers))
    return table(columns, rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
