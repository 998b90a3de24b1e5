import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.gaussians import Gaussians, quaternions_to_matrices


def test_matrices_are_rotations(generator: torch.Generator) -> None:
    matrices = quaternions_to_matrices(torch.randn(20, 4, generator=generator, dtype=torch.float64) * 3)
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(20, dtype=torch.float64))


def test_opposite_quaternions_are_the_same_rotation(generator: torch.Generator) -> None:
    quaternions = torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(quaternions_to_matrices(quaternions), quaternions_to_matrices(-quaternions))


def test_a_zero_quaternion_gives_no_nan() -> None:
    zero = torch.zeros(1, 4, requires_grad=True)
    matrix = quaternions_to_matrices(zero)
    matrix.sum().backward()
    assert (matrix == 0).all() and zero.grad is not None and torch.isfinite(zero.grad).all()


def test_shape_views(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2, 3), 5)
    assert gaussians.batch_shape == (2, 3) and gaussians.count == 5
    assert gaussians.reshape_batch(6).means.shape == (6, 5, 3)
    assert gaussians[1].colors.shape == (3, 5, 3)
    assert gaussians.select(slice(2)).opacities.shape == (2, 3, 2)
    assert gaussians.to(torch.float64).scales.dtype == torch.float64
    with pytest.raises(IndexError, match="without a batch dimension"):
        gaussians[0][0][0]


@pytest.mark.usefixtures("no_shape_checks")
class TestErrors:
    def fields(self) -> dict[str, torch.Tensor]:
        return dict(vars(random_gaussians(torch.Generator().manual_seed(0), (2,), 4)))

    def test_shape(self) -> None:
        fields = self.fields() | {"opacities": torch.ones(2, 4, 1)}
        with pytest.raises(ValueError, match=r"opacities: expected shape \[2, 4\], got \[2, 4, 1\]"):
            Gaussians(**fields)

    def test_dtype(self) -> None:
        fields = self.fields() | {"colors": torch.ones(2, 4, 3, dtype=torch.uint8)}
        with pytest.raises(TypeError, match="colors: expected a floating-point tensor, got torch.uint8"):
            Gaussians(**fields)

    def test_device(self) -> None:
        fields = self.fields() | {"scales": torch.ones(2, 4, 3, device="meta")}
        with pytest.raises(ValueError, match="scales: expected a tensor on cpu like means, got one on meta"):
            Gaussians(**fields)
