"""The container of 3D Gaussians, and of other primitives that are Gaussians with further numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.checks import check_floating, check_same_device, check_shape, sees_values
from splatlearn.core.errors import InputError
from splatlearn.core.geometry.frames import turn_quaternions, turned_axes
from splatlearn.core.geometry.harmonics import (
    C0,
    MAX_DEGREE,
    coefficient_count,
    degree_of,
    harmonics_basis,
    rotate_harmonics,
)
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.core.kinds import check_kind
from splatlearn.core.numbers import check_number, check_whole

ORTHOGONAL = 1e-4
"""Largest entry of R Rᵀ − 1 in a matrix R that counts as orthogonal."""
SEEN = ("means", "colors", "sh", "shapes")
"""What a message says of Gaussians."""
GAUSSIAN = "gaussian"
"""The primitive that is drawn unless another one is named."""
SURFEL = "surfel"
"""The primitive that is a flat disc, in the plane of a Gaussian's first two axes."""
CONVEX, CONVEX_NUMBERS = "convex", 2
"""The primitive that is the hull of points, and the place in `shapes` from which on these are, along the axes of the
Gaussian and in its scales, three numbers each."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A batch of sets of K 3D Gaussians, with any leading batch shape *B and with either `colors` or `sh`.

    - `means` [*B, K, 3]: centres in world units.
    - `scales` [*B, K, 3]: standard deviations along the axes of the Gaussian, in world units, > 0.
    - `quaternions` [*B, K, 4]: rotations, w first; normalised where they are used.
    - `opacities` [*B, K]: in (0, 1).
    - `colors` [*B, K, C]: colours in [0, 1], or any other C features, which are the same in every view.
    - `sh` [*B, K, M, 3]: coefficients of spherical harmonics for red, green and blue, M = (degree + 1)² for degrees 0
      to 4. The colour in a direction of view is max(0, SH + ½) (Kerbl et al. 2023).
    - `primitive`: the name of what each of them is drawn as; see `splatlearn.rendering.register_primitive`. Whatever
      copies, joins, moves or stores Gaussians keeps it.
    - `shapes` [*B, K, S]: the further numbers of a primitive that has some, such as an exponent. They have no unit, and
      directions along the Gaussian's own axes alone, so that they move with it.

    All but the first four are given by keyword. Raises InputError unless exactly one of `colors` and `sh` is given, for
    `shapes` of plain Gaussians, and for shapes or devices that disagree; TypeError for tensors that are not
    floating-point.
    """

    means: Float[Tensor, "*B K 3"]
    scales: Float[Tensor, "*B K 3"]
    quaternions: Float[Tensor, "*B K 4"]
    opacities: Float[Tensor, "*B K"]
    colors: Float[Tensor, "*B K C"] | None = field(default=None, kw_only=True)
    sh: Float[Tensor, "*B K M 3"] | None = field(default=None, kw_only=True)
    shapes: Float[Tensor, "*B K S"] | None = field(default=None, kw_only=True)
    primitive: str = field(default=GAUSSIAN, kw_only=True)

    def __post_init__(self) -> None:
        if (self.colors is None) == (self.sh is None):
            got = "neither" if self.sh is None else "both"
            raise InputError(f"colors, sh: expected one of the two, got {got}")
        if self.primitive == GAUSSIAN and self.shapes is not None:
            raise InputError(
                "shapes: expected none for the primitive 'gaussian'; name the primitive that they belong to"
            )
        tensors = self.tensors()
        for name, value in tensors.items():
            check_floating(name, value)
        if self.means.ndim < 2:
            raise InputError(f"means: expected shape [..., K, 3], got {list(self.means.shape)}")
        leading = tuple(self.means.shape[:-1])
        check_shape("means", self.means, (3,), leading)
        check_shape("scales", self.scales, (3,), leading)
        check_shape("quaternions", self.quaternions, (4,), leading)
        check_shape("opacities", self.opacities, (), leading)
        if self.colors is not None:
            check_shape("colors", self.colors, ("C",), leading)
        if self.sh is not None:
            check_shape("sh", self.sh, ("M", 3), leading)
            if degree_of(self.sh.shape[-2]) is None:
                counts = ", ".join(str(coefficient_count(degree)) for degree in range(MAX_DEGREE + 1))
                raise InputError(f"sh: expected one of {counts} coefficients, got {self.sh.shape[-2]}")
        if self.shapes is not None:
            check_shape("shapes", self.shapes, ("S",), leading)
        check_same_device("means", tensors.pop("means"), **tensors)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without those of `colors`, `sh` and `shapes` that are None."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name != "primitive")
        return {name: value for name, value in values if value is not None}

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading batch shape *B."""
        return tuple(self.means.shape[:-2])

    @property
    def count(self) -> int:
        """K, the number of Gaussians in each set."""
        return self.means.shape[-2]

    @property
    def degree(self) -> int:
        """The degree of `sh`; 0 for `colors`."""
        degree = 0 if self.sh is None else degree_of(self.sh.shape[-2])
        assert degree is not None
        return degree

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], primitive: str = GAUSSIAN) -> Gaussians:
        """Make Gaussians of tensors by their names, which are those of `tensors()`."""
        return cls(**tensors, primitive=primitive)

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """Apply a function to every tensor; all results must agree in their leading shape."""
        return replace(self, **{name: function(tensor) for name, tensor in self.tensors().items()})

    def to(self, target: torch.device | str | torch.dtype) -> Gaussians:
        """Move to a device or convert to a dtype."""
        return self.map(lambda tensor: tensor.to(target))

    def detach(self) -> Gaussians:
        """Cut from the autograd graph."""
        return self.map(lambda tensor: tensor.detach())

    def reshape_batch(self, *shape: int) -> Gaussians:
        """Give the leading batch dimensions another shape of the same size."""
        kept = len(self.batch_shape)
        return self.map(lambda tensor: tensor.reshape(*shape, *tensor.shape[kept:]))

    def __getitem__(self, index: int | slice | Tensor) -> Gaussians:
        """Index the leading batch dimension."""
        if not self.batch_shape:
            raise IndexError("Gaussians without a batch dimension cannot be indexed; use select() for single Gaussians")
        return self.map(lambda tensor: tensor[index])

    def select(self, index: slice | Tensor) -> Gaussians:
        """Keep the Gaussians that a slice, an index list or a boolean list [K] names, in all sets alike."""
        kept = len(self.batch_shape)
        return self.map(lambda tensor: tensor[(slice(None),) * kept + (index,)])

    @classmethod
    def cat(cls, parts: Sequence[Gaussians]) -> Gaussians:
        """Join sets of the same batch shape along K, the Gaussians of each part one after the other.

        Raises InputError for no parts, other batch shapes, other primitives, and parts that do not all have `colors` of
        the same number of channels or `sh` of the same degree.
        """
        check_kind("parts", parts, Sequence)
        if not parts:
            raise InputError("parts: expected at least one set of Gaussians, got none")
        for part in parts:
            check_kind("parts", part, cls)
        axis = len(parts[0].batch_shape)
        primitives = [*dict.fromkeys(part.primitive for part in parts)]
        if len(primitives) > 1:
            raise InputError(
                f"parts: expected sets of one primitive, got {' and '.join(primitives)}; "
                "splatlearn.rendering.as_primitive makes others of plain Gaussians"
            )
        kinds = [part._shapes_without(axis) for part in parts]
        if any(kind != kinds[0] for kind in kinds):
            got = " and ".join(dict.fromkeys(part._described() for part in parts))
            raise InputError(
                f"parts: expected sets that differ only in K, got {got}; with_degree converts sh to one degree"
            )
        tensors = [part.tensors() for part in parts]
        joined = {name: torch.cat([each[name] for each in tensors], dim=axis) for name in kinds[0]}
        return replace(parts[0], **joined)

    def transformed(
        self,
        rotation: Float[Tensor, "3 3"] | Float[Tensor, " 4"] | None = None,
        translation: Float[Tensor, " 3"] | None = None,
        scale: float = 1.0,
    ) -> Gaussians:
        """Move the scene by x → scale · R x + translation; the colour of a Gaussian turns with it.

        - `rotation`: the matrix R [3, 3], or a quaternion [4], w first, of any length but zero. R may be any
          orthogonal matrix: the mirror image of a Gaussian is a Gaussian.
        - `translation` [3]: world units; `scale`: above 0.

        Gradients reach the Gaussians and not the transform. Raises InputError for a matrix that is not orthogonal, a
        quaternion of zeros, and numbers that are not finite.
        """
        check_number("scale", scale, above=0)
        changed: dict[str, Tensor] = {}
        if rotation is not None:
            matrix = _checked_rotation(rotation)
            changed["means"] = self.means @ matrix.to(self.means).T
            changed["quaternions"] = turn_quaternions(self.quaternions, matrix)
            if self.sh is not None:
                changed["sh"] = rotate_harmonics(self.sh, matrix, self.degree)
            if self.primitive == CONVEX and self.shapes is not None:
                changed["shapes"] = _along(self.shapes, turned_axes(matrix))
        if scale != 1.0:
            changed["means"], changed["scales"] = changed.get("means", self.means) * scale, self.scales * scale
        if translation is not None:
            _check_numbers("translation", translation, ((3,),))
            changed["means"] = changed.get("means", self.means) + translation.detach().to(self.means)
        return replace(self, **changed)

    def flattened(self) -> Gaussians:
        """Surfels as plain Gaussians of a hundredth of their smaller width along the normal; others as they are.

        These look alike from the front, and are what files and viewers that know no surfels can draw.
        """
        if self.primitive != SURFEL:
            return self
        scales = torch.cat([self.scales[..., :2], 0.01 * self.scales[..., :2].amin(-1, keepdim=True)], dim=-1)
        return replace(self, scales=scales, primitive=GAUSSIAN)

    def with_degree(self, degree: int) -> Gaussians:
        """The Gaussians with `sh` of this degree: cut off above it, or filled up to it with zeros.

        Three `colors` become the coefficients of degree 0 that show them; colours below 0 are then seen as 0. Raises
        InputError for degrees outside 0 to 4 and other numbers of colours.
        """
        check_whole("degree", degree, 0, MAX_DEGREE)
        sh = self.sh
        if self.colors is not None:
            if self.colors.shape[-1] != 3:
                raise InputError(f"gaussians: expected 3 colour channels, got {self.colors.shape[-1]}")
            sh = ((self.colors - 0.5) / C0).unsqueeze(-2)
        assert sh is not None
        kept = sh[..., : coefficient_count(degree), :]
        missing = coefficient_count(degree) - kept.shape[-2]
        return replace(self, colors=None, sh=torch.nn.functional.pad(kept, (0, 0, 0, missing)))

    def colors_seen(self, directions: Float[Tensor, "*V K 3"]) -> Float[Tensor, "*S K C"]:
        """The colours of the Gaussians in directions of view.

        - `directions` [*V, K, 3]: from the eye, of any length, in the coordinates of the means. The leading axes *V
          are broadcast with *B to *S; with one axis more, [*B, V], they are V views of each set.

        For `sh` these are max(0, SH + ½), unbounded above (Kerbl et al. 2023), with gradients to the coefficients and
        the directions. `colors` are themselves, whatever the direction.
        """
        has_views = directions.ndim > self.means.ndim
        if self.sh is None or self.degree == 0:
            # The same in every direction.
            colors = self.fixed_colors() if self.sh is None else (C0 * self.sh[..., 0, :] + 0.5).clamp_min(0.0)
            colors = colors.unsqueeze(-3) if has_views else colors
            leading = torch.broadcast_shapes(colors.shape[:-1], directions.shape[:-1])
            return colors.expand(*leading, colors.shape[-1])
        basis = harmonics_basis(directions.to(self.sh), self.degree)
        equation = "...vkm,...kmc->...vkc" if has_views else "...km,...kmc->...kc"
        return (torch.einsum(equation, basis, self.sh) + 0.5).clamp_min(0.0)

    def fixed_colors(self, name: str = "gaussians") -> Float[Tensor, "*B K C"]:
        """Return `colors`, for functions that know no direction of view.

        Raises InputError for Gaussians with `sh`, which names the argument `name`.
        """
        if self.colors is None:
            raise InputError(
                f"{name}: expected colors, which are the same in every view, got sh of degree {self.degree}; "
                "splatlearn.rendering.seen_by(gaussians, camera) has the colours that a camera sees"
            )
        return self.colors

    def _shapes_without(self, axis: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors by name, one axis left out."""
        return {name: (*each.shape[:axis], *each.shape[axis + 1 :]) for name, each in self.tensors().items()}

    def _described(self) -> str:
        """The shapes of means and of what is seen."""
        return ", ".join(f"{name} {list(each.shape)}" for name, each in self.tensors().items() if name in SEEN)


