"""`splatlearn compress SCENE --out FILE`: the best small file of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tyro

from splatlearn.cli.notes import note
from splatlearn.cli.progress import progress_bar
from splatlearn.cli.scene_input import SceneInput, note_offset, output_scene, read_scene
from splatlearn.core.errors import InputError

if TYPE_CHECKING:
    from splatlearn.core.cameras import Camera

USUAL_PSNR = 38.0
"""dB between pictures of the file and of the scene, where neither budget nor quality is given."""


def compress_command(
    scene: tyro.conf.Positional[str],
    *,
    out: str,
    budget: str | None = None,
    psnr: float | None = None,
    degree: int | None = None,
    recover: int = 0,
    overwrite: bool = False,
) -> int:
    """Write the best .sl3 file of a scene within a budget of bytes, or the smallest one of a quality.

    Steps of all numbers and the share of Gaussians that are left out are searched for; pictures of the file are
    compared with those of the scene, from the cameras of a run's photographs, or from around a splat file.

    Args:
        scene: A splat file, or a run of reconstruct.
        out: The file to write, which ends in .sl3.
        budget: Largest size of the file, such as 2MB or 500kB. Default: --psnr decides.
        psnr: Least PSNR, in dB, between pictures of the file and of the scene. Default: 38, if --budget is not given.
        degree: Degree of the spherical harmonics to keep, 0 to 4. Default: all.
        recover: Number of steps in which the Gaussians that are kept are fitted to the scene's own pictures, where some
            are left out or harmonics are cut. 200 are worth their time for small files.
        overwrite: Replace the file if it exists.
    """
    from splatlearn.compression import compress
    from splatlearn.core.gaussians import SURFEL, Gaussians
    from splatlearn.core.memory import shown_bytes

    if budget is not None and psnr is not None:
        raise InputError("budget, psnr: expected one of the two, got both")
    if degree is not None and not 0 <= degree <= 4:
        raise InputError(f"degree: expected 0 to 4, got {degree}")
    if recover < 0:
        raise InputError(f"recover: expected a number of steps from 0, got {recover}")
    path, *_ = output_scene(out, overwrite, [scene], "sl3")
    if path.suffix.lower() != ".sl3":
        raise InputError(f"out: expected a name that ends in .sl3, got {path.name}; convert writes other formats")
    read = read_scene(scene)
    if read.dropped:
        note(f"{read.dropped:,} Gaussians that are not finite are left out")
    sky = read.sky_for_file()
    whole = read.gaussians if sky is None else Gaussians.cat([read.gaussians, sky])
    if whole.primitive == SURFEL:
        note("surfels are stored as flat Gaussians, which the file holds")
        whole = whole.flattened()
    quality = USUAL_PSNR if budget is None and psnr is None else psnr
    with progress_bar() as told:
        found = compress(
            whole,
            budget,
            quality,
            cameras_of(read),
            antialiased=read.antialiased,
            degree=degree,
            recover=recover,
            told=lambda done, total: told("compress", done, total),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    found.write(path)
    floats = 4 * sum(each[0].numel() for each in whole.tensors().values()) * whole.count
    print(
        f"{path}: {found.gaussians.count:,} of {whole.count:,} Gaussians, {shown_bytes(found.bytes)}, "
        f"{floats / found.bytes:.1f} times smaller than float32; its pictures are {found.psnr:.1f} dB from the scene's"
    )
    note_offset(path, read.offset)
    return 0


def cameras_of(read: SceneInput) -> list[Camera] | None:
    """Cameras of a run's photographs; None for a splat file."""
    if read.run is None:
        return None
    from splatlearn.reconstruction.results.small_file import cameras_of_views

    return cameras_of_views(read.run.capture.views)
