"""Models under other projects' names: timm, Hugging Face transformers, the official MAE code, ONNX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
