import itertools

import pytest
import torch

from files.clouds import covariances, picture, psnr, random_cloud
from splatlearn.core.geometry.frames import frame_matrix

FRAMES = [
    "".join(letters)
    for order in itertools.permutations(("RL", "UD", "FB"))
    for letters in itertools.product(*order)
]  # fmt: skip


def test_known_frames() -> None:
    point = torch.tensor([1.0, 2.0, 3.0])  # right, down, front
    for frame, expected in [
        ("RDF", [1.0, 2.0, 3.0]),
        ("RUB", [1.0, -2.0, -3.0]),
        ("LUF", [-1.0, -2.0, 3.0]),
        ("RFU", [1.0, 3.0, -2.0]),
    ]:
        torch.testing.assert_close(frame_matrix("RDF", frame) @ point, torch.tensor(expected))


@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_and_back(frame: str, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=5, degree=3).to(torch.float64)
    moved = cloud.in_frame(frame)
    assert moved.frame == frame
    matrix = frame_matrix("RDF", frame).double()
    torch.testing.assert_close(covariances(moved), matrix @ covariances(cloud) @ matrix.T)
    directions = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(moved.colors(directions @ matrix.T), cloud.colors(directions))
    back = moved.in_frame("RDF")
    torch.testing.assert_close(back.means, cloud.means)
    torch.testing.assert_close(back.sh, cloud.sh)
    torch.testing.assert_close(covariances(back), covariances(cloud))


@pytest.mark.parametrize("frame", ["RUB", "LUF", "BRU"])
def test_pictures_do_not_depend_on_the_frame(frame: str, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=40)
    assert psnr(picture(cloud), picture(cloud.in_frame(frame))) > 100


def test_flipped_axes_leave_the_identity_rotation_alone(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=3)
    cloud.quaternions[:] = torch.tensor([1.0, 0, 0, 0])
    for frame in ("RUB", "LUF", "RUF"):
        assert torch.equal(cloud.in_frame(frame).quaternions, cloud.quaternions)


@pytest.mark.parametrize("frame", ["", "RD", "RDX", "RDU", "RRF", "rdf", "RDFB"])
def test_letters_that_name_no_frame(frame: str, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=f"frame: expected where x, y and z point.*got '{frame}'"):
        random_cloud(generator, count=1).in_frame(frame)
