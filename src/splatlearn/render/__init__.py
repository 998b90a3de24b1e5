"""Differentiable Gaussian splatting for batches of many small scenes."""

from splatlearn.render.backends import available_backends
from splatlearn.render.composite import composite
from splatlearn.render.projection import project
from splatlearn.render.rendering import Rendering, render
from splatlearn.render.soft_order import composite_softly
from splatlearn.render.splats import Splats

__all__ = ["Rendering", "Splats", "available_backends", "composite", "composite_softly", "project", "render"]
