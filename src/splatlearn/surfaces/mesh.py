"""Triangle meshes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splatlearn.core.geometry.similarity import Similarity


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh with colours.

    - `vertices` [N, 3]: places, float64.
    - `faces` [M, 3]: three vertices each, counter-clockwise where a face is seen from outside.
    - `colors` [N, 3]: red, green and blue of the vertices in bytes.
    """

    vertices: Float64[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "M 3"]
    colors: UInt8[np.ndarray, "N 3"]

    @classmethod
    def empty(cls) -> Mesh:
        """A mesh without faces."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), np.zeros((0, 3), dtype=np.uint8))

    @property
    def corners(self) -> Float64[np.ndarray, "M 3 3"]:
        """The three corners of each face."""
        return self.vertices[self.faces]

    @property
    def areas(self) -> Float64[np.ndarray, " M"]:
        """The areas of the faces."""
        first, second, third = np.moveaxis(self.corners, 1, 0)
        return np.linalg.norm(np.cross(second - first, third - first), axis=-1) / 2

    def largest(self, count: int) -> Mesh:
        """Keep the connected parts with the most faces, at most `count` of them."""
        if not len(self.faces):
            return self
        one, other = self.faces[:, [0, 1]].ravel(), self.faces[:, [1, 2]].ravel()
        graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(len(self.vertices),) * 2)
        parts, part_of = connected_components(graph, directed=False)
        sizes = np.bincount(part_of[self.faces[:, 0]], minlength=parts)
        kept = np.zeros(parts, dtype=bool)
        kept[np.argsort(-sizes, kind="stable")[:count]] = True
        return self.with_faces(kept[part_of[self.faces[:, 0]]])

    def with_faces(self, kept: Bool[np.ndarray, " M"]) -> Mesh:
        """Keep some faces, and the vertices that they have."""
        faces = self.faces[kept]
        used, places = np.unique(faces, return_inverse=True)
        return Mesh(self.vertices[used], places.reshape(-1, 3).astype(np.int32), self.colors[used])

    def transformed(self, similarity: Similarity) -> Mesh:
        """The mesh after a similarity of its world."""
        return replace(self, vertices=similarity.points(self.vertices))

    def points(self, count: int, generator: np.random.Generator) -> Float64[np.ndarray, "P 3"]:
        """Draw points on the surface, evenly by area; none for a mesh without faces."""
        areas = self.areas
        if not areas.sum():
            return np.zeros((0, 3))
        chosen = generator.choice(len(areas), count, p=areas / areas.sum())
        first, second, third = np.moveaxis(self.corners[chosen], 1, 0)
        # Uniform in a triangle: the square root keeps points from crowding at one corner (Osada et al. 2002, eq. 1).
        reach, along = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
        return (1 - reach) * first + reach * (1 - along) * second + reach * along * third
