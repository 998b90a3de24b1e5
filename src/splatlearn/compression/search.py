"""The smallest file of a quality, or the best one of a size: a search over coarseness and Gaussians to leave out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.compression.scores import kept_share, significance
from splatlearn.compression.surrounding import surrounding_cameras
from splatlearn.core.cameras import Camera
from splatlearn.core.disk.atomic import replacing
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number
from splatlearn.files.errors import MAX_GAUSSIANS
from splatlearn.files.sl3.container import read_sl3, sl3_bytes
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)
"""Shares of the Gaussians that are tried, the most significant of them."""
FINEST, COARSEST = 1 / 8, 16.0
HALVINGS = 6
"""Number of bisections of the interval of coarseness, in octaves; they find it within 8 %."""
UNITS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}


@dataclass(frozen=True, eq=False)
class Compressed:
    """A compressed scene.

    - `content`: the bytes of an .sl3 file; `gaussians`: what it holds.
    - `coarseness`: see `sl3_bytes`; `share`: of the Gaussians that were kept.
    - `psnr`: of its pictures beside those of the scene before, dB over all pixels of the cameras.
    """

    content: bytes
    gaussians: Gaussians
    coarseness: float
    share: float
    psnr: float

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return len(self.content)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the file, which appears whole or not at all."""
        with replacing(Path(path)) as beside:
            beside.write_bytes(self.content)


def compress(
    gaussians: Gaussians,
    budget: int | str | None = None,
    psnr: float | None = None,
    cameras: Sequence[Camera] | None = None,
    *,
    background: Background = "black",
    antialiased: bool = False,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Compressed:
    """Find the best file of a scene [K] within a budget, or the smallest one of a quality.

    - `budget`: bytes, or text such as "2MB" or "500kB"; `psnr`: dB between pictures of the file and of the scene. One
      of the two is given.
    - `cameras`: single ones whose pictures count; by default `surrounding_cameras`, which suit an object seen from
      outside.
    - `background`: of the pictures.
    - `antialiased`: whether the scene was fitted with the filter "mip": its pictures are made with it, and the file is
      marked.
    - `told` is called with the number of shares that were tried and their total.

    For each of several shares of the most significant Gaussians, the coarseness that meets the target is found by
    bisection; the best of these files is returned. Raises InputError for targets that cannot be met.
    """
    if (budget is None) == (psnr is None):
        raise InputError(f"budget, psnr: expected one of the two, got {'neither' if budget is None else 'both'}")
    size = None if budget is None else bytes_in(budget)
    if psnr is not None:
        check_number("psnr", psnr, above=0, most=100)
    chosen = surrounding_cameras(gaussians) if cameras is None else list(cameras)
    search = _Search(gaussians.detach(), chosen, background, antialiased)
    best: Compressed | None = None
    for number, share in enumerate(SHARES):
        found = search.within(share, size) if size is not None else search.as_good_as(share, psnr or 0.0)
        told(number + 1, len(SHARES))
        if found is None:
            if size is None:
                # With fewer Gaussians it is worse still.
                break
            continue
        if best is None or not _is_worse(found, best, by_size=size is None):
            best = found
    told(len(SHARES), len(SHARES))
    if best is None:
        if size is not None:
            raise InputError(
                f"budget: expected at least the smallest file of this scene, got {size} bytes; leave out more "
                "Gaussians first, or lower the degree of the harmonics"
            )
        raise InputError(f"psnr: expected a quality that the finest steps reach, got {psnr} dB")
    return best


def bytes_in(budget: int | str) -> int:
    """The number of bytes of a budget such as 2000000, "2MB" or "1.5 kB"; raises InputError for another text."""
    if isinstance(budget, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", budget)
        if found is None or found[2].lower() not in UNITS:
            raise InputError(f"budget: expected bytes, such as 2000000, 2MB or 500kB, got {budget!r}")
        budget = round(float(found[1]) * UNITS[found[2].lower()])
    if budget < 1:
        raise InputError(f"budget: expected at least one byte, got {budget}")
    return budget


def _is_worse(found: Compressed, best: Compressed, by_size: bool) -> bool:
    return found.bytes >= best.bytes if by_size else found.psnr <= best.psnr


class _Search:
    """Files of one scene, and how good they are."""

    def __init__(
        self, gaussians: Gaussians, cameras: Sequence[Camera], background: Background, antialiased: bool
    ) -> None:
        self.gaussians, self.cameras, self.background = gaussians, cameras, background
        self.antialiased = antialiased
        self.filter = "mip" if antialiased else "point"
        self.scores = significance(gaussians, cameras, filter=self.filter)
        self.pictures = [self._picture(gaussians, camera) for camera in cameras]

    def within(self, share: float, size: int) -> Compressed | None:
        """The finest file of at most `size` bytes; None if the coarsest is larger."""
        kept = kept_share(self.gaussians, self.scores, share)

        def fits(coarseness: float) -> bytes | None:
            content = sl3_bytes(kept, self.antialiased, coarseness)
            return content if len(content) <= size else None

        low, high = math.log2(FINEST), math.log2(COARSEST)
        best = fits(2**high), high
        if best[0] is None:
            return None
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if (content := fits(2**middle)) is None:
                low = middle
            else:
                high, best = middle, (content, middle)
        content, coarseness = best
        assert content is not None
        return self._judged(content, 2**coarseness, share)

    def as_good_as(self, share: float, psnr: float) -> Compressed | None:
        """The coarsest file of at least this quality; None if the finest is worse."""
        kept = kept_share(self.gaussians, self.scores, share)

        def made(coarseness: float) -> Compressed | None:
            found = self._judged(sl3_bytes(kept, self.antialiased, coarseness), coarseness, share)
            return found if found.psnr >= psnr else None

        low, high = math.log2(FINEST), math.log2(COARSEST)
        best = made(2**low)
        for _ in range(HALVINGS if best is not None else 0):
            middle = (low + high) / 2
            if (found := made(2**middle)) is None:
                high = middle
            else:
                low, best = middle, found
        return best

    def _judged(self, content: bytes, coarseness: float, share: float) -> Compressed:
        gaussians = read_sl3(content, None, MAX_GAUSSIANS).gaussians.to(self.gaussians.means.device)
        errors = [
            (self._picture(gaussians, camera) - wanted).double().square()
            for camera, wanted in zip(self.cameras, self.pictures, strict=True)
        ]
        mean = sum(float(each.sum()) for each in errors) / sum(each.numel() for each in errors)
        return Compressed(content, gaussians, coarseness, share, -10 * math.log10(max(mean, 1e-12)))

    @torch.no_grad()
    def _picture(self, gaussians: Gaussians, camera: Camera) -> Float[Tensor, "3 H W"]:
        made = render(gaussians, camera, self.background, depth=False, check=False, filter=self.filter)
        return made.color.clamp(0, 1)
