"""Bounds on mutual information, from scores or likelihoods of pairs.

Letters in shapes: B samples of a pair of variables, S shuffles, M masks. All values are in nats.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError


def contrastive_loss(scores: Float[Tensor, "*M B A"], first: int = 0) -> Float[Tensor, ""]:
    """InfoNCE: the cross-entropy of finding each sample's partner among A candidates (van den Oord et al. 2018).

    - `scores`: row i compares sample i with every candidate; its partner is candidate `first` + i.

    log A minus the loss is a lower bound on the mutual information, whatever the scores; it is tight for the log ratio
    of the joint density to the product of the marginal ones, and never above log A. Raises InputError for a single
    candidate, which leaves nothing to tell apart.
    """
    samples, candidates = scores.shape[-2:]
    if candidates < 2:
        raise InputError(
            f"scores: expected at least 2 candidates per sample, got {candidates}; other images are the negatives, "
            "so use batches of at least 2"
        )
    rows = scores.reshape(-1, candidates)
    partners = torch.arange(first, first + samples, device=scores.device)
    return F.cross_entropy(rows, partners.repeat(rows.shape[0] // samples))


def club(likelihoods: Float[Tensor, "*M B B"]) -> Float[Tensor, ""]:
    """CLUB: how much likelier samples are with their own partner than with another's (Cheng et al. 2020, eq. 6).

    - `likelihoods`: log q(zᵢ|xₖ) of sample i given the partner of sample k.

    An upper bound on the mutual information where q is the conditional density. A sample's own partner does not count
    among the others, which makes the estimate unbiased. Raises InputError for a single sample.
    """
    own = _own(likelihoods)
    count = likelihoods.shape[-1]
    others = (likelihoods.sum(-1) - own) / (count - 1)
    return (own - others).mean()


def leave_one_out(likelihoods: Float[Tensor, "*M B B"]) -> Float[Tensor, ""]:
    """The leave-one-out upper bound, tighter than CLUB (Poole et al. 2019, eq. 13); arguments and errors as there."""
    own = _own(likelihoods)
    count = likelihoods.shape[-1]
    itself = torch.eye(count, dtype=torch.bool, device=likelihoods.device)
    others = likelihoods.masked_fill(itself, -math.inf).logsumexp(-1) - math.log(count - 1)
    return (own - others).mean()


def donsker_varadhan(own: Float[Tensor, "*M B"], others: Float[Tensor, "*M S B"]) -> Float[Tensor, ""]:
    """The lower bound of Donsker and Varadhan, which MINE maximises (Belghazi et al. 2018, eq. 10).

    - `own`: a critic's scores of samples with their partners, `others`: with those of other samples.
    """
    partition = others.flatten(-2).logsumexp(-1) - math.log(others.shape[-1] * others.shape[-2])
    return (own.mean(-1) - partition).mean()


def _own(likelihoods: Tensor) -> Tensor:
    if likelihoods.shape[-1] < 2:
        raise InputError(
            "likelihoods: expected at least 2 samples, got 1; a bound compares an image with others, so use batches "
            "of at least 2"
        )
    return likelihoods.diagonal(dim1=-2, dim2=-1)
