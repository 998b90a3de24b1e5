"""Sections about what a model paints: reconstructions, its Gaussians, and their order in depth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.evaluation.masked.reconstruction import evaluating, hidden_psnr, mean_of_visible, shown_image
from splatlearn.models.channels import check_reads_pictures, fit_channels
from splatlearn.models.gmae import GMAE
from splatlearn.models.masked_autoencoder import MaskedAutoencoder
from splatlearn.models.masking import Mask
from splatlearn.rendering import Splats, composite, project
from splatlearn.report.parts.figures import depth_prefix_strip, gaussian_map, reconstruction_grid
from splatlearn.report.parts.page import Block, Figure, KeyValues, Section

PREFIXES = (32, 64, 128)
"""How many of the nearest Gaussians are painted alone, before all of them; shares of K where K is smaller."""
MOST_MAPS = 3
"""How many photos get a map of their Gaussians."""
RECONSTRUCTION = (
    "Left: the patches the model sees. Middle: what it paints. Right: the photo. The number is the PSNR on hidden "
    "pixels alone; higher is better."
)
NORMALIZED = (
    "This model predicts the pattern within each patch; the patch's mean colour and contrast are taken from the photo, "
    "so its PSNR cannot be compared with that of a model which predicts colours."
)
MAP = "Left: where the Gaussians sit on the photo. Right: their outlines at one sigma, as opaque as they are."
DEPTH = (
    "The nearest Gaussians alone, on the model's background; more of them from left to right. Where depth has a "
    "meaning, things appear layer by layer rather than everywhere at once."
)


def model_sections(
    model: MaskedAutoencoder,
    images: Float[Tensor, "B 3 H W"],
    mask: Mask,
    names: Sequence[str],
    normalized: bool = False,
) -> list[Section]:
    """Sections that show what an MAE or a GMAE makes of photos.

    - `images`: in [0, 1], in grey for a model of grey images; `mask`: what to hide of them; `names`: one for each.
    - `normalized`: the model's targets were normalised patches (see `splatlearn.evaluation.shown_image`).

    A GMAE's Gaussians are those of whole photos, nothing hidden. The model runs as in evaluation, without gradients.
    Raises InputError when the number of names or the mask does not fit the images.
    """
    if len(names) != len(images):
        raise InputError(f"names: expected {len(images)}, one for each image, got {len(names)}")
    check_reads_pictures(model.encoder.config)
    images = fit_channels(images, model.encoder.config.channels)
    with evaluating(model):
        result = model(images, mask)
        painted = shown_image(result.image, images, model.patch_size, normalized)
        hidden = mask.hidden_pixels(model.patch_size)
        captions = [RECONSTRUCTION]
        if not isinstance(model, GMAE):
            # Predictions of visible patches are not trained.
            painted = torch.where(hidden.unsqueeze(1), painted, images)
            captions.append("Its visible patches are those of the photo.")
        if normalized:
            captions.append(NORMALIZED)
        # Figures are in colour, those of grey images too.
        painted, images = (each.expand(-1, 3, -1, -1) for each in (painted, images))
        sections = [_reconstruction_section(painted, images, hidden, names, " ".join(captions))]
        if isinstance(model, GMAE):
            sections.append(_gaussians_section(model, images, names))
    return sections


def _reconstruction_section(
    painted: Tensor, images: Tensor, hidden: Tensor, names: Sequence[str], caption: str
) -> Section:
    seen = 1.0 - float(hidden.float().mean())
    scores = {
        "PSNR on hidden pixels": f"{float(hidden_psnr(painted, images, hidden).mean()):.2f} dB",
        "Mean colour of the visible pixels instead": (
            f"{float(hidden_psnr(mean_of_visible(images, hidden), images, hidden).mean()):.2f} dB"
        ),
    }
    blocks: list[Block] = [
        KeyValues(scores),
        Figure(
            reconstruction_grid(images, hidden, painted, names),
            alt=f"{len(names)} photos: visible patches, reconstruction and original side by side",
            caption=caption,
        ),
    ]
    return Section("Reconstruction", f"The model sees {seen:.0%} of each photo and paints the rest.", blocks)


def _gaussians_section(model: GMAE, images: Tensor, names: Sequence[str]) -> Section:
    height, width = images.shape[-2:]
    splats = project(model.gaussians(images), model.camera(height, width))
    blocks: list[Block] = [
        Figure(
            gaussian_map(
                images[index],
                splats.means2d[index],
                splats.conics[index],
                splats.colors[index],
                splats.opacities[index],
            ),
            alt=f"Centres and outlines of the {splats.count} Gaussians of {names[index]}",
            caption=names[index] if index else f"{names[index]}. {MAP}",
        )
        for index in range(min(len(names), MOST_MAPS))
    ]
    blocks.append(_depth_figure(splats, model, images, names))
    intro = f"Each photo as {splats.count} Gaussians, inferred from the whole photo in one pass."
    return Section("Gaussians", intro, blocks)


def _depth_figure(splats: Splats, model: GMAE, images: Tensor, names: Sequence[str]) -> Figure:
    scale = min(1.0, splats.count / (2 * PREFIXES[-1]))
    counts = sorted({max(1, int(scale * count)) for count in PREFIXES} - {splats.count}) + [splats.count]
    height, width = images.shape[-2:]
    painted = [composite(splats.select(slice(count)), height, width, model.background(images))[0] for count in counts]
    return Figure(
        depth_prefix_strip(painted, [*counts[:-1], "all"], names),
        alt=f"Photos painted with the nearest {', '.join(map(str, counts))} Gaussians",
        caption=DEPTH,
    )
