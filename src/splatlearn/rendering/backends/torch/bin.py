"""The specification's second step: splats in the order of their depth."""

from __future__ import annotations

from torch import Tensor

from splatlearn.rendering.splats import Splats


def bin_splats(splats: Splats) -> Splats:
    """Sort splats near to far; equal depths keep their order."""
    order = splats.depths.argsort(dim=1, stable=True)

    def gather(values: Tensor) -> Tensor:
        if values.ndim == 2:
            return values.gather(1, order)
        return values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    return Splats(
        means2d=gather(splats.means2d),
        conics=gather(splats.conics),
        depths=gather(splats.depths),
        colors=gather(splats.colors),
        opacities=gather(splats.opacities),
    )
