"""Paint one photograph with Gaussians, without a model, and write them for any splat viewer.

python examples/fit_a_photo.py [OUT] [GAUSSIANS] [STEPS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

import splatlearn as sl
from splatlearn.data import sample_photos
from splatlearn.fitting import initial_gaussians, psnr


def main(out: str = "fitted", count: int = 1000, steps: int = 200) -> None:
    """Fit, and write fit.png and fit.ply."""
    photo = Image.fromarray(sample_photos()[0].array)
    photo.thumbnail((256, 256))
    image = torch.frombuffer(bytearray(photo.tobytes()), dtype=torch.uint8).view(photo.height, photo.width, 3)
    images = image.permute(2, 0, 1).unsqueeze(0).float() / 255

    start = initial_gaussians(images, count, torch.Generator().manual_seed(0))
    fitted = sl.fit(images, start, steps=steps)
    camera = sl.Camera.gmae(photo.height, photo.width)
    painted = sl.render(fitted, camera).color.clamp(0, 1)
    print(f"{count} Gaussians, {steps} steps: {float(psnr(painted, images)[0]):.2f} dB")

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    shown = (painted[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    Image.fromarray(shown.numpy()).save(folder / "fit.png")
    baked, _ = sl.to_pinhole(fitted[0], camera)
    sl.write_splats(folder / "fit.ply", baked)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:4]))
