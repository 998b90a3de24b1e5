"""Beside OpenSplat: processor time of a whole step, and to a held-out PSNR, measured in turns.

    python -m benchmarks.opensplat --program PATH [--steps CAPTURE...] [--targets CAPTURE...] [--psnr 18 24]
        [--rounds 3] [--seconds 600] [--json-file FILE]

OpenSplat (AGPL) is a program of its own, built elsewhere; nothing of it is needed here but the path of its binary.
Both programs begin with the same Gaussians, see the same photographs (transparent ones over black, the background that
OpenSplat has) at their full size, and wait for work without spinning. Every figure is of a process of its own.

"steps" compares whole steps at a capture's start, before Gaussians are added: the difference of two processes that
make two numbers of steps.
"targets" compares the time to a held-out PSNR. OpenSplat has its own options and writes its Gaussians now and then; our
renderer scores them, as it scores ours. Start-up, scores and files are left out on both sides, but for the files that
OpenSplat writes.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from benchmarks.common import table
from benchmarks.reconstruct import curve
from splatlearn.captures import Photographs, load_capture
from splatlearn.captures.capture import Capture
from splatlearn.captures.poses import inverted
from splatlearn.captures.transforms.reader import OPENGL
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.harmonics import C0
from splatlearn.core.ply.container import ply_bytes
from splatlearn.files import read_splats
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.recipes.capture_options import CaptureOptions
from splatlearn.reconstruction.recipes.presets import Preset
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.recipes.run_options import SceneRunOptions
from splatlearn.reconstruction.recipes.scene_options import SceneOptions
from splatlearn.reconstruction.results.evaluator import Evaluator
from splatlearn.reconstruction.running.starting import first_gaussians
from splatlearn.runs.folder import environment
from splatlearn.runs.log import LOG

RANDOM_START = 10_000
"""Gaussians of both programs at the start where a capture has no points."""
BACKGROUND = "black"
STEP = re.compile(rb"Step (\d+):")
"""What OpenSplat prints in each step, after its backward pass."""
CHUNK = 1 << 16
"""Bytes of its output that are read at once."""
NEVER = 1_000_000_000
"""Steps between scores where none are wanted."""


@dataclass(frozen=True)
class Options:
    """What is compared."""

    program: Path
    """OpenSplat's binary."""
    steps: tuple[str, ...] = ()
    """Captures whose first steps are timed."""
    targets: tuple[str, ...] = ()
    """Captures that are fitted until a PSNR is reached."""
    psnr: tuple[float, ...] = (18.0, 24.0)
    """Held-out PSNRs in dB, ascending."""
    preset: Preset = "fast"
    """Our preset for "targets"."""
    rounds: int = 3
    """Turns of ours and theirs for "steps"."""
    lengths: tuple[int, int] = (40, 240)
    """Our two numbers of steps: the difference of their times is that of the steps between them."""
    their_lengths: tuple[int, int] = (5, 25)
    """OpenSplat's."""
    every: int = 50
    """OpenSplat's steps between two scores; ours too."""
    our_last: int | None = None
    """Our step after which no PSNR is looked for. Default: the preset's last."""
    seconds: float = 600.0
    """Processor seconds after which a fit of OpenSplat is ended."""
    json_file: Path | None = None
    """File for all numbers."""


@dataclass(frozen=True)
class Used:
    """Seconds of the processor, all threads, and of the clock."""

    cpu: float
    wall: float

    def __sub__(self, other: Used) -> Used:
        return Used(self.cpu - other.cpu, self.wall - other.wall)

    def __truediv__(self, count: float) -> Used:
        return Used(self.cpu / count, self.wall / count)


@dataclass(frozen=True)
class Reached:
    """A held-out PSNR in dB after a step, and what the steps up to it took."""

    step: int
    psnr: float
    gaussians: int
    used: Used


