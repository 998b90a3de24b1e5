"""A 3-D set of Gaussians from one picture of a chair, by a GMAE with the triplane head, against two ways without one.

    python -m benchmarks.object_photograph shared/data/modelnet10/voxels32.npz [--steps 400] [--json-file FILE]

Pictures are renderings of ModelNet10's chairs, whose voxels became shaded splats (`benchmarks.splat_shapes`), from
eight sides. A model sees one of them whole and predicts Gaussians in the frame of its camera; the loss is the squared
error of the pictures from that side and from others. Scores are PSNR from the seven sides that were not seen, of
chairs of the test part. Beside it: the same sides of the training chair whose picture is nearest to the one that was
seen (retrieval, among all training chairs and sides), and the mean picture of all training chairs from the side that
is asked for (which knows what the others do not: from where each picture was taken).
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

import splatlearn as sl
from benchmarks.common import table
from benchmarks.splat_shapes import modelnet10
from splatlearn.core.attributes import placed
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.data import SplatList
from splatlearn.models import GMAE
from splatlearn.models.options import Heads
from splatlearn.rendering import render
from splatlearn.runs.folder import environment

SIDES, ELEVATION, FIELD_OF_VIEW = 8, 20.0, 40.0
"""Number of cameras around an object, and degrees of their height and of their field of view."""
AWAY = 1.05 / math.sin(math.radians(FIELD_OF_VIEW / 2))
"""Distance of the cameras from the middle, in radii of the object."""
SUN = (0.48, -0.8, 0.36)
"""Direction to the light in the frame of objects, −y up."""
WARMUP = 0.1
"""Part of the steps in which the learning rate rises."""


@dataclass(frozen=True)
class Options:
    """What is trained."""

    head: Heads = "triplane"
    """The head."""
    model: str = "gmae_vit_micro_patch8_64"
    """The model; its side is that of the pictures."""
    gaussians: int = 512
    """Number of Gaussians."""
    label: str = "chair"
    """The class of shapes."""
    train: int = 400
    """Training shapes."""
    test: int = 60
    """Test shapes."""
    steps: int = 400
    """Steps of training."""
    batch_size: int = 16
    """Shapes in a step."""
    views: int = 3
    """Pictures of a shape in a step, the one that is seen included."""
    rate: float = 1.5e-3
    """Peak of the learning rate of AdamW."""
    seed: int = 0
    """Seed of weights, shapes and sides."""
    json_file: Path | None = None
    """File for all numbers."""
    model_folder: Path | None = None
    """Folder for the trained model."""


def shaded(gaussians: Gaussians) -> Gaussians:
    """The splats of a voxel shape placed, −y up, and lit by a sun and an even sky."""
    # A quarter turn about x takes z, which is up in ModelNet, to −y.
    turn = torch.tensor([math.cos(math.pi / 4), math.sin(math.pi / 4), 0.0, 0.0], dtype=torch.float64)
    upright = placed(gaussians).transformed(turn)
    normals = quaternions_to_matrices(upright.quaternions)[..., 2]
    light = 0.3 + 0.6 * (normals @ torch.tensor(SUN)).clamp_min(0.0)
    return replace(upright, colors=light.unsqueeze(-1).expand(-1, 3).contiguous())


def ring(side: int) -> Camera:
    """The cameras around an object; their pictures are `side` pixels high and wide."""
    height = math.radians(ELEVATION)
    made = []
    for number in range(SIDES):
        turn = 2 * math.pi * number / SIDES
        eye = (math.cos(height) * math.cos(turn), -math.sin(height), math.cos(height) * math.sin(turn))
        made.append(Camera.look_at(tuple(AWAY * each for each in eye), (0.0, 0.0, 0.0), side, side, FIELD_OF_VIEW))
    return replace(made[0], viewmats=torch.stack([each.viewmats for each in made]))


def seen_from(cameras: Camera, first: Tensor, wanted: Tensor) -> Camera:
    """The cameras `wanted` [B, V] in frames about the middle of objects with the axes of the cameras `first` [B]."""
    viewmats = cameras.viewmats[wanted]
    rotations = viewmats[..., :3, :3] @ cameras.viewmats[first, :3, :3].mT.unsqueeze(1)
    return replace(cameras, viewmats=torch.cat([torch.cat([rotations, viewmats[..., :3, 3:]], -1),
                                                viewmats[..., 3:, :]], -2))  # fmt: skip


def pictures_of(sets: SplatList, label: str, count: int, cameras: Camera) -> Tensor:
    """Pictures [N, V, 3, H, W] of the first shapes of a class."""
    assert sets.class_names is not None, "shapes have labels"
    number = sets.class_names.index(label)
    chosen = [index for index in range(len(sets)) if sets[index].label == number][:count]
    found = []
    with torch.no_grad():
        for index in chosen:
            found.append(render(shaded(sets[index].gaussians), cameras, "white", depth=False).color.clamp(0, 1))
    return torch.stack(found)


def predicted(model: GMAE, pictures: Tensor, cameras: Camera, first: Tensor, wanted: Tensor) -> Tensor:
    """Pictures [B, V, 3, H, W] from the sides `wanted` [B, V], of the Gaussians of those seen from `first` [B]."""
    seen = pictures[torch.arange(len(pictures)), first]
    gaussians = model.gaussians(seen)
    return render(gaussians, seen_from(cameras, first, wanted), "white", depth=False, check=False).color


def train(pictures: Tensor, cameras: Camera, options: Options) -> GMAE:
    """Train a model on pictures [N, V, 3, H, W]."""
    model = sl.create_model(
        options.model, seed=options.seed, heads=options.head, depth="pinhole", gaussians=options.gaussians
    )
    assert isinstance(model, GMAE)
    generator = torch.Generator().manual_seed(options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.95), weight_decay=0.01)
    warmup = max(1, round(WARMUP * options.steps))
    for step in range(options.steps):
        share = (step + 1) / warmup if step < warmup else 0.5 + 0.5 * math.cos(
            math.pi * (step - warmup) / max(1, options.steps - warmup))  # fmt: skip
        for group in optimizer.param_groups:
            group["lr"] = options.rate * share
        batch = pictures[torch.randint(len(pictures), (options.batch_size,), generator=generator)]
        wanted = torch.rand(options.batch_size, SIDES, generator=generator).argsort(dim=1)[:, : options.views]
        first = wanted[:, 0]
        made = predicted(model, batch, cameras, first, wanted)
        truth = torch.gather(batch, 1, wanted[..., None, None, None].expand(-1, -1, *batch.shape[2:]))
        loss = (made - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == options.steps - 1:
            print(f"step {step}: {float(-10 * loss.detach().log10()):.2f} dB", flush=True)
    return model.eval()


def psnr(one: Tensor, other: Tensor) -> Tensor:
    """PSNR of each picture in dB; the leading shape stays."""
    return -10 * (one.clamp(0, 1) - other).square().flatten(-3).mean(dim=-1).clamp_min(1e-10).log10()


@torch.no_grad()
def scores(model: GMAE, known: Tensor, held: Tensor, cameras: Camera) -> dict[str, Any]:
    """PSNR from the sides that were not seen, averaged over the sides seen, as mean and deviation over shapes."""
    mean = known.mean(dim=0)
    rows = known.flatten(0, 1).flatten(1)
    found: dict[str, list[Tensor]] = {"model": [], "retrieval": [], "mean picture": [], "model, side that was seen": []}
    for side in range(SIDES):
        first = torch.full((len(held),), side)
        offsets = torch.arange(SIDES)
        wanted = (first.unsqueeze(1) + offsets) % SIDES
        truth = held[:, wanted[0]]
        made = psnr(predicted(model, held, cameras, first, wanted), truth)
        found["model"].append(made[:, 1:].mean(dim=1))
        found["model, side that was seen"].append(made[:, 0])
        nearest = torch.cdist(held[:, side].flatten(1), rows).argmin(dim=1)
        shape, from_side = nearest // SIDES, nearest % SIDES
        retrieved = known[shape.unsqueeze(1), (from_side.unsqueeze(1) + offsets) % SIDES]
        found["retrieval"].append(psnr(retrieved, truth)[:, 1:].mean(dim=1))
        found["mean picture"].append(psnr(mean[wanted[0]].expand_as(truth), truth)[:, 1:].mean(dim=1))
    each = {name: torch.stack(values).mean(dim=0) for name, values in found.items()}
    told: dict[str, Any] = {name: [float(value.mean()), float(value.std())] for name, value in each.items()}
    told["shapes above retrieval"] = int((each["model"] > each["retrieval"]).sum())
    told["shapes above the mean picture"] = int((each["model"] > each["mean picture"]).sum())
    return told | {"shapes": len(held)}


def main(voxels: tyro.conf.Positional[Path], options: Options = Options()) -> None:
    """Train, and print the scores."""
    torch.set_num_threads(1)
    began = time.process_time()
    cameras = ring(int(options.model.rpartition("_")[2]))
    parts = modelnet10(voxels, options.train, options.test, (options.label,))
    known, held = (
        pictures_of(part, options.label, count, cameras)
        for part, count in zip(parts, (options.train, options.test), strict=True)
    )
    rendered = time.process_time()
    model = train(known, cameras, options)
    trained = time.process_time()
    found = scores(model, known, held, cameras)
    rows = [[name, f"{value[0]:.2f} ± {value[1]:.2f}"] for name, value in found.items() if isinstance(value, list)]
    print(table(["pictures", "PSNR, dB"], rows))
    print({name: value for name, value in found.items() if not isinstance(value, list)})
    times = {"pictures_cpu_s": rendered - began, "training_cpu_s": trained - rendered}
    if options.model_folder is not None:
        sl.save_model(model, options.model_folder)
    if options.json_file is not None:
        told = {
            key: value for key, value in asdict(options).items() if not isinstance(value, Path) and value is not None
        }
        text = {"options": told, "scores": found, **times, "environment": environment()}
        options.json_file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
