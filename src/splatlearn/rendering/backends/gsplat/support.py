"""Whether gsplat can be used, and what it takes."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.camera import INTRINSICS
from splatlearn.core.gaussians import GAUSSIAN, Gaussians

MODELS = {"pinhole": "pinhole", "orthographic": "ortho"}
"""Names of camera models here and there."""
DEVICES = ("cuda",)


def status() -> str:
    """Return "ok", or why gsplat cannot be used and what to do. It is not imported, which may compile it."""
    if find_spec("gsplat") is None:
        return "gsplat is not installed: pip install 'gsplat>=1.5' (it needs CUDA)"
    return "ok" if torch.cuda.is_available() else "no CUDA device"


def refusal(gaussians: Gaussians, camera: Camera) -> str | None:
    """Return why gsplat cannot take these inputs, or None."""
    tensors = gaussians.tensors().values()
    device = gaussians.means.device.type
    if device not in DEVICES:
        return f"it takes CUDA tensors, got {device}"
    if gaussians.primitive != GAUSSIAN:
        return f"it draws Gaussians, got the primitive {gaussians.primitive!r}"
    if any(each.dtype != torch.float32 for each in tensors):
        return f"it computes in float32, got {', '.join(sorted({str(each.dtype) for each in tensors}))}"
    if camera.model not in MODELS:
        return f"it knows the camera models {', '.join(MODELS)}, got {camera.model!r}"
    intrinsics = (getattr(camera, name) for name in INTRINSICS)
    if any(isinstance(each, Tensor) and each.requires_grad for each in intrinsics):
        return "it has no gradients of intrinsics"
    return None
