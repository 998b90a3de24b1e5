"""The recipe of a pre-training run: every choice, as one tree of dataclasses.

The fields are the command-line options, their docstrings its help. `None` stands for "the method's own value", which
`Recipe.resolved` fills in, so that a run's `recipe.json` says everything.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from tyro.conf import Positional

from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.core.typed import shown
from splatlearn.models.options import ModelOptions
from splatlearn.runs.recipe import check_choices, check_range, filled
from splatlearn.training.pretraining.mutual_recipe import WEIGHTS, MutualInformationOptions, check_mutual_information
from splatlearn.training.pretraining.probe_options import ProbeOptions
from splatlearn.training.pretraining.recipe_migrations import migrate_recipe
from splatlearn.training.splat_recipe import SplatTraining, check_splats, resolved_for_splats
from splatlearn.training.training_recipe import RunOptions, TrainingRecipe, check_betas, check_crop_scale, check_run

Method = Literal["gmae", "mae", "mi-gmae", "mi-mae", "splat-mae", "splat-jepa"]
PixelError = Literal["squared", "pattern", "both"]
RecipePreset = Literal["default", "paper", "laptop"]

MASK_RATIO = 0.75
"""Share of the patches of an image that is hidden."""
SMALL_SIZES = ("micro", "tiny", "small")
"""Sizes of encoders for which the default preset has choices of its own."""
SMALL_RATE = 4e-3
"""Their learning rate at 256 images a step: 1e-3 at 64, as the weights in the package were trained with."""
GENTLE_RATE = 1e-3
"""The same from trained weights, which keeps what they know."""


@dataclass(frozen=True)
class DataOptions:
    """Training data."""

    data: str
    """Images: a folder (sub-folders are fine), a parquet or tar file, folder or URL, or a Hugging Face Hub name; for
    splat-mae and splat-jepa a folder of splat files."""
    split: str = "train"
    """Split of the data to train on, if the data has splits."""
    image_column: str | None = None
    """Image column of parquet or Hub data. Default: chosen by its type."""
    shuffle_window: int | None = None
    """Number of samples that are shuffled together if shards are streamed. Tar shards and URLs are always streamed
    (default: 4096). Local parquet is streamed only if this option is given; otherwise it is read in any order."""
    lanes: int = 64
    """Number of streams among which streamed shards are divided. Many processes need more (docs/scaling.md)."""
    crop_scale: tuple[float, float] | None = None
    """Smallest and largest area of a random crop, as fractions of the image. Default: 0.2 1 for MAE, 0.08 1 for GMAE,
    as in the papers."""
    flip: float = 0.5
    """Probability that a crop is mirrored."""
    grow_from: float = 1.0
    """Initial side of the crops, as a fraction of the model's image size; it grows by whole patches."""
    grow_for: float = 0.5
    """Fraction of the run over which the crops grow."""
    workers: int | None = None
    """Number of processes that decode and crop. Default: 1 on a CPU; with a GPU, the number of cores, at most 16."""
    max_unreadable: float = 0.05
    """Largest fraction of unreadable images, which are skipped and counted; above it, the run stops."""


@dataclass(frozen=True)
class ObjectiveOptions:
    """What the model predicts, and how its error is measured."""

    mask_ratio: float | None = None
    """Fraction of the patches, or of the groups of a splat set, that are hidden from the encoder. Default: 0.75, or 0.6
    for splat sets."""
    normalize_targets: bool | None = None
    """Standardise every target patch. Default: yes for MAE with squared errors (features improve), no otherwise; with
    GMAE it does harm."""
    visible_weight: float | None = None
    """Weight of visible patches in the loss; hidden patches have weight 1. Default: 1 for GMAE, 0 for MAE and in the
    paper preset."""
    error: PixelError | None = None
    """squared: squared errors of pixels; pattern: errors of the patches' patterns, independent of their contrast, with
    little weight on mean colours; both: the sum. Default: both for gmae, pattern for mi-gmae; squared for MAE, with
    normalised targets and in the paper preset."""


