import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.small_models import ENCODER, small_gmae
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices, unit_quaternions
from splatlearn.models import GMAE, GMAEConfig, ViTConfig, create_model, gaussians_from_numbers, random_mask
from splatlearn.models.gmae_config import Rotation
from splatlearn.models.heads.gaussian_numbers import uniform_quaternions
from splatlearn.objectives import masked_mse
from splatlearn.rendering import render

ROTATIONS: list[Rotation] = ["quaternion", "uniform"]


def numbers(**places: float) -> torch.Tensor:
    """14 numbers, zero but for those named by their index, as `n3=1.5`."""
    values = torch.zeros(1, 14)
    for name, value in places.items():
        values[0, int(name[1:])] = value
    return values


@pytest.mark.parametrize("rotation", ROTATIONS)
@given(seed=st.integers(0, 1000), spread=st.sampled_from([0.0, 0.1, 1.0, 100.0, 1e4]), scale_limit=st.floats(0.1, 4))
def test_ranges(rotation: Rotation, seed: int, spread: float, scale_limit: float) -> None:
    raw = spread * torch.randn(2, 5, 14, generator=torch.Generator().manual_seed(seed))
    made = gaussians_from_numbers(raw, GMAEConfig(rotation=rotation, scale_limit=scale_limit))
    # A sigmoid reaches its limits in float32.
    assert made.means.abs().max() <= 1
    assert made.scales.min() >= 0 and made.scales.max() <= scale_limit * (1 + 1e-6)
    for values in (made.fixed_colors(), made.opacities):
        assert values.min() >= 0 and values.max() <= 1
    torch.testing.assert_close(made.quaternions.norm(dim=-1), torch.ones(2, 5))


def test_the_order_and_the_activations() -> None:
    config = GMAEConfig(scale_limit=0.5)
    sigmoid = 1 / (1 + math.exp(-1.5))
    neutral = gaussians_from_numbers(numbers(), config)
    assert neutral.means.tolist() == [[0, 0, 0]] and neutral.scales.tolist() == [[0.25, 0.25, 0.25]]
    assert neutral.quaternions.tolist() == [[1, 0, 0, 0]]
    assert neutral.fixed_colors().tolist() == [[0.5, 0.5, 0.5]] and neutral.opacities.tolist() == [0.5]
    made = gaussians_from_numbers(numbers(n1=1.5, n5=1.5, n8=-2.0, n10=1.5, n13=1.5), config)
    torch.testing.assert_close(made.means, torch.tensor([[0, 2 * sigmoid - 1, 0]]))
    torch.testing.assert_close(made.scales, torch.tensor([[0.25, 0.25, 0.5 * sigmoid]]))
    assert made.quaternions.tolist() == [[0, 0, -1, 0]]
    torch.testing.assert_close(made.colors, torch.tensor([[sigmoid, 0.5, 0.5]]))
    torch.testing.assert_close(made.opacities, torch.tensor([sigmoid]))


def test_half_precision_is_computed_in_float32(generator: torch.Generator) -> None:
    raw = torch.randn(3, 14, generator=generator)
    made = gaussians_from_numbers(raw.bfloat16(), GMAEConfig())
    expected = gaussians_from_numbers(raw.bfloat16().float(), GMAEConfig())
    assert made.means.dtype == torch.float32 and torch.equal(made.means, expected.means)
    assert gaussians_from_numbers(raw.double(), GMAEConfig()).scales.dtype == torch.float64


def test_a_zero_quaternion_has_a_finite_gradient() -> None:
    raw = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1e-6, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 4.0]], requires_grad=True)
    unit = unit_quaternions(raw)
    assert unit[:2].tolist() == [[1, 0, 0, 0]] * 2
    torch.testing.assert_close(unit[2], torch.tensor([0, 0.6, 0, 0.8]))
    unit.sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()


def test_saturated_uniform_rotations_have_a_finite_gradient() -> None:
    raw = torch.tensor([[60.0, 0.0, 0.0, 0.0], [-200.0, 0.0, 0.0, 0.0]], requires_grad=True)
    uniform_quaternions(raw).sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()


def test_uniform_rotations_are_uniform(generator: torch.Generator) -> None:
    count = 20_000
    shares = torch.rand(count, 4, generator=generator, dtype=torch.float64)
    matrices = quaternions_to_matrices(uniform_quaternions(shares.logit()))
    # Under the uniform (Haar) measure entries have mean 0, variance 1/3, and are uncorrelated; five standard errors.
    assert matrices.mean(0).abs().max() < 5 * (1 / 3 / count) ** 0.5
    second = torch.einsum("kij,kab->ijab", matrices, matrices) / count
    expected = torch.einsum("ia,jb->ijab", torch.eye(3), torch.eye(3)).double() / 3
    torch.testing.assert_close(second, expected, atol=5 / count**0.5 / 3, rtol=0)


def test_a_reconstruction_is_the_rendering_of_its_gaussians(generator: torch.Generator) -> None:
    model, images = small_gmae(), torch.rand(2, 3, 16, 24, generator=generator)
    mask = random_mask(2, (4, 6), generator=generator)
    made = model(images, mask)
    assert made.image.shape == images.shape and made.latent.shape == (2, 7, 24) and made.mask is mask
    assert isinstance(made.gaussians, Gaussians) and made.gaussians.means.shape == (2, 12, 3)
    again = render(made.gaussians, model.camera(16, 24), "white").color
    torch.testing.assert_close(made.image, again)
    assert torch.equal(model(images, mask).image, made.image)


