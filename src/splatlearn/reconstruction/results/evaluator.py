"""Scores of a scene on held-out photographs, while it is fitted and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.captures.photographs import Photo, Photographs
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.evaluation.views.scores import SceneScores, score_views
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.results.known_depths import KnownDepths
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background


@dataclass
class Evaluator:
    """Scores a scene on photographs.

    - `photographs`: the held-out ones; the fitted ones for a capture without held-out photographs.
    - `background`: of the renderings, and of transparent photographs.
    - `depths`: what is known of their depths, which is compared too.
    - `unreadable`: reasons by name of the photographs that could not be read and are left out. `say` is called once
      with each name and reason.
    """

    photographs: Photographs
    background: Background
    depths: KnownDepths | None = None
    say: Callable[[str, str], None] = lambda name, reason: None
    unreadable: dict[str, str] = field(default_factory=dict)

    def some(self, gaussians: Gaussians, most: int) -> SceneScores:
        """Score at most `most` views, evenly spread."""
        last, count = len(self.photographs) - 1, min(most, len(self.photographs))
        return self._score(gaussians, (round(each * last / max(1, count - 1)) for each in range(count)))

    def all(self, gaussians: Gaussians) -> SceneScores:
        """Score all views."""
        return self._score(gaussians, range(len(self.photographs)))

    @torch.no_grad()
    def picture(self, gaussians: Gaussians) -> Float[Tensor, "3 H W"]:
        """Return the rendering of the first view."""
        camera = on_device(self.photographs.camera(0), gaussians.means.device)
        return render(gaussians, camera, self.background, depth=False, check=False).color

    def _score(self, gaussians: Gaussians, indices: Iterable[int]) -> SceneScores:
        wanted = list(dict.fromkeys(indices))
        self.photographs.prefetch(wanted)
        photos = self._readable(wanted, gaussians.means.device)
        if self.depths is None:
            return score_views(gaussians, photos, self.background)
        return score_views(gaussians, photos, self.background, known=self.depths.of, unit=1.0 / self.depths.scale)

    def _readable(self, indices: list[int], device: torch.device) -> Iterator[Photo]:
        for index in indices:
            try:
                photo = self.photographs[index]
            except UnreadableImage as error:
                name = self.photographs.views[index].name
                if name not in self.unreadable:
                    self.unreadable[name] = error.reason
                    self.say(name, error.reason)
                continue
            yield replace(photo, camera=on_device(photo.camera, device))


def on_device(camera: Camera, device: torch.device) -> Camera:
    """A camera whose matrices are on a device."""
    return camera if camera.viewmats.device == device else replace(camera, viewmats=camera.viewmats.to(device))
