"""The part of the recipe about several masks of an image, and what is learned between and within them."""

from __future__ import annotations

from dataclasses import dataclass

from splatlearn.core.errors import InputError
from splatlearn.models.options import MaskPattern, Pooling
from splatlearn.objectives.choices import EstimatorName
from splatlearn.runs.recipe import check_choices, check_range

WEIGHTS = {"mae": (1e-2, 1e-4), "gmae": (1e-3, 1e-5)}
"""Of the terms to maximise and to minimise: either's gradient in a tiny ViT is then a tenth to a third of that of the
reconstruction. Errors of raw colours, which GMAE learns from, have gradients ten times smaller than MAE's."""


@dataclass(frozen=True)
class MutualInformationOptions:
    """Several masks of an image, and terms between and within them (arXiv 2502.19718).

    The paper fixes masks and temperature; the other values are this project's.
    """

    masks: int | None = None
    """Masks of an image, no patch visible in two of them. Default: 4 for mi-mae and mi-gmae, else 1."""
    mask_pattern: MaskPattern = "random"
    """Whether a mask shows patches anywhere, side by side (block), or on a lattice (grid)."""
    maximize_weight: float | None = None
    """Weight of InfoNCE between an image's masks. Default: 1e-2 for mi-mae, 1e-3 for mi-gmae, else 0."""
    minimize_weight: float | None = None
    """Weight of the bound on a latent's information about its input. Default: 1e-4 and 1e-5 for the two, else 0."""
    temperature: float = 0.07
    """Temperature of InfoNCE, by which cosines are divided."""
    pooling: Pooling = "mean"
    """What the terms see of a mask: the mean of its patches' tokens, which the decoder reads too, or the cls token."""
    projector: int = 0
    """Width of a network of two layers that latents pass before InfoNCE; 0 for none."""
    estimator: EstimatorName = "club"
    """What bounds the information to minimise; club and leave-one-out from above, mine from below."""
    estimator_width: int = 512
    """Hidden width of the estimator's networks of two layers."""
    estimator_steps: int = 1
    """Steps of the estimator, by its own optimiser, in each forward pass of the model."""
    estimator_learning_rate: float = 1e-3
    """Learning rate of the estimator's AdamW."""


def check_mutual_information(options: MutualInformationOptions, images: int) -> None:
    """Raise InputError naming the first field that is out of range, or that batches of `images` images do not allow."""
    check_choices(
        mask_pattern=(options.mask_pattern, MaskPattern),
        pooling=(options.pooling, Pooling),
        estimator=(options.estimator, EstimatorName),
    )
    check_range(
        "a number above 0", lambda value: value > 0,
        masks=options.masks, temperature=options.temperature, estimator_width=options.estimator_width,
        estimator_steps=options.estimator_steps, estimator_learning_rate=options.estimator_learning_rate,
    )  # fmt: skip
    check_range(
        "a number ≥ 0", lambda value: value >= 0,
        maximize_weight=options.maximize_weight, minimize_weight=options.minimize_weight, projector=options.projector,
    )  # fmt: skip
    if options.masks == 1 and options.maximize_weight:
        raise InputError(
            "masks: expected at least 2, between which maximize_weight finds something to maximise, got 1; ask for "
            "more masks or set maximize_weight to 0"
        )
    weights = [name for name in ("maximize_weight", "minimize_weight") if getattr(options, name)]
    if weights and images < 2:
        raise InputError(
            f"batch_size: expected at least 2 with {' and '.join(weights)}, which compare an image with the others of "
            f"its batch, got {images}; use larger batches or set the weights to 0"
        )
