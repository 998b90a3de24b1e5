"""The GPU kernels' backend: sizes, launches and results; see `blend_kernels` for how they work.

Triton is imported with the first call. With TRITON_INTERPRET=1 in the environment the kernels run on the CPU, one
program after the other: slow, and for tests.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.rendering.formula import MAX_CHANNELS

COLUMNS = 32
"""Width of a tile: the threads of a warp."""
ROWS = {4: 8, 8: 4, 16: 4}
"""Height of a tile by its channels: as much as the registers of a thread hold (137 in the backward pass of an image
with three channels, compiled for sm_90; none spill)."""
PROGRAMS = 4096
"""Bands of tiles to aim at in a backward pass, over all images: a few for each warp that the largest GPUs hold."""
MAX_SUMS = 2**27
"""Numbers that the sums of all bands may take (half a gigabyte); with more splats there are fewer bands."""
FINISHED_SPLATS = 128
"""Splats whose gradients one program finishes."""
CHECKED_NUMBERS = 1024
"""Numbers that one program checks at a time."""

CAPABILITY = (8, 0)
"""The oldest GPUs that the kernels compile for."""

_INSTALLED = find_spec("triton") is not None


def status() -> str:
    """ "ok", or why the kernels cannot be used and what to do."""
    if not _INSTALLED:
        return "Triton is not installed: pip install 'splatlearn[gpu]'"
    if torch.cuda.is_available() or is_interpreted():
        return "ok"
    return "no CUDA device"


def is_interpreted() -> bool:
    """Whether the environment asks for Triton's interpreter, in which kernels take CPU tensors."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def refusal(centers: Tensor, channels: int) -> str | None:
    """Why the backend cannot take these inputs, or None."""
    device = centers.device.type
    if device != "cuda" and not (device == "cpu" and is_interpreted()):
        return f"it takes CUDA tensors, got {device}"
    if device == "cuda" and torch.cuda.get_device_capability(centers.device) < CAPABILITY:
        return f"it needs a GPU of compute capability {'.'.join(map(str, CAPABILITY))}"
    if centers.dtype == torch.float64:
        return f"it computes in float32, got {centers.dtype}"
    if channels > MAX_CHANNELS:
        return f"it takes up to {MAX_CHANNELS} channels, got {channels}"
    return None


@dataclass(frozen=True)
class Tiling:
    """How the images of a call are cut into tiles, and the tiles of an image into bands."""

    rows: int
    padded: int
    """Channels, as a power of two."""
    across: int
    tiles: int
    bands: int


def tiling(batch: int, count: int, channels: int, size: tuple[int, int]) -> Tiling:
    """The tiles of images of `size` (height, width); a function of the shapes alone, so that results are too."""
    padded = max(4, 1 << (channels - 1).bit_length())
    rows = ROWS[padded]
    across = -(-size[1] // COLUMNS)
    tiles = across * -(-size[0] // rows)
    affordable = MAX_SUMS // max(1, batch * count * (8 + padded))
    bands = max(1, min(tiles, affordable, PROGRAMS // max(1, batch)))
    return Tiling(rows, padded, across, tiles, bands)


def forward(
    centers: Float[Tensor, "B K 2"],
    conics: Float[Tensor, "B K 3"],
    opacities: Float[Tensor, "B K"],
    colors: Float[Tensor, "B K C"],
    background: Float[Tensor, "B C"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]]:
    """Composite splats over images of `size` (height, width); half precision is computed in float32."""
    batch, count, channels = colors.shape
    inputs = _float32(centers, conics, opacities, colors, background)
    color = torch.empty(batch, channels, *size, device=centers.device)
    transmittance = torch.empty(batch, *size, device=centers.device)
    if batch == 0:
        return color, transmittance
    cut, kernels = tiling(batch, count, channels, size), _kernels()
    poison = torch.empty(batch, device=centers.device)
    with on_device(centers):
        kernels.find_poison[(batch,)](*inputs, poison, count, CHANNELS=channels, BLOCK=CHECKED_NUMBERS)
        kernels.composite_forward[(batch * cut.tiles,)](
            *inputs, poison, color, transmittance, count, *size, cut.across, cut.tiles,
            CHANNELS=channels, PADDED=cut.padded, ROWS=cut.rows, COLUMNS=COLUMNS, num_warps=1,
        )  # fmt: skip
    return color, transmittance


def backward(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
    gradients: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B H W"]],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of (centers, conics, opacities, colors, background) from those of (color, transmittance)."""
    *splats, background = _float32(*inputs)
    conics, opacities, colors = splats[1:]
    color, transmittance, *toward = _float32(*outputs, *gradients)
    results = [torch.empty_like(tensor) for tensor in (*splats, background)]
    batch, count, channels = colors.shape
    if batch == 0:
        return results[0], results[1], results[2], results[3], results[4]
    size = (int(transmittance.shape[-2]), int(transmittance.shape[-1]))
    cut, kernels = tiling(batch, count, channels, size), _kernels()
    sums = torch.zeros(batch, cut.bands, count, 8 + cut.padded, device=colors.device)
    background_sums = torch.empty(batch, cut.bands, cut.padded, device=colors.device)
    blocks = max(1, -(-count // FINISHED_SPLATS))
    with on_device(colors):
        kernels.composite_backward[(batch * cut.bands,)](
            *splats, color, transmittance, *toward, sums, background_sums,
            count, *size, cut.across, cut.tiles, cut.bands,
            CHANNELS=channels, PADDED=cut.padded, ROWS=cut.rows, COLUMNS=COLUMNS, num_warps=1,
        )  # fmt: skip
        kernels.gradients_of_sums[(batch, blocks)](
            conics, opacities, transmittance, sums, background_sums, *results, count, *size, cut.bands,
            CHANNELS=channels, PADDED=cut.padded, BLOCK=FINISHED_SPLATS,
        )  # fmt: skip
    return results[0], results[1], results[2], results[3], results[4]


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Launches go to the tensor's device, whichever is the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _kernels() -> ModuleType:
    from splatlearn.rendering.backends.triton import blend_kernels

    return blend_kernels


def _float32(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().to(torch.float32).contiguous() for tensor in tensors]
