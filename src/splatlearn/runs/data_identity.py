"""The data that a run learns from: stored with the run, and compared when the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from splatlearn.core.disk.atomic import read_object
from splatlearn.runs.lock import RunFolderError

DATA = "data.json"


@dataclass(frozen=True)
class DataIdentity:
    """The number of samples of a source, and a fingerprint: hexadecimal digits that equal sources share.

    The fingerprint does not change when the images move to another folder or host.
    """

    samples: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.samples} samples (fingerprint {self.fingerprint})"


Identities = Mapping[str, DataIdentity]
"""By part: `train`, and `validation` where there is one."""


def data_text(identities: Identities) -> str:
    """The content of `data.json`."""
    return json.dumps({part: asdict(identity) for part, identity in identities.items()}, indent=2)


def check_data(run: Path, identities: Identities, way_on: str) -> None:
    """Compare the data with what a run's `data.json` says; parts that it does not name, as in older runs, may be any.

    `way_on`: what else to do about other data, with {run} for the folder, for the message. Raises RunFolderError naming
    both when they differ.
    """
    stored = read_object(run / DATA)
    for part, here in identities.items():
        there = _identity(stored.get(part))
        if there is not None and there != here:
            does = "is validated on" if part == "validation" else "learns from"
            raise RunFolderError(
                f"data: the run in {run} {does} {there}, got {here}; resume with the data of before, add "
                "--allow-other-data to go on with this data (epochs and learning rate then follow its number of "
                f"samples), or {way_on.format(run=run)}"
            )


def _identity(stored: Any) -> DataIdentity | None:
    if not isinstance(stored, dict) or not {"samples", "fingerprint"} <= stored.keys():
        return None
    return DataIdentity(stored["samples"], stored["fingerprint"])
