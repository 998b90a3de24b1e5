"""A shape with two colours."""

import numpy as np

from splatlearn.surfaces.mesh import Mesh


def box(color: tuple[int, int, int] = (200, 60, 60)) -> Mesh:
    """A box of 2 × 1 × 4 away from the origin, with a blue lid at the largest z."""
    corners = np.array([[x, y, z] for x in (0, 2) for y in (0, 1) for z in (0, 4)], dtype=np.float64) + [5, 6, 7]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    vertices, faces, colors = [], [], []
    for quad in quads:
        first = len(vertices)
        vertices += [corners[corner] for corner in quad]
        faces += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
        colors += [(0, 0, 255) if quad == (1, 5, 7, 3) else color] * 4
    return Mesh(np.array(vertices), np.array(faces, np.int32), np.array(colors, np.uint8))
