from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scenes import random_gaussians, random_sh
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.geometry.quaternions import quaternions_to_matrices

DEGREES = range(5)


def covariances(gaussians: Gaussians) -> torch.Tensor:
    axes = quaternions_to_matrices(gaussians.quaternions) * gaussians.scales.unsqueeze(-2)
    return axes @ axes.mT


def some_turn(mirror: bool = False) -> torch.Tensor:
    turn = torch.from_numpy(Rotation.random(rng=np.random.default_rng(3)).as_matrix())
    return turn @ torch.diag(torch.tensor([1.0, -1.0 if mirror else 1.0, 1.0], dtype=torch.float64))


def test_shape_views(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2, 3), 5)
    assert gaussians.batch_shape == (2, 3) and gaussians.count == 5
    assert gaussians.reshape_batch(6).means.shape == (6, 5, 3)
    assert gaussians[1].fixed_colors().shape == (3, 5, 3)
    assert gaussians.select(slice(2)).opacities.shape == (2, 3, 2)
    assert gaussians.to(torch.float64).scales.dtype == torch.float64
    with pytest.raises(IndexError, match="without a batch dimension"):
        gaussians[0][0][0]


@pytest.mark.parametrize("degree", DEGREES)
def test_every_helper_keeps_harmonics(degree: int, generator: torch.Generator) -> None:
    gaussians = random_sh(generator, degree, (2, 3), 5)
    sh = gaussians.sh
    assert sh is not None and gaussians.degree == degree and gaussians.colors is None
    assert list(gaussians.tensors()) == ["means", "scales", "quaternions", "opacities", "sh"]
    kept = torch.tensor([True, False, True, True, False])
    for helped, expected in [
        (gaussians.map(lambda each: each * 2), sh * 2),
        (gaussians.to(torch.float64), sh.double()),
        (replace(gaussians, sh=sh.clone().requires_grad_()).detach(), sh),
        (gaussians.reshape_batch(6), sh.flatten(0, 1)),
        (gaussians[1], sh[1]),
        (gaussians[torch.tensor([1, 0])], sh.flip(0)),
        (gaussians.select(kept), sh[:, :, kept]),
    ]:
        assert helped.sh is not None and torch.equal(helped.sh, expected) and not helped.sh.requires_grad
        assert helped.colors is None and helped.sh.shape[:-2] == helped.means.shape[:-1]


def test_colours_come_before_nothing_in_the_tensors(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, channels=7)
    assert list(gaussians.tensors()) == ["means", "scales", "quaternions", "opacities", "colors"]
    assert gaussians.degree == 0 and gaussians.fixed_colors() is gaussians.colors


class TestCat:
    @pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
    def test_joined_sets_are_their_parts(self, batch: tuple[int, ...], generator: torch.Generator) -> None:
        for parts in (
            [random_gaussians(generator, batch, count) for count in (3, 1, 4)],
            [random_sh(generator, 2, batch, count) for count in (3, 0, 4)],
        ):
            joined, start = Gaussians.cat(parts), 0
            for part in parts:
                own = joined.select(slice(start, start + part.count))
                assert all(torch.equal(each, own.tensors()[name]) for name, each in part.tensors().items())
                start += part.count
            assert joined.count == start

    @pytest.mark.usefixtures("no_shape_checks")
    def test_what_does_not_join(self, generator: torch.Generator) -> None:
        one = random_gaussians(generator, (2,), 3)
        for other in (
            random_gaussians(generator, (3,), 3),
            random_gaussians(generator, (), 3),
            random_gaussians(generator, (2,), 3, channels=4),
            random_sh(generator, 0, (2,), 3),
        ):
            with pytest.raises(ValueError, match=r"parts: expected sets that differ only in K, got means"):
                Gaussians.cat([one, other])
        with pytest.raises(
            ValueError, match=r"sh \[2, 3, 1, 3\] and means \[2, 4, 3\], sh \[2, 4, 4, 3\]; with_degree"
        ):
            Gaussians.cat([random_sh(generator, 0, (2,), 3), random_sh(generator, 1, (2,), 4)])
        with pytest.raises(ValueError, match="parts: expected at least one set of Gaussians, got none"):
            Gaussians.cat([])
        with pytest.raises(TypeError, match="parts: expected a Gaussians, got int"):
            Gaussians.cat([one, 3])  # pyright: ignore[reportArgumentType]


