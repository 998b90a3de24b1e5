"""The encoder of splat sets: groups as tokens, a class token, and the blocks of a Vision Transformer.

Letters in shapes: B sets, N Gaussians, G groups, V visible groups, k members of a group, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from splatlearn.core.attributes import ATTRIBUTES, NUMBERS
from splatlearn.core.errors import InputError
from splatlearn.core.kinds import check_kind
from splatlearn.models.masking import Mask
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.initial import initialize
from splatlearn.models.nn.positions import gather_tokens
from splatlearn.models.splats.config import SplatEncoderConfig
from splatlearn.models.splats.embedding import GroupEmbed, SoftPooling
from splatlearn.models.splats.numbers import normalise
from splatlearn.models.tokenizers.canonical import canonical
from splatlearn.models.tokenizers.groups import Groups, take

SOFT_CANDIDATES = 1.25
"""Candidates of the splats pooling layer, in sizes of a group."""
POSITION_HIDDEN = 128
"""Width of the layer that embeds a centre."""


@dataclass(frozen=True, eq=False)
class GroupedSets:
    """A batch of sets in canonical order, with its groups.

    - `sets` [B, N, 14]: activated attributes; `numbers` [B, N, 14]: the same normalised.
    - `groups`: G groups of k members, or of the candidates of the splats pooling layer.
    """

    sets: Float[Tensor, "B N 14"]
    numbers: Float[Tensor, "B N 14"]
    groups: Groups

    def local(
        self, groups: Int64[Tensor, "B V"] | None, reach: float, size: int | None = None
    ) -> Float[Tensor, "B V k 14"]:
        """The numbers of the first `size` members of some groups, or of all; means relative to the centre, × reach."""
        members = self.groups.members if groups is None else self.groups.members_of(groups)
        centers = self.groups.centers if groups is None else gather_tokens(self.groups.centers, groups)
        values = take(self.numbers, members if size is None else members[..., :size])
        means = (values[..., ATTRIBUTES["means"]] - centers.unsqueeze(2)) * reach
        return torch.cat([means, values[..., 3:]], dim=-1)


class Places(nn.Module):
    """Learned positions of groups: two layers on their centres."""

    def __init__(self, embed_dim: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.first = nn.Linear(3, POSITION_HIDDEN)
        self.second = nn.Linear(POSITION_HIDDEN, embed_dim)
        initialize(self, generator)

    def forward(self, centers: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V D"]:
        return self.second(F.gelu(self.first(centers)))


class SplatEncoder(nn.Module):
    """Class token and groups of Gaussians through pre-norm blocks and a final norm.

    Positions are added once, before the first block. Weights are drawn from `generator` (PyTorch's global one by
    default).
    """

    def __init__(self, config: SplatEncoderConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        is_soft = config.group_pooling == "soft"
        self.tokenizer = config.make_tokenizer(int(SOFT_CANDIDATES * config.group_size) if is_soft else None)
        self.columns = [index for name in config.attributes for index in range(NUMBERS)[ATTRIBUTES[name]]]
        inputs, hidden, embed_dim = len(self.columns), config.embed_hidden, config.embed_dim
        self.group_embed: GroupEmbed | SoftPooling = (
            SoftPooling(inputs, hidden, config.group_size, embed_dim, generator)
            if config.group_pooling == "soft"
            else GroupEmbed(inputs, hidden, embed_dim, generator)
        )
        self.places = Places(embed_dim, generator)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.blocks = nn.ModuleList([Block(embed_dim, config.num_heads, config.mlp_ratio) for _ in range(config.depth)])
        self.norm: nn.LayerNorm | nn.Identity = nn.LayerNorm(embed_dim, eps=1e-6)
        initialize(self.blocks, generator)
        nn.init.normal_(self.cls_token, std=0.02, generator=generator)

    def group(self, sets: Float[Tensor, "B N 14"]) -> GroupedSets:
        """Order, normalise and group sets of activated, placed attributes.

        Raises TypeError for other dtypes than the weights', and InputError for shapes that do not fit.
        """
        if not isinstance(sets, Tensor) or not sets.is_floating_point():
            raise TypeError(f"sets: expected a floating-point tensor, got {getattr(sets, 'dtype', type(sets))}")
        if sets.ndim != 3 or sets.shape[2] != NUMBERS or sets.shape[1] < self.tokenizer.smallest:
            raise InputError(
                f"sets: expected shape [B, N, {NUMBERS}] with at least {self.tokenizer.smallest} Gaussians in a set, "
                f"got {list(sets.shape)}"
            )
        ordered = canonical(sets)
        return GroupedSets(ordered, normalise(ordered, self.config.scale_numbers), self.tokenizer(ordered))

    def forward(self, sets: Float[Tensor, "B N 14"] | GroupedSets, mask: Mask | None = None) -> Float[Tensor, "B T D"]:
        """Encode sets, all their groups or those that the mask leaves visible.

        - `sets`: activated attributes of placed sets, in the order of `ATTRIBUTES`; or what `group` made of them.
        - `mask`: of G groups, on a grid of one row.

        Returns the normed tokens, the class token first, then the groups in the mask's order. Raises as `group` does,
        and InputError for a mask that does not fit.
        """
        grouped = sets if isinstance(sets, GroupedSets) else self.group(sets)
        groups, visible, seen = grouped.groups, None, None
        centers = groups.centers
        if mask is not None:
            check_kind("mask", mask, Mask)
            if mask.grid != (1, groups.count) or mask.batch != centers.shape[0]:
                raise InputError(
                    f"mask: expected {centers.shape[0]} sets of {groups.count} groups, got {mask.batch} of "
                    f"{mask.grid[0]}×{mask.grid[1]}"
                )
            visible = mask.visible
            centers = gather_tokens(centers, visible)
            if self.config.shared == "hidden":
                seen = self._seen(grouped, mask)
        members = grouped.local(visible, self.config.reach)
        if len(self.columns) < NUMBERS:
            members = members[..., self.columns]
        tokens = self.group_embed(members, seen) + self.places(centers)
        tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def _seen(self, grouped: GroupedSets, mask: Mask) -> Bool[Tensor, "B V k"]:
        """Which members of visible groups are in no hidden one."""
        # Predictions are of the first members of a group; further candidates of the pooling layer are not hidden.
        kept = Groups(grouped.groups.members[..., : self.config.group_size], grouped.groups.centers)
        hidden = kept.covered(mask.hidden, grouped.sets.shape[1])
        members = grouped.groups.members_of(mask.visible)
        return ~torch.gather(hidden, 1, members.flatten(1)).view(members.shape)
