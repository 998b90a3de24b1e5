"""Panoramas on a GPU against the specification in float64 and the CPU: pictures, gradients, `info`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rendering import gpu
from rendering import test_panorama as panorama
from rendering.compiled import relative_error
from rendering.many import many
from rendering.test_panorama import askew
from rendering.test_scene_triton import ALL, assert_same, needs_cpu_kernels, results
from splatlearn.rendering.backends.triton import scene as triton_scene

pytestmark = pytest.mark.skipif(gpu.STATUS != "ok", reason=gpu.STATUS)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The interpreter has larger tiles, of which it takes fewer."""
    if not gpu.HAS_CUDA:
        monkeypatch.setattr(triton_scene, "TILE", 32)
        monkeypatch.setattr(triton_scene, "SUMMED", (16, 2))
    with gpu.ready():
        yield


@pytest.mark.parametrize(("degree", "size", "tile"), [(1, (24, 48), 16), (None, (33, 70), 32)])
def test_panoramas_agree_with_the_specification(
    degree: int | None, size: tuple[int, int], tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not gpu.HAS_CUDA:
        monkeypatch.setattr(triton_scene, "TILE", tile)
    gaussians, view = many(torch.Generator().manual_seed(1), 40, degree), askew(*size)
    clear = panorama.clear_pixels(gaussians, view)
    assert clear.double().mean() > 0.5
    assert_same(results(gaussians, view, "triton", clear), results(gaussians, view, "torch", clear), clear)


@needs_cpu_kernels
def test_what_panoramas_see_is_that_of_the_cpu() -> None:
    gaussians = many(torch.Generator().manual_seed(2), 30, degree=0)
    got, want = (results(gaussians, askew(20, 50), backend, info=ALL) for backend in ("triton", "cpu"))
    assert_same(got, want, most=1e-4)
    seen, known = got[0].info, want[0].info
    assert seen is not None and known is not None
    for name in ("ids", "pixels"):
        assert torch.equal(getattr(seen, name).cpu(), getattr(known, name)), name
    assert float((seen.radii.cpu() - known.radii).abs().max()) < 0.5
    for name in ("weight_sums", "weight_maxima", "means2d_grad", "means2d_absgrad"):
        assert relative_error(getattr(seen, name).cpu(), getattr(known, name)) < 1e-4, name
