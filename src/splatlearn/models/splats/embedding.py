"""From the Gaussians of a group to its token: a small PointNet, or the splats pooling layer.

Letters in shapes: B sets, V groups, k members of a group, C numbers of a member, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from splatlearn.models.nn.initial import initialize

LOWEST = -1e4
"""In place of the features of members that must not be seen, under a maximum."""


class GroupEmbed(nn.Module):
    """A mini-PointNet: layers of single Gaussians, their maximum, layers that know it, the maximum again, a linear map.

    Members that are not `seen` have no influence; a group without any is a token of zeros before the last map. Compared
    with Point-MAE's, layers are narrower, the last map comes after the maximum, and no norm looks at other groups:
    hidden ones would take part in it. Source: PointNet (Qi et al. 2017), Point-MAE (Pang et al. 2022).
    """

    def __init__(self, inputs: int, hidden: int, embed_dim: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.local = nn.Linear(hidden, 2 * hidden)
        self.whole = nn.Linear(hidden, 2 * hidden, bias=False)
        self.norm = nn.LayerNorm(2 * hidden, eps=1e-6)
        self.proj = nn.Linear(2 * hidden, embed_dim)
        initialize(self, generator)

    def forward(
        self, members: Float[Tensor, "B V k C"], seen: Bool[Tensor, "B V k"] | None = None
    ) -> Float[Tensor, "B V D"]:
        """Tokens of groups, from the numbers of their members."""
        if seen is not None:
            # A repeated member changes no maximum, so that one that is seen takes the place of those that are not.
            members = torch.where(seen.unsqueeze(-1), members, _first_seen(members, seen))
        features = self.second(F.relu(self.first(members)))
        # What is the same for all members, and what keeps their order, comes after the maximum: it is the same number.
        found = F.relu(maximum(self.local(features)) + self.whole(maximum(features)))
        if seen is not None:
            found = found * seen.any(dim=2, keepdim=True)
        return self.proj(self.norm(found))


class _Maximum(torch.autograd.Function):
    """The maximum along dim 2, whose gradient is shared by equal members, in fewer passes than PyTorch's own."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = values.amax(dim=2)
        ctx.save_for_backward(values, found)
        return found

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        values, found = ctx.saved_tensors
        # 1 + sign is 1 for the largest and 0 for others; comparisons take longer.
        largest = (values - found.unsqueeze(2)).sign_().add_(1.0)
        return largest.mul_((grad / largest.sum(dim=2)).unsqueeze(2))


def maximum(values: Float[Tensor, "B V k C"]) -> Float[Tensor, "B V C"]:
    """The largest of the members' numbers; members that are equally large share its gradient."""
    if torch.is_grad_enabled() and values.requires_grad:
        found = _Maximum.apply(values)
        assert isinstance(found, Tensor)
        return found
    return values.amax(dim=2)


class SoftPooling(nn.Module):
    """ShapeSplat's splats pooling layer: of 1¼·k candidates, k soft choices by learned similarity.

    The maximum of the candidates' features is compared with each of them; the softmax of the distances under each of k
    learned temperatures weighs them. Temperatures are exponentials, which stay positive; the official code adds an
    offset that need not. Members that are not `seen` have no weight.
    """

    def __init__(self, inputs: int, hidden: int, size: int, embed_dim: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.temperatures = nn.Parameter(torch.zeros(size))
        self.local = nn.Linear(2 * hidden, 2 * hidden)
        self.norm = nn.LayerNorm(2 * hidden, eps=1e-6)
        self.proj = nn.Linear(2 * hidden, embed_dim)
        initialize(self, generator)
        nn.init.normal_(self.temperatures, std=0.5, generator=generator)

    def forward(
        self, members: Float[Tensor, "B V k C"], seen: Bool[Tensor, "B V k"] | None = None
    ) -> Float[Tensor, "B V D"]:
        """Tokens of groups, from the numbers of their candidates."""
        features = self.second(F.relu(self.first(members)))
        query = _maximum(features, seen)
        # The square root has no slope at 0, where a single candidate is its own maximum.
        distances = ((features - query.unsqueeze(2)).square().sum(dim=-1) + 1e-6).sqrt()
        scores = -distances.unsqueeze(2) / self.temperatures.exp().unsqueeze(1)
        if seen is not None:
            scores = scores.masked_fill(~seen.unsqueeze(2), LOWEST)
            features = features * seen.any(dim=-1)[..., None, None]
        soft = scores.softmax(dim=-1) @ features
        joined = torch.cat([soft, query.unsqueeze(2).expand_as(soft)], dim=-1)
        return self.proj(self.norm(F.relu(self.local(joined)).amax(dim=2)))


def _first_seen(members: Float[Tensor, "B V k C"], seen: Bool[Tensor, "B V k"]) -> Float[Tensor, "B V 1 C"]:
    """The first member of each group that is seen; the first of all in a group without any."""
    first = seen.to(torch.uint8).argmax(dim=2)[..., None, None]
    return torch.gather(members, 2, first.expand(-1, -1, 1, members.shape[-1]))


def _maximum(features: Float[Tensor, "B V k C"], seen: Bool[Tensor, "B V k"] | None) -> Float[Tensor, "B V C"]:
    if seen is None:
        return features.amax(dim=2)
    found = features.masked_fill(~seen.unsqueeze(-1), LOWEST).amax(dim=2)
    return torch.where(seen.any(dim=2, keepdim=True), found, torch.zeros_like(found))
