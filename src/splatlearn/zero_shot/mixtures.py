"""Figure and ground by two mixtures of the splats' colours, refitted in turn: GrabCut's idea with splats for pixels."""

from __future__ import annotations

import numpy as np
import skimage
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splatlearn.core.device import in_float64
from splatlearn.zero_shot.reading import ImageGaussians
from splatlearn.zero_shot.slabs import k_means, paint, visible_weights

ROUNDS = 4
"""Times that both mixtures are fitted."""
PARTS = 5
"""Colours of a mixture (Rother et al. 2004 have as many)."""
SPREAD = 5.0
"""Standard deviation in CIELAB that every colour of a mixture has at least."""
LIMIT = 5.0
"""Largest log odds of one splat, so that none decides over its neighbours alone."""
MARGIN = 1 / 8
"""Share of each side whose splats stay ground."""


def figure_of_mixtures(
    read: ImageGaussians, prior: Float[Tensor, "H W"] | None = None, seed: int = 0
) -> Float[Tensor, "B H W"]:
    """How likely each pixel is figure, by the colours of the splats that paint it.

    - `prior`: probabilities of figure that the colours add to; without it the splats' colours alone decide.

    At first the splats with centres inside a margin are figure and the others ground. Then each side's colours are
    summed up by a few weighted clusters, and every splat inside goes to the likelier side, softly; after some rounds
    the splats' probabilities are painted. A splat weighs as much as it paints of the picture (Rother et al. 2004,
    section 3, without hands and without the graph cut: a splat is a neighbourhood already).
    """
    splats = read.splats
    weights = in_float64(visible_weights(splats, read.size)).clamp_min(1e-9).cpu().numpy()
    colors = skimage.color.rgb2lab(in_float64(splats.colors.clamp(0.0, 1.0)).cpu().numpy())
    inside = _inside(splats.means2d, read.size).cpu().numpy()
    lean = np.zeros(weights.shape) if prior is None else _log_odds(prior, splats.means2d).cpu().numpy()
    found = [_probabilities(*each, seed) for each in zip(colors, weights, inside, lean, strict=True)]
    members = torch.from_numpy(np.stack(found)).to(splats.colors).unsqueeze(-1)
    painted, _ = paint(splats, members, read.size)
    return painted[:, 0]


def _probabilities(
    colors: Float[np.ndarray, "K 3"],
    weights: Float[np.ndarray, " K"],
    inside: Bool[np.ndarray, " K"],
    lean: Float[np.ndarray, " K"],
    seed: int,
) -> Float[np.ndarray, " K"]:
    figure = inside.astype(np.float64)
    for _ in range(ROUNDS):
        sides = weights * figure, weights * (1.0 - figure)
        # Of a side that has all but vanished nothing can be fitted.
        if min(side.sum() for side in sides) < 1e-3 * weights.sum():
            break
        likely, unlikely = (_log_likelihood(colors, np.maximum(side, 1e-9), seed) for side in sides)
        odds = (likely - unlikely).clip(-LIMIT, LIMIT) + lean
        figure = np.where(inside, 1.0 / (1.0 + np.exp(-odds)), 0.0)
    return figure


def _log_likelihood(
    colors: Float[np.ndarray, "K 3"], weights: Float[np.ndarray, " K"], seed: int
) -> Float[np.ndarray, " K"]:
    """Of every colour under the mixture that clusters of the weighted ones make: diagonal Gaussians."""
    parts = min(PARTS, len(np.unique(colors, axis=0)))
    clusters = k_means(colors, parts, weights=weights, seed=seed)
    centers, labels = clusters.cluster_centers_, clusters.labels_
    mass = np.bincount(labels, weights, parts)
    deviations = (colors - centers[labels]) ** 2
    variances = np.stack([np.bincount(labels, weights * each, parts) for each in deviations.T], axis=1)
    variances = variances / np.maximum(mass, 1e-12)[:, None] + SPREAD**2
    distances = ((colors[:, None] - centers) ** 2 / variances).sum(axis=-1)
    shares = np.log(np.maximum(mass / mass.sum(), 1e-12))
    return np.logaddexp.reduce(shares - 0.5 * distances - 0.5 * np.log(variances).sum(axis=-1), axis=1)


def _inside(means2d: Float[Tensor, "B K 2"], size: tuple[int, int]) -> Bool[Tensor, "B K"]:
    places = means2d / means2d.new_tensor([size[1], size[0]])
    return ((places > MARGIN) & (places < 1.0 - MARGIN)).all(dim=-1)


def _log_odds(prior: Float[Tensor, "H W"], means2d: Float[Tensor, "B K 2"]) -> Float[Tensor, "B K"]:
    """Of the pixels that hold the means, or of those of the border nearest to them."""
    height, width = prior.shape
    columns, rows = means2d[..., 0].long().clamp(0, width - 1), means2d[..., 1].long().clamp(0, height - 1)
    return torch.logit(in_float64(prior.to(means2d.device)[rows, columns]), eps=1e-3)
