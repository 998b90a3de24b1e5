"""PSNR, SSIM and, with weights of the caller, LPIPS of a scene's renderings against photographs, view by view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from splatlearn.captures.photographs import Photo
from splatlearn.core.cameras import solid_angles
from splatlearn.core.gaussians import Gaussians
from splatlearn.evaluation.views.alignment import color_aligned
from splatlearn.evaluation.views.depths import DepthScore, mean_depth_score, score_depth
from splatlearn.evaluation.views.perceptual import Lpips
from splatlearn.fitting.losses.metrics import psnr, ssim
from splatlearn.fitting.losses.photometric import photometric_loss
from splatlearn.fitting.losses.pictures import pictures_of
from splatlearn.fitting.losses.specification import composed
from splatlearn.fitting.skies.sky import Sky
from splatlearn.fitting.terms.targets import DepthTargets
from splatlearn.rendering import render
from splatlearn.rendering.compositing import Background


@dataclass(frozen=True)
class ViewScore:
    """The scores of one view.

    - `psnr`: dB for a peak of 1, of colours cut to [0, 1].
    - `ssim`: with windows of 11 pixels that reach into zeros at the border, as 3D Gaussian Splatting publishes it.
    - `l1`: mean absolute difference.
    - `aligned_psnr`, `aligned_ssim`: after an affine map of the rendering's colours that is fitted to the view (see
      `alignment`): what counts where the light of photographs changes.
    - `depth`: of the rendered depth map, None for a view whose depths are not known.
    - `lpips`: the perceptual distance, None without weights for it (see `perceptual`).
    """

    name: str
    psnr: float
    ssim: float
    l1: float
    aligned_psnr: float = math.nan
    aligned_ssim: float = math.nan
    depth: DepthScore | None = None
    lpips: float | None = None


@dataclass(frozen=True)
class SceneScores:
    """The scores of a scene: means over views, and each view's own."""

    views: tuple[ViewScore, ...]

    @property
    def psnr(self) -> float:
        """The mean over views, dB."""
        return _mean([each.psnr for each in self.views])

    @property
    def ssim(self) -> float:
        """The mean over views."""
        return _mean([each.ssim for each in self.views])

    @property
    def l1(self) -> float:
        """The mean over views."""
        return _mean([each.l1 for each in self.views])

    @property
    def aligned_psnr(self) -> float:
        """The mean over views after the alignment of their colours, dB."""
        return _mean([each.aligned_psnr for each in self.views])

    @property
    def aligned_ssim(self) -> float:
        """The mean over views after the alignment of their colours."""
        return _mean([each.aligned_ssim for each in self.views])

    @property
    def depth(self) -> DepthScore | None:
        """The means over the views whose depths are known; None without such views."""
        return mean_depth_score([each.depth for each in self.views if each.depth is not None])

    @property
    def lpips(self) -> float | None:
        """The mean over views; None without weights for it."""
        found = [each.lpips for each in self.views if each.lpips is not None]
        return _mean(found) if found else None

    def worst(self, count: int) -> Sequence[ViewScore]:
        """The views of the lowest PSNR, lowest first."""
        return sorted(self.views, key=lambda each: each.psnr)[:count]

    def as_dict(self) -> dict[str, object]:
        """Return the scores as values that JSON can hold; without depths where none are known."""
        views = [{name: value for name, value in asdict(each).items() if value is not None} for each in self.views]
        depth = {} if self.depth is None else {"depth": asdict(self.depth)}
        return {**self.means(), **depth, "views": views}

    def means(self) -> dict[str, float]:
        """Return the means over views by name; without LPIPS where it was not computed."""
        names = ("psnr", "ssim", "l1", "aligned_psnr", "aligned_ssim", "lpips")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@torch.no_grad()
def score_views(
    gaussians: Gaussians,
    photographs: Iterable[Photo],
    background: Background = "black",
    seen: Callable[[Photo, Float[Tensor, "3 H W"]], None] | None = None,
    known: Callable[[Photo], DepthTargets | None] = lambda photo: None,
    unit: float = 1.0,
    sky: Sky | None = None,
    filter: str = "point",
    lpips: Lpips | None = None,
) -> SceneScores:
    """Render each photograph's view and compare the two.

    - `gaussians` [K]: in the world of the photographs' cameras.
    - `background`: of the renderings, and of transparent photographs.
    - `seen`: called with each photograph and its rendering, colours cut to [0, 1].
    - `known`: returns the known depths of a photograph; `unit`: units of the capture's world for one here.
    - `sky`: the background by direction, in place of `background`.
    - `filter`: that the Gaussians were fitted with; see `render`.
    - `lpips`: the perceptual distance, which is not computed by default.

    Pixels of a panorama weigh by their solid angle in all scores (the PSNR is then WS-PSNR, Sun et al. 2017), so that
    the poles, which have a row of pixels each, count no more than other directions; LPIPS takes them for flat pictures.
    Pixels that a mask leaves out do
    not count, and a photograph whose mask leaves out everything is left out itself.
    Infinite PSNRs of equal pictures count as 100 dB.
    """
    scores = []
    for photo in photographs:
        depths = known(photo)
        behind = background if sky is None else "black"
        rendering = render(gaussians, photo.camera, behind, depth=depths is not None, check=False, filter=filter)
        color = (rendering.color if sky is None else sky.over(rendering, photo.camera)).clamp(0, 1)
        if seen is not None:
            seen(photo, color)
        if photo.mask is not None and not bool(photo.mask.any()):
            continue
        score = score_view(photo, color, background, lpips)
        if depths is not None:
            weights = None if photo.mask is None else photo.mask.to(color) / 255
            score = replace(score, depth=score_depth(rendering, depths.to(color.device), unit, weights))
        scores.append(score)
    return SceneScores(tuple(scores))


def score_view(
    photo: Photo, color: Float[Tensor, "3 H W"], background: Background = "black", lpips: Lpips | None = None
) -> ViewScore:
    """Compare a rendering with its photograph; see `score_views`."""
    picture = color[None]
    target = photo.pixels.permute(2, 0, 1)[None].to(color.device)
    weights = None if photo.mask is None else (photo.mask[None].to(color) / 255)
    shown = None if weights is None else weights[0]
    if photo.camera.projection.is_spherical:
        shares = solid_angles(photo.camera.height).to(color)[None, :, None].expand(1, *color.shape[1:])
        weights = shares if weights is None else weights * shares
    _, pixels, behind, _ = pictures_of(picture, target, background, weights)
    goal = composed(pixels, behind, picture.dtype)[0]
    aligned = color_aligned(color, goal, None if weights is None else weights[0])[None]
    return ViewScore(
        photo.name,
        _capped(float(psnr(picture, target, background, weights))),
        float(ssim(picture, target, background, weights)),
        _l1(picture, target, background, weights),
        _capped(float(psnr(aligned, target, background, weights))),
        float(ssim(aligned, target, background, weights)),
        lpips=None if lpips is None else lpips(color.clamp(0, 1), goal.clamp(0, 1), shown),
    )


def _capped(quality: float) -> float:
    return quality if math.isnan(quality) else min(quality, 100.0)


def _l1(picture: Tensor, target: Tensor, background: Background, weights: Tensor | None) -> float:
    total = photometric_loss(picture, target, background, weights, ssim_weight=0.0)
    return float(total if weights is None else total / weights.mean())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
