"""Between what files store (logarithms, logits, bytes) and the activated numbers of Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from splatlearn.core.checks import check_finite
from splatlearn.core.errors import InputError, Malformed
from splatlearn.core.gaussians import GAUSSIAN, Gaussians
from splatlearn.core.geometry.quaternions import unit_quaternion_arrays

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Scales below this are raised to it: some writers store the logarithm of zero."""
LARGEST_LOGIT = 16.0
"""Logits are kept within this: beyond, float32 no longer tells an opacity from 1."""
ROWS_AT_ONCE = 1 << 17
"""Rows that writers convert at a time."""
MORTON_BITS = 21
"""Three numbers of this many bits fill a word of 64."""


@dataclass(frozen=True, eq=False)
class Stored:
    """The numbers of K Gaussians between a file and `Gaussians`, float32.

    - `means` [K, 3]; `log_scales` [K, 3]; `quaternions` [K, 4], w first, any length; `opacities` [K] in [0, 1];
      `sh` [K, M, 3].
    - `shapes` [K, S]: the further numbers of a primitive, None if it has none; `primitive`: its name.
    """

    means: Float[np.ndarray, "K 3"]
    log_scales: Float[np.ndarray, "K 3"]
    quaternions: Float[np.ndarray, "K 4"]
    opacities: Float[np.ndarray, " K"]
    sh: Float[np.ndarray, "K M 3"]
    shapes: Float[np.ndarray, "K S"] | None = None
    primitive: str = GAUSSIAN

    @classmethod
    def joined(cls, parts: Sequence[Stored]) -> Stored:
        """The plain Gaussians of all parts, one part after the other."""
        names = ("means", "log_scales", "quaternions", "opacities", "sh")
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}, primitive=GAUSSIAN
        )

    def reordered(self, order: np.ndarray) -> Stored:
        """The Gaussians in another order, given as indices [K]."""
        arrays = {name: values[order] for name, values in vars(self).items() if isinstance(values, np.ndarray)}
        return replace(self, **arrays)


def from_stored(stored: Stored, drop_invalid: bool) -> tuple[Gaussians, int]:
    """Activate: exponentials of scales, quaternions of unit length. Returns the Gaussians and how many were dropped.

    An infinite negative logarithm of a scale is a scale of nearly zero. Gaussians with other numbers that are NaN or
    infinite, or without a rotation (a quaternion of zeros), are dropped if `drop_invalid`. Otherwise they raise
    Malformed, as does a file without any other Gaussian.
    """
    scales = np.exp(stored.log_scales.astype(np.float32))
    valid = _valid_rows(stored, scales, drop_invalid)
    if not valid.all():
        stored, scales = stored.reordered(np.flatnonzero(valid)), scales[valid]
    gaussians = Gaussians(
        means=_tensor(stored.means),
        scales=_tensor(np.maximum(scales, SMALLEST_SCALE)),
        quaternions=_tensor(unit_quaternion_arrays(stored.quaternions)),
        opacities=_tensor(stored.opacities.clip(0.0, 1.0)),
        sh=_tensor(stored.sh),
        shapes=None if stored.shapes is None else _tensor(stored.shapes),
        primitive=stored.primitive,
    )
    return gaussians, len(valid) - len(scales)


def _valid_rows(stored: Stored, scales: np.ndarray, drop_invalid: bool) -> np.ndarray:
    """Which Gaussians [K] can be used; raises Malformed unless all can, or some and `drop_invalid`."""
    lengths = np.abs(stored.quaternions).max(axis=-1)
    faults = {
        "with NaN or infinite positions": ~_finite(stored.means),
        "with NaN or infinite scales": ~_finite(scales),
        "with NaN or infinite rotations": ~np.isfinite(lengths),
        "without a rotation (four zeros)": lengths == 0,
        "with NaN opacities": np.isnan(stored.opacities),
        "with NaN or infinite colours": ~_finite(stored.sh),
    }
    if stored.shapes is not None:
        faults["with NaN or infinite shapes"] = ~_finite(stored.shapes)
    invalid = np.zeros(len(scales), dtype=bool)
    for rows in faults.values():
        invalid |= rows
    count, total = int(invalid.sum()), len(invalid)
    if count and (count == total or not drop_invalid):
        found = "; ".join(
            f"{rows.sum()} {fault}, the first at index {rows.argmax()}" for fault, rows in faults.items() if rows.any()
        )
        way = "" if count == total else "; drop_invalid=True drops them"
        raise Malformed(f"{count} of {total} Gaussians cannot be used: {found}{way}")
    return ~invalid


def _finite(values: np.ndarray) -> np.ndarray:
    """Which rows [K] have finite numbers only."""
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))


