"""The recipe of a fine-tuning run: the official MAE recipe, every choice of it an option.

Source: He et al. 2022 (arXiv 2111.06377), table 9, and the official code. `None` stands for the value that the recipe
has for an encoder of that depth, which `FinetuneRecipe.resolved` fills in.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from tyro.conf import Positional

from splatlearn.core.errors import InputError
from splatlearn.data.splat_sets.choices import Turn
from splatlearn.models.options import Pooling
from splatlearn.runs.recipe import check_choices, check_range, filled
from splatlearn.training.training_recipe import RunOptions, TrainingRecipe, check_betas, check_crop_scale, check_run


@dataclass(frozen=True)
class LabelledOptions:
    """Training data."""

    data: str
    """Labelled images: a folder CLASS/*.jpg, optionally inside train/ and val/, a parquet file or a Hub name; for a
    model of splat sets a folder CLASS/*.ply."""
    image_column: str | None = None
    """Image column of parquet or Hub data. Default: chosen by its type."""
    label_column: str | None = None
    """Label column of parquet or Hub data. Default: chosen by its name and type."""
    workers: int | None = None
    """Number of processes that decode and crop. Default: 1 on a CPU; with a GPU, the number of cores, at most 16."""
    max_unreadable: float = 0.05
    """Largest fraction of unreadable images, which are skipped and counted; above it, the run stops."""
    center_crop: float = 1.0
    """Side of the central crop for validation, as a fraction of the shorter side; 0.875 in the official recipe for
    photographs at 224 px."""
    validate_every: int = 1
    """Number of epochs between validations; the last epoch always has one."""


@dataclass(frozen=True)
class AugmentOptions:
    """Augmentation of the training images."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of a random crop, as fractions of the image."""
    flip: float = 0.5
    """Probability that a crop is mirrored."""
    rand_augment: float = 9.0
    """Magnitude of RandAugment, at most 10; 0: off. RandAugment needs kornia (the extra `finetune`)."""
    rand_augment_ops: int = 2
    """Number of operations that RandAugment draws for an image; each is applied with probability 0.5."""
    erase: float = 0.25
    """Probability that a rectangle of an image is replaced by noise (random erasing)."""
    mixup: float = 0.8
    """Alpha of mixup's Beta distribution; 0: off."""
    cutmix: float = 1.0
    """Alpha of CutMix's Beta distribution; 0: off. If mixup is on too, each batch draws one of the two."""
    mix: float = 1.0
    """Fraction of the batches that are mixed."""


@dataclass(frozen=True)
class SplatAugmentOptions:
    """Augmentation of splat sets, if the model is one of them; the other options of augmentation are then unused."""

    turn: Turn = "none"
    """Random rotation of sets: none; up: about the vertical axis; any."""
    resize: tuple[float, float] = (2 / 3, 3 / 2)
    """Smallest and largest random factor of a set's size."""
    shift: float = 0.2
    """Largest random shift of a set along each axis, in its radii."""


@dataclass(frozen=True)
class FinetuneOptimizerOptions:
    """Optimiser and schedule."""

    epochs: int | None = None
    """Number of passes over the data. Default: 100, or 50 for encoders of 24 or more blocks."""
    batch_size: int = 64
    """Number of images in one forward pass of one process."""
    accumulate: int = 1
    """Number of forward passes whose gradients are accumulated for one step. The official recipe has 1024 images per
    step."""
    base_learning_rate: float | None = None
    """Learning rate of the head at 256 images per step; it is scaled linearly with that number. Default: 5e-4, or 1e-3
    for encoders of 24 or more blocks."""
    layer_decay: float | None = None
    """Factor by which the learning rate falls from each block to the block below it. Default: 0.65, or 0.75 for
    encoders of 24 or more blocks."""
    warmup_epochs: float | None = None
    """Number of epochs of linear warm-up. Default: 5, but at most a tenth of all epochs."""
    min_learning_rate: float = 1e-6
    """Learning rate at the end of the cosine schedule."""
    weight_decay: float = 0.05
    """Weight decay of AdamW; it does not apply to biases, norms and tokens."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's two moments."""
    clip_norm: float | None = None
    """Norm at which the gradient is clipped. Default: no clipping."""
    drop_path: float | None = None
    """Probability that an image skips the last block; it falls linearly to 0 at the first block. Default: 0.1, 0.2 and
    0.3 for 12, 24 and 32 blocks."""
    smoothing: float = 0.1
    """Label smoothing: the fraction of a label that is spread over all classes."""
    ema_decay: float = 0.9999
    """Decay of the moving average of the weights; the decay is lower at the start. 0: no average."""


@dataclass(frozen=True)
class FinetuneRecipe(TrainingRecipe):
    """Everything that fixes a fine-tuning run."""

    other_data = "fine-tune into another --out"

    model: Positional[str]
    """The pre-trained model: a run folder, a checkpoint or model folder, or a Hub id owner/name."""
    data: LabelledOptions
    run: RunOptions
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    splats: SplatAugmentOptions = field(default_factory=SplatAugmentOptions)
    optimizer: FinetuneOptimizerOptions = field(default_factory=FinetuneOptimizerOptions)
    pooling: Pooling = "mean"
    """Input of the classification head: the mean of the patch tokens (mean) or the class token (cls)."""

    def __post_init__(self) -> None:
        _check(self)

    def resolved(self, depth: int) -> FinetuneRecipe:
        """This recipe with the official one's values for an encoder of `depth` blocks in place of None."""
        large = depth >= 24
        epochs = self.optimizer.epochs or (50 if large else 100)
        optimizer = filled(
            self.optimizer,
            epochs=epochs,
            base_learning_rate=1e-3 if large else 5e-4,
            layer_decay=0.75 if large else 0.65,
            warmup_epochs=min(5.0, epochs / 10),
            drop_path=0.3 if depth >= 32 else 0.2 if large else 0.1,
        )
        return dataclasses.replace(self, optimizer=optimizer)


def _check(recipe: FinetuneRecipe) -> None:
    """Raise InputError naming the first field outside its range, before anything is read or written."""
    data, augment, optimizer, run = recipe.data, recipe.augment, recipe.optimizer, recipe.run
    check_choices(pooling=(recipe.pooling, Pooling))
    check_run(run)
    check_choices(turn=(recipe.splats.turn, Turn))
    check_range("a number ≥ 0", lambda value: value >= 0, shift=recipe.splats.shift)
    if not 0 < recipe.splats.resize[0] <= recipe.splats.resize[1]:
        raise InputError(f"resize: expected 0 < smallest ≤ largest, got {recipe.splats.resize}")
    check_range(
        "a number above 0", lambda value: value > 0,
        epochs=optimizer.epochs, batch_size=optimizer.batch_size, accumulate=optimizer.accumulate,
        clip_norm=optimizer.clip_norm, layer_decay=optimizer.layer_decay, rand_augment_ops=augment.rand_augment_ops,
        center_crop=data.center_crop, validate_every=data.validate_every,
    )  # fmt: skip
    check_range(
        "a number between 0 and 1", lambda value: 0 <= value <= 1,
        max_unreadable=data.max_unreadable, center_crop=data.center_crop, flip=augment.flip, erase=augment.erase,
        mix=augment.mix, layer_decay=optimizer.layer_decay,
    )  # fmt: skip
    check_range(
        "a number from 0 to below 1", lambda value: 0 <= value < 1,
        drop_path=optimizer.drop_path, smoothing=optimizer.smoothing, ema_decay=optimizer.ema_decay,
    )  # fmt: skip
    check_range(
        "a number ≥ 0", lambda value: value >= 0,
        mixup=augment.mixup, cutmix=augment.cutmix, rand_augment=augment.rand_augment,
        weight_decay=optimizer.weight_decay, min_learning_rate=optimizer.min_learning_rate,
        base_learning_rate=optimizer.base_learning_rate, warmup_epochs=optimizer.warmup_epochs, workers=data.workers,
    )  # fmt: skip
    check_range("a magnitude up to 10", lambda value: value <= 10, rand_augment=augment.rand_augment)
    if run.parallel != "ddp":
        raise InputError(f"parallel: expected ddp, the only mode of fine-tuning, got {run.parallel!r}")
    check_betas(optimizer.betas)
    check_crop_scale(augment.crop_scale)
