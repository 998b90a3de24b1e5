"""Values that no image and no Gaussian has are named at the door of every function that takes them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from scenes import random_gaussians
from splatlearn import zero_shot
from splatlearn.core.cameras import Camera
from splatlearn.core.checks import unchecked_values
from splatlearn.fitting import FitOptions, fit, initial_gaussians
from splatlearn.models import GMAE, MAE, create_model, random_mask
from splatlearn.models.classifier import classifier_from
from splatlearn.rendering import render

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@cache
def gmae() -> GMAE:
    model = create_model("gmae_vit_tiny_patch8_16", seed=0, gaussians=16)
    assert isinstance(model, GMAE)
    return model


def masked(model: GMAE | MAE, images: torch.Tensor) -> Any:
    return model(images, random_mask(2, (2, 2), generator=torch.Generator().manual_seed(0)))


def refined(images: torch.Tensor, options: FitOptions | None = None) -> Any:
    return fit(images, random_gaussians(torch.Generator().manual_seed(0), (2,), 4), 1, options)


DOORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "GMAE": lambda images: masked(gmae(), images),
    "MAE": lambda images: masked(create_model("mae_vit_tiny_patch8_16", seed=0), images),
    "encode": lambda images: gmae().encode(images),
    "feature_map": lambda images: gmae().feature_map(images),
    "gaussians": lambda images: gmae().gaussians(images),
    "classifier": lambda images: classifier_from(gmae(), ("one", "other"))(images),
    "gaussians_of": lambda images: zero_shot.gaussians_of(gmae(), images),
    "layers": lambda images: zero_shot.layers(gmae(), images, 2),
    "edges": lambda images: zero_shot.edges(gmae(), images),
    "figure_ground": lambda images: zero_shot.figure_ground(gmae(), images),
    "initial_gaussians": lambda images: initial_gaussians(images, 3),
    "fit": refined,
}
MODELS = [name for name in DOORS if name not in ("initial_gaussians", "fit")]


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=generator)


@pytest.mark.parametrize("door", DOORS)
class TestImages:
    def test_of_0_to_255(self, door: str, images: torch.Tensor) -> None:
        with pytest.raises(ValueError, match=r"images: expected values in \[0, 1\], got .* to 25.*; divide 0…255"):
            DOORS[door](images * 255)

    def test_normalised_by_a_data_set(self, door: str, images: torch.Tensor) -> None:
        with pytest.raises(ValueError, match=r"images: expected values in \[0, 1\], got -.* leave the mean"):
            DOORS[door]((images - 0.45) / 0.22)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_not_finite(self, door: str, bad: float, images: torch.Tensor) -> None:
        images[1, 2, 3, 4] = bad
        with pytest.raises(ValueError, match="images: expected finite values, got 1 of 1536 that are NaN or infinite"):
            DOORS[door](images)

    def test_of_bytes(self, door: str, images: torch.Tensor) -> None:
        message = (
            r"images: expected a floating-point tensor in \[0, 1\], got torch.uint8; convert it with .float\(\) / 255"
        )
        with pytest.raises(TypeError, match=message):
            DOORS[door]((images * 255).byte())

    def test_of_another_shape(self, door: str, images: torch.Tensor) -> None:
        with pytest.raises(ValueError, match=r"images: expected shape \[B, 3, H, W\], got \[2, 16, 16, 3\]"):
            DOORS[door](images.permute(0, 2, 3, 1))

    def test_what_resizing_overshot_passes(self, door: str, images: torch.Tensor) -> None:
        assert DOORS[door](images * 1.4 - 0.2) is not None


@pytest.mark.parametrize("door", MODELS)
def test_images_of_float64_for_a_model_of_float32(door: str, images: torch.Tensor) -> None:
    message = (
        r"images: expected torch.float32 like the model's weights, got torch.float64; convert them with .float\(\)"
    )
    with pytest.raises(TypeError, match=message):
        DOORS[door](images.double())


def test_a_model_of_float64_takes_them(images: torch.Tensor) -> None:
    model = create_model("mae_vit_tiny_patch8_16", seed=0).double()
    assert masked(model, images.double()).image.dtype == torch.float64


def test_checks_of_values_can_be_left_out(images: torch.Tensor) -> None:
    with unchecked_values():
        assert torch.isfinite(gmae().encode(images * 255)).all()
        gmae().encode(images * float("nan"))
        with pytest.raises(TypeError, match="images: expected a floating-point tensor"):
            gmae().encode(images.byte())
    refined(images * 255, FitOptions(check=False))
    with pytest.raises(ValueError, match="images: expected values"):
        gmae().encode(images * 255)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # PyTorch's, for attention on a CPU under vmap.
def test_no_value_is_looked_at_off_the_cpu_or_under_a_transform(images: torch.Tensor) -> None:
    # A look at values that are not there would raise.
    model = create_model("mae_vit_tiny_patch8_16", seed=0).to("meta")
    assert model.encode(images.to("meta")).shape == (2, 5, 192)
    one_by_one = torch.vmap(lambda image: gmae().encode(image.unsqueeze(0)))(images * 255)
    assert one_by_one.shape == (2, 1, 5, 192)


class TestGaussians:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("scales", -0.1, r"scales: expected standard deviations of at least 0, got -0.1; log-scales need"),
            ("opacities", 1.5, r"opacities: expected \[0, 1\], got .* to 1.5; logits need .sigmoid\(\)"),
            ("opacities", -2.0, r"opacities: expected \[0, 1\], got -2 to "),
            ("quaternions", 0.0, r"quaternions: expected rotations, got 1 of 24 that are zero"),
            ("colors", float("nan"), r"colors: expected finite values, got 3 of 72"),
            (
                "scales",
                1e30,
                r"gaussians: expected a projection that torch.float32 can hold, got 1 .* scales 1e\+30",
            ),
            ("means", 3e38, r"gaussians: expected a projection that torch.float32 can hold, got 1 of 24"),
        ],
    )
    def test_values_that_none_has(
        self, name: str, value: float, message: str, generator: torch.Generator, images: torch.Tensor
    ) -> None:
        gaussians = random_gaussians(generator)
        getattr(gaussians, name)[1, 4] = value
        with pytest.raises(ValueError, match=message):
            render(gaussians, Camera.gmae(16, 16))
        assert render(gaussians, Camera.gmae(16, 16), check=False).color.shape == (2, 3, 16, 16)
        if "projection" not in message:
            with pytest.raises(ValueError, match=message):
                fit(images, gaussians, 1)

    def test_what_is_unusual_but_right(self, generator: torch.Generator) -> None:
        gaussians = random_gaussians(generator)
        gaussians.scales[0, :3, 2] = 0.0
        gaussians.opacities[0, :2] = torch.tensor([0.0, 1.0])
        gaussians.fixed_colors()[0, :2] = torch.tensor([[-3.0, 0.0, 9.0]])
        longer = replace(gaussians, quaternions=7.0 * gaussians.quaternions)
        pictures = [render(each, Camera.gmae(16, 16)).color for each in (gaussians, longer)]
        torch.testing.assert_close(*pictures)

    def test_camera_and_background(self, generator: torch.Generator) -> None:
        gaussians, camera = random_gaussians(generator), Camera.gmae(16, 16)
        view = camera.viewmats.clone()
        view[0, 3] = float("nan")
        with pytest.raises(ValueError, match="viewmats: expected finite values, got 1 of 16"):
            render(gaussians, replace(camera, viewmats=view))
        with pytest.raises(ValueError, match="background: expected finite values"):
            render(gaussians, camera, torch.tensor([0.0, float("inf"), 0.0]))
        with pytest.raises(ValueError, match="cy: expected a finite number, got nan"):
            replace(camera, cy=float("nan"))
