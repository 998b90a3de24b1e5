"""Photographs: what they decode to, what of them is held, and what happens to files that are broken."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captures.pictures import noise, pinhole, saved, smooth, view_of
from splatlearn.captures.capture import View
from splatlearn.captures.lenses import Lens
from splatlearn.captures.photographs import Photographs, preparing
from splatlearn.captures.photographs import photographs as module
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.similarity import Similarity
from splatlearn.images.errors import UnreadableImage

SIDE = 16
BYTES = 3 * SIDE * SIDE
LARGEST = 5 * SIDE * SIDE
"""Bytes that are set aside for a photograph on its way: it may have opacity and a mask."""


def one(view: View, **options: object) -> module.Photo:
    with Photographs([view], workers=1, **options) as photographs:  # pyright: ignore[reportArgumentType]
        return photographs[0]


def many(folder: Path, count: int) -> list[View]:
    paths = [saved(folder / f"{number:03}.png", noise(SIDE, SIDE, number)) for number in range(count)]
    return [view_of(path, pinhole(SIDE, SIDE)) for path in paths]


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    pixels = noise(24, 16, 1)
    photo = one(view_of(saved(tmp_path / "a.png", pixels), pinhole(24, 16)))
    assert photo.name == "a.png" and photo.mask is None and photo.pixels.dtype == torch.uint8
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert (photo.camera.width, photo.camera.height, photo.camera.fx, photo.camera.cx) == (24, 16, 24, 12)


def test_pixels_are_turned_only_where_the_view_says_so(tmp_path: Path) -> None:
    pixels, exif = smooth(24, 16), Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", pixels, exif=exif)
    np.testing.assert_array_equal(one(view_of(path, pinhole(24, 16))).pixels, pixels)
    turned = one(view_of(path, pinhole(16, 24), orientation=6))
    np.testing.assert_array_equal(turned.pixels, np.rot90(pixels, -1))


def test_scaling_by_a_whole_ratio_takes_means(tmp_path: Path) -> None:
    pixels = noise(64, 48, 2)
    photo = one(view_of(saved(tmp_path / "a.png", pixels), pinhole(64, 48)), max_size=32)
    mean = pixels.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(photo.pixels.numpy() - mean).max() <= 1.0


def test_scaling_multiplies_intrinsics_by_the_actual_ratios(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", smooth(101, 67))
    photo = one(view_of(path, Lens.pinhole(101, 67, 90.0, 91.0, 50.0, 33.0)), max_size=40)
    assert tuple(photo.pixels.shape) == (26, 40, 3)
    camera = photo.camera
    expected = (90 * 40 / 101, 91 * 26 / 67, 50 * 40 / 101, 33 * 26 / 67)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(expected)


@pytest.mark.parametrize("ratio", [2, 4, 5, 8, 2.5, 3.9])
def test_large_jpeg_files_are_decoded_small_and_stay_close_to_means(tmp_path: Path, ratio: float) -> None:
    width, height = 640, 480
    path = saved(tmp_path / "a.jpg", smooth(width, height), quality=95)
    whole = np.asarray(Image.open(path)).astype(float)
    photo = one(view_of(path, pinhole(width, height)), max_size=int(width / ratio))
    rows, columns = photo.pixels.shape[:2]
    # The integral of the pixels, read at the edges of the result's.
    total = np.pad(whole, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    down, across = np.linspace(0, height, rows + 1), np.linspace(0, width, columns + 1)
    at = np.stack([np.stack([np.interp(across, range(width + 1), line[:, c]) for line in total]) for c in range(3)], -1)
    grid = np.stack(
        [np.stack([np.interp(down, range(height + 1), at[:, x, c]) for x in range(columns + 1)], 1) for c in range(3)],
        -1,
    )
    mean = np.diff(np.diff(grid, axis=0), axis=1) / (width / columns * height / rows)
    assert np.abs(photo.pixels.numpy() - mean).mean() < 1.0


def test_opacity_is_a_fourth_channel_and_does_not_darken_edges(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 4), dtype=np.uint8)
    pixels[:, :15] = (250, 120, 60, 255)
    photo = one(view_of(saved(tmp_path / "a.png", pixels), pinhole(32, 32)), max_size=16)
    assert tuple(photo.pixels.shape) == (16, 16, 4)
    edge = photo.pixels[:, 7].int() - torch.tensor([250, 120, 60, 128])
    assert int(edge.abs().max()) <= 1, "8-bit products of colours and opacities are rounded"
    opaque = np.full((8, 8, 4), 255, dtype=np.uint8)
    assert one(view_of(saved(tmp_path / "b.png", opaque), pinhole(8, 8))).pixels.shape[-1] == 3


def test_a_masks_pixel_counts_if_all_that_it_covers_does(tmp_path: Path) -> None:
    mask = np.full((32, 32), 255, dtype=np.uint8)
    mask[:, :7] = 0
    mask[20, 20] = 90
    view = view_of(
        saved(tmp_path / "a.png", noise(32, 32, 3)), pinhole(32, 32), mask_path=saved(tmp_path / "m.png", mask)
    )
    found = one(view, max_size=16).mask
    expected = np.full((16, 16), 255)
    expected[:, :4] = 0
    expected[10, 10] = 0
    assert found is not None
    np.testing.assert_array_equal(found, expected)


def test_masks_of_other_sizes_and_with_opacity(tmp_path: Path) -> None:
    picture = saved(tmp_path / "a.png", noise(32, 16, 3))
    small = np.zeros((8, 16, 4), dtype=np.uint8)
    small[:, 4:, 3] = 255
    view = view_of(picture, pinhole(32, 16), mask_path=saved(tmp_path / "m.png", small))
    found = one(view).mask
    assert found is not None
    np.testing.assert_array_equal(found, np.repeat([[0] * 8 + [255] * 24], 16, axis=0))


def test_a_mask_is_turned_with_its_photograph(tmp_path: Path) -> None:
    mask = np.zeros((16, 24), dtype=np.uint8)
    mask[:4] = 255
    path, mask_path = saved(tmp_path / "a.png", noise(24, 16, 3)), saved(tmp_path / "m.png", mask)
    found = one(view_of(path, pinhole(16, 24), orientation=6, mask_path=mask_path)).mask
    assert found is not None
    np.testing.assert_array_equal(found, np.rot90(mask, -1))


def test_nothing_is_decoded_or_even_opened_at_first(tmp_path: Path) -> None:
    lens = Lens("OPENCV", 4000, 3000, (3000.0, 3000, 2000, 1500, -0.05, 0, 0, 0))
    views = [replace(view_of(tmp_path / "none.jpg", lens), name=f"{number}.jpg") for number in range(3500)]
    with Photographs(views, budget=10**9, cache=False) as photographs:
        assert photographs.camera(3499).width <= 1600
        assert photographs.held_bytes == 0
        with pytest.raises(UnreadableImage, match="7.jpg: unreadable image: the file does not exist"):
            photographs[7]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("held", [0, 3, 20])
def test_the_same_photographs_come_from_any_budget_which_is_kept(tmp_path: Path, workers: int, held: int) -> None:
    views = many(tmp_path, 12)
    order = np.random.default_rng(5).integers(0, 12, 60).tolist()
    budget = 2 * LARGEST + held * (BYTES + 2 * LARGEST)
    with Photographs(views, budget=budget, workers=workers) as photographs:
        for index, photo in zip(order, photographs.iterate(order), strict=True):
            np.testing.assert_array_equal(photo.pixels, noise(SIDE, SIDE, index))
            waiting = len(photographs._coming) * BYTES
            assert photographs.held_bytes + waiting <= budget


def test_what_fits_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    prepare = preparing.prepare
    monkeypatch.setattr(module, "prepare", lambda view, *rest: decoded.append(view.name) or prepare(view, *rest))
    with Photographs(many(tmp_path, 6), budget=100 * LARGEST, workers=2) as photographs:
        for _ in range(3):
            list(photographs.iterate([3, 1, 4, 0, 5, 2]))
        assert photographs.held_bytes == photographs.all_bytes == 6 * BYTES
    assert sorted(decoded) == [f"{number:03}.png" for number in range(6)]


def test_next_photographs_are_decoded_while_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = [threading.Event() for _ in range(8)]
    prepare = preparing.prepare

    def noted(view: View, *rest: object) -> object:
        started[int(view.name[:3])].set()
        return prepare(view, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(module, "prepare", noted)
    with Photographs(many(tmp_path, 8), budget=100 * LARGEST, workers=2) as photographs:
        photographs.prefetch([5, 2, 7, 1, 0])
        assert all(started[number].wait(60) for number in (5, 2, 7, 1)) and not started[0].is_set()
        photographs[5]
        assert started[0].wait(60)
        assert not started[3].is_set()


def test_broken_photographs_are_named_and_the_others_come(tmp_path: Path) -> None:
    views = many(tmp_path, 5)
    views[1].path.write_bytes(views[1].path.read_bytes()[:60])
    views[2].path.unlink()
    views[3].path.write_bytes(b"")
    saved(views[4].path, noise(SIDE, SIDE + 1, 0))
    reasons = {1: "truncated|broken", 2: "the file does not exist", 3: "the file is empty", 4: "16 x 16 .* got 16 x 17"}
    with Photographs(views, budget=100 * LARGEST) as photographs:
        photographs.prefetch(range(5))
        for index, reason in reasons.items():
            with pytest.raises(UnreadableImage, match=f"00{index}.png: .*({reason})") as raised:
                photographs[index]
            assert raised.value.name == f"00{index}.png"
        np.testing.assert_array_equal(photographs[0].pixels, noise(SIDE, SIDE, 0))
        saved(views[2].path, noise(SIDE, SIDE, 2))
        np.testing.assert_array_equal(photographs[2].pixels, noise(SIDE, SIDE, 2))


def test_a_broken_mask_is_named_with_its_photograph(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"no picture")
    view = view_of(saved(tmp_path / "a.png", noise(8, 8, 1)), pinhole(8, 8), mask_path=tmp_path / "m.png")
    with pytest.raises(UnreadableImage, match="the mask m.png of a.png: unreadable image: not an image"):
        one(view)


def test_cameras_far_from_the_origin_keep_their_precision(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[:3, 3] = -np.array([4.5e5, 5.2e6, 310.25])
    view = replace(view_of(tmp_path / "a.png", pinhole(64, 48)), world_to_camera=pose)
    frame = Similarity(0.1, translation=0.1 * pose[:3, 3])
    with Photographs([view], frame=frame, budget=10**6) as photographs:
        camera = photographs.camera(0)
    assert camera.viewmats.dtype == torch.float32
    torch.testing.assert_close(camera.viewmats, torch.eye(4))


def test_what_is_done_is_said_in_one_sentence(tmp_path: Path) -> None:
    lens = Lens("SIMPLE_RADIAL", 4000, 3000, (3000.0, 2000, 1500, -0.05))
    views = [view_of(tmp_path / "a.jpg", lens), view_of(tmp_path / "b.jpg", pinhole(640, 480))]
    with Photographs(views, budget=30_000_000, cache=False) as photographs:
        plan = photographs.camera(0)
        assert photographs.description == (
            "2 photographs of 4000 x 3000 (and 1 other size) pixels, scaled down and undistorted (SIMPLE_RADIAL) to "
            f"{plan.width} x {plan.height} (and 1 other size): 6.6 MB in memory, all of them fit into the budget of "
            "30.0 MB"
        )


def test_a_budget_for_less_than_two_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="budget: expected at least 2560 bytes.*got 2559; choose a smaller max_size"):
        Photographs(many(tmp_path, 1), budget=2 * LARGEST - 1)
