"""Farthest points, neighbours and Morton codes beside plain loops and SciPy's tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from splatlearn.core.errors import InputError
from splatlearn.core.geometry.point_groups import farthest_points, morton_codes, nearest_points


def points(generator: torch.Generator, batch: int, count: int) -> torch.Tensor:
    return torch.rand(batch, count, 3, generator=generator) * 2 - 1


def plain_farthest(cloud: np.ndarray, count: int) -> list[int]:
    chosen = [int(np.argmax((cloud**2).sum(axis=1)))]
    while len(chosen) < count:
        to_chosen = ((cloud[:, None] - cloud[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(np.argmax(to_chosen)))
    return chosen


def test_farthest_points_are_those_of_a_plain_loop(generator: torch.Generator) -> None:
    cloud = points(generator, 3, 57)
    found = farthest_points(cloud, 20)
    for each, indices in zip(cloud.double().numpy(), found, strict=True):
        assert indices.tolist() == plain_farthest(each, 20)


def test_all_points_may_be_chosen_each_once(generator: torch.Generator) -> None:
    assert farthest_points(points(generator, 2, 15), 15).sort().values.tolist() == [list(range(15))] * 2


def test_farthest_points_cover_better_than_random_ones(generator: torch.Generator) -> None:
    cloud = points(generator, 1, 500)
    far = cloud[:, farthest_points(cloud, 32)[0]]
    worst = torch.cdist(cloud, far).amin(dim=2).max()
    assert worst < 0.8 * torch.cdist(cloud, cloud[:, :32]).amin(dim=2).max()


def test_neighbours_are_those_of_a_tree(generator: torch.Generator) -> None:
    cloud, places = points(generator, 2, 200), points(generator, 2, 9)
    found = nearest_points(cloud, places, 12)
    for each, where, indices in zip(cloud, places, found, strict=True):
        assert indices.tolist() == KDTree(each.double().numpy()).query(where.double().numpy(), 12)[1].tolist()


@pytest.mark.parametrize("count", [0, 31])
def test_counts_outside_the_set_are_refused(generator: torch.Generator, count: int) -> None:
    cloud = points(generator, 1, 30)
    with pytest.raises(InputError, match=f"count: expected a number from 1 to 30, the points of a set, got {count}"):
        farthest_points(cloud, count)
    with pytest.raises(InputError, match=f"count: expected a number from 1 to 30, the points of a set, got {count}"):
        nearest_points(cloud, cloud, count)


def test_morton_codes_interleave_the_bits_of_cells(generator: torch.Generator) -> None:
    cloud = torch.cat([points(generator, 1, 50), torch.tensor([[[-1.0, -1.0, -1.0], [1.0, 2.0, -5.0]]])], dim=1)
    for (x, y, z), code in zip(cloud[0].tolist(), morton_codes(cloud)[0].tolist(), strict=True):
        cells = [min(max(int((each + 1.0) * 512), 0), 1023) for each in (x, y, z)]
        bits = zip(*(f"{each:010b}" for each in cells), strict=True)
        assert code == int("".join("".join(each) for each in bits), 2)
