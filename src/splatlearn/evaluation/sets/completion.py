"""How well a splat-mae completes what is hidden: distances of Gaussians, and pictures of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.attributes import ATTRIBUTES
from splatlearn.core.randomness import Purpose, generator
from splatlearn.data import UnreadableCounter
from splatlearn.data.image_sets.samples import SampleSource
from splatlearn.evaluation.masked.reconstruction import evaluating
from splatlearn.evaluation.sets.features import SetExtraction, sets_of
from splatlearn.models.masking.sets import mask_groups
from splatlearn.models.nn.positions import gather_tokens
from splatlearn.models.options import Hide
from splatlearn.models.splats.splat_mae import SplatMAE, SplatOutput, in_place
from splatlearn.objectives.splat_sets import chamfer_distance, rendered_psnr, set_camera

VIEWS, SIDE = 4, 64
"""Pictures of each completion, from random directions, and their side in pixels."""


@dataclass(frozen=True)
class Completion:
    """Of hidden groups of sets: Chamfer's distance of means, in radii of the set, and PSNR of pictures in dB.

    `copied_chamfer`, `copied_psnr`: the same of a control without learning, which moves the nearest visible group to
    each hidden centre.
    """

    chamfer: float
    psnr: float
    copied_chamfer: float
    copied_psnr: float


@torch.no_grad()
def completion(
    model: SplatMAE,
    source: SampleSource,
    ratio: float = 0.6,
    hide: Hide = "random",
    extraction: SetExtraction | None = None,
) -> Completion:
    """Hide groups of each set, predict their Gaussians, and compare them with those that were hidden.

    Raises InputError for a model with paper scale numbers, whose predictions have no size.
    """
    extraction = extraction or SetExtraction()
    config = model.config.encoder
    sets = sets_of(source, config.draw, extraction, UnreadableCounter())
    sums = torch.zeros(4, dtype=torch.float64)
    with evaluating(model):
        for start in range(0, len(sets), extraction.batch_size):
            part = sets[start : start + extraction.batch_size]
            batch = torch.stack([each for _, each in part]).to(extraction.device)
            noise = torch.stack(
                [
                    torch.from_numpy(generator(extraction.seed, 0, index, Purpose.MASK).random(config.groups))
                    for index, _ in part
                ]
            ).to(batch)
            grouped = model.encoder.group(batch)
            output = model(grouped, mask_groups(grouped.groups.centers, noise, ratio, hide))
            wanted = in_place(output.target, output, config.reach)
            copied = in_place(_nearest_visible(output, config.reach, config.group_size), output, config.reach)
            for place, made in ((0, model.reconstruction(output)), (2, copied)):
                means = ATTRIBUTES["means"]
                sums[place] += chamfer_distance(made[..., means], wanted[..., means]).double().sum().cpu()
                for view in range(VIEWS):
                    direction = generator(extraction.seed, view, start, Purpose.NOISE).normal(size=3)
                    camera = set_camera(torch.from_numpy(direction), SIDE).to(batch.device)
                    sums[place + 1] += rendered_psnr(made, wanted, camera).double().sum().cpu() / VIEWS
    chamfer, psnr, copied_chamfer, copied_psnr = (sums / len(sets)).tolist()
    return Completion(chamfer, psnr, copied_chamfer, copied_psnr)


def _nearest_visible(output: SplatOutput, reach: float, size: int) -> Float[Tensor, "B M k 14"]:
    """The normalised numbers of the visible group that is nearest to each hidden one."""
    centers = output.grouped.groups.centers
    visible, hidden = (gather_tokens(centers, each) for each in (output.mask.visible, output.mask.hidden))
    nearest = torch.gather(output.mask.visible, 1, torch.cdist(hidden, visible).argmin(dim=2))
    return output.grouped.local(nearest, reach, size)
