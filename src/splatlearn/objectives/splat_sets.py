"""Losses of masked models of splat sets: attributes of Gaussians, and pictures of them.

Letters in shapes: B sets, M hidden groups, k members of a group, K Gaussians.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.attributes import ATTRIBUTES, gaussians_of
from splatlearn.core.cameras import Camera
from splatlearn.models.splats.options import Matching
from splatlearn.rendering import render

DISTANCE, FOCAL = 3.0, 1.4
"""Distance of the camera from the middle of a placed set, in its radii, and its focal length in heights: the whole set
is in the picture, and little else."""


def attribute_errors(
    predicted: Float[Tensor, "B M k 14"], target: Float[Tensor, "B M k 14"], matching: Matching = "nearest"
) -> dict[str, Float[Tensor, ""]]:
    """The error of each attribute of groups of Gaussians, in normalised numbers.

    Means: Chamfer's distance, the mean squared distance to the nearest in both directions. Others: absolute errors,
    summed over an attribute's numbers. `"nearest"` compares each Gaussian with the nearest of the other group, in both
    directions, so that no order of a group matters; `"index"` those of one index, as the official code of Gaussian-MAE
    does. Quaternions of opposite signs are one rotation.
    """
    to_target, to_predicted = nearest_pairs(predicted[..., ATTRIBUTES["means"]], target[..., ATTRIBUTES["means"]])
    nearest = [(predicted, _pick(target, to_target)), (_pick(predicted, to_predicted), target)]
    squares = [(one[..., :3] - other[..., :3]).square().sum(dim=-1).mean() for one, other in nearest]
    errors = {"means": torch.stack(squares).sum()}
    pairs = [(predicted, target)] if matching == "index" else nearest
    for name, place in ATTRIBUTES.items():
        if name != "means":
            found = [_error(name, one[..., place], other[..., place], matching) for one, other in pairs]
            errors[name] = torch.stack(found).mean()
    return errors


def nearest_pairs(
    one: Float[Tensor, "B M k 3"], other: Float[Tensor, "B M k 3"]
) -> tuple[Int64[Tensor, "B M k"], Int64[Tensor, "B M k"]]:
    """For each point its nearest of the other group, in both directions."""
    with torch.no_grad():
        lengths = [each.square().sum(dim=-1) for each in (one, other)]
        products = one @ other.transpose(-1, -2)
        to_other = (lengths[1].unsqueeze(-2) - 2.0 * products).argmin(dim=-1)
        to_one = (lengths[0].unsqueeze(-1) - 2.0 * products).argmin(dim=-2)
    return to_other, to_one


def _error(name: str, one: Tensor, other: Tensor, matching: Matching) -> Float[Tensor, ""]:
    error = (one - other).abs().sum(dim=-1)
    if name == "quaternions" and matching == "nearest":
        error = torch.minimum(error, (one + other).abs().sum(dim=-1))
    return error.mean()


def squared_distances(one: Float[Tensor, "*B K 3"], other: Float[Tensor, "*B L 3"]) -> Float[Tensor, "*B K L"]:
    """Squared distances of all points of one set from all of another."""
    # Differences, not products of matrices: those lose small distances.
    return (one.unsqueeze(-2) - other.unsqueeze(-3)).square().sum(dim=-1)


def chamfer_distance(one: Float[Tensor, "B K 3"], other: Float[Tensor, "B L 3"]) -> Float[Tensor, " B"]:
    """The mean distance to the nearest point of the other set, averaged over both directions."""
    distances = squared_distances(one, other)
    return (distances.amin(dim=2).sqrt().mean(dim=1) + distances.amin(dim=1).sqrt().mean(dim=1)) / 2.0


def set_camera(direction: Float[Tensor, " 3"], side: int) -> Camera:
    """A camera that looks from a direction at a placed set, which fills its square picture of `side` pixels."""
    back = torch.nn.functional.normalize(-direction.double(), dim=0)
    # y points down; a set is seen upright from everywhere but from above and below.
    down = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    if abs(float(back[1])) > 0.99:
        down = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    right = torch.nn.functional.normalize(torch.linalg.cross(down, back), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(back, right), back])
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[:3, :3], viewmat[2, 3] = rotation, DISTANCE
    focal = FOCAL * side
    return Camera(side, side, focal, focal, side / 2, side / 2, viewmats=viewmat.float())


def pictures(attributes: Float[Tensor, "B K 14"], camera: Camera) -> Float[Tensor, "B 3 H W"]:
    """Pictures of sets of activated attributes on white, with gradients."""
    return render(gaussians_of(attributes), camera, "white", depth=False, check=False).color


def rendered_error(
    predicted: Float[Tensor, "B K 14"], target: Float[Tensor, "B L 14"], camera: Camera
) -> Float[Tensor, ""]:
    """The mean absolute difference of two sets' pictures; both are of activated attributes."""
    with torch.no_grad():
        wanted = pictures(target, camera)
    return (pictures(predicted, camera) - wanted).abs().mean()


def rendered_psnr(
    predicted: Float[Tensor, "B K 14"], target: Float[Tensor, "B L 14"], camera: Camera
) -> Float[Tensor, " B"]:
    """PSNR of each set's picture, in dB."""
    error = (pictures(predicted, camera) - pictures(target, camera)).square().flatten(1).mean(dim=1)
    return -10.0 / math.log(10.0) * error.clamp_min(1e-12).log()


def _pick(values: Float[Tensor, "B M k 14"], index: Int64[Tensor, "B M j"]) -> Float[Tensor, "B M j 14"]:
    return torch.gather(values, 2, index.unsqueeze(-1).expand(-1, -1, -1, values.shape[-1]))
