"""The smallest file of a quality, or the best one of a size: a search over coarseness and Gaussians to leave out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.compression.recovery import recover
from splatlearn.compression.scores import kept_share, significance
from splatlearn.compression.surrounding import surrounding_cameras
from splatlearn.compression.worth import sensitivities
from splatlearn.core.cameras import Camera
from splatlearn.core.disk.atomic import replacing
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN, Gaussians
from splatlearn.core.geometry.harmonics import MAX_DEGREE
from splatlearn.core.memory import bytes_in
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.files.errors import MAX_GAUSSIANS
from splatlearn.files.sl3.quantising import Sensitivities
from splatlearn.files.sl3.reader import read_sl3
from splatlearn.files.sl3.writer import sl3_bytes
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)
"""Shares of the Gaussians that are tried, the most significant of them."""
FINEST, COARSEST = 1 / 8, 16.0
TRIES = 6
"""Largest number of files that are tried between the finest and the coarsest."""
NEAR_SIZE, NEAR_QUALITY = 0.97, 0.1
"""Share of a budget, and dB above a quality, with which a search is content."""
MOST_WORSE = 2
"""Shares in a row that may be worse than the best before the search ends."""
Found = TypeVar("Found")


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
    degree: int | None = None,
    recover: int = 0,
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
    - `degree`: of the harmonics that are kept; None for all. The pictures of the scene have all of them.
    - `recover`: number of steps in which Gaussians that are kept are fitted to the pictures of the scene, where some
      are left out or harmonics are; see the function `recover`.
    - `told` is called with the number of shares that were tried and their total.

    The steps of each Gaussian's numbers follow from how much the pictures change with them (`sensitivities`), or are
    the usual ones where that is better. For each of several shares of the most significant Gaussians, the coarseness
    that meets the target is searched for; the best of these files is returned. Raises InputError for targets that
    cannot be met, and for other primitives than Gaussians.
    """
    if (budget is None) == (psnr is None):
        raise InputError(f"budget, psnr: expected one of the two, got {'neither' if budget is None else 'both'}")
    size = None if budget is None else bytes_in(budget)
    if psnr is not None:
        check_number("psnr", psnr, above=0, most=100)
    check_whole("recover", recover, 0)
    if degree is not None:
        check_whole("degree", degree, 0, MAX_DEGREE)
    if gaussians.primitive != GAUSSIAN:
        raise InputError(
            f"gaussians: expected plain Gaussians, which .sl3 holds, got the primitive {gaussians.primitive!r}"
        )
    chosen = surrounding_cameras(gaussians) if cameras is None else list(cameras)
    search = _Search(gaussians.detach(), chosen, background, antialiased, degree, recover)
    best: Compressed | None = None
    worse = 0
    for number, share in enumerate(SHARES):
        found = search.within(share, size) if size is not None else search.as_good_as(share, psnr or 0.0)
        told(number + 1, len(SHARES))
        if found is None:
            if size is None and not recover:
                # With fewer Gaussians it is worse still.
                break
            continue
        if best is None or not _is_worse(found, best, by_size=size is None):
            best, worse = found, 0
        elif (worse := worse + 1) == MOST_WORSE:
            break
    told(len(SHARES), len(SHARES))
    if best is None:
        if size is not None:
            raise InputError(
                f"budget: expected at least the smallest file of this scene, got {size} bytes; leave out more "
                "Gaussians first, or lower the degree of the harmonics"
            )
        raise InputError(f"psnr: expected a quality that the finest steps reach, got {psnr} dB")
    return best


def _is_worse(found: Compressed, best: Compressed, by_size: bool) -> bool:
    return found.bytes >= best.bytes if by_size else found.psnr <= best.psnr


