"""The opponent: the compositing formula as a scalar tile kernel in numba, without SIMD and without tricks.

One pass over the tiles of an image forward and one backward. A tile takes the splats whose bounding box, at the level
where α falls to ALPHA_MIN, touches it; within the tile only the rows and columns of that box are visited, the
exponential is taken where α can reach ALPHA_MIN, and the tile ends when all its pixels are opaque. The backward sweeps
front to back as the forward does: a pixel's S starts at g·C + g_T·T_end and loses each splat's contribution, so that

    ∂L/∂α_k = T_k (g·color_k) − S/(1 − α_k)

Three channels, float32; images are shared out among threads.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.rendering import formula
from splatlearn.rendering.backends.cpu.support import arrays

TILE = 16
CHANNELS = 3
ALPHA_MAX = np.float32(formula.ALPHA_MAX)
ALPHA_MIN = np.float32(formula.ALPHA_MIN)
TRANSMITTANCE_MIN = np.float32(formula.TRANSMITTANCE_MIN)
# A float64 literal would turn the arithmetic around it into float64.
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
# Rounding of power must not skip what the test on α would keep.
SLACK = np.float32(1e-3)


@numba.njit
def _levels_and_boxes(means2d, conics, opacities, height, width):
    """For each splat the power at which α falls to ALPHA_MIN, and its pixels [left, right) × [top, bottom)."""
    count = means2d.shape[0]
    levels = np.empty(count, np.float32)
    boxes = np.zeros((count, 4), np.int32)
    for k in range(count):
        levels[k] = -ONE
        if opacities[k] < ALPHA_MIN:
            continue
        a, b, c = conics[k, 0], conics[k, 1], conics[k, 2]
        levels[k] = math.log(opacities[k] / ALPHA_MIN) + SLACK
        scale = 2.0 * levels[k] / (np.float64(a) * c - np.float64(b) * b)
        across, down = math.sqrt(scale * c), math.sqrt(scale * a)
        boxes[k, 0] = min(max(math.floor(means2d[k, 0] - across), 0), width)
        boxes[k, 1] = min(max(math.ceil(means2d[k, 0] + across), 0), width)
        boxes[k, 2] = min(max(math.floor(means2d[k, 1] - down), 0), height)
        boxes[k, 3] = min(max(math.ceil(means2d[k, 1] + down), 0), height)
    return levels, boxes


@numba.njit
def _splats_of_tile(boxes, top, left, found):
    """Write the splats that touch a tile into `found`, near to far; returns how many."""
    count = 0
    for k in range(boxes.shape[0]):
        across = boxes[k, 0] < left + TILE and boxes[k, 1] > left
        if across and boxes[k, 2] < top + TILE and boxes[k, 3] > top:
            found[count] = k
            count += 1
    return count


@numba.njit
def _forward_tile(splats, levels, boxes, found, corner, color, transmittance):
    """Composite the splats `found` over one tile; pixel state lives in the output images."""
    means2d, conics, opacities, colors = splats
    top, left = corner
    bottom, right = min(top + TILE, color.shape[1]), min(left + TILE, color.shape[2])
    alive = (bottom - top) * (right - left)
    for k in found:
        x, y, opacity, level = means2d[k, 0], means2d[k, 1], opacities[k], levels[k]
        a, b, c = HALF * conics[k, 0], conics[k, 1], HALF * conics[k, 2]
        red, green, blue = colors[k, 0], colors[k, 1], colors[k, 2]
        first, last = max(left, boxes[k, 0]), min(right, boxes[k, 1])
        for row in range(max(top, boxes[k, 2]), min(bottom, boxes[k, 3])):
            dy = np.float32(row) + HALF - y
            b_dy, c_dy_dy = b * dy, c * dy * dy
            for column in range(first, last):
                dx = np.float32(column) + HALF - x
                power = (a * dx + b_dy) * dx + c_dy_dy
                before = transmittance[row, column]
                if power > level or before < TRANSMITTANCE_MIN:
                    continue
                alpha = min(ALPHA_MAX, opacity * math.exp(-max(power, ZERO)))
                if alpha < ALPHA_MIN:
                    continue
                weight = before * alpha
                color[0, row, column] += weight * red
                color[1, row, column] += weight * green
                color[2, row, column] += weight * blue
                after = before - weight
                transmittance[row, column] = after
                if after < TRANSMITTANCE_MIN:
                    alive -= 1
        if alive == 0:
            return


@numba.njit
def _forward_image(splats, background, color, transmittance):
    height, width = transmittance.shape
    levels, boxes = _levels_and_boxes(splats[0], splats[1], splats[2], height, width)
    found = np.empty(len(levels), np.int32)
    color[:] = ZERO
    transmittance[:] = ONE
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            count = _splats_of_tile(boxes, top, left, found)
            _forward_tile(splats, levels, boxes, found[:count], (top, left), color, transmittance)
    for channel in range(CHANNELS):
        for row in range(height):
            for column in range(width):
                color[channel, row, column] += transmittance[row, column] * background[channel]


# Division as in C: the test for zero that Python's needs costs several percent.
@numba.njit(error_model="numpy")
def _backward_tile(splats, levels, boxes, found, corner, behind, before, gradient, results):
    """Add one tile's share to the splats' gradients; `behind` is S and `before` T, images that are used up."""
    means2d, conics, opacities, colors = splats
    to_centers, to_conics, to_opacities, to_colors = results
    top, left = corner
    bottom, right = min(top + TILE, before.shape[0]), min(left + TILE, before.shape[1])
    alive = (bottom - top) * (right - left)
    for k in found:
        x, y, opacity, level = means2d[k, 0], means2d[k, 1], opacities[k], levels[k]
        a, b, c = conics[k, 0], conics[k, 1], conics[k, 2]
        half_a, half_c = HALF * a, HALF * c
        red, green, blue = colors[k, 0], colors[k, 1], colors[k, 2]
        sum_red = sum_green = sum_blue = sum_falloff = ZERO
        sum_x = sum_y = sum_xx = sum_xy = sum_yy = ZERO
        first, last = max(left, boxes[k, 0]), min(right, boxes[k, 1])
        for row in range(max(top, boxes[k, 2]), min(bottom, boxes[k, 3])):
            dy = np.float32(row) + HALF - y
            b_dy, c_dy_dy = b * dy, half_c * dy * dy
            for column in range(first, last):
                dx = np.float32(column) + HALF - x
                power = (half_a * dx + b_dy) * dx + c_dy_dy
                here = before[row, column]
                if power > level or here < TRANSMITTANCE_MIN:
                    continue
                falloff = math.exp(-max(power, ZERO))
                raw = opacity * falloff
                alpha = min(ALPHA_MAX, raw)
                if alpha < ALPHA_MIN:
                    continue
                weight = here * alpha
                g_red, g_green, g_blue = gradient[0, row, column], gradient[1, row, column], gradient[2, row, column]
                toward = g_red * red + g_green * green + g_blue * blue
                rest = behind[row, column] - weight * toward
                behind[row, column] = rest
                after = here - weight
                before[row, column] = after
                if after < TRANSMITTANCE_MIN:
                    alive -= 1
                sum_red += weight * g_red
                sum_green += weight * g_green
                sum_blue += weight * g_blue
                if raw > ALPHA_MAX:
                    continue
                from_falloff = (here * toward - rest / (ONE - alpha)) * falloff
                from_x, from_y = from_falloff * dx, from_falloff * dy
                sum_falloff += from_falloff
                sum_x += from_x
                sum_y += from_y
                sum_xx += from_x * dx
                sum_xy += from_x * dy
                sum_yy += from_y * dy
        to_colors[k, 0] += sum_red
        to_colors[k, 1] += sum_green
        to_colors[k, 2] += sum_blue
        to_opacities[k] += sum_falloff
        to_centers[k, 0] += opacity * (a * sum_x + b * sum_y)
        to_centers[k, 1] += opacity * (b * sum_x + c * sum_y)
        to_conics[k, 0] -= HALF * opacity * sum_xx
        to_conics[k, 1] -= opacity * sum_xy
        to_conics[k, 2] -= HALF * opacity * sum_yy
        if alive == 0:
            return


@numba.njit
def _backward_image(splats, outputs, gradients, results, to_background):
    """Gradients of one image's splats and background; `results` start at zero."""
    color, transmittance = outputs
    gradient, transmittance_gradient = gradients
    height, width = transmittance.shape
    levels, boxes = _levels_and_boxes(splats[0], splats[1], splats[2], height, width)
    found = np.empty(len(levels), np.int32)
    behind = transmittance_gradient * transmittance
    for channel in range(CHANNELS):
        total = ZERO
        for row in range(height):
            for column in range(width):
                behind[row, column] += gradient[channel, row, column] * color[channel, row, column]
                total += gradient[channel, row, column] * transmittance[row, column]
        to_background[channel] = total
    before = np.ones_like(transmittance)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            count = _splats_of_tile(boxes, top, left, found)
            _backward_tile(splats, levels, boxes, found[:count], (top, left), behind, before, gradient, results)


