"""Errors about pictures and data sets."""

from splatlearn.core.errors import FormatError, InputError


class DataError(InputError):
    """Data that cannot be used as asked; the message says what to do about it."""


class UnknownSplitError(DataError):
    """A split that the data does not have."""


class UnknownColumnError(DataError):
    """A column that the data does not have, or that does not hold what it is used for."""


class UnreadableImage(FormatError):
    """An image that cannot be decoded: `name` says which, `reason` why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: unreadable image: {self.reason}"
