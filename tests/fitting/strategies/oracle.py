"""Strategies and Adam once more, from their equations: float64, one Gaussian at a time, in plain Python and NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from splatlearn.fitting.draws import Draw, Draws
from splatlearn.fitting.strategies.default import DefaultOptions
from splatlearn.fitting.strategies.mcmc import MCMCOptions

Values = dict[str, np.ndarray]
LIKE = torch.empty(0)
"""The random numbers of a fit in float32 are part of its definition."""


@dataclass
class Row:
    """A Gaussian: its parameters, both moments of each, and what views have seen of it since the last edit."""

    values: Values
    first: Values = field(default_factory=dict)
    second: Values = field(default_factory=dict)
    lengths: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forget_moments()

    def forget_moments(self, *names: str) -> None:
        for name in names or self.values:
            self.first[name] = np.zeros_like(self.values[name])
            self.second[name] = np.zeros_like(self.values[name])

    def copy(self) -> Row:
        return Row({name: each.copy() for name, each in self.values.items()})

    @property
    def opacity(self) -> float:
        return 1 / (1 + math.exp(-float(self.values["logits"])))

    @opacity.setter
    def opacity(self, value: float) -> None:
        self.values["logits"] = np.array(math.log(value / (1 - value)))

    @property
    def largest(self) -> float:
        return float(np.exp(self.values["log_scales"]).max())


def adam(rows: list[Row], gradients: Values, rates: dict[str, float], step: int) -> None:
    """Kingma and Ba 2015, algorithm 1, with the eps of 3D Gaussian Splatting."""
    for index, row in enumerate(rows):
        for name, gradient in gradients.items():
            row.first[name] = 0.9 * row.first[name] + 0.1 * gradient[index]
            row.second[name] = 0.999 * row.second[name] + 0.001 * gradient[index] ** 2
            mean, square = row.first[name] / (1 - 0.9**step), row.second[name] / (1 - 0.999**step)
            row.values[name] = row.values[name] - rates[name] * mean / (np.sqrt(square) + 1e-15)


def rotation(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q / np.sqrt((q * q).sum())
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def look(rows: list[Row], ids: np.ndarray, gradients: np.ndarray, size: tuple[int, int], views: int) -> None:
    """Gradients of the mean over views, per pixel, to those of a view, in normalised device coordinates."""
    for index, (x, y) in zip(ids, gradients, strict=True):
        rows[index].lengths.append(views * math.hypot(x * size[1] / 2, y * size[0] / 2))


def refine(rows: list[Row], options: DefaultOptions, extent: float, number: int, seed: int) -> tuple[list[Row], tuple]:
    """Kerbl et al. 2023, section 5.2. Returns the Gaussians, and who was cloned, split and pruned."""
    means = [sum(row.lengths) / max(1, len(row.lengths)) for row in rows]
    grows = [index for index in range(len(rows)) if means[index] >= options.grow_gradient]
    if options.cap is not None:
        grows.sort(key=lambda index: -means[index])
        grows = sorted(grows[: max(0, options.cap - len(rows))])
    cloned = [index for index in grows if rows[index].largest <= options.split_scale * extent]
    split = [index for index in grows if index not in cloned]
    if options.revised_opacity:
        for index in grows:
            rows[index].opacity = 1 - math.sqrt(1 - rows[index].opacity)
    made = [row for index, row in enumerate(rows) if index not in split] + [rows[index].copy() for index in cloned]
    if split:
        noise = Draws(seed, number).normals(Draw.SPLIT, (2, len(split), 3), LIKE).numpy().astype(np.float64)
        for child in range(2):
            for place, index in enumerate(split):
                row = rows[index].copy()
                scales = np.exp(row.values["log_scales"])
                shift = rotation(row.values["quaternions"]) @ (scales * noise[child, place])
                row.values["means"] = row.values["means"] + shift
                row.values["log_scales"] = np.log(scales / 1.6)
                made.append(row)
    pruned = [
        index
        for index, row in enumerate(made)
        if row.opacity < options.prune_opacity
        or (number > options.reset_every and row.largest > options.prune_scale * extent)
    ]
    for row in made:
        row.lengths = []
    return [row for index, row in enumerate(made) if index not in pruned], (cloned, split, pruned)


def reset(rows: list[Row], opacity: float) -> None:
    for row in rows:
        row.opacity = min(row.opacity, opacity)
        row.forget_moments("logits")


def weighted(weights: list[float], marks: list[float]) -> list[int]:
    """For each mark in [0, 1) the first index at which the running sum exceeds its share of the total."""
    found = []
    for mark in marks:
        left = mark * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                found.append(index)
                break
    return found


def share(rows: list[Row], sources: list[int], min_opacity: float) -> None:
    """Kheradmand et al. 2024, equation 9, with its double sum."""
    before = {index: (rows[index].opacity, np.exp(rows[index].values["log_scales"])) for index in sources}
    for index, (opacity, scales) in before.items():
        n = sources.count(index) + 1
        each = 1 - (1 - opacity) ** (1 / n)
        total = sum(
            math.comb(i - 1, k) * (-1) ** k * each ** (k + 1) / math.sqrt(k + 1)
            for i in range(1, n + 1)
            for k in range(i)
        )
        rows[index].opacity = max(each, min_opacity)
        rows[index].values["log_scales"] = np.log(scales * opacity / total)
        rows[index].forget_moments()


def relocate_and_grow(rows: list[Row], options: MCMCOptions, draws: Draws) -> tuple[list[int], list[int], list[int]]:
    """Returns who was dead, to whom they moved, and who got one more copy behind all others."""
    dead = [index for index, row in enumerate(rows) if row.opacity <= options.min_opacity]
    weights = [0.0 if index in dead else row.opacity for index, row in enumerate(rows)]
    sources = weighted(weights, draws.uniforms(Draw.RELOCATION, len(dead)).tolist())
    share(rows, sources, options.min_opacity)
    for index, source in zip(dead, sources, strict=True):
        rows[index] = rows[source].copy()
    more = min(options.cap, int(1.05 * len(rows))) - len(rows)
    grown = weighted([row.opacity for row in rows], draws.uniforms(Draw.GROWTH, more).tolist())
    share(rows, grown, options.min_opacity)
    rows += [rows[source].copy() for source in grown]
    return dead, sources, grown


def stir(rows: list[Row], options: MCMCOptions, rate: float, draws: Draws) -> None:
    noise = draws.normals(Draw.NOISE, (len(rows), 3), LIKE).numpy().astype(np.float64)
    for row, each in zip(rows, noise, strict=True):
        turn = rotation(row.values["quaternions"])
        covariance = turn @ np.diag(np.exp(2 * row.values["log_scales"])) @ turn.T
        width = options.noise * rate / (1 + math.exp(100 * (row.opacity - options.min_opacity)))
        row.values["means"] = row.values["means"] + covariance @ (width * each)
