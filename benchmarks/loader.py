"""Throughput of the loader beside bare decoding and cropping of the same files by as many processes.

`python -m benchmarks.loader --json FILE`. Sources take turns in every round, each with processes of its own, and the
time to start these is left out. Beside images per second of wall time it gives images per second of processor time of
all processes, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import platform
import resource
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import datasets
import numpy as np

from benchmarks.common import figures, median, table
from benchmarks.packs import FOLDER, PACKS
from splatlearn.data import (
    ImageSource,
    PretrainingDataset,
    PretrainingLoader,
    RandomResizedCrop,
    StoredImage,
    open_source,
    pack_folder,
    photo_crops,
    sample_photos,
)
from splatlearn.images import reduced

PATCH = 8
BATCH = 64
Speed = tuple[float, float]
"""Images per second of wall time and of processor time."""


def write_files(folder: Path, pack: str | None, count: int, side: int) -> list[bytes]:
    """JPEG files of a pack, or of crops of sample photographs, in a folder and in memory."""
    contents = _packed(pack, count) if pack else _photographs(count, side)
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number:06d}.jpg").write_bytes(content)
    return contents


def write_tar(path: Path, contents: Sequence[bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for number, content in enumerate(contents):
            info = tarfile.TarInfo(f"{number:06d}.jpg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def bare(contents: Sequence[bytes], crop: RandomResizedCrop, processes: int, images: int) -> Speed:
    """Decode and crop files that lie in memory, in processes that pass nothing on."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(processes + 1)
    workers = [
        context.Process(target=_decode, args=(contents, crop, range(first, images, processes), gate))
        for first in range(processes)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    wall, busy = time.perf_counter(), _processor_time()
    for worker in workers:
        worker.join()
    return images / (time.perf_counter() - wall), images / (_processor_time() - busy)


def loaded(source: ImageSource, crop: RandomResizedCrop, processes: int, images: int) -> Speed:
    """Whole epochs of the loader, of at least so many images."""
    patches = (crop.height // PATCH) * (crop.width // PATCH)
    loader = PretrainingLoader(PretrainingDataset(source, crop, patches, seed=0), BATCH, workers=processes)
    epochs = -(-images // (loader.steps_per_epoch * BATCH))
    steps, busy = epochs * loader.steps_per_epoch, _processor_time()
    batches = loader.batches(0, epochs=epochs)
    next(batches)
    wall = time.perf_counter()
    for _ in batches:
        pass
    wall = time.perf_counter() - wall
    # When the first batch comes, each of the processes has made one.
    return (steps - processes) * BATCH / wall, steps * BATCH / (_processor_time() - busy)


def measure(tasks: dict[str, Callable[[], Speed]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Images per second of wall and of processor time of every task in every round, after a round of warming up."""
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "processor": []} for name in tasks}
    names = list(tasks)
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall, busy = tasks[name]()
            if turn >= 0:
                found[name]["wall"].append(wall)
                found[name]["processor"].append(busy)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    images = options.images // BATCH * BATCH
    crop = RandomResizedCrop(options.crop, options.crop)
    with tempfile.TemporaryDirectory() as place:
        datasets.config.HF_DATASETS_CACHE = Path(place) / "cache"  # pyright: ignore[reportAttributeAccessIssue]
        root = Path(place)
        contents = write_files(root / "files", options.pack, options.files, options.side)
        write_tar(root / "shard.tar", contents)
        pack_folder(root / "files", root / "parquet")
        sources = {
            "folder": open_source(root / "files"),
            "parquet, in any order": open_source(root / "parquet"),
            "parquet, streamed": open_source(root / "parquet", shuffle_window=4096),
            "tar, streamed": open_source(root / "shard.tar"),
        }
        tasks: dict[str, Callable[[], Speed]] = {
            "bare": partial(bare, contents, crop, options.processes, images),
            "bare, Pillow alone": partial(_without_simplejpeg, contents, crop, options.processes, images),
        }
        tasks |= {name: partial(loaded, source, crop, options.processes, images) for name, source in sources.items()}
        found = measure(tasks, options.rounds)
    share = {
        name: {clock: median([a / b for a, b in zip(each[clock], found["bare"][clock], strict=True)]) for clock in each}
        for name, each in found.items()
    }
    rows = [
        [name, "", *(figures(median(each[clock])) for clock in each), *(f"{share[name][c]:.1%}" for c in each)]
        for name, each in found.items()
    ]
    print(table(["source", "", "images/s", "images/CPU s", "of bare", "of bare (CPU)"], rows))
    if options.json:
        facts = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), **vars(options)}
        Path(options.json).write_text(json.dumps({"facts": facts, "share": share, "rounds": found}, indent=1) + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", choices=sorted(PACKS), help=f"files of a pack in {FOLDER.name}, else photographs")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--side", type=int, default=224, help="of the photographs' squares, in pixels")
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--images", type=int, default=6400, help="of a timing")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json")
    return parser.parse_args(arguments)


def _packed(pack: str, count: int) -> list[bytes]:
    with np.load(FOLDER / pack / "train.npz") as stored:
        ends = stored["offsets"][: count + 1].tolist()
        data = stored["data"][: ends[-1]].tobytes()
    return [data[start:stop] for start, stop in zip(ends[:-1], ends[1:], strict=True)]


def _photographs(count: int, side: int) -> list[bytes]:
    squares = photo_crops(sample_photos(), side)
    contents = []
    for number in range(count):
        buffer = io.BytesIO()
        squares[number % len(squares)].image.save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
    return contents


def _decode(contents: Sequence[bytes], crop: RandomResizedCrop, numbers: range, gate: object) -> None:
    rng = np.random.default_rng(0)
    gate.wait()  # pyright: ignore[reportAttributeAccessIssue]
    for number in numbers:
        crop.of_file(StoredImage(contents[number % len(contents)], "", None), rng)


def _without_simplejpeg(contents: Sequence[bytes], crop: RandomResizedCrop, processes: int, images: int) -> Speed:
    decoder, reduced.simplejpeg = reduced.simplejpeg, None
    try:
        return bare(contents, crop, processes, images)
    finally:
        reduced.simplejpeg = decoder


def _processor_time() -> float:
    """Of this process and of those it started that have ended."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    main()