def test_background(generator: torch.Generator) -> None:
    config = GMAEConfig(gaussians=3, background=(0.0, 0.5, 1.0))
    model, images = small_gmae(config=config), torch.rand(1, 3, 16, 24, generator=generator)
    head = model.head
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias[13::14] = -100.0  # opacities
    color = model(images, random_mask(1, (4, 6), generator=generator)).image[0, :, 0, 0]
    torch.testing.assert_close(color, torch.tensor([0.0, 0.5, 1.0]))


def test_gaussians_without_a_mask(generator: torch.Generator) -> None:
    model, images = small_gmae(), torch.rand(2, 3, 20, 12, generator=generator)
    made = model.gaussians(images)
    assert made.means.shape == (2, 12, 3) and torch.equal(made.means, model.gaussians(images).means)
    assert model.encode(images).shape == (2, 16, 24) and model.feature_map(images).shape == (2, 24, 5, 3)
    camera = model.camera(20, 12)
    assert (camera.model, camera.height, camera.width) == ("gmae", 20, 12)


@pytest.mark.parametrize("per_query", [1, 4])
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_fresh_gaussians_differ_and_are_sane(generator: torch.Generator, per_query: int, rotation: Rotation) -> None:
    config = GMAEConfig(gaussians=32, gaussians_per_query=per_query, rotation=rotation)
    made = small_gmae(config=config).gaussians(torch.rand(1, 3, 16, 24, generator=generator))
    if rotation == "quaternion":
        # Without the bias towards the identity, w would be as often negative as positive.
        assert made.quaternions[..., 0].mean() > 0.3
    distances = torch.cdist(made.means, made.means)[0] + torch.eye(32)
    assert distances.min() > 0
    assert made.means.abs().max() < 0.99 and made.scales.min() > 0.01 and made.opacities.min() > 0.01


def test_every_parameter_gets_a_gradient(generator: torch.Generator) -> None:
    model, images = small_gmae(), torch.rand(2, 3, 16, 24, generator=generator)
    mask = random_mask(2, (4, 6), generator=generator)
    masked_mse(model(images, mask).image, images, mask, 4).backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_under_autocast_gaussians_stay_float32(generator: torch.Generator) -> None:
    model, images = small_gmae(), torch.rand(1, 3, 16, 24, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        made = model(images, random_mask(1, (4, 6), generator=generator))
    assert made.gaussians.means.dtype == made.image.dtype == torch.float32
    # Numbers that a bfloat16 head had rounded would survive the round trip through bfloat16.
    raw = made.gaussians.colors.logit()
    assert (raw - raw.bfloat16().float()).abs().max() > 1e-4


def test_queries() -> None:
    model = small_gmae()
    assert model.config.num_queries == 4 and model.query_embed.shape == (1, 4, 16)
    assert model.head.weight.shape == (3 * 14, 16)


class TestErrors:
    def test_counts(self) -> None:
        message = "gaussians: expected a positive multiple of gaussians_per_query, got 10 with 4 per query"
        with pytest.raises(ValueError, match=message):
            GMAEConfig(gaussians=10, gaussians_per_query=4)

    def test_choices(self) -> None:
        with pytest.raises(ValueError, match="scale_limit: expected a positive number, got 0.0"):
            GMAEConfig(scale_limit=0.0)
        with pytest.raises(ValueError, match="channels: expected 3, the colours of a Gaussian, got 1"):
            GMAEConfig(ViTConfig(channels=1, input_mean=(0.5,), input_std=(0.5,)))

    @pytest.mark.usefixtures("no_shape_checks")
    def test_names(self) -> None:
        with pytest.raises(ValueError, match="rotation: expected one of quaternion, uniform, got 'euler'"):
            GMAEConfig(rotation="euler")  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="background: expected one of white, .* or 3 numbers in .0, 1., got 'red'"):
            GMAEConfig(background="red")  # pyright: ignore[reportArgumentType]

    def test_a_mask_of_another_grid(self, generator: torch.Generator) -> None:
        model = GMAE(GMAEConfig(ENCODER, gaussians=1))
        with pytest.raises(ValueError, match="mask: expected 1 images of 4×6 patches like images, got 1 of 6×4"):
            model(torch.rand(1, 3, 16, 24), random_mask(1, (6, 4), generator=generator))


@pytest.mark.parametrize(("gaussians", "per_query"), [(64, 4), (96, 3), (100, 1), (128, 8)])
def test_a_grid_layout_covers_the_image_at_the_start(gaussians: int, per_query: int) -> None:
    model = create_model(
        "gmae_vit_tiny_patch4_32", seed=0, gaussians=gaussians, gaussians_per_query=per_query, scale_limit=4.0
    )
    assert isinstance(model, GMAE) and model.anchors is not None
    made = model.gaussians(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert render(made, model.camera(32, 32), depth=False).alpha.mean() > 0.45
    # Every quarter of the image has about a fourth of the centres.
    quarter = (made.means[..., :2] > 0).long() @ torch.tensor([1, 2])
    assert torch.bincount(quarter.flatten(), minlength=4).min() > 0.1 * 2 * gaussians
    first = model.anchors[:per_query, :2].sigmoid()
    assert (first.max(0).values - first.min(0).values).max() < 0.7


def test_the_papers_layout_has_no_anchors() -> None:
    model = create_model("gmae_vit_tiny_patch4_32", "paper", seed=0)
    assert isinstance(model, GMAE) and model.anchors is None
