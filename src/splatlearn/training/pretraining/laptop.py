"""The laptop preset: what helps where there are two CPU cores and half an hour, trick by trick.

`python -m benchmarks.laptop tricks` measures what each trick gains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from splatlearn.training.pretraining.mutual_recipe import MutualInformationOptions
from splatlearn.training.pretraining.recipe import SMALL_RATE, DataOptions, Method, Recipe
from splatlearn.training.training_recipe import RunOptions

ENCODER = "vit_micro_patch4_32"
"""For images of 32 pixels; a larger side in the name wants a longer patch."""
EPOCHS = 3
"""Passes over 50,000 images, each seen through four masks: about half an hour on two cores."""

Trick = Callable[[Recipe], Recipe]


def short_schedule(recipe: Recipe) -> Recipe:
    """A peak of the learning rate for thousands of steps, not hundreds of thousands, and tamer crops."""
    optimizer = dataclasses.replace(recipe.optimizer, base_learning_rate=SMALL_RATE)
    data = dataclasses.replace(recipe.data, crop_scale=(0.2, 1.0))
    return dataclasses.replace(recipe, optimizer=optimizer, data=data)


def few_queries(recipe: Recipe) -> Recipe:
    """Sixteen tokens in the decoder that emit sixteen Gaussians each, in place of 256 that emit one; not for MAE."""
    if recipe.kind == "mae":
        return recipe
    options = dataclasses.replace(recipe.options, gaussians=256, gaussians_per_query=16)
    return dataclasses.replace(recipe, options=options)


def shallow_decoder(recipe: Recipe) -> Recipe:
    """A decoder of one block."""
    return dataclasses.replace(recipe, options=dataclasses.replace(recipe.options, decoder_depth=1))


def free_colors(recipe: Recipe) -> Recipe:
    """Colours without a bound over a learned background, and wider Gaussians at first; not for MAE."""
    if recipe.kind == "mae":
        return recipe
    options = dataclasses.replace(recipe.options, color="linear", background="learned", initial_scale=1.0)
    return dataclasses.replace(recipe, options=options)


def patterns(recipe: Recipe) -> Recipe:
    """Errors of the patterns of all patches; MAE has standardised targets for that."""
    if recipe.kind == "mae":
        return recipe
    objective = dataclasses.replace(recipe.objective, error="pattern", visible_weight=1.0)
    return dataclasses.replace(recipe, objective=objective)


def several_masks(recipe: Recipe) -> Recipe:
    """Every image through four disjoint masks in one batch of the encoder: decoded and cropped once."""
    mutual = MutualInformationOptions(masks=4, maximize_weight=0.0, minimize_weight=0.0)
    optimizer = dataclasses.replace(
        recipe.optimizer,
        batch_size=recipe.optimizer.batch_size // 4,
        base_learning_rate=4 * (recipe.optimizer.base_learning_rate or 0.0) or None,
    )
    return dataclasses.replace(recipe, mutual=mutual, optimizer=optimizer)


def shared_information(recipe: Recipe) -> Recipe:
    """What the masks of an image have in common is learned too, with the terms of mi-gmae and mi-mae."""
    mutual = dataclasses.replace(recipe.mutual, maximize_weight=None, minimize_weight=None)
    return dataclasses.replace(recipe, method="mi-mae" if recipe.kind == "mae" else "mi-gmae", mutual=mutual)


def growing_images(recipe: Recipe) -> Recipe:
    """Images begin at half their side, where a step costs half as much."""
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, grow_from=0.5, grow_for=0.5))


TRICKS: dict[str, Trick] = {
    "short schedule": short_schedule,
    "few queries": few_queries,
    "shallow decoder": shallow_decoder,
    "free colours": free_colors,
    "patterns": patterns,
    "several masks": several_masks,
    "shared information": shared_information,
}
"""The tricks, in the order in which they are added."""

LEFT_OUT: dict[str, Trick] = {"growing images": growing_images}
"""Tried on top of these: growing images made steps cheaper and changed nothing that short runs could see."""


def laptop_recipe(data: DataOptions, run: RunOptions, method: Method = "mi-gmae") -> Recipe:
    """The preset's recipe for data and a run; its epochs are for 50,000 images.

    Without `mi-` in the method there are several masks all the same, but no terms between them.
    """
    kind = method.removeprefix("mi-")
    recipe = Recipe(method=kind, model=f"{kind}_{ENCODER}", preset="laptop", data=data, run=run)  # pyright: ignore[reportArgumentType]
    for trick in TRICKS.values():
        if trick is not shared_information or method != kind:
            recipe = trick(recipe)
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, epochs=EPOCHS))
