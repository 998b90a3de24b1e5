"""Where the nodes of a glTF document put their meshes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from splatlearn.core.errors import Malformed
from splatlearn.files.gltf.document import Document

MOST_NODES = 100_000
MOST_STRETCH = 1e-3
"""Relative difference of lengths, and cosine between axes, up to which a matrix counts as a similarity."""


def placed_meshes(document: Document) -> Iterator[tuple[int, np.ndarray]]:
    """Indices of meshes and their matrices [4, 4], mesh to world, of the scene that the document shows.

    Raises Malformed for nodes that are their own ancestors, and for matrices that are not of numbers.
    """
    nodes = document.entries("nodes")
    waiting = [(root, np.eye(4)) for root in _roots(document, nodes)]
    seen: set[int] = set()
    while waiting:
        index, above = waiting.pop()
        node = document.entry("nodes", index)
        if index in seen or len(seen) >= MOST_NODES:
            raise Malformed(f"nodes[{index}]: expected a tree of at most {MOST_NODES} nodes, got one that comes twice")
        seen.add(index)
        matrix = above @ _matrix(node, index)
        if "mesh" in node:
            yield document.whole("mesh", node["mesh"]), matrix
        children = node.get("children", [])
        if not isinstance(children, list):
            raise Malformed(f"nodes[{index}]: children: expected a list, got {type(children).__name__}")
        waiting += [(document.whole("child", child), matrix) for child in reversed(children)]


def similarity(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotation [3, 3], translation [3] and scale of a matrix; raises Malformed for one that stretches or shears."""
    linear = matrix[:3, :3]
    scale = float(np.cbrt(abs(np.linalg.det(linear))))
    if not scale > 0 or not np.allclose(linear.T @ linear / scale**2, np.eye(3), atol=MOST_STRETCH):
        raise Malformed("expected nodes that turn, move and scale equally in all directions, got one that stretches")
    left, _, right = np.linalg.svd(linear / scale)
    return left @ right, matrix[:3, 3], scale


def _roots(document: Document, nodes: list[Any]) -> list[int]:
    """The first nodes of the default scene, of the first one, or all that have no parent."""
    if document.entries("scenes"):
        found = document.entry("scenes", document.json.get("scene", 0)).get("nodes", [])
        if not isinstance(found, list):
            raise Malformed(f"scene: nodes: expected a list, got {type(found).__name__}")
        return [document.whole("node", each) for each in reversed(found)]
    parented = {
        child
        for node in nodes
        if isinstance(node, dict) and isinstance(node.get("children"), list)
        for child in node["children"]
        if isinstance(child, int)
    }
    return [index for index in reversed(range(len(nodes))) if index not in parented]


def _matrix(node: dict[str, Any], index: int) -> np.ndarray:
    """The matrix of a node, which states it by columns or as translation, rotation and scale."""
    if "matrix" in node:
        matrix = _numbers(node, "matrix", 16, index).reshape(4, 4).T
        if not np.array_equal(matrix[3], (0, 0, 0, 1)):
            raise Malformed(f"nodes[{index}]: expected an affine matrix, got {matrix[3].tolist()} as its last row")
        return matrix
    matrix = np.eye(4)
    x, y, z, w = _numbers(node, "rotation", 4, index) if "rotation" in node else (0.0, 0.0, 0.0, 1.0)
    length = x * x + y * y + z * z + w * w
    if not length > 0:
        raise Malformed(f"nodes[{index}]: expected a quaternion other than zeros")
    k = 2 / length
    matrix[:3, :3] = [
        [1 - k * (y * y + z * z), k * (x * y - z * w), k * (x * z + y * w)],
        [k * (x * y + z * w), 1 - k * (x * x + z * z), k * (y * z - x * w)],
        [k * (x * z - y * w), k * (y * z + x * w), 1 - k * (x * x + y * y)],
    ]
    if "scale" in node:
        matrix[:3, :3] *= _numbers(node, "scale", 3, index)
    if "translation" in node:
        matrix[:3, 3] = _numbers(node, "translation", 3, index)
    return matrix


def _numbers(node: dict[str, Any], name: str, count: int, index: int) -> np.ndarray:
    values = node[name]
    is_list = isinstance(values, list) and len(values) == count and all(type(each) in (int, float) for each in values)
    try:
        numbers = np.array(values if is_list else [np.nan], dtype=np.float64)
    except OverflowError:  # whole numbers have no largest
        numbers = np.array([np.inf])
    if not (np.abs(numbers) < 1e30).all():
        raise Malformed(f"nodes[{index}]: {name}: expected {count} finite numbers, got {str(values)[:60]}")
    return numbers
