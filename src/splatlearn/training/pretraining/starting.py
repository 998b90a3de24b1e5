"""The model that training starts with: fresh, or with the weights of another run, a model folder or the package."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from splatlearn.core.errors import InputError
from splatlearn.models import GMAE, create_model, load_model, load_splat_model, named_model
from splatlearn.models.folders.weight_shapes import check_weights
from splatlearn.models.splats.presets import create_splat_model, options_of, splat_model_name
from splatlearn.models.splats.splat_mae import SplatMAE
from splatlearn.runs.recipe import filled
from splatlearn.training.pretraining.recipe import Recipe

BACKGROUND = "behind"
"""Name of a learned background among a GMAE's weights."""


def new_model(recipe: Recipe) -> Any:
    """The model of a resolved recipe with fresh weights: a MAE or GMAE, or a model of splat sets."""
    assert recipe.model is not None
    preset = "paper" if recipe.preset == "paper" else "default"
    if recipe.learns_from_splats:
        return create_splat_model(recipe.model, preset, recipe.run.seed, recipe.splats.model_options())
    return create_model(recipe.model, preset, recipe.run.seed, recipe.options)


def like_its_start(recipe: Recipe) -> Recipe:
    """The recipe with the model and the options of what it starts from, where it says none itself.

    A stored recipe says all, so that a run goes on where its start is no more. Raises InputError for a start of the
    other kind or of sizes that no model's name says, and FileNotFoundError for none.
    """
    if recipe.start_from is None or (recipe.run.resume and recipe.model is not None):
        return recipe
    if recipe.learns_from_splats:
        config = _start(recipe).config
        name = splat_model_name(config)
        return dataclasses.replace(
            recipe,
            model=recipe.model or name,
            splats=filled(recipe.splats, **dataclasses.asdict(options_of(config))),
        )
    config = _start(recipe).config
    try:
        name, options = named_model(config)
    except ValueError as error:
        raise InputError(
            f"start_from: {error} in {recipe.start_from}; start from a model of those sizes, or from fresh weights"
        ) from error
    same = dataclasses.asdict(options)
    if recipe.model is not None:
        # The side of another name is the asked one; the other sizes are left to the comparison of the weights.
        same.pop("image_size")
    return dataclasses.replace(recipe, model=recipe.model or name, options=filled(recipe.options, **same))


def start_weights(model: nn.Module, recipe: Recipe) -> None:
    """Give a model the weights of what its recipe starts from, if anything. Raises InputError where they do not fit."""
    if recipe.start_from is None:
        return
    fresh, weights = model.state_dict(), _start(recipe).state_dict()
    # A learned background is one colour, which a model with another kind of background does without.
    if BACKGROUND in fresh:
        weights.setdefault(BACKGROUND, fresh[BACKGROUND])
    else:
        weights.pop(BACKGROUND, None)
    try:
        check_weights(fresh, weights)
    except ValueError as error:
        raise InputError(
            f"start_from: {error}; leave out the model and the options that change its sizes, or start elsewhere"
        ) from error
    model.load_state_dict(weights)


def _start(recipe: Recipe) -> Any:
    assert recipe.start_from is not None
    if recipe.learns_from_splats:
        splat_model = load_splat_model(recipe.start_from)
        kind = "splat-mae" if isinstance(splat_model, SplatMAE) else "splat-jepa"
        if kind != recipe.kind:
            raise InputError(
                f"start_from: expected a {recipe.kind} for {recipe.method}, got a {kind}, {recipe.start_from}"
            )
        return splat_model
    model = load_model(recipe.start_from)
    kind = "gmae" if isinstance(model, GMAE) else "mae"
    if kind != recipe.kind:
        raise InputError(f"start_from: expected a {recipe.kind} for {recipe.method}, got a {kind}, {recipe.start_from}")
    return model
