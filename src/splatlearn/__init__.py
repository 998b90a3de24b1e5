"""splatlearn: image representations learned by painting with Gaussians.

The names below and the rooms of the package are imported when they are first used, so that `splatlearn --help` does not
wait for PyTorch. Their homes stand in `__init__.pyi`.
"""

import importlib
import importlib.util

import lazy_loader

_named, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    try:
        return _named(name)
    except AttributeError:
        if name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is None:
            raise
        return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
