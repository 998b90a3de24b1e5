"""Writing into folders that appear whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from splatlearn.core.disk.atomic import filling
from splatlearn.models.folders.card import CARD_NAME, may_write_card

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


def written_beside(target: Path) -> AbstractContextManager[Path]:
    """A new folder whose files are moved into `target` once all of them are written; a person's own README.md stays.

    Raises InputError when `target` is a file.
    """
    return filling(target, CONFIG_NAME, lambda name: name == CARD_NAME and not may_write_card(target))


def write_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write `model.safetensors`."""
    # Copies, for the format has no place for tensors that share memory.
    kept = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    save_file(kept, folder / WEIGHTS_NAME, metadata={"format": "pt"})


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write an object as JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
