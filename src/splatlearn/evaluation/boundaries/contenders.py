"""The edges of one photograph by every method that is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splatlearn.evaluation.boundaries.baselines import canny_edges, sobel_edges
from splatlearn.evaluation.masked.reconstruction import evaluating, shown_image
from splatlearn.models import GMAE, MAE, MaskedAutoencoder, orthogonal_masks
from splatlearn.zero_shot import EdgeOptions, ReadOptions, Scene, edges_of, read_scene
from splatlearn.zero_shot.edge_reading import CUES, HALF
from splatlearn.zero_shot.gradients import gradient_map, thin_lines
from splatlearn.zero_shot.windows import resize

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
MASKS = 4
"""Orthogonal masks under which a MAE reconstructs an image: each patch is hidden in all but one."""


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
        scene = read_scene(model, as_images(photo, model), options)
        return {f"{name}, {each}": edges_of(scene, how)[0].cpu().numpy() for each, how in read_outs.items()}

    return EdgeContender(name, panel)


def shuffled_edges(model: GMAE, options: ReadOptions | None = None) -> EdgeContender:
    """The read-outs that use depth, of Gaussians whose depths are dealt out anew: what the order itself is worth."""
    names = ("soft", "soft, depth alone", "layer index")

    def panel(photo: np.ndarray) -> Panel:
        scene = shuffled(read_scene(model, as_images(photo, model), options))
        return {f"shuffled depths, {each}": edges_of(scene, READ_OUTS[each])[0].cpu().numpy() for each in names}

    return EdgeContender("shuffled depths", panel)


def mae_edges(model: MAE, normalized: bool = False, sigma: float = EdgeOptions.sigma) -> EdgeContender:
    """The gradient of a MAE's reconstruction, thinned as GMAE's is; `normalized` as in `shown_image`."""

    def panel(photo: np.ndarray) -> Panel:
        images = as_images(photo, model)
        with torch.no_grad():
            rebuilt = resize(
                rebuild(model, resize(images, model.image_size), normalized), (photo.shape[0], photo.shape[1])
            )
            strength = thin_lines(*gradient_map(rebuilt, sigma))
        return {"MAE, gradient of the reconstruction": (strength / (strength + HALF))[0].cpu().numpy()}

    return EdgeContender("MAE", panel)


def rebuild(model: MAE, images: Float[Tensor, "B 3 H W"], normalized: bool) -> Float[Tensor, "B 3 H W"]:
    """Each patch as it is reconstructed where it is hidden, averaged over masks."""
    rows, columns = images.shape[-2] // model.patch_size, images.shape[-1] // model.patch_size
    generator = torch.Generator().manual_seed(0)
    total, times = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    with evaluating(model):
        for mask in orthogonal_masks(len(images), (rows, columns), MASKS, generator=generator):
            mask = mask.to(images.device)
            hidden = mask.hidden_pixels(model.patch_size).unsqueeze(1)
            shown = shown_image(model(images, mask).image, images, model.patch_size, normalized)
            total, times = total + shown * hidden, times + hidden
    return total / times


def shuffled(scene: Scene, seed: int = 0) -> Scene:
    """The scene with its Gaussians' depths permuted."""
    means = scene.gaussians.means.clone()
    order = torch.randperm(means.shape[1], generator=torch.Generator().manual_seed(seed)).to(means.device)
    means[..., 2] = means[:, order, 2]
    return replace(scene, gaussians=replace(scene.gaussians, means=means))


def as_images(photo: UInt8[np.ndarray, "H W 3"], model: MaskedAutoencoder) -> Float[Tensor, "1 3 H W"]:
    """A photograph as a batch of one, on the model's device."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).unsqueeze(0)
    return pixels.to(next(model.parameters()).device).float() / 255
