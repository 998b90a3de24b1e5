"""A sky: a small picture of all directions behind the Gaussians of a scene, which is learned with them.

Its columns are angles about the world's y axis and its rows those from −y (row 0) to y, as in an equirectangular
picture taken upright. A picture of 64 × 128 pixels holds what clouds and haze have, in a fiftieth of the memory of a
small scene; harmonics of degree 4 (25 numbers a colour) cannot hold a horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.numbers import check_number, check_whole
from splatlearn.fitting.optimizers.gaussian_adam import GaussianAdam
from splatlearn.rendering import Rendering

ROWS = 64
"""Number of rows of a sky's picture, which has two columns for each row."""
RATE = 0.01
"""Learning rate of colours, for Adam."""
WIDTH = 0.75
"""Standard deviation of a far Gaussian in distances to its neighbours: wider ones blur, narrower ones leave gaps."""
FIRST = 0.5
"""The first value of all colours."""


class Sky:
    """Colours by direction.

    - `picture` [3, R, 2R]: in [0, 1]; by default R rows of grey.
    - `rate`: learning rate of Adam. Directions that no view of a step shows keep their colours and moments.

    Raises InputError for another shape.
    """

    def __init__(self, picture: Float[Tensor, "3 R C"] | None = None, rows: int = ROWS, rate: float = RATE) -> None:
        check_whole("rows", rows, 2)
        check_number("rate", rate, above=0)
        if picture is None:
            picture = torch.full((3, rows, 2 * rows), FIRST)
        if picture.ndim != 3 or len(picture) != 3 or picture.shape[2] != 2 * picture.shape[1]:
            raise InputError(f"picture: expected the shape [3, R, 2 R], got {list(picture.shape)}")
        self.rows, self.rate = picture.shape[1], rate
        self.optimizer = self._adam(picture.detach().float().flatten(1).T.contiguous().clone())

    def _adam(self, texels: Float[Tensor, "N 3"]) -> GaussianAdam:
        return GaussianAdam({"texels": texels}, {"texels": self.rate}, selective=True)

    @property
    def picture(self) -> Float[Tensor, "3 R C"]:
        """The colours, with gradients to the parameters."""
        return self.optimizer.parameters["texels"].T.unflatten(1, (self.rows, 2 * self.rows))

    def to(self, device: torch.device | str) -> Sky:
        """Move to a device, without moments."""
        return Sky(self.picture.detach().to(device), rate=self.rate)

    def at(self, directions: Float[Tensor, "*S 3"]) -> Float[Tensor, "*S 3"]:
        """Return the colours in directions of any length, bilinear between pixels, and across ±180° too."""
        x, y, z = F.normalize(directions, dim=-1).unbind(-1)
        across = (torch.atan2(x, z) / (2 * math.pi) + 0.5) * 2 * self.rows
        down = (torch.asin(y.clamp(-1, 1)) / math.pi + 0.5) * self.rows
        # One more column on each side, so that the first and the last are neighbours.
        wide = F.pad(self.picture[None], (1, 1, 0, 0), mode="circular")
        places = torch.stack([2 * (across + 1) / wide.shape[-1] - 1, 2 * down / self.rows - 1], dim=-1)
        flat = places.reshape(1, 1, -1, 2).to(wide)
        found = F.grid_sample(wide, flat, "bilinear", padding_mode="border", align_corners=False)
        return found[0, :, 0].T.reshape(*directions.shape)

    def seen_by(self, camera: Camera) -> Float[Tensor, "*V 3 H W"]:
        """Return the sky alone as cameras [*V] see it."""
        like = self.picture
        columns, rows = torch.arange(camera.width) + 0.5, torch.arange(camera.height) + 0.5
        pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1).to(like)
        moved = camera.to(like.device)
        shape = camera.batch_shape
        pixels = pixels.expand(*shape, *pixels.shape)
        rays = moved.unproject(pixels, torch.ones_like(pixels[..., 0])) - moved.centers.to(like).unsqueeze(-2)
        return self.at(rays.detach()).mT.unflatten(-1, (camera.height, camera.width))

    def behind(self, rendering: Rendering, sky: Float[Tensor, "*V 3 H W"]) -> Float[Tensor, "*V 3 H W"]:
        """Return a rendering over black with the sky of its pixels behind it."""
        return rendering.color + (1.0 - rendering.alpha).unsqueeze(-3) * sky

    def over(self, rendering: Rendering, camera: Camera) -> Float[Tensor, "*V 3 H W"]:
        """Return a whole rendering over black with the sky behind it."""
        return self.behind(rendering, self.seen_by(camera))

    def move(self) -> None:
        """Move the colours by their gradients, and keep them in [0, 1]."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.optimizer.parameters["texels"].clamp_(0, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the colours and their moments."""
        return {"texels": self.optimizer.parameters["texels"].detach(), **self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned; raises FormatError for other names and sizes."""
        like = self.optimizer.parameters["texels"].detach()
        if "texels" not in state or state["texels"].shape != like.shape:
            found = list(state["texels"].shape) if "texels" in state else "none"
            raise FormatError(f"state: expected texels of shape {list(like.shape)}, got {found}")
        self.optimizer = self._adam(state["texels"].detach().to(like).clone())
        self.optimizer.load_state_dict({name: each for name, each in state.items() if name != "texels"})

    def gaussians(
        self, middle: Float[np.ndarray, " 3"], radius: float, count: int = 8192, degree: int = 0
    ) -> Gaussians:
        """Return the sky as distant Gaussians [count] with `sh`, for splat files and pages, which have no sky.

        - `middle`, `radius`: of a sphere on which they lie, world units; it should stand far beyond the scene.
        - `degree`: of the harmonics, which are 0 above degree 0.

        They lie on a spiral of equal areas. A camera at the middle sees the sky, interpolated between them; to a camera
        that has moved by a hundredth of the radius it appears turned by half a degree.
        """
        check_number("radius", radius, above=0)
        check_whole("count", count, 16)
        number = torch.arange(count, dtype=torch.float64)
        height = 1.0 - (2.0 * number + 1.0) / count
        angle = number * math.pi * (3.0 - math.sqrt(5.0))
        ring = (1.0 - height.square()).sqrt()
        directions = torch.stack([ring * angle.cos(), height, ring * angle.sin()], dim=-1)
        size = WIDTH * radius * math.sqrt(4 * math.pi / count)
        colors = self.at(directions.float().to(self.picture.device)).detach().cpu()
        return Gaussians(
            means=(torch.from_numpy(middle) + radius * directions).float(),
            scales=torch.full((count, 3), size),
            quaternions=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
            opacities=torch.full((count,), 0.99),
            colors=colors,
        ).with_degree(degree)
