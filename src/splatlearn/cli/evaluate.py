"""`splatlearn evaluate RUN --data LABELLED`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from splatlearn.cli.choices import Machine
from splatlearn.cli.notes import changed, note_left_out, note_unused
from splatlearn.cli.scene_input import is_reconstruction
from splatlearn.core.disk.outputs import check_folder
from splatlearn.core.errors import InputError
from splatlearn.evaluation.options import EvaluationOptions

CACHE_NAME = "features"


@dataclass(frozen=True)
class EvaluationInput:
    """What is evaluated on, and where the results go."""

    data: str | None = None
    """Labelled images: a folder class/*.jpg, optionally inside train and val, a parquet file or a Hub name; for a model
    of splat sets a folder class/*.ply. Default: none, which needs --segmentation."""
    image_column: str | None = None
    """Image column of parquet or Hub data. Default: chosen by its type."""
    label_column: str | None = None
    """Label column of parquet or Hub data, with numbers or text. Default: chosen by its type or name."""
    segmentation: str | None = None
    """Folder with images/NAME.jpg and masks/NAME.png (class numbers; 255 is void) for a segmentation probe on patch
    tokens. Default: none."""
    out: str | None = None
    """Folder for evaluation.json and the report. Default: RUN."""
    cache: str | None = None
    """Folder in which extracted features are cached. Default: "features" in the folder of the results."""


@dataclass(frozen=True)
class PerceptualInput:
    """Weights of the perceptual distance LPIPS, for reconstructions; the package has none of them."""

    lpips_trunk: str | None = None
    """File with the state dict of torchvision's alexnet or vgg16 (.pth or .safetensors), with --lpips-linear.
    Default: none."""
    lpips_linear: str | None = None
    """File with the linear layers of LPIPS for this network, such as weights/v0.1/alex.pth of the package lpips.
    Default: none."""


def evaluate_command(
    run: tyro.conf.Positional[str],
    data: Annotated[EvaluationInput, tyro.conf.arg(name="")] = EvaluationInput(),
    options: Annotated[EvaluationOptions, tyro.conf.arg(name="")] = EvaluationOptions(),  # noqa: B008
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine(),  # noqa: B008
    perceptual: Annotated[PerceptualInput, tyro.conf.arg(name="")] = PerceptualInput(),
) -> int:
    """Probe a pre-trained model's features with labelled samples; or score a reconstruction on held-out photographs.

    Scores of a model are added to the run's report, those of a reconstruction to its scores.json.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id; or a run of reconstruct, which needs no data.
    """
    from splatlearn.models.folders.io import is_of_splats

    if is_reconstruction(run):
        from splatlearn.cli.evaluate_scene import evaluate_scene

        given = {name: value for part in (data, options, machine) for name, value in _changed(part).items()}
        note_unused(given, "on a reconstruction, which is scored on its own photographs")
        return evaluate_scene(run, perceptual.lpips_trunk, perceptual.lpips_linear)
    note_unused(_changed(perceptual), "on a model: it is a distance of a reconstruction's pictures")
    from splatlearn.cli.evaluating import results_folder

    if data.data is None and data.segmentation is None:
        raise InputError("data: expected labelled images (--data) or images with masks (--segmentation), got neither")
    out = results_folder(run, data.out)
    if is_of_splats(run):
        return _of_splats(run, data, options, machine, out)
    from splatlearn.cli.evaluating import evaluations, extraction_on, print_evaluation, write_report
    from splatlearn.cli.progress import progress_bar
    from splatlearn.cli.which_model import described
    from splatlearn.cli.written import check_evaluation_folder
    from splatlearn.data import open_labelled
    from splatlearn.evaluation import save_evaluation
    from splatlearn.evaluation.segmentation_data import open_segmented_images, segment_classes
    from splatlearn.images import left_out_of
    from splatlearn.models import load_model

    check_evaluation_folder(out, own=data.out is None)
    cache = out / CACHE_NAME if data.cache is None else Path(data.cache)
    check_folder(cache, "cache")
    extraction = extraction_on(machine)
    model = load_model(run, extraction.device)
    labelled = None if data.data is None else open_labelled(data.data, data.image_column, data.label_column)
    segmented = None if data.segmentation is None else open_segmented_images(data.segmentation)
    _note_unused(data, options)
    if labelled is not None:
        note_left_out(data.data or "", left_out_of(labelled.train, labelled.val))
    if segmented is not None:
        note_left_out(data.segmentation or "", left_out_of(segmented))
    if labelled is not None and segmented is not None:
        # What is wrong with the masks is told before the other evaluation takes its time.
        with progress_bar() as told:
            segment_classes(segmented, told)
    for evaluation in evaluations(model, labelled, segmented, options, extraction, cache):
        save_evaluation(out, evaluation)
        print_evaluation(evaluation)
    print(f"done: {out / 'evaluation.json'}, {write_report(out)}; model: {described(run)}")
    return 0


def _of_splats(run: str, data: EvaluationInput, options: EvaluationOptions, machine: Machine, out: Path) -> int:
    from splatlearn.cli.evaluate_splats import evaluate_splats
    from splatlearn.cli.written import check_evaluation_folder

    given = changed(data, "image_column", "label_column", "segmentation", "cache") | changed(options, "block")
    given |= changed(machine, "precision", "workers")
    note_unused(given, "on a model of splat sets")
    check_evaluation_folder(out, own=data.out is None)
    return evaluate_splats(run, data.data, out, options, machine)


OPTIONS_OF = {
    "knn": ("neighbours", "knn_temperature"),
    "linear": ("linear",),
    "few-shot": ("shots", "shares", "draws"),
}
"""Options that one probe alone has."""
OF_IMAGES = ("probes", "pooling", "block", "diagnostics", *(name for names in OPTIONS_OF.values() for name in names))
"""Options that labelled images alone have."""


def _changed(options: Any) -> dict[str, bool]:
    """Which options are not at their defaults."""
    return changed(options, *(field.name for field in fields(options) if field.default is not MISSING))


def _note_unused(data: EvaluationInput, options: EvaluationOptions) -> None:
    if data.data is None:
        given = changed(data, "image_column", "label_column", "cache") | changed(options, *OF_IMAGES)
        note_unused(given, "without --data: the segmentation probe has a recipe of its own")
        return
    for probe, names in OPTIONS_OF.items():
        if probe not in options.probes:
            note_unused(changed(options, *names), f"without {probe} among --probes")
