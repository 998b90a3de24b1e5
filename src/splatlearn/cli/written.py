"""What commands may write into folders of runs, evaluations and models, and what they say that they wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splatlearn.core.disk.outputs import MARKER, Inputs, Outputs, outputs_in
from splatlearn.core.errors import InputError, some_of
from splatlearn.evaluation.results import EVALUATION_NAME, read_evaluations
from splatlearn.models.folders.card import CARD_NAME, may_write_card


def is_run(folder: Path) -> bool:
    """Return whether a training run lives in this folder."""
    marks = ("checkpoints", "log.jsonl", "environment.json")
    return (folder / "recipe.json").is_file() and any((folder / mark).exists() for mark in marks)


def check_evaluation_folder(out: str | Path, own: bool) -> None:
    """Check that an evaluation may be written into the folder `out`: `evaluation.json` and its page.

    The folder that is evaluated (`own`), a run and a folder with an `evaluation.json` own these names and need no
    marker: an evaluation is added to those in the file, and the page shows all of them. Raises InputError as
    `outputs_in` and `read_evaluations` do.
    """
    folder = Path(out)
    page = "report.html" if is_run(folder) else "evaluation.html"
    if (folder / EVALUATION_NAME).exists():
        read_evaluations(folder)
        own = True
    outputs_in(out, [EVALUATION_NAME, page], owned=lambda name: own or is_run(folder))


def model_outputs(out: str | Path, names: Sequence[str], overwrite: bool, inputs: Inputs = ()) -> Outputs:
    """Check that a model may be written into the folder `out`, which is its own: new or empty, unless `overwrite`.

    A person's own `README.md` stays. Raises InputError as `outputs_in` does, for a folder with other content unless
    `overwrite` is given, and for the folder of a run.
    """
    folder = Path(out)
    mine = [name for name in names if name != CARD_NAME or may_write_card(folder)]
    if folder.is_dir():
        if is_run(folder):
            raise InputError(
                f"out: expected a folder for the model alone, got the run in {folder}; choose another with --out"
            )
        if any(each.name != MARKER for each in folder.iterdir()) and not overwrite:
            raise InputError(f"out: {folder} exists; choose another with --out, or give --overwrite")
    return outputs_in(out, mine, overwrite, inputs=inputs)


def say_written(folder: Path, names: Sequence[str], images: int, model: str | None = None) -> None:
    """Print the names of the files that were written into a folder, the number of images and the model."""
    if not names:
        return
    of = f"{images} image{'' if images == 1 else 's'}"
    many = f"{folder}: {len(names)} files ({some_of(names)})"
    what = f"{folder / names[0]}: {of}" if len(names) == 1 else f"{many} of {of}"
    print(f"{what}; model: {model}" if model else what)
