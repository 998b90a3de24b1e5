"""Real scenes beside the checkout: they read, agree with one another, and render."""

from pathlib import Path

import pytest
import torch

from files.clouds import covariances, psnr
from splatlearn.camera import Camera
from splatlearn.files import SplatCloud, read_splats
from splatlearn.render import render

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "scenes3d" / "gaussians"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no shared data beside the checkout")

SCENES = {
    "guitar.ply": (90_854, 0, (0.1, -2.0, -7.0), (0.1, -2.0, 0.2)),
    "guitar.compressed.ply": (90_854, 0, (0.1, -2.0, -7.0), (0.1, -2.0, 0.2)),
    "biker.compressed.ply": (152_746, 0, (-0.1, -1.6, -6.0), (-0.1, -1.6, 0.0)),
    "biker.spz": (152_746, 0, (-0.1, -1.6, -6.0), (-0.1, -1.6, 0.0)),
    "playbot/playbot_8k.ply": (8_406, 2, (1.5, -1.2, -2.2), (0.0, -0.4, 0.0)),
    "playbot/sog_8k": (8_406, 2, (1.5, -1.2, -2.2), (0.0, -0.4, 0.0)),
    "playbot/sog_31k": (31_000, 2, (1.5, -1.2, -2.2), (0.0, -0.4, 0.0)),
}


def show(name: str, cloud: SplatCloud) -> torch.Tensor:
    _, _, eye, target = SCENES[name]
    camera = Camera.look_at(eye, target, 96, 96, 42.0)
    return render(cloud.gaussians(camera), camera).color


@pytest.mark.parametrize("name", SCENES)
def test_it_reads_and_shows_its_object_in_the_middle(name: str) -> None:
    count, degree, _, _ = SCENES[name]
    cloud = read_splats(SAMPLES / name)
    assert (cloud.count, cloud.degree, cloud.frame) == (count, degree, "RDF")
    ink = 1 - show(name, cloud).mean(0)
    assert ink[36:60, 36:60].mean() > 0.1 and ink[:8].mean() < 0.1


@pytest.mark.parametrize(
    ("first", "second", "lowest"),
    [
        # Decoded from the file beside it: equal to rounding.
        ("guitar.ply", "guitar.compressed.ply", 100),
        ("playbot/playbot_8k.ply", "playbot/sog_8k", 100),
        # Quantised twice: 8-bit logarithms of scales against 11 bits.
        ("biker.compressed.ply", "biker.spz", 50),
    ],
)
def test_the_same_scene_in_two_formats(first: str, second: str, lowest: float) -> None:
    one, two = read_splats(SAMPLES / first), read_splats(SAMPLES / second)
    assert (one.means - two.means).abs().max() < 2e-4
    assert (one.opacities - two.opacities).abs().max() < 1e-5
    spread = covariances(one) - covariances(two)
    assert spread.flatten(1).norm(dim=1).median() < 0.05 * covariances(one).flatten(1).norm(dim=1).median()
    assert psnr(show(first, one), show(first, two)) > lowest


def test_colours_of_degree_2_depend_on_the_view() -> None:
    name = "playbot/playbot_8k.ply"
    cloud = read_splats(SAMPLES / name)
    assert psnr(show(name, cloud), show(name, cloud.with_degree(0))) < 30
    assert psnr(show(name, cloud), show(name, cloud.with_degree(4))) > 100
