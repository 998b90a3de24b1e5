"""What the Gaussians of an image say without labels: layers, edges, figure and ground."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
