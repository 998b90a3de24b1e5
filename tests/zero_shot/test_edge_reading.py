"""Edges of known Gaussians lie on the outlines of their shapes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from splatlearn.zero_shot import EdgeOptions, ImageGaussians, edges_of
from splatlearn.zero_shot.edge_reading import HALF, layer_index
from splatlearn.zero_shot.gradients import gradient_map, thin_lines
from zero_shot.shapes import SIZE, shape_gaussians, shape_masks


def distance_from(mask: np.ndarray) -> np.ndarray:
    """Pixels to the nearest one that is False."""
    return np.asarray(distance_transform_edt(mask))


def outline() -> np.ndarray:
    numbers = sum(index * mask.int() for index, mask in enumerate(shape_masks()))
    return find_boundaries(np.asarray(numbers), mode="inner")


@pytest.mark.parametrize(
    "options",
    [
        EdgeOptions(),
        EdgeOptions(cues=("layers",)),
        EdgeOptions(cues=("depth",)),
        EdgeOptions(cues=("color",)),
        EdgeOptions(method="index", layers=(32, 16, 8, 4)),
    ],
)
def test_edges_lie_on_outlines_and_outlines_have_edges(options):
    edges = edges_of(shape_gaussians(), options)[0].numpy()
    assert edges.shape == SIZE and 0 <= edges.min() and edges.max() <= 1
    strengths = edges if options.method == "index" else HALF * edges / (1 - edges)
    strong = strengths > 0.3 * strengths.max()
    truth = outline()
    # The paper's index jumps where a layer begins to show, two standard deviations outside the last centres.
    reach = 4 if options.method == "index" else 2.5
    precision = (distance_from(~truth)[strong] <= reach).mean()
    recall = (distance_from(~strong)[truth] <= reach).mean()
    assert precision > 0.95 and recall > 0.95


def test_the_layer_index_names_the_nearest_shape():
    ground, disc, square = shape_masks()
    index = layer_index(shape_gaussians(), 8, 0.1)[0]
    inner = {name: torch.from_numpy(distance_from(mask.numpy()) > 2) for name, mask in
             (("ground", ground), ("disc", disc), ("square", square))}  # fmt: skip
    medians = {name: float(index[mask].float().median()) for name, mask in inner.items()}
    assert medians["square"] < medians["disc"] < medians["ground"]


def test_after_refinement_colour_alone_makes_edges():
    read = shape_gaussians()
    color = edges_of(read, EdgeOptions(cues=("color",)))
    every = edges_of(read, EdgeOptions(cues=("layers", "depth", "color")))
    assert not torch.equal(color, every)
    torch.testing.assert_close(edges_of(read), every, rtol=0, atol=0)
    torch.testing.assert_close(edges_of(replace(read, fitted=1)), color, rtol=0, atol=0)
    torch.testing.assert_close(
        edges_of(replace(read, fitted=1), EdgeOptions(cues=("layers", "depth", "color"))), every, rtol=0, atol=0
    )


def test_an_empty_scene_has_no_edges():
    read = shape_gaussians()
    gaussians = read.gaussians.select(slice(0, 40))
    clear = replace(gaussians, opacities=torch.full_like(gaussians.opacities, 1e-4))
    for method in ("soft", "index"):
        found = edges_of(ImageGaussians(clear, read.camera), EdgeOptions(method=method))
        assert float(found.max()) == 0


def test_a_step_has_a_gradient_of_its_height_in_its_direction():
    maps = torch.zeros(1, 2, 30, 40, dtype=torch.float64)
    maps[:, 0, :, 20:], maps[:, 1, :, 20:] = 0.3, 0.4
    strength, direction = gradient_map(maps, 2.0)
    torch.testing.assert_close(strength[0, 15].max(), torch.tensor(0.5, dtype=torch.float64), atol=0.03, rtol=0)
    torch.testing.assert_close(direction[0, 0, 15, 20].abs(), torch.tensor(1.0, dtype=torch.float64))
    lines = thin_lines(strength, direction) > 0
    assert int(lines[0].any(dim=0).sum()) == 1 and bool(lines[0, :, 19:21].any(dim=1).all())


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, 1.2])
def test_thinned_lines_are_about_a_pixel_wide_at_any_angle(angle):
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    side = ((x - 30.2) * np.cos(angle) + (y - 29.7) * np.sin(angle) > 0).float()
    strength, direction = gradient_map(side[None, None], 2.0)
    lines = thin_lines(strength, direction)[0, 10:50, 10:50] > 0.5
    length = 40 / max(np.cos(angle), np.sin(angle))
    assert 0.7 * length < int(lines.sum()) < 1.5 * length


def test_tokens_are_a_cue_where_there_are_any(generator):
    count = shape_gaussians().gaussians.count
    near = (shape_gaussians().gaussians.means[..., 2] < -0.3).float()
    tokens = near.unsqueeze(-1) * torch.ones(12) + 0.01 * torch.randn(1, count, 12, generator=generator)
    edges = edges_of(shape_gaussians(tokens), EdgeOptions(cues=("tokens",), layers=(4,)))[0]
    square = find_boundaries(shape_masks()[2].numpy(), mode="inner")
    rows, columns = (edges == edges.max()).nonzero()[0].tolist()
    assert distance_from(~square)[rows, columns] <= 2
    with pytest.raises(ValueError, match="expected Gaussians with the decoder's tokens"):
        edges_of(shape_gaussians(), EdgeOptions(cues=("tokens",)))


def test_wrong_options_are_named(no_shape_checks):
    with pytest.raises(ValueError, match="method: expected one of soft, index, got 'canny'"):
        EdgeOptions(method="canny")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="cues: expected some of layers, depth, color, tokens"):
        EdgeOptions(cues=())
    with pytest.raises(ValueError, match="layers: expected a whole number of at least 2"):
        EdgeOptions(layers=(1,))
    for sigma in (0, -1.0, float("nan"), float("inf"), 1e30, "2"):
        with pytest.raises(ValueError, match="^sigma: expected a finite number at most 1000|^sigma: .* above 0"):
            EdgeOptions(sigma=sigma)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="^change: expected a finite number above 0 and below 1, got 1.0"):
        EdgeOptions(change=1.0)
    with pytest.raises(ValueError, match="layers: expected at most"):
        edges_of(shape_gaussians(), EdgeOptions(layers=(100_000,)))
