"""The triplane head: what a point finds in planes, where a query's cell lies, and that all of it learns."""

from pathlib import Path

import pytest
import torch

from models.small_models import small_gmae
from splatlearn.models import GMAE, GMAEConfig, load_model, random_mask, save_model
from splatlearn.models.folders.weight_shapes import weight_shapes
from splatlearn.models.heads.triplane_head import FINER, PLANE_FEATURES, TriplaneHead, sampled


def head_of(**choice) -> TriplaneHead:
    model = small_gmae(0, GMAEConfig(**{"gaussians": 24, "gaussians_per_query": 4, "heads": "triplane", **choice}))
    assert isinstance(model.head, TriplaneHead)
    return model.head


def test_planes_are_asked_at_the_projections_of_points(generator: torch.Generator) -> None:
    # Each plane holds the coordinates of its own places, which interpolation gives back.
    rows, columns = 6, 10
    down = (torch.arange(rows) + 0.5) / rows * 2 - 1
    across = (torch.arange(columns) + 0.5) / columns * 2 - 1
    held = torch.stack([across.expand(rows, columns), down[:, None].expand(rows, columns)])
    places = 1.6 * torch.rand(2, 7, 3, generator=generator) - 0.8
    found = sampled(held.expand(2, 3, 2, rows, columns), places)
    torch.testing.assert_close(found, places[..., [0, 1, 0, 2, 1, 2]])


def test_a_query_has_its_own_cell_of_each_plane(generator: torch.Generator) -> None:
    head = head_of()
    features = torch.randn(1, 6, 16, generator=generator)
    before = head.plane_features(features)
    # 6 queries stand in 2 rows of 3, or 3 of 2.
    rows, columns = (each // FINER for each in before.shape[-2:])
    assert before.shape[:3] == (1, 3, PLANE_FEATURES) and {rows, columns} == {2, 3}
    changed = features.clone()
    changed[:, 4] += 1.0
    cells = (head.plane_features(changed) != before).any(dim=2)[0].view(3, rows, FINER, columns, FINER)
    touched = cells.any(dim=4).any(dim=2)
    wanted = torch.zeros(rows, columns, dtype=torch.bool)
    wanted[4 // columns, 4 % columns] = True
    assert torch.equal(touched, wanted.expand(3, rows, columns))


def test_planes_tell_a_point_what_other_queries_know(generator: torch.Generator) -> None:
    head = head_of()
    features = torch.randn(1, 6, 16, generator=generator)
    anchors = head.first_numbers()
    before = head.gaussians(features, anchors)
    changed = features.clone()
    changed[:, 4] += 1.0
    after = head.gaussians(changed, anchors)
    others = torch.ones(24, dtype=torch.bool)
    others[16:20] = False
    assert torch.equal(before.means[:, others], after.means[:, others])
    assert (before.opacities != after.opacities)[:, others].any()


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_numbers_and_gradients_are_finite(size: float, generator: torch.Generator) -> None:
    head = head_of(depth="pinhole")
    features = (size * torch.randn(2, 6, 16, generator=generator)).requires_grad_()
    made = head.gaussians(features, 30.0 * head.first_numbers().sign())
    assert made.means.shape == (2, 24, 3) and made.means[..., :2].abs().max() <= head.config.reach
    sums = [each.sum() for each in made.tensors().values()]
    torch.stack(sums).sum().backward()
    assert all(each.isfinite().all() for each in made.tensors().values())
    assert features.grad is not None and features.grad.isfinite().all()


@pytest.mark.parametrize("choice", [{}, {"color": "residual"}, {"layout": "free", "rotation": "uniform"}])
def test_a_model_with_it_learns_and_is_stored(choice: dict, tmp_path: Path, generator: torch.Generator) -> None:
    model = small_gmae(0, GMAEConfig(**{"gaussians": 24, "gaussians_per_query": 4, "heads": "triplane", **choice}))
    assert {name: tuple(each.shape) for name, each in model.state_dict().items()} == weight_shapes(model.config)
    images = torch.rand(2, 3, 16, 24, generator=generator)
    model(images, random_mask(2, (4, 6), 0.5, generator)).image.square().mean().backward()
    gradients = [each.grad for each in model.get_submodule("head").parameters()]
    assert all(each is not None and each.isfinite().all() and each.any() for each in gradients)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, GMAE)
    torch.testing.assert_close(again.gaussians(images).means, model.gaussians(images).means)
