"""The photographs of scikit-image and scikit-learn, and their crops."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_image

from splatlearn.data import HELD_OUT_PHOTOS, Photo, photo_crops, sample_photos, split_photos
from splatlearn.data.image_sets import photos
from splatlearn.images import DataError


@pytest.fixture(scope="module")
def all_photos() -> list[Photo]:
    return sample_photos()


def test_photographs_are_those_of_their_packages(all_photos: list[Photo]):
    arrays = {photo.name: photo.array for photo in all_photos}
    assert list(arrays) == ["astronaut", "chelsea", "china", "coffee", "flower", "hubble", "retina", "rocket"]
    for name in ("astronaut", "chelsea", "coffee", "rocket", "retina"):
        np.testing.assert_array_equal(arrays[name], getattr(skimage.data, name)())
    np.testing.assert_array_equal(arrays["china"], load_sample_image("china.jpg"))


def test_photographs_are_in_colour_and_credited(all_photos: list[Photo]):
    for photo in all_photos:
        spread = photo.array.max(axis=2).astype(int) - photo.array.min(axis=2)
        assert spread.mean() > 5
        assert photo.credit.endswith(("CC0", "public domain", "CC BY 2.0"))


def test_held_out_photographs_are_free_and_not_among_the_others(all_photos: list[Photo]):
    training, held_out = split_photos(all_photos)
    assert [photo.name for photo in held_out] == list(HELD_OUT_PHOTOS) == ["chelsea", "coffee"]
    assert all(photo.credit.endswith("CC0") for photo in held_out)
    assert len(training) == 6
    assert not {photo.name for photo in training} & set(HELD_OUT_PHOTOS)


def test_crops_reach_every_pixel_and_overlap_as_asked():
    array = np.zeros((40, 100, 3), dtype=np.uint8)
    array[..., 0] = np.arange(40)[:, None] * 6
    array[..., 1] = np.arange(100) * 2
    crops = photo_crops([Photo("ramp", array, "none")], size=20, scales=(0.5,))
    # At half the shorter side a crop is 20 pixels wide, so that it is not resampled and shows where it lies.
    covered = np.zeros((40, 100), dtype=int)
    starts = set()
    for index in range(len(crops)):
        pixels = np.asarray(crops[index].image)
        top, left = int(pixels[0, 0, 0]) // 6, int(pixels[0, 0, 1]) // 2
        np.testing.assert_array_equal(pixels, array[top : top + 20, left : left + 20])
        covered[top : top + 20, left : left + 20] += 1
        starts.add((top, left))
    assert covered.min() >= 1
    assert starts == {(top, left) for top in (0, 10, 20) for left in range(0, 81, 10)}


def test_crops_of_several_scales_are_deterministic_and_named(all_photos: list[Photo]):
    first, second = (photo_crops(all_photos[:1], 16, scales=(1.0, 0.5)) for _ in range(2))
    names = [first[index].name for index in range(len(first))]
    assert names[0] == "astronaut/1/0-0" and names[-1] == "astronaut/0.5/2-2"
    assert len(set(names)) == len(names) == 10
    for index in range(len(first)):
        assert first[index].image.size == (16, 16)
        np.testing.assert_array_equal(np.asarray(first[index].image), np.asarray(second[index].image))


def test_crops_of_tiny_photographs():
    crops = photo_crops([Photo("dot", np.full((1, 3, 3), 9, np.uint8), "none")], 4, scales=(1.0, 0.1))
    assert len(crops) == 6
    assert np.asarray(crops[0].image).tolist() == [[[9, 9, 9]] * 4] * 4


def test_errors(all_photos: list[Photo], monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"^scales: expected shares .* in \(0, 1\], got \(2.0,\)"):
        photo_crops(all_photos, 8, scales=(2.0,))
    with pytest.raises(ValueError, match=r"^overlap: expected a share in \[0, 1\), got 1.0"):
        photo_crops(all_photos, 8, overlap=1.0)
    with pytest.raises(ValueError, match="^size: expected a positive number of pixels, got 0"):
        photo_crops(all_photos, 0)
    with pytest.raises(DataError, match="at least one image"):
        photo_crops([], 8)
    monkeypatch.setattr(photos, "PHOTOS", (("gone", "skimage/data/gone.png", "none"),))
    with pytest.raises(DataError, match="expected skimage/data/gone.png in the installed scikit-image, found none"):
        sample_photos()
