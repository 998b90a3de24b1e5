"""Compositing one pixel after the other in plain Python floats: the oracle of the renderer."""

from __future__ import annotations

import math

import numpy as np
import torch

from splatlearn.rendering import Splats


def composite_brute_force(
    splats: Splats, height: int, width: int, background: list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour [B, C, H, W] and transmittance [B, H, W] in float64, and nothing clever."""
    batch, _, channels = splats.colors.shape
    color = np.zeros((batch, channels, height, width))
    left = np.ones((batch, height, width))
    arrays = [t.double().tolist() for t in (splats.means2d, splats.conics, splats.opacities, splats.colors)]
    for image in range(batch):
        means2d, conics, opacities, colors = (array[image] for array in arrays)
        for row in range(height):
            for column in range(width):
                pixel, transmittance = [0.0] * channels, 1.0
                for center, (a, b, c), opacity, value in zip(means2d, conics, opacities, colors, strict=True):
                    dx, dy = column + 0.5 - center[0], row + 0.5 - center[1]
                    power = (a * dx * dx + 2 * b * dx * dy + c * dy * dy) / 2
                    alpha = min(0.999, opacity * math.exp(-power))
                    if alpha < 1 / 255:
                        continue
                    pixel = [p + transmittance * alpha * v for p, v in zip(pixel, value, strict=True)]
                    transmittance *= 1 - alpha
                    if transmittance < 1e-4:
                        break
                color[image, :, row, column] = [p + transmittance * k for p, k in zip(pixel, background, strict=True)]
                left[image, row, column] = transmittance
    return torch.from_numpy(color), torch.from_numpy(left)
