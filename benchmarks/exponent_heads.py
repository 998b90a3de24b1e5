"""Masked autoencoders whose Gaussians have exponents, beside the usual ones: what is hidden, and what is learned.

    python -m benchmarks.exponent_heads [--seeds 0 1 2] [--steps 1500] [--json-file FILE]

Both arms are the same GMAE with the same first weights, images and masks. One has a further linear layer, which
predicts an exponent between 1 and 8 for each Gaussian from its query; it begins at zero, so that all exponents
are 2 and both arms begin with the same pictures. Images are of CIFAR-10 (`shared/data` beside the checkout). "hidden"
is the mean squared error of hidden patches of 500 images that were not trained on, "probe" the accuracy of ridge
regression on the encoder's mean token (5,000 training images, 2,000 others).
"""

from __future__ import annotations

import json
import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

import splatlearn as sl
from benchmarks.common import table
from benchmarks.packs import Pack
from splatlearn.core.gaussians import Gaussians
from splatlearn.models import GMAE
from splatlearn.models.heads.protocol import GaussianHead
from splatlearn.objectives import masked_mse
from splatlearn.runs.folder import environment

ARMS = ("gaussian", "ges")
HIDDEN = 0.75
"""Share of patches that a mask hides."""
LOWEST, HIGHEST = 1.0, 8.0
"""Limits of exponents, those of `sl.fit`."""
JUDGED, LEARNED, PROBED = 500, 5_000, 2_000
"""Images: whose hidden patches are compared, that a probe learns from, and that it is judged on."""
RIDGE = 1e-2
"""Weight of the squares of the probe's coefficients, in means over images of standardised features."""


@dataclass(frozen=True)
class Options:
    """What is trained."""

    model: str = "gmae_vit_micro_patch4_32"
    """The model."""
    gaussians: int = 128
    """Gaussians of an image."""
    images: int = 10_000
    """Training images."""
    steps: int = 1_500
    """Steps of a run."""
    batch_size: int = 32
    """Images of a step."""
    rate: float = 1e-3
    """Peak of the learning rate, which rises for a twentieth of the steps and falls along half a cosine."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One pair of runs for each."""
    json_file: Path | None = None
    """File for all numbers, written after each run."""


class ExponentHead(nn.Module):
    """A head of Gaussians with one number more for each: its exponent."""

    def __init__(self, head: GaussianHead, embed_dim: int, per_query: int) -> None:
        super().__init__()
        self.head = head
        self.exponents = nn.Linear(embed_dim, per_query)
        nn.init.zeros_(self.exponents.weight)
        nn.init.zeros_(self.exponents.bias)

    def gaussians(self, features: Tensor, anchors: Tensor | None = None, seen: Tensor | None = None) -> Gaussians:
        """Return Gaussians [B, K]; see `GaussianHead`."""
        made = self.head.gaussians(features, anchors, seen)
        free = self.exponents(features.float()).flatten(1)[..., None]
        two = math.log((2.0 - LOWEST) / (HIGHEST - 2.0))
        return replace(made, primitive="ges", shapes=LOWEST + (HIGHEST - LOWEST) * torch.sigmoid(free + two))

    def first_numbers(self) -> Tensor:
        """Return anchors; see `GaussianHead`."""
        return self.head.first_numbers()


def made(arm: str, seed: int, options: Options) -> GMAE:
    """The model of an arm before the first step."""
    model = sl.create_model(options.model, seed=seed, gaussians=options.gaussians)
    assert isinstance(model, GMAE)
    if arm == "ges":
        config = model.config
        model.add_module("head", ExponentHead(model.head, config.decoder.embed_dim, config.gaussians_per_query))
    return model


def images_of(part: str, count: int, side: int) -> tuple[Tensor, Tensor]:
    """The first images [N, 3, H, W] of a part in [0, 1], and their labels."""
    pack = Pack("cifar10", part, count)
    pictures = [np.array(pack[index].image.convert("RGB").resize((side, side))) for index in range(len(pack))]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(pack.labels)


