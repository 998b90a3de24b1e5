"""`splatlearn export RUN --to …`: a model, or what it makes of a photograph, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import tyro
from typing_extensions import TypeIs

from splatlearn.cli.choices import ModelFormat
from splatlearn.cli.scene_input import output_scene
from splatlearn.core.errors import InputError
from splatlearn.files.choices import FileFormat
from splatlearn.models.exchange.choices import ExportTarget
from splatlearn.rendering.formula import EPS2D

ENDINGS: dict[FileFormat, str] = {
    "ply": ".ply",
    "compressed-ply": ".compressed.ply",
    "spz": ".spz",
    "sog": ".sog",
    "splat": ".splat",
    "gltf": ".glb",
    "sl3": ".sl3",
}


def export_command(
    run: tyro.conf.Positional[str | None] = None,
    image: tyro.conf.Positional[str | None] = None,
    *,
    to: FileFormat | ModelFormat,
    out: str | None = None,
    eps2d: float = EPS2D,
    refit_colors: bool = False,
    target: ExportTarget | None = None,
    license: str | None = None,
    private: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a model for timm, transformers, ONNX or the Hub, or the Gaussians of an image as a splat file.

    Args:
        run: A run folder, model folder or Hub id. Default: the package's gmae-tiny, if an image is given.
        image: The photograph whose Gaussians a splat file gets; its largest central crop of the model's aspect ratio is
            used. Default: none; formats of models take no image.
        to: Format. For a model: timm and hf (the encoder), hf-mae (MAE), onnx (the encoder), onnx-gaussians (image to
            Gaussians), hub (encoder and decoder, to the Hugging Face Hub). For an image: ply (3D Gaussian splatting),
            compressed-ply and sog (PlayCanvas), spz (Niantic), gltf (.glb), splat (antimatter15), sl3 (splatlearn).
        out: The file or folder to write, or owner/name on the Hub. Default: a name in the current folder, derived from
            the image or the run.
        eps2d: Variance, in px² of the model's image, added to every Gaussian of a splat file, as the renderer does, so
            that an enlarged view looks like the model's picture; 0: sharper.
        refit_colors: Refit the colours of a splat file within [0, 1], which every viewer shows, so that the picture
            stays close to the model's. Without this option, viewers clamp the model's own colours.
        target: What the MAE predicts, for hf-mae; normalized-patches if its decoder was imported and predicts patches.
            Default: from the recipe of its run.
        license: Licence of the weights for the model card, by its name on the Hub, such as cc-by-4.0. Default: none.
        private: Make a new Hub repository private.
        overwrite: Replace the file if it exists, or the files that an earlier call wrote to the folder.
    """
    from splatlearn.cli import export_model as work
    from splatlearn.cli.clamping import to_write
    from splatlearn.cli.export_splats import central_box, instructions
    from splatlearn.cli.notes import note as say
    from splatlearn.cli.which_model import described, load_gmae, model_and_images
    from splatlearn.files import to_pinhole, write_splats
    from splatlearn.report.hardly_trained import hardly_trained
    from splatlearn.zero_shot import gaussians_of

    if _is_model_format(to):
        if run is None:
            raise InputError(f"run: expected a run or model folder, or a Hub id, to write as {to}, got none")
        if image is not None:
            raise InputError(f"image: expected none with --to {to}, which writes the model, got {image}")
        if refit_colors:
            raise InputError(f"refit-colors: expected a splat format, such as --to ply, got --to {to}")
        print(work.export_model(run, work.ModelExport(to, out, target, license, private, overwrite)))
        return 0
    run, images = model_and_images(run, () if image is None else (image,))
    if not images:
        raise InputError(f"image: expected a photograph, whose Gaussians are written as {to}, got none")
    image = images[0]
    name = Path(image).stem + ENDINGS[to]
    path, *_ = output_scene(name if out is None else out, overwrite, [image], to)
    model = load_gmae(run)
    seen = central_box(model, Path(image))
    read = gaussians_of(model, seen)
    shown, note = to_write(read, to, refit_colors)
    baked, camera = to_pinhole(shown.gaussians[0], read.camera, eps2d)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_splats(path, baked, to)
    where = f"{instructions(camera, read.background, eps2d)}{f', but for colours. {note}' if note else '.'}"
    print(f"{path}: {baked.count} Gaussians; model: {described(run)}. {where}")
    if hardly := hardly_trained(run, model, seen):
        say(f"{run} is {hardly}")
    return 0


def _is_model_format(to: FileFormat | ModelFormat) -> TypeIs[ModelFormat]:
    return to in get_args(ModelFormat)
