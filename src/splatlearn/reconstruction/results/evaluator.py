"""Scores of a scene on held-out photographs, while it is fitted and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from splatlearn.captures.photographs import Photo, Photographs
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.evaluation.views.perceptual import Lpips
from splatlearn.evaluation.views.scores import SceneScores, ViewScore, score_view, score_views
from splatlearn.fitting.cameras.localisation import localise
from splatlearn.fitting.skies.sky import Sky
from splatlearn.images.errors import UnreadableImage
from splatlearn.reconstruction.results.known_depths import KnownDepths
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background

SCALES = (4, 2)
"""Divisors of the sides of held-out photographs whose poses are looked for; half a pixel is found at half the size."""


@dataclass
class Evaluator:
    """Scores a scene on photographs.

    - `photographs`: the held-out ones; the fitted ones for a capture without held-out photographs.
    - `background`: of the renderings, and of transparent photographs.
    - `depths`: known depths of the photographs, which are compared too.
    - `unreadable`: reasons by name of the photographs that could not be read and are left out. `say` is called once
      with each name and reason.
    - `poses`: world-to-camera transforms, by names of photographs, that take the place of the given ones.
    - `in_light`: returns a rendering in the light of the fitted photographs before and after the one of a name, if each
      has colours of its own; `neighbours`: the scores of such renderings, of the last call of `all`.
    - `sky`: the background by direction, in place of `background`; `filter`: that the Gaussians are fitted with.
    - `lpips`: the perceptual distance, which is not computed by default.
    """

    photographs: Photographs
    background: Background
    depths: KnownDepths | None = None
    say: Callable[[str, str], None] = lambda name, reason: None
    unreadable: dict[str, str] = field(default_factory=dict)
    poses: dict[str, Float64[np.ndarray, "4 4"]] = field(default_factory=dict)
    sky: Sky | None = None
    filter: str = "point"
    in_light: Callable[[str, Float[Tensor, "3 H W"]], Float[Tensor, "3 H W"]] | None = None
    neighbours: SceneScores | None = None
    lpips: Lpips | None = None

    def localise(self, gaussians: Gaussians) -> None:
        """Find the pose of each photograph in the scene, from the one that it has now; see `fitting`'s `localise`."""
        every = range(len(self.photographs))
        self.photographs.prefetch(every)
        for photo in self._readable([*every], gaussians.means.device):
            mask = None if photo.mask is None else photo.mask.float() / 255
            found = localise(
                gaussians, photo.pixels.permute(2, 0, 1), photo.camera, mask=mask, background=self.background,
                scales=SCALES, filter=self.filter,
            )  # fmt: skip
            self.poses[photo.name] = found.camera.viewmats.double().cpu().numpy()

    def some(self, gaussians: Gaussians, most: int) -> SceneScores:
        """Score at most `most` views, evenly spread."""
        last, count = len(self.photographs) - 1, min(most, len(self.photographs))
        return self._score(gaussians, (round(each * last / max(1, count - 1)) for each in range(count)))

    def all(self, gaussians: Gaussians) -> SceneScores:
        """Score all views."""
        every = range(len(self.photographs))
        if (in_light := self.in_light) is None:
            return self._score(gaussians, every)
        found: list[ViewScore] = []

        def look(photo: Photo, color: Float[Tensor, "3 H W"]) -> None:
            if photo.mask is None or bool(photo.mask.any()):
                found.append(score_view(photo, in_light(photo.name, color), self.background))

        scores = self._score(gaussians, every, look)
        self.neighbours = SceneScores(tuple(found))
        return scores

    @torch.no_grad()
    def picture(self, gaussians: Gaussians) -> Float[Tensor, "3 H W"]:
        """Return the rendering of the first view."""
        camera = self._placed(self.photographs.views[0].name, self.photographs.camera(0))
        camera = on_device(camera, gaussians.means.device)
        background = "black" if self.sky else self.background
        shown = render(gaussians, camera, background, depth=False, check=False, filter=self.filter)
        return shown.color if self.sky is None else self.sky.over(shown, camera)

    def _score(
        self,
        gaussians: Gaussians,
        indices: Iterable[int],
        seen: Callable[[Photo, Float[Tensor, "3 H W"]], None] | None = None,
    ) -> SceneScores:
        wanted = list(dict.fromkeys(indices))
        self.photographs.prefetch(wanted)
        photos = self._readable(wanted, gaussians.means.device)
        compared = partial(
            score_views, gaussians, photos, self.background, seen, sky=self.sky, filter=self.filter, lpips=self.lpips
        )
        return compared() if self.depths is None else compared(known=self.depths.of, unit=1.0 / self.depths.scale)

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
            yield replace(photo, camera=on_device(self._placed(photo.name, photo.camera), device))

    def _placed(self, name: str, camera: Camera) -> Camera:
        pose = self.poses.get(name)
        return camera if pose is None else replace(camera, viewmats=torch.from_numpy(pose).to(camera.viewmats))


def on_device(camera: Camera, device: torch.device) -> Camera:
    """A camera whose matrices are on a device."""
    return camera if camera.viewmats.device == device else replace(camera, viewmats=camera.viewmats.to(device))
