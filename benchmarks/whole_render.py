"""`render` as a whole, from Gaussians to gradients of Gaussians, beside compositing alone."""

from __future__ import annotations

import torch
from torch import Tensor

from splatlearn.core.cameras import GMAE_DISTANCE, Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import composite, project, render

from .common import SPREAD, Scene, Task, interleave

COMPOSITE, PROJECT, RENDER, RENDER_WITH_DEPTH = "composite", "project", "render", "render with depth"


def scene_gaussians(scene: Scene) -> Gaussians:
    """Gaussians in the cube of GMAE, all attributes with gradients, about the scene's sigma in px on the image."""
    generator = torch.Generator().manual_seed(scene.seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(scene.images, scene.count, *shape, generator=generator)

    sigma = scene.sigma * GMAE_DISTANCE / (scene.side / 2)
    gaussians = Gaussians(
        means=uniform(-1, 1, 3),
        scales=sigma * uniform(*SPREAD, 3),
        quaternions=torch.randn(scene.images, scene.count, 4, generator=generator),
        colors=uniform(0, 1, 3),
        opacities=uniform(0.1, 0.95),
    )
    return gaussians.map(lambda tensor: tensor.requires_grad_())


def time_render(scene: Scene, rounds: int) -> dict[str, list[float]]:
    """Milliseconds per image of each step, keyed "step forward" and "step forward+backward"."""
    camera = Camera.gmae(scene.side, scene.side)
    gaussians = scene_gaussians(scene)
    leaves = tuple(gaussians.tensors().values())
    projected = project(gaussians.detach(), camera)
    splats = projected.map(lambda tensor: tensor.requires_grad_())
    splat_leaves = (splats.means2d, splats.conics, splats.colors, splats.opacities)
    generator = torch.Generator().manual_seed(scene.seed)

    def run_composite() -> tuple[Tensor, ...]:
        return composite(splats, *scene.size, background="white")

    def run_project() -> tuple[Tensor, ...]:
        result = project(gaussians, camera)
        return result.means2d, result.conics, result.colors, result.opacities

    def run_render() -> tuple[Tensor, ...]:
        result = render(gaussians, camera, depth=False)
        return result.color, result.alpha

    def run_render_with_depth() -> tuple[Tensor, ...]:
        result = render(gaussians, camera)
        assert result.depth is not None
        return result.color, result.alpha, result.depth

    steps = {
        COMPOSITE: (run_composite, splat_leaves),
        PROJECT: (run_project, leaves),
        RENDER: (run_render, leaves),
        RENDER_WITH_DEPTH: (run_render_with_depth, leaves),
    }
    tasks = []
    for name, (forward, inputs) in steps.items():
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in forward()]

        def both(forward=forward, inputs=inputs, gradients=gradients) -> object:
            return torch.autograd.grad(forward(), inputs, gradients)

        tasks.append(Task(f"{name} forward", torch.no_grad()(forward), scene.images, rounds))
        tasks.append(Task(f"{name} forward+backward", both, scene.images, rounds))
    return interleave(tasks)
