import itertools

import pytest
import torch

from files.clouds import covariances, picture, psnr, random_cloud, sh_of
from splatlearn.core.geometry.frames import check_frame, frame_matrix

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
    matrix = frame_matrix("RDF", frame).double()
    moved = cloud.transformed(matrix)
    torch.testing.assert_close(covariances(moved), matrix @ covariances(cloud) @ matrix.T)
    directions = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(moved.colors_seen(directions @ matrix.T), cloud.colors_seen(directions))
    back = moved.transformed(frame_matrix(frame, "RDF"))
    torch.testing.assert_close(back.means, cloud.means)
    torch.testing.assert_close(sh_of(back), sh_of(cloud))
    torch.testing.assert_close(covariances(back), covariances(cloud))


@pytest.mark.parametrize("frame", ["RUB", "LUF", "BRU"])
def test_pictures_do_not_depend_on_the_frame(frame: str, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=40)
    moved = cloud.transformed(frame_matrix("RDF", frame))
    assert psnr(picture(cloud), picture(moved.transformed(frame_matrix(frame, "RDF")))) > 100


def test_flipped_axes_leave_the_identity_rotation_alone(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=3)
    cloud.quaternions[:] = torch.tensor([1.0, 0, 0, 0])
    for frame in ("RUB", "LUF", "RUF"):
        assert torch.equal(cloud.transformed(frame_matrix("RDF", frame)).quaternions, cloud.quaternions)


@pytest.mark.parametrize("frame", ["", "RD", "RDX", "RDU", "RRF", "rdf", "RDFB"])
def test_letters_that_name_no_frame(frame: str) -> None:
    with pytest.raises(ValueError, match=f"frame: expected the directions of x, y and z.*got '{frame}'"):
        check_frame("frame", frame)
