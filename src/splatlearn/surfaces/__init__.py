"""Surfaces of scenes: depth maps to a volume of distances, and from it a triangle mesh and its files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
