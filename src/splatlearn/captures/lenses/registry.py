"""The supported lens models, by COLMAP's names and numbers."""

from __future__ import annotations

from splatlearn.captures.lenses.fisheye import (
    EnhancedUnified,
    Equirectangular,
    Fisheye,
    OpenCVFisheye,
    RadialFisheye,
    RadTanThinPrismFisheye,
    SimpleFisheye,
    SimpleRadialFisheye,
    ThinPrismFisheye,
)
from splatlearn.captures.lenses.models import LensModel
from splatlearn.captures.lenses.perspective import (
    Division,
    FieldOfView,
    FullOpenCV,
    OpenCV,
    Pinhole,
    Radial,
    SimpleDivision,
    SimplePinhole,
    SimpleRadial,
)
from splatlearn.core.errors import InputError

CLASSES: tuple[type[LensModel], ...] = (
    SimplePinhole,
    Pinhole,
    SimpleRadial,
    Radial,
    OpenCV,
    OpenCVFisheye,
    FullOpenCV,
    FieldOfView,
    SimpleRadialFisheye,
    RadialFisheye,
    ThinPrismFisheye,
    RadTanThinPrismFisheye,
    SimpleDivision,
    Division,
    SimpleFisheye,
    Fisheye,
    EnhancedUnified,
    Equirectangular,
)
MODELS: dict[str, LensModel] = {each.name: each() for each in CLASSES}
"""Every supported model by its name."""
NUMBERS: dict[int, LensModel] = {each.number: each for each in MODELS.values()}


def lens_model(which: str | int) -> LensModel:
    """Return a lens model, given its name in COLMAP's text files or its number in the binary ones.

    Raises InputError, which lists the supported names, for an unknown one.
    """
    found = NUMBERS.get(which) if isinstance(which, int) else MODELS.get(which)
    if found is None:
        raise InputError(f"camera model: expected one of {', '.join(MODELS)}, got {which!r}")
    return found