def trained(arm: str, seed: int, images: Tensor, options: Options) -> tuple[GMAE, float]:
    """A model after its steps, and their processor seconds."""
    model = made(arm, seed, options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.95), weight_decay=0.05)
    generator = torch.Generator().manual_seed(seed)
    grid = (images.shape[2] // model.patch_size, images.shape[3] // model.patch_size)
    begun = time.process_time()
    for step in range(options.steps):
        done = step / options.steps
        optimizer.param_groups[0]["lr"] = options.rate * min(
            20 * (done + 1 / options.steps), 0.5 + 0.5 * math.cos(math.pi * done)
        )
        chosen = torch.randint(len(images), (options.batch_size,), generator=generator)
        batch, mask = images[chosen], sl.random_mask(options.batch_size, grid, HIDDEN, generator)
        loss = masked_mse(model(batch, mask).image, batch, mask, model.patch_size)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model, time.process_time() - begun


@torch.no_grad()
def hidden_error(model: GMAE, images: Tensor) -> float:
    """The mean squared error of hidden patches, with the same masks for all models."""
    grid = (images.shape[2] // model.patch_size, images.shape[3] // model.patch_size)
    generator, found = torch.Generator().manual_seed(12345), []
    for batch in images.split(100):
        mask = sl.random_mask(len(batch), grid, HIDDEN, generator)
        found.append(float(masked_mse(model(batch, mask).image, batch, mask, model.patch_size)))
    return statistics.mean(found)


@torch.no_grad()
def probed(model: GMAE, learned: tuple[Tensor, Tensor], judged: tuple[Tensor, Tensor]) -> float:
    """The share of images that ridge regression on mean tokens puts into their class."""
    features = [
        torch.cat([model.encode(batch).mean(1) for batch in images.split(500)]).double()
        for images, _ in (learned, judged)
    ]
    mean, sd = features[0].mean(0), features[0].std(0) + 1e-6
    x, other = ((each - mean) / sd for each in features)
    goal = F.one_hot(learned[1].long()).double()
    goal = goal - goal.mean(0)
    weights = torch.linalg.solve(x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype), x.T @ goal / len(x))
    return float(((other @ weights).argmax(1) == judged[1]).double().mean())


def main(options: Options) -> None:
    """Train all models, and print a table."""
    side = int(options.model.rpartition("_")[2])
    images, labels = images_of("train", max(options.images, LEARNED), side)
    others, other_labels = images_of("test", max(JUDGED, PROBED), side)
    runs: list[dict[str, Any]] = []
    for seed in options.seeds:
        for arm in ARMS:
            model, seconds = trained(arm, seed, images[: options.images], options)
            model.eval()
            with torch.no_grad():
                shapes = model.gaussians(others[:JUDGED]).shapes
            runs.append({
                "arm": arm, "seed": seed, "hidden": hidden_error(model, others[:JUDGED]),
                "probe": probed(model, (images[:LEARNED], labels[:LEARNED]), (others[:PROBED], other_labels[:PROBED])),
                "exponents": None if shapes is None else [float(shapes.mean()), float(shapes.std())],
                "cpu": round(seconds, 1),
            })  # fmt: skip
            print(runs[-1], flush=True)
            if options.json_file is not None:
                plan = {
                    "model": options.model,
                    "gaussians": options.gaussians,
                    "steps": options.steps,
                    "rate": options.rate,
                }
                found = {"environment": environment(), **plan, "runs": runs}
                options.json_file.write_text(json.dumps(found, indent=1) + "\n")
    rows = []
    for arm in ARMS:
        own = [run for run in runs if run["arm"] == arm]
        rows.append(
            [
                arm,
                *(
                    _mean([run[name] for run in own], digits)
                    for name, digits in (("hidden", 5), ("probe", 3), ("cpu", 0))
                ),
            ]
        )
    print(table(["drawn as", "hidden", "probe", "CPU s"], rows))


def _mean(values: list[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
