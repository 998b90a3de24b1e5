"""Masked autoencoders: masks, a Vision Transformer, MAE and GMAE, by name and on disk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
