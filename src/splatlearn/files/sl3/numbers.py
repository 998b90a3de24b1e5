"""The numbers of .sl3: Gaussians as a table of whole numbers, and back by operations that round alike on all machines.

Reading uses additions, multiplications, divisions and square roots of float64 alone, which IEEE 754 fixes to the bit;
logarithms and exponentials, which it does not, are used in writing only.

- A position is a sign and a distance from the centre along each axis, in steps that double whenever the distance has
  grown by another radius: fine near the middle of a scene, coarse far away.
- A standard deviation is 2ᵉ·(1 + m/n), which takes n steps to double.
- Of the 24 ways to name the axes of a Gaussian, the one whose quaternion has the largest w is stored: x, y and z are
  small then, w follows from them, and no bits say which entry is missing.
- Colours are turned into luma and two differences (YCoCg-R, Malvar and Sullivan 2003), which is exact on whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import torch
from jaxtyping import Float, Int64

from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import coefficient_count
from splatlearn.files.stored import Stored

PARTS = (("means", 3), ("scales", 3), ("quaternions", 3), ("opacities", 1))
"""Columns of the table before those of colours, which are three for each coefficient of harmonics."""
DEAD = 0.58
"""Harmonics above degree 0 that are smaller than this, in steps, are stored as zero."""
LARGEST = (1 << 22) - 1
"""No number of the table is larger than this, of either sign."""
MOST_SEGMENTS = 40


@dataclass(frozen=True)
class Steps:
    """How finely numbers are stored.

    - `center` (3 numbers), `radius`: of the scene, world units, exact in float32.
    - `positions`: steps of a radius; `scales`: steps in which a standard deviation doubles; `rotations`, `opacities`:
      steps from 0 to 1.
    - `color`, `harmonics`: the unit of coefficients of degree 0, and of all others.
    """

    center: tuple[float, float, float]
    radius: float
    positions: int
    scales: int
    rotations: int
    opacities: int
    color: float
    harmonics: float


def steps_for(stored: Stored, coarseness: float) -> Steps:
    """Steps that suit a scene; `coarseness` multiplies all of them, 1 being hardly visible."""
    center = np.median(stored.means.astype(np.float64), axis=0).astype(np.float32)
    radius = float(np.float32(np.quantile(np.abs(stored.means - center).max(axis=1), 0.9)))
    usual = float(np.exp(np.median(stored.log_scales.astype(np.float64))))
    radius = max(radius, 4 * usual, float(np.finfo(np.float32).tiny))
    positions = radius / (0.2 * coarseness * usual)
    return Steps(
        center=(float(center[0]), float(center[1]), float(center[2])),
        radius=radius,
        positions=int(np.clip(np.rint(positions), 4, LARGEST // MOST_SEGMENTS)),
        scales=max(1, round(12 / coarseness)),
        rotations=max(4, round(100 / coarseness)),
        opacities=max(4, round(80 / coarseness)),
        color=float(np.float32(0.03 * coarseness)),
        harmonics=float(np.float32(0.04 * coarseness)),
    )


def columns_of(degree: int) -> int:
    """The number of columns of a table with harmonics of a degree."""
    return sum(width for _, width in PARTS) + 3 * coefficient_count(degree)


def to_table(stored: Stored, steps: Steps) -> Int64[np.ndarray, "K C"]:
    """The table of Gaussians, whose numbers lie within ±LARGEST."""
    quaternions, log_scales = _least_turned(stored.quaternions, stored.log_scales)
    units = np.full((stored.sh.shape[1], 1), steps.harmonics)
    units[0] = steps.color
    shares = stored.sh.astype(np.float64) / units
    colors = np.rint(shares)
    # Small harmonics are not worth a token: they become zero a little beyond half a step.
    colors[:, 1:][np.abs(shares[:, 1:]) < DEAD] = 0
    colors = colors.astype(np.int64)
    parts = [
        _positions_in(stored.means, steps),
        _scales_in(log_scales, steps.scales),
        np.rint(quaternions[:, 1:] * steps.rotations).astype(np.int64),
        np.rint(stored.opacities.astype(np.float64)[:, None] * steps.opacities).astype(np.int64),
        _with_luma(colors).reshape(len(colors), -1),
    ]
    return np.concatenate(parts, axis=1).clip(-LARGEST, LARGEST)


def from_table(table: Int64[np.ndarray, "K C"], steps: Steps) -> Gaussians:
    """The Gaussians of a table, float32, to the same bits on every machine."""
    means, scales, quaternions, opacities, colors = np.split(table, np.cumsum([width for _, width in PARTS]), axis=1)
    whole = _without_luma(colors.reshape(len(table), -1, 3)).astype(np.float64)
    units = np.full((whole.shape[1], 1), steps.harmonics)
    units[0] = steps.color
    return Gaussians(
        means=_tensor(_positions_out(means, steps)),
        scales=_tensor(_scales_out(scales, steps.scales)),
        quaternions=_tensor(_quaternions_out(quaternions, steps.rotations)),
        opacities=_tensor(np.clip(opacities[:, 0] / steps.opacities, 0.0, 1.0)),
        sh=_tensor(whole * units),
    )


def _positions_in(means: Float[np.ndarray, "K 3"], steps: Steps) -> Int64[np.ndarray, "K 3"]:
    offsets = means.astype(np.float64) - np.array(steps.center)
    sizes = np.abs(offsets) / steps.radius
    segments = np.floor(np.log2(1 + sizes)).clip(0, MOST_SEGMENTS)
    within = (sizes + 1) / 2.0**segments - 1
    places = segments * steps.positions + np.rint(within * steps.positions)
    return (np.sign(offsets) * places).astype(np.int64)


def _positions_out(places: Int64[np.ndarray, "K 3"], steps: Steps) -> Float[np.ndarray, "K 3"]:
    segments, within = np.divmod(np.abs(places), steps.positions)
    powers = np.ldexp(1.0, np.minimum(segments, MOST_SEGMENTS).astype(np.int32))
    sizes = (1 + within / steps.positions) * powers - 1
    return np.array(steps.center) + np.sign(places) * (sizes * steps.radius)


def _scales_in(log_scales: Float[np.ndarray, "K 3"], count: int) -> Int64[np.ndarray, "K 3"]:
    scales = np.exp(log_scales.astype(np.float64))
    octaves = np.floor(np.log2(scales))
    return (octaves * count + np.rint((scales / 2.0**octaves - 1) * count)).astype(np.int64)


def _scales_out(places: Int64[np.ndarray, "K 3"], count: int) -> Float[np.ndarray, "K 3"]:
    octaves, within = np.divmod(places, count)
    return np.ldexp(1 + within / count, octaves.clip(-126, 126).astype(np.int32))


def _quaternions_out(places: Int64[np.ndarray, "K 3"], count: int) -> Float[np.ndarray, "K 4"]:
    x, y, z = (places / count).clip(-1, 1).T
    w = np.sqrt(np.maximum(0.0, 1 - (x * x + y * y + z * z)))
    length = np.sqrt(w * w + (x * x + y * y + z * z))
    length = np.where(length > 0, length, 1.0)
    return np.stack([w, x, y, z], axis=1) / length[:, None]


def _least_turned(
    quaternions: Float[np.ndarray, "K 4"], log_scales: Float[np.ndarray, "K 3"]
) -> tuple[Float[np.ndarray, "K 4"], Float[np.ndarray, "K 3"]]:
    """The same Gaussians, with the names of their axes changed so that w is as large as it can be."""
    exact = quaternions.astype(np.float64)
    best, chosen = np.full(len(exact), -1.0), np.zeros(len(exact), np.int64)
    turns, orders = _axis_names()
    for number, (w, x, y, z) in enumerate(turns):
        real = np.abs(exact[:, 0] * w - exact[:, 1] * x - exact[:, 2] * y - exact[:, 3] * z)
        better = real > best + 1e-9
        best[better], chosen[better] = real[better], number
    turned = _product(exact, turns[chosen])
    turned *= np.where(turned[:, :1] < 0, -1.0, 1.0)
    return turned, np.take_along_axis(log_scales, orders[chosen], axis=1)


def _axis_names() -> tuple[Float[np.ndarray, "24 4"], Int64[np.ndarray, "24 3"]]:
    """The 24 rotations of a cube, as quaternions, and the old axis that each new one is."""
    turns, orders = [], []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[old, new] = sign
            if np.linalg.det(matrix) > 0:
                turns.append(_quaternion(matrix))
                orders.append(order)
    return np.array(turns), np.array(orders)


def _quaternion(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 4"]:
    """The quaternion of a rotation matrix, by the largest of its entries."""
    squares = 1 + np.array(
        [
            matrix[0, 0] + matrix[1, 1] + matrix[2, 2],
            matrix[0, 0] - matrix[1, 1] - matrix[2, 2],
            matrix[1, 1] - matrix[0, 0] - matrix[2, 2],
            matrix[2, 2] - matrix[0, 0] - matrix[1, 1],
        ]
    )
    largest = int(squares.argmax())
    pairs = {
        (0, 1): matrix[2, 1] - matrix[1, 2],
        (0, 2): matrix[0, 2] - matrix[2, 0],
        (0, 3): matrix[1, 0] - matrix[0, 1],
        (1, 2): matrix[0, 1] + matrix[1, 0],
        (1, 3): matrix[0, 2] + matrix[2, 0],
        (2, 3): matrix[1, 2] + matrix[2, 1],
    }
    found = np.array(
        [squares[largest] if each == largest else pairs[min(each, largest), max(each, largest)] for each in range(4)]
    )
    return found / np.linalg.norm(found)


def _product(first: Float[np.ndarray, "K 4"], second: Float[np.ndarray, "K 4"]) -> Float[np.ndarray, "K 4"]:
    a, b, c, d = first.T
    e, f, g, h = second.T
    return np.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        axis=1,
    )


def _with_luma(colors: Int64[np.ndarray, "K M 3"]) -> Int64[np.ndarray, "K M 3"]:
    red, green, blue = np.moveaxis(colors, 2, 0)
    orange = red - blue
    middle = blue + (orange >> 1)
    greenish = green - middle
    return np.stack([middle + (greenish >> 1), orange, greenish], axis=2)


def _without_luma(colors: Int64[np.ndarray, "K M 3"]) -> Int64[np.ndarray, "K M 3"]:
    luma, orange, greenish = np.moveaxis(colors, 2, 0)
    middle = luma - (greenish >> 1)
    blue = middle - (orange >> 1)
    return np.stack([blue + orange, greenish + middle, blue], axis=2)


def _tensor(values: Float[np.ndarray, ...]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