@dataclass(frozen=True)
class OptimizerOptions:
    """Optimiser and schedule."""

    epochs: int = 400
    """Number of passes over the data."""
    batch_size: int = 64
    """Number of images in one forward pass of one process."""
    accumulate: int = 1
    """Number of forward passes whose gradients are accumulated for one step."""
    base_learning_rate: float | None = None
    """Learning rate at 256 images per step; it is scaled linearly with that number. Default: 4e-3 for models up to
    small, or 1e-3 if they start from trained weights; for larger models and in the paper preset, 1.5e-4 for MAE and
    1e-4 for GMAE."""
    warmup_epochs: float | None = None
    """Number of epochs of linear warm-up. Default: 40 for MAE, 5 for GMAE, but at most a tenth of all epochs."""
    min_learning_rate: float = 0.0
    """Learning rate at the end of the cosine schedule."""
    weight_decay: float = 0.05
    """Weight decay of AdamW; it does not apply to biases and norms."""
    decay_tokens: bool | None = None
    """Apply weight decay also to the class token, mask token, queries and anchors. Default: only in the paper
    preset."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of AdamW's two moments."""
    clip_norm: float | None = None
    """Norm at which the gradient is clipped; 0: no clipping. Default: 2, or 0 for MAE in the paper preset."""


