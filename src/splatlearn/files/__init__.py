"""Splat files: 3DGS PLY, compressed PLY, SPZ and SOG, read and written as Gaussians with spherical harmonics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
