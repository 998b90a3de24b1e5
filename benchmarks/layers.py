"""GELU, attention and whole blocks of a transformer on a CPU: the compiled ones beside PyTorch's, forward and backward.

    python -m benchmarks.layers [--threads 1] [--rounds 15] [--json-file FILE]

Sizes are those of MAE's and GMAE's steps at ViT-Tiny/8 on 64 px and ViT-Base/16 on 224 px, a mask of 75 %.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn

from benchmarks.common import table
from splatlearn.models.nn.block import Block
from splatlearn.models.nn.layers import attention, gelu, plain_layers
from splatlearn.runs.folder import environment

HEADS_OF = {(17, 192): 3, (33, 192): 3, (65, 512): 16, (50, 768): 12, (197, 512): 16}
"""Heads by tokens and width: encoders with a quarter of the patches, decoders with queries or with all patches."""
IMAGES = 32


def milliseconds(call: Callable[[Tensor], Tensor], values: Tensor, precision: str, plain: bool) -> tuple[float, float]:
    """Forward and backward pass, once each; of a module the gradients of its parameters too."""
    inputs = [values, *(call.parameters() if isinstance(call, nn.Module) else ())]
    with plain_layers() if plain else nullcontext():
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            result = call(values)
        middle = time.perf_counter()
        torch.autograd.grad(result, inputs, result.detach())
        return 1e3 * (middle - begun), 1e3 * (time.perf_counter() - middle)


def main(threads: int = 1, rounds: int = 15, precision: str = "fp32", json_file: Path | None = None) -> None:
    """Time the layers in turns, print a table of medians and write the raw numbers.

    Args:
        threads: Threads of PyTorch.
        rounds: Timings of each.
        precision: fp32 or bf16.
        json_file: File for the raw numbers.
    """
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    found, lines = [], []
    for (tokens, width), heads in HEADS_OF.items():
        layers = {
            "attention": (partial(attention, heads), 3 * width),
            "GELU": (gelu, 4 * width),
            "block": (Block(width, heads), width),
        }
        for layer, (call, numbers) in layers.items():
            values = torch.randn(IMAGES, tokens, numbers, generator=generator)
            # Between blocks tokens are float32.
            halves = precision == "bf16" and layer != "block"
            values = values.to(torch.bfloat16 if halves else torch.float32).requires_grad_()
            times: dict[str, list[tuple[float, float]]] = {"compiled": [], "PyTorch": []}
            for _ in range(rounds + 2):
                for name, measured in times.items():
                    measured.append(milliseconds(call, values, precision, plain=name == "PyTorch"))
            # The first two warm up.
            times = {name: measured[2:] for name, measured in times.items()}
            found.append({"layer": layer, "tokens": tokens, "width": width, "heads": heads, "milliseconds": times})
            medians = {
                name: [statistics.median(way) / IMAGES for way in zip(*measured, strict=True)]
                for name, measured in times.items()
            }
            both = [f"{ahead:.3f} / {back:.3f}" for ahead, back in medians.values()]
            lines.append(
                (layer, str(tokens), str(width), *both, f"{sum(medians['PyTorch']) / sum(medians['compiled']):.2f}")
            )
    facts = {**environment(), "threads": threads, "precision": precision, "images": IMAGES}
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"environment": facts, "layers": found}, indent=1) + "\n")
    print(f"{facts['processor']}, {precision}, {threads} threads; ms an image, forward / backward")
    print(table(("layer", "tokens", "width", "compiled", "PyTorch", "gain"), lines))


if __name__ == "__main__":
    tyro.cli(main)
