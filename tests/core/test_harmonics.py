import numpy as np
import pytest
import scipy.special
import torch
from scipy.spatial.transform import Rotation

from splatlearn.core.geometry.harmonics import C0, coefficient_count, degree_of, harmonics_basis, rotate_harmonics


def directions(count: int = 50) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def scipy_basis(points: torch.Tensor, degree: int) -> np.ndarray:
    """Real harmonics from scipy's complex ones, which carry the Condon-Shortley phase too."""
    x, y, z = torch.nn.functional.normalize(points, dim=-1).numpy().T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    columns = []
    for band in range(degree + 1):
        for m in range(-band, band + 1):
            value = scipy.special.sph_harm_y(band, abs(m), polar, azimuth)
            part = value.real if m >= 0 else value.imag
            columns.append(part * (1 if m == 0 else np.sqrt(2)))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("degree", range(5))
def test_agrees_with_scipy(degree: int) -> None:
    points = directions()
    torch.testing.assert_close(harmonics_basis(points, degree), torch.from_numpy(scipy_basis(points, degree)))


def test_signs_and_order_of_the_first_degrees() -> None:
    x, y, z = 0.6, 0.0, 0.8
    basis = harmonics_basis(torch.tensor([[x, y, z]]), 2)[0]
    first, second = 0.4886025, 1.0925484
    expected = [C0, -first * y, first * z, -first * x, 0.0, 0.0, 0.3153916 * (2 * z * z - x * x), -second * x * z]
    torch.testing.assert_close(basis[:8], torch.tensor(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(basis[8], torch.tensor(0.5462742 * x * x), atol=1e-6, rtol=0)


def test_length_does_not_matter() -> None:
    points = directions()
    torch.testing.assert_close(harmonics_basis(points * 7.5, 3), harmonics_basis(points, 3))


@pytest.mark.parametrize("mirror", [False, True])
def test_rotated_coefficients_give_the_same_colours_in_turned_directions(mirror: bool) -> None:
    matrix = torch.from_numpy(Rotation.random(rng=np.random.default_rng(3)).as_matrix())
    if mirror:
        matrix = matrix @ torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    harmonics = torch.randn(4, 25, 3, generator=generator, dtype=torch.float64)
    turned = rotate_harmonics(harmonics, matrix, 4)
    points = directions()
    before = torch.einsum("nm,kmc->nkc", harmonics_basis(points, 4), harmonics)
    after = torch.einsum("nm,kmc->nkc", harmonics_basis(points @ matrix.T, 4), turned)
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)


def test_flipped_axes_change_signs_and_no_digit() -> None:
    harmonics = torch.randn(2, 3, 25, 3, generator=torch.Generator().manual_seed(0))
    harmonics[0, 0, 5] = 0.0
    turned = rotate_harmonics(harmonics, torch.diag(torch.tensor([1.0, -1.0, -1.0])), 4)
    assert torch.equal(turned.abs(), harmonics.abs()) and not torch.equal(turned, harmonics)


def test_counts() -> None:
    assert [degree_of(count) for count in (0, 1, 2, 4, 9, 16, 25, 36)] == [None, 0, None, 1, 2, 3, 4, None]
    assert [coefficient_count(degree) for degree in range(5)] == [1, 4, 9, 16, 25]


def test_errors() -> None:
    with pytest.raises(ValueError, match="degree: expected 0 to 4, got 5"):
        harmonics_basis(directions(), 5)
