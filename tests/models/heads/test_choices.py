"""The choices about colours, backgrounds, opacities and heads that the default does not make."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.small_models import small_gmae
from splatlearn.models import (
    GMAE,
    DecoderConfig,
    GMAEConfig,
    Mask,
    gaussians_from_numbers,
    load_model,
    random_mask,
    save_model,
)
from splatlearn.models.heads.gaussian_head import SeparateHeads
from splatlearn.models.heads.gaussian_numbers import grid_numbers
from splatlearn.models.heads.seen_colors import colors_at, mean_color
from splatlearn.objectives import masked_mse
from splatlearn.rendering import project

CHOICES: list[dict[str, Any]] = [
    {"background": "mean"},
    {"background": "learned"},
    {"color": "linear"},
    {"color": "residual"},
    {"color": "residual", "layout": "free"},
    {"opacity": 0.1},
    {"heads": "separate"},
    {"heads": "triplane"},
    {"initial_scale": 1.5},
    {"heads": "separate", "color": "residual", "background": "mean", "opacity": 0.8, "gaussians_per_query": 2},
]


def chosen(**choice: Any) -> GMAE:
    return small_gmae(0, GMAEConfig(**{"gaussians": 12, "gaussians_per_query": 3, **choice}))


def halves(first: float, second: float) -> torch.Tensor:
    """An image 8 × 16 whose left half has one grey and whose right half has another."""
    image = torch.full((1, 3, 8, 16), first)
    image[..., 8:] = second
    return image


def half_seen() -> Mask:
    """Of 2 × 4 patches, those of the first and the last column are visible."""
    return Mask(torch.tensor([[0, 3, 4, 7]]), torch.tensor([[1, 2, 5, 6]]), (2, 4))


def test_places_have_the_colours_of_the_visible_patches_near_them():
    image = halves(0.2, 0.8)
    places = torch.tensor([[-0.75, -0.5], [0.75, 0.5], [0.0, 0.0]])
    near = colors_at(places, image, half_seen(), 4)[0, :, 0]
    assert near[0] < 0.25 and near[1] > 0.75
    assert near[2] == pytest.approx(0.5, abs=1e-5)  # as far from the ones as from the others
    torch.testing.assert_close(mean_color(image, half_seen(), 4), torch.full((1, 3), 0.5))
    torch.testing.assert_close(colors_at(None, image, half_seen(), 4), torch.full((1, 1, 3), 0.5))


def test_hidden_patches_say_nothing_about_colours(generator: torch.Generator):
    image, places = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(9, 2, generator=generator) * 2 - 1
    mask = random_mask(2, (4, 4), 0.75, generator)
    changed = torch.where(mask.hidden_pixels(4).unsqueeze(1) > 0, 1 - image, image)
    assert not torch.equal(image, changed)
    for each in (lambda shown: colors_at(places, shown, mask, 4), lambda shown: mean_color(shown, mask, 4)):
        torch.testing.assert_close(each(image), each(changed), rtol=0, atol=0)


def test_weights_are_a_softmax_of_squared_distances(generator: torch.Generator):
    image, place = torch.rand(1, 3, 8, 16, generator=generator), torch.tensor([[0.3, -0.6]])
    patches = image.unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-1, -2))[0].permute(1, 2, 0)
    total, expected = 0.0, torch.zeros(3)
    for row in range(2):
        for column in range(4):
            dx, dy = (0.3 + 1) / 2 * 4 - (column + 0.5), (-0.6 + 1) / 2 * 2 - (row + 0.5)
            weight = float(torch.exp(torch.tensor(-(dx * dx + dy * dy) / (2 * 0.5**2))))
            total, expected = total + weight, expected + weight * patches[row, column]
    torch.testing.assert_close(colors_at(place, image, None, 4)[0, 0], expected / total)


def test_residual_colours_start_from_those_that_are_seen():
    config, seen = GMAEConfig(color="residual"), torch.tensor([[0.0, 0.3, 1.0]])
    started = gaussians_from_numbers(torch.zeros(1, 14), config, seen).colors
    torch.testing.assert_close(started, torch.tensor([[0.02, 0.3, 0.98]]))
    assert gaussians_from_numbers(torch.zeros(1, 14), config).fixed_colors().tolist() == [[0.5, 0.5, 0.5]]


def test_linear_colours_have_no_bound():
    numbers = torch.zeros(1, 14)
    numbers[0, 10:13] = torch.tensor([-2.0, 0.0, 2.0])
    assert gaussians_from_numbers(numbers, GMAEConfig(color="linear")).fixed_colors().tolist() == [[-1.5, 0.5, 2.5]]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_weight_learns_and_comes_back_from_disk(choice: dict[str, Any], tmp_path: Path):
    model, generator = chosen(**choice), torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, *model.image_size, generator=generator)
    rows, columns = (side // model.patch_size for side in model.image_size)
    mask = random_mask(2, (rows, columns), 0.5, generator)
    made = model(images, mask)
    masked_mse(made.image, images, mask, model.patch_size).backward()
    still = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.isfinite().all()]
    assert not still
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, GMAE) and again.config == model.config
    torch.testing.assert_close(again(images, mask).image, made.image, rtol=0, atol=0)
    # Whole images have no mask, and colours all the same.
    with torch.no_grad():
        assert model.gaussians(images).count == model.config.gaussians


@pytest.mark.parametrize("heads", ["joint", "separate", "triplane"])
@pytest.mark.parametrize("layout", ["grid", "free"])
def test_opacities_start_where_they_are_told_and_rotations_near_the_identity(heads: str, layout: str):
    model = chosen(heads=heads, layout=layout, opacity=0.1)
    images = torch.rand(4, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = model.gaussians(images)
    assert made.opacities.mean() == pytest.approx(0.1, abs=0.05)
    assert made.quaternions[..., 0].abs().mean() > 0.6


def test_first_extents_are_so_many_spacings_of_their_grid():
    # 4 × 4 Gaussians on an image 64 px wide stand 16 px apart.
    for initial_scale, pixels in ((0.25, 4.0), (0.5, 8.0), (1.0, 16.0)):
        config = GMAEConfig(gaussians=16, gaussians_per_query=4, scale_limit=20.0, initial_scale=initial_scale)
        start = gaussians_from_numbers(grid_numbers(config)[None], config)
        splats = project(start, config.camera(64, 64))
        # A conic is the inverse of a covariance, and rotations of equal extents change nothing; .3 px² are the blur.
        # Off the axis a camera sees an extent along the depth a little too.
        found = splats.conics[..., 0].rsqrt()
        torch.testing.assert_close(found, torch.full_like(found, (pixels**2 + 0.3) ** 0.5), rtol=1e-2, atol=0)


def test_separate_heads_have_no_layer_in_common():
    config = GMAEConfig(decoder=DecoderConfig(8, 1, 1), gaussians=6, gaussians_per_query=2)
    head = SeparateHeads(config, torch.Generator().manual_seed(0))
    tokens = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1))
    before = head(tokens).unflatten(-1, (2, 14))
    with torch.no_grad():
        head.get_submodule("hidden.3").get_parameter("weight").zero_()  # of the colours
    changed = (head(tokens).unflatten(-1, (2, 14)) != before).any(dim=(0, 1, 2))
    assert changed.nonzero().flatten().tolist() == [10, 11, 12]


def test_wrong_choices_are_named(no_shape_checks):
    wrong: dict[str, Any]
    for wrong, message in (
        ({"color": "wild"}, "color: expected one of bounded, linear, residual, got 'wild'"),
        ({"heads": "many"}, "heads: expected one of joint, separate, hierarchical, triplane, got 'many'"),
        ({"initial_scale": 0.0}, "initial_scale: expected a positive number, got 0.0"),
        ({"opacity": 1.0}, r"opacity: expected a number in \(0, 1\), got 1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            GMAEConfig(**wrong)
