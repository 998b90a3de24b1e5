"""The parametrisation of a scene: what an optimiser moves, and the activations that make Gaussians of it.

Letters in shapes: K Gaussians, M coefficients of harmonics.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import GAUSSIAN, Gaussians
from splatlearn.core.geometry.quaternions import unit_quaternions
from splatlearn.rendering.backends.torch.primitives.registry import check_primitive, primitive_of
from splatlearn.rendering.splats import working_dtype


def scene_parameters(gaussians: Gaussians) -> dict[str, Tensor]:
    """Return the parameters of Gaussians [K], detached copies.

    - `means` [K, 3]: themselves; `log_scales` [K, 3]: logarithms of scales; `quaternions` [K, 4]: of unit length at
      first, normalised where they are used.
    - `logits` [K]: of opacities.
    - `sh` [K, M, 3] or `colors` [K, 3], as the Gaussians have them: themselves, so that no colour is clipped.
    - `shapes` [K, S]: unbounded numbers of which their primitive makes its own, if it has some.

    `scene_gaussians` returns the Gaussians up to rounding, which opacities of 0 and 1 and scales of 0 leave by no more
    than a float32 can show: their parameters are the nearest that are finite. Raises InputError for a batch of sets,
    and for colours of other than 3 channels.
    """
    if gaussians.batch_shape:
        raise InputError(f"gaussians: expected one set [K], got sets {list(gaussians.batch_shape)}; index the batch")
    start = gaussians.detach().to(working_dtype(gaussians.means.dtype))
    if start.colors is not None and start.colors.shape[-1] != 3:
        raise InputError(f"gaussians: expected 3 colour channels, got {start.colors.shape[-1]}")
    numbers = torch.finfo(start.means.dtype)
    found = {
        "means": start.means.clone(),
        "log_scales": start.scales.clamp_min(numbers.tiny).log(),
        "quaternions": unit_quaternions(start.quaternions),
        "logits": opacity_logits(start.opacities),
    }
    if start.shapes is not None:
        found["shapes"] = check_primitive(start, has_values=True).free(start.shapes)
    seen = {"sh": start.sh} if start.colors is None else {"colors": start.colors}
    return {
        name: each.contiguous()
        for name, each in (found | {k: v.clone() for k, v in seen.items() if v is not None}).items()
    }


def scene_gaussians(parameters: Mapping[str, Tensor], primitive: str = GAUSSIAN) -> Gaussians:
    """Return the Gaussians [K] of `scene_parameters`, with gradients to these.

    - `primitive`: the name of what they are drawn as, which is no number.
    """
    numbers = parameters.get("shapes")
    return Gaussians(
        means=parameters["means"],
        scales=parameters["log_scales"].exp(),
        quaternions=parameters["quaternions"],
        opacities=parameters["logits"].sigmoid(),
        colors=parameters.get("colors"),
        sh=parameters.get("sh"),
        shapes=None if numbers is None else primitive_of(primitive).bound(numbers),
        primitive=primitive,
    )


def opacity_logits(opacities: Tensor) -> Tensor:
    """Logits of opacities in [0, 1]; those of 0 and 1 are the nearest that are finite."""
    numbers = torch.finfo(opacities.dtype)
    return opacities.clamp(numbers.tiny, 1.0 - numbers.eps / 2).logit()
