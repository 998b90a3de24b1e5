"""The library's own errors and warnings. The command line prints these as one sentence; others keep their traceback.

Each message names the argument or file, what was expected, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable


class SplatlearnError(Exception):
    """Base class of the errors whose message is meant for the user."""


class InputError(SplatlearnError, ValueError):
    """An argument, a setting or a folder that cannot work."""


class MissingError(InputError, FileNotFoundError):
    """A file or folder that does not exist."""


class FormatError(SplatlearnError, ValueError):
    """The content of a file is not what its format or its reader allows."""


class Malformed(FormatError):
    """What the content of a file breaks, without the file's name, which the caller adds."""


class BackendError(SplatlearnError, RuntimeError):
    """A device, backend or optional package cannot do what was requested."""


class SlowBackendWarning(UserWarning):
    """What was requested is computed by something that takes many times as long as it could."""


def some_of(names: Iterable[str], limit: int = 4) -> str:
    """The first `limit` names and the number of the others, as in "a, b, c, d and 3 more"."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
