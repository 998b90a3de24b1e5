"""Lenses of transforms files, in the words of nerfstudio, instant-ngp and Blender, as COLMAP's models.

All three put the centre of the first pixel at (0.5, 0.5), as COLMAP does.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from splatlearn.captures.described import LensOfSize
from splatlearn.captures.lenses import Lens
from splatlearn.captures.transforms.document import number
from splatlearn.core.errors import Malformed
from splatlearn.core.typed import shown

Values = Mapping[str, Any]

COEFFICIENTS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
LISTED = ("k1", "k2", "k3", "k4", "p1", "p2")
"""The order of nerfstudio's `distortion_params`."""
PERSPECTIVE = ("OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
PANORAMA = ("EQUIRECTANGULAR",)
LARGEST_SIDE = 2**31 - 1
DEGREE = math.pi / 180
ANGLES = {
    "x": (("camera_angle_x", 1.0), ("x_fov", DEGREE)),
    "y": (("camera_angle_y", 1.0), ("y_fov", DEGREE)),
}
"""Names of angles of view, and radians for each of their units."""
KEYS = frozenset(
    ("camera_model", "is_fisheye", "distortion_params", "w", "h", "fl_x", "fl_y", "cx", "cy", *COEFFICIENTS)
    + tuple(name for names in ANGLES.values() for name, _ in names)
)
"""All keys that say something of a lens."""


def lens_of(frame: Values, header: Values) -> Lens | LensOfSize:
    """Return the lens of a frame, or a function of the picture's size where the file does not have the size.

    Raises Malformed and InputError for numbers that no lens has.
    """
    values = ChainMap(dict(frame), dict(header))
    width, height = _side(values, "w"), _side(values, "h")
    if width is None or height is None:
        return lambda across, down: _made(frame, header, values, width or across, height or down)
    return _made(frame, header, values, width, height)


def _made(frame: Values, header: Values, values: Values, width: int, height: int) -> Lens:
    model = _model(values)
    if model in PANORAMA:
        return Lens("EQUIRECTANGULAR", width, height, (width, height))
    fx, fy = (_focal(axis, side, (frame, header)) for axis, side in (("x", width), ("y", height)))
    if fx is None and fy is None:
        raise Malformed("expected a focal length (fl_x) or an angle of view (camera_angle_x), found neither")
    fx, fy = fx if fx is not None else fy, fy if fy is not None else fx
    assert fx is not None and fy is not None
    cx, cy = number(values, "cx"), number(values, "cy")
    center = width / 2 if cx is None else cx, height / 2 if cy is None else cy
    return _distorted(model, width, height, (fx, fy, *center), values)


def _distorted(model: str, width: int, height: int, pinhole: tuple[float, ...], values: Values) -> Lens:
    k1, k2, k3, k4, k5, k6, p1, p2 = _coefficients(values)
    if model in FISHEYE:
        return Lens("OPENCV_FISHEYE", width, height, (*pinhole, k1, k2, k3, k4))
    rational = model == "FULL_OPENCV"
    if k4 and not rational:
        raise Malformed(f"k4: expected 0 for {model}, whose distortion has k1, k2, k3, p1 and p2, got {k4:g}")
    if k3 or (rational and (k4 or k5 or k6)):
        return Lens("FULL_OPENCV", width, height, (*pinhole, k1, k2, p1, p2, k3, k4, k5, k6))
    if k1 or k2 or p1 or p2:
        return Lens("OPENCV", width, height, (*pinhole, k1, k2, p1, p2))
    return Lens("PINHOLE", width, height, pinhole)


def _model(values: Values) -> str:
    """The name of the model in capitals; instant-ngp has a flag for fisheyes."""
    given = values.get("camera_model")
    if given is None:
        return "OPENCV_FISHEYE" if values.get("is_fisheye") is True else "OPENCV"
    model = given.upper() if isinstance(given, str) else ""
    known = (*PERSPECTIVE, *FISHEYE, *PANORAMA)
    if model not in known:
        raise Malformed(f"camera_model: expected one of {', '.join(known)}, got {shown(given)}")
    return model


def _focal(axis: str, side: int, places: tuple[Values, ...]) -> float | None:
    """The focal length along an axis in pixels; a frame's own, however it is given, comes before that of all."""
    for values in places:
        focal = number(values, f"fl_{axis}")
        if focal is not None:
            return focal
        for name, unit in ANGLES[axis]:
            angle = number(values, name)
            if angle is not None:
                if not 0 < angle * unit < math.pi:
                    raise Malformed(f"{name}: expected an angle of view between 0 and 180 degrees, got {angle:g}")
                return side / 2 / math.tan(angle * unit / 2)
    return None


def _side(values: Values, name: str) -> int | None:
    found = number(values, name)
    if found is None:
        return None
    if not 1 <= round(found) <= LARGEST_SIDE:
        raise Malformed(f"{name}: expected a number of pixels above 0, got {found:g}")
    return round(found)


def _coefficients(values: Values) -> list[float]:
    listed = values.get("distortion_params")
    if isinstance(listed, list):
        values = {**dict(zip(LISTED, listed, strict=False)), **values}
    return [number(values, name) or 0.0 for name in COEFFICIENTS]
