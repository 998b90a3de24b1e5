"""Time of rendering on a GPU, beside the floors that the same GPU sets in the same run.

    python -m benchmarks.render_cuda --json-file render_cuda.json

Medians of device events over inputs that rotate. Compositing is timed as the backend's forward and backward, `render`
as users call it, through autograd. Pairs are those of a pixel and a splat whose α reaches the skip threshold, counted
on one image; the floors are what pairs and bytes would take at the rates of a float32 matrix product and of a copy.
gsplat's rasteriser renders the same Gaussians where it is installed. With `--device cpu` the benchmark itself is tried.
"""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import tyro
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import Splats, composite, project, render
from splatlearn.rendering.choice import choose_backend
from splatlearn.rendering.formula import ALPHA_MIN

from .common import SPREAD, figures, table
from .devices import ceilings, device_facts, milliseconds

DISTANCE = 8.0
"""World units from the camera to the middle of the cube that the Gaussians fill."""
HEADS = ("scene", "what", "forward", "fwd+bwd", "floor", "/ floor", "Gpairs")


@dataclass(frozen=True)
class Scene:
    """`images` scenes of `count` Gaussians of about `sigma` px each."""

    name: str
    images: int
    height: int
    width: int
    count: int
    sigma: float


SCENES = {
    scene.name: scene
    for scene in (
        *(Scene(f"224px-{count}", 256, 224, 224, count, 224 / count**0.5) for count in (64, 256, 1024, 4096)),
        *(Scene(f"64px-{count}", 1024, 64, 64, count, 64 / count**0.5) for count in (64, 256)),
        Scene("640x360-10000", 64, 360, 640, 10_000, 4.0),
        Scene("tiny", 2, 12, 20, 4, 4.0),
    )
}
"""At 224 and 64 px Gaussians lie their standard deviation apart, as those of a grid layout."""


def gaussians_of(scene: Scene, seed: int, device: str) -> tuple[Gaussians, Camera]:
    """Gaussians in a cube that fills the view of a pinhole camera, all attributes with gradients."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(scene.images, scene.count, *shape, generator=generator)

    gaussians = Gaussians(
        means=uniform(-1, 1, 3),
        scales=scene.sigma / (scene.width / 2) * uniform(*SPREAD, 3),
        quaternions=torch.randn(scene.images, scene.count, 4, generator=generator),
        colors=uniform(0, 1, 3),
        opacities=uniform(0.1, 0.95),
    )
    view = torch.eye(4)
    view[2, 3] = DISTANCE
    focal = (DISTANCE * scene.width / 2, DISTANCE * scene.height / 2)
    camera = Camera(scene.width, scene.height, *focal, scene.width / 2, scene.height / 2, "pinhole", view)
    return gaussians.map(lambda tensor: tensor.to(device).requires_grad_()), camera


def pairs_of(splats: Splats, scene: Scene, chunk: int = 32) -> int:
    """Pairs of a pixel and a splat whose α reaches the skip threshold, in all images, counted on the first."""
    device = splats.means2d.device
    rows = torch.arange(scene.height, device=device)[:, None] + 0.5
    columns = torch.arange(scene.width, device=device)[None, :] + 0.5
    found = torch.zeros((), dtype=torch.long, device=device)
    for start in range(0, scene.count, chunk):
        x, y = (each[..., None, None] for each in splats.means2d[0, start : start + chunk].unbind(-1))
        a, b, c = (each[..., None, None] for each in splats.conics[0, start : start + chunk].unbind(-1))
        dx, dy = columns - x, rows - y
        falloff = torch.exp(-(0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy))
        found += (splats.opacities[0, start : start + chunk, None, None] * falloff >= ALPHA_MIN).sum()
    return scene.images * int(found)


def floors(scene: Scene, pairs: int, rates: dict[str, float], channels: int = 3) -> dict[str, float]:
    """Milliseconds of forward and backward that arithmetic and memory take at least, and what they are made of."""
    # Operations of one pair, a multiply-add counted as one: those of the formula, and the moments of the backward.
    operations = (13 + channels) + (26 + 2 * channels)
    image = scene.images * scene.height * scene.width * (channels + 1) * 4
    splats = scene.images * scene.count * (6 + channels) * 4
    # Forward reads splats and writes images; backward reads splats, images and their gradients, and writes splats'.
    bytes_moved = (splats + image) + (2 * splats + 2 * image)
    return {
        "pairs": pairs,
        "bytes": bytes_moved,
        "arithmetic_ms": 1e3 * pairs * operations / (rates["float32_per_second"] / 2),
        "memory_ms": 1e3 * bytes_moved / rates["bytes_per_second"],
    }


def contenders(scene: Scene, device: str, sets: int) -> dict[str, tuple[list[Callable], list[Callable]]]:
    """Calls of each contender, forward and forward+backward, one of each for each set of inputs."""
    found: dict[str, tuple[list[Callable], list[Callable]]] = {}
    for seed in range(sets):
        gaussians, camera = gaussians_of(scene, seed, device)
        with torch.no_grad():
            placed = project(gaussians, camera)
        splats = placed.map(lambda tensor: tensor.detach().requires_grad_())
        leaves = list(gaussians.tensors().values())
        of_splats = [splats.means2d, splats.conics, splats.colors, splats.opacities]
        upstream = torch.randn(scene.images, 3, scene.height, scene.width, device=device)

        def run_composite(splats: Splats = splats) -> Tensor:
            return composite(splats, scene.height, scene.width, "white", check=False)[0]

        def run_render(gaussians: Gaussians = gaussians, camera: Camera = camera) -> Tensor:
            return render(gaussians, camera, depth=False, check=False).color

        ways: dict[str, tuple[Callable[[], Tensor], list[Tensor]]] = {
            "composite": (run_composite, of_splats),
            "render": (run_render, leaves),
        }
        if device == "cuda" and find_spec("gsplat") is not None:
            ways["gsplat"] = (gsplat_call(gaussians, camera), leaves)
        for name, (forward, inputs) in ways.items():

            def both(forward=forward, inputs=inputs, upstream=upstream) -> object:
                return torch.autograd.grad(forward(), inputs, upstream)

            calls = found.setdefault(name, ([], []))
            calls[0].append(torch.no_grad()(forward))
            calls[1].append(both)
    return found


def gsplat_call(gaussians: Gaussians, camera: Camera) -> Callable[[], Tensor]:
    """The same images by gsplat's rasteriser, which takes batches from its version 1.5 on."""
    rasterization = importlib.import_module("gsplat").rasterization
    means = gaussians.means
    batch = means.shape[0]
    views = camera.viewmats.to(means).expand(batch, 1, 4, 4)
    lens = means.new_tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]]).expand(batch, 1, 3, 3)
    behind = means.new_ones(batch, 1, 3)

    def call() -> Tensor:
        g = gaussians
        image, _, _ = rasterization(
            g.means, g.quaternions, g.scales, g.opacities, g.colors, views, lens, camera.width, camera.height,
            backgrounds=behind,
        )  # fmt: skip
        return image[:, 0].permute(0, 3, 1, 2)

    return call


