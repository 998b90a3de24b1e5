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
    # Both directions in one array, and sums over rows before those over an attribute's numbers: both run along memory.
    own, other = predicted.flatten(0, 2), target.flatten(0, 2)
    one = torch.cat([own, own.index_select(0, _rows(to_predicted))])
    two = torch.cat([other.index_select(0, _rows(to_target)), other])
    if matching == "nearest":
        two = _same_signs(one, two)
    difference = one - two
    errors = {"means": 2.0 * difference[:, ATTRIBUTES["means"]].square().sum() / len(difference)}
    if matching == "index":
        difference = own - other
    distances = difference.abs().sum(dim=0) / len(difference)
    others = {name: distances[place].sum() for name, place in ATTRIBUTES.items() if name != "means"}
    return errors | others


@torch.no_grad()
def nearest_pairs(
    one: Float[Tensor, "B M k 3"], other: Float[Tensor, "B M k 3"]
) -> tuple[Int64[Tensor, "B M k"], Int64[Tensor, "B M k"]]:
    """For each point its nearest of the other group, in both directions; the first of those whose squared distances
    agree to five digits.

    A number that is ordered as the distances are, and ends with an index, finds both by one minimum, which processors
    take many at a time.
    """
    lengths = [each.square().sum(dim=-1) for each in (one, other)]
    products = one @ other.transpose(-1, -2)
    distances = (lengths[0].unsqueeze(-1) + lengths[1].unsqueeze(-2)).sub_(products, alpha=2.0).clamp_min_(0.0)
    whole = torch.int64 if distances.dtype == torch.float64 else torch.int32
    most = 2 ** (max(distances.shape[-2:]) - 1).bit_length() - 1
    # Floating-point numbers above 0 are ordered as the whole numbers of their bits are.
    keys = distances.to(torch.float64 if whole == torch.int64 else torch.float32).view(whole).bitwise_and_(~most)
    rows, columns = (torch.arange(size, dtype=whole, device=one.device) for size in distances.shape[-2:])
    to_other = (keys + columns).amin(dim=-1)
    to_one = (keys + rows.unsqueeze(-1)).amin(dim=-2)
    return (to_other & most).long(), (to_one & most).long()


def _same_signs(one: Float[Tensor, "R 14"], two: Float[Tensor, "R 14"]) -> Float[Tensor, "R 14"]:
    """The second rows, with those quaternions turned round that are then nearer to the first ones."""
    place = ATTRIBUTES["quaternions"]
    with torch.no_grad():
        first, second = one[:, place], two[:, place]
        ones = torch.ones(first.shape[1], dtype=one.dtype, device=one.device)
        turned = ((first + second).abs() @ ones) < ((first - second).abs() @ ones)
    signs = torch.where(turned, -1.0, 1.0).to(two.dtype).unsqueeze(1)
    return torch.cat([two[:, : place.start], two[:, place] * signs, two[:, place.stop :]], dim=1)


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


def _rows(index: Int64[Tensor, "B M k"]) -> Int64[Tensor, " R"]:
    """Rows of all groups' Gaussians, one group after the other, of indices within groups."""
    batch, groups, size = index.shape
    first = size * torch.arange(batch * groups, device=index.device)
    return (index.flatten(0, 1) + first.unsqueeze(1)).flatten()
