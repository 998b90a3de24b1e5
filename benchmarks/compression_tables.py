"""Tables in Markdown of the benchmark of compression, as the page of documentation has them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

SHOWN = (
    "ply", "gltf", "compressed-ply", "spz2", "spz3", "spz4", "spz4 as its maker", "sog", "splat", "sl3 0.5", "sl3 1",
    "sl3 2", "sl3 4",
)  # fmt: skip
"""Arms of the tables, in the order of their columns."""
EXACT = 100.0
"""dB from which on two pictures are the same."""


def markdown(scenes: dict[str, Any]) -> str:
    """All tables: scenes, bytes and dB, means, .sl3 beside SOG, and reconstructions beside their photographs."""
    parts = {
        "Scenes": _scenes(scenes),
        "Bytes for each Gaussian, and dB": _each(scenes),
        "Means over scenes": _means(scenes),
        ".sl3 as good as SOG": _beside_sog(scenes),
        "Reconstructions beside photographs that they held out": _photographs(scenes),
    }
    return "\n\n".join(f"### {title}\n{text}" for title, text in parts.items()) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _scenes(scenes: dict[str, Any]) -> str:
    rows = [
        (name, f"`{each['file']}`", each["maker"], each["licence"], f"{each['count']:,}", str(each["degree"]))
        for name, each in scenes.items()
    ]
    return _table(("scene", "data", "maker", "licence", "Gaussians", "degree"), rows)


def _each(scenes: dict[str, Any]) -> str:
    rows = [(name, *(_cell(each, arm) for arm in SHOWN)) for name, each in scenes.items()]
    return _table(("scene", *SHOWN), rows)


def _cell(scene: dict[str, Any], arm: str) -> str:
    """Bytes for each Gaussian and dB; in brackets where the scene was such a file before."""
    made = scene["arms"].get(arm)
    if made is None:
        return "–"
    quality = "same" if made["psnr"] >= EXACT else f"{made['psnr']:.1f}"
    text = f"{made['bytes'] / scene['count']:.1f} · {quality}"
    return f"({text})" if arm in scene["grids"] else text


def _means(scenes: dict[str, Any]) -> str:
    """Over scenes that were no such file before; seconds for a million Gaussians."""
    rows = []
    for arm in SHOWN:
        found = [(each, each["arms"][arm]) for each in scenes.values() if arm in each["arms"]]
        own = [(each, made) for each, made in found if arm not in each["grids"]]
        if not own:
            continue
        made = [each for _, each in own]
        smaller = statistics.geometric_mean([each["arms"]["ply"]["bytes"] / one["bytes"] for each, one in own])
        flips = [each["flip"] for each in made if each["flip"] is not None]
        seconds = [
            statistics.median(1e6 * one[key] / each["count"] for each, one in own) for key in ("encode", "decode")
        ]
        rows.append(
            (
                arm,
                str(len(own)),
                f"{smaller:.1f}×",
                _decibels([each["psnr"] for each in made]),
                f"{statistics.mean(each['ssim'] for each in made):.4f}",
                f"{statistics.mean(flips):.4f}" if flips else "–",
                *(f"{each:.1f}" for each in seconds),
            )
        )
    heads = ("format", "scenes", "smaller than PLY", "PSNR, dB", "SSIM", "FLIP", "encode, s/M", "decode, s/M")
    return _table(heads, rows)


def _decibels(values: list[float]) -> str:
    """The median, and the smallest."""
    if min(values) >= EXACT:
        return "same"
    return f"{statistics.median(values):.1f} (least {min(values):.1f})"


def _beside_sog(scenes: dict[str, Any]) -> str:
    rows, ratios = [], []
    for name, each in scenes.items():
        sog, ours = (each["arms"].get(arm) for arm in ("sog", "sl3 as sog"))
        if sog is None or ours is None:
            continue
        ratio, count = sog["bytes"] / ours["bytes"], each["count"]
        # The finest steps that are tried may not do.
        is_reached = ours["psnr"] >= sog["psnr"]
        ratios += [ratio] if is_reached else []
        rows.append(
            (
                name,
                f"{sog['bytes'] / count:.2f}",
                f"{sog['psnr']:.2f}",
                f"{ours['bytes'] / count:.2f}",
                f"{ours['psnr']:.2f}",
                f"**{ratio:.2f}×**" if is_reached else "not reached",
            )
        )
    if ratios:
        mean = f"**{statistics.geometric_mean(ratios):.2f}×**"
        rows.append(("geometric mean where it is reached", "", "", "", "", mean))
    return _table(("scene", "SOG, bytes each", "dB", ".sl3, bytes each", "dB", "smaller"), rows)


def _photographs(scenes: dict[str, Any]) -> str:
    rows = []
    for name, each in scenes.items():
        if "photo_psnr" not in each:
            continue
        for arm in ("sog", "spz4", "sl3 1", "sl3 2", "sl3 compress 15", "sl3 compress", "sl3 compress 25"):
            if (made := each["arms"].get(arm)) is None:
                continue
            rows.append(
                (
                    name,
                    arm,
                    f"{made['bytes'] / 1000:.0f}",
                    f"{each['arms']['ply']['bytes'] / made['bytes']:.1f}×",
                    f"{each['photo_psnr']:.2f}",
                    f"{made['photo_psnr']:.2f}",
                    f"{made['photo_psnr'] - each['photo_psnr']:+.2f}",
                )
            )
    return _table(("scene", "format", "kB", "smaller than PLY", "dB of the fit", "dB of the file", "change"), rows)
