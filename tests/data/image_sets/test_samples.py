"""Images in memory."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from data.pictures import array
from splatlearn.data import ImageList, ImageSource
from splatlearn.images import DataError


def test_arrays_and_pictures_come_back_with_names_and_labels():
    images = ImageList([array(0), Image.fromarray(array(1)).convert("L")], ["a", "b"], [1, 0], ["x", "y"])
    assert isinstance(images, ImageSource)
    assert len(images) == 2
    assert (images[0].name, images[0].label, images[1].label) == ("a", 1, 0)
    np.testing.assert_array_equal(np.asarray(images[0].image), array(0))
    assert images[1].image.mode == "RGB"
    assert images.class_names == ["x", "y"]
    assert images.description == "2 images in memory"


def test_labels_are_optional():
    assert ImageList([array(0)], ["a"])[0].label is None


def test_errors_name_the_argument():
    with pytest.raises(DataError, match="^images: expected at least one image"):
        ImageList([], [])
    with pytest.raises(DataError, match="^names: expected one for each of 1 images, got 2"):
        ImageList([array(0)], ["a", "b"])
    with pytest.raises(DataError, match="^labels: expected one for each of 1 images, got 0"):
        ImageList([array(0)], ["a"], [])
    with pytest.raises(DataError, match=r"^images: expected uint8 arrays \[H, W, 3\], got float32 \[2, 2, 3\] for 'a'"):
        ImageList([np.zeros((2, 2, 3), np.float32)], ["a"])