def _along(shapes: Float[Tensor, "*B K S"], signs: Float[Tensor, " 3"]) -> Float[Tensor, "*B K S"]:
    """The shapes of convexes whose own axes are turned round where signs are −1."""
    numbers, points = shapes[..., :CONVEX_NUMBERS], shapes[..., CONVEX_NUMBERS:].unflatten(-1, (-1, 3))
    return torch.cat([numbers, (points * signs.to(points)).flatten(-2)], dim=-1)


def _check_numbers(name: str, value: Tensor, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Raise unless a tensor of a transform has one of the shapes, and finite numbers where they may be looked at."""
    check_floating(name, value)
    if tuple(value.shape) not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise InputError(f"{name}: expected shape {wanted}, got {list(value.shape)}")
    if sees_values(value) and not bool(value.isfinite().all()):
        raise InputError(f"{name}: expected finite numbers, got {value.tolist()}")


def _checked_rotation(rotation: Tensor) -> Float[Tensor, "3 3"]:
    """The matrix of a rotation, in float64 on the host and without a gradient."""
    check_floating("rotation", rotation)
    host = rotation.detach().cpu()
    _check_numbers("rotation", host, ((3, 3), (4,)))
    exact = host.double()
    if exact.ndim == 1:
        if not bool(exact.any()):
            raise InputError("rotation: expected a quaternion, got four zeros; the identity is (1, 0, 0, 0)")
        return quaternions_to_matrices(exact)
    error = float((exact @ exact.T - torch.eye(3, dtype=exact.dtype)).abs().max())
    if not error <= ORTHOGONAL:
        raise InputError(
            f"rotation: expected an orthogonal matrix, got one whose R Rᵀ differs from the identity by {error:.3g}; "
            "pass a uniform scale as scale"
        )
    return exact
