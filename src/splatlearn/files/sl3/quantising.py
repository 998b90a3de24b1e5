"""The choice of steps of .sl3, and the table of whole numbers of Gaussians.

Where it is known how much pictures change with each number, steps are such that a bit is worth the same everywhere: a
step is inversely proportional to the root of the sensitivity (at a high rate, the least bits of a squared error). The
sensitivities of one Gaussian differ from those of another by orders of magnitude, and so do their steps.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64

from splatlearn.files.sl3.numbers import (
    BASIS_BITS,
    FEATURES,
    LARGEST,
    LARGEST_FACTOR,
    MOST_SEGMENTS,
    QUARTERS,
    SHIFT_BITS,
    SHIFTED,
    Features,
    Steps,
    parts_of,
)
from splatlearn.files.stored import Stored

CLASSES = 12
"""Classes of worth, from 0 for what needs the finest steps."""
ROWS_AT_ONCE = 1 << 17
"""Gaussians that a thread rounds together; there may be many times as many."""
DEAD = 0.6
"""Harmonics above degree 0 that are smaller than this, in steps, are stored as zero: they are not worth a token."""
TARGET = 10**-4.2
"""Mean squared error of pictures at a coarseness of 1, as far as sensitivities foretell it."""
FINEST = 0.001
"""Share of the Gaussians that may ask for steps below the finest."""
LUMA = (3 / 8) ** 0.5
"""Root of a squared error of luma and differences, as a share of that of red, green and blue."""
MOST_COUNT = 1 << 16
MOST_COUNTS = {"positions": LARGEST // MOST_SEGMENTS, "scales": MOST_COUNT, "rotations": MOST_COUNT, "colors": 1e12}
"""Largest numbers of steps by part; of coefficients any unit can be held."""
LEAST = 1 / 128
"""No Gaussian counts for less than this share of the mean: other pictures may show what these hardly do."""
LONGEST = {"positions": 0.35, "scales": 0.25, "rotations": 0.07, "colors": 0.3}
"""Longest steps at a coarseness up to 1, beyond which they grow with it: of smallest scales, octaves, numbers of
quaternions, coefficients. What is hidden changes no picture by a little, but does where it comes out of a surface."""
NEWTON = 40
"""Steps of Newton's method for the factors of shifts."""


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """Mean squared change of a pixel's colour for a change of 1 of single numbers of K Gaussians, float64 [K].

    Of a coordinate of the position, world units; the logarithm of a scale; the angle of a turn about an axis; the
    opacity; a coefficient of harmonics.
    """

    positions: Float[np.ndarray, " K"]
    scales: Float[np.ndarray, " K"]
    rotations: Float[np.ndarray, " K"]
    opacities: Float[np.ndarray, " K"]
    colors: Float[np.ndarray, " K"]

    def reordered(self, order: np.ndarray) -> Sensitivities:
        """The numbers in another order, given as indices [K]."""
        return Sensitivities(**{name: values[order] for name, values in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Table:
    """Gaussians as whole numbers.

    - `all`: the table, in the order of `parts_of`; `numbers`: of each part [K, C], views of it. They are times 2 to the
      power of their shift in units of the file; `features`: which have the shifts.
    - `basis`: the map of harmonics.
    """

    all: Int32[np.ndarray, "K A"]
    numbers: dict[str, Int32[np.ndarray, "K C"]]
    features: Features
    basis: Int64[np.ndarray, "N N"]


def quantised(
    stored: Stored, coarseness: float, known: Sensitivities | None, order: Int64[np.ndarray, " K"] | None = None
) -> Table:
    """The table of Gaussians; `coarseness` multiplies all steps, 1 being hardly visible.

    - `known`: of the Gaussians in the order of the table, which `order` gives by their places; by default their own.
    """
    order = np.arange(len(stored.means)) if order is None else order
    sh, small = stored.sh, replace(stored, sh=stored.sh[:, :1]).reordered(order)
    octaves = small.log_scales.astype(np.float64) / np.log(2)
    center = np.median(small.means.astype(np.float64), axis=0).astype(np.float32)
    radius = float(np.float32(np.quantile(np.abs(small.means - center).max(axis=1), 0.9)))
    usual = float(np.exp(np.median(small.log_scales.astype(np.float64))))
    radius = max(radius, 4 * usual, float(np.finfo(np.float32).tiny))
    middle = (float(center[0]), float(center[1]), float(center[2]))
    if known is None:
        worth, steps = np.zeros(len(octaves), np.int64), _usual_steps(middle, radius, usual, coarseness)
    else:
        columns = 11 + 1.5 * sh.shape[1]
        worth, steps = _planned(small, columns, octaves, known, middle, radius, coarseness)
    del octaves
    parts = parts_of(math.isqrt(sh.shape[1]) - 1)
    # Columns one after the other: they are looked at one by one.
    whole = np.zeros((len(order), sum(parts.values())), np.int32, order="F")
    ends = np.cumsum([*parts.values()])
    numbers = {name: whole[:, end - width : end] for (name, width), end in zip(parts.items(), ends, strict=True)}
    features = Features(len(order), steps)
    basis = _basis(sh, order, 4.0**-worth)
    chunks = [slice(first, first + ROWS_AT_ONCE) for first in range(0, len(order), ROWS_AT_ONCE)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(lambda rows: _round(small, worth, sh, order, basis, features, numbers, rows), chunks):
            pass
    return Table(whole, numbers, features, basis)


def _round(
    small: Stored,
    worth: Int64[np.ndarray, " K"],
    sh: Float[np.ndarray, "K M 3"],
    order: Int64[np.ndarray, " K"],
    basis: Int64[np.ndarray, "N N"],
    features: Features,
    numbers: dict[str, Int32[np.ndarray, "K C"]],
    rows: slice,
) -> None:
    """Fill some rows of a table."""
    steps = features.steps
    seen = Features(0, steps)
    seen.rows = features.rows[:, rows]

    def rounded(part: str, values: Float[np.ndarray, "K C"], dead: float = 0.0) -> None:
        shares = values / (1 << seen.shifts(part))[:, None]
        found = np.where(np.abs(shares) < dead, 0, np.rint(shares)).clip(-LARGEST, LARGEST).astype(np.int64)
        numbers[part][rows] = found
        seen.add(part, found << seen.shifts(part)[:, None])

    quaternions, log_scales = _least_turned(small.quaternions[rows], small.log_scales[rows])
    octaves = log_scales.astype(np.float64) / np.log(2)
    rounded("worth", worth[rows, None].astype(np.float64))
    rounded("opacities", small.opacities[rows, None].astype(np.float64) * steps.opacities)
    rounded("scales", _octaves_in(octaves, steps.scales))
    rounded("rotations", quaternions[:, 1:] * steps.rotations)
    rounded("positions", _positions_in(small.means[rows], steps))
    rounded("colors", _with_luma(small.sh[rows].astype(np.float64))[:, 0] / steps.color)
    if len(basis):
        rest = sh[order[rows], 1:].astype(np.float64)
        mapped = _with_luma(np.einsum("nm,knc->kmc", basis / (1 << BASIS_BITS), rest)) / steps.harmonics
        rounded("harmonics", mapped.reshape(len(rest), -1), DEAD)


def _usual_steps(center: tuple[float, float, float], radius: float, usual: float, coarseness: float) -> Steps:
    """Steps where nothing is known of pictures: finer for the turns of what is long and thin."""
    turns = [0] * FEATURES
    turns[0], turns[3], turns[5] = 3 << SHIFT_BITS, 48, -48
    return Steps(
        center=center,
        radius=radius,
        positions=_count(radius / (0.15 * coarseness * usual), MOST_COUNTS["positions"]),
        scales=_count(12 / coarseness),
        rotations=_count(160 / coarseness),
        opacities=_count(80 / coarseness),
        color=float(np.float32(0.02 * coarseness)),
        harmonics=float(np.float32(0.03 * coarseness)),
        shifts={name: turns if name == "rotations" else [0] * FEATURES for name in SHIFTED},
    )


def _planned(
    stored: Stored,
    columns: float,
    octaves: Float[np.ndarray, "K 3"],
    known: Sensitivities,
    center: tuple[float, float, float],
    radius: float,
    coarseness: float,
) -> tuple[Int64[np.ndarray, " K"], Steps]:
    """Classes of worth [K], and steps at which a bit is worth the same everywhere.

    `columns`: of the table, those of harmonics as half ones.
    """
    scale = coarseness * (12 * TARGET / (columns * len(octaves))) ** 0.5
    segments = np.log2(1 + np.abs(stored.means.astype(np.float64) - np.array(center)) / radius).mean(axis=1)
    wanted = {
        "scales": _log_steps(known.scales * np.log(2) ** 2),
        "rotations": _log_steps(4 * known.rotations),
        "positions": _log_steps(known.positions * radius**2 * 4.0**segments),
        "colors": _log_steps(known.colors),
    }
    bounds = {**LONGEST, "positions": LONGEST["positions"] * 2.0 ** (octaves.min(axis=1) - segments) / radius}
    for name, each in wanted.items():
        wanted[name] = np.minimum(each, np.log2(bounds[name] * max(1.0, coarseness) / scale))
    mean = (wanted["colors"] + wanted["scales"]) / 2
    worth = np.rint(mean - np.quantile(mean, FINEST)).clip(0, CLASSES - 1).astype(np.int64)
    opacities = _count(max(float(known.opacities.mean()), 1e-30) ** 0.5 / scale)
    bits = np.frexp(np.rint(stored.opacities.astype(np.float64) * opacities))[1]
    rows = np.stack([np.ones(len(worth)), worth, bits, *np.floor(QUARTERS * np.sort(octaves, axis=1)).T])
    used = {"scales": 3, "rotations": FEATURES, "positions": FEATURES, "colors": 2}
    shifts, units = {}, {}
    for name, each in wanted.items():
        factors = _factors(rows[: used[name]], each)
        # Exponents are of the unit that a file can hold, which may be longer than what is asked for.
        unit = max(scale * 2.0 ** float(np.quantile(factors @ rows[: used[name]], FINEST)), 1 / MOST_COUNTS[name])
        factors[0] -= np.log2(unit / scale)
        whole = np.zeros(FEATURES, np.int64)
        whole[: used[name]] = np.rint(factors * (1 << SHIFT_BITS)).clip(-LARGEST_FACTOR, LARGEST_FACTOR)
        shifts[name], units[name] = whole.tolist(), unit
    color = float(np.float32(units["colors"] * LUMA))
    return worth, Steps(
        center=center,
        radius=radius,
        positions=_count(1 / units["positions"], MOST_COUNTS["positions"]),
        scales=_count(1 / units["scales"]),
        rotations=_count(1 / units["rotations"]),
        opacities=opacities,
        color=color,
        harmonics=color,
        shifts=shifts | {"harmonics": shifts["colors"]},
    )


def _count(steps: float, most: float = MOST_COUNT) -> int:
    return int(np.clip(np.rint(steps), 4, most))


def _log_steps(sensitivities: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Logarithms to the base 2 of the best steps, up to a constant; finite for what no picture shows."""
    return -0.5 * np.log2(sensitivities + LEAST * sensitivities.mean() + 1e-30)


def _factors(rows: Float[np.ndarray, "F K"], wanted: Float[np.ndarray, " K"]) -> Float[np.ndarray, " F"]:
    """The factors [F] of features whose sum, as the logarithm of a step, costs least.

    Bits are ½·log₂ Σ 4^(step − wanted) less the mean step: convex, so that Newton's method finds the minimum from the
    least squares. What is the same for all Gaussians has the factor 0, but for the first row, of ones.
    """
    varied = np.flatnonzero(np.ptp(rows, axis=1) > 0)
    if len(varied) + 1 < len(rows):
        factors = np.zeros(len(rows))
        chosen = [0, *varied]
        factors[chosen] = _factors(rows[chosen], wanted)
        return factors
    factors = np.linalg.lstsq(rows.T, wanted, rcond=None)[0]
    means = rows.mean(axis=1)
    for _ in range(NEWTON):
        logs = 2 * (factors @ rows - wanted)
        shares = 2.0 ** (logs - logs.max())
        shares /= shares.sum()
        seen = rows @ shares
        bend = 2 * np.log(2) * ((rows * shares) @ rows.T - np.outer(seen, seen)) + 1e-4 * np.eye(len(rows))
        factors = factors - 0.5 * np.linalg.solve(bend, seen - means)
    logs = 2 * (factors @ rows - wanted)
    # All steps together are then as fine as is wanted on the average of squares.
    factors[0] -= 0.5 * (np.log2((2.0 ** (logs - logs.max())).mean()) + logs.max())
    return factors


def _basis(
    sh: Float[np.ndarray, "K M 3"], order: Int64[np.ndarray, " K"], weights: Float[np.ndarray, " K"]
) -> Int64[np.ndarray, "N N"]:
    """Directions in which the coefficients of a channel vary, the widest last, as whole numbers.

    - `order`: of the Gaussians that the weights are of.
    """
    count = sh.shape[1] - 1
    spread = np.zeros((count, count))
    for first in range(0, len(order) if count else 0, ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        weighted = sh[order[rows], 1:].astype(np.float64) * np.sqrt(weights[rows])[:, None, None]
        flat = weighted.transpose(0, 2, 1).reshape(-1, count)
        spread += flat.T @ flat
    _, directions = np.linalg.eigh(spread)
    return np.rint(directions * (1 << BASIS_BITS)).astype(np.int64)


def _positions_in(means: Float[np.ndarray, "K 3"], steps: Steps) -> Float[np.ndarray, "K 3"]:
    offsets = means.astype(np.float64) - np.array(steps.center)
    sizes = np.abs(offsets) / steps.radius
    segments = np.floor(np.log2(1 + sizes)).clip(0, MOST_SEGMENTS)
    within = (sizes + 1) / 2.0**segments - 1
    return np.sign(offsets) * (segments + within) * steps.positions


def _octaves_in(octaves: Float[np.ndarray, "K 3"], count: int) -> Float[np.ndarray, "K 3"]:
    whole = np.floor(octaves)
    return (whole + 2.0 ** (octaves - whole) - 1) * count


def _with_luma(colors: Float[np.ndarray, "K M 3"]) -> Float[np.ndarray, "K M 3"]:
    red, green, blue = np.moveaxis(colors, 2, 0)
    others = (red + blue) / 2
    return np.stack([(others + green) / 2, (red - blue) / 2, (green - others) / 2], axis=2)


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
