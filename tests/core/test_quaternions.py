import torch

from splatlearn.core.geometry.quaternions import (
    matrices_to_quaternions,
    multiply_quaternion,
    quaternions_to_matrices,
    unit_quaternion_arrays,
    unit_quaternions,
)


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


def test_matrices_to_quaternions_is_the_inverse(generator: torch.Generator) -> None:
    matrices = quaternions_to_matrices(torch.randn(2, 7, 4, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(quaternions_to_matrices(matrices_to_quaternions(matrices)), matrices)


def test_a_product_is_one_rotation_after_the_other(generator: torch.Generator) -> None:
    quaternions = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    left = unit_quaternions(torch.randn(4, generator=generator, dtype=torch.float64))
    both = quaternions_to_matrices(multiply_quaternion(left, quaternions))
    torch.testing.assert_close(both, quaternions_to_matrices(left) @ quaternions_to_matrices(quaternions))


def test_lengths(generator: torch.Generator) -> None:
    quaternions = torch.randn(5, 4, generator=generator)
    arrays = torch.from_numpy(unit_quaternion_arrays(quaternions.numpy()))
    torch.testing.assert_close(unit_quaternions(quaternions), arrays)
    assert unit_quaternions(torch.zeros(4)).tolist() == [1, 0, 0, 0]
    assert unit_quaternion_arrays(torch.zeros(1, 4).numpy()).tolist() == [[1, 0, 0, 0]]
    assert unit_quaternion_arrays(torch.full((1, 4), 1e30).numpy()).tolist() == [[0.5, 0.5, 0.5, 0.5]]
