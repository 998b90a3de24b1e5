"""Schemas of stored files, and the migration of older ones by pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from splatlearn.core.errors import FormatError
from splatlearn.core.typed import shown

State = dict[str, Any]


class NewerSchemaError(FormatError):
    """A file was written by a newer version."""


@dataclass(frozen=True)
class Schema:
    """The number of the form in which something is stored, and the way from older numbers.

    - `newest`: the number that this version writes.
    - `migrations`: from a number to the function that returns a state of a later number. It leaves its argument alone.
    - `what`: what is stored, for messages.
    """

    newest: int
    migrations: Mapping[Any, Callable[[State], State]] = field(default_factory=dict)
    what: str = "checkpoint"

    def migrate(self, state: State) -> State:
        """Return a state of any older schema in the form that this version writes.

        Raises NewerSchemaError for a schema that is not known here.
        """
        version = state.get("schema")
        while version != self.newest:
            if version not in self.migrations:
                raise NewerSchemaError(
                    f"expected {self.what} schema {self.newest} or older, got {shown(version)}; "
                    "update splatlearn to read it"
                )
            state = self.migrations[version](state)
            version = state["schema"]
        return state
