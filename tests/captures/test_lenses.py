"""Lenses against COLMAP's own projection, their inverse, their scale and their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.colmap_process import ask_pycolmap, needs_pycolmap
from splatlearn.captures.lenses import MODELS, Lens, lens_model
from splatlearn.core.errors import InputError

DISTORTIONS: dict[str, tuple[float, ...]] = {
    "SIMPLE_RADIAL": (0.05,),
    "RADIAL": (-0.1, 0.02),
    "OPENCV": (-0.1, 0.03, 0.002, -0.003),
    "FULL_OPENCV": (-0.1, 0.03, 0.002, -0.003, 0.01, 0.02, -0.01, 0.005),
    "FOV": (0.9,),
    "SIMPLE_DIVISION": (-0.1,),
    "DIVISION": (-0.15,),
    "OPENCV_FISHEYE": (-0.03, 0.01, -0.004, 0.001),
    "SIMPLE_RADIAL_FISHEYE": (-0.02,),
    "RADIAL_FISHEYE": (-0.03, 0.004),
    "THIN_PRISM_FISHEYE": (-0.03, 0.01, 0.001, -0.002, -0.004, 0.001, 0.003, -0.002),
    "RAD_TAN_THIN_PRISM_FISHEYE": (-0.03, 0.01, -0.004, 0.001, 3e-4, -1e-4, 0.001, -0.002, 0.003, -0.001, 0.002, 5e-4),
    "EUCM": (0.6, 1.1),
}
ALL = sorted(MODELS)
ORDINARY = [name for name in ALL if name != "EQUIRECTANGULAR"]


def lens_of(name: str) -> Lens:
    if name == "EQUIRECTANGULAR":
        return Lens(name, 640, 320, (640, 320))
    focal = (300.0, 310.0)[: lens_model(name).focal_lengths]
    return Lens(name, 640, 480, (*focal, 322.0, 238.0, *DISTORTIONS.get(name, ())))


def directions(count: int = 400) -> np.ndarray:
    """Points all around the camera, some of them close to its axis."""
    points = np.random.default_rng(7).normal(size=(count, 3))
    points[:5, :2] *= 1e-9
    points[5:10, :2] *= 1e-4
    return points


ASK = """
for name in [str(each) for each in given["names"]]:
    width, height, *params = given[name]
    camera = pycolmap.Camera(model=name, width=int(width), height=int(height), params=params)
    pixels = [camera.img_from_cam(point) for point in given["points"]]
    answer[name] = np.array([(np.nan, np.nan) if pixel is None else pixel for pixel in pixels])
    rays = np.array([camera.cam_ray_from_img(pixel) for pixel in given["pixels"] * (width, height)])
    answer[name + "_rays"] = rays / np.linalg.norm(rays, axis=1, keepdims=True)
