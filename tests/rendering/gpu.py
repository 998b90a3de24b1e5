"""Where the Triton kernels run in the tests: on a CUDA device, or through Triton's interpreter on the CPU."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch

from splatlearn.rendering import choice
from splatlearn.rendering.backends.triton import blend as triton_blend
from splatlearn.rendering.backends.triton import support as triton_support

HAS_CUDA = torch.cuda.is_available()
if not HAS_CUDA:
    # Before the kernels are imported, which is when it counts.
    os.environ["TRITON_INTERPRET"] = "1"

DEVICE = "cuda" if HAS_CUDA else "cpu"
STATUS = triton_support.status()
"""Why the kernels cannot be tested, or "ok"."""
MOST_SPLATS = None if HAS_CUDA else 8
"""Splats of a scene: the interpreter takes about 10 ms for each in each tile."""
INTERPRETED_TILE = ({4: 32, 8: 32, 16: 16}, 64)
"""Rows and columns of a tile under the interpreter, where few large tiles are faster than many small ones."""


@contextmanager
def ready(own_tiles: bool = False) -> Iterator[None]:
    """Let the kernels run, projection too; `own_tiles` keeps the tiles that GPUs use."""
    if HAS_CUDA:
        yield
        return
    rows, columns = (triton_blend.ROWS, triton_blend.COLUMNS) if own_tiles else INTERPRETED_TILE
    interpreted = importlib.import_module("triton.runtime.interpreter").InterpretedFunction
    compiled = importlib.import_module("triton.runtime.jit").JITFunction
    with (
        mock.patch.object(triton_blend, "ROWS", rows),
        mock.patch.object(triton_blend, "COLUMNS", columns),
        mock.patch.object(interpreted, "__call__", _call_device_function),
        # Triton's own functions are of this kind where something else imported it before.
        mock.patch.object(compiled, "__call__", _call_device_function),
        mock.patch.dict(choice.COMPILED, cpu="triton"),
        np.errstate(all="ignore"),
    ):
        yield


_interpreted: dict[Callable, Callable] = {}
_prepared: set[str] = set()


def _call_device_function(function, *arguments, **options):
    """Triton's own way, but for functions of one module the language is replaced once, not with every call."""
    plain = function.fn
    if plain not in _interpreted:
        interpreter = importlib.import_module("triton.runtime.interpreter")
        _interpreted[plain] = interpreter.InterpretedFunction(plain).rewrite()
        if not plain.__module__.startswith("splatlearn.") and plain.__module__ not in _prepared:
            interpreter._patch_lang(plain)
            _prepared.add(plain.__module__)
    return _interpreted[plain](*arguments, **options)


def on_device(function: Callable[..., tuple[torch.Tensor, ...]], *arguments: object) -> tuple[torch.Tensor, ...]:
    """Call with tensors, and tuples of them, moved to the device; results come back to the CPU."""

    def moved(argument: object) -> object:
        if isinstance(argument, tuple):
            return tuple(moved(each) for each in argument)
        return argument.to(DEVICE) if isinstance(argument, torch.Tensor) else argument

    return tuple(result.cpu() for result in function(*(moved(argument) for argument in arguments)))
