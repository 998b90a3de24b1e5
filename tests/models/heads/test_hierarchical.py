"""The hierarchical head: children inside their parents and never larger, whatever the layers predict."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from models.small_models import small_gmae
from splatlearn.core.geometry.quaternions import multiply_quaternions, quaternions_to_matrices
from splatlearn.models import GMAE, GMAEConfig, load_model, random_mask, save_model
from splatlearn.models.folders.weight_shapes import weight_shapes
from splatlearn.models.heads.gaussian_head import HEADS
from splatlearn.models.heads.gaussian_numbers import gaussians_from_numbers, grid_numbers
from splatlearn.models.heads.hierarchical_head import SMALLEST, HierarchicalHead, Level, branching, nodes
from splatlearn.models.heads.protocol import GaussianHead
from splatlearn.models.options import Depth, Heads


def head_of(**choice) -> HierarchicalHead:
    model = small_gmae(0, GMAEConfig(**{"gaussians": 24, "gaussians_per_query": 8, "heads": "hierarchical", **choice}))
    assert isinstance(model.head, HierarchicalHead)
    return model.head


def check_children(parents: Level, children: Level, count: int, drawn: float) -> None:
    """Every child against the rules, written out anew in float64."""
    inside = 0
    for child in range(children.means.shape[0]):
        parent = child // count
        turn = quaternions_to_matrices(parents.quaternions[parent])
        local = turn.T @ (children.means[child] - parents.means[parent])
        reach = parents.scales[parent] * drawn
        assert (local.abs() <= reach * (1 + 1e-9) + 1e-15).all()
        assert (children.scales[child] <= parents.scales[parent]).all()
        assert (children.scales[child] >= SMALLEST * parents.scales[parent] * (1 - 1e-12)).all()
        assert children.quaternions[child].norm() == pytest.approx(1.0, abs=1e-9)
        inside += 1
    assert inside == children.means.shape[0] == count * parents.means.shape[0]


@pytest.mark.parametrize("depth", ["paper", "pinhole"])
@pytest.mark.parametrize("size", [1.0, 5.0, 30.0])
def test_invariants_at_any_logits(depth: Depth, size: float, generator: torch.Generator) -> None:
    head = head_of(depth=depth)
    numbers = size * torch.randn(3 * nodes(8), 14, generator=generator, dtype=torch.float64)
    if size == 30.0:
        numbers = size * numbers.sign()
    levels = head.levels(numbers)
    assert [level.means.shape[0] for level in levels] == [3, 6, 24]
    for parents, children, count in zip(levels, levels[1:], branching(8), strict=False):
        check_children(parents, children, count, 1 / 8 if depth == "paper" else 1.0)
    assert head.leaves(numbers).scales.max() <= head.config.largest_scale
    leaves = head.leaves(numbers.float())
    for values in leaves.tensors().values():
        assert values.isfinite().all()


def test_gradients_are_finite_at_30_logits(generator: torch.Generator) -> None:
    head = head_of()
    numbers = (30.0 * torch.randn(3 * nodes(8), 14, generator=generator).sign()).requires_grad_()
    sums = [each.sum() for each in head.leaves(numbers).tensors().values()]
    torch.stack(sums).sum().backward()
    assert numbers.grad is not None and numbers.grad.isfinite().all()


def test_rotations_are_composed(generator: torch.Generator) -> None:
    head = head_of()
    numbers = torch.randn(3 * nodes(8), 14, generator=generator, dtype=torch.float64)
    root, child, leaf = head.levels(numbers)
    identity = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    own = torch.nn.functional.normalize(numbers.view(3, nodes(8), 14)[1, 2, 6:10] + identity, dim=0)
    wanted = quaternions_to_matrices(root.quaternions[1]) @ quaternions_to_matrices(own)
    torch.testing.assert_close(quaternions_to_matrices(child.quaternions[3]), wanted)
    torch.testing.assert_close(
        quaternions_to_matrices(multiply_quaternions(root.quaternions[1:2], own[None]))[0], wanted
    )
    # A parent that turns takes its children with it: their places in its frame stay.
    turned = numbers.clone().view(3, nodes(8), 14)
    turned[:, 0, 6:10] = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    other = head.levels(turned.flatten(0, 1))

    def local(levels: list[Level]) -> torch.Tensor:
        matrices = quaternions_to_matrices(levels[0].quaternions).repeat_interleave(2, 0)
        return (matrices.mT @ (levels[1].means - levels[0].means.repeat_interleave(2, 0)).unsqueeze(-1)).squeeze(-1)

    torch.testing.assert_close(local([root, child, leaf]), local(other))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 12])
def test_the_start_is_a_grid_of_grids(count: int) -> None:
    sizes = {"gaussians": 4 * count, "gaussians_per_query": count, "initial_scale": 1.0, "scale_limit": 20.0}
    config = GMAEConfig(**sizes, heads="hierarchical")
    head = small_gmae(0, config).head
    assert isinstance(head, HierarchicalHead)
    roots, leaves = head.levels(head.first_numbers())[0], head.leaves(head.first_numbers())
    flat = gaussians_from_numbers(grid_numbers(config), config)
    corners = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    torch.testing.assert_close(roots.means[:, :2], corners)
    # Leaves tile the cell of their root, of side 1.
    offsets = leaves.means[:, :2].view(4, count, 2) - corners[:, None]
    assert offsets.abs().max() <= 0.5
    torch.testing.assert_close(offsets.mean(dim=1), torch.zeros(4, 2), atol=1e-6, rtol=0)
    apart = torch.cdist(offsets, offsets) + torch.eye(count)
    assert apart.min() > 0.5 * count**-0.5
    # They are as wide as those of the flat head.
    torch.testing.assert_close(leaves.scales, flat.scales, rtol=1e-3, atol=0)
    torch.testing.assert_close(leaves.quaternions, torch.eye(4)[:1].expand(4 * count, 4))
    torch.testing.assert_close(leaves.opacities, flat.opacities)


def test_every_head_keeps_the_protocol(generator: torch.Generator) -> None:
    assert set(HEADS) == set(get_args(Heads))
    for name in get_args(Heads):
        model = small_gmae(0, GMAEConfig(gaussians=12, gaussians_per_query=4, heads=name))
        assert isinstance(model.head, GaussianHead)
        features = torch.randn(2, 3, 16, generator=generator)
        before = model.head.gaussians(features, model.anchors)
        assert before.means.shape == (2, 12, 3)
        features[:, 1] += 1.0
        after = model.head.gaussians(features, model.anchors)
        same = (before.means == after.means).all(dim=2)
        # Those of one query lie beside each other.
        assert same[:, [0, 1, 2, 3, 8, 9, 10, 11]].all() and not same[:, 4:8].any()


@pytest.mark.parametrize("choice", [{}, {"color": "residual"}, {"layout": "free", "rotation": "uniform"}])
def test_a_model_with_it_learns_and_is_stored(choice: dict, tmp_path: Path, generator: torch.Generator) -> None:
    config = GMAEConfig(**{"gaussians": 24, "gaussians_per_query": 8, "heads": "hierarchical", **choice})
    model = small_gmae(0, config)
    assert {name: tuple(each.shape) for name, each in model.state_dict().items()} == weight_shapes(model.config)
    images = torch.rand(2, 3, 16, 24, generator=generator)
    mask = random_mask(2, (4, 6), 0.5, generator)
    output = model(images, mask)
    output.image.square().mean().backward()
    gradients = [each.grad for each in model.get_submodule("head").parameters()]
    assert all(each is not None and each.isfinite().all() and each.any() for each in gradients)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, GMAE)
    torch.testing.assert_close(again.gaussians(images).means, model.gaussians(images).means)
