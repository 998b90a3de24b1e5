"""Models of splat sets: no order matters, what is hidden stays hidden, and predictions mean Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.splat_sets.sets import splat_set
from splatlearn.core.attributes import ATTRIBUTES, attributes_of, gaussians_of, placed
from splatlearn.core.errors import InputError
from splatlearn.models import SplatJEPA, SplatMAE, SplatOptions, create_splat_model, load_splat_model, save_model
from splatlearn.models.folders.weight_shapes import weight_shapes
from splatlearn.models.masking import Mask
from splatlearn.models.masking.sets import group_salience, mask_groups
from splatlearn.models.splats.numbers import activated, normalise
from splatlearn.models.splats.splat_mae import in_place
from splatlearn.objectives.splat_sets import attribute_errors, chamfer_distance, nearest_pairs, squared_distances

KINDS = ("splat-mae", "splat-jepa")
VARIANTS = {
    "plain": SplatOptions(),
    "morton": SplatOptions(tokenizer="morton"),
    "soft": SplatOptions(group_pooling="soft"),
    "means": SplatOptions(attributes=("means",)),
    "shown": SplatOptions(shared="shown", scale_numbers="paper"),
}


def options(variant: str = "plain") -> SplatOptions:
    given = {"draw": 60, "groups": 10, "group_size": 8, "encoder_depth": 2, "predictor_depth": 1}
    return SplatOptions(**{**given, **VARIANTS[variant].given()})


def model_of(variant: str = "plain", kind: str = "splat-mae") -> SplatMAE | SplatJEPA:
    return create_splat_model(f"{kind}_vit_micro", seed=1, options=options(variant)).eval()


def some_sets(batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([attributes_of(placed(splat_set(generator, each % 2))) for each in range(batch)])


def a_mask(model: SplatMAE | SplatJEPA, sets: torch.Tensor, seed: int = 3) -> Mask:
    noise = torch.rand(len(sets), 10, generator=torch.Generator().manual_seed(seed))
    return mask_groups(model.encoder.group(sets).groups.centers, noise)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_a_set_does_not_matter_to_the_bit(variant: str, kind: str) -> None:
    model, sets = model_of(variant, kind), some_sets()
    # Positions on a grid tie distances and cells.
    sets[..., :3] = (sets[..., :3] * 4).round() / 4
    shuffled = sets[:, torch.randperm(60, generator=torch.Generator().manual_seed(5))]
    mask = mask_groups(model.encoder.group(sets).groups.centers, torch.rand(2, 10))
    with torch.no_grad():
        assert torch.equal(model.encode(sets), model.encode(shuffled))
        assert torch.equal(model(sets, mask).predicted, model(shuffled, mask).predicted)


@pytest.mark.parametrize("variant", ["plain", "morton", "soft", "means"])
def test_hidden_gaussians_change_nothing_that_the_encoder_says(variant: str) -> None:
    model, sets = model_of(variant), some_sets()
    assert isinstance(model, SplatMAE)
    grouped = model.encoder.group(sets)
    mask = a_mask(model, sets)
    size = model.config.encoder.group_size
    hidden = torch.zeros(2, 60, dtype=torch.bool)
    hidden.scatter_(1, grouped.groups.members_of(mask.hidden)[..., :size].flatten(1), True)
    planted = grouped.sets.clone()
    # Everything but the places, which say where groups are.
    planted[hidden, 3:] = torch.rand(int(hidden.sum()), 11)
    with torch.no_grad():
        before = model(grouped, mask)
        again = type(grouped)(planted, normalise(planted, "log"), grouped.groups)
        after = model(again, mask)
    assert torch.equal(before.latent, after.latent) and torch.equal(before.predicted, after.predicted)
    assert not torch.equal(before.target, after.target)


def test_gaussians_that_are_shown_do_leak() -> None:
    """The published way: the test above would fail with it."""
    given = {**options().given(), "shared": "shown"}
    model, sets = create_splat_model("splat-mae_vit_micro", seed=1, options=SplatOptions(**given)), some_sets()
    grouped = model.encoder.group(sets)
    mask = mask_groups(grouped.groups.centers, torch.rand(2, 10))
    hidden = torch.zeros(2, 60, dtype=torch.bool).scatter(1, grouped.groups.members_of(mask.hidden).flatten(1), True)
    planted = grouped.sets.clone()
    planted[hidden, 3:] = torch.rand(int(hidden.sum()), 11)
    again = type(grouped)(planted, normalise(planted, "log"), grouped.groups)
    with torch.no_grad():
        assert not torch.equal(model(grouped, mask).latent, model(again, mask).latent)


def test_visible_gaussians_do_matter() -> None:
    model, sets = model_of(), some_sets()
    assert isinstance(model, SplatMAE)
    mask = a_mask(model, sets)
    changed = sets.clone()
    changed[..., ATTRIBUTES["colors"]] = 1.0 - changed[..., ATTRIBUTES["colors"]]
    with torch.no_grad():
        assert not torch.equal(model(sets, mask).latent, model(changed, mask).latent)


def test_an_encoder_of_means_sees_nothing_else() -> None:
    model, sets = model_of("means"), some_sets()
    changed = sets.clone()
    changed[..., 3:] = torch.rand_like(changed[..., 3:])
    with torch.no_grad():
        # A hash of all numbers orders only Gaussians of one cell, of which here are none.
        assert torch.equal(model.encode(sets), model.encode(changed))


def test_numbers_come_back(generator: torch.Generator) -> None:
    sets = some_sets()
    sets[..., 4:7] = sets[..., 4:7].clamp(0.001, 0.9)
    torch.testing.assert_close(activated(normalise(sets, "log")), sets, atol=1e-5, rtol=1e-5)


def test_a_target_in_place_is_the_hidden_gaussians() -> None:
    model, sets = model_of(), some_sets()
    assert isinstance(model, SplatMAE)
    sets[..., 4:7] = sets[..., 4:7].clamp(0.001, 0.9)
    mask = a_mask(model, sets)
    output = model(sets, mask)
    found = in_place(output.target, output, model.config.encoder.reach)
    known = {tuple(np.round(row, 3)) for row in sets[0].numpy()}
    assert {tuple(np.round(row, 3)) for row in found[0].detach().numpy()} <= known
    assert gaussians_of(model.reconstruction(output)).count == found.shape[1]


def test_equal_groups_in_any_order_have_no_error(generator: torch.Generator) -> None:
    target = torch.randn(2, 3, 8, 14, generator=generator)
    target[..., 7:11] = torch.nn.functional.normalize(target[..., 7:11], dim=-1)
    shuffled = target[:, :, torch.randperm(8, generator=generator)]
    found = attribute_errors(shuffled, target)
    assert all(float(each) == pytest.approx(0.0, abs=1e-5) for each in found.values())
    turned = shuffled.clone()
    turned[..., 7:11] = -turned[..., 7:11]
    assert float(attribute_errors(turned, target)["quaternions"]) == pytest.approx(0.0, abs=1e-5)
    by_index = attribute_errors(shuffled, target, "index")
    assert float(by_index["means"]) == pytest.approx(0.0, abs=1e-5) and float(by_index["scales"]) > 0.5


def test_errors_are_those_of_plain_loops(generator: torch.Generator) -> None:
    one, other = (torch.randn(2, 3, 5, 14, generator=generator, dtype=torch.float64) for _ in range(2))
    found = attribute_errors(one, other)
    means, opacities = [], []
    for a, b in zip(one.flatten(0, 1), other.flatten(0, 1), strict=True):
        squares = ((a[:, None, :3] - b[None, :, :3]) ** 2).sum(-1)
        means.append(squares.min(1).values.mean() + squares.min(0).values.mean())
        there = (a[:, 3] - b[squares.argmin(1), 3]).abs().mean()
        back = (a[squares.argmin(0), 3] - b[:, 3]).abs().mean()
        opacities.append((there + back) / 2)
    torch.testing.assert_close(found["means"], torch.stack(means).mean())
    torch.testing.assert_close(found["opacities"], torch.stack(opacities).mean())
    distances = squared_distances(one[..., :3], other[..., :3])
    assert torch.equal(nearest_pairs(one[..., :3], other[..., :3])[0], distances.argmin(-1))


def test_chamfer_distance_of_a_shifted_point() -> None:
    points = torch.tensor([[[0.0, 0, 0], [10.0, 0, 0]]])
    torch.testing.assert_close(chamfer_distance(points, points + torch.tensor([0.0, 0, 2.0])), torch.tensor([2.0]))


def test_block_masks_hide_what_lies_together(generator: torch.Generator) -> None:
    centers = torch.rand(4, 40, 3, generator=generator)
    mask = mask_groups(centers, torch.rand(4, 40, generator=generator), 0.5, "block")
    for each, hidden in zip(centers, mask.hidden, strict=True):
        inside = torch.cdist(each[hidden], each[hidden]).mean()
        assert inside < 0.9 * torch.cdist(each, each).mean()


def test_salience_holes_hide_what_matters_and_lie_apart(generator: torch.Generator) -> None:
    centers = torch.rand(50, 60, 3, generator=generator)
    salience = torch.where(centers[..., 0] > 0.5, 1.0, 0.01)
    noise = torch.rand(50, 60, generator=generator)
    mask = mask_groups(centers, noise, 0.3, "salience", salience)
    plain = mask_groups(centers, noise, 0.3, "salience")
    for found, low, high in ((mask, 0.75, 1.0), (plain, 0.35, 0.65)):
        share = (torch.gather(centers[..., 0], 1, found.hidden) > 0.5).float().mean()
        assert low < float(share) < high


def test_random_masks_hide_every_group_equally_often(generator: torch.Generator) -> None:
    mask = mask_groups(torch.zeros(4000, 10, 3), torch.rand(4000, 10, generator=generator), 0.6)
    counts = torch.bincount(mask.hidden.flatten(), minlength=10) / 4000
    assert mask.hidden.shape == (4000, 6) and (counts - 0.6).abs().max() < 0.04


def test_salience_is_opacity_times_size() -> None:
    opacities, scales = torch.tensor([[[0.5, 1.0]]]), torch.tensor([[[[1.0, 2.0, 4.0], [0.5, 0.5, 0.5]]]])
    torch.testing.assert_close(group_salience(opacities, scales), torch.tensor([[0.75 * 1.25]]))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_models_are_stored_and_come_back(tmp_path: Path, variant: str, kind: str) -> None:
    model, sets = model_of(variant, kind), some_sets()
    assert weight_shapes(model.config) == {name: tuple(value.shape) for name, value in model.state_dict().items()}
    save_model(model, tmp_path)
    again = load_splat_model(tmp_path)
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again.encode(sets), model.encode(sets))
    assert "Splat sets: 10 groups" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draw": 5}, "draw: expected at least 10 for 10 groups of 8, got 5"),
        ({"attributes": ("means", "means")}, "attributes: expected some of"),
        ({"tokenizer": "octree"}, "tokenizer: expected one of neighbours, morton"),
        ({"groups": 0}, "groups: expected"),
    ],
)
def test_choices_out_of_range_are_named(no_shape_checks: None, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_splat_model("splat-mae_vit_micro", options=SplatOptions(**{**options().given(), **changes}))


def test_inputs_that_do_not_fit_are_named(no_shape_checks: None) -> None:
    model, sets = model_of(), some_sets()
    with pytest.raises(TypeError, match="sets: expected a floating-point tensor"):
        model.encode(sets.long())
    with pytest.raises(InputError, match=r"sets: expected shape \[B, N, 14\] with at least 10 Gaussians"):
        model.encode(sets[:, :9])
    with pytest.raises(InputError, match="mask: expected 2 sets of 10 groups, got 2 of 1×12"):
        model(sets, mask_groups(torch.rand(2, 12, 3), torch.rand(2, 12)))
    with pytest.raises(InputError, match="ratio: expected one that hides some of 10 groups"):
        mask_groups(torch.rand(2, 10, 3), torch.rand(2, 10), 0.01)
