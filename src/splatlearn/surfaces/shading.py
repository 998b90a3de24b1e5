"""Light on meshes: evenly scattering surfaces under a sky, a sun and a lamp, without shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from splatlearn.surfaces.mesh import Mesh
from splatlearn.surfaces.rasterising import Hits

SUN_AT, LAMP_AT = (0.4, -0.75, -0.5), (-0.6, 0.1, 0.8)
"""Directions of the sun and of a weak lamp on the other side, the world's −y axis up, of any length."""
SUN, LAMP, ZENITH, BELOW = 0.5, 0.2, 0.5, 0.25
"""Light of the two where it falls straight, and of the sky on surfaces that look up and down. A surface that faces
between the sun and the zenith has about 1."""


@dataclass(frozen=True, eq=False)
class Lit:
    """What pixels show of a mesh.

    - `points` [P, 3]: places on it; `normals` [P, 3]: unit vectors on the side of the camera.
    - `colors` [P, 3]: in [0, 1], as an image stores them.
    """

    points: Float64[np.ndarray, "P 3"]
    normals: Float64[np.ndarray, "P 3"]
    colors: Float64[np.ndarray, "P 3"]


def lit(mesh: Mesh, hits: Hits, eye: Float64[np.ndarray, " 3"], is_shaded: bool = True) -> Lit:
    """Return the colours of what a camera at `eye` sees.

    Faces are flat and scatter evenly (Lambert) the light of a sun, of a lamp on the other side, and of a sky that is
    brighter above, on the side that faces the camera; nothing casts a shadow. So the colour of a side does not depend
    on the view. Without `is_shaded` colours are those of the vertices. Light multiplies colours as they are stored, not
    linear ones.
    """
    vertices = mesh.faces[hits.faces]
    corners = mesh.vertices[vertices]
    points = np.einsum("pk,pkc->pc", hits.weights, corners)
    albedo = np.einsum("pk,pkc->pc", hits.weights, mesh.colors[vertices] / 255.0)
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normals = one[:, [1, 2, 0]] * other[:, [2, 0, 1]] - one[:, [2, 0, 1]] * other[:, [1, 2, 0]]
    lengths = np.sqrt(np.einsum("pc,pc->p", normals, normals))
    facing = np.where(np.einsum("pc,pc->p", normals, eye - points) < 0, -1.0, 1.0)
    normals *= (facing / np.where(lengths > 0, lengths, 1.0))[:, None]
    if not is_shaded:
        return Lit(points, normals, albedo)
    up = 0.5 - 0.5 * normals[:, 1]
    light = BELOW + (ZENITH - BELOW) * up
    for strength, toward in ((SUN, SUN_AT), (LAMP, LAMP_AT)):
        light += strength * np.maximum(normals @ (np.array(toward) / np.linalg.norm(toward)), 0.0)
    return Lit(points, normals, (albedo * light[:, None]).clip(0.0, 1.0))
