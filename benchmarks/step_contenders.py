"""Pre-training steps that take turns: MAE, GMAE and transformers' ViTMAE of the same sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from splatlearn.models import GMAE, MAE, Mask, ModelOptions, create_model, model_config, random_mask
from splatlearn.objectives import masked_mse
from splatlearn.training.pretraining.side_by_side import SideBySide, parts_worth_it

from .common import PAPER_LIKE

THEIRS = "ViTMAE (transformers)"


@dataclass(frozen=True)
class Options:
    """What the steps have in common."""

    model: str
    device: str
    precision: str
    rounds: int
    gaussians_per_query: int | None
    queries: int = 256
    """Most tokens of a GMAE's decoder beside the visible patches, where `gaussians_per_query` is not given."""
    theirs_precision: str | None = None
    """Of transformers' model, where it is not `precision`."""

    def autocast(self, theirs: bool = False, cached: bool = True) -> torch.autocast:
        """The context of a forward pass of ours, or of transformers' model."""
        precision = (self.theirs_precision if theirs else None) or self.precision
        return torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16", cache_enabled=cached)


def least_per_query(gaussians: int, queries: int = 256) -> int:
    """Fewest Gaussians of one query that make at most `queries` queries, and a whole number of them."""
    return next(each for each in range(max(1, -(-gaussians // queries)), gaussians + 1) if gaussians % each == 0)


def make_model(name: str, options: Options) -> nn.Module:
    """MAE, GMAE with K Gaussians ("gmae-K"), or transformers' model of the same sizes as our MAE."""
    if name.startswith("gmae-"):
        gaussians = int(name.removeprefix("gmae-"))
        chosen = options.gaussians_per_query or least_per_query(gaussians, options.queries)
        # As deep a decoder as the MAE's, though the default preset gives a GMAE one block.
        depth = model_config(f"mae_{options.model}").decoder.depth
        sizes = ModelOptions(decoder_depth=depth, gaussians=gaussians, gaussians_per_query=chosen, **PAPER_LIKE)
        return create_model(f"gmae_{options.model}", seed=0, options=sizes).to(options.device)
    ours = create_model(f"mae_{options.model}", seed=0)
    if name == "mae":
        return ours.to(options.device)
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    assert isinstance(ours, MAE)
    encoder, decoder = ours.config.encoder, ours.config.decoder
    config = ViTMAEConfig(
        hidden_size=encoder.embed_dim, num_hidden_layers=encoder.depth, num_attention_heads=encoder.num_heads,
        intermediate_size=int(encoder.embed_dim * encoder.mlp_ratio), image_size=ours.image_size[0],
        patch_size=encoder.patch_size, decoder_hidden_size=decoder.embed_dim, decoder_num_hidden_layers=decoder.depth,
        decoder_num_attention_heads=decoder.num_heads,
        decoder_intermediate_size=int(decoder.embed_dim * decoder.mlp_ratio),
        mask_ratio=0.75,
    )  # fmt: skip
    # transformers types `.to` such that it cannot be called.
    theirs: Any = ViTMAEForPreTraining(config)
    return theirs.to(options.device)


def make_step(model: nn.Module, batch: int, side: int, patch_size: int, options: Options) -> Callable[[], None]:
    """One optimiser step on random images that stay on the device; of our models as the training loop does it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, side, side, generator=generator).to(options.device)
    grid = (side // patch_size, side // patch_size)
    parameters = list(model.parameters())
    ours = isinstance(model, (MAE, GMAE))
    parts = parts_worth_it(batch, grid[0] * grid[1], parameters) if ours and options.device == "cpu" else 1
    side_by_side = SideBySide()

    # As the training loop asks: the error is that of the hidden patches.
    asked = {"visible": False} if isinstance(model, MAE) else {}

    def forward(images: torch.Tensor, mask: Mask) -> tuple[torch.Tensor, None]:
        with options.autocast(theirs=not ours, cached=parts == 1):
            loss = (
                masked_mse(model(images, mask, **asked).image, images, mask, patch_size) if ours else model(images).loss
            )
        return loss / parts, None

    def step() -> None:
        mask = random_mask(batch, grid, 0.75, generator).to(options.device)
        if parts == 1:
            forward(images, mask)[0].backward()
        else:
            cut = [each.chunk(parts) for each in (images, mask.visible, mask.hidden)]
            passes = [partial(forward, some, Mask(seen, hidden, grid)) for some, seen, hidden in zip(*cut, strict=True)]
            side_by_side(passes, parameters)
        optimizer.step()
        optimizer.zero_grad()
        if options.device == "cuda":
            torch.cuda.synchronize()

    return step


def sizes(options: Options) -> tuple[int, int]:
    """Side of the images and of a patch, from the model's name."""
    *_, patch, side = options.model.split("_")
    return int(side), int(patch.removeprefix("patch"))
