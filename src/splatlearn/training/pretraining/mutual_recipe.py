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
    """Several masks of each image, with mutual-information terms (arXiv 2502.19718).

    The paper specifies masks and temperature; the other defaults are this project's.
    """

    masks: int | None = None
    """Number of masks of an image; no patch is visible in two of them. Default: 4 for mi-mae and mi-gmae, otherwise
    1."""
    mask_pattern: MaskPattern = "random"
    """Visible patches of a mask: at random positions (random), adjacent (block) or on a lattice (grid)."""
    maximize_weight: float | None = None
    """Weight of InfoNCE between the masks of an image. Default: 1e-2 for mi-mae, 1e-3 for mi-gmae, otherwise 0."""
    minimize_weight: float | None = None
    """Weight of the bound on a latent's information about its input. Default: 1e-4 for mi-mae, 1e-5 for mi-gmae,
    otherwise 0."""
    temperature: float = 0.07
    """Temperature of InfoNCE, which divides the cosine similarities."""
    pooling: Pooling = "mean"
    """Latent of a mask in these terms: the mean of its patch tokens, which the decoder also reads (mean), or the class
    token (cls)."""
    projector: int = 0
    """Width of a two-layer projector between latents and InfoNCE; 0: no projector."""
    estimator: EstimatorName = "club"
    """Estimator of the minimised information: club and leave-one-out are upper bounds, mine is a lower bound."""
    estimator_width: int = 512
    """Hidden width of the estimator's two-layer networks."""
    estimator_steps: int = 1
    """Number of steps of the estimator's own optimiser in each forward pass of the model."""
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
            "masks: expected at least 2, because maximize_weight compares masks of an image, got 1; use "
            "more masks or set maximize_weight to 0"
        )
    weights = [name for name in ("maximize_weight", "minimize_weight") if getattr(options, name)]
    if weights and images < 2:
        raise InputError(
            f"batch_size: expected at least 2 with {' and '.join(weights)}, which compare an image with the others of "
            f"its batch, got {images}; use larger batches or set the weights to 0"
        )