def main(options: Options) -> None:
    """Measure, and print tables and JSON."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    result: dict[str, Any] = {"environment": environment(), "opensplat": version_of(options.program)}
    result["steps"] = [compare_steps(capture, options) for capture in options.steps]
    result["targets"] = [compare_targets(capture, options) for capture in options.targets]
    rows = [
        (each["capture"], f"a step, {each['gaussians']:,} Gaussians", *_ratio(each["ours"], each["theirs"]))
        for each in result["steps"]
    ]
    for each in result["targets"]:
        for target, found in each["reached"].items():
            # A target that was not reached takes more than all that was used.
            at_least = each["their_curve"][-1]["used"] if each["their_curve"] else None
            rows.append((each["capture"], f"{target} dB", *_ratio(found["ours"], found["theirs"], at_least)))
    print(table(("capture", "to", "ours, CPU s", "OpenSplat, CPU s", "times"), rows))
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def _ratio(
    ours: dict[str, float] | None, theirs: dict[str, float] | None, at_least: dict[str, float] | None = None
) -> tuple[str, str, str]:
    more = "" if theirs else "> "
    first, second = (each["cpu"] if each else math.nan for each in (ours, theirs or at_least))
    return f"{first:.3f}", f"{more}{second:.3f}", f"{more}{second / first:.1f}"


def version_of(program: Path) -> str:
    """What OpenSplat says of its version."""
    return subprocess.run([program.resolve(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


def compare_steps(folder: str, options: Options) -> dict[str, Any]:
    """Time steps at the start of a capture in turns, and return medians and all rounds."""
    with tempfile.TemporaryDirectory() as place:
        count = write_project(load_capture(folder), Path(place))
        ours, theirs = [], []
        # At full size from the first step on, as OpenSplat; nothing is added in these steps.
        given = {"coarse": 0.0, "max_gaussians": max(100_000, count)}
        for _ in range(options.rounds):
            ours.append(a_step(lambda n: our_time(folder, "default", {**given, "stop_after": n}), options.lengths))
            theirs.append(a_step(lambda n: their_time(options.program, Path(place), n), options.their_lengths))
    return {
        "capture": Path(folder).name,
        "gaussians": count,
        "ours": _median(ours),
        "theirs": _median(theirs),
        "rounds": [{"ours": asdict(our), "theirs": asdict(their)} for our, their in zip(ours, theirs, strict=True)],
    }


def a_step(timed: Callable[[int], Used], lengths: tuple[int, int]) -> Used:
    """What one step takes, from the times of two numbers of steps."""
    short, long = lengths
    begun = timed(short)
    return (timed(long) - begun) / (long - short)


def _median(found: list[Used]) -> dict[str, float]:
    return {name: statistics.median(getattr(each, name) for each in found) for name in ("cpu", "wall")}


def compare_targets(folder: str, options: Options) -> dict[str, Any]:
    """Fit a capture with both until the targets are reached; ours is timed before and after theirs."""
    every = {"background": BACKGROUND, "random_start": RANDOM_START}
    scored = {"evaluate_every": options.every, "evaluate_views": NEVER, "stop_after": options.our_last}
    scores = our_curve(folder, options.preset, {**every, **scored})
    firsts = {target: next((each for each in scores if each["psnr"] >= target), None) for target in options.psnr}
    ours: dict[float, list[Used]] = {target: [] for target in options.psnr}

    def time_ours() -> None:
        for target, first in firsts.items():
            if first is not None:
                spent = [our_time(folder, options.preset, {**every, "stop_after": n}) for n in (1, int(first["step"]))]
                ours[target].append(spent[1] - spent[0])

    time_ours()
    theirs = [*their_fit(folder, options)]
    time_ours()
    reached = {}
    for target, first in firsts.items():
        found = next((each for each in theirs if each.psnr >= target), None)
        reached[f"{target:g}"] = {
            "ours": {**_median(ours[target]), "step": first["step"], "psnr": first["psnr"]} if first else None,
            "theirs": {**asdict(found.used), "step": found.step, "psnr": found.psnr} if found else None,
        }
    return {
        "capture": Path(folder).name, "preset": options.preset, "reached": reached, "our_curve": scores,
        "their_curve": [asdict(each) for each in theirs],
    }  # fmt: skip


def their_fit(folder: str, options: Options) -> Iterator[Reached]:
    """Fit a capture with OpenSplat, and yield its scores until the last target is reached or its time is over."""
    capture = load_capture(folder)
    held_out = [capture.views[index] for index in capture.held_out]
    with contextlib.ExitStack() as stack:
        project = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        photographs = stack.enter_context(Photographs(held_out, None, frame=capture.to_unit))
        write_project(capture, project)
        evaluator = Evaluator(photographs, BACKGROUND)
        begun: Used | None = None
        before = Used(0.0, 0.0)
        steps = stack.enter_context(
            contextlib.closing(their_steps(options.program, project, "--save-every", str(options.every)))
        )
        for step, used in steps:
            begun = begun or used
            written = project / f"scene_{step - 1}.ply"
            if written.exists() and begun is not None:
                # The file of the step before is whole, and this step has begun.
                gaussians = read_splats(written)
                written.unlink()
                found = Reached(step - 1, evaluator.all(gaussians).psnr, gaussians.count, before - begun)
                print(f"{capture.folder.name}: {found}", file=sys.stderr, flush=True)
                yield found
                if found.psnr >= options.psnr[-1] or found.used.cpu >= options.seconds:
                    return
            # The last time that is known: never more than the step took.
            before = used or before


def their_time(program: Path, project: Path, steps: int) -> Used:
    """What a process of OpenSplat takes in all for a number of steps."""
    # In a run of few steps it would leave out its optimiser in most of them, unless it believes that it is to densify.
    given = ("--num-iters", str(steps), "--densify-until", "15000")
    command, begun = _command(program, project, *given), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Used(usage.ru_utime + usage.ru_stime, time.perf_counter() - begun)


def their_steps(program: Path, project: Path, *arguments: str) -> Generator[tuple[int, Used | None], None, None]:
    """Run OpenSplat, and yield each step and what it has used by then. Closing the generator ends the program.

    That is None for a step of which this process heard only when a later one had begun. Raises CalledProcessError if
    the program fails.
    """
    command, begun = _command(program, project, *arguments), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            rest = b""
            while chunk := os.read(process.stdout.fileno(), CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                used = Used(processor_seconds(process.pid), time.perf_counter() - begun)
                steps = [int(found[1]) for line in lines if (found := STEP.match(line))]
                for step in steps:
                    yield step, used if step == steps[-1] else None
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, command)
        finally:
            process.terminate()


def _command(program: Path, project: Path, *arguments: str) -> list[str]:
    return [str(program.resolve()), str(project), "--cpu", "--output", str(project / "scene.ply"), *arguments]


def processor_seconds(pid: int) -> float:
    """The processor time of a running process, all of its threads, from /proc."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(each) for each in after_name[11:13]) / os.sysconf("SC_CLK_TCK")


