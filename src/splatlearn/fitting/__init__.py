"""Gaussians fitted through the renderer: parametrisation, losses, optimisers, and the fit of one image."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
