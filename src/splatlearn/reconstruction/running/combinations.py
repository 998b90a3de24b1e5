"""Options of a run that do not go together with its photographs or on its device."""

from __future__ import annotations

import torch

from splatlearn.captures import Photographs
from splatlearn.core.errors import InputError
from splatlearn.reconstruction.recipes.recipe import SceneRecipe


def check_combinations(recipe: SceneRecipe, photographs: Photographs, device: torch.device) -> None:
    """Raise InputError naming the first option of a resolved recipe that cannot work with the others.

    - `photographs`: that are fitted; `device`: of the fit.
    """
    terms, stride = recipe.terms, recipe.pace.stride
    whole = ["panoramas"] if any(view.lens.is_panorama for view in photographs.views) else []
    whole += [*terms.of_whole_pictures(), *recipe.views.in_use(), *(["grid"] if recipe.small.grid > 0 else [])]
    if stride > 1 and whole:
        raise InputError(
            f"stride: expected 1 with {', '.join(whole)}, for which whole pictures are needed, got {stride}; leave out "
            "one or the other"
        )
    filter = recipe.scene.filter
    if filter == "analytic" and any(view.lens.is_panorama for view in photographs.views):
        raise InputError("filter: expected point or mip for panoramas, got analytic; use --filter mip")
    if device.type == "cpu":
        return
    # There the renderer reports of whole pictures with the filter "point" alone what growth and cleaning need.
    is_other = filter != "point"
    if recipe.scene.strategy != "mcmc" and (stride > 1 or is_other):
        name, wanted, got = ("filter", "point", filter) if is_other else ("stride", "1", stride)
        raise InputError(
            f"{name}: expected {wanted} with the strategy {recipe.scene.strategy} on {device.type}, got {got}; use "
            "--strategy mcmc or --device cpu"
        )
    if terms.remove_floaters and is_other:
        raise InputError(f"remove_floaters: expected the filter point on {device.type}, got {filter}; use --device cpu")
