from typing import Any

import pytest
import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import InputError


def test_gmae_numbers() -> None:
    camera = Camera.gmae(200, 300)
    assert (camera.width, camera.height, camera.fx, camera.fy) == (300, 200, 150, 100)
    assert (camera.cx, camera.cy, camera.model) == (150, 100, "gmae")
    assert camera.viewmats[2, 3] == 8


def test_field_of_view() -> None:
    assert Camera.pinhole(10, 20, field_of_view=90.0).fx == pytest.approx(10)


def test_look_at_puts_the_target_on_the_axis() -> None:
    camera = Camera.look_at((3.0, -2.0, 1.0), (0.5, 0.5, 0.5), 10, 10)
    target = camera.viewmats @ torch.tensor([0.5, 0.5, 0.5, 1.0])
    assert target[:2].abs().max() < 1e-5 and target[2] > 0
    # A point above the target (smaller y) appears above it.
    above = camera.viewmats @ torch.tensor([0.5, 0.0, 0.5, 1.0])
    assert above[1] < target[1]
    rotation = camera.viewmats[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)


def test_resized_keeps_the_view() -> None:
    camera, expected = Camera.gmae(64, 64).resized(128, 32), Camera.gmae(128, 32)
    for name in ("width", "height", "fx", "fy", "cx", "cy", "model"):
        assert getattr(camera, name) == getattr(expected, name)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "round"}, "model: expected one of pinhole, orthographic, gmae, .*panorama.*, got 'round'"),
        ({"width": 0}, "width: expected a whole number of at least 1, got 0"),
        ({"fx": float("nan")}, "fx: expected a finite number above 0, got nan"),
        ({"viewmats": torch.eye(3)}, r"viewmats: expected shape \[\.\.\., 4, 4\]"),
    ],
)
def test_errors(change: dict, message: str) -> None:
    numbers = {"width": 4, "height": 4, "fx": 2.0, "fy": 2.0, "cx": 2.0, "cy": 2.0} | change
    with pytest.raises(Exception, match=message):
        Camera(**numbers)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    "make", [Camera.gmae, Camera.orthographic, Camera.pinhole, lambda h, w: Camera.gmae(4, 4).resized(h, w)]
)
@pytest.mark.parametrize(
    ("height", "width", "message"),
    [
        (1.5, 5, "height: .* got 1.5"),
        (5, 0, "width: .* got 0"),
        ("4", 4, "height: .* got '4'"),
        (4, None, "width: .* None"),
    ],
)
def test_a_size_is_two_whole_numbers(make: Any, height: Any, width: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(height, width)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eye": (0.0, 1.0)}, "eye: expected 3 coordinates, got 2"),
        ({"target": (0.0, float("nan"), 1.0)}, "target: expected a finite number, got nan"),
        ({"field_of_view": float("nan")}, "field_of_view: expected a finite number above 0 and below 180, got nan"),
        ({"field_of_view": 180}, "field_of_view: "),
        ({"width": 2.5}, "width: expected a whole number of at least 1, got 2.5"),
    ],
)
def test_a_look_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Camera.look_at(**{"eye": (1.0, 0.0, 0.0), "target": (0.0, 0.0, 0.0), "height": 4, "width": 4} | changes)


def test_vertical_line_of_sight() -> None:
    with pytest.raises(ValueError, match="line of sight that is not vertical"):
        Camera.look_at((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), 4, 4)


def test_intrinsic_matrices(generator: torch.Generator) -> None:
    K = torch.tensor([[[30.0, 0.0, 20.0], [0.0, 31.0, 15.0], [0.0, 0.0, 1.0]]]).repeat(2, 1, 1)
    K[1, 0, 0] = 50.0
    camera = Camera.from_K(K, 30, 40)
    assert camera.batch_shape == (2,) and camera.has_own_intrinsics and torch.equal(camera.K, K)
    assert torch.equal(camera[1].K, K[1])
    one = Camera.from_K(K[0], 30, 40, model="gmae")
    assert (one.fx, one.fy, one.cx, one.cy, one.model, one.batch_shape) == (30.0, 31.0, 20.0, 15.0, "gmae", ())
    assert torch.equal(camera.resized(60, 80).K[..., :2, :], 2 * K[..., :2, :])


@pytest.mark.usefixtures("no_shape_checks")
def test_intrinsics_of_other_shapes_are_refused() -> None:
    numbers: dict[str, Any] = {"width": 4, "height": 4, "fx": 2.0, "fy": 2.0, "cx": 2.0, "cy": 2.0}
    with pytest.raises(InputError, match=r"fx: expected a number or shape \[2\], .* viewmats \[2, 4, 4\], got \[3\]"):
        Camera(**{**numbers, "fx": torch.ones(3), "viewmats": torch.eye(4).expand(2, 4, 4)})
    with pytest.raises(InputError, match="fy: expected a finite number above 0, got -1.0"):
        Camera(**{**numbers, "fy": torch.tensor([1.0, -1.0]), "viewmats": torch.eye(4).expand(2, 4, 4)})
    with pytest.raises(InputError, match=r"K: expected shape \[\.\.\., 3, 3\], got \[4, 4\]"):
        Camera.from_K(torch.eye(4), 4, 4)
    with pytest.raises(InputError, match="far: expected a finite number above 0.01, got 0.001"):
        Camera(**{**numbers, "far": 0.001})
