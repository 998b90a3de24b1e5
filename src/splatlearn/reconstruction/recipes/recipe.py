"""The recipe of a reconstruction: every choice, as one tree of dataclasses.

The fields are the command-line options, their docstrings its help. `None` stands for "the preset's own value", which
`SceneRecipe.resolved` fills in, so that a run's `recipe.json` says everything.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from tyro.conf import Positional

from splatlearn.core.errors import InputError
from splatlearn.reconstruction.recipes.presets import Preset, preset_values
from splatlearn.runs.recipe import StoredRecipe, check_choices, check_range, filled

StrategyName = Literal["mcmc", "default", "absgrad"]
BackgroundName = Literal["auto", "random", "black", "white"]
Start = Literal["auto", "points", "random"]


@dataclass(frozen=True)
class CaptureOptions:
    """The photographs."""

    photos: Positional[str]
    """A capture: a folder or zip archive with photographs and their cameras (COLMAP, transforms.json, depth camera)."""
    images: str | None = None
    """Folder of the photographs within the capture, such as images_4. Default: the usual one."""
    hold_out: int | None = None
    """Hold out the first of every n photographs, by name, to score the scene on them; 0: none. Default: the capture's
    own split, or 8."""
    max_size: int | None = None
    """Longer side, in pixels, to which larger photographs are scaled down. Default: 1600; fast: 800."""
    photo_memory: float | None = None
    """Gigabytes of decoded photographs to keep in memory. Default: a third of the free memory."""
    max_unreadable: float = 0.05
    """Largest fraction of photographs that cannot be read, which are left out and named; above it, the run stops."""


@dataclass(frozen=True)
class SceneOptions:
    """The Gaussians and how they are fitted."""

    steps: int | None = None
    """Number of steps. Default: fast 2000, default 7000, quality 15000, paper 30000. With --resume, a larger number
    extends a finished run."""
    minutes: float | None = None
    """Choose the number of steps, and with it all schedules, so that fitting takes about this time on this machine.
    Default: --steps decides."""
    strategy: StrategyName | None = None
    """How Gaussians are added and removed: mcmc (relocation and growth to a cap), default (clone, split, prune, reset)
    or absgrad (default, with absolute gradients). Default: mcmc; fast and paper: default."""
    max_gaussians: int | None = None
    """Largest number of Gaussians, never exceeded. Default: fast 30000, default 100000, quality 300000, paper 3000000;
    fewer if memory is short."""
    degree: int | None = None
    """Degree of the spherical harmonics, 0 to 3: how colours change with the direction of view. Default: 3; fast: 2."""
    start: Start = "auto"
    """The first Gaussians: the capture's points, or random places. auto: points, if the capture has at least 100."""
    random_start: int | None = None
    """Number of Gaussians of a random start. Default: a fifth of --max-gaussians, at most 100000."""
    start_from: str | None = None
    """Splat file or run of reconstruct whose Gaussians are the first ones; they are in the capture's coordinates.
    Default: --start decides."""
    background: BackgroundName = "auto"
    """Background of the renderings. auto: a random colour in each step if photographs are transparent, else black."""
    coarse: float | None = None
    """Fraction of the steps that see photographs at a quarter, then at half of their size. Default: 0.3; paper: 0."""
    ssim_weight: float = 0.2
    """Weight of 1 - SSIM in the loss; the mean absolute difference has the rest."""
    position_rate: float | None = None
    """First learning rate of positions, in extents of the scene; it falls to a hundredth. Default: fast 8e-4, default
    4e-4, quality and paper 1.6e-4."""
    rate: float | None = None
    """Factor of all other learning rates of 3D Gaussian Splatting. Default: fast 2, default 1.5, quality and paper
    1."""
    start_opacity: float | None = None
    """Opacity of first Gaussians that are points or random. Default: 0.5; paper: 0.1."""
    start_scale: float | None = None
    """Size of first Gaussians that are points or random, in distances to their neighbours. Default: 0.4; paper: 1."""


@dataclass(frozen=True)
class SceneRunOptions:
    """Where the reconstruction runs and what it writes."""

    out: str
    """Folder of the run."""
    seed: int = 0
    """Seed of the order of photographs and all other randomness."""
    device: str = "auto"
    """The device: auto, cpu, cuda or cuda:1."""
    evaluate_every: int | None = None
    """Number of steps between renderings of held-out photographs. Default: a tenth of the steps."""
    evaluate_views: int = 8
    """Largest number of held-out photographs for scores during the run; at its end all are used."""
    checkpoint_every: int = 1000
    """Number of steps between checkpoints; the last step always has one."""
    keep_checkpoints: int = 2
    """Number of the newest checkpoints to keep."""
    log_every: int = 10
    """Number of steps between writes of the log, which has one line per step."""
    resume: bool = False
    """Resume from the run's newest checkpoint."""
    allow_other_data: bool = False
    """Resume even if the photographs or cameras differ from those that the run began with."""
    stop_after: int | None = None
    """Stop with a checkpoint after this total number of steps; --resume continues the run. Default: the last step."""
    max_skipped: int = 10
    """Stop after this number of consecutive steps whose loss is not finite. Each such step is skipped."""