def scene_rows(scene: Scene, device: str, rounds: int, sets: int, rates: dict[str, float]) -> list[dict]:
    """One row for each contender."""
    gaussians, camera = gaussians_of(scene, 0, device)
    with torch.no_grad():
        splats = project(gaussians, camera)
        limits = floors(scene, pairs_of(splats, scene), rates)
    floor = max(limits["arithmetic_ms"], limits["memory_ms"])
    rows = []
    for name, (forward, both) in contenders(scene, device, sets).items():
        times = {"forward": milliseconds(forward, device, rounds), "both": milliseconds(both, device, rounds)}
        medians = {kind: statistics.median(values) for kind, values in times.items()}
        ratio = medians["both"] / floor
        row = {"scene": asdict(scene), "contender": name, "milliseconds": times, "median": medians, **limits}
        rows.append({**row, "times_floor": ratio, "backend": choose_backend("auto", splats.means2d, 3)})
    return rows


def main(
    device: str = "cuda",
    scenes: tuple[str, ...] = tuple(name for name in SCENES if name != "tiny"),
    rounds: int = 20,
    sets: int = 3,
    json_file: Path | None = None,
) -> None:
    """Time the scenes, print a table and write everything to a file.

    Args:
        device: cuda, or cpu to try the benchmark.
        scenes: Names of scenes.
        rounds: Timings of each call.
        sets: Sets of inputs that rotate.
        json_file: File for the raw numbers.
    """
    unknown = [name for name in scenes if name not in SCENES]
    if unknown:
        raise SystemExit(f"scenes: expected some of {', '.join(SCENES)}, got {', '.join(unknown)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("device: no CUDA device was found; use --device cpu to try the benchmark")
    rates = ceilings(device)
    rows = [row for name in scenes for row in scene_rows(SCENES[name], device, rounds, sets, rates)]
    facts = device_facts(device)
    has_gsplat = any(row["contender"] == "gsplat" for row in rows)
    result = {"environment": facts, "ceilings": rates, "gsplat": has_gsplat, "rows": rows}
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    terabytes, tera = rates["bytes_per_second"] / 1e12, rates["float32_per_second"] / 1e12
    print(f"{facts['device_name']}: copies {terabytes:.2f} TB/s, float32 products {tera:.1f} TFLOP/s")
    lines = [
        (
            row["scene"]["name"],
            row["contender"],
            *(figures(row["median"][kind]) for kind in ("forward", "both")),
            figures(max(row["arithmetic_ms"], row["memory_ms"])),
            figures(row["times_floor"]),
            figures(row["pairs"] / 1e9),
        )
        for row in rows
    ]
    print(table(HEADS, lines))
    print("Milliseconds for the whole batch; the floor is the larger of arithmetic and memory, forward and backward.")
    if not has_gsplat:
        print("gsplat was not measured: it is not installed here, or there is no CUDA device.")


if __name__ == "__main__":
    tyro.cli(main)
