"""Figures without Gaussians: what a method must beat to have found anything."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from scipy.special import logit
from skimage.color import rgb2gray, rgb2lab
from skimage.filters import threshold_otsu
from skimage.transform import resize
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from splatlearn.zero_shot.figure_reading import center_hill


def center_prior(height: int, width: int) -> Float[np.ndarray, "H W"]:
    """`center_hill`, the same for every image: its binary mask is a quarter of the image."""
    return center_hill(height, width).numpy()


def otsu_figure(image: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    """Otsu's cut of the grey image; figure is the side that holds less of the border. 1 or 0."""
    grey = rgb2gray(image)
    if grey.max() == grey.min():
        return np.zeros(grey.shape, np.float32)
    bright = grey > threshold_otsu(grey)
    return (bright != (_border(bright).mean() > bright.mean())).astype(np.float32)


def color_mixtures(
    image: Float[np.ndarray, "H W 3"], prior: Float[np.ndarray, "H W"] | None = None, rounds: int = 4, seed: int = 0
) -> Float[np.ndarray, "H W"]:
    """GrabCut without hands (Rother et al. 2004): two mixtures of colours, refitted in turn from a central box.

    The box leaves an eighth of each side out, which stays ground. Posteriors are smoothed in place of a graph cut.
    Fitted on at most 96 pixels a side and enlarged. `prior`: probabilities of figure that the colours add to.
    """
    share = min(1.0, 96 / max(image.shape[:2]))
    size = tuple(max(2, round(side * share)) for side in image.shape[:2])
    small = rgb2lab(resize(image, (*size, 3), anti_aliasing=True))
    points = small.reshape(-1, 3)
    box = np.zeros(size, dtype=bool)
    box[size[0] // 8 : size[0] - size[0] // 8, size[1] // 8 : size[1] - size[1] // 8] = True
    figure = box.astype(np.float64)
    # As far as the zero-shot read-out takes it.
    lean = np.zeros(size) if prior is None else logit(np.asarray(resize(prior, size)).clip(1e-3, 1.0 - 1e-3))
    for _ in range(rounds):
        inside, outside = figure.reshape(-1) >= 0.5, figure.reshape(-1) < 0.5
        if min(inside.sum(), outside.sum()) < 10:
            break
        likelihoods = []
        for chosen in (inside, outside):
            mixture = _mixture(points[chosen], seed)
            likelihoods.append(mixture.score_samples(points))
        # Clipped, so that no pixel decides over its neighbours alone.
        odds = gaussian_filter((likelihoods[0] - likelihoods[1]).clip(-5, 5).reshape(size), 1.5) + lean
        figure = np.where(box, 1.0 / (1.0 + np.exp(-odds)), 0.0)
    grown = np.asarray(resize(figure, image.shape[:2], order=1), dtype=np.float32)
    return grown.clip(0.0, 1.0)


def _mixture(points: Float[np.ndarray, "N 3"], seed: int) -> Any:
    parts = min(5, len(np.unique(points, axis=0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(parts, reg_covar=1.0, random_state=seed).fit(points)


def _border(mask: np.ndarray) -> np.ndarray:
    return np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
