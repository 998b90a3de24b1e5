"""Picture files: which files of a folder are pictures, what is left out, and what a picture file says."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
