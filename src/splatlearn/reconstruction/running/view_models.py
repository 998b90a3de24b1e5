"""What each photograph has of its own in a run: the view models of its options, and the cameras that come of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64

from splatlearn.captures import Photographs
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting.cameras.poses import PoseDeltas, PoseRates
from splatlearn.fitting.exposure.affine import AffineColors
from splatlearn.fitting.exposure.bilateral import BilateralGrid
from splatlearn.fitting.views.view_model import ViewModel
from splatlearn.reconstruction.recipes.recipe import SceneRecipe
from splatlearn.reconstruction.results.scene_run import moved
from splatlearn.reconstruction.running.starting import EXTENT

EXPOSURES = {"affine": AffineColors, "grid": BilateralGrid}
"""View models of colours by the names of the option."""


class ViewCorrections:
    """The view models of a run, in the order from the scene to the photograph.

    - `recipe`: resolved; `photographs`: that are fitted, in the frame of the run, one for each row of the models;
      `device`: of the fit.
    """

    def __init__(self, recipe: SceneRecipe, photographs: Photographs, device: torch.device) -> None:
        options, models, views = recipe.views, list[ViewModel](), photographs.views
        self.names = [view.name for view in views]
        self.poses: PoseDeltas | None = None
        if options.poses == "refined":
            given = photographs.frame.cameras(np.stack([view.world_to_camera for view in views]))
            rates = PoseRates(options.pose_rate, options.pose_rate)
            self.poses = PoseDeltas(torch.from_numpy(given), EXTENT, rates)
            models.append(self.poses)
        if options.exposure != "none":
            models.append(EXPOSURES[options.exposure](len(views)))
        for model in models:
            model.to(device)
        self.models: tuple[ViewModel, ...] = tuple(models)

    def settled(self, gaussians: Gaussians) -> Gaussians:
        """Move the Gaussians of the fit into the frame of the given cameras, from which refined ones may drift."""
        return gaussians if self.poses is None else moved(gaussians, self.poses.gauge)

    def cameras(self) -> dict[str, Float64[np.ndarray, "4 4"]]:
        """The refined poses in the frame of the given ones, by names of photographs; none if they are not refined."""
        return {} if self.poses is None else dict(zip(self.names, self.poses.settled(), strict=True))

    def moves(self) -> dict[str, float]:
        """How far cameras moved: means and largest values, degrees and extents; nothing if they are not refined."""
        if self.poses is None:
            return {}
        degrees, extents = self.poses.moved()
        return {
            "degrees": float(degrees.mean()),
            "degrees_most": float(degrees.max()),
            "extents": float(extents.mean()) / EXTENT,
            "extents_most": float(extents.max()) / EXTENT,
        }
