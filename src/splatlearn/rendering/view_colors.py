"""The colours of Gaussians with spherical harmonics in the directions from which cameras see them."""

from __future__ import annotations

from dataclasses import replace

import torch

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.kinds import check_kind
from splatlearn.rendering.leading import has_views, repeated
from splatlearn.rendering.splats import working_dtype


def seen_by(gaussians: Gaussians, camera: Camera) -> Gaussians:
    """Return the Gaussians with the `colors` that a camera sees; sets that have `colors` come back as they are.

    - `gaussians` [*B, K]; `camera`: one for all sets, [*B] with one for each, or [*B, V] with V views of each. Only for
      V views is the result of another shape: [*B, V, K].

    Colours are max(0, SH + ½) (Kerbl et al. 2023) along the line from the camera's centre to each mean, and along the
    axis of an `"orthographic"` camera. A `"gmae"` camera has a centre, 8 units back by default: directions run from
    there, as extents do, although means project in parallel. Gradients reach the means and the camera through the
    directions. Half precision is computed in float32. Raises InputError for a camera of another batch.
    """
    check_kind("gaussians", gaussians, Gaussians)
    check_kind("camera", camera, Camera)
    if gaussians.sh is None:
        return gaussians
    dtype, several = working_dtype(gaussians.means.dtype), has_views(gaussians, camera)
    with torch.autocast(gaussians.means.device.type, enabled=False):
        means = gaussians.means.to(dtype)
        directions = camera.directions(means.unsqueeze(-3) if several else means)
        colors = replace(gaussians, sh=gaussians.sh.to(dtype)).colors_seen(directions)
    each = repeated(gaussians, camera.batch_shape[-1]) if several else gaussians
    return replace(each, colors=colors, sh=None)
