"""Errors about pictures and data sets."""

from splatlearn.core.errors import FormatError, InputError


class DataError(InputError):
    """Data that cannot be used as asked; the message says what to do about it."""


class UnknownSplitError(DataError):
    """A split that the data does not have."""


class UnknownColumnError(DataError):
    """A column that the data does not have, or that does not hold what it is used for."""


class UnreadableSample(FormatError):
    """A sample of a data set that cannot be read: `name` says which, `reason` why."""

    kind = "sample"
    """What it is, for the message."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: unreadable {self.kind}: {self.reason}"


class UnreadableImage(UnreadableSample):
    """An image that cannot be decoded."""

    kind = "image"
