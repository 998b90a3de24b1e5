"""Picture files that installed packages carry."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from splatlearn.images.errors import DataError

DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
"""What a package is called where it is installed from."""


def installed_file(file: str) -> Path:
    """Return the path of a file of an installed package, such as "skimage/data/coffee.png".

    Raises DataError where the package does not carry it.
    """
    package, _, inside = file.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / inside
        if path.is_file():
            return path
    distribution = DISTRIBUTIONS[package]
    raise DataError(f"photos: expected {file} in the installed {distribution}, found none; reinstall {distribution}")
