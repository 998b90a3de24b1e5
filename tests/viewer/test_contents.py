"""What a page is given: numbers that survive, names of wrong arguments, and pictures of bounded size."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from models.small_models import small_gmae
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.viewer import viewed_images
from splatlearn.viewer.contents import picture_uri
from splatlearn.zero_shot import gaussians_of
from splatlearn.zero_shot.grouping import group_gaussians
from viewer.pictured import psnr, rendered, viewed


def unpacked(packed):
    return np.frombuffer(base64.b64decode(packed["gaussians"]), dtype="<f4").reshape(-1, 14)


def opened(uri):
    data = base64.b64decode(uri.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_the_numbers_are_those_of_the_gaussians(generator):
    image = viewed(generator, count=7)
    found = torch.from_numpy(unpacked(image.packed()).copy())
    parts = found.split([3, 3, 4, 3, 1], dim=1)
    for part, name in zip(parts, ("means", "scales", "quaternions", "colors", "opacities"), strict=True):
        assert torch.equal(part, getattr(image.gaussians, name).reshape(7, -1))


def test_the_pictures_are_the_input_and_the_rendering(generator):
    image = viewed(generator)
    packed = image.packed()
    torch.testing.assert_close(opened(packed["input"]), image.image, atol=0.51 / 255, rtol=0)
    torch.testing.assert_close(opened(packed["reconstruction"]), rendered(image), atol=0.51 / 255, rtol=0)
    assert packed["psnr"] == pytest.approx(psnr(rendered(image), image.image), abs=1e-4)
    assert replace(image, image=rendered(image)).packed()["psnr"] is None


def test_large_pictures_are_stored_as_jpeg():
    rows, columns = torch.meshgrid(torch.linspace(0, 9, 500), torch.linspace(0, 9, 500), indexing="ij")
    noise = 0.05 * torch.rand(3, 500, 500, generator=torch.Generator().manual_seed(0))
    large = 0.45 * torch.stack([rows.sin(), columns.cos(), (rows + columns).sin()]) + 0.5 - 0.5 * noise
    uri = picture_uri(large)
    assert uri.startswith("data:image/jpeg;base64,")
    assert psnr(opened(uri), large) > 35
    assert picture_uri(large[:, :20, :20]).startswith("data:image/png;base64,")


def test_the_pivot_is_the_mean_depth_of_what_is_seen(generator):
    gaussians = random_gaussians(generator, (), 2)
    means = torch.tensor([[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]])
    both = replace(gaussians, means=means, opacities=torch.tensor([0.999, 0.999]), scales=torch.full((2, 3), 500.0))
    near = viewed(generator, gaussians=both, camera=Camera.gmae(8, 8)).packed()["pivot"]
    assert near == pytest.approx(7.5, abs=0.01)
    unseen = replace(both, opacities=torch.full((2,), 1e-4))
    assert viewed(generator, gaussians=unseen, camera=Camera.gmae(8, 8)).packed()["pivot"] == pytest.approx(8.0)


def test_scenes_of_a_model_become_images_with_clusters_by_index(generator):
    images = torch.rand(2, 3, 16, 24, generator=generator)
    read = gaussians_of(small_gmae(), images)
    found = viewed_images(read, images, ["a", "b"], groups=3)
    assert [each.name for each in found] == ["a", "b"]
    labels = group_gaussians(read, 3)
    for k, each in enumerate(found):
        assert torch.equal(each.gaussians.means, read.gaussians.means[k])
        assert torch.equal(each.groups[read.order[k]], labels[k])
        torch.testing.assert_close(rendered(each), read.rendering.color[k].clamp(0, 1))
        assert each.background.tolist() == [1.0, 1.0, 1.0]


def test_wrong_arguments_are_named(generator, no_shape_checks):
    image = viewed(generator)
    read = gaussians_of(small_gmae(), torch.rand(1, 3, 16, 24, generator=generator))
    pixels = torch.rand(1, 3, 16, 24)
    with pytest.raises(ValueError, match="names: expected 1, one for each image, got 2"):
        viewed_images(read, pixels, ["a", "b"])
    with pytest.raises(ValueError, match="groups: expected 2 to 10 clusters, got 11"):
        viewed_images(read, pixels, ["a"], groups=11)
    with pytest.raises(ValueError, match=r"groups: expected shape \[60\] like the Gaussians, got \[3\]"):
        replace(image, groups=torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="groups: expected numbers from 0 to 9, got 0 to 10"):
        replace(image, groups=torch.arange(60) % 11)
    with pytest.raises(ValueError, match=r"image: expected shape \[3, 40, 60\], the camera's, got \[3, 5, 5\]"):
        replace(image, image=torch.zeros(3, 5, 5))
    with pytest.raises(ValueError, match=r"gaussians: expected colors of shape \[K, 3\].* got \[60, 4\]"):
        replace(image, gaussians=replace(image.gaussians, colors=torch.zeros(60, 4)))
    with pytest.raises(ValueError, match="gaussians: expected colors, .* got sh of degree 0"):
        replace(image, gaussians=image.gaussians.with_degree(0))
    with pytest.raises(ValueError, match="means: expected finite values, got 180"):
        replace(image, gaussians=replace(image.gaussians, means=torch.full((60, 3), torch.nan)))
    several = replace(image.camera, viewmats=torch.eye(4).expand(2, 4, 4))
    with pytest.raises(ValueError, match=r"camera: expected one matrix \[4, 4\], got \[2, 4, 4\]"):
        replace(image, camera=several)
