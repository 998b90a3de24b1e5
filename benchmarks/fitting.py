"""How fast Gaussians fit single images: PSNR by steps and seconds, from scratch and from a model's prediction.

python -m benchmarks.fitting --run runs/gmae --json-file benchmarks/results/fitting.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from benchmarks.common import table
from splatlearn.cli.fitted import Fit, fit_image
from splatlearn.core.cameras import Camera
from splatlearn.data import sample_photos, split_photos
from splatlearn.fitting import FitOptions, initial_gaussians
from splatlearn.models import GMAE, load_model
from splatlearn.runs.folder import environment
from splatlearn.zero_shot import ImageGaussians, gaussians_of


@dataclass(frozen=True)
class Options:
    """What is fitted, and for how long."""

    run: str | None = None
    """A GMAE whose predictions are refined too."""
    side: int = 224
    """Pixels a side of the small squares: the central ones of photographs that no training sees."""
    gaussians: int = 256
    """Gaussians of a small square where there is no model; a model's number where there is one."""
    steps: int = 300
    """Gradient steps on a small square."""
    large: tuple[int, int] = (768, 512)
    """Width and height of the large photograph."""
    large_photo: str = "china"
    """Which of the sample photographs is large; enlarged where it has fewer pixels."""
    large_gaussians: tuple[int, ...] = (5000, 20000)
    """Gaussians of the large photograph; none leaves it out."""
    large_steps: int = 500
    """Gradient steps on the large photograph."""
    limit: int | None = None
    """The first so many small squares."""
    seed: int = 0
    """Of the start without a model."""
    json_file: Path | None = None
    """Where the figures go."""


def main(options: Options) -> None:
    """Fit everything, print tables, and write every trace as JSON."""
    model = None if options.run is None else load_model(options.run)
    if model is not None and not isinstance(model, GMAE):
        raise SystemExit(f"run: expected a GMAE, got a MAE in {options.run}")
    results = [*small_fits(options, model), *large_fits(options)]
    print(
        table(
            ["image", "start", "Gaussians", "steps", "seconds", "PSNR"], [row for each in results for row in rows(each)]
        )
    )
    if options.json_file is not None:
        options.json_file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"fits": results, "threads": torch.get_num_threads(), "environment": environment()}
        options.json_file.write_text(json.dumps(facts, indent=2) + "\n")


def small_fits(options: Options, model: GMAE | None) -> list[dict[str, Any]]:
    """Squares of held-out photographs, from scratch and, where there is a model, from what it predicts."""
    results = []
    _, held_out = split_photos(sample_photos())
    # The first steps of a process take longer than those after them.
    blank = torch.full((1, 3, options.side, options.side), 0.5)
    fit_image(initial_gaussians(blank, 8, torch.Generator().manual_seed(0)), blank, 2, FitOptions())
    for photo in held_out[: options.limit]:
        image = square(photo.array, options.side)
        reads: dict[str, ImageGaussians] = {}
        count = options.gaussians
        if model is not None:
            reads["prediction"] = gaussians_of(model, image)
            count = model.config.gaussians
        behind = reads["prediction"].background if reads else "white"
        scratch = initial_gaussians(image, count, torch.Generator().manual_seed(options.seed))
        reads["scratch"] = ImageGaussians(scratch, Camera.gmae(options.side, options.side), behind)
        for name, read in reads.items():
            refining = FitOptions(background=read.background)
            fit = fit_image(read.gaussians, image, options.steps, refining, read.camera)
            results.append(described(f"{photo.name} {options.side} px", name, fit))
    return results


def large_fits(options: Options) -> list[dict[str, Any]]:
    """One large photograph, from scratch, with and without adding Gaussians where the error is largest."""
    results = []
    photo = next(photo for photo in sample_photos() if photo.name == options.large_photo)
    image = as_tensor(Image.fromarray(photo.array).resize(options.large, Image.Resampling.BICUBIC))
    for count in options.large_gaussians:
        # Half of them from the start, half where they turn out to be missing.
        for name, begin, add in (("scratch", count, 0), ("scratch, half added", count - count // 2, count // 2)):
            start = initial_gaussians(image, begin, torch.Generator().manual_seed(options.seed))
            fit = fit_image(start, image, options.large_steps, FitOptions(add=add))
            results.append(described(f"{photo.name} {options.large[0]}x{options.large[1]}", name, fit))
    return results


def described(image: str, start: str, fit: Fit) -> dict[str, Any]:
    """A fit as JSON has it."""
    return {"image": image, "start": start, "gaussians": fit.gaussians.count, "trace": fit.trace}


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Lines of the table: at the start, and at about a tenth, a third and all of the steps."""
    trace = result["trace"]
    last = trace[-1]["step"]
    wanted = [min(trace, key=lambda point: abs(point["step"] - share * last)) for share in (0, 0.1, 1 / 3, 1)]
    head = [result["image"], result["start"], str(result["gaussians"])]
    return [[*head, str(point["step"]), f"{point['seconds']:.2f}", f"{point['psnr']:.2f}"] for point in wanted]


def square(pixels: np.ndarray, side: int) -> Tensor:
    """The largest central square, resized, as [1, 3, side, side]."""
    image = Image.fromarray(pixels)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return as_tensor(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float() / 255


if __name__ == "__main__":
    main(tyro.cli(Options))
