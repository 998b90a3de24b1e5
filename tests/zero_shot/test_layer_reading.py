"""Layers put back together give the rendering; each rule cuts where it says."""

from dataclasses import replace

import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.zero_shot import ImageGaussians, composite_layers, layers_of
from splatlearn.zero_shot.slabs import cut_slabs, slab_of, visible_weights
from zero_shot.shapes import SIZE, shape_gaussians, shape_masks

RULES = ("count", "visible", "clusters")


def random_read(generator, count=40, background="white", opacity=1.0, least=0.0):
    gaussians = random_gaussians(generator, (2,), count)
    faint = (gaussians.opacities * opacity).clamp_min(least)
    return ImageGaussians(replace(gaussians, opacities=faint), Camera.gmae(20, 28), background)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("background", ["white", "black", (0.2, 0.4, 0.9)])
@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_layers_give_the_rendering_back(generator, rule, background, count):
    # No pixel gets opaque here, so that the renderer leaves no splat out.
    read = random_read(generator, background=background, opacity=0.2)
    assert float(read.rendering.alpha.max()) < 1 - 1e-4
    found = layers_of(read, count, rule)
    assert found.shape == (2, count, 4, 20, 28)
    assert 0 <= float(found[:, :, 3].min()) and float(found.max()) <= 1 + 1e-6
    torch.testing.assert_close(composite_layers(found, background), read.rendering.color, atol=2e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_behind_opaque_layers_only_what_the_renderer_stops_at_is_added(generator, rule):
    read = random_read(generator, 400, least=0.98)
    assert float(read.rendering.alpha.max()) > 1 - 1e-4
    difference = composite_layers(layers_of(read, 6, rule)) - read.rendering.color
    assert float(difference.abs().max()) < 1.01e-4


def test_known_shapes_fall_into_their_layers():
    masks = shape_masks()
    found = layers_of(shape_gaussians(), 3, "clusters")[0]
    for layer, mask, color in zip(
        found, reversed(masks), ((0.1, 0.2, 0.9), (0.9, 0.2, 0.1), (0.2, 0.5, 0.3)), strict=True
    ):
        assert float(layer[3][mask].mean()) > 0.9
        covered = layer[3] > 0.5
        torch.testing.assert_close(layer[:3, covered].mean(dim=1), torch.tensor(color), atol=1e-4, rtol=0)
    assert float(found[0, 3][masks[0]].mean()) < 0.05
    assert float(found[2, 3, 4:-4, 4:-4].min()) > 0.8, "the ground goes on behind the figures"


def test_equal_counts_differ_by_one_at_most(generator):
    index = slab_of(random_read(generator).splats, 7, "count", (20, 28))
    counts = index[0].bincount(minlength=7)
    assert counts.sum() == 40 and int(counts.max() - counts.min()) <= 1


def test_visible_layers_paint_equal_shares(generator):
    read = random_read(generator, 400, opacity=0.3)
    slabs = cut_slabs(read.splats, slab_of(read.splats, 4, "visible", (20, 28)), 4, (20, 28))
    shares = slabs.share().sum(dim=(2, 3))
    torch.testing.assert_close(shares / shares.sum(1, keepdim=True), torch.full((2, 4), 0.25), atol=0.02, rtol=0)


def test_visible_weights_add_up_to_the_cover(generator):
    read = random_read(generator)
    weights = visible_weights(read.splats, (20, 28))
    torch.testing.assert_close(weights.sum(dim=1), read.rendering.alpha.sum(dim=(1, 2)))


def test_clusters_of_equal_depths_leave_layers_empty(generator):
    read = random_read(generator)
    means = read.gaussians.means.clone()
    means[..., 2] = 0.25
    flat = ImageGaussians(replace(read.gaussians, means=means), read.camera)
    found = layers_of(flat, 3, "clusters")
    assert float(found[:, 1:, 3].max()) == 0
    torch.testing.assert_close(composite_layers(found), flat.rendering.color, atol=1.01e-4, rtol=0)


def test_wrong_arguments_are_named(generator, no_shape_checks):
    read = shape_gaussians()
    with pytest.raises(ValueError, match="rule: expected one of count, visible, clusters, got 'depth'"):
        layers_of(read, 3, "depth")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"count: expected 1 to \d+ layers"):
        layers_of(read, 0)
    assert read.size == SIZE
