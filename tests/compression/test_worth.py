"""How much pictures change with each number, against derivatives of every pixel."""

import dataclasses

import pytest
import torch

from files.clouds import random_cloud
from splatlearn.compression import sensitivities
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.rendering import render


def test_the_mean_over_signs_is_the_diagonal(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 3, 1)
    camera = Camera.look_at((1.5, -1.2, -3.5), (0.0, 0.0, 0.0), 10, 12, 50.0)
    # A camera that comes again has other signs.
    found = sensitivities(cloud, [camera] * 200)
    # Numbers that move one kind of the Gaussian's at a time: coordinates, logarithms, angles, opacities, coefficients.
    moves = [torch.zeros(3, width, dtype=torch.float64) for width in (3, 3, 3, 1, 12)]

    def picture(*moves: torch.Tensor) -> torch.Tensor:
        places, logs, angles, opacities, sh = moves
        exact = cloud.to(torch.float64)
        # For small angles the turn is the last factor, about the Gaussian's own axes.
        half = torch.cat([torch.ones_like(angles[:, :1]), angles / 2], dim=1)
        w, x, y, z = exact.quaternions.unbind(1)
        rows = torch.stack(
            [torch.stack(row, 1) for row in ([w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w])], 1
        )
        assert exact.sh is not None
        moved = Gaussians(
            exact.means + places,
            exact.scales * logs.exp(),
            (rows @ half[:, :, None])[:, :, 0],
            exact.opacities + opacities[:, 0],
            sh=exact.sh + sh.view(3, 4, 3),
        )
        return render(moved, camera, "black", backend="torch").color

    slopes = torch.autograd.functional.jacobian(picture, tuple(moves))
    for field, each in zip(dataclasses.fields(found), slopes, strict=True):
        wanted = each.square().mean(dim=(0, 1, 2)).mean(dim=1)
        values = torch.from_numpy(getattr(found, field.name))
        assert torch.allclose(values, wanted, rtol=0.35), field.name


def test_turns_keep_the_matrix_of_the_gaussian() -> None:
    # The rows above are those of a product of quaternions.
    first, second = torch.nn.functional.normalize(torch.randn(2, 4, dtype=torch.float64), dim=1)
    w, x, y, z = first
    rows = torch.stack([torch.stack(row) for row in ([w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w])])
    one, two = quaternions_to_matrices(first), quaternions_to_matrices(second)
    torch.testing.assert_close(quaternions_to_matrices(rows @ second), one @ two)


def test_without_cameras(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="cameras: expected at least one, got none"):
        sensitivities(random_cloud(generator, 3, 0), [])
