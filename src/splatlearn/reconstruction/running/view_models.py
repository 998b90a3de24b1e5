"""The view models of a run's options, and the cameras and figures that they find."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float64

from splatlearn.captures import Photographs
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.cameras.defocus import OwnWidths, Widen, WidenOptions
from splatlearn.fitting.cameras.poses import PoseDeltas, PoseRates
from splatlearn.fitting.cameras.shake import Shake, ShakeOptions
from splatlearn.fitting.draws import Draws
from splatlearn.fitting.exposure.affine import AffineColors
from splatlearn.fitting.exposure.bilateral import BilateralGrid
from splatlearn.fitting.views.view_model import SeenViews, ViewModel
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.scene_run import moved
from splatlearn.reconstruction.running.starting import EXTENT

EXPOSURES = {"affine": AffineColors, "grid": BilateralGrid}
"""View models of colours by the names of the option."""


class ViewCorrections:
    """The view models of a run, in the order from the scene to the photograph.

    - `recipe`: resolved; `photographs`: that are fitted, in the frame of the run, one for each row of the models.
    - `start`: the first Gaussians of the run or of its checkpoint, whose device the models get.
    """

    def __init__(self, recipe: SceneRecipe, photographs: Photographs, start: Gaussians) -> None:
        options, views, seed = recipe.views, photographs.views, recipe.run.seed
        self.names = [view.name for view in views]
        self.poses: PoseDeltas | None = None
        self.shake: Shake | None = None
        self.widen: Widen | OwnWidths | None = None
        if options.poses == "refined":
            given = photographs.frame.cameras(np.stack([view.world_to_camera for view in views]))
            rates = PoseRates(options.pose_rate, options.pose_rate)
            self.poses = PoseDeltas(torch.from_numpy(given), EXTENT, rates)
        if options.shake != "none" and options.exposures > 1:
            self.shake = Shake(len(views), EXTENT, ShakeOptions(options.shake, options.exposures), seed)
        if options.defocus:
            kind = Widen if options.defocus_by == "lens" else OwnWidths
            self.widen = kind(typical_depths(start, photographs), WidenOptions(filter=recipe.scene.filter))
        self.colors = None if options.exposure == "none" else EXPOSURES[options.exposure](len(views))
        models = self.poses, self.shake, self.widen, self.colors
        self.models: tuple[ViewModel, ...] = tuple(each for each in models if each is not None)
        for model in self.models:
            model.to(start.means.device)

    def settled(self, gaussians: Gaussians) -> Gaussians:
        """Move the Gaussians of the fit into the frame of the given cameras, from which refined ones may drift."""
        return gaussians if self.poses is None else moved(gaussians, self.poses.gauge)

    def cameras(self) -> dict[str, Float64[np.ndarray, "4 4"]]:
        """The refined poses in the frame of the given ones, by names of photographs; none if they are not refined."""
        return {} if self.poses is None else dict(zip(self.names, self.poses.settled(), strict=True))

    @torch.no_grad()
    def in_light(self, name: str, color: Float[torch.Tensor, "3 H W"]) -> Float[torch.Tensor, "3 H W"]:
        """Return a picture in the light of the fitted photographs before and after one of this name: their mean.

        Photographs follow each other by their names. Without models of colours the picture stays as it is.
        """
        if self.colors is None:
            return color
        order = sorted(range(len(self.names)), key=lambda index: self.names[index])
        place = bisect_left([self.names[index] for index in order], name)
        rows = torch.tensor(order[max(0, place - 1) : place + 1])
        shown = self.colors.picture(SeenViews(rows, 1, Draws(0, 1)), color.expand(len(rows), *color.shape))
        return shown.mean(dim=0).clamp(0, 1)

    def placed(self, cameras: Iterable[Camera]) -> Iterator[Camera]:
        """The cameras of all photographs, in order, where they are in the frame of the fit."""
        fitted = None if self.poses is None else torch.from_numpy(self.poses.fitted())
        for index, camera in enumerate(cameras):
            yield camera if fitted is None else replace(camera, viewmats=fitted[index].to(camera.viewmats))

    def findings(self) -> dict[str, dict[str, float]]:
        """Means and largest values of the models' parameters, by the names of models; absent models have no entry.

        - poses: how far cameras moved from their given poses, degrees and extents.
        - shake: how far cameras turned and moved during exposures, degrees and extents.
        - own_widths: factors of the Gaussians' own widths.
        - defocus: standard deviations of the blur of what is far away, degrees, and depths in focus, extents.
        """
        found: dict[str, dict[str, float]] = {}
        if self.poses is not None:
            degrees, extents = (torch.from_numpy(each) for each in self.poses.moved())
            found["poses"] = _summary(degrees=degrees, extents=extents / EXTENT)
        if self.shake is not None:
            degrees, extents = self.shake.lengths()
            found["shake"] = _summary(degrees=degrees, extents=extents / EXTENT)
        if isinstance(self.widen, OwnWidths):
            found["own_widths"] = _summary(factor=self.widen.found())
        elif self.widen is not None:
            angles, depths = self.widen.found()
            found["defocus"] = _summary(degrees=torch.rad2deg(angles), focus=depths / EXTENT)
        return found


def typical_depths(gaussians: Gaussians, photographs: Photographs) -> Float[torch.Tensor, " N"]:
    """The median depth of the Gaussians that lie in each photograph's picture; of all in front where none does.

    A camera with nothing in front of it gets the extent.
    """
    found, means = [], gaussians.means.detach().cpu()
    for index in range(len(photographs)):
        camera = photographs.camera(index)
        pixels, depths = camera.project(means)
        ahead, (u, v) = depths > camera.near, pixels.unbind(-1)
        inside = ahead & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
        chosen = depths[inside] if bool(inside.any()) else depths[ahead]
        found.append(float(chosen.median()) if len(chosen) else EXTENT)
    return torch.tensor(found)


def _summary(**values: torch.Tensor) -> dict[str, float]:
    """The mean and the largest of some numbers, by their names."""
    found: dict[str, float] = {}
    for name, each in values.items():
        found[name], found[f"{name}_most"] = float(each.mean()), float(each.max())
    return found
