"""What the study of choices changes: the arms of `benchmarks.ablations`, by factor and level."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from benchmarks.common import PAPER_LIKE
from splatlearn.models import ModelOptions
from splatlearn.models.presets import DEFAULT_DECODERS
from splatlearn.training import Recipe

Change = Callable[[Recipe], Recipe]


def options(**changes: object) -> Change:
    """Other options of the model."""
    return lambda recipe: dataclasses.replace(recipe, options=dataclasses.replace(recipe.options, **changes))


def objective(**changes: object) -> Change:
    """Other options of the objective."""
    return lambda recipe: dataclasses.replace(recipe, objective=dataclasses.replace(recipe.objective, **changes))


def mutual(**changes: object) -> Change:
    """Other masks."""
    return lambda recipe: dataclasses.replace(recipe, mutual=dataclasses.replace(recipe.mutual, **changes))


def twin(**changes: object) -> Change:
    """The MAE with the same encoder, decoder, data and steps, and other options of the objective."""

    def change(recipe: Recipe) -> Recipe:
        without = dict.fromkeys(["gaussians", "gaussians_per_query", *PAPER_LIKE])
        shared = dataclasses.replace(recipe.options, **without)
        assert recipe.model is not None
        model = recipe.model.replace("gmae_", "mae_")
        return objective(**changes)(dataclasses.replace(recipe, method="mae", model=model, options=shared))

    return change


def several(**changes: object) -> Change:
    """Four masks of a quarter as many images in a step, and other options of their terms."""

    def change(recipe: Recipe) -> Recipe:
        method = "mi-mae" if recipe.kind == "mae" else "mi-gmae"
        optimizer = recipe.optimizer
        rate = optimizer.base_learning_rate
        fewer = dataclasses.replace(
            optimizer,
            batch_size=optimizer.batch_size // MASKS,
            # An epoch has four times as many views.
            epochs=max(1, optimizer.epochs // MASKS),
            warmup_epochs=None if optimizer.warmup_epochs is None else optimizer.warmup_epochs / MASKS,
            base_learning_rate=None if rate is None else MASKS * rate,
        )
        return mutual(**changes)(dataclasses.replace(recipe, method=method, optimizer=fewer))

    return change


def paper(recipe: Recipe) -> Recipe:
    """The paper's choices beside the base's decoder, so that a step costs no more than it must."""
    assert recipe.model is not None
    decoder = DEFAULT_DECODERS[recipe.model.split("_")[2]]
    published = ModelOptions(
        decoder_depth=recipe.options.decoder_depth,
        decoder_embed_dim=decoder.embed_dim,
        decoder_num_heads=decoder.num_heads,
        gaussians=256,
    )
    return dataclasses.replace(recipe, preset="paper", options=published)


def all_of(*changes: Change) -> Change:
    """Changes one after the other."""

    def change(recipe: Recipe) -> Recipe:
        for each in changes:
            recipe = each(recipe)
        return recipe

    return change


TUNED = all_of(
    options(
        gaussians=512, gaussians_per_query=8, decoder_depth=1, color="linear", initial_scale=1.0, background="learned"
    ),
    objective(visible_weight=1.0),
)
"""What the screening found better, together."""

MASKS = 4
"""Of an image, where there are several."""

FACTORS: dict[str, dict[str, Change]] = {
    "gaussians": {
        "64": options(gaussians=64),
        "1024": options(gaussians=1024, gaussians_per_query=64),
        "2048": options(gaussians=2048, gaussians_per_query=128),
    },
    "per-query": {
        "1": options(gaussians_per_query=1),
        "4": options(gaussians_per_query=4),
    },
    "scale": {"0.5": options(scale_limit=0.5), "2": options(scale_limit=2.0), "4": options(scale_limit=4.0)},
    "background": {level: options(background=level) for level in ("black", "mean", "learned")},
    "color": {level: options(color=level) for level in ("linear", "residual")},
    "opacity": {"0.1": options(opacity=0.1), "0.9": options(opacity=0.9)},
    "heads": {"separate": options(heads="separate")},
    "overlap": {"0.25": options(initial_scale=0.25), "1": options(initial_scale=1.0)},
    "depth": {
        "soft-order": options(depth="soft-order"),
        "pinhole": options(depth="pinhole"),
        "orthographic": options(depth="orthographic"),
    },
    "layout": {"free": options(layout="free")},
    "loss": {"all pixels": objective(visible_weight=1.0), "visible at 0.3": objective(visible_weight=0.3)},
    "error": {
        "pattern": objective(error="pattern"),
        "pattern, all pixels": objective(error="pattern", visible_weight=1.0),
        "both": objective(error="both"),
    },
    "mask ratio": {"0.6": objective(mask_ratio=0.625), "0.9": objective(mask_ratio=0.875)},
    "mask pattern": {"block": mutual(mask_pattern="block"), "grid": mutual(mask_pattern="grid")},
    "decoder": {"1 block": options(decoder_depth=1), "4 blocks": options(decoder_depth=4)},
    "masks": {"four": several(maximize_weight=0.0, minimize_weight=0.0), "four, with terms": several()},
    "mae": {"normalised pixels": twin()},
    "mi-mae": {"normalised pixels": all_of(twin(), several())},
    "mae raw": {"pixels": twin(normalize_targets=False)},
    "paper": {"paper": paper},
    "tuned": {
        "squared": TUNED,
        "pattern": all_of(TUNED, objective(error="pattern")),
        "both": all_of(TUNED, objective(error="both")),
        "pattern, four masks with terms": all_of(TUNED, objective(error="pattern"), several()),
        "both, four masks with terms": all_of(TUNED, objective(error="both"), several()),
        "both, four masks with strong terms": all_of(
            TUNED, objective(error="both"), several(maximize_weight=1e-2, minimize_weight=1e-4)
        ),
    },
}
"""What is changed, by the factor's name and the level's."""