class TestTransformed:
    @pytest.mark.parametrize("mirror", [False, True])
    @pytest.mark.parametrize("degree", DEGREES)
    def test_shapes_and_colours_go_along(self, degree: int, mirror: bool, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, degree, (2,), 6, dtype=torch.float64)
        turn, shift = some_turn(mirror), torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
        moved = gaussians.transformed(turn, shift, 1.5)
        torch.testing.assert_close(moved.means, 1.5 * gaussians.means @ turn.T + shift)
        torch.testing.assert_close(covariances(moved), 1.5**2 * turn @ covariances(gaussians) @ turn.T)
        assert torch.equal(moved.opacities, gaussians.opacities)
        directions = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(moved.colors_seen(directions @ turn.T), gaussians.colors_seen(directions))

    def test_a_quaternion_of_any_length_is_its_matrix(self, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, 2, (), 6, dtype=torch.float64)
        quaternion = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64)
        by_quaternion = gaussians.transformed(quaternion)
        by_matrix = gaussians.transformed(quaternions_to_matrices(quaternion))
        for name, each in by_quaternion.tensors().items():
            torch.testing.assert_close(each, by_matrix.tensors()[name])

    def test_one_after_the_other_is_their_product(self, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, 3, (), 6, dtype=torch.float64)
        first, second = some_turn(), some_turn(mirror=True).T
        both = gaussians.transformed(first).transformed(second)
        at_once = gaussians.transformed(second @ first)
        torch.testing.assert_close(both.means, at_once.means)
        torch.testing.assert_close(covariances(both), covariances(at_once))
        torch.testing.assert_close(both.sh, at_once.sh)

    def test_nothing_is_changed_by_nothing(self, generator: torch.Generator) -> None:
        gaussians = random_gaussians(generator)
        for same in (gaussians.transformed(), gaussians.transformed(torch.eye(3), torch.zeros(3))):
            assert all(torch.equal(each, same.tensors()[name]) for name, each in gaussians.tensors().items())

    def test_gradients_reach_the_gaussians(self, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, 2, (), 4, dtype=torch.float64).map(lambda each: each.requires_grad_())
        moved = gaussians.transformed(some_turn(), torch.ones(3), 2.0)
        for name, each in gaussians.tensors().items():
            (gradient,) = torch.autograd.grad(moved.tensors()[name].square().sum(), each)
            assert gradient.abs().sum() > 0

    @pytest.mark.usefixtures("no_shape_checks")
    def test_errors(self, generator: torch.Generator) -> None:
        gaussians = random_gaussians(generator)
        for rotation, message in [
            (
                2 * torch.eye(3),
                "rotation: expected an orthogonal matrix, got .* differs from the identity by 3; pass a uniform",
            ),
            (torch.zeros(4), "rotation: expected a quaternion, got four zeros"),
            (torch.eye(4), r"rotation: expected shape \[3, 3\] or \[4\], got \[4, 4\]"),
            (torch.full((3, 3), torch.nan), "rotation: expected finite numbers"),
        ]:
            with pytest.raises(ValueError, match=message):
                gaussians.transformed(rotation)
        for translation, message in [
            (torch.zeros(2), r"translation: expected shape \[3\], got \[2\]"),
            (torch.tensor([0, torch.inf, 0]), "translation: expected finite numbers"),
        ]:
            with pytest.raises(ValueError, match=message):
                gaussians.transformed(translation=translation)
        for scale in (0.0, -1.0, torch.nan):
            with pytest.raises(ValueError, match="scale: expected a finite number above 0"):
                gaussians.transformed(scale=scale)


class TestDegrees:
    def test_cut_off_and_filled_up(self, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, 2, (2,))
        sh = gaussians.sh
        assert sh is not None
        assert torch.equal(_sh(gaussians.with_degree(1)), sh[:, :, :4])
        longer = gaussians.with_degree(4)
        assert longer.degree == 4 and torch.equal(_sh(longer.with_degree(2)), sh)
        assert (_sh(longer)[:, :, 9:] == 0).all()
        with pytest.raises(ValueError, match="degree: expected a whole number of at least 0 and at most 4, got 5"):
            gaussians.with_degree(5)

    def test_colours_become_harmonics_that_show_them(self, generator: torch.Generator) -> None:
        gaussians = random_gaussians(generator, dtype=torch.float64)
        for degree in DEGREES:
            seen = gaussians.with_degree(degree)
            assert seen.colors is None and seen.degree == degree
            directions = torch.randn(2, 12, 3, generator=generator, dtype=torch.float64)
            torch.testing.assert_close(seen.colors_seen(directions), gaussians.fixed_colors())
        with pytest.raises(ValueError, match="gaussians: expected 3 colour channels, got 5"):
            random_gaussians(generator, channels=5).with_degree(0)