def _forward_batch(inputs, outputs):
    for i in numba.prange(len(inputs[0])):
        splats = (inputs[0][i], inputs[1][i], inputs[2][i], inputs[3][i])
        _forward_image(splats, inputs[4][i], outputs[0][i], outputs[1][i])


def _backward_batch(inputs, outputs, gradients, results):
    for i in numba.prange(len(inputs[0])):
        _backward_image(
            (inputs[0][i], inputs[1][i], inputs[2][i], inputs[3][i]),
            (outputs[0][i], outputs[1][i]),
            (gradients[0][i], gradients[1][i]),
            (results[0][i], results[1][i], results[2][i], results[3][i]),
            results[4][i],
        )


_FORWARD = {parallel: numba.njit(parallel=parallel)(_forward_batch) for parallel in (False, True)}
_BACKWARD = {parallel: numba.njit(parallel=parallel)(_backward_batch) for parallel in (False, True)}


def forward(
    means2d: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K 3"],
    background: Float[Tensor, "B 3"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width), on as many threads as torch uses."""
    color = torch.empty(len(means2d), CHANNELS, *size)
    transmittance = torch.empty(len(means2d), *size)
    inputs = (means2d, conics, opacities, colors, background)
    _FORWARD[_parallel()](tuple(arrays(*inputs)), tuple(arrays(color, transmittance)))
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B H W"]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (means2d, conics, opacities, colors, background) from those of (color, transmittance)."""
    results = tuple(torch.zeros(tensor.shape) for tensor in inputs)
    _BACKWARD[_parallel()](*(tuple(arrays(*each)) for each in (inputs, outputs, gradients, results)))
    return results[0], results[1], results[2], results[3], results[4]


def _parallel() -> bool:
    """Whether torch's number of threads calls for the parallel code, which is told that number."""
    threads = torch.get_num_threads()
    if threads > 1:
        numba.set_num_threads(threads)
    return threads > 1
