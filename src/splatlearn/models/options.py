"""The choices about a model that options and recipes name, apart from what builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Preset = Literal["default", "paper"]
Rotation = Literal["quaternion", "uniform"]
Layout = Literal["grid", "free"]
Depth = Literal["paper", "soft-order", "pinhole", "orthographic"]
Color = Literal["bounded", "linear", "residual"]
Heads = Literal["joint", "separate"]
NamedBackground = Literal["white", "black", "mean", "learned"]
Background = NamedBackground | tuple[float, float, float]
Pooling = Literal["mean", "cls"]
MaskPattern = Literal["random", "block", "grid"]
"""How the visible patches of one of several masks lie: anywhere, side by side, or on a lattice."""


@dataclass(frozen=True)
class ModelOptions:
    """Choices that override a preset's, whose own are the defaults: those named here are of the default preset."""

    image_size: tuple[int, int] | None = None
    """Native height and width in pixels, instead of the square in the model's name. Default: that square."""
    decoder_embed_dim: int | None = None
    """Token length of the decoder. Default: 512, in smaller models 256 (small), 192 (tiny), 128 (micro)."""
    decoder_depth: int | None = None
    """Number of blocks of the decoder. Default: 8; in smaller models 4 (small, tiny) or 2 (micro), and 1 for GMAE."""
    decoder_num_heads: int | None = None
    """Attention heads of the decoder. Default: 16, in smaller models 8 (small), 3 (tiny), 2 (micro)."""
    gaussians: int | None = None
    """Gaussians for an image (GMAE). Default: 512."""
    gaussians_per_query: int | None = None
    """Gaussians that one decoder token emits (GMAE). Default: 8."""
    scale_limit: float | None = None
    """Largest standard deviation of a Gaussian, in world units; an image is 2 wide (GMAE). Default: 1."""
    rotation: Rotation | None = None
    """How 4 numbers become a rotation (GMAE). Default: quaternion."""
    background: Background | None = None
    """Colour behind the Gaussians, by name or as red, green and blue in [0, 1] (GMAE). Default: learned."""
    layout: Layout | None = None
    """Whether the Gaussians start as a grid over the image or near its centre (GMAE). Default: grid."""
    depth: Depth | None = None
    """What a Gaussian's depth does: paper, soft-order, pinhole or orthographic (GMAE). Default: paper."""
    color: Color | None = None
    """Colours: bounded, linear, or residual to those of the visible patches (GMAE). Default: linear."""
    opacity: float | None = None
    """Where opacities start, in (0, 1) (GMAE). Default: 0.5."""
    heads: Heads | None = None
    """One linear head for all numbers (joint), or an MLP for each attribute (separate) (GMAE). Default: joint."""
    initial_scale: float | None = None
    """Standard deviation of the first Gaussians, in spacings of their grid (GMAE). Default: 1."""
