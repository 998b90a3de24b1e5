"""What a set of images leaves out: how many files for which reason, and one of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

MOST_TOLD = 6
"""Reasons that a sentence names."""
CONVERT = ", which are to be converted to JPEG or PNG"
FOREIGN = (
    ".heic", ".heif", ".hif", ".jxl", ".jxr", ".avif", ".avifs", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf",
    ".rw2", ".raf", ".psd", ".xcf", ".exr", ".hdr", ".svg", ".eps", ".ico", ".pcx", ".sgi", ".qoi", ".dds",
)  # fmt: skip
"""Endings of pictures that are left out unless they are among those that are read."""


@dataclass
class LeftOut:
    """Files that are no part of a set of images: by reason, a noun phrase in the plural, how many and an example."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        """The commonest reasons with their numbers and one file of each, as in "hidden files: 2, such as ._a.jpg"."""
        ranked = sorted(self.counts, key=lambda reason: -self.counts[reason])
        told = [f"{reason}: {self.counts[reason]}, such as {self.examples[reason]}" for reason in ranked[:MOST_TOLD]]
        others = sum(self.counts[reason] for reason in ranked[MOST_TOLD:])
        return "; ".join([*told, *([f"other files: {others}"] if others else [])])

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count files, of which `name` is the first."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        self.examples.setdefault(reason, name)

    def add_file(self, name: str) -> None:
        """Count a file whose ending is not read."""
        ending = PurePosixPath(name).suffix.lower()
        kind = f"files ending in {ending}" if ending else "files without an ending"
        self.add(kind + CONVERT if ending in FOREIGN else kind, name)

    def update(self, other: LeftOut) -> None:
        """Count what another set leaves out too."""
        for reason, count in other.counts.items():
            self.add(reason, other.examples[reason], count)

    def as_json(self) -> dict[str, list[Any]]:
        """The number and the example of each reason, for `from_json`."""
        return {reason: [count, self.examples[reason]] for reason, count in self.counts.items()}

    @classmethod
    def from_json(cls, values: dict[str, list[Any]]) -> LeftOut:
        """The inverse of `as_json`."""
        found = cls()
        for reason, (count, example) in values.items():
            found.add(reason, str(example), int(count))
        return found


def left_out_of(*sources: object) -> LeftOut:
    """What image sources leave out, all together.

    A source tells it by an attribute `left_out`, which is no part of `ImageSource`: counts of one or several folders
    and files. Sources that share one, as the splits of a folder do, count it once.
    """
    found = LeftOut()
    seen: list[LeftOut] = []
    for each in _known(sources):
        if each not in seen:
            seen.append(each)
            found.update(each)
    return found


def _known(sources: Iterable[object]) -> Iterator[LeftOut]:
    for source in sources:
        yield from getattr(source, "left_out", ())
        inner = getattr(source, "source", None)
        if inner is not None:
            yield from _known([inner])
