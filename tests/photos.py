"""Image files of noise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def noise_photos(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Path:
    """Write an image of each name and (height, width) into a new folder, and return the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in sizes.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    return folder
