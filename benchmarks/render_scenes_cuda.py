"""Scenes on a GPU: both ways of the Triton kernels, beside gsplat where it is installed.

    python -m benchmarks.render_scenes_cuda [--rows 400x400-30k] [--with-crossover] --json-file FILE

The scenes are those of `benchmarks.scene_step`: Gaussians of log-normal sizes with harmonics of degree 3 fill the view
of one camera. Each contender renders a picture of three channels through autograd: "scene" is the way for many
Gaussians, "few" the way that GPUs took before, and "gsplat" is `render(backend="gsplat")`. Times are medians of device
events in milliseconds, forward alone (without gradients) and with the backward pass; the host waits once in "scene" and
"gsplat". Memory is the peak of a step above what was there before. `difference` is the relative L2 distance of picture
and gradients from those of "scene", and `kernels` are milliseconds of the device in one step of "scene".
`--with-crossover` compares both ways for sets of 1,024 to 65,536 Gaussians. With `--device cpu` the benchmark itself is
tried.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.common import figures, table
from benchmarks.devices import ceilings, device_facts, milliseconds
from benchmarks.scene_step import RATES, ROWS, Row, camera_of, parameters_of
from splatlearn import Gaussians, available_backends, render
from splatlearn.rendering import scenes

CHOSEN = ("400x400-30k", "400x400-100k", "1600x1064-100k", "1600x1064-500k", "1600x1064-1M")
TINY = {"tiny": Row(24, 32, 200, 2.0)}
CROSSOVER = tuple((side, count) for side in (224, 400, 800) for count in (1024, 4096, 16_384, 65_536))
THRESHOLDS = ("FEWEST", "ALWAYS", "FEWEST_ON_GPU")
NEVER = 10**9
"""More Gaussians than any set has."""
Step = Callable[[], tuple[Tensor, ...]]


@contextmanager
def taking(fewest: int) -> Iterator[None]:
    """Inside, sets of `fewest` Gaussians and more take the way for scenes."""
    kept = {name: getattr(scenes, name) for name in THRESHOLDS}
    try:
        for name in THRESHOLDS:
            setattr(scenes, name, fewest)
        yield
    finally:
        for name, value in kept.items():
            setattr(scenes, name, value)


def contenders_on(device: str) -> dict[str, tuple[str, int]]:
    """Backend and threshold of each contender."""
    found = {"scene": ("auto", 0), "few": ("auto", NEVER)}
    if device == "cuda" and available_backends()["gsplat"] == "ok":
        found["gsplat"] = ("gsplat", 0)
    return found


def steps_of(row: Row, device: str, backend: str, fewest: int) -> tuple[Step, Step]:
    """A call that renders, and one that also goes back; both return the picture, the second the gradients too."""
    leaves = {name: each.to(device).requires_grad_() for name, each in parameters_of(row).items()}
    gaussians, camera = Gaussians.of(leaves), camera_of(row)
    upstream = torch.randn(3, row.height, row.width, generator=torch.Generator().manual_seed(2)).to(device)

    def picture() -> Tensor:
        with taking(fewest):
            return render(gaussians, camera, "black", backend, depth=False).color

    def forward() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (picture(),)

    def both() -> tuple[Tensor, ...]:
        color = picture()
        return color.detach(), *torch.autograd.grad(color, list(leaves.values()), upstream)

    return forward, both


def peak_bytes(step: Step, device: str) -> int | None:
    """Bytes of the device that a step takes at its peak, its results counted; None on a CPU."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def kernel_times(step: Step, device: str) -> dict[str, float]:
    """Milliseconds of the device for each kernel of a step, the longest first; nothing on a CPU."""
    if device != "cuda":
        return {}
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        torch.cuda.synchronize()
    times = {each.key: each.self_device_time_total / 1e3 for each in profiler.key_averages()}
    return dict(sorted(times.items(), key=lambda pair: -pair[1])[:20])


def distance(one: Tensor, other: Tensor) -> float:
    """‖one − other‖ / ‖other‖ in L2."""
    return float((one - other).double().norm() / other.double().norm().clamp_min(1e-30))


