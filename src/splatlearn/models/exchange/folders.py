"""Writing into folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from splatlearn.models.card import CARD_NAME, may_write_card

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A new folder whose files are moved into `target`, made when missing, once all of them are written.

    A README.md of a person's own stays. Raises ValueError where a file has the folder's name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_dir():
        raise ValueError(f"folder: expected a folder, got the file {target}")
    beside = Path(tempfile.mkdtemp(prefix=".splatlearn.", dir=target if target.exists() else target.parent))
    try:
        yield beside
        target.mkdir(exist_ok=True)
        # The configuration last: a folder that has it is complete.
        for file in sorted(beside.iterdir(), key=lambda each: each.name == CONFIG_NAME):
            if file.name != CARD_NAME or may_write_card(target):
                os.replace(file, target / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write `model.safetensors`."""
    # Copies, for the format has no place for tensors that share memory.
    kept = {name: value.detach().cpu().clone().contiguous() for name, value in weights.items()}
    save_file(kept, folder / WEIGHTS_NAME, metadata={"format": "pt"})


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write an object as JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
