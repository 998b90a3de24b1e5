"""Edge detectors without learning, to stand beside a model's edges."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from skimage.color import rgb2gray
from skimage.feature import canny
from skimage.filters import gaussian, sobel

LEVELS = 40
"""Pairs of thresholds that Canny is run at."""
LOW_SHARE = 0.4
"""Canny's lower threshold over its upper one, as is usual (MATLAB's default)."""

HALF = 0.1
"""Gradients g are shown as g / (g + HALF): the same order, over more of the benchmark's thresholds."""


def sobel_edges(image: Float[np.ndarray, "H W 3"], sigma: float = 2.0) -> Float[np.ndarray, "H W"]:
    """The size of the Sobel gradient of the grey image after smoothing by `sigma` pixels, in [0, 1]."""
    strength = sobel(gaussian(rgb2gray(image), sigma))
    return (strength / (strength + HALF)).astype(np.float32)


def canny_edges(image: Float[np.ndarray, "H W 3"], sigma: float = 2.0) -> Float[np.ndarray, "H W"]:
    """The highest upper threshold at which scikit-image's Canny keeps a pixel, in [0, 1].

    Canny gives lines, not strengths: only a sweep of its thresholds, the lower one in step, makes a curve of it.
    """
    grey = rgb2gray(image)
    best = np.zeros(grey.shape)
    for level in np.arange(1, LEVELS + 1) / (LEVELS + 1):
        # The inverse of g / (g + HALF): more thresholds where more strengths are.
        upper = HALF * level / (1.0 - level)
        lines = canny(grey, sigma, low_threshold=LOW_SHARE * upper, high_threshold=upper)
        if not lines.any():
            break
        best[lines] = level
    return best.astype(np.float32)