def write_project(capture: Capture, folder: Path) -> int:
    """Write the photographs that are fitted as a nerfstudio project, and return the number of first Gaussians.

    Cameras, and points at the places of our first Gaussians, are in the unit frame of the capture. Photographs are
    PNG files, as pinhole cameras would have taken them; transparent ones lie over black.
    """
    views = [capture.views[index] for index in capture.training]
    frames = []
    with Photographs(views, None, frame=capture.to_unit) as photographs:
        for index, photo in enumerate(photographs):
            pixels, camera = photo.pixels.numpy(), photo.camera
            if pixels.shape[-1] == 4:
                pixels = np.rint(pixels[..., :3] * (pixels[..., 3:] / 255.0)).astype(np.uint8)
            name = f"{index:05d}.png"
            Image.fromarray(pixels).save(folder / name, compress_level=1)
            pose = inverted(camera.viewmats.double().numpy()) @ OPENGL
            lens = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
            size = {"w": camera.width, "h": camera.height}
            numbers = {key: float(value) for key, value in lens.items()}
            frames.append({"file_path": name, **size, **numbers, "transform_matrix": pose.tolist()})
        gaussians = _first(capture, photographs)
    write_points(folder / "points.ply", gaussians)
    document = {"camera_model": "OPENCV", "ply_file_path": "points.ply", "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(document))
    return gaussians.count


def _first(capture: Capture, photographs: Photographs) -> Gaussians:
    given = SceneOptions(random_start=RANDOM_START)
    recipe = SceneRecipe(CaptureOptions(str(capture.folder)), SceneRunOptions(""), given).resolved()
    return first_gaussians(recipe, capture, photographs, NEVER)[0]


def write_points(path: Path, gaussians: Gaussians) -> None:
    """Write the places and colours of Gaussians as a PLY file of points."""
    assert gaussians.sh is not None
    colors = ((gaussians.sh[:, 0] * C0 + 0.5).clamp(0, 1) * 255).round().byte().numpy()
    kinds = [(axis, "<f4") for axis in "xyz"] + [(color, "u1") for color in ("red", "green", "blue")]
    points = np.empty(gaussians.count, kinds)
    for column, axis in enumerate("xyz"):
        points[axis] = gaussians.means[:, column].numpy()
    for column, color in enumerate(("red", "green", "blue")):
        points[color] = colors[:, column]
    path.write_bytes(ply_bytes({"vertex": points}, []))


def our_curve(folder: str, preset: Preset, options: dict[str, Any]) -> list[dict[str, float]]:
    """The scores of one of our runs; see `benchmarks.reconstruct`."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(our_run, (folder, preset, options))[1]


def our_time(folder: str, preset: Preset, options: dict[str, Any]) -> Used:
    """What a process takes in all for one of our runs, without scores beyond the first."""
    quiet = {"evaluate_every": NEVER, "evaluate_views": 1, "checkpoint_every": NEVER}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(our_run, (folder, preset, {**quiet, **options}))[0]


def our_run(folder: str, preset: Preset, options: dict[str, Any]) -> tuple[Used, list[dict[str, float]]]:
    """Reconstruct in this process: all that the process has used by then, and the scores on the way."""
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        reconstruct(folder, Path(place) / "run", preset=preset, **options)
        return Used(time.process_time(), time.perf_counter() - begun), curve(Path(place) / "run" / LOG)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
