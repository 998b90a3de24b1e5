"""What a sub-room of a splat format offers: how its content is recognised, read and written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from splatlearn.core.disk.atomic import replacing
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import MAX_DEGREE
from splatlearn.files.choices import SplatFormat
from splatlearn.files.offset import NO_OFFSET, Offset
from splatlearn.files.splat_file import SplatFile

Content = bytes | Iterator[bytes]
"""The bytes of a file, or its parts in their order, which are made while the file is written: a large scene then takes
no memory for its whole file."""
Files = dict[str, Content]
"""Files by name; the last one makes the others complete."""


@dataclass(frozen=True)
class ReadRequest:
    """How a file is read.

    - `frame`: the frame of the file, None for the one that the file names or its format's usual one.
    - `limit`: the largest number of Gaussians.
    - `drop_invalid`: drop Gaussians that cannot be used instead of raising Malformed.
    """

    frame: str | None
    limit: int
    drop_invalid: bool


@dataclass(frozen=True)
class WriteRequest:
    """How a file is written.

    - `path`: its name.
    - `antialiased`: mark it as fitted with antialiasing.
    - `frame`: the frame that the Gaussians are in.
    - `spz_version`: the version of SPZ; `coarseness`: of .sl3.
    - `offset`: what positions are relative to, in the frame of the file; zeros but for formats that hold it.
    - `told`: called with how much is done and how much there is, by formats that take long.
    """

    path: Path
    antialiased: bool
    frame: str
    spz_version: int
    coarseness: float
    offset: Offset = NO_OFFSET
    told: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True)
class Writer:
    """A format that is written.

    - `name`, `endings`: of the format and of its files.
    - `frame`: the frame that its files are in by convention.
    - `content`: takes Gaussians [K] with `sh` in the frame of the file; returns the bytes of the file.
    - `highest_degree`: of the harmonics that it holds.
    - `holds_offset`: whether its files say what positions are relative to.
    - `shown_colors`: the smallest and the largest colour of degree 0 that files hold and viewers show.
    - `holds_primitives`: whether it holds other primitives than Gaussians, and their further numbers;
      `holds_convexes`: whether convexes are among them, in whose place viewers would show what they are not.
    - `beside`: the names of further files that belong to one of this name and are written with it.
    """

    name: SplatFormat
    endings: tuple[str, ...]
    frame: str
    content: Callable[[Gaussians, WriteRequest], Content | Files]
    highest_degree: int = MAX_DEGREE
    holds_offset: bool = False
    shown_colors: tuple[float, float] = (0.0, math.inf)
    holds_primitives: bool = False
    holds_convexes: bool = False
    beside: Callable[[str], tuple[str, ...]] = lambda name: ()

    def write(self, gaussians: Gaussians, request: WriteRequest) -> None:
        """Write Gaussians that are in the frame of the file; each file appears whole or not at all."""
        content = self.content(gaussians, request)
        files = {request.path.name: content} if isinstance(content, bytes | Iterator) else content
        for name, each in files.items():
            with replacing(request.path.with_name(name)) as beside:
                with beside.open("wb") as file:
                    file.writelines((each,) if isinstance(each, bytes) else each)


@dataclass(frozen=True)
class Container:
    """The formats of a sub-room, which share how they are recognised and read.

    - `matches`: whether content, of a file of this name, is of one of these formats.
    - `read`: reads such content, in the frame of the file; raises Malformed.
    - `writers`: the formats that are written; one whose ending contains another's comes first.
    - `matches_path`, `read_path`: the same for folders, and for files that stand for their folder.
    """

    matches: Callable[[bytes, str], bool]
    read: Callable[[bytes, ReadRequest], SplatFile]
    writers: tuple[Writer, ...]
    matches_path: Callable[[Path], bool] = lambda path: False
    read_path: Callable[[Path, ReadRequest], SplatFile] | None = None
