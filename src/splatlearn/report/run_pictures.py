"""Sections of a run's report that show what its newest checkpoint makes of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.evaluation.masked.reconstruction import evaluating
from splatlearn.models import GMAE, MAE, random_mask
from splatlearn.report.hardly_trained import hardly_trained
from splatlearn.report.model_report import model_sections
from splatlearn.report.parts.figures import zero_shot_strip
from splatlearn.report.parts.page import Figure, Section
from splatlearn.report.run_facts import hidden_share, predicted_target
from splatlearn.zero_shot import edges_of, figure_ground_of, gaussians_of, layers_of
from splatlearn.zero_shot.layer_reading import are_clamped, layers_error

LAYERS = 3
ZERO_SHOT = (
    "Read from the Gaussians of whole photos, without labels. Figure: what the groups of Gaussians set apart from the "
    "ground, the rest faded. Edges: darker is stronger. Layers: as many Gaussians in each, the nearest first."
)

CLAMPED = (
    "Colours of layers outside of [0, 1] are clamped here: put back over one another, the layers would differ from the "
    "model's picture by {}."
)


@dataclass(frozen=True, eq=False)
class ShownPhotos:
    """Photos for a report.

    - `images` [B, 3, H, W]: in [0, 1], of the model's size; `names`: one for each.
    - `origin`: where they are from, in a phrase.
    """

    images: Float[Tensor, "B 3 H W"]
    names: Sequence[str]
    origin: str


def run_picture_sections(
    run_dir: str | Path, model: MAE | GMAE, photos: ShownPhotos, zero_shot: bool = False
) -> list[Section]:
    """Sections that show photos as the model of a run sees, paints and, with `zero_shot`, reads them.

    As many patches are hidden as in training, always the same. Raises InputError where names and images differ in
    number, and for photos whose size the model does not take.
    """
    height, width = photos.images.shape[-2:]
    grid = (height // model.patch_size, width // model.patch_size)
    mask = random_mask(len(photos.images), grid, hidden_share(run_dir), torch.Generator().manual_seed(0))
    device = next(model.parameters()).device
    images = photos.images.to(device)
    normalized = isinstance(model, MAE) and predicted_target(run_dir) == "patches"
    first, *others = model_sections(model, images, mask.to(device), photos.names, normalized)
    told = hardly_trained(run_dir, model, images)
    intro = f"{first.intro} {photos.origin}" + (f" The model is {told}." if told else "")
    sections = [Section(first.title, intro, first.blocks), *others]
    if zero_shot and isinstance(model, GMAE):
        sections.append(zero_shot_section(model, images, photos.names))
    return sections


def zero_shot_section(
    model: GMAE,
    images: Float[Tensor, "B 3 H W"],
    names: Sequence[str],
    title: str = "Without labels",
    intro: str = "What depth and grouping say.",
) -> Section:
    """A section with figure, edges and layers of photos in [0, 1] as a GMAE's Gaussians have them, one name for each.

    The model runs as in evaluation. Raises InputError for photos whose size the model does not take.
    """
    with evaluating(model):
        read = gaussians_of(model, images)
        slabs = layers_of(read, LAYERS)
        strip = zero_shot_strip(
            images, figure_ground_of(read), edges_of(read), [slabs[:, index] for index in range(LAYERS)], names
        )
        caption = ZERO_SHOT
        if are_clamped(slabs):
            worst = max(layers_error(read, slabs), key=lambda error: error.largest)
            caption += f" {CLAMPED.format(worst)}"
    alt = f"{len(names)} photos with their figure, edges and layers"
    return Section(title, intro, [Figure(strip, alt=alt, caption=caption)])
