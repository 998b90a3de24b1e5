"""The base of recipes: writing and reading `recipe.json`, and naming the differences between two recipes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import FormatError, InputError, MissingError, SplatlearnError
from splatlearn.core.typed import build, flat, shown

AnyRecipe = TypeVar("AnyRecipe", bound="StoredRecipe")


@dataclasses.dataclass(frozen=True)
class StoredRecipe:
    """A tree of dataclasses that fixes a run. It has a field `run` with `resume`, `stop_after` and `allow_other_data`.

    - `free`: fields by which runs may differ and still compute alike: where a run is computed, how often it is saved
      and logged, and where it stops for now.
    - `judged`: fields that the job itself compares when it resumes a run that has a checkpoint.
    - `other_data`: what else than `--allow-other-data` to do about other data; {run} stands for the folder.
    """

    free: ClassVar[Set[str]] = frozenset()
    judged: ClassVar[Set[str]] = frozenset()
    other_data: ClassVar[str] = "begin in another --out"

    def to_json(self) -> str:
        """The recipe as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_dict(cls: type[AnyRecipe], values: Mapping[str, Any]) -> AnyRecipe:
        """Read what `to_json` wrote; raises FormatError naming a key that is unknown, missing or of another type."""
        return build(cls, values)

    @classmethod
    def read(cls: type[AnyRecipe], path: str | Path) -> AnyRecipe:
        """Read a `recipe.json`; raises MissingError without it, and FormatError naming it for any other content."""
        path = Path(path)
        if not path.is_file():
            raise MissingError(f"{path}: expected the recipe of a run, found no such file")
        values = read_object(path)
        try:
            return cls._stored(values)
        except SplatlearnError as error:
            raise FormatError(f"{path}: {error}") from error

    @classmethod
    def _stored(cls: type[AnyRecipe], values: dict[str, Any]) -> AnyRecipe:
        """The recipe of this or an older version from the values of its file."""
        return cls.from_dict(values)

    def lasting(self: AnyRecipe) -> AnyRecipe:
        """The recipe without what belongs to one call: whether to resume, where to stop, and whether other data do."""
        run: Any = self.run  # pyright: ignore[reportAttributeAccessIssue]
        run = dataclasses.replace(run, resume=False, stop_after=None, allow_other_data=False)
        return dataclasses.replace(self, run=run)  # pyright: ignore[reportCallIssue]

    def differences(self, other: StoredRecipe, judged: bool = False) -> list[str]:
        """What makes the two compute differently, each as "key: mine, theirs".

        Fields in `free` are no differences, nor those in `judged` if the job compares them itself.
        """
        free = self.free | self.judged if judged else self.free
        mine, theirs = flat(dataclasses.asdict(self)), flat(dataclasses.asdict(other))
        return [f"{key}: {mine[key]}, {theirs[key]}" for key in mine if key not in free and mine[key] != theirs[key]]


def check_range(expected: str, fits: Callable[[float], bool], **values: float | None) -> None:
    """Raise InputError naming the first value that is neither None nor finite and within a range."""
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(value, int | float) or not (math.isfinite(value) and fits(value)):
            raise InputError(f"{name}: expected {expected}, got {shown(value)}")


def check_choices(**values: tuple[object, Any]) -> None:
    """Raise InputError naming the first value that is neither None nor among those of its Literal."""
    for name, (value, kind) in values.items():
        if value is not None and value not in get_args(kind):
            raise InputError(f"{name}: expected one of {', '.join(get_args(kind))}, got {shown(value)}")


def filled(options: Any, **defaults: Any) -> Any:
    """Options with the defaults in place of None."""
    missing = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return dataclasses.replace(options, **missing)