def to_stored(gaussians: Gaussians) -> Stored:
    """The inverse for writers, of Gaussians [K] with `sh`.

    Raises InputError for numbers that are not finite, scales below 0 and opacities outside [0, 1].
    """
    gaussians = gaussians.detach()
    tensors = gaussians.tensors()
    check_finite(**tensors)
    if not gaussians.count:
        raise InputError("gaussians: expected at least one Gaussian, got none")
    if bool((gaussians.scales < 0).any()):
        raise InputError(f"scales: expected standard deviations above 0, got {float(gaussians.scales.min()):.4g}")
    lowest, highest = float(gaussians.opacities.min()), float(gaussians.opacities.max())
    if lowest < 0 or highest > 1:
        raise InputError(f"opacities: expected numbers in [0, 1], got {lowest:.4g} to {highest:.4g}")
    arrays = {name: each.float().cpu().numpy() for name, each in tensors.items()}
    return Stored(
        means=arrays["means"],
        log_scales=np.log(np.maximum(arrays["scales"], SMALLEST_SCALE)),
        quaternions=unit_quaternion_arrays(arrays["quaternions"]),
        opacities=arrays["opacities"],
        sh=arrays["sh"],
        shapes=arrays.get("shapes"),
        primitive=gaussians.primitive,
    )


def blocks(count: int) -> list[slice]:
    """Slices of `ROWS_AT_ONCE` rows that cover all of them."""
    return [slice(first, min(first + ROWS_AT_ONCE, count)) for first in range(0, count, ROWS_AT_ONCE)]


def in_blocks(convert: Callable[[slice], np.ndarray], count: int) -> np.ndarray:
    """What `convert` makes of the rows of a slice, for all rows: in blocks, on all threads, so that little is held."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return np.concatenate(list(pool.map(convert, blocks(count))))


def linear_scales(gaussians: Gaussians) -> Float[np.ndarray, "K 3"]:
    """Standard deviations as they are, for formats without logarithms; `to_stored` checks them."""
    return np.maximum(gaussians.scales.detach().float().cpu().numpy(), SMALLEST_SCALE)


def logits(opacities: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Logits of opacities, kept finite."""
    exact = opacities.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(exact) - np.log1p(-exact), -LARGEST_LOGIT, LARGEST_LOGIT).astype(np.float32)


def sigmoids(numbers: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """Opacities of logits; infinite ones, which quantised files decode to, are 0 and 1."""
    exact = np.clip(numbers.astype(np.float64), -700.0, 700.0)
    return (1.0 / (1.0 + np.exp(-exact))).astype(np.float32)


def pack_smallest_three(
    quaternions: Float[np.ndarray, "K 4"],
) -> tuple[np.ndarray, Float[np.ndarray, "K 3"]]:
    """Where the largest of four entries stands, and the three others in order, signed so that the largest is ≥ 0."""
    largest = np.abs(quaternions).argmax(axis=-1)
    rows = np.arange(len(quaternions))
    signed = np.where(quaternions[rows, largest, None] < 0, -quaternions, quaternions)
    return largest, signed[~np.eye(4, dtype=bool)[largest]].reshape(-1, 3)


def unpack_smallest_three(largest: np.ndarray, others: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "K 4"]:
    """The inverse: the largest entry makes the length 1."""
    quaternions = np.empty((len(others), 4), dtype=np.float32)
    places = np.eye(4, dtype=bool)[largest]
    quaternions[places] = np.sqrt(np.maximum(0.0, 1.0 - np.square(others).sum(axis=-1)))
    quaternions[~places] = others.ravel()
    return quaternions


def quantise(numbers: np.ndarray, levels: int) -> np.ndarray:
    """Whole numbers 0 to `levels`, nearest to numbers in [0, 1] times `levels`."""
    return np.rint(np.clip(numbers, 0.0, 1.0) * levels).astype(np.uint32)


def morton_order(means: Float[np.ndarray, "K 3"]) -> np.ndarray:
    """Indices [K] that walk through space along a Morton curve of 2²¹ steps a side, so that neighbours stay near.

    The steps are equally long along all axes: those of a flat scene would otherwise be cut where it is thinnest. There
    are many, because a few far Gaussians may leave the others in a small part of the whole.
    """
    exact = means.astype(np.float64)
    span = float(np.ptp(exact, axis=0).max())
    cells = quantise((exact - exact.min(axis=0)) / (span or 1.0), (1 << MORTON_BITS) - 1).astype(np.uint64)
    code = np.zeros(len(means), dtype=np.uint64)
    for bit in range(MORTON_BITS):
        for axis in range(3):
            code |= ((cells[:, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return np.argsort(code, kind="stable")


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
