"""A GMAE can memorise a few photographs: the whole chain from pixels through Gaussians to gradients works."""

import pytest
import torch

from splatlearn.data import photo_crops, resize_center_crop, sample_photos
from splatlearn.evaluation import hidden_psnr
from splatlearn.models import GMAE, DecoderConfig, GMAEConfig, ViTConfig, random_mask
from splatlearn.objectives import masked_mse
from splatlearn.runs.schedule import CosineSchedule
from splatlearn.training.loop.parameter_groups import parameter_groups

STEPS = 1000


def eight_photos() -> torch.Tensor:
    """One 32-pixel square of each sample photograph, [8, 3, 32, 32] in [0, 1]."""
    squares = photo_crops(sample_photos(), 32, scales=(1.0,), overlap=0.0)
    names = [squares[index].name for index in range(len(squares))]
    first = [next(i for i, name in enumerate(names) if name.startswith(photo.name)) for photo in sample_photos()]
    return torch.stack([torch.from_numpy(resize_center_crop(squares[i].image, 32, 32)) for i in first]).float() / 255


def small_gmae() -> GMAE:
    """128 Gaussians from 8 queries behind a narrow encoder."""
    encoder = ViTConfig(96, depth=2, num_heads=3, patch_size=8, image_size=(32, 32))
    config = GMAEConfig(encoder, DecoderConfig(96, 1, 3), gaussians=128, gaussians_per_query=16, scale_limit=2.0)
    return GMAE(config, torch.Generator().manual_seed(0))


@pytest.mark.large
def test_eight_photos_to_25_decibels() -> None:
    images, model = eight_photos(), small_gmae()
    assert len(images) == 8
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.0), betas=(0.9, 0.95), fused=True)
    schedule = CosineSchedule(peak=1e-3, warmup=20, total=STEPS)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step)
        mask = random_mask(8, (4, 4), 0.75, generator)
        masked_mse(model(images, mask).image, images, mask, 8).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad()
    mask = random_mask(8, (4, 4), 0.75, generator)
    with torch.no_grad():
        painted = model(images, mask).image
    hidden = mask.hidden_pixels(8)
    assert hidden_psnr(painted, images, hidden).mean() >= 25
    assert hidden_psnr(painted, images, ~hidden).mean() >= 25
