"""Which Gaussians are kept."""

import pytest
import torch

from files.clouds import random_cloud
from splatlearn.files.selection import Selection


def test_every_condition_must_hold(generator: torch.Generator) -> None:
    cloud = random_cloud(generator)
    assert bool(Selection().kept(cloud).all())
    box = (-0.5, -1.0, 0.0, 0.5, 0.25, 1.0)
    kept = Selection(box, 0.4, 0.1).kept(cloud)
    for row in range(cloud.count):
        place, scales = cloud.means[row].tolist(), cloud.scales[row].tolist()
        inside = all(box[axis] <= place[axis] <= box[axis + 3] for axis in range(3))
        assert bool(kept[row]) == (inside and float(cloud.opacities[row]) >= 0.4 and max(scales) <= 0.1)
    assert 0 < int(kept.sum()) < 50
    elsewhere = Selection(box).kept(cloud, cloud.means + 10)
    assert not bool(elsewhere.any())


def test_the_borders_belong_to_the_box(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 3)
    edges = tuple(cloud.means.amin(0).tolist() + cloud.means.amax(0).tolist())
    assert bool(Selection(edges).kept(cloud).all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": (0.0, 0.0, 1.0, 1.0, 1.0, 0.0)}, "crop: expected x0 y0 z0 x1 y1 z1 with x0 ≤ x1"),
        ({"crop": (0.0, 0.0, 0.0)}, "crop: expected x0 y0 z0 x1 y1 z1"),
        ({"min_opacity": 1.5}, "min_opacity: expected a finite number of at least 0 and at most 1, got 1.5"),
        ({"max_scale": 0.0}, "max_scale: expected a finite number above 0, got 0.0"),
    ],
)
def test_conditions_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Selection(**arguments)
