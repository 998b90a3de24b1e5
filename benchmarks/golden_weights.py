"""What the package's weights say of three photographs, kept so that a change of models or read-outs does not go unseen.

python -m benchmarks.golden_weights            # compare, and fail where they differ
python -m benchmarks.golden_weights --write    # keep the new outputs, after a change that was meant to change them
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image

from splatlearn.core.disk.atomic import write_whole
from splatlearn.data import resize_center_crop, sample_photos
from splatlearn.evaluation.masked.reconstruction import evaluating
from splatlearn.models import GMAE, Mask, load_model, random_mask
from splatlearn.models.folders.packaged import packaged_models
from splatlearn.objectives import masked_mse
from splatlearn.zero_shot import edges

Outputs = dict[str, np.ndarray]

FILE = Path(__file__).parents[1] / "tests" / "golden" / "weights.json"
PHOTOS = ("astronaut", "chelsea", "coffee")
EVERY = 16
"""Of the Gaussians, which are kept: each so many-th."""
CELLS = 16
"""Rows and columns to which edges are averaged."""
GAUSSIANS = ("means", "scales", "quaternions", "colors", "opacities")
TOLERANCES = {"losses": 1e-4, "edges": 1e-2, **dict.fromkeys(GAUSSIANS, 2e-3)}
"""Largest absolute differences: processors add in different orders, and a Gaussian that changes its place in the order
moves an edge. Measured with the baseline, AVX2 and AVX-512 sets forced, on one and two threads: up to 3e-6."""
DIGITS = 6


def outputs(name: str) -> Outputs:
    """What a model of the package makes of the photographs.

    `losses` [3]: on hidden patches, the same ones each time; of a GMAE also the fields of `Gaussians`, some Gaussians
    of each whole photograph, and `edges` [3, 16, 16].
    """
    model = load_model(name)
    images = _images(model.image_size)
    mask = random_mask(len(images), _grid(model.image_size, model.patch_size), 0.75, torch.Generator().manual_seed(0))
    is_gmae = isinstance(model, GMAE)
    with evaluating(model):
        painted = model(images, mask).image
        losses = [
            masked_mse(painted[[index]], images[[index]], _one(mask, index), model.patch_size, normalize=not is_gmae)
            for index in range(len(images))
        ]
        found = {"losses": torch.stack(losses)}
        if is_gmae:
            gaussians = model.gaussians(images)
            found |= {name: getattr(gaussians, name)[:, ::EVERY] for name in GAUSSIANS}
            found["edges"] = F.adaptive_avg_pool2d(edges(model, images), CELLS)
    return {key: np.round(value.double().numpy(), DIGITS) for key, value in found.items()}


def differences(found: dict[str, Outputs], kept: dict[str, Outputs]) -> list[str]:
    """Where outputs leave their tolerances, in words."""
    notes = []
    for name, wanted in kept.items():
        if name not in found or set(found[name]) != set(wanted):
            notes.append(f"{name}: expected {', '.join(wanted)}, got {', '.join(found.get(name, ())) or 'nothing'}")
            continue
        for key, old in wanted.items():
            new = found[name][key]
            off = np.abs(new - old).max() if new.shape == old.shape else np.inf
            if not off <= TOLERANCES[key]:
                notes.append(f"{name}, {key}: expected at most {TOLERANCES[key]} of difference, got {off:.2g}")
    return notes


def kept_outputs(file: Path = FILE) -> dict[str, Outputs]:
    """The outputs in the repository, by the model's name."""
    stored = json.loads(file.read_text(encoding="utf-8"))
    return {name: {key: np.array(value) for key, value in each.items()} for name, each in stored.items()}


def _images(size: tuple[int, int]) -> torch.Tensor:
    photos = {photo.name: photo.array for photo in sample_photos()}
    squares = [torch.from_numpy(resize_center_crop(Image.fromarray(photos[name]), *size)) for name in PHOTOS]
    return torch.stack(squares).float() / 255


def _grid(size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    return size[0] // patch_size, size[1] // patch_size


def _one(mask: Mask, index: int) -> Mask:
    return Mask(mask.visible[[index]], mask.hidden[[index]], mask.grid)


def main(write: bool = False) -> None:
    """Compare what the package's weights say with what is kept.

    Args:
        write: Keep the new outputs instead.
    """
    found = {name: outputs(name) for name in packaged_models()}
    if write:
        plain = {name: {key: value.tolist() for key, value in each.items()} for name, each in found.items()}
        write_whole(FILE, json.dumps(plain) + "\n")
    elif notes := differences(found, kept_outputs()):
        raise SystemExit("\n".join([*notes, "if this was meant: python -m benchmarks.golden_weights --write"]))
    print(f"outputs of {', '.join(found)} {'kept' if write else 'as before'}: {FILE}")


if __name__ == "__main__":
    tyro.cli(main)
