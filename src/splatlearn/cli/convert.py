"""`splatlearn convert SCENE OUT`: a scene as a splat file of any format."""

from __future__ import annotations

from pathlib import Path

import tyro

from splatlearn.cli.notes import note
from splatlearn.cli.scene_input import read_scene
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError


def convert_command(
    scene: tyro.conf.Positional[str],
    out: tyro.conf.Positional[str],
    *,
    degree: int | None = None,
    min_opacity: float = 0.0,
    overwrite: bool = False,
) -> int:
    """Write a scene as a splat file of another format.

    Args:
        scene: A splat file, or a run of reconstruct.
        out: The file to write; its ending says the format: .ply, .compressed.ply, .spz, .sog, .splat, .glb or .gltf.
        degree: Degree of the spherical harmonics to keep, 0 to 4. Default: all that the format holds.
        min_opacity: Leave out Gaussians whose opacity is below this value.
        overwrite: Replace the file if it exists.
    """
    from splatlearn.files import write_splats
    from splatlearn.files.formats import highest_degree

    if degree is not None and not 0 <= degree <= 4:
        raise InputError(f"degree: expected 0 to 4, got {degree}")
    if not 0 <= min_opacity <= 1:
        raise InputError(f"min_opacity: expected a number from 0 to 1, got {min_opacity}")
    path = output_file(out, overwrite, inputs=[Path(scene)], example="scene.spz")
    read = read_scene(scene)
    gaussians = read.gaussians
    most = highest_degree(path)
    if degree is None and most < gaussians.degree:
        note(f"{path.suffix} holds harmonics up to degree {most}: those above it are left out")
        degree = most
    if degree is not None and degree < gaussians.degree:
        gaussians = gaussians.with_degree(degree)
    if min_opacity > 0:
        gaussians = gaussians.select(gaussians.opacities >= min_opacity)
        if not gaussians.count:
            raise InputError(f"min_opacity: expected Gaussians of at least {min_opacity}, got none in {scene}")
    if read.dropped:
        note(f"{read.dropped:,} Gaussians that are not finite are left out")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_splats(path, gaussians, antialiased=read.antialiased)
    beside = [path.with_suffix(".bin")] if path.suffix == ".gltf" else []
    size = sum(each.stat().st_size for each in [path, *beside])
    each = size / gaussians.count
    print(
        f"{path}: {gaussians.count:,} Gaussians, degree {gaussians.degree}, {size / 1e6:.2f} MB, {each:.1f} bytes each"
    )
    return 0