@dataclass(frozen=True)
class Recipe(TrainingRecipe):
    """Everything that fixes a pre-training run."""

    other_data = "start a new run from its weights with --start-from {run} and another --out"

    method: Positional[Method]
    """What to pre-train. The mi- methods use several masks for each image and add mutual-information terms; the splat-
    methods learn from splat files."""
    data: DataOptions
    run: RunOptions
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    mutual: MutualInformationOptions = field(default_factory=MutualInformationOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    model: str | None = None
    """Name of the model. Default: gmae_vit_base_patch16_224, or mae_vit_base_patch16_224 for mae and mi-mae, or
    splat-mae_vit_small or splat-jepa_vit_small."""
    preset: RecipePreset = "default"
    """default: this project's choices; paper: the published choices (docs/concepts/paper_preset.md lists the
    differences); laptop: choices for half an hour on two CPU cores. Other options override single choices of a
    preset."""
    options: ModelOptions = field(default_factory=ModelOptions)
    splats: SplatTraining = field(default_factory=SplatTraining)
    start_from: str | None = None
    """Model whose weights (encoder and decoder) initialise training: a run, a model folder, the name of a packaged
    model or a Hub id. Model options that are not given are taken from that model. Default: fresh weights."""
    probe: ProbeOptions = field(default_factory=ProbeOptions)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def kind(self) -> str:
        """The kind of model that the method trains: mae, gmae, splat-mae or splat-jepa."""
        return self.method.removeprefix("mi-")

    @property
    def learns_from_splats(self) -> bool:
        """Whether the samples are splat sets."""
        return self.method.startswith("splat-")

    @classmethod
    def _stored(cls, values: dict[str, Any]) -> Recipe:
        """The recipe with what an older version did not know yet set to the values of its time."""
        return cls.from_dict(migrate_recipe(values)).resolved()

    def resolved(self) -> Recipe:
        """This recipe with the method's own values in place of None, the model's options among them.

        Numbers of the optimiser: the papers' pre-training recipes. The paper preset's are all theirs (He et al. 2022,
        table 8 and the official code; arXiv 2501.03229 and its authors' code).
        """
        if self.learns_from_splats:
            return resolved_for_splats(self)
        # The command line needs recipes before it needs PyTorch.
        from splatlearn.models import complete_options

        mae, several, paper = self.kind == "mae", self.method != self.kind, self.preset == "paper"
        weights = WEIGHTS[self.kind] if several else (0.0, 0.0)
        warmup = min(40.0 if mae else 5.0, self.optimizer.epochs / 10)
        published = mae or paper
        painted = "squared" if published or self.objective.normalize_targets else "pattern" if several else "both"
        objective = filled(self.objective, error=painted, visible_weight=0.0 if published else 1.0)
        model = self.model or f"{self.kind}_vit_base_patch16_224"
        return dataclasses.replace(
            self,
            model=model,
            options=complete_options(model, "paper" if paper else "default", self.options),
            data=filled(self.data, crop_scale=(0.2, 1.0) if mae else (0.08, 1.0)),
            objective=filled(objective, normalize_targets=mae and objective.error == "squared", mask_ratio=MASK_RATIO),
            mutual=filled(
                self.mutual,
                masks=4 if several else 1,
                maximize_weight=weights[0],
                minimize_weight=weights[1],
            ),
            optimizer=filled(
                self.optimizer,
                base_learning_rate=self._rate(model),
                warmup_epochs=warmup,
                decay_tokens=paper,
                clip_norm=0.0 if mae and paper else 2.0,
            ),
        )

    def _rate(self, model: str) -> float:
        """The default learning rate at 256 images a step.

        The papers' rates are for hundreds of thousands of steps of large models. Small ones, which people train for
        thousands of steps, hardly move at them.
        """
        if self.preset == "paper" or model.split("_")[2] not in SMALL_SIZES:
            return 1.5e-4 if self.kind == "mae" else 1e-4
        return SMALL_RATE if self.start_from is None else GENTLE_RATE


def _check(recipe: Recipe) -> None:
    """Raise InputError naming the first field outside its range, before anything is read or written."""
    data, objective, optimizer, run = recipe.data, recipe.objective, recipe.optimizer, recipe.run
    kinds = {"data": DataOptions, "objective": ObjectiveOptions, "optimizer": OptimizerOptions, "run": RunOptions}
    for name, kind in kinds.items():
        check_kind(name, getattr(recipe, name), kind)
    check_kind("method", recipe.method, str)
    check_choices(
        method=(recipe.method, Method),
        preset=(recipe.preset, RecipePreset),
        error=(objective.error, PixelError),
    )
    check_run(run)
    if (recipe.model or recipe.kind).split("_")[0] != recipe.kind:
        raise InputError(f"model: expected a name that starts with {recipe.kind}_, got {shown(recipe.model)}")
    check_range(
        "a number above 0", lambda value: value > 0,
        epochs=optimizer.epochs, batch_size=optimizer.batch_size, accumulate=optimizer.accumulate,
        shuffle_window=data.shuffle_window, lanes=data.lanes,
    )  # fmt: skip
    check_range(
        "a number ≥ 0", lambda value: value >= 0,
        clip_norm=optimizer.clip_norm, weight_decay=optimizer.weight_decay, visible_weight=objective.visible_weight,
        min_learning_rate=optimizer.min_learning_rate, base_learning_rate=optimizer.base_learning_rate,
        warmup_epochs=optimizer.warmup_epochs, workers=data.workers,
    )  # fmt: skip
    check_range("a number between 0 and 1", lambda value: 0 < value < 1, mask_ratio=objective.mask_ratio)
    check_range(
        "a number between 0 and 1", lambda value: 0 <= value <= 1,
        flip=data.flip, max_unreadable=data.max_unreadable, grow_for=data.grow_for,
    )  # fmt: skip
    check_range("a number above 0 and at most 1", lambda value: 0 < value <= 1, grow_from=data.grow_from)
    check_betas(optimizer.betas)
    check_crop_scale(data.crop_scale)
    if objective.error in ("pattern", "both") and objective.normalize_targets:
        raise InputError(
            f"error: expected squared with normalised targets, which have no contrast, got {objective.error}"
        )
    check_splats(recipe.splats)
    if not recipe.learns_from_splats and recipe.splats != SplatTraining():
        raise InputError(f"method: expected splat-mae or splat-jepa with options of splat sets, got {recipe.method}")
    check_mutual_information(recipe.mutual, optimizer.batch_size)