@dataclass(frozen=True)
class SceneRecipe(StoredRecipe):
    """Everything that fixes a reconstruction."""

    free = frozenset(
        f"run.{name}"
        for name in (
            "out", "device", "evaluate_every", "evaluate_views", "checkpoint_every", "keep_checkpoints", "log_every",
            "resume", "stop_after", "allow_other_data", "max_skipped",
        )
    ) | {"capture.photos", "capture.photo_memory", "capture.max_unreadable", "scene.minutes"}  # fmt: skip
    judged = frozenset({"scene.steps"})
    other_data = "begin in another --out with --start-from {run}"

    capture: CaptureOptions
    run: SceneRunOptions
    scene: SceneOptions = field(default_factory=SceneOptions)
    preset: Preset = "default"
    """fast: 2,000 steps and at most 30,000 Gaussians, about a minute on two CPU cores; default: 7,000 and 100,000;
    quality: 15,000 and 300,000; paper: the published choices of 3D Gaussian Splatting (docs/concepts/paper_scenes.md
    lists the differences). A run prints the time that it expects. Other options override single choices of a
    preset."""
    schedule_steps: int | None = None
    """Number of steps over which learning rates fall and Gaussians are added. An extended run keeps it. Default: that
    of --steps."""

    def __post_init__(self) -> None:
        check_recipe(self)

    def resolved(self) -> SceneRecipe:
        """This recipe with the preset's own values in place of None."""
        values = preset_values(self.preset)
        capture = filled(self.capture, max_size=values.max_size)
        scene = filled(
            self.scene,
            steps=values.steps,
            strategy=values.strategy,
            max_gaussians=values.max_gaussians,
            degree=values.degree,
            coarse=values.coarse,
            position_rate=values.position_rate,
            rate=values.rate,
            start_opacity=values.start_opacity,
            start_scale=values.start_scale,
        )
        scene = filled(scene, random_start=min(100_000, max(100, scene.max_gaussians // 5)))
        steps = scene.steps
        run = filled(self.run, evaluate_every=max(1, steps // 10))
        schedule = self.schedule_steps or steps
        return dataclasses.replace(self, capture=capture, scene=scene, run=run, schedule_steps=schedule)


def check_recipe(recipe: SceneRecipe) -> None:
    """Raise InputError naming the first option outside of its range."""
    capture, scene, run = recipe.capture, recipe.scene, recipe.run
    check_choices(
        preset=(recipe.preset, Preset),
        strategy=(scene.strategy, StrategyName),
        background=(scene.background, BackgroundName),
        start=(scene.start, Start),
    )
    check_range(
        "a number above 0", lambda value: value > 0,
        steps=scene.steps, minutes=scene.minutes, max_gaussians=scene.max_gaussians, random_start=scene.random_start,
        position_rate=scene.position_rate, rate=scene.rate, start_scale=scene.start_scale,
        max_size=capture.max_size, photo_memory=capture.photo_memory,
        evaluate_every=run.evaluate_every, evaluate_views=run.evaluate_views, checkpoint_every=run.checkpoint_every,
        keep_checkpoints=run.keep_checkpoints, log_every=run.log_every, max_skipped=run.max_skipped,
        schedule_steps=recipe.schedule_steps,
    )  # fmt: skip
    check_range("a number ≥ 0", lambda value: value >= 0, seed=run.seed, stop_after=run.stop_after)
    check_range("a number below 2^64", lambda value: value < 2**64, seed=run.seed)
    check_range("0, or a number from 2", lambda value: value == 0 or value >= 2, hold_out=capture.hold_out)
    check_range("a number above 0, at most 1", lambda value: 0 < value <= 1, start_opacity=scene.start_opacity)
    check_range("0, 1, 2 or 3", lambda value: value in (0, 1, 2, 3), degree=scene.degree)
    check_range(
        "a number from 0 to 1", lambda value: 0 <= value <= 1,
        coarse=scene.coarse, ssim_weight=scene.ssim_weight, max_unreadable=capture.max_unreadable,
    )  # fmt: skip
    if scene.steps is not None and scene.minutes is not None and not run.resume and recipe.schedule_steps is None:
        raise InputError("steps, minutes: expected one of the two, got both")
    if scene.start_from is not None and scene.start != "auto":
        raise InputError("start, start_from: expected one of the two, got both")
