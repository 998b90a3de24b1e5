"""Which bytes of a scene to spend: what its Gaussians are worth, and the smallest file of a quality."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
