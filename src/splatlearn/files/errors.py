"""What is wrong with a splat file, and the limits that every reader keeps."""

from __future__ import annotations

from os import PathLike

from splatlearn.core.errors import FormatError, Malformed

MAX_GAUSSIANS = 20_000_000
"""More Gaussians than this are refused unless the caller asks for them: 5 GB with harmonics of degree 3."""

MAX_RATIO = 1024
"""A stream that claims to hold more than this many bytes per compressed byte is refused before it is unpacked."""


class SplatFileError(FormatError):
    """A splat file that cannot be read: `name` says which, `reason` why."""

    def __init__(self, name: str | PathLike[str], reason: str) -> None:
        super().__init__(str(name), reason)
        self.name = str(name)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: unreadable splat file: {self.reason}"


def need(holds: bool, message: str) -> None:
    """Raise Malformed with a message unless a condition of the content holds."""
    if not holds:
        raise Malformed(message)


def check_count(count: int, limit: int) -> None:
    """Raise Malformed for a number of Gaussians that is not positive or above the limit."""
    if count < 1:
        raise Malformed(f"expected at least one Gaussian, got a count of {count}")
    if count > limit:
        raise Malformed(f"expected at most {limit} Gaussians, got a count of {count}; max_gaussians raises the limit")


def check_ratio(what: str, unpacked: int, packed: int) -> None:
    """Raise Malformed where the header claims more data than compressed bytes could hold."""
    if unpacked > MAX_RATIO * max(packed, 1):
        raise Malformed(f"{what}: expected at most {MAX_RATIO} bytes from each byte, got {unpacked} from {packed}")