def measure(name: str, row: Row, device: str, rounds: int) -> list[dict[str, Any]]:
    """One entry for each contender; one that runs out of memory is named with that."""
    entries, reference = [], None
    with torch.no_grad():
        info = render(
            Gaussians.of({key: each.to(device) for key, each in parameters_of(row).items()}),
            camera_of(row), "black", depth=False, info=("weights",),
        ).info  # fmt: skip
    assert info is not None and info.pixels is not None
    facts = {"visible": len(info.ids), "pairs": int(info.pixels.double().sum()), "intersections": info.intersections}
    del info
    for contender, (backend, fewest) in contenders_on(device).items():
        entry: dict[str, Any] = {"row": name, "contender": contender, "count": row.count, **facts}
        try:
            forward, both = steps_of(row, device, backend, fewest)
            found = both()
            reference = found if reference is None else reference
            distances = [distance(one, other) for one, other in zip(found, reference, strict=True)]
            entry["difference"] = dict(zip(("color", *RATES), distances, strict=True))
            del found
            entry["peak_bytes"] = peak_bytes(both, device)
            entry["milliseconds"] = {
                "forward": milliseconds([forward], device, rounds),
                "both": milliseconds([both], device, rounds),
            }
            entry["median"] = {key: statistics.median(values) for key, values in entry["milliseconds"].items()}
            if contender == "scene":
                entry["kernels"] = kernel_times(both, device)
        except torch.OutOfMemoryError as error:
            entry["failed"] = str(error).splitlines()[0]
        entries.append(entry)
        print(json.dumps({key: entry.get(key) for key in ("row", "contender", "median", "peak_bytes", "failed")}))
    return entries


def crossover(device: str, rounds: int, pairs: tuple[tuple[int, int], ...] = CROSSOVER) -> list[dict[str, Any]]:
    """Medians of both ways for single pictures, forward and backward."""
    found = []
    for side, count in pairs:
        entry: dict[str, Any] = {"side": side, "count": count}
        for name in ("scene", "few"):
            _, both = steps_of(Row(side, side, count, 2.0), device, *contenders_on(device)[name])
            entry[name] = statistics.median(milliseconds([both], device, rounds))
        found.append(entry)
        print(json.dumps(entry), flush=True)
    return found


def main(
    device: str = "cuda",
    rows: tuple[str, ...] = CHOSEN,
    rounds: int = 20,
    with_crossover: bool = False,
    json_file: Path | None = None,
) -> None:
    """Time scenes, print a table and write everything to a file.

    - `device`: cuda, or cpu to try the benchmark. `rows`: names of scenes.
    - `with_crossover`: also compare both ways for few Gaussians.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("device: no CUDA device was found; use --device cpu to try the benchmark")
    known = ROWS | TINY
    unknown = [name for name in rows if name not in known]
    if unknown:
        raise SystemExit(f"rows: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    result: dict[str, Any] = {"environment": device_facts(device), "ceilings": ceilings(device)}
    result["rows"] = [entry for name in rows for entry in measure(name, known[name], device, rounds)]
    if with_crossover:
        result["crossover"] = crossover(device, rounds)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    heads = ("row", "contender", "forward", "fwd+bwd", "MB", "visible", "intersections")
    print(table(heads, [_line(entry) for entry in result["rows"]]))
    if "gsplat" not in contenders_on(device):
        print("gsplat was not measured: it is not installed here, or there is no CUDA device.")


def _line(entry: dict[str, Any]) -> tuple[str, ...]:
    median, peak = entry.get("median"), entry.get("peak_bytes")
    times = ("failed", "failed") if median is None else tuple(figures(median[key]) for key in ("forward", "both"))
    memory = "" if peak is None else f"{peak / 1e6:.0f}"
    return (
        entry["row"],
        entry["contender"],
        *times,
        memory,
        f"{entry['visible']:,}",
        f"{entry['intersections']:,}",
    )


if __name__ == "__main__":
    tyro.cli(main)
