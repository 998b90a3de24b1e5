"""The numbers of .sl3: from a table of whole numbers to Gaussians, by operations that round alike on all machines.

These are additions, multiplications, divisions and square roots of float64 alone, which IEEE 754 fixes to the bit; what
steps a Gaussian has is decided on whole numbers.

- `worth`: the class of a Gaussian. A number of most other columns stands for itself times 2ˢ in units of the file; the
  exponents s of a Gaussian follow from its class, opacity and scales, see `Steps`.
- `opacities`: from 0 to 1.
- `scales`: a standard deviation is 2ᵉ·(1 + m/n), which takes n units to double.
- `rotations`: x, y and z of the quaternion whose w is the largest of the 24 that name the axes of a Gaussian: they are
  small then, w follows from them, and no bits say which entry is missing.
- `positions`: a sign and a distance from the centre along each axis, in units that double whenever the distance has
  grown by another radius: fine near the middle of a scene, coarse far away.
- `colors`: harmonics of degree 0 as luma and two differences (YCoCg, Malvar and Sullivan 2003).
- `harmonics`: the same of higher degrees, after an orthogonal map of the coefficients of each channel in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64

from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import coefficient_count

PARTS = {"worth": 1, "opacities": 1, "scales": 3, "rotations": 3, "positions": 3, "colors": 3}
"""Columns of the table in their order, before those of harmonics."""
SHIFTED = ("scales", "rotations", "positions", "colors", "harmonics")
"""Parts whose steps differ from Gaussian to Gaussian."""
LARGEST = (1 << 22) - 1
"""No number of the table is larger than this, of either sign."""
MOST_SEGMENTS = 40
MOST_SHIFT = 11
FEATURES = 6
SHIFT_BITS = 8
"""Factors of features are whole numbers of 1/256."""
LARGEST_FACTOR = 1 << 24
QUARTERS = 4
"""Scales are features in quarters of an octave."""
BASIS_BITS = 12
"""Entries of the map of harmonics are whole numbers of 1/4096."""


@dataclass(frozen=True)
class Steps:
    """How finely numbers are stored.

    - `center` (3 numbers), `radius`: of the scene, world units, exact in float32.
    - `positions`: units of a radius; `scales`: units in which a standard deviation doubles; `rotations`, `opacities`:
      units from 0 to 1.
    - `color`, `harmonics`: the unit of coefficients of degree 0, and of all others.
    - `shifts`: for each of SHIFTED the factors, in 1/256, of 1, the class, the number of bits of the opacity, and the
      scales from the smallest to the largest in quarters of an octave. Their sum, rounded and cut to 0 to MOST_SHIFT,
      is the exponent s of a Gaussian's step. Scales themselves follow from the first three, since they come first.
    """

    center: tuple[float, float, float]
    radius: float
    positions: int
    scales: int
    rotations: int
    opacities: int
    color: float
    harmonics: float
    shifts: dict[str, list[int]] = field(default_factory=lambda: {name: [0] * FEATURES for name in SHIFTED})


def parts_of(degree: int) -> dict[str, int]:
    """Numbers of columns of the parts of a table with harmonics of a degree."""
    return PARTS | {"harmonics": 3 * (coefficient_count(degree) - 1)}


class Features:
    """What is known of K Gaussians while their table is read or written, part by part.

    `rows` [F, K]: the features, of which the first is 1; others are 0 before they are known.
    """

    def __init__(self, count: int, steps: Steps) -> None:
        self.steps = steps
        self.rows = np.zeros((FEATURES, count), np.int64)
        self.rows[0] = 1

    def add(self, part: str, units: Int64[np.ndarray, "K C"]) -> None:
        """Take in the numbers of a part, in units of the file."""
        if part == "worth":
            self.rows[1] = units[:, 0]
        elif part == "opacities":
            self.rows[2] = np.frexp(np.clip(units[:, 0], 0, LARGEST).astype(np.float64))[1]
        elif part == "scales":
            self.rows[3:] = np.sort(units, axis=1).T * QUARTERS // self.steps.scales

    def shifts(self, part: str) -> Int64[np.ndarray, " K"]:
        """The exponents s of a part's steps."""
        factors = np.array(self.steps.shifts.get(part, [0] * FEATURES), np.int64)
        return ((factors @ self.rows + (1 << SHIFT_BITS >> 1)) >> SHIFT_BITS).clip(0, MOST_SHIFT)


def in_steps(units: Int64[np.ndarray, "K P"], shifts: Int64[np.ndarray, " K"]) -> Int64[np.ndarray, "K P"]:
    """The nearest numbers of steps of 2 to the power of the shifts."""
    halves = (1 << shifts) >> 1
    return ((units + halves[:, None]) >> shifts[:, None]).clip(-LARGEST, LARGEST)


def from_units(units: dict[str, Int64[np.ndarray, "K C"]], steps: Steps, basis: Int64[np.ndarray, "N N"]) -> Gaussians:
    """The Gaussians of numbers in units of the file, float32, to the same bits on every machine.

    `basis`: the map of harmonics above degree 0, from the N numbers that are stored to the N coefficients of a channel.
    """
    colors = _without_luma(units["colors"][:, None]).astype(np.float64) * steps.color
    stored = _without_luma(units["harmonics"].reshape(len(colors), len(basis), 3))
    # Of whole numbers, so that no order of the sum changes it.
    mapped = np.einsum("nm,kmc->knc", basis, stored)
    colors = np.concatenate([colors, mapped / (1 << BASIS_BITS) * steps.harmonics], axis=1)
    return Gaussians(
        means=_tensor(_positions(units["positions"], steps)),
        scales=_tensor(_scales(units["scales"], steps.scales)),
        quaternions=_tensor(_quaternions(units["rotations"], steps.rotations)),
        opacities=_tensor(np.clip(units["opacities"][:, 0] / steps.opacities, 0.0, 1.0)),
        sh=_tensor(colors),
    )


def _positions(places: Int64[np.ndarray, "K 3"], steps: Steps) -> Float[np.ndarray, "K 3"]:
    segments, within = np.divmod(np.abs(places), steps.positions)
    powers = np.ldexp(1.0, np.minimum(segments, MOST_SEGMENTS).astype(np.int32))
    sizes = (1 + within / steps.positions) * powers - 1
    return np.array(steps.center) + np.sign(places) * (sizes * steps.radius)


def _scales(places: Int64[np.ndarray, "K 3"], count: int) -> Float[np.ndarray, "K 3"]:
    octaves, within = np.divmod(places, count)
    return np.ldexp(1 + within / count, octaves.clip(-126, 126).astype(np.int32))


def _quaternions(places: Int64[np.ndarray, "K 3"], count: int) -> Float[np.ndarray, "K 4"]:
    x, y, z = (places / count).clip(-1, 1).T
    w = np.sqrt(np.maximum(0.0, 1 - (x * x + y * y + z * z)))
    # Never 0: w makes up for what is missing to 1.
    length = np.sqrt(w * w + (x * x + y * y + z * z))
    return np.stack([w, x, y, z], axis=1) / length[:, None]


def _without_luma(colors: Int64[np.ndarray, "K M 3"]) -> Int64[np.ndarray, "K M 3"]:
    luma, orange, greenish = np.moveaxis(colors, 2, 0)
    others = luma - greenish
    return np.stack([others + orange, luma + greenish, others - orange], axis=2)


def _tensor(values: Float[np.ndarray, ...]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
