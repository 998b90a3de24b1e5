"""What a primitive is: the interface of the specification. α is computed by primitives alone.

A primitive draws a Gaussian, or a Gaussian with further numbers (`Gaussians.shapes`), as a splat. It consists of

- its packed parameters (`pack`): [B, K, P], of which the first three are a conic in px⁻², and an opacity, beside the
  place of the mean on the image, `means2d` [B, K, 2] in pixels;
- the bound of its picture (`bounds`);
- α at a pixel (`alpha_at`) and its derivatives (`alpha_gradients`).

The filter says what a pixel integrates; a primitive names those that it knows. Many primitives have α = opacity · f of
the Gaussian's power: they are short subclasses of `gaussian.Elliptic`. `registry.register_primitive` makes a primitive
known by its name; compiled code knows those that it draws by theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras.models import CameraModel, Lens, Points


class Alpha(NamedTuple):
    """α of K primitives at P pixels and what it was computed from, [B, K, P] each."""

    dx: Tensor
    dy: Tensor
    power: Tensor
    """The Gaussian's: negative by rounding, or because the conic is not positive definite."""
    falloff: Tensor
    """α of an opacity of 1, before clamp and cut-off."""
    raw: Tensor
    """opacity · falloff, before clamp and cut-off."""
    alpha: Tensor
    """α after clamp and cut-off."""
    more: tuple[Tensor, ...] = ()
    """What a primitive keeps for its derivatives beside it."""


class Placed(NamedTuple):
    """Gaussians [B, K] before a camera.

    - `points`: the means in camera space; those that are not drawn have a depth of `near`.
    - `axes` [B, K, 3, 3]: W R S, whose columns are the Gaussian's axes in camera space, as long as its scales.
    - `on_image`: the two rows of J W R S [B, K, 3], in pixels.
    - `opacities` [B, K], `shapes` [B, K, S] or None; `filter`: what a pixel integrates.
    - `model`, `lens`: of the camera. Before a panorama, x and y are those of a tangent plane, and both are None.
    """

    points: Points
    axes: Float[Tensor, "B K 3 3"]
    on_image: tuple[Float[Tensor, "B K 3"], Float[Tensor, "B K 3"]]
    opacities: Float[Tensor, "B K"]
    shapes: Float[Tensor, "B K S"] | None
    filter: str
    model: CameraModel | None
    lens: Lens | None


class Packed(NamedTuple):
    """Parameters of α beside means2d: `parameters` [B, K, P], of which the first three are a conic, and `opacities`."""

    parameters: Float[Tensor, "B K P"]
    opacities: Float[Tensor, "B K"]


Gradients = tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K N"], Float[Tensor, "B K"]]
"""Of means2d, packed parameters and opacities."""


class Primitive(ABC):
    """What is drawn of a Gaussian.

    - `name`: that of the primitive in `Gaussians`, in files and in compiled code; `formula`: that of its α in `Splats`,
      the same unless several classes draw one primitive for different filters.
    - `filters`: the names of the filters that it knows.
    - `parameters`: the names of its numbers in `Gaussians.shapes`; `neutral`: their values with which it is most like a
      Gaussian, with which plain Gaussians become it.
    - `draws_panoramas`: whether `alpha_off` evaluates it in tangent planes.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = ""
    filters: ClassVar[tuple[str, ...]] = ("point", "mip")
    parameters: ClassVar[tuple[str, ...]] = ()
    neutral: ClassVar[tuple[float, ...]] = ()
    draws_panoramas: ClassVar[bool] = True

    @abstractmethod
    def pack(self, placed: Placed) -> Packed:
        """Return the parameters of α on the image."""

    @abstractmethod
    def bounds(self, packed: Float[Tensor, "B K P"], opacities: Float[Tensor, "B K"]) -> Float[Tensor, "B K 2"]:
        """Return half the sides of a box around each mean outside of which α is 0, in pixels along x and y.

        The bound is infinite where there is none, and −∞ for an opacity below ALPHA_MIN. It has a margin for rounding.
        """

    @abstractmethod
    def alpha_off(
        self,
        dx: Float[Tensor, "B K P"],
        dy: Float[Tensor, "B K P"],
        packed: Float[Tensor, "B K N"],
        opacities: Float[Tensor, "B K"],
    ) -> Alpha:
        """Return α at offsets from the means, in pixels."""

    def alpha_at(
        self,
        means2d: Float[Tensor, "B K 2"],
        packed: Float[Tensor, "B K N"],
        opacities: Float[Tensor, "B K"],
        pixels: Float[Tensor, "P 2"],
    ) -> Alpha:
        """Return α at pixel centres (x, y)."""
        dx, dy = (pixels[:, axis] - means2d[..., axis : axis + 1] for axis in range(2))
        return self.alpha_off(dx, dy, packed, opacities)

    @abstractmethod
    def alpha_gradients(
        self, packed: Float[Tensor, "B K N"], at: Alpha, alpha_gradient: Float[Tensor, "B K P"]
    ) -> Gradients:
        """Return the gradients of means2d, packed parameters and opacities, summed over pixels, from that of α.

        `alpha_gradient` is 0 where α was clamped, cut off or not composited.
        """

    def depths_at(self, at: Alpha, depths: Float[Tensor, "B K"]) -> Float[Tensor, "B K P"]:
        """Return the depths at which the rays of pixels meet the primitives, from those of their means."""
        return depths.unsqueeze(-1).expand(at.alpha.shape)

    def wanted(self, count: int) -> str | None:
        """Return what `shapes` are to have in place of `count` numbers for each splat; None if they are as many."""
        if count == len(self.parameters):
            return None
        return f"{len(self.parameters)} numbers" + (f" ({', '.join(self.parameters)})" if self.parameters else "")

    def refusal(self, shapes: Float[Tensor, "*B K S"]) -> str | None:
        """Return what is wrong with the values of `shapes`, or None."""
        return None

    def free(self, shapes: Float[Tensor, "*B K S"]) -> Float[Tensor, "*B K S"]:
        """Return unbounded numbers for an optimiser, of which `bound` makes the shapes again."""
        return shapes

    def bound(self, numbers: Float[Tensor, "*B K S"]) -> Float[Tensor, "*B K S"]:
        """Return the shapes of unbounded numbers: the inverse of `free`."""
        return numbers
