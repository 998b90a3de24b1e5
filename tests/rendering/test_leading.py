"""Leading axes: what pairs with which set of Gaussians, and shapes that hold as many but pair nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.rendering import project, render


def views(*batch: int) -> torch.Tensor:
    """A view of its own for each place of a batch: none of two is alike."""
    generator = torch.Generator().manual_seed(7)
    angles = torch.rand(batch, generator=generator)
    view = torch.eye(4).repeat(*batch, 1, 1)
    view[..., 0, 0] = view[..., 2, 2] = angles.cos()
    view[..., 0, 2], view[..., 2, 0] = angles.sin(), -angles.sin()
    view[..., 2, 3] = 4.0 + torch.rand(batch, generator=generator)
    return view


def camera(view: torch.Tensor) -> Camera:
    return Camera.pinhole(6, 7, viewmats=view)


def alone(gaussians: Gaussians, view: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Each picture rendered by itself, [2, 3, C, H, W]."""
    view, background = view.expand(2, 3, 4, 4), background.expand(2, 3, 3)
    rows = [
        torch.stack([render(gaussians[i][j], camera(view[i, j]), background[i, j]).color for j in range(3)])
        for i in range(2)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("of_views", [(), (2, 3)])
@pytest.mark.parametrize("of_backgrounds", [(), (1,), (2, 3), (1, 3)])
def test_each_set_has_the_view_and_background_at_its_place(
    of_views: tuple[int, ...], of_backgrounds: tuple[int, ...], generator: torch.Generator
) -> None:
    gaussians, view = random_gaussians(generator, (2, 3), 5), views(*of_views)
    background = torch.rand(*of_backgrounds, 3, generator=generator)
    found = render(gaussians, camera(view), background)
    torch.testing.assert_close(found.color, alone(gaussians, view, background), atol=1e-6, rtol=0)


@pytest.mark.parametrize("of_backgrounds", [(), (2,), (2, 3)])
def test_several_views_of_each_set(of_backgrounds: tuple[int, ...], generator: torch.Generator) -> None:
    sets, each = random_gaussians(generator, (2,), 5), views(2, 3)
    background = torch.rand(*of_backgrounds, 3, generator=generator)
    found = render(sets, camera(each), background)
    repeated = sets.map(lambda tensor: tensor.unsqueeze(1).expand(2, 3, *tensor.shape[1:]))
    behind = background.unsqueeze(-2) if of_backgrounds == (2,) else background
    torch.testing.assert_close(found.color, alone(repeated, each, behind), atol=1e-6, rtol=0)
    assert found.depth is not None and found.depth.shape == found.alpha.shape == (2, 3, 6, 7)


def test_several_views_of_one_set_add_their_gradients(generator: torch.Generator) -> None:
    one, each = random_gaussians(generator, (), 5), views(3)
    colors = one.fixed_colors().requires_grad_()

    def gradient(view: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(render(one, camera(view)).color.square().sum(), colors)[0]

    torch.testing.assert_close(gradient(each), torch.stack([gradient(view) for view in each]).sum(0))


@pytest.mark.parametrize("model", ["pinhole", "orthographic", "gmae"])
def test_each_view_has_its_own_intrinsics(model: str, generator: torch.Generator) -> None:
    sets = random_gaussians(generator, (2,), 5)
    own = dict(zip(("fx", "fy", "cx", "cy"), torch.rand(4, 2, 3, generator=generator) + 3.0, strict=True))
    several = Camera(7, 6, **own, model=model, viewmats=views(2, 3))
    found = render(sets, several)
    for i in range(2):
        for j in range(3):
            numbers: dict[str, Any] = {name: float(value[i, j]) for name, value in own.items()}
            expected = render(sets[i], Camera(7, 6, **numbers, model=model, viewmats=several.viewmats[i, j]))
            torch.testing.assert_close(found.color[i, j], expected.color, atol=2e-6, rtol=0)


def test_intrinsics_have_gradients(generator: torch.Generator) -> None:
    fx = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    gaussians = random_gaussians(generator, (2,), 4, dtype=torch.float64)

    def picture(fx: torch.Tensor) -> torch.Tensor:
        return render(gaussians, Camera(4, 4, fx, fx, 0 * fx + 2, 0 * fx + 2, "pinhole", views(2))).color

    assert torch.autograd.gradcheck(picture, (fx,))


@pytest.mark.parametrize("shape", [(3, 2), (6,), (3,), (2,), (1,), (1, 1), (2, 1), (1, 2, 3), (0,)])
def test_views_of_other_leading_axes_are_refused(shape: tuple[int, ...], generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2, 3), 5)
    message = (
        r"camera.viewmats: expected shape \[4, 4\] or \[2, 3, 4, 4\] or \[2, 3, V, 4, 4\] for gaussians with leading "
        r"axes \[2, 3\], "
        rf"got \[{', '.join(map(str, (*shape, 4, 4)))}\]"
    )
    with pytest.raises(ValueError, match=message):
        render(gaussians, camera(torch.eye(4).expand(*shape, 4, 4)))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("shape", [(3, 2, 3), (6, 3), (3, 3), (2, 3, 4), (2, 3), (4,), (2, 3, 1), ()])
def test_backgrounds_of_other_shapes_are_refused(shape: tuple[int, ...], generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2, 3), 5)
    with pytest.raises(ValueError, match=r"background: expected shape \[3\] or \[2, 3, 3\] .* got \["):
        render(gaussians, Camera.gmae(6, 7), torch.zeros(shape))


def test_one_view_or_background_each_needs_a_set_each(generator: torch.Generator) -> None:
    single = random_gaussians(generator, (), 5)
    with pytest.raises(ValueError, match=r"shape \[4, 4\] or \[V, 4, 4\] .* axes \[\], got \[2, 2, 4, 4\]"):
        render(single, camera(views(2, 2)))
    with pytest.raises(ValueError, match=r"background: expected shape \[3\] for gaussians with leading axes \[\]"):
        render(single, Camera.gmae(6, 7), torch.zeros(2, 3))
    one = random_gaussians(generator, (1,), 5)
    with pytest.raises(ValueError, match=r"or \[1, 4, 4\] or \[1, V, 4, 4\] .* got \[2, 4, 4\]"):
        render(one, camera(views(2)))


def test_projection_compares_too(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (3,), 5)
    for shape in ((1,), (2,), (3, 1), (1, 3), (6,)):
        with pytest.raises(ValueError, match=r"viewmats: expected shape \[4, 4\] or \[3, 4, 4\] for gaussians"):
            project(gaussians, camera(torch.eye(4).expand(*shape, 4, 4)))
    each = views(3)
    both = project(gaussians, camera(each))
    for index in range(3):
        by_itself = project(gaussians[index : index + 1], replace(camera(each), viewmats=each[index]))
        torch.testing.assert_close(both.means2d[index], by_itself.means2d[0])


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("background", [0.5, [0.5], [0.1, 0.2, 0.3, 0.4], [], None])
def test_numbers_of_a_background_are_counted(background: object, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"background: expected 'white', 'black', 3 numbers or a tensor, got "):
        render(random_gaussians(generator), Camera.gmae(6, 7), background)  # pyright: ignore[reportArgumentType]
