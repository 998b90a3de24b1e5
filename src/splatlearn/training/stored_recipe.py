"""What every recipe can do: go into `recipe.json` and come back, and say what sets it apart from another."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Set
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from splatlearn.core.errors import InputError

FREE = {"run.out", "run.device", "run.precision", "run.checkpoint_every", "run.keep_checkpoints"}
FREE |= {"probe.probe_every", "probe.probe_data", "probe.probe_images", "probe.probe_pooling"}
FREE |= {"run.log_every", "run.trackers", "run.resume", "run.stop_after", "data.workers", "data.data"}
FREE |= {"data.validate_every", "run.keep_every", "run.max_skipped", "run.parallel"}
"""Fields by which runs may differ and still train alike."""

STEP = {"optimizer.batch_size", "optimizer.accumulate"}
"""Fields that say how the images of a step are shared; `step_shape` looks at them where a run goes on."""

AnyRecipe = TypeVar("AnyRecipe", bound="StoredRecipe")


@dataclasses.dataclass(frozen=True)
class StoredRecipe:
    """A tree of dataclasses that fixes a run."""

    def to_json(self) -> str:
        """The recipe as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_dict(cls: type[AnyRecipe], values: dict[str, Any]) -> AnyRecipe:
        """Read what `to_json` wrote; raises InputError naming an unknown or missing key."""
        return _build(cls, values, "")

    @classmethod
    def read(cls: type[AnyRecipe], path: str | Path) -> AnyRecipe:
        """Read a `recipe.json`."""
        return cls.from_dict(json.loads(Path(path).read_text()))

    def differences(self, other: StoredRecipe, free: Set[str] = frozenset(FREE)) -> list[str]:
        """What makes the two train differently, each as "key: mine, theirs".

        Fields in `free` are no differences: where a run is computed, how often it is saved and logged, and where it
        stops for now.
        """
        mine, theirs = _flat(dataclasses.asdict(self)), _flat(dataclasses.asdict(other))
        return [f"{key}: {mine[key]}, {theirs[key]}" for key in mine if key not in free and mine[key] != theirs[key]]


def filled(options: Any, **defaults: Any) -> Any:
    """Options with the defaults in place of None."""
    missing = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    return dataclasses.replace(options, **missing)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def _build(cls: type, values: dict[str, Any], path: str) -> Any:
    hints = get_type_hints(cls)
    fields = {each.name: each for each in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise InputError(f"Unknown key: '{path}{key}'; known here: {', '.join(fields)}")
    made: dict[str, Any] = {}
    for name, each in fields.items():
        if name not in values:
            required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
            if required:
                raise InputError(f"Missing key: '{path}{name}'")
        elif dataclasses.is_dataclass(hints[name]):
            made[name] = _build(hints[name], values[name], f"{path}{name}.")
        else:
            made[name] = tuple(values[name]) if isinstance(values[name], list) else values[name]
    return cls(**made)
