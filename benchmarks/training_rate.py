"""Images per second of whole training, loading and logging included, and the share of the time that it waits for data.

    python -m benchmarks.training_rate --steps 100 --threads 2 --json-file training_rate.json

By default GMAE ViT-Tiny/8 at 64 px with 16 queries of 8 Gaussians, a decoder of four blocks and 64 images a step, on
photographs of tiny_imagenet50, whose pack lies in `shared/data` beside the checkout. The first fifth warms up and does
not count.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

import torch
import tyro

from benchmarks.devices import device_facts
from benchmarks.packs import Pack
from splatlearn.core.device import choose_precision
from splatlearn.models import ModelOptions
from splatlearn.training import DataOptions, OptimizerOptions, Recipe, RunOptions, pretrain
from splatlearn.training.pretraining import side_by_side


def main(
    model: str = "gmae_vit_tiny_patch8_64",
    gaussians: int = 128,
    gaussians_per_query: int = 8,
    decoder_depth: int = 4,
    batch: int = 64,
    steps: int = 100,
    threads: int = 2,
    device: str = "cpu",
    precision: str = "auto",
    data: str = "tiny_imagenet50",
    whole: bool = False,
    json_file: Path | None = None,
) -> None:
    """Train a little, print the rate and write it to a file.

    Args:
        model: Name of a GMAE.
        gaussians: K.
        gaussians_per_query: Of one token of the decoder.
        decoder_depth: Blocks.
        batch: Images of a step.
        steps: Of the run.
        threads: Threads of PyTorch.
        device: cpu or cuda.
        precision: auto, fp32 or bf16.
        data: A pack.
        whole: Each batch in one pass, none in parts side by side.
        json_file: File for the raw numbers.
    """
    torch.set_num_threads(threads)
    if whole:
        side_by_side.LEAST_PATCHES = sys.maxsize
    options = ModelOptions(gaussians=gaussians, gaussians_per_query=gaussians_per_query, decoder_depth=decoder_depth)
    images = Pack(data, "train", steps * batch)
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(
            method="gmae",
            model=model,
            options=options,
            data=DataOptions(data=data),
            optimizer=OptimizerOptions(epochs=-(-steps * batch // len(images)), batch_size=batch),
            run=RunOptions(out=f"{folder}/run", device=device, precision=precision, trackers=(), log_every=10),  # pyright: ignore[reportArgumentType]
        )
        pretrain(recipe, images)
        lines = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").read_text().splitlines()]
    states = [line for line in lines if "images_per_second" in line]
    states = states[len(states) // 5 :]
    rates = [state["images_per_second"] for state in states]
    waits = statistics.fmean(state["data_wait"] for state in states)
    precision = choose_precision(precision, torch.device(device))
    facts = {
        **device_facts(device),
        "threads": threads,
        "whole": whole,
        "model": model,
        "precision": precision,
        "batch": batch,
    }
    print(
        f"{facts['device_name']}, {model}, {precision}, {threads} threads: {statistics.median(rates):.0f} images/s "
        f"(from {min(rates):.0f} to {max(rates):.0f}), {100 * waits:.1f} % of the time waiting for data"
    )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        found = {"images_per_second": rates, "data_wait": waits}
        json_file.write_text(json.dumps({"environment": facts, **found}, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
