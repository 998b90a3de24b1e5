"""The data that a run learns from: stored with the run, and compared when the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from splatlearn.core.disk.atomic import read_object
from splatlearn.data import DataIdentity
from splatlearn.training.run_lock import RunFolderError

DATA = "data.json"

Identities = Mapping[str, DataIdentity]
"""By part: `train`, and `validation` where there is one."""
WAYS_ON = {
    "pretrain": "start a new run from its weights with --start-from {run} and another --out",
    "finetune": "fine-tune into another --out",
}
"""What else than --allow-other-data to do about other data, by the command that trains."""


def data_text(identities: Identities) -> str:
    """The content of `data.json`."""
    return json.dumps({part: asdict(identity) for part, identity in identities.items()}, indent=2)


def check_data(run: Path, identities: Identities, verb: str) -> None:
    """Compare the data with what a run's `data.json` says; parts that it does not name, as in older runs, may be any.

    `verb`: the command that trains, for the message. Raises RunFolderError naming both when they differ.
    """
    stored = read_object(run / DATA)
    for part, here in identities.items():
        there = _identity(stored.get(part))
        if there is not None and there != here:
            does = "is validated on" if part == "validation" else "learns from"
            raise RunFolderError(
                f"data: the run in {run} {does} {there}, got {here}; resume with the data of before, add "
                "--allow-other-data to go on with this data (epochs and learning rate then follow its number of "
                f"samples), or {WAYS_ON[verb].format(run=run)}"
            )


def _identity(stored: Any) -> DataIdentity | None:
    if not isinstance(stored, dict) or not {"samples", "fingerprint"} <= stored.keys():
        return None
    return DataIdentity(stored["samples"], stored["fingerprint"])
