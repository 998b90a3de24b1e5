"""What is in a splat file, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from splatlearn.core.geometry.frames import LIBRARY_FRAME, frame_matrix
from splatlearn.core.geometry.harmonics import coefficient_count
from splatlearn.core.memory import shown_bytes
from splatlearn.files.formats import files_beside
from splatlearn.files.offset import NO_OFFSET, shown_offset
from splatlearn.files.splat_file import SplatFile

INVISIBLE = 1 / 255
"""Opacities below this paint nothing."""
FAR = 100.0
"""Distance from the median position, in median distances, from which on a Gaussian counts as astray."""
QUANTILES = "least, 1 %, median, 99 %, most"
NOTICED = 0.01
"""Share of Gaussians from which on a peculiarity is a problem of the file."""
COARSE = 0.25
"""Rounding of positions as float32, in median scales, from which on it shows."""


@dataclass(frozen=True)
class SplatInspection:
    """Facts of a splat file by name, in the order in which they are read, and problems, one sentence each."""

    facts: dict[str, str]
    problems: tuple[str, ...]


def inspect_splats(found: SplatFile, path: Path) -> SplatInspection:
    """Describe a file that was read with `drop_invalid=True`."""
    gaussians = found.gaussians.detach()
    means = gaussians.means @ frame_matrix(LIBRARY_FRAME, found.frame).T.to(gaussians.means)
    sizes = _bytes_of(path)
    facts = {
        "format": found.format,
        "written by": found.writer or "a program that does not name itself",
        "size": f"{shown_bytes(sizes)}, {sizes / (found.count + found.dropped):.1f} bytes each",
        "Gaussians": f"{found.count:,}" + (f", and {found.dropped:,} that cannot be used" if found.dropped else ""),
        "harmonics": f"degree {found.degree}, {coefficient_count(found.degree)} "
        f"{'coefficient' if found.degree == 0 else 'coefficients'} of a colour",
        "axes": f"{found.frame}: x, y and z point {_in_words(found.frame)}",
        "antialiased": "yes: opacities make up for the blur of small splats" if found.antialiased else "not said to be",
        **({} if found.offset == NO_OFFSET else {"positions": f"relative to {shown_offset(found.offset)}"}),
        **{f"{axis} ({QUANTILES})": _range(means[:, k]) for k, axis in enumerate("xyz")},
        f"scales ({QUANTILES})": _range(gaussians.scales.flatten()),
        f"opacities ({QUANTILES})": _range(gaussians.opacities),
    }
    return SplatInspection(facts, tuple(_problems(found, means)))


def _range(values: Tensor) -> str:
    ordered = values.double().sort().values
    places = (torch.tensor([0.0, 0.01, 0.5, 0.99, 1.0], dtype=torch.float64) * (len(ordered) - 1)).round().long()
    return ", ".join(f"{float(value):.4g}" for value in ordered[places])


def _problems(found: SplatFile, means: Tensor) -> list[str]:
    gaussians, problems = found.gaussians, []
    count = gaussians.count

    def share(rows: Tensor) -> str:
        return f"{int(rows.sum()):,} of {count:,} Gaussians ({100 * float(rows.double().mean()):.1f} %)"

    if found.dropped:
        problems.append(
            f"{found.dropped:,} Gaussians hold numbers that are NaN or infinite, or no rotation; convert leaves them "
            "out"
        )
    faint = gaussians.opacities < INVISIBLE
    if float(faint.double().mean()) > NOTICED:
        problems.append(
            f"{share(faint)} have opacities below 1/255 and paint nothing; --min-opacity 0.004 removes them"
        )
    distances = (means - means.median(dim=0).values).norm(dim=1)
    usual = distances.median()
    astray = distances > FAR * usual
    if bool(astray.any()) and float(usual) > 0:
        problems.append(f"{share(astray)} lie more than {FAR:.0f} times as far out as the median; --crop removes them")
    wide = gaussians.scales.amax(dim=1) > 10 * usual
    if bool(wide.any()) and float(usual) > 0:
        problems.append(
            f"{share(wide)} are wider than ten median distances, {10 * float(usual):.4g}; --max-scale removes them"
        )
    rounding = float(means.abs().amax()) * torch.finfo(torch.float32).eps
    fine = float(gaussians.scales.median())
    if rounding > COARSE * fine:
        problems.append(
            f"positions are rounded to {rounding:.2g}, and scales are {fine:.2g}: move the scene to its origin"
        )
    sh = gaussians.sh
    if sh is not None and found.degree > 0 and not bool(sh[:, 1:].any()):
        problems.append("harmonics above degree 0 are all zero; --degree 0 loses nothing")
    rows = torch.cat([means, gaussians.scales], dim=1)
    repeated = count - len(torch.unique(rows, dim=0))
    if repeated > NOTICED * count:
        problems.append(f"{repeated:,} of {count:,} Gaussians have the position and the scales of another one")
    return problems


def _in_words(frame: str) -> str:
    names = {"R": "right", "L": "left", "U": "up", "D": "down", "F": "to the front", "B": "to the back"}
    first, second, third = (names[letter] for letter in frame)
    return f"{first}, {second} and {third}"


def _bytes_of(path: Path) -> int:
    """The size of a file and of those that belong to it; of a folder of SOG, of all its files."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.iterdir() if each.is_file())
    return sum(each.stat().st_size for each in [path, *files_beside(path)] if each.is_file())
