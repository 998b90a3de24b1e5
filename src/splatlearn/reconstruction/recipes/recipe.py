"""The recipe of a reconstruction: every choice, as one tree of dataclasses.

The fields are the command-line options, their docstrings its help. `None` stands for "the preset's own value", which
`SceneRecipe.resolved` fills in, so that a run's `recipe.json` says everything. Each group of options is a dataclass in
a module of its own, with a method `check`; a new group is a field of `SceneRecipe` with a default, since recipes of
earlier runs lack it, and a line in `GROUPS`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from splatlearn.core.errors import InputError
from splatlearn.reconstruction.recipes.capture_options import CaptureOptions
from splatlearn.reconstruction.recipes.pace_options import PaceOptions
from splatlearn.reconstruction.recipes.presets import Preset, preset_values
from splatlearn.reconstruction.recipes.run_options import SceneRunOptions
from splatlearn.reconstruction.recipes.scene_options import SceneOptions
from splatlearn.reconstruction.recipes.small_options import SmallOptions
from splatlearn.reconstruction.recipes.term_options import TermOptions
from splatlearn.reconstruction.recipes.view_options import ViewOptions
from splatlearn.runs.recipe import StoredRecipe, check_choices, check_range, filled


@dataclass(frozen=True)
class SceneRecipe(StoredRecipe):
    """Everything that fixes a reconstruction."""

    free = frozenset(
        f"run.{name}"
        for name in (
            "out", "device", "evaluate_every", "evaluate_views", "checkpoint_every", "keep_checkpoints", "log_every",
            "target_size", "resume", "stop_after", "allow_other_data", "max_skipped",
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
    terms: TermOptions = field(default_factory=TermOptions)
    pace: PaceOptions = field(default_factory=PaceOptions)
    views: ViewOptions = field(default_factory=ViewOptions)
    small: SmallOptions = field(default_factory=SmallOptions)

    def __post_init__(self) -> None:
        check_recipe(self)

    def resolved(self) -> SceneRecipe:
        """This recipe with the preset's own values in place of None."""
        values = preset_values(self.preset)
        capture = filled(self.capture, max_size=values.max_size)
        scene = self.scene
        if scene.start == "hull":
            # Its points lie close together: opaque ones would be far too many to move.
            scene = filled(scene, start_opacity=0.1, start_scale=1.0)
        scene = filled(
            scene,
            steps=values.steps,
            strategy="sharpness" if scene.primitive == "convex" else values.strategy,
            max_gaussians=values.max_gaussians,
            degree=values.degree,
            coarse=values.coarse,
            position_rate=values.position_rate,
            rate=values.rate,
            start_opacity=values.start_opacity,
            start_scale=values.start_scale,
        )
        scene = filled(scene, random_start=min(100_000, max(100, scene.max_gaussians // 5)))
        # A preset's budget is one of its strategy; convexes always have one.
        budgets = {"mcmc": "none", "sharpness": 1.0}
        budget = budgets.get(scene.strategy or "", values.budget_exponent)
        pace = filled(self.pace, anneal=values.anneal, budget_exponent=budget)
        steps = scene.steps
        run = filled(self.run, evaluate_every=max(1, steps // 10))
        schedule = self.schedule_steps or steps
        return dataclasses.replace(self, capture=capture, scene=scene, run=run, pace=pace, schedule_steps=schedule)

    @classmethod
    def _stored(cls, values: dict[str, Any]) -> SceneRecipe:
        pace = dict(values.get("pace", {}))
        # Earlier versions had no annealing, and None for no budget.
        pace.setdefault("anneal", 0.0)
        if pace.get("budget_exponent") is None:
            pace["budget_exponent"] = "none"
        return cls.from_dict({**values, "pace": pace})


GROUPS = {
    "capture": CaptureOptions, "run": SceneRunOptions, "scene": SceneOptions, "terms": TermOptions, "pace": PaceOptions,
    "views": ViewOptions, "small": SmallOptions,
}  # fmt: skip
"""The groups of options by the names of their fields."""


def check_recipe(recipe: SceneRecipe) -> None:
    """Raise InputError naming the first option outside of its range."""
    scene, run = recipe.scene, recipe.run
    check_choices(preset=(recipe.preset, Preset))
    check_range("a number above 0", lambda value: value > 0, schedule_steps=recipe.schedule_steps)
    for name in GROUPS:
        getattr(recipe, name).check()
    if recipe.views.poses == "refined" and scene.background == "sky":
        raise InputError(
            "poses, background: expected given poses with a sky, whose directions are theirs, got refined; use --poses "
            "given, or --background auto"
        )
    if recipe.terms.normals > 0 and scene.primitive != "surfel":
        raise InputError(
            f"normals: expected 0 with the primitive {scene.primitive}, which has none; use --primitive surfel"
        )
    drawn = {"gaussian": ("point", "mip", "analytic"), "ges": ("point", "mip")}.get(scene.primitive, ("point",))
    if scene.filter not in drawn:
        raise InputError(
            f"filter: expected {' or '.join(drawn)} with the primitive {scene.primitive}, got {scene.filter}"
        )
    if scene.strategy is not None and (scene.strategy == "sharpness") != (scene.primitive == "convex"):
        wanted = "sharpness" if scene.primitive == "convex" else "mcmc, default or absgrad"
        raise InputError(f"strategy: expected {wanted} with the primitive {scene.primitive}, got {scene.strategy}")
    if scene.primitive == "convex" and recipe.terms.remove_floaters:
        raise InputError(
            "remove_floaters: expected False with the primitive convex, of which no renderer says what a view sees"
        )
    if scene.steps is not None and scene.minutes is not None and not run.resume and recipe.schedule_steps is None:
        raise InputError("steps, minutes: expected one of the two, got both")
    if scene.strategy == "mcmc" or scene.primitive == "convex":
        own = ("budget_exponent",) if scene.strategy == "mcmc" else ()
        for name in (*own, "budget_adapts", "color_growth", "cross_rays", "prune"):
            if getattr(recipe.pace, name) not in (getattr(PaceOptions(), name), "none"):
                raise InputError(
                    f"{name}: expected the strategy default or absgrad, got {scene.strategy or 'sharpness'}; it has a "
                    "growth of its own"
                )
