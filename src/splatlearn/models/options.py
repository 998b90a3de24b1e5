"""The choices about a model that options and recipes name, apart from what builds it.

Each choice stands here once. The configuration of a GMAE, the keywords of `create_model`, recipes and the command line
take it from here: a configuration has all of them, and options leave out those that a preset fills in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import reduce
from operator import or_
from typing import Any, Generic, Literal, Never, TypeVar, get_args, get_origin, get_type_hints

Preset = Literal["default", "paper"]
Rotation = Literal["quaternion", "uniform"]
Layout = Literal["grid", "free"]
Depth = Literal["paper", "soft-order", "pinhole", "orthographic"]
Color = Literal["bounded", "linear", "residual"]
Heads = Literal["joint", "separate", "hierarchical", "triplane"]
NamedBackground = Literal["white", "black", "mean", "learned"]
Background = NamedBackground | tuple[float, float, float]
Pooling = Literal["mean", "cls"]
MaskPattern = Literal["random", "block", "grid"]
"""How the visible patches of one of several masks lie: anywhere, side by side, or on a lattice."""
Hide = Literal["random", "block", "salience"]
"""Which groups of a splat set a mask hides: any, those around one, or holes where splats matter."""

Unset = TypeVar("Unset")
"""None in options, where it leaves a choice to the preset; Never in a configuration, which has no choice open."""


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Choices about the sizes of a MAE or GMAE that its name does not say."""

    image_size: tuple[int, int] | None = None
    """Native height and width in pixels. Default: the square in the model's name."""
    decoder_embed_dim: int | None = None
    """Embedding dimension of the decoder. Default: 512; in smaller models 256 (small), 192 (tiny) or 128 (micro)."""
    decoder_depth: int | None = None
    """Number of blocks of the decoder. Default: 8; in smaller models 4 (small, tiny) or 2 (micro), and 1 for GMAE."""
    decoder_num_heads: int | None = None
    """Number of attention heads of the decoder. Default: 16; in smaller models 8 (small), 3 (tiny) or 2 (micro)."""


@dataclass(frozen=True, kw_only=True)
class GaussianOptions(Generic[Unset]):
    """Choices about the Gaussians of a GMAE.

    The values here are those of a configuration that says nothing; the documented defaults are the default preset's.
    A subclass of `GaussianOptions[None]` has None in their place.
    """

    gaussians: int | Unset = 256
    """Number of Gaussians of an image (GMAE). Default: 512."""
    gaussians_per_query: int | Unset = 1
    """Number of Gaussians that one decoder token predicts (GMAE); 1 in the paper. Default: 8."""
    scale_limit: float | Unset = 1.0
    """Largest standard deviation of a Gaussian, in world units; an image is 2 wide (GMAE). Default: 1."""
    rotation: Rotation | Unset = "quaternion"
    """How 4 predicted numbers become a rotation (GMAE). quaternion: they are normalised; uniform: 3 of them, in (0, 1),
    are mapped by Shoemake's formula, as in the authors' code. Default: quaternion."""
    background: Background | Unset = "white"
    """Background colour (GMAE): white; black; three numbers for red, green and blue in [0, 1]; the mean colour of each
    image's visible patches (mean); or one learned colour for all images, initially grey (learned). Default: learned."""
    layout: Layout | Unset = "grid"
    """Initial positions of the Gaussians (GMAE). grid: learnable offsets are added to the predictions, so that the
    Gaussians start as a grid over the image; free: all start near its centre, as in the paper. Default: grid."""
    depth: Depth | Unset = "paper"
    """What a Gaussian's depth does (GMAE). paper: it sorts and shrinks, and only the shrinking has a gradient;
    soft-order: the same, and training adds a rendering with a soft order, so that occlusion also has a gradient;
    pinhole: it also moves centres, as in a camera 4 units away; orthographic: it only sorts. With pinhole and
    orthographic, extents are divided by 8, so that scale-limit bounds the same extent in pixels at the middle depth.
    Default: paper."""
    color: Color | Unset = "bounded"
    """How predictions become colours (GMAE). bounded: by a sigmoid; linear: 0.5 is added, without bounds; residual: by
    a sigmoid that starts from the colours of the visible patches around the Gaussian's position in the grid, or of all
    visible patches without a grid. Default: linear."""
    opacity: float | Unset = 0.5
    """Initial opacity, in (0, 1) (GMAE). Default: 0.5."""
    heads: Heads | Unset = "joint"
    """Output heads (GMAE). joint: one linear layer for all numbers; separate: an MLP for each attribute; hierarchical:
    one linear layer for a tree of Gaussians of each query, whose leaves lie inside their parents and are no larger;
    triplane: centres of a linear layer, whose other numbers are read out of three planes of features. Default:
    joint."""
    initial_scale: float | Unset = 0.5
    """Initial standard deviation of the Gaussians, in spacings of their grid, at most nine tenths of scale-limit
    (GMAE). Without a grid, they start at half of scale-limit. Default: 1."""

    def __init_subclass__(cls) -> None:
        """Write down what the fields of a subclass hold, for what reads annotations at run time."""
        super().__init_subclass__()
        (unset,) = (get_args(base)[0] for base in cls.__dict__["__orig_bases__"] if get_origin(base) is GaussianOptions)
        for name, hint in get_type_hints(GaussianOptions).items():
            kinds = tuple(kind for kind in get_args(hint) if kind is not Unset)
            cls.__annotations__[name] = reduce(or_, kinds if unset is Never else (*kinds, None))
            if unset is not Never:
                setattr(cls, name, None)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(GaussianOptions[None], SizeOptions):
    """Options that override the preset's choices. The defaults shown here are those of the default preset."""

    def given(self) -> dict[str, Any]:
        """Return the options that are not left to the preset."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
