"""Lenses: how directions become pixels in photographs, for every camera model of COLMAP, and back."""

from splatlearn.captures.lenses.lens import Lens
from splatlearn.captures.lenses.models import LensModel
from splatlearn.captures.lenses.registry import MODELS, lens_model

__all__ = ["MODELS", "Lens", "LensModel", "lens_model"]
