"""Weights under the names of the official MAE code, whose encoder has timm's: the layout that all others map onto.

Letters in shapes: N patches, D width.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.models.mae import MAE
from splatlearn.models.masking import Grid
from splatlearn.models.nn.encoder import ViT
from splatlearn.models.nn.positions import sincos_positions
from splatlearn.models.nn.sizes import ViTConfig

"""What a MAE predicts: colours, or patches standardised by their own mean and standard deviation."""

POSITION_TOLERANCE = 5e-3
"""Tolerance between a stored table of positions and the sin-cos one; half precision needs most of it."""

_OURS = {
    "decoder.embed.": "decoder_embed.",
    "decoder.blocks.": "decoder_blocks.",
    "decoder.norm.": "decoder_norm.",
    "head.": "decoder_pred.",
    "mask_token": "mask_token",
}


def encoder_weights(encoder: ViT) -> dict[str, Tensor]:
    """An encoder's weights under timm's names, with the table of positions `pos_embed` [1, 1+N, D]."""
    return {**encoder.state_dict(), "pos_embed": encoder.pos_embed}


def official_weights(model: MAE) -> dict[str, Tensor]:
    """All weights of a MAE under the names of the official code, with both tables of positions."""
    weights = {official_name(name): value for name, value in model.state_dict().items()}
    weights["pos_embed"] = model.encoder.pos_embed
    weights["decoder_pos_embed"] = model.decoder.pos_embed
    return weights


def official_name(name: str) -> str:
    """The name in the official layout of a weight of a MAE's state dict."""
    ours = next((each for each in _OURS if name.startswith(each)), None)
    return name.removeprefix("encoder.") if ours is None else _OURS[ours] + name.removeprefix(ours)


def own_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a MAE from weights of the official layout, tables of positions left out."""
    ours: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name in ("pos_embed", "decoder_pos_embed"):
            continue
        prefix = next((each for each in _OURS.items() if name.startswith(each[1])), ("encoder.", ""))
        ours[prefix[0] + name.removeprefix(prefix[1])] = value
    return ours


def is_decoder(name: str) -> bool:
    """Whether weights of this name in the official layout belong to a decoder."""
    return name.startswith(("decoder_", "mask_token"))


def without_positions(
    weights: Mapping[str, Tensor], table: str, token: str | None, grid: Grid, embed_dim: int
) -> dict[str, Tensor]:
    """Leave a table of positions out, which must be the sin-cos one; what it has for the class token joins that.

    Raises InputError for other tables: learned positions have no place in an encoder with fixed ones.
    """
    found = weights[table].float()
    if tuple(found.shape) != (1, grid[0] * grid[1] + 1, embed_dim):
        raise InputError(
            f"{table}: expected {grid[0] * grid[1]} positions of a {grid[0]}×{grid[1]} grid and one of the class "
            f"token, each of {embed_dim} numbers, got shape {list(found.shape)}; name the image_size that it is for"
        )
    away = float((found[0, 1:] - sincos_positions(grid, found.shape[-1])[1:]).abs().max())
    if not away <= POSITION_TOLERANCE:
        raise InputError(
            f"{table}: expected the fixed sin-cos positions of MAE on a {grid[0]}×{grid[1]} grid, got others, up to "
            f"{away:.2g} away; models with learned positions cannot be imported"
        )
    kept = {name: value for name, value in weights.items() if name != table}
    if token is not None:
        kept[token] = kept[token] + found[:, :1].to(kept[token])
    elif float(found[0, 0].abs().max()) > POSITION_TOLERANCE:
        raise InputError(f"{table}: expected zeros for the class token, got others")
    return kept


def colors_as_normalized(
    weights: Mapping[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...]
) -> dict[str, Tensor]:
    """Have a MAE that predicts colours predict (colour − mean) / std instead."""
    return _rescaled(weights, [1 / each for each in std], [-m / s for m, s in zip(mean, std, strict=True)])


def normalized_as_colors(
    weights: Mapping[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...]
) -> dict[str, Tensor]:
    """Undo `colors_as_normalized`."""
    return _rescaled(weights, std, mean)


def raw_inputs(weights: Mapping[str, Tensor], config: ViTConfig) -> dict[str, Tensor]:
    """Have the patch embedding do the normalisation, so that the encoder takes images in [0, 1] as they are."""
    weight, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    mean, std = (weight.new_tensor(each).view(1, -1, 1, 1) for each in (config.input_mean, config.input_std))
    scaled = weight / std
    return {
        **weights,
        "patch_embed.proj.weight": scaled,
        "patch_embed.proj.bias": bias - (scaled * mean).sum(dim=(1, 2, 3)),
    }


def standardized_picture(
    prediction: Float[Tensor, "B C H W"], images: Float[Tensor, "B C H W"], config: ViTConfig
) -> Float[Tensor, "B C H W"]:
    """The picture in [0, 1] that predicted patches stand for, where they are standardised after normalisation.

    The official MAE standardises patches of *normalised* images: `images` in [0, 1] are normalised as `config` says,
    each patch of the prediction gets the mean and standard deviation of theirs, and the normalisation is undone.
    Source: He et al. 2022, section 4.1, and the official code.
    """
    patch_size, (rows, columns) = (
        config.patch_size,
        (images.shape[2] // config.patch_size, images.shape[3] // config.patch_size),
    )
    mean, std = (images.new_tensor(each).view(-1, 1, 1) for each in (config.input_mean, config.input_std))

    def cut(values: Tensor) -> Tensor:
        return values.unflatten(3, (columns, patch_size)).unflatten(2, (rows, patch_size))

    variance, center = torch.var_mean(cut((images - mean) / std), dim=(1, 3, 5), keepdim=True)
    painted = cut(prediction.float()) * (variance + 1e-6).sqrt() + center
    return (painted.flatten(4, 5).flatten(2, 3) * std + mean).clamp(0.0, 1.0)


def blocks_in(names: Iterable[str], prefix: str) -> int:
    """Number of blocks under names such as `blocks.0.norm1.weight`."""
    numbers = {int(match[1]) for name in names if (match := re.match(rf"{prefix}\.(\d{{1,9}})\.", name))}
    return max(numbers, default=-1) + 1


def _rescaled(weights: Mapping[str, Tensor], scale: Iterable[float], shift: Iterable[float]) -> dict[str, Tensor]:
    """The last layer, whose rows are pixels by channels, followed by a scale and a shift of each channel."""
    weight, bias = weights["decoder_pred.weight"], weights["decoder_pred.bias"]
    factor, offset = weight.new_tensor(list(scale)), weight.new_tensor(list(shift))
    pixels = len(bias) // len(factor)
    return {
        **weights,
        "decoder_pred.weight": weight * factor.repeat(pixels).unsqueeze(1),
        "decoder_pred.bias": bias * factor.repeat(pixels) + offset.repeat(pixels),
    }
