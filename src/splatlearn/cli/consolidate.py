"""`splatlearn consolidate RUN`."""

from __future__ import annotations

from typing import Annotated

import tyro


def consolidate_command(run: Annotated[str, tyro.conf.Positional], step: int | None = None) -> None:
    """Merge the shards of a checkpoint of `--parallel fsdp`, so that all other commands can read it.

    Args:
        run: Folder of the run.
        step: Step of the checkpoint. Default: the newest.
    """
    from splatlearn.training.consolidate import consolidate

    print(f"{consolidate(run, step)} is whole")
