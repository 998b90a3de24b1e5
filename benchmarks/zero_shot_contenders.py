"""Contenders of `benchmarks.zero_shot` beside those of `splatlearn benchmark`: MAEs, shuffled depths and TokenCut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.linalg import eigh
from torch import Tensor

from splatlearn.evaluation.boundaries.contenders import READ_OUTS as EDGE_READ_OUTS
from splatlearn.evaluation.boundaries.contenders import EdgeContender, Panel, as_images
from splatlearn.evaluation.masked.reconstruction import evaluating, shown_image
from splatlearn.evaluation.saliency.contenders import READ_OUTS as FIGURE_READ_OUTS
from splatlearn.evaluation.saliency.contenders import FigureContender
from splatlearn.models import GMAE, MAE, MaskedAutoencoder, orthogonal_masks
from splatlearn.zero_shot import (
    EdgeOptions,
    FigureOptions,
    ImageGaussians,
    ReadOptions,
    edges_of,
    figure_ground_of,
    gaussians_of,
)
from splatlearn.zero_shot.edge_reading import HALF
from splatlearn.zero_shot.gradients import gradient_map, thin_lines
from splatlearn.zero_shot.windows import resize

MASKS = 4
"""Orthogonal masks under which a MAE reconstructs an image: each patch is hidden in all but one."""
AFFINITY = 0.2
"""Cosine above which TokenCut joins two patches (Wang et al. 2022, section 4.1)."""
WEAK = 1e-5
"""Affinity of patches that are not joined."""


def shuffled_edges(model: GMAE, options: ReadOptions | None = None) -> EdgeContender:
    """The read-outs that use depth, of Gaussians whose depths are dealt out anew: what the order itself is worth."""
    names = ("soft", "soft, depth alone", "layer index")

    def panel(photo: np.ndarray) -> Panel:
        read = shuffled(gaussians_of(model, as_images(photo, model), options))
        return {f"shuffled depths, {each}": edges_of(read, EDGE_READ_OUTS[each])[0].cpu().numpy() for each in names}

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


def shuffled(read: ImageGaussians, seed: int = 0) -> ImageGaussians:
    """The same with the depths of its Gaussians permuted."""
    means = read.gaussians.means.clone()
    order = torch.randperm(means.shape[1], generator=torch.Generator().manual_seed(seed)).to(means.device)
    means[..., 2] = means[:, order, 2]
    return replace(read, gaussians=replace(read.gaussians, means=means))


def shuffled_figures(
    model: GMAE, options: ReadOptions | None = None, read_outs: Mapping[str, FigureOptions] = FIGURE_READ_OUTS
) -> FigureContender:
    """The read-outs of Gaussians whose depths are dealt out anew: what the order itself is worth."""

    def panel(photo: np.ndarray) -> Panel:
        read = shuffled(gaussians_of(model, as_images(photo, model), options))
        return {
            f"shuffled depths, {each}": figure_ground_of(read, how)[0].cpu().numpy() for each, how in read_outs.items()
        }

    return FigureContender("shuffled depths", panel)


def token_cuts(model: MaskedAutoencoder, name: str) -> FigureContender:
    """TokenCut on the encoder's patch features, as they are and less their mean, the image at the model's size."""

    def panel(photo: np.ndarray) -> Panel:
        with evaluating(model), torch.no_grad():
            features = model.feature_map(resize(as_images(photo, model), model.image_size))[0]
        size = photo.shape[0], photo.shape[1]
        # What all patches share makes every cosine large, unless the features were trained to be compared.
        centered = features - features.mean(dim=(1, 2), keepdim=True)
        return {
            f"{name}, TokenCut": token_cut(features.cpu(), size),
            f"{name}, TokenCut, centred": token_cut(centered.cpu(), size),
        }

    return FigureContender(name, panel)


def token_cut(features: Float[Tensor, "D h w"], size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """TokenCut (Wang et al. 2022): a normalised cut of patches by the cosine of their features, at an image's size.

    The second eigenvector of the graph's Laplacian is cut at its mean; figure is the side of its largest absolute
    value. Its distance from the mean makes the mask soft.
    """
    rows, columns = features.shape[-2:]
    tokens = F.normalize(features.flatten(1).double().T, dim=-1).cpu().numpy()
    affinity = np.where(tokens @ tokens.T > AFFINITY, 1.0, WEAK)
    degree = affinity.sum(axis=1)
    _, vectors = eigh(np.diag(degree) - affinity, np.diag(degree), subset_by_index=[1, 1])
    cut = vectors[:, 0] - vectors[:, 0].mean()
    cut = cut * np.sign(cut[np.abs(vectors[:, 0]).argmax()])
    soft = 0.5 + 0.5 * cut / max(np.abs(cut).max(), 1e-12)
    grown = F.interpolate(torch.from_numpy(soft.reshape(1, 1, rows, columns)), size, mode="bilinear")
    return grown[0, 0].clamp(0.0, 1.0).float().numpy()
