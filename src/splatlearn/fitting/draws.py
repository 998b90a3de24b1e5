"""Random numbers of a fit, each a function of the seed, the step, and what it is drawn for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.randomness import Purpose, generator


class Draw(IntEnum):
    """Purposes of random numbers. Their values are part of every run, which resumes only while they stay the same."""

    SPLIT = 0
    RELOCATION = 1
    GROWTH = 2
    NOISE = 3
    BACKGROUND = 4
    SUBSET = 5
    PLACES = 6
    COLORS = 7
    COLOR_GROWTH = 8
    GRID = 9
    SHAKE = 20
    DISCS = 21


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step: the same whenever and however often they are asked for.

    `seed` and `step` are integers in [0, 2**64). Number i of a draw does not depend on how many are drawn.
    """

    seed: int
    step: int = 0

    def uniforms(self, draw: Draw, *shape: int) -> Tensor:
        """Numbers in [0, 1), float64 on the CPU."""
        return torch.from_numpy(self._generator(draw).random(shape))

    def normals(self, draw: Draw, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Standard normal numbers with the dtype and device of a tensor.

        On a CPU they are the same on every machine; on another device, with each version of PyTorch for it.
        """
        rng = self._generator(draw)
        if like.device.type == "cpu":
            return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(like.dtype)
        seed = int(rng.integers(2**63))
        own = torch.Generator(like.device).manual_seed(seed)
        return torch.randn(shape, generator=own, dtype=like.dtype, device=like.device)

    def picks(self, draw: Draw, weights: Float[Tensor, " K"], count: int) -> Int64[Tensor, " N"]:
        """`count` indices with probabilities in proportion to weights of at least 0, with repetition.

        The sums are taken in float64 on the CPU, so that a device changes nothing; `torch.multinomial` takes no more
        than 2²⁴ weights. Raises InputError where no weight is above 0, and for weights that are not finite.
        """
        totals = weights.detach().cpu().double().cumsum(0)
        total = float(totals[-1]) if totals.numel() else 0.0
        if not 0 < total < math.inf:
            raise InputError(
                f"weights: expected finite numbers, at least one above 0, got {len(weights)} with sum {total}"
            )
        marks = self.uniforms(draw, count) * totals[-1]
        picked = torch.searchsorted(totals, marks, right=True)
        # The product may round up to the total itself; the last weight above 0 is then meant.
        last = torch.searchsorted(totals, totals[-1:])
        return torch.minimum(picked, last).to(weights.device)

    def subset(self, count: int, most: int) -> Int64[Tensor, " N"]:
        """`most` of `count` indices in ascending order, all of them where there are no more.

        Each index has a random key of its own, and the smallest keys stay: an index is kept or not whatever is
        appended, but for those that displace it.
        """
        if count <= most:
            return torch.arange(count)
        return self.uniforms(Draw.SUBSET, count).argsort(stable=True)[:most].sort().values

    def background(self, views: int) -> Tensor:
        """A uniformly random colour for each view, float32 on the CPU."""
        return self.uniforms(Draw.BACKGROUND, views, 3).float()

    def _generator(self, draw: Draw) -> np.random.Generator:
        return generator(self.seed, self.step, draw, Purpose.FIT)
