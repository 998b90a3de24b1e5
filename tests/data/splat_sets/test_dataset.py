"""Splat sets as samples: functions of epoch and index, drawn without repeats, moved with all that they have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.splat_sets.sets import splat_list
from scenes import random_sh
from splatlearn import Gaussians
from splatlearn.core.attributes import attributes_of, placed
from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.data import Drawing, PretrainingLoader, SplatAugmentation, SplatBatch, SplatDataset, UnreadableSplats
from splatlearn.data.splat_sets.samples import SplatSample
from splatlearn.images import DataError
from splatlearn.rendering import render

MOVING = SplatAugmentation("any")


def dataset(count: int = 16, drawing: Drawing | None = None, seed: int = 5) -> SplatDataset:
    return SplatDataset(splat_list(6), drawing or Drawing(count), MOVING, 4, seed)


def rows(attributes: torch.Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in attributes.tolist()]


def assert_equal(first: list[SplatBatch], second: list[SplatBatch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for name in ("sets", "noise", "labels", "indices"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(workers: int) -> None:
    alone = list(PretrainingLoader(dataset(), 3).batches(0, epochs=2))
    assert_equal(list(PretrainingLoader(dataset(), 3, workers).batches(0, epochs=2)), alone)
    assert_equal(list(PretrainingLoader(dataset(), 3, workers).batches(0, 2, 2)), alone[2:])


def test_examples_depend_on_seed_epoch_and_index_alone() -> None:
    data = dataset()
    first = data.example(3, 2)
    data.example(0, 1)
    assert np.array_equal(data.example(3, 2).sets, first.sets)
    for other in (data.example(4, 2), data.example(3, 4), dataset(seed=6).example(3, 2)):
        assert not np.array_equal(other.sets, first.sets) and not np.array_equal(other.noise, first.noise)


def test_all_gaussians_are_drawn_equally_often_and_none_twice() -> None:
    drawing, rng = Drawing(8), np.random.default_rng(0)
    counts = np.zeros(20)
    for _ in range(2000):
        found = drawing.indices(20, rng)
        assert len(set(found.tolist())) == 8
        counts[found] += 1
    # Each is hit 800 times on average, with a standard deviation of 22.
    assert np.abs(counts - 800).max() < 110


def test_a_small_set_is_taken_whole_before_any_repeats() -> None:
    found = Counter(Drawing(50).indices(20, np.random.default_rng(0)).tolist())
    assert len(found) == 20 and set(found.values()) == {2, 3}


def test_with_replacement_some_come_twice() -> None:
    found = Drawing(1024, replacement=True).indices(1024, np.random.default_rng(0))
    # 1 − 1/e of them are expected.
    assert 0.6 < len(set(found.tolist())) / 1024 < 0.66


def test_a_partial_view_is_one_side(generator: torch.Generator) -> None:
    whole = placed(splat_list(1, 400)[0].gaussians)
    found = Drawing(100, keep=0.25)(whole, np.random.default_rng(1))
    kept = {tuple(row) for row in found.means.tolist()}
    assert len(kept) == 100
    inside = torch.tensor([tuple(row) in kept for row in whole.means.tolist()])
    # A plane parts those that are kept from the others: the direction between the two middles shows it.
    normal = whole.means[inside].mean(dim=0) - whole.means[~inside].mean(dim=0)
    correlation = torch.corrcoef(torch.stack([whole.means @ normal, inside.float()]))[0, 1]
    assert correlation > 0.7


def moved_camera(camera: Camera, rotation: torch.Tensor, shift: torch.Tensor, scale: float) -> Camera:
    """The camera that sees of x → scale · R x + shift what `camera` sees of x."""
    turn = camera.viewmats[:3, :3].double() @ rotation.T
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = turn, scale * camera.viewmats[:3, 3].double() - turn @ shift
    return replace(camera, viewmats=matrix.to(camera.viewmats))


@pytest.mark.parametrize("turn", ["up", "any"])
def test_a_moved_set_looks_the_same_from_a_moved_camera(generator: torch.Generator, turn: str) -> None:
    made = random_sh(generator, 3, (), 40)
    assert made.sh is not None
    made = replace(made, sh=0.3 * made.sh, scales=0.2 * made.scales)
    rng = np.random.default_rng(4)
    numbers, scaled, shifted = rng.normal(size=4), rng.random(), rng.uniform(-1.0, 1.0, size=3)
    augmentation = SplatAugmentation(turn, (0.5, 2.0), 0.3)  # pyright: ignore[reportArgumentType]
    moved = augmentation(made, np.random.default_rng(4))
    rotation = augmentation._rotation(numbers)
    assert rotation is not None
    matrix = quaternions_to_matrices(rotation)
    scale = math.exp(math.log(0.5) + scaled * math.log(4.0))
    viewmat = torch.eye(4)
    viewmat[2, 3] = 4.0
    camera = Camera(40, 40, 40.0, 40.0, 20.0, 20.0, viewmats=viewmat)
    other = moved_camera(camera, matrix, 0.3 * torch.from_numpy(shifted), scale)
    pictures = [
        render(each.to(torch.float64), view, "white", backend="torch").color
        for each, view in ((made, camera), (moved, other))
    ]
    assert not torch.allclose(render(moved, camera, "white").color.double(), pictures[0], atol=0.05)
    torch.testing.assert_close(*pictures, atol=2e-3, rtol=0)
    if turn == "up":
        torch.testing.assert_close(matrix[1], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


def test_angles_about_the_vertical_are_uniform() -> None:
    rng = np.random.default_rng(0)
    angles = []
    for _ in range(3000):
        rotation = SplatAugmentation("up")._rotation(rng.normal(size=4))
        assert rotation is not None
        matrix = quaternions_to_matrices(rotation)
        angles.append(math.atan2(float(matrix[0, 2]), float(matrix[0, 0])))
    counts, _ = np.histogram(angles, 6, (-math.pi, math.pi))
    assert np.abs(counts - 500).max() < 100


class Broken:
    """A source of which some sets cannot be read."""

    description, class_names = "broken sets", None
    labels: Sequence[int | None] = (None,) * 4

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.good = bad, splat_list(2)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> SplatSample:
        if index in self.bad:
            raise UnreadableSplats(f"{index}.ply", "torn")
        return self.good[index]


def test_the_next_readable_set_stands_in() -> None:
    found = SplatDataset(Broken({1}), Drawing(8)).example(0, 1)
    assert found.index == 1 and found.unreadable == (("1.ply", "torn"),)
    with pytest.raises(DataError, match="data: expected readable sets in broken sets, got 4 unreadable ones in a row"):
        SplatDataset(Broken({0, 1, 2, 3}), Drawing(8)).example(0, 1)


def test_a_plain_dataset_gives_the_placed_attributes() -> None:
    source = splat_list(1)
    found = SplatDataset(source, Drawing(60)).example(0, 0)
    assert rows(torch.from_numpy(found.sets)) == rows(attributes_of(placed(source[0].gaussians)))
    assert found.label == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Drawing(0), "count: expected"),
        (lambda: Drawing(4, keep=0.0), "keep: expected a fraction above 0 and at most 1, got 0.0"),
        (lambda: SplatAugmentation(scale=(2.0, 1.0)), "scale: expected 0 < smallest ≤ largest"),
        (lambda: SplatAugmentation(shift=-1.0), "shift: expected"),
        (lambda: SplatDataset(splat_list(1), groups=0), "groups: expected"),
    ],
)
def test_numbers_out_of_range_are_named(wrong: object, message: str) -> None:
    assert callable(wrong)
    with pytest.raises(InputError, match=message):
        wrong()


def test_unusual_gaussians_keep_their_kind() -> None:
    assert isinstance(MOVING(splat_list(1)[0].gaussians, np.random.default_rng(0)), Gaussians)
