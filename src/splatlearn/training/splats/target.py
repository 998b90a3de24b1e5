"""The moving average of an encoder whose tokens a splat-jepa predicts."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.models.masking import Mask
from splatlearn.models.nn.positions import gather_tokens
from splatlearn.models.splats.encoder import GroupedSets, SplatEncoder
from splatlearn.runs.tensor_files import TensorFiles
from splatlearn.training.loop.state import restore_weights


class MovingTarget:
    """A copy of an encoder that follows it slowly: w ← d·w + (1 − d)·encoder, with a decay d that rises to its end.

    - `decay`: at the start and the end of training; it rises linearly.
    """

    def __init__(self, encoder: SplatEncoder, decay: tuple[float, float]) -> None:
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def tokens(self, grouped: GroupedSets, mask: Mask) -> Float[Tensor, "B M D"]:
        """The tokens of hidden groups as the copy sees them with nothing hidden, each normalised."""
        tokens = self.encoder(grouped)[:, 1:].float()
        return F.layer_norm(gather_tokens(tokens, mask.hidden), tokens.shape[-1:])

    @torch.no_grad()
    def follow(self, encoder: SplatEncoder, done: float) -> None:
        """Move towards the encoder; `done` is the share of training that is done, in [0, 1]."""
        start, end = self.decay
        weight = 1.0 - (start + (end - start) * done)
        for own, other in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            own.lerp_(other, weight)

    def tensors(self) -> dict[str, Tensor]:
        """The weights of the copy by name."""
        return {f"target.{name}": value for name, value in self.encoder.state_dict().items()}

    def restore(self, files: TensorFiles) -> None:
        """Restore what `tensors` gave; raises CheckpointError for an encoder of other sizes."""
        restore_weights(self.encoder, files, "target.")
