"""Whether two versions of the code compute the same bits: pictures, gradients, losses, exports and read-outs.

    python -m benchmarks.same_bits record before.json      # in one checkout
    python -m benchmarks.same_bits record after.json       # in the other, on the same machine
    python -m benchmarks.same_bits compare before.json after.json

A restructuring must change none of them. Records hold on one machine only: another processor adds in another order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from benchmarks.golden import METHODS, curve
from splatlearn.cli import main as command_line
from splatlearn.core.cameras import Camera
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.gaussians import Gaussians
from splatlearn.data import sample_photos
from splatlearn.files import read_splats
from splatlearn.fitting import FitOptions, fit, initial_gaussians
from splatlearn.models import GMAE, load_model, random_mask
from splatlearn.rendering import render

Digests = Iterator[tuple[str, str]]
"""What was computed, and the digest of its bits."""

SIZE = (45, 70)
"""Height and width in pixels: no multiple of a tile."""
COUNTS = (1, 60, 700)
"""Gaussians of a rendered set."""
ATTRIBUTES = ("means", "scales", "quaternions", "colors", "opacities")
"""Of Gaussians, in the order of their digest."""
SPLAT_FORMATS = ("ply", "compressed-ply", "spz", "sog")


def digest(*values: Tensor | np.ndarray | bytes) -> str:
    """A digest of the bits of values, shapes and dtypes included."""
    made = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            value = value.detach().cpu().contiguous().numpy()
        if isinstance(value, np.ndarray):
            made.update(f"{value.dtype}{value.shape}".encode())
            value = value.tobytes()
        made.update(value)
    return made.hexdigest()[:16]


def random_set(count: int, seed: int, batch: int = 2) -> Gaussians:
    """Gaussians of all sizes inside the cube that GMAE's camera sees, float32, each attribute a leaf of autograd."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, count, *shape, generator=generator)

    made = Gaussians(
        means=uniform(3) * 2.2 - 1.1,
        scales=0.01 + 0.5 * uniform(3) ** 3,
        quaternions=torch.randn(batch, count, 4, generator=generator),
        colors=uniform(3),
        opacities=0.02 + 0.97 * uniform(),
    )
    return made.map(lambda tensor: tensor.requires_grad_())


def cameras() -> dict[str, Camera]:
    """One camera of each model, and one that stands askew."""
    height, width = SIZE
    return {
        "gmae": Camera.gmae(height, width),
        "orthographic": Camera.orthographic(height, width),
        "pinhole": Camera.pinhole_window(height, width, 4.0),
        "askew": Camera.look_at((1.5, -1.0, -4.0), (0.1, 0.0, 0.2), height, width),
    }


def rendered() -> Digests:
    """Pictures, depth maps and the gradient of every attribute."""
    for (name, camera), count, threads in itertools.product(cameras().items(), COUNTS, (1, 2)):
        for backend, dtype in (("cpu", torch.float32), ("torch", torch.float32), ("torch", torch.float64)):
            if backend == "torch" and (count > 100 or threads > 1):
                continue
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            leaves = random_set(count, seed=count)
            picture = render(leaves.to(dtype), camera, "white", backend)
            assert picture.depth is not None
            generator = torch.Generator().manual_seed(1)
            weights = torch.rand(picture.color.shape, generator=generator).to(dtype)
            (picture.color.mul(weights).sum() + picture.alpha.sum() + 0.1 * picture.depth.sum()).backward()
            torch.set_num_threads(before)
            title = f"render {backend} {dtype} {name} K={count} threads={threads}"
            yield f"{title}: picture", digest(picture.color, picture.alpha, picture.depth)
            for each in ATTRIBUTES:
                yield f"{title}: gradient of {each}", digest(getattr(leaves, each).grad)


def fitted() -> Digests:
    """Twenty steps of a fit to a photograph."""
    photo = next(photo for photo in sample_photos() if photo.name == "chelsea")
    pixels = np.array(Image.fromarray(photo.array).resize((SIZE[1], SIZE[0])))
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    start = initial_gaussians(image, 80, torch.Generator().manual_seed(0))
    made = fit(image, start, 20, FitOptions())
    yield "fit, 20 steps", digest(*(getattr(made, name) for name in ATTRIBUTES))


def learned() -> Digests:
    """The losses of twenty steps of every method."""
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            yield f"losses of {method}", digest(np.array(curve(method, Path(folder))))


def seen() -> Digests:
    """What the packaged models say of photographs: tokens, pictures, and their gradient."""
    for name in ("gmae-tiny", "mae-tiny"):
        model = load_model(name)
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        yield f"{name}: tokens", digest(model.encode(images))
        out = model(images, random_mask(2, (8, 8), 0.75, torch.Generator().manual_seed(0)))
        yield f"{name}: picture", digest(out.image)
        out.image.square().mean().backward()
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        yield f"{name}: gradient", digest(*gradients)
        if isinstance(model, GMAE):
            found = model.gaussians(images)
            yield f"{name}: Gaussians", digest(*(getattr(found, each) for each in ATTRIBUTES))


def commanded() -> Digests:
    """Files that commands write of a photograph and of a model, with the packaged weights."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        photo = next(photo for photo in sample_photos() if photo.name == "coffee")
        Image.fromarray(photo.array).resize((200, 130)).save(out / "coffee.png")
        image = str(out / "coffee.png")
        for verb in ("layers", "edges", "segment"):
            run_command([verb, image, "--out", str(out / verb), "--device", "cpu"])
            for path in sorted((out / verb).glob("*.png")):
                yield f"{verb}: {path.name}", digest(np.asarray(Image.open(path)))
        for form in SPLAT_FORMATS:
            name = f"coffee.{form.replace('compressed-ply', 'compressed.ply')}"
            run_command(["export", image, "--to", form, "--out", str(out / name)])
            cloud = read_splats(out / name)
            yield f"export to {form}", digest(cloud.means, cloud.scales, cloud.quaternions, cloud.opacities)
        for form in ("timm", "hf"):
            run_command(["export", "gmae-tiny", "--to", form, "--out", str(out / form)])
            yield f"export to {form}", digest((out / form / "model.safetensors").read_bytes())


def run_command(arguments: list[str]) -> None:
    """Run a command in this process. Raises SystemExit when it fails."""
    try:
        command_line(arguments)
    except SystemExit as stopped:
        if stopped.code:
            raise


def record(file: Path) -> None:
    """Compute everything and write the digests.

    Args:
        file: JSON file of digests by title.
    """
    found: dict[str, str] = {}
    for part in (rendered, fitted, seen, commanded, learned):
        found |= dict(part())
        print(f"{len(found)} digests after {part.__name__}")
    write_whole(file, json.dumps(found, indent=1) + "\n")


def compare(before: Path, after: Path) -> None:
    """Name what differs between two records; the exit code is 1 for any difference.

    Args:
        before: A record.
        after: The other one.
    """
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    titles = list(dict.fromkeys([*old, *new]))
    different = [title for title in titles if old.get(title) != new.get(title)]
    for title in different:
        print(f"{title}: {old.get(title, 'missing')} → {new.get(title, 'missing')}")
    print(f"{len(titles) - len(different)} of {len(titles)} the same")
    raise SystemExit(1 if different else 0)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"record": record, "compare": compare}, config=(tyro.conf.Positional,))
