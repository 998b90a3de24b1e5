"""Results of an evaluation, and the `evaluation.json` that stores them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.typed import build, shown

EVALUATION_NAME = "evaluation.json"
SCHEMA_VERSION = 1

LARGEST = 2**28
"""Bytes of an `evaluation.json`, which names every unreadable image."""

Setting = str | int | float | bool | None


@dataclass(frozen=True)
class Score:
    """Scores of a probe.

    - `probe`, `budget`: which probe, on which part of the labels ("all", "5 per class", "10%").
    - `value`: accuracy, or mean IoU, in [0, 1]; where there were several draws, the mean of theirs.
    - `deviation`, `draws`: standard deviation over draws, and each draw's value.
    - `top5`: share of images whose class is among the five likeliest, where there are more than five classes.
    - `settings`: what was fixed or chosen on train.
    """

    probe: str
    value: float
    budget: str = "all"
    metric: str = "accuracy"
    deviation: float | None = None
    draws: tuple[float, ...] = ()
    top5: float | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name by which the same score of other models is found."""
        return self.probe if self.budget == "all" else f"{self.probe}, {self.budget}"


@dataclass(frozen=True)
class Subject:
    """One kind of features: their name, how many numbers they are, their scores and label-free diagnostics."""

    name: str
    numbers: int
    scores: tuple[Score, ...]
    diagnostics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Probes of a model on one labelled set, beside the same probes of its controls.

    - `data`, `split`: what it was evaluated on, and where the validation part is from; `contents` a hash of it.
    - `features`: which features were taken; `weights` a hash of the encoder's weights.
    - `chance`: score of knowing nothing: accuracy of the commonest class, or mean IoU of calling all background.
    - `subjects`: the model first.
    - `unreadable`: name and reason of images that were left out.
    """

    data: str
    split: str
    contents: str
    classes: tuple[str, ...]
    train_images: int
    val_images: int
    features: str
    weights: str
    chance: float
    seed: int
    subjects: tuple[Subject, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.subjects:
            raise InputError("subjects: expected at least the model, got none")

    @property
    def model(self) -> Subject:
        """The model's own scores."""
        return self.subjects[0]

    @property
    def title(self) -> str:
        """What it was evaluated on, and which features."""
        return f"{self.data}, {self.features}"

    def replaces(self, other: Evaluation) -> bool:
        """Whether the other one is of the same data, by its name or its contents, and the same features."""
        return self.features == other.features and (self.data == other.data or self.contents == other.contents)


def save_evaluation(folder: str | Path, evaluation: Evaluation) -> Path:
    """Put an evaluation into the `evaluation.json` of a folder, in place of one on the same data and features.

    Written beside and renamed; evaluations on other data stay. Returns the file's path. Raises InputError when the file
    that is there cannot be read.
    """
    path = Path(folder) / EVALUATION_NAME
    kept = [each for each in read_evaluations(folder) if not evaluation.replaces(each)]
    ordered = sorted([*kept, evaluation], key=lambda each: each.title)
    text = json.dumps({"schema_version": SCHEMA_VERSION, "evaluations": [asdict(each) for each in ordered]}, indent=2)
    write_whole(path, text + "\n")
    return path


def read_evaluations(folder: str | Path) -> list[Evaluation]:
    """The evaluations in a folder's `evaluation.json`; none where there is no such file.

    Raises InputError when the file is torn, or of another version.
    """
    path = Path(folder) / EVALUATION_NAME
    if not path.is_file():
        return []
    try:
        found = read_object(path, LARGEST)
        version = found["schema_version"]
        if type(version) is int and version == SCHEMA_VERSION:
            return [build(Evaluation, each, finite=False) for each in found["evaluations"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path}: expected a file of `splatlearn evaluate`, got one that cannot be read ({error}); "
            "move it away and evaluate again"
        ) from error
    raise FormatError(
        f"{path}: expected schema_version {SCHEMA_VERSION}, got {shown(version)}; update splatlearn to read it"
    )
