"""Posed photographs to a scene of Gaussians: a recipe, and a loop that loses no work."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
