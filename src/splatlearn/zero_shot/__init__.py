"""What the Gaussians of an image say without labels: layers, edges, figure and ground."""

from splatlearn.zero_shot.edges import EdgeOptions, edges, edges_of
from splatlearn.zero_shot.figure_ground import FigureOptions, figure_ground, figure_ground_of
from splatlearn.zero_shot.layers import composite_layers, layers, layers_of
from splatlearn.zero_shot.scene import ReadOptions, Scene, read_scene

__all__ = [
    "EdgeOptions",
    "FigureOptions",
    "ReadOptions",
    "Scene",
    "composite_layers",
    "edges",
    "edges_of",
    "figure_ground",
    "figure_ground_of",
    "layers",
    "layers_of",
    "read_scene",
]
