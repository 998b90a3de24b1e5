"""First surfels: Gaussians that nothing is known of but their places become discs of all directions."""

from __future__ import annotations

from dataclasses import replace

from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import unit_quaternions
from splatlearn.fitting.draws import Draw, Draws


def random_discs(gaussians: Gaussians, seed: int) -> Gaussians:
    """Turn Gaussians [K] at random, evenly over all rotations, and make them flat along their third axis.

    Round ones have no direction of their own; left as they are, all of their discs would face one way.
    """
    drawn = Draws(seed).normals(Draw.DISCS, tuple(gaussians.quaternions.shape), gaussians.quaternions)
    scales = gaussians.scales.clone()
    scales[..., 2] = 0.0
    return replace(gaussians, quaternions=unit_quaternions(drawn), scales=scales)
