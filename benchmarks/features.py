"""How near the extraction of features comes to the bare forward pass, in images per second.

    python -m benchmarks.features --json-file benchmarks/results/features.json

Both use the same model, batches and precision in turn; the bare pass has its pixels ready in memory, the extraction
reads and decodes JPEG files of the packs (or of synthetic photographs where there are none) while the model works.
Beside the speeds stand processor seconds, which other programs on the machine disturb less.
"""

from __future__ import annotations

import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image

from benchmarks.packs import FOLDER, PACKS, Pack
from splatlearn.core.device import choose_device, choose_precision
from splatlearn.data import ImageSource, Sample, resize_center_crop
from splatlearn.evaluation import EncoderFeatures, Extraction, evaluating, extract
from splatlearn.images import decode
from splatlearn.models import create_model
from splatlearn.runs.folder import environment

CASES = {"mae_vit_tiny_patch4_32": "cifar10", "mae_vit_base_patch16_224": "imagenette224"}
"""Models, and the packs of their size."""


class SyntheticPhotos:
    """JPEG files in memory of smooth random pictures: an ImageSource for machines without the packs."""

    def __init__(self, count: int, side: int) -> None:
        rng = np.random.default_rng(0)
        self.description = f"{count} synthetic photographs of {side} px"
        self.class_names = None
        self._files = [_jpeg(rng, side) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int, /) -> Sample:
        return Sample(decode(self._files[index], str(index)), str(index), None)


def measure(model: str, images: int, rounds: int, extraction: Extraction) -> dict[str, object]:
    """Images per second of both, in turn, and the medians' ratio; likewise of the processor time of all threads."""
    encoder = create_model(model, seed=0).encoder.to(extraction.device).eval()
    embedder = EncoderFeatures(encoder)
    source = _photos(CASES.get(model, ""), images, embedder.image_size[0])
    pixels = np.stack([resize_center_crop(source[index].image, *embedder.image_size) for index in range(len(source))])
    ready = torch.from_numpy(pixels).to(extraction.device)
    calls: dict[str, Callable[[], object]] = {
        "forward": lambda: _forward(embedder, ready, extraction),
        "extraction": lambda: extract(embedder, source, extraction),
    }
    speeds: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            wall, busy = _seconds(call)
            if turn:  # the first warms up
                speeds[name].append(len(source) / wall)
                processor[name].append(busy / len(source))
    medians, busy = ({name: statistics.median(values) for name, values in each.items()} for each in (speeds, processor))
    return {
        "model": model,
        "images": source.description,
        "images_per_second": medians,
        "share_of_forward": medians["extraction"] / medians["forward"],
        "processor_seconds_per_image": busy,
        "share_of_forward_by_processor_time": busy["forward"] / busy["extraction"],
        "all_rounds": speeds,
    }


def main(
    models: tuple[str, ...] = tuple(CASES),
    images: int = 256,
    rounds: int = 5,
    batch_size: int = 64,
    workers: int = 1,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    json_file: Path | None = None,
) -> None:
    """Measure each model and print images per second and the share of the bare pass that is reached."""
    place = choose_device(device)
    chosen = "bf16" if choose_precision(precision, place) == "bf16" else "fp32"
    extraction = Extraction(batch_size, place, chosen, workers)
    results = []
    for model in models:
        result = measure(model, images, rounds, extraction)
        results.append(result)
        speeds = result["images_per_second"]
        assert isinstance(speeds, dict)
        print(
            f"{model:28s} forward {speeds['forward']:8.1f}/s   extraction {speeds['extraction']:8.1f}/s   "
            f"{result['share_of_forward']:.1%}, by processor time {result['share_of_forward_by_processor_time']:.1%}   "
            f"({result['images']})"
        )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"batch_size": batch_size, "workers": workers, "device": str(place), "precision": chosen}
        facts |= {"threads": torch.get_num_threads()}
        json_file.write_text(json.dumps({"results": results, **facts, "environment": environment()}, indent=2) + "\n")


def _forward(embedder: EncoderFeatures, ready: torch.Tensor, extraction: Extraction) -> None:
    device = torch.device(extraction.device)
    with evaluating(embedder), torch.autocast(device.type, torch.bfloat16, enabled=extraction.precision == "bf16"):
        made = [embedder(part.float() / 255).float() for part in ready.split(extraction.batch_size)]
        torch.cat(made).cpu()  # waits for the device


def _photos(pack: str, images: int, side: int) -> ImageSource:
    if pack in PACKS and (FOLDER / pack).is_dir():
        return Pack(pack, "train", images)
    return SyntheticPhotos(images, side)


def _jpeg(rng: np.random.Generator, side: int) -> bytes:
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def _seconds(call: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of all threads' processor time."""
    start, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - busy


if __name__ == "__main__":
    tyro.cli(main)
