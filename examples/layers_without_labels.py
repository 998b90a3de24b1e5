"""Read layers, edges and figure out of Gaussians: here out of ones whose order is known.

python examples/layers_without_labels.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

import splatlearn as sl
from splatlearn.zero_shot import FigureOptions, ImageGaussians, composite_layers, edges_of, figure_ground_of, layers_of


def discs() -> sl.Gaussians:
    """Far: a field of small blue blobs. Near: a red disc of blobs, in front of them."""
    generator = torch.Generator().manual_seed(0)
    field = 2 * torch.rand(900, 2, generator=generator) - 1
    disc = 1.2 * torch.rand(900, 2, generator=generator) - 0.6
    disc = disc[disc.norm(dim=1) < 0.5]
    places = torch.cat([field, disc])
    near = torch.cat([torch.full((len(field),), 0.6), torch.full((len(disc),), -0.6)])
    colors = torch.where((near < 0)[:, None], torch.tensor([0.85, 0.25, 0.2]), torch.tensor([0.25, 0.45, 0.8]))
    return sl.Gaussians(
        means=torch.cat([places, near[:, None]], dim=1),
        scales=torch.full((len(places), 3), 0.45),
        quaternions=torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(places), 4),
        colors=colors,
        opacities=torch.full((len(places),), 0.9),
    )


def main(out: str = "seen") -> None:
    """Write rendering.png, layer-1.png, layer-2.png, edges.png and figure.png."""
    read = ImageGaussians(discs().map(lambda values: values.unsqueeze(0)), sl.Camera.gmae(160, 160))
    layers = layers_of(read, count=2, rule="clusters")
    whole = composite_layers(layers, read.background)
    # Layers lose nothing but what the renderer leaves out behind a transmittance of 1e-4.
    assert torch.allclose(whole, read.rendering.color, atol=2e-4)
    figure = figure_ground_of(read, FigureOptions(method="depth"))
    pictures = {
        "rendering": read.rendering.color[0],
        "layer-1": layers[0, 0],
        "layer-2": layers[0, 1],
        "edges": edges_of(read)[0].expand(3, -1, -1),
        "figure": figure[0].expand(3, -1, -1),
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in pictures.items():
        pixels = (values.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
        Image.fromarray(pixels.numpy()).save(folder / f"{name}.png")
    inside = float((figure[0] >= 0.5).float().mean())
    print(f"the figure covers {inside:.0%} of the picture; the centres of its blobs, {torch.pi / 16:.0%}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
