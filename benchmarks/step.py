"""Where the time of a pre-training step goes: shares of forward, backward and optimiser by kind of operation.

    python -m benchmarks.step [--model NAME] [--batch B] [--steps N] [--threads T] [--precision fp32|bf16] [--plain]

One step is what the loop does: reconstruction under a random mask, masked error, backward, clipping, fused AdamW.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import torch
import tyro
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import PAPER_LIKE
from splatlearn.models import MAE, ModelOptions, create_model, model_config, random_mask
from splatlearn.models.nn.layers import plain_layers
from splatlearn.objectives import masked_mse
from splatlearn.runs.folder import environment

KINDS = {
    "renderer": ("splatlearn::",),
    "blocks, between products": ("_residual",),
    "attention": ("scaled_dot_product", "_attention"),
    "matrix products": ("aten::mm", "aten::bmm", "aten::addmm", "mkldnn", "aten::linear"),
    "norms": ("layer_norm",),
    "GELU": ("gelu",),
    "optimiser": ("adamw", "aten::_foreach", "linalg_vector_norm"),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::gather", "aten::index", "aten::_to_copy", "scatter"),
    "sums": ("aten::sum", "aten::mean"),
}
"""Kinds of operations by what their names start with or contain; the first that fits counts."""


def kind_of(operation: str) -> str:
    """The kind of a profiled operation."""
    for kind, marks in KINDS.items():
        if any(mark in operation.lower() for mark in marks):
            return kind
    return "other"


def main(
    model: str = "gmae_vit_tiny_patch16_224",
    batch: int = 8,
    steps: int = 5,
    threads: int = 2,
    precision: str = "fp32",
    plain: bool = False,
    json_file: str | None = None,
) -> None:
    """Profile steps and print the shares of their time.

    Args:
        model: Name of the model.
        batch: Images of a step.
        steps: Steps that are measured, after one that is not.
        threads: Threads of PyTorch.
        precision: fp32, or bf16 for autocast.
        plain: PyTorch's blocks, GELU and attention in place of the compiled ones.
        json_file: File for the raw numbers.
    """
    torch.set_num_threads(threads)
    options = ModelOptions()
    if model.startswith("gmae_"):
        # As deep a decoder as the MAE's, and the Gaussians that the kept profiles are of.
        depth = model_config(model.replace("gmae_", "mae_", 1)).decoder.depth
        options = ModelOptions(decoder_depth=depth, gaussians=256, gaussians_per_query=1, **PAPER_LIKE)
    made = create_model(model, seed=0, options=options)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-4, fused=True)
    height, width = made.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, height, width, generator=generator)
    grid = (height // made.patch_size, width // made.patch_size)

    # As the training loop asks: the error is that of the hidden patches.
    asked = {"visible": False} if isinstance(made, MAE) else {}

    def step() -> None:
        mask = random_mask(batch, grid, 0.75, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            reconstruction = made(images, mask, **asked)
            loss = masked_mse(reconstruction.image, images, mask, made.patch_size)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad()

    seconds = []
    with plain_layers() if plain else nullcontext():
        step()
        for _ in range(steps):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(steps):
                step()
    times: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total
    total = sum(times.values())
    shares = {kind: spent / total for kind, spent in sorted(times.items(), key=lambda item: -item[1])}
    result = {
        "model": model,
        "batch": batch,
        "threads": threads,
        "precision": precision,
        "ms_per_image": 1000 * statistics.median(seconds) / batch,
        "plain": plain,
        "shares": shares,
        "ms_outside_products": (total - times["matrix products"]) / 1000 / steps / batch,
        "processor": environment()["processor"],
        "torch": torch.__version__,
    }
    for kind, share in shares.items():
        print(f"{kind:24s} {100 * share:5.1f} %")
    print(f"{result['ms_per_image']:.1f} ms an image, {result['ms_outside_products']:.2f} ms outside matrix products")
    if json_file is not None:
        Path(json_file).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
