"""Pre-train a small GMAE on the sample photographs, and look at what it paints.

python examples/pretrain_on_photos.py [OUT] [STEPS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import splatlearn as sl
from splatlearn.data import photo_crops, resize_center_crop, sample_photos, split_photos
from splatlearn.evaluation import masked_psnr
from splatlearn.models import ModelOptions
from splatlearn.training import DataOptions, OptimizerOptions, Recipe, RunOptions, pretrain


def main(out: str = "runs/example", steps: int = 150) -> None:
    """Train for so many steps, and print how well hidden pixels of unseen photographs are painted."""
    training, held_out = split_photos(sample_photos())
    recipe = Recipe(
        method="gmae",
        model="gmae_vit_tiny_patch8_64",
        options=ModelOptions(gaussians=256, gaussians_per_query=16, decoder_depth=2),
        data=DataOptions(data="sample photographs"),
        optimizer=OptimizerOptions(epochs=8, batch_size=32),
        run=RunOptions(out=out, trackers=(), stop_after=steps),
    )
    result = pretrain(recipe, photo_crops(training, 128, scales=(1.0, 0.5, 0.25)))

    model = sl.load_model(out)
    unseen = photo_crops(held_out, 64, scales=(1.0, 0.5))
    pixels = [torch.from_numpy(resize_center_crop(unseen[index].image, 64, 64)) for index in range(len(unseen))]
    images = torch.stack(pixels).float() / 255
    mask = sl.random_mask(len(images), (8, 8), 0.75, torch.Generator().manual_seed(0))
    scores = masked_psnr(model, images, mask)
    print(f"after {result.steps} steps, on hidden pixels of unseen photographs:")
    print(f"  painted {scores['masked_psnr_model']:.2f} dB, mean colour {scores['masked_psnr_mean']:.2f} dB")
    print(f"  {Path(out).resolve()}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
