"""The edges of one photograph by every method that is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splatlearn.evaluation.boundaries.baselines import canny_edges, sobel_edges
from splatlearn.models import GMAE, MaskedAutoencoder
from splatlearn.zero_shot import EdgeOptions, ReadOptions, edges_of, gaussians_of
from splatlearn.zero_shot.edge_reading import CUES

Panel = Mapping[str, Float[np.ndarray, "H W"]]
"""Strengths in [0, 1] by the method's name."""

READ_OUTS = {
    "soft": EdgeOptions(cues=CUES),
    "soft, depth alone": EdgeOptions(cues=("layers", "depth")),
    "soft, colour alone": EdgeOptions(cues=("color",)),
    "soft, with tokens": EdgeOptions(cues=("layers", "depth", "color", "tokens")),
    "layer index": EdgeOptions(method="index"),
}
USUAL = {"default": EdgeOptions(), "layer index": READ_OUTS["layer index"]}
"""What `edges` does unless told otherwise, and the paper's method."""


@dataclass(frozen=True, eq=False)
class EdgeContender:
    """A method, or several that share their work: `panel` of the pixels of a photograph."""

    name: str
    panel: Callable[[UInt8[np.ndarray, "H W 3"]], Panel]


def plain_edges() -> list[EdgeContender]:
    """Sobel and Canny."""

    def panel(photo: np.ndarray) -> Panel:
        pixels = photo.astype(np.float32) / 255
        return {"Sobel": sobel_edges(pixels), "Canny": canny_edges(pixels)}

    return [EdgeContender("without learning", panel)]


def gmae_edges(
    model: GMAE,
    name: str = "GMAE",
    options: ReadOptions | None = None,
    read_outs: Mapping[str, EdgeOptions] = READ_OUTS,
) -> EdgeContender:
    """Read-outs of one GMAE's Gaussians, which are predicted once for all."""

    def panel(photo: np.ndarray) -> Panel:
        read = gaussians_of(model, as_images(photo, model), options)
        return {f"{name}, {each}": edges_of(read, how)[0].cpu().numpy() for each, how in read_outs.items()}

    return EdgeContender(name, panel)


def as_images(photo: UInt8[np.ndarray, "H W 3"], model: MaskedAutoencoder) -> Float[Tensor, "1 3 H W"]:
    """A photograph as a batch of one, on the model's device."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).unsqueeze(0)
    return pixels.to(next(model.parameters()).device).float() / 255
