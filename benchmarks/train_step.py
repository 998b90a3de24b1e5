"""Pre-training steps of MAE and GMAE beside transformers' ViTMAE: images/s, memory, the renderer's share.

    python -m benchmarks.train_step --device cuda --precision bf16 --batches 256 --compiled --json-file train_step.json
    python -m benchmarks.train_step --device cpu --model vit_tiny_patch16_64 --batches 4 --rounds 3

Contenders have the same sizes, batch and threads and take turns in one process. A step is a random mask, forward,
masked error, backward and fused AdamW. The renderer's share is that of rendering the same Gaussians forward and
backward by itself. GB is the most that is allocated on a GPU, MB/image what a step takes beyond what is held between
steps, gradients among it. With K = 147 at 224 px the decoders of MAE and GMAE are equally long (50 visible and 147
others).
"""

from __future__ import annotations

import gc
import json
import statistics
from pathlib import Path

import torch
import tyro

from splatlearn.models import GMAE
from splatlearn.rendering import render

from .common import Task, figures, interleave, table
from .devices import device_facts, milliseconds
from .step_contenders import THEIRS, Options, make_model, make_step, sizes
from .step_memory import step_megabytes

HEADS = ("contender", "compiled", "batch", "images/s", "ms/image", "renderer", "GB", "MB/image", "/ MAE")


def renderer_milliseconds(model: GMAE, batch: int, options: Options) -> float:
    """Projection and compositing of a batch of the model's Gaussians, forward and backward."""
    height, width = model.image_size
    with torch.no_grad(), options.autocast():
        images = torch.rand(batch, 3, height, width, device=options.device)
        predicted, background = model.gaussians(images), model.background(images)
    gaussians = predicted.to(torch.float32).map(lambda tensor: tensor.detach().requires_grad_())
    leaves, camera = list(gaussians.tensors().values()), model.camera(height, width)

    def call() -> object:
        image = render(gaussians, camera, background, depth=False, check=False).color
        return torch.autograd.grad(image, leaves, image.detach())

    return statistics.median(milliseconds([call], options.device, options.rounds))


def fits(name: str, batch: int, options: Options) -> bool:
    """Whether a step of that many images fits into the GPU's memory."""
    model = make_model(name, options)
    side, patch_size = sizes(options)
    try:
        make_step(model, batch, side, patch_size, options)()
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        del model
        gc.collect()
        torch.cuda.empty_cache()
    return True


def rows_of(names: list[str], batch: int, compiled: bool, options: Options) -> list[dict]:
    """Time the contenders in turns; one row for each."""
    side, patch_size = sizes(options)
    models = {name: make_model(name, options) for name in names}
    peaks: dict[str, float | None] = {}
    extra: dict[str, float | None] = {}
    tasks = []
    for name, model in models.items():
        if compiled:
            model.compile()
        step = make_step(model, batch, side, patch_size, options)
        step()
        peaks[name] = None
        if options.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
            step()
            peaks[name] = torch.cuda.max_memory_allocated() / 1e9
            extra[name] = (torch.cuda.max_memory_allocated() - held) / batch / 1e6
        else:
            extra[name] = None if compiled else step_megabytes(name, batch, options)
        tasks.append(Task(name, step, batch, options.rounds))
    timings = interleave(tasks)
    rows = []
    for name, model in models.items():
        middle = statistics.median(timings[name])
        row = {"contender": name, "batch": batch, "compiled": compiled, "milliseconds_per_image": timings[name]}
        row |= {"images_per_second": 1e3 / middle, "median": middle, "peak_gigabytes": peaks[name]}
        row["step_megabytes_per_image"] = extra[name]
        if isinstance(model, GMAE):
            spent = renderer_milliseconds(model, batch, options) / batch
            row |= {"renderer_milliseconds_per_image": spent, "renderer_share": spent / middle}
            row["gaussians_per_query"] = model.config.gaussians_per_query
        rows.append(row)
    mae = next((row["median"] for row in rows if row["contender"] == "mae"), None)
    return [{**row, "times_mae": None if mae is None else row["median"] / mae} for row in rows]


def line(row: dict) -> tuple[str, ...]:
    """A row as text."""
    share = row.get("renderer_share")
    return (
        row["contender"],
        "yes" if row["compiled"] else "no",
        str(row["batch"]),
        figures(row["images_per_second"]),
        figures(row["median"]),
        figures(None if share is None else 100 * share, " %"),
        figures(row["peak_gigabytes"]),
        figures(row["step_megabytes_per_image"]),
        figures(row["times_mae"]),
    )


def main(
    model: str = "vit_base_patch16_224",
    device: str = "cuda",
    precision: str = "bf16",
    batches: tuple[int, ...] = (256,),
    gaussians: tuple[int, ...] = (147, 256, 1024, 4096),
    gaussians_per_query: int | None = None,
    queries: int = 256,
    rounds: int = 10,
    threads: int | None = None,
    compiled: bool = False,
    largest: bool = False,
    theirs: bool = True,
    theirs_precision: str | None = None,
    json_file: Path | None = None,
) -> None:
    """Time training steps, print a table and write everything to a file.

    Args:
        model: Sizes of the models, without mae_ or gmae_ in front.
        device: cuda or cpu.
        precision: fp32, or bf16 for autocast.
        batches: Images of a step; each is measured.
        gaussians: K of the GMAEs.
        gaussians_per_query: Gaussians of one token of the decoder; by default as few as `queries` allows.
        queries: Most such tokens.
        rounds: Timings of each contender.
        threads: Threads of PyTorch.
        compiled: Also with torch.compile.
        largest: Also at the largest power of two that fits, for MAE and the first GMAE.
        theirs: Also transformers' ViTMAEForPreTraining.
        theirs_precision: Its precision, where that is not `precision`.
        json_file: File for the raw numbers.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("device: no CUDA device was found; use --device cpu and a small --model")
    if threads is not None:
        torch.set_num_threads(threads)
    options = Options(model, device, precision, rounds, gaussians_per_query, queries, theirs_precision)
    names = ["mae", *([THEIRS] if theirs else []), *(f"gmae-{count}" for count in gaussians)]
    rows = []
    for batch in batches:
        rows += rows_of(names, batch, False, options)
        if compiled:
            rows += rows_of(names, batch, True, options)
    if largest and device == "cuda":
        pair = ["mae", *(f"gmae-{count}" for count in gaussians[:1])]
        batch = max(batches)
        while all(fits(name, 2 * batch, options) for name in pair):
            batch *= 2
        rows += rows_of(pair, batch, False, options)
    facts = {**device_facts(device), "threads": torch.get_num_threads(), "model": model, "precision": precision}
    facts["theirs_precision"] = theirs_precision or precision
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"environment": facts, "rows": rows}, indent=1) + "\n")
    print(f"{facts['device_name']}, {model}, {precision}, {facts['threads']} threads")
    print(table(HEADS, [line(row) for row in rows]))


if __name__ == "__main__":
    tyro.cli(main)
