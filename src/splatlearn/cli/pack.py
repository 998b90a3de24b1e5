"""`splatlearn pack FOLDER --out SHARDS`."""

from __future__ import annotations

import tyro

from splatlearn.cli.notes import note_left_out
from splatlearn.cli.progress import progress_bar
from splatlearn.data import PackOptions, pack_folder


def pack_command(folder: tyro.conf.Positional[str], *, out: str, shard_size: int = 256, block_size: int = 4) -> int:
    """Pack a folder of images into parquet shards, which are read faster than many small files and can be streamed.

    Image files are stored byte for byte. Class folders become labels; train, val and test stay separate. The same
    command continues after an interruption. `--data SHARDS` reads the shards, and `--shuffle-window 4096` streams them.

    Args:
        folder: A folder of images, optionally with train, val and test, and with class folders.
        out: Folder for the shards.
        shard_size: Size of a shard in megabytes of images.
        block_size: Size of a block in megabytes, the unit in which a stream reads.
    """
    options = PackOptions(shard_size, block_size)
    with progress_bar() as told:
        packed = pack_folder(folder, out, options, told)
    note_left_out(folder, packed.left_out)
    kept = f", {packed.kept} of them from before" if packed.kept else ""
    print(f"{packed.images} images in {packed.shards} shards in {out}{kept}")
    return 0
