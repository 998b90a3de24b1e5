"""The scene of the demo: a still life that the package renders, reconstructed from its photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from splatlearn.captures.still_life.write import still_life_files, write_still_life
from splatlearn.cli.progress import progress_bar
from splatlearn.core.cameras import Camera
from splatlearn.core.cameras.paths import orbit
from splatlearn.core.disk.atomic import replacing
from splatlearn.reconstruction.recipes.capture_options import CaptureOptions
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.recipes.run_options import SceneRunOptions
from splatlearn.reconstruction.recipes.scene_options import SceneOptions
from splatlearn.reconstruction.results.scene_run import SCENE, SCORES, SNAPSHOTS, SceneRun
from splatlearn.reconstruction.running.job import run_recipe
from splatlearn.report import Figure, KeyValues, Section
from splatlearn.report.parts.page import Link
from splatlearn.report.scenes.pictures import moving
from splatlearn.report.scenes.report import scene_sections, write_scene_report
from splatlearn.report.scenes.view import write_run_view
from splatlearn.runs.folder import DATA, ENVIRONMENT, LOG, RECIPE

PHOTOGRAPHS, RUN = "still_life", "scene"
"""Folders beside the page: of the capture, and of the run."""
PAGE, FILM = "scene.html", "scene.webp"
MIDDLE, RADIUS = (0.0, 0.0, 0.12), 1.56
"""Middle and radius of the orbit, in the units of the still life, whose z axis points up."""
EVALUATIONS = 10
INTRO = (
    "Not from a GMAE: a still life that this package ray-traces, with photographs of scikit-image on its blocks, and "
    "reconstructs as Gaussians from {} pictures and their cameras. The fit began with points on the surfaces, and did "
    "not see the {} pictures that judge it."
)


@dataclass(frozen=True)
class DemoScene:
    """Result of the scene: sections for the page, numbers for the summary, and whether it was interrupted."""

    sections: list[Section]
    summary: dict[str, float]
    interrupted: bool


@dataclass(frozen=True)
class Size:
    """Numbers of photographs, steps, Gaussians and frames of the orbit, and the pictures' width and height."""

    views: int
    picture: tuple[int, int]
    steps: int
    gaussians: int
    frames: int


FULL = Size(40, (400, 300), 1_500, 25_000, 36)
SHORT = Size(12, (160, 120), 150, 4_000, 12)


def scene_names(short: bool) -> list[str]:
    """The names of files that are known before they are written."""
    size = SHORT if short else FULL
    every = size.steps // EVALUATIONS
    shots = [f"{SNAPSHOTS}/step-{step:08d}.jpg" for step in range(0, size.steps, every)]
    run = [RECIPE, ENVIRONMENT, DATA, LOG, SCENE, SCORES, "report.html", *shots]
    return [*(f"{RUN}/{name}" for name in run), *(f"{PHOTOGRAPHS}/{name}" for name in still_life_files(size.views))]


def demo_scene(out: Path, short: bool, seed: int, device: str, console: Console) -> DemoScene | None:
    """Render the still life, reconstruct it, and write the page to walk around in; None if no step was made."""
    size = SHORT if short else FULL
    console.print(
        f"now a scene: {size.views} pictures of a still life are rendered, and reconstructed", highlight=False
    )
    with progress_bar() as told:
        write_still_life(out / PHOTOGRAPHS, size.views, size.picture, lambda done, count: told("trace", done, count))
    result = run_recipe(scene_recipe(out, size, seed, device))
    if not result.steps:
        return None
    run = SceneRun(out / RUN)
    write_run_view(run, out / PAGE)
    write_scene_report(out / RUN)
    film = moving(run.gaussians, orbit_of(size), "white")
    with replacing(out / FILM) as beside:
        beside.write_bytes(film)
    summary = {"scene_steps": result.steps, "scene_gaussians": result.count, "scene_seconds": result.seconds}
    if result.scores is not None:
        summary |= {"scene_psnr": result.scores.psnr, "scene_ssim": result.scores.ssim}
    return DemoScene([_section(run, film), *_chosen(run)], summary, result.interrupted)


def scene_recipe(out: Path, size: Size, seed: int, device: str) -> SceneRecipe:
    """The recipe of the scene: the preset "fast" with fewer steps."""
    return SceneRecipe(
        capture=CaptureOptions(photos=str(out / PHOTOGRAPHS)),
        scene=SceneOptions(steps=size.steps, max_gaussians=size.gaussians),
        # Scenes are not rendered on Apple's GPUs.
        run=SceneRunOptions(
            out=str(out / RUN),
            seed=seed,
            device="cpu" if device == "mps" else device,
            checkpoint_every=10_000,
            evaluate_every=size.steps // EVALUATIONS,
        ),
        preset="fast",
    )


def orbit_of(size: Size) -> list[Camera]:
    """The cameras of the film."""
    import torch

    width, height = size.picture
    return orbit(torch.tensor(MIDDLE, dtype=torch.float64), RADIUS, size.frames, height, width, up=(0.0, 0.0, 1.0))


def _section(run: SceneRun, film: bytes) -> Section:
    capture, scores = run.capture, run.scores or {}
    facts: dict[str, object] = {"Gaussians": f"{run.gaussians.count:,}"}
    if scores:
        facts["Held-out pictures"] = f"{scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}"
        facts["Seconds in steps"] = f"{scores['seconds']:.0f}"
    blocks = [
        Figure(
            film, "An orbit around the reconstructed still life", "Its Gaussians, rendered from cameras on a circle."
        ),
        KeyValues(facts),
        Link(PAGE, "Walk around in the scene, and compare it with the pictures"),
        Link(f"{RUN}/report.html", "Its curves, edits and recipe"),
    ]
    return Section("A scene", INTRO.format(len(capture.training), len(capture.held_out)), blocks)


def _chosen(run: SceneRun) -> list[Section]:
    """The sections of the run's report that compare views, cut to the three worst views."""
    found = [each for each in scene_sections(run) if "views" in each.title]
    return [Section("The scene from held-out cameras", each.intro, each.blocks[:3]) for each in found]
