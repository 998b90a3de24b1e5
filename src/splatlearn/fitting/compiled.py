"""The compiled loss and optimiser of fits: whether they were built, and their arrays."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from splatlearn.core.native import share_openmp, why_missing

try:
    share_openmp()
    from splatlearn.fitting import _fitting as native

    MISSING = ""
except ImportError as error:
    native = None
    MISSING = why_missing(error)


def array(tensor: Tensor) -> np.ndarray:
    """Return a tensor on the CPU as an array over the same memory."""
    # A negated view's memory has the other sign.
    return tensor.detach().resolve_neg().numpy()