answer["numbers"] = np.array([int(pycolmap.CameraModelId.__members__[str(name)]) for name in given["names"]])
answer["all"] = np.array([name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"])
"""


@pytest.fixture(scope="module")
def colmap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    arrays = {name: np.array([lens_of(name).width, lens_of(name).height, *lens_of(name).params]) for name in ALL}
    pixels = np.random.default_rng(8).uniform(size=(200, 2))
    folder = tmp_path_factory.mktemp("lenses")
    asked = {"names": np.array(ALL), "points": directions(), "pixels": pixels, **arrays}
    return ask_pycolmap(ASK, folder, **asked) | {"pixels": pixels}


@needs_pycolmap
@pytest.mark.parametrize("name", ALL)
def test_pixels_and_directions_are_those_of_colmap(name: str, colmap: dict[str, np.ndarray]) -> None:
    lens = lens_of(name)
    ours, theirs = lens.project(directions()), colmap[name]
    both = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    assert both.sum() > 150
    np.testing.assert_allclose(ours[both], theirs[both], rtol=1e-11, atol=1e-9)
    rays = lens.unproject(colmap["pixels"] * (lens.width, lens.height))
    np.testing.assert_allclose(rays, colmap[name + "_rays"], atol=1e-9)


@needs_pycolmap
def test_every_model_of_colmap_has_its_number(colmap: dict[str, np.ndarray]) -> None:
    assert set(colmap["all"]) == set(ALL)
    assert [lens_model(name).number for name in ALL] == colmap["numbers"].tolist()


@pytest.mark.parametrize("name", ALL)
def test_unproject_inverts_project_where_the_lens_sees(name: str) -> None:
    lens, points = lens_of(name), directions(3000)
    seen = points[lens.sees(points)]
    assert len(seen) > 300
    back = lens.unproject(lens.project(seen))
    np.testing.assert_allclose(back, seen / np.linalg.norm(seen, axis=1, keepdims=True), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_directions_project_to_the_pixels_they_came_from_or_are_nan(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(ORDINARY))
    count = len(lens_model(name).parameters) - lens_model(name).focal_lengths - 2
    further = data.draw(st.lists(st.floats(-1.5, 1.5), min_size=count, max_size=count))
    lens = Lens(name, 640, 480, (*lens_of(name).params[: lens_model(name).focal_lengths + 2], *further))
    pixels = np.stack(np.meshgrid(np.linspace(0, 640, 9), np.linspace(0, 480, 9)), axis=-1)
    rays = lens.unproject(pixels)
    found = np.isfinite(rays).all(axis=-1)
    np.testing.assert_allclose(lens.project(rays[found]), pixels[found], rtol=1e-6, atol=1e-6)


def test_eucm_with_zeros_is_a_pinhole() -> None:
    pinhole = (300.0, 310.0, 320.0, 240.0)
    lens, twin = Lens("EUCM", 640, 480, (*pinhole, 0.0, 0.0)), Lens("PINHOLE", 640, 480, pinhole)
    pixels = np.stack(np.meshgrid(np.linspace(0, 640, 9), np.linspace(0, 480, 9)), axis=-1)
    np.testing.assert_allclose(lens.unproject(pixels), twin.unproject(pixels), atol=1e-9)


def test_points_beyond_the_fold_of_a_polynomial_are_not_seen() -> None:
    """With k = −0.5, radii grow up to sqrt(2 / 3); a point beyond falls back into the picture."""
    lens = Lens("SIMPLE_RADIAL", 600, 600, (300.0, 300.0, 300.0, -0.5))
    assert lens.reach.radius == pytest.approx(np.sqrt(2 / 3), abs=1e-3)
    folded = np.array([1.2, 0.0, 1.0])
    assert (np.abs(lens.project(folded) - 300) < 300).all() and not lens.sees(folded)
    assert lens.sees(np.array([0.7, 0.0, 1.0]))
    assert np.isnan(lens.unproject(np.array([590.0, 300.0]))).all(), (
        "no direction has a pixel beyond the largest radius"
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(320, 240), (320, 241), (1601, 1203)])
def test_scaling_multiplies_pixels_by_the_ratio_of_each_axis(name: str, size: tuple[int, int]) -> None:
    lens, points = lens_of(name), directions()
    scaled = lens.scaled(*size)
    assert (scaled.width, scaled.height) == size
    expected = lens.project(points) * (size[0] / lens.width, size[1] / lens.height)
    np.testing.assert_allclose(scaled.project(points), expected, rtol=1e-12, atol=1e-9)


def test_lenses_without_distortion_are_pinholes() -> None:
    flat = {name for name in ALL if lens_of(name).is_pinhole}
    assert flat == {"SIMPLE_PINHOLE", "PINHOLE"}
    assert Lens("OPENCV", 64, 48, (50, 51, 32, 24, 0, 0, 0, 0)).is_pinhole
    assert not Lens("OPENCV_FISHEYE", 64, 48, (50, 51, 32, 24, 0, 0, 0, 0)).is_pinhole


def test_intrinsics_by_name() -> None:
    simple, general = lens_of("SIMPLE_RADIAL"), lens_of("OPENCV")
    assert (simple.fx, simple.fy, simple.cx, simple.cy) == (300, 300, 322, 238)
    assert (general.fx, general.fy, general.cx, general.cy) == (300, 310, 322, 238)


@pytest.mark.parametrize(
    ("model", "size", "params", "message"),
    [
        ("SPHERE", (6, 4), (1, 2, 3), "camera model: expected one of SIMPLE_PINHOLE.*got 'SPHERE'"),
        ("PINHOLE", (6, 4), (1, 2, 3), "params: expected the 4 parameters fx, fy, cx, cy of PINHOLE, got 3 numbers"),
        ("PINHOLE", (6, 4), (1, 2, 3, float("nan")), "params: expected a finite number for cy of PINHOLE, got nan"),
        ("PINHOLE", (6, 4), (1, 0, 3, 2), "params: expected fy > 0 for PINHOLE, got 0"),
        ("PINHOLE", (0, 4), (1, 1, 3, 2), "width: expected a whole number of at least 1, got 0"),
    ],
)
def test_what_is_no_lens_is_said(model: str, size: tuple[int, int], params: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Lens(model, *size, params)


def test_coordinates_of_another_shape_are_said() -> None:
    with pytest.raises(InputError, match=r"points: expected shape \[\.\.\., 3\], got \[5, 2\]"):
        lens_of("OPENCV").project(np.zeros((5, 2)))
    assert lens_of("OPENCV").project(np.array([0, 0, 2])).tolist() == [322, 238]