class _Search:
    """Files of one scene, and how good they are."""

    def __init__(
        self,
        gaussians: Gaussians,
        cameras: Sequence[Camera],
        background: Background,
        antialiased: bool,
        degree: int | None,
        recovery: int,
    ) -> None:
        self.gaussians, self.cameras, self.background = gaussians, cameras, background
        self.antialiased, self.recovery = antialiased, recovery
        self.degree = gaussians.degree if degree is None else min(degree, gaussians.degree)
        self.suits: bool | None = None
        """Whether steps suit the cameras, None as long as it is not known which are better."""
        self.filter = "mip" if antialiased else "point"
        self.scores = significance(gaussians, cameras, filter=self.filter)
        self.pictures = [self._picture(gaussians, camera) for camera in cameras]

    def within(self, share: float, size: int) -> Compressed | None:
        """The finest file of at most `size` bytes; None if the coarsest is larger."""

        def searched(made: Callable[[float], bytes]) -> Compressed | None:
            def tried(octave: float) -> tuple[bytes, float]:
                content = made(2**octave)
                return content, math.log(size / len(content))

            found = _crossing(tried, 0.0, -math.log(NEAR_SIZE), is_rising=True)
            return None if found is None else self._judged(found[0], 2 ** found[1], share)

        return self._better(share, searched, by_size=False)

    def as_good_as(self, share: float, psnr: float) -> Compressed | None:
        """The coarsest file of at least this quality; None if the finest is worse."""

        def searched(made: Callable[[float], bytes]) -> Compressed | None:
            def tried(octave: float) -> tuple[Compressed, float]:
                found = self._judged(made(2**octave), 2**octave, share)
                return found, found.psnr - psnr

            found = _crossing(tried, 0.0, NEAR_QUALITY, is_rising=False)
            return None if found is None else found[0]

        return self._better(share, searched, by_size=True)

    def _better(
        self, share: float, searched: Callable[[Callable[[float], bytes]], Compressed | None], by_size: bool
    ) -> Compressed | None:
        """The better of the files with steps that suit the cameras and with the usual steps.

        Which it is for the first share that has a file, it is taken to be for the others. Surfaces of opaque Gaussians
        may be better off with the usual steps: what they hide changes no picture by a little.
        """
        kept = self._kept(share)
        best: Compressed | None = None
        chosen = self.suits
        for suits in (True, False) if chosen is None else (chosen,):
            known = sensitivities(kept, self.cameras, self.filter) if suits else None
            found = searched(partial(self._content, kept, known))
            if found is not None and (best is None or not _is_worse(found, best, by_size)):
                best, self.suits = found, suits
        return best

    def _content(self, kept: Gaussians, known: Sensitivities | None, coarseness: float) -> bytes:
        return sl3_bytes(kept, self.antialiased, coarseness, known=known)

    def _kept(self, share: float) -> Gaussians:
        kept = self.gaussians if share == 1 else kept_share(self.gaussians, self.scores, share)
        is_whole = share == 1 and self.degree == self.gaussians.degree
        kept = kept.with_degree(self.degree)
        if is_whole or not self.recovery:
            return kept
        return recover(
            kept, self.gaussians, self.cameras, self.recovery, background=self.background, filter=self.filter
        )

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


def _crossing(
    tried: Callable[[float], tuple[Found, float]], start: float, near: float, is_rising: bool
) -> tuple[Found, float] | None:
    """What `tried` returns at the octave of coarseness whose margin is the least that is not negative, and the octave.

    - `tried`: returns a result and its margin, a nearly monotone function of the octave.
    - `start`: the first octave that is tried; `near`: a margin that is small enough.
    - `is_rising`: whether margins rise with the octave.

    None if every margin is negative. Bounds move by the rule of false position, kept away from the ends.
    """
    low, high = math.log2(FINEST), math.log2(COARSEST)
    # `good` is the end at which margins are not negative, as far as is known.
    good, bad = (high, low) if is_rising else (low, high)
    best: tuple[Found, float] | None = None
    good_margin = bad_margin = math.nan
    octave = start
    for _ in range(TRIES):
        found, margin = tried(octave)
        if margin >= 0:
            best, good, good_margin = (found, octave), octave, margin
            if margin <= near:
                return best
        else:
            bad, bad_margin = octave, margin
        share = good_margin / (good_margin - bad_margin)
        # One of the ends is a guess, or so far away that the straight line says little.
        share = 0.5 if math.isnan(share) else min(max(share, 0.1), 0.9)
        octave = good + share * (bad - good)
    if best is None:
        found, margin = tried(good)
        best = (found, good) if margin >= 0 else None
    return best
