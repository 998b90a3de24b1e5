"""The choices of pre-training on splat sets, beside those of the model, and what a recipe leaves to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from splatlearn.core.errors import InputError
from splatlearn.data.splat_sets.choices import Turn
from splatlearn.models.options import Hide, ModelOptions
from splatlearn.models.splats.options import SplatOptions
from splatlearn.runs.recipe import check_choices, check_range, filled

RATE = 2e-3
"""Learning rate at 256 sets a step: the published 1e-3 at 128."""
WARMUP = 10.0
MASK_RATIO = 0.6


@dataclass(frozen=True, kw_only=True)
class SplatTraining(SplatOptions):
    """Splat sets (splat-mae, splat-jepa). The preset and the model's name choose what is not given; the defaults shown
    here are those of the default preset."""

    replacement: bool | None = None
    """Draw the Gaussians of a set with replacement, as the published loaders do. Default: no, or yes in the paper
    preset."""
    turn: Turn = "none"
    """Random rotation of sets: none; up: about the vertical axis; any."""
    resize: tuple[float, float] = (2 / 3, 3 / 2)
    """Smallest and largest random factor of a set's size."""
    shift: float = 0.2
    """Largest random shift of a set along each axis, in its radii."""
    hide: Hide = "random"
    """Which groups are hidden. random; block: those around one; salience: holes where Gaussians are opaque and
    large."""
    rendered: float = 0.0
    """Weight of the difference of pictures of the predicted and the true Gaussians of hidden groups (splat-mae)."""
    rendered_size: int = 48
    """Side of these pictures in pixels."""
    average: tuple[float, float] = (0.996, 1.0)
    """Decay of the moving average of the encoder whose tokens are predicted, at the start and at the end
    (splat-jepa)."""

    def model_options(self) -> SplatOptions:
        """The choices of the model alone."""
        return SplatOptions(**{each.name: getattr(self, each.name) for each in dataclasses.fields(SplatOptions)})


def check_splats(splats: SplatTraining) -> None:
    """Raise InputError naming the first field outside its range."""
    check_choices(hide=(splats.hide, Hide), turn=(splats.turn, Turn))
    check_range("a number ≥ 0", lambda value: value >= 0, rendered=splats.rendered, shift=splats.shift)
    check_range("a number above 0", lambda value: value > 0, rendered_size=splats.rendered_size)
    if not 0 < splats.resize[0] <= splats.resize[1]:
        raise InputError(f"resize: expected 0 < smallest ≤ largest, got {splats.resize}")
    if not 0 <= splats.average[0] <= splats.average[1] <= 1:
        raise InputError(f"average: expected two numbers from 0 to 1 that do not fall, got {splats.average}")


def resolved_for_splats(recipe: Any) -> Any:
    """A pre-training recipe of splat sets with the method's own values in place of None.

    Raises InputError for options that only models of images have.
    """
    # The command line needs recipes before it needs PyTorch.
    from splatlearn.models.splats.presets import complete_splat_options

    _check_no_images(recipe)
    model = recipe.model or f"{recipe.method}_vit_small"
    preset = "paper" if recipe.preset == "paper" else "default"
    chosen = dataclasses.asdict(complete_splat_options(model, preset, recipe.splats.model_options()))
    return dataclasses.replace(
        recipe,
        model=model,
        splats=filled(recipe.splats, replacement=preset == "paper", **chosen),
        objective=filled(recipe.objective, mask_ratio=MASK_RATIO),
        optimizer=filled(
            recipe.optimizer,
            base_learning_rate=RATE,
            warmup_epochs=min(WARMUP, recipe.optimizer.epochs / 10),
            decay_tokens=False,
            clip_norm=2.0,
        ),
    )


def _check_no_images(recipe: Any) -> None:
    images = {name: value for name, value in recipe.options.given().items()}
    objective, data = recipe.objective, recipe.data
    images |= {name: getattr(objective, name) for name in ("normalize_targets", "visible_weight", "error")}
    images |= {"crop_scale": data.crop_scale, "masks": recipe.mutual.masks}
    given = [name for name, value in images.items() if value is not None]
    if recipe.preset == "laptop":
        raise InputError(f"preset: expected default or paper for {recipe.method}, got laptop, which is for images")
    if data.grow_from != 1.0:
        given.append("grow_from")
    if recipe.probe.probe_every:
        given.append("probe_every")
    if given:
        raise InputError(
            f"{', '.join(given)}: expected no options of images for {recipe.method}, got some; leave them out"
        )
    assert isinstance(recipe.options, ModelOptions)
