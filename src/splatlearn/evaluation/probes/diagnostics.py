"""What features look like, without labels: how many directions they use, how near views of one image lie, how spread
images are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError


def effective_rank(features: Float[Tensor, "N D"]) -> float:
    """Effective rank of the centred features: the exponential of the entropy of their singular values.

    In [1, min(N − 1, D)]; 0 for features that are all the same. Source: Roy and Vetterli, "The effective rank" (EUSIPCO
    2007), equation 2.
    """
    centred = features.double() - features.double().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    if float(values.sum()) <= 1e-12 * features.numel():
        return 0.0
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def alignment(first: Float[Tensor, "N D"], second: Float[Tensor, "N D"]) -> float:
    """Mean squared distance of two views of the same images on the unit sphere: 0 the same, 2 unrelated.

    Source: Wang and Isola 2020 (arXiv 2005.10242), equation 1 with α = 2. Raises InputError when the shapes differ.
    """
    if first.shape != second.shape:
        raise InputError(f"second: expected shape {list(first.shape)} like first, got {list(second.shape)}")
    difference = F.normalize(first.double(), dim=1) - F.normalize(second.double(), dim=1)
    return float(difference.square().sum(dim=1).mean())


def uniformity(features: Float[Tensor, "N D"]) -> float:
    """Log of the mean of exp(−2 · squared distance) over pairs of images on the unit sphere: 0 one point, −4 at best.

    Source: Wang and Isola 2020 (arXiv 2005.10242), equation 2 with t = 2. Raises InputError for a single image.
    """
    if len(features) < 2:
        raise InputError(f"features: expected at least 2 images, got {len(features)}")
    distances = torch.nn.functional.pdist(F.normalize(features.double(), dim=1))
    return float((-2 * distances.square()).exp().mean().log())
