"""The three sets of a masked splat set: what a splat-mae sees of an object, what it makes of that, and the object."""

from __future__ import annotations

import torch

from splatlearn.core.attributes import ATTRIBUTES, attributes_of, gaussians_of, placed
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data.splat_sets.dataset import Drawing
from splatlearn.models.masking.sets import group_salience, mask_groups
from splatlearn.models.options import Hide
from splatlearn.models.splats.splat_mae import SplatMAE
from splatlearn.models.tokenizers.groups import Groups, take
from splatlearn.viewer.sets_page import ViewedSets


@torch.no_grad()
def masked_sets(
    model: SplatMAE, name: str, gaussians: Gaussians, ratio: float = 0.6, hide: Hide = "random", seed: int = 0
) -> ViewedSets:
    """Hide groups of an object from a splat-mae and reconstruct them, for `write_sets_view`.

    - `gaussians` [K]: the object, −y up, in any place and size; it is placed as in training, and N of its Gaussians
      are drawn.
    - `ratio`, `hide`: see `mask_groups`; `seed`: of the Gaussians drawn and the groups hidden.

    The reconstruction is what the encoder saw and the Gaussians that were predicted. Raises InputError for a model with
    `"paper"` scale numbers, which do not say how large a Gaussian is, and for a ratio that hides no group or all.
    """
    check_kind("model", model, SplatMAE)
    config = model.config.encoder
    if config.scale_numbers == "paper":
        raise InputError("model: expected scale numbers that say how large a Gaussian is, got 'paper'; use 'log'")
    whole = placed(gaussians.to(torch.float32))
    drawn = Drawing(config.draw)(whole, generator(seed, 0, 0, Purpose.CROP))
    weight = next(model.parameters())
    grouped = model.encoder.group(attributes_of(drawn)[None].to(weight))
    members = take(grouped.sets, grouped.groups.members)
    noise = generator(seed, 0, 0, Purpose.MASK).random((1, config.groups))
    mask = mask_groups(
        grouped.groups.centers,
        torch.from_numpy(noise).to(weight),
        ratio,
        hide,
        group_salience(members[..., 3], members[..., ATTRIBUTES["scales"]]),
    )
    output = model(grouped, mask)
    own = Groups(grouped.groups.members[..., : config.group_size], grouped.groups.centers)
    total = grouped.sets.shape[1]
    seen = own.covered(mask.visible, total)[0]
    if config.shared == "hidden":
        seen &= ~own.covered(mask.hidden, total)[0]
    visible = gaussians_of(grouped.sets[0, seen])
    made = gaussians_of(model.reconstruction(output)[0])
    says = f"{mask.hidden.shape[1]} of {config.groups} groups are hidden ({hide})"
    return ViewedSets(name, visible, Gaussians.cat([visible, made]), whole, says)