class TestColorsSeen:
    """`harmonics_basis` is compared with SciPy's in `test_harmonics.py`; here it is written out by hand."""

    def test_degree_1_by_hand(self, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, 1, (2,), 6, dtype=torch.float64)
        sh, directions = _sh(gaussians), torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
        x, y, z = (directions / directions.norm(dim=-1, keepdim=True)).unsqueeze(-1).unbind(-2)
        first = (3 / (4 * torch.pi)) ** 0.5
        wanted = C0 * sh[..., 0, :] + first * (-y * sh[..., 1, :] + z * sh[..., 2, :] - x * sh[..., 3, :]) + 0.5
        assert (wanted < 0).any()
        torch.testing.assert_close(gaussians.colors_seen(7.5 * directions), wanted.clamp_min(0))

    @pytest.mark.parametrize("degree", DEGREES)
    def test_views_of_each_set(self, degree: int, generator: torch.Generator) -> None:
        gaussians = random_sh(generator, degree, (2,), 6, dtype=torch.float64)
        directions = torch.randn(2, 4, 6, 3, generator=generator, dtype=torch.float64)
        together = gaussians.colors_seen(directions)
        for view in range(4):
            torch.testing.assert_close(together[:, view], gaussians.colors_seen(directions[:, view]))

    def test_colours_are_the_same_in_every_direction(self, generator: torch.Generator) -> None:
        gaussians = random_gaussians(generator, channels=5)
        seen = gaussians.colors_seen(torch.randn(2, 4, 12, 3, generator=generator))
        assert seen.shape == (2, 4, 12, 5) and (seen == gaussians.fixed_colors().unsqueeze(1)).all()


def test_no_colours_where_harmonics_are(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"gaussians: expected colors, .* got sh of degree 3; splatlearn.rend"):
        random_sh(generator, 3).fixed_colors()


@pytest.mark.usefixtures("no_shape_checks")
class TestErrors:
    def fields(self, degree: int | None = None) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        made = random_gaussians(generator, (2,), 4) if degree is None else random_sh(generator, degree, (2,), 4)
        return made.tensors()

    def test_shape(self) -> None:
        fields = self.fields() | {"opacities": torch.ones(2, 4, 1)}
        with pytest.raises(ValueError, match=r"opacities: expected shape \[2, 4\], got \[2, 4, 1\]"):
            Gaussians.of(fields)
        for shape, message in [
            ((2, 4, 5, 3), "sh: expected one of 1, 4, 9, 16, 25 coefficients, got 5"),
            ((2, 4, 36, 3), "sh: expected one of 1, 4, 9, 16, 25 coefficients, got 36"),
            ((2, 4, 4, 1), r"sh: expected shape \[2, 4, M, 3\], got \[2, 4, 4, 1\]"),
            ((2, 5, 4, 3), r"sh: expected shape \[2, 4, M, 3\], got \[2, 5, 4, 3\]"),
        ]:
            with pytest.raises(ValueError, match=message):
                Gaussians.of(self.fields(1) | {"sh": torch.ones(shape)})

    def test_dtype(self) -> None:
        fields = self.fields() | {"colors": torch.ones(2, 4, 3, dtype=torch.uint8)}
        with pytest.raises(TypeError, match="colors: expected a floating-point tensor, got torch.uint8"):
            Gaussians.of(fields)
        with pytest.raises(TypeError, match="sh: expected a floating-point tensor, got torch.int64"):
            Gaussians.of(self.fields(0) | {"sh": torch.ones(2, 4, 1, 3, dtype=torch.int64)})

    def test_device(self) -> None:
        fields = self.fields() | {"scales": torch.ones(2, 4, 3, device="meta")}
        with pytest.raises(ValueError, match="scales: expected a tensor on cpu like means, got one on meta"):
            Gaussians.of(fields)
        with pytest.raises(ValueError, match="sh: expected a tensor on cpu like means, got one on meta"):
            Gaussians.of(self.fields(0) | {"sh": torch.ones(2, 4, 1, 3, device="meta")})

    def test_exactly_one_of_colours_and_harmonics(self) -> None:
        with pytest.raises(ValueError, match="colors, sh: expected one of the two, got both"):
            Gaussians.of(self.fields() | self.fields(0))
        plain = self.fields()
        plain.pop("colors")
        with pytest.raises(ValueError, match="colors, sh: expected one of the two, got neither"):
            Gaussians.of(plain)

    def test_colours_are_named(self) -> None:
        with pytest.raises(TypeError):
            Gaussians(*self.fields().values())  # pyright: ignore[reportCallIssue]


def _sh(gaussians: Gaussians) -> torch.Tensor:
    assert gaussians.sh is not None
    return gaussians.sh
