"""Runs that diverge at high learning rates, with the flat and the hierarchical head.

    python -m benchmarks.head_stability [--rates 3e-3 1e-2 3e-2] [--seeds 5] [--steps 60]
        [--json-file FILE]

Pictures are crops of the sample photographs. Both heads have the same encoder, decoder, Gaussians, pictures and masks.
There is no warm-up and no clipping of gradients, which would hide the difference. A run has diverged if a loss is not
finite, or if the mean loss of its last tenth is above that of the mean colour of each picture, which a model has that
learned nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

import splatlearn as sl
from benchmarks.common import table
from splatlearn.data import photo_crops, sample_photos
from splatlearn.models.options import Heads
from splatlearn.objectives import masked_mse

HEADS = ("joint", "hierarchical")


@dataclass(frozen=True)
class Options:
    """What is measured."""

    model: str = "gmae_vit_micro_patch4_32"
    """The model."""
    gaussians: int = 128
    """Number of Gaussians."""
    rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    """Learning rates of AdamW."""
    seeds: int = 5
    """Number of runs of each rate and head."""
    steps: int = 60
    """Number of steps of a run."""
    batch_size: int = 16
    """Number of images in a step."""
    json_file: Path | None = None
    """File for all numbers."""


def pictures(options: Options) -> Tensor:
    """Crops [N, 3, H, W] of the sample photographs, in [0, 1]."""
    crops = photo_crops(sample_photos(), 96, scales=(0.5,))
    side = int(options.model.rpartition("_")[2])
    made = []
    for index in range(len(crops)):
        image = crops[index].image.convert("RGB").resize((side, side))
        made.append(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(side, side, 3))
    return torch.stack(made).permute(0, 3, 1, 2).float() / 255


def run(images: Tensor, head: Heads, rate: float, seed: int, options: Options) -> dict[str, Any]:
    """The losses of one run, and whether it diverged."""
    model = sl.create_model(options.model, seed=seed, heads=head, gaussians=options.gaussians)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    generator = torch.Generator().manual_seed(seed)
    patch = model.patch_size
    grid = (images.shape[2] // patch, images.shape[3] // patch)
    losses, flat = [], []
    for _ in range(options.steps):
        batch = images[torch.randint(len(images), (options.batch_size,), generator=generator)]
        mask = sl.random_mask(len(batch), grid, 0.75, generator)
        loss = masked_mse(model(batch, mask).image, batch, mask, patch)
        with torch.no_grad():
            plain = batch.mean(dim=(2, 3), keepdim=True).expand_as(batch)
            flat.append(float(masked_mse(plain, batch, mask, patch)))
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    last = max(1, options.steps // 10)
    end, bound = sum(losses[-last:]) / last, sum(flat[-last:]) / last
    return {
        "head": head, "rate": rate, "seed": seed, "steps": len(losses), "last": end if math.isfinite(end) else None,
        "mean_color": bound, "diverged": not math.isfinite(end) or end > bound,
    }  # fmt: skip


def write(options: Options, found: list[dict[str, Any]]) -> None:
    """Write what was found as JSON, if a file was named."""
    if options.json_file is not None:
        numbers = {"options": {"model": options.model, "gaussians": options.gaussians, "steps": options.steps,
                               "batch_size": options.batch_size, "seeds": options.seeds}, "runs": found}  # fmt: skip
        options.json_file.write_text(json.dumps(numbers, indent=1) + "\n")


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    images, found, rows = pictures(options), [], []
    for rate in options.rates:
        for head in HEADS:
            runs = [run(images, head, rate, seed, options) for seed in range(options.seeds)]
            found += runs
            ends = [each["last"] for each in runs if each["last"] is not None]
            diverged = sum(each["diverged"] for each in runs)
            worst = f"{max(ends):.4f}" if ends else ""
            rows.append(
                [head, f"{rate:g}", f"{diverged} of {len(runs)}", f"{sum(ends) / max(1, len(ends)):.4f}", worst]
            )
            print(table(["head", "rate", "diverged", "mean last loss", "worst"], rows[-1:]), flush=True)
            # After every row, so that a run that is stopped has told what it knows.
            write(options, found)
    print(table(["head", "rate", "diverged", "mean last loss", "worst"], rows))


if __name__ == "__main__":
    main()
