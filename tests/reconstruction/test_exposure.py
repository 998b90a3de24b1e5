"""Photographs of changing light: fitted with colours of their own, and scored after the alignment of colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cli.commands import run as run_command
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.evaluation.views.alignment import color_aligned
from splatlearn.fitting.exposure.affine import MATRIX
from splatlearn.reconstruction import SceneRecipe, SceneResult, SceneRun, reconstruct
from splatlearn.reconstruction.recipes.capture_options import CaptureOptions
from splatlearn.reconstruction.recipes.run_options import SceneRunOptions
from splatlearn.reconstruction.recipes.view_options import Exposure, ViewOptions
from splatlearn.reconstruction.running.view_models import ViewCorrections

OPTIONS = {"max_gaussians": 90, "evaluate_every": 10_000, "degree": 0, "start": "points", "coarse": 0.0}


def changed_light(folder: Path, seed: int = 0) -> Path:
    """Give each photograph an exposure and a white balance of its own; black stays black."""
    generator = torch.Generator().manual_seed(seed)
    for path in sorted((folder / "images").iterdir()):
        gain = torch.exp2(1.2 * torch.rand(1, generator=generator) - 0.6) * (
            0.9 + 0.2 * torch.rand(3, generator=generator)
        )
        with Image.open(path) as image:
            values = torch.from_numpy(np.array(image.convert("RGB")))
        Image.fromarray((0.8 * gain * values).round().clamp(0, 255).byte().numpy()).save(path)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capture") / "photos"
    return changed_light(write_capture(folder, known_gaussians(), cameras_around(17), points=60))


@pytest.fixture(scope="module")
def plain(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> SceneResult:
    return reconstruct(photos, tmp_path_factory.mktemp("runs") / "none", steps=400, **OPTIONS)


# A grid has more cells than these photographs have pixels for.
@pytest.mark.parametrize(("exposure", "gain"), [("affine", 2.0), pytest.param("grid", 1.0, marks=pytest.mark.large)])
def test_photographs_of_changing_light_give_a_better_scene(
    exposure: str, gain: float, photos: Path, plain: SceneResult, tmp_path: Path
) -> None:
    """On held-out photographs, after the alignment of colours."""
    own = reconstruct(photos, tmp_path / exposure, steps=400, exposure=exposure, **OPTIONS)
    assert plain.scores is not None and own.scores is not None
    assert own.scores.aligned_psnr > plain.scores.aligned_psnr + gain
    for result in (plain, own):
        assert result.scores is not None and result.scores.aligned_psnr > result.scores.psnr + 1.0
        stored = json.loads((result.folder / "scores.json").read_text())
        assert stored["aligned_psnr"] == pytest.approx(result.scores.aligned_psnr)
        assert all({"aligned_psnr", "aligned_ssim"} <= set(each) for each in stored["views"])
    assert plain.neighbours is None and own.neighbours is not None
    stored = json.loads((own.folder / "scores.json").read_text())
    assert stored["neighbours"]["psnr"] == pytest.approx(own.neighbours.psnr) != own.scores.psnr


def test_a_run_with_exposures_goes_on_to_the_bit(photos: Path, tmp_path: Path) -> None:
    whole = reconstruct(photos, tmp_path / "whole", steps=12, exposure="affine", checkpoint_every=4, **OPTIONS)
    reconstruct(photos, tmp_path / "part", steps=12, exposure="affine", stop_after=5, checkpoint_every=4, **OPTIONS)
    rest = reconstruct(photos, tmp_path / "part", resume=True, stop_after=None)
    for name, each in whole.gaussians.tensors().items():
        assert torch.equal(each, rest.gaussians.tensors()[name]), name


def test_commands_print_both_scores(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    arguments = ("--steps", 5, "--max-gaussians", 90, "--exposure", "affine")
    assert run_command("reconstruct", photos, "--out", run, *arguments) == 0
    scores = SceneRun(run).scores
    assert scores is not None
    said = capsys.readouterr().out
    assert f"{scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}" in said
    assert f"{scores['aligned_psnr']:.2f} dB after the alignment of each view's colours" in said
    assert f"{scores['neighbours']['psnr']:.2f} dB in the light of the photographs before and after" in said
    assert run_command("evaluate", run) == 0
    assert (
        f"after an affine alignment of each view's colours: {scores['aligned_psnr']:.2f} dB" in capsys.readouterr().out
    )


@pytest.mark.parametrize("exposure", ["affine", "grid"])
def test_a_picture_in_the_light_of_its_neighbours_has_the_mean_of_their_maps(exposure: Exposure, photos: Path) -> None:
    capture = load_capture(photos)
    views = [capture.views[index] for index in capture.training]
    views = [views[index] for index in (3, 0, 2, 1)]
    recipe = SceneRecipe(CaptureOptions(str(photos)), SceneRunOptions("run"), views=ViewOptions(exposure=exposure))
    with Photographs(views, None, frame=capture.to_unit, cache=False) as photographs:
        found = ViewCorrections(recipe.resolved(), photographs, known_gaussians())
    names = sorted(view.name for view in views)
    assert found.colors is not None
    with torch.no_grad():
        for row, view in enumerate(views):
            found.colors.rows[MATRIX][row, 0, 3] = 0.1 * names.index(view.name)
    color = torch.full((3, 6, 8), 0.25)
    for name, shift in ((names[1] + "0", 0.15), ("", 0.0), ("z", 0.3)):
        shown = found.in_light(name, color)
        torch.testing.assert_close(shown[0], color[0] + shift)
        torch.testing.assert_close(shown[1:], color[1:])


def test_an_affine_change_of_colours_is_undone(generator: torch.Generator) -> None:
    target = 0.2 + 0.6 * torch.rand(3, 20, 30, generator=generator)
    change = torch.eye(3) + 0.2 * torch.randn(3, 3, generator=generator)
    shown = (torch.einsum("ij,jhw->ihw", torch.linalg.inv(change), target - 0.05)).clamp(0.01, 0.99)
    inside = ((shown > 0.01) & (shown < 0.99)).all(0)
    aligned = color_aligned(shown, target, inside.float())
    assert float(((aligned - target).abs() * inside).max()) < 1e-5
    assert float((shown - target).abs().mean()) > 0.02


def test_what_is_clipped_says_nothing_of_light(generator: torch.Generator) -> None:
    """Half of the photograph is burnt out; the other half decides, and a picture without any stays as it is."""
    shown = 0.1 + 0.8 * torch.rand(3, 8, 8, generator=generator)
    target = 0.5 * shown
    target[:, :4] = 1.0
    torch.testing.assert_close(color_aligned(shown, target)[:, 4:], target[:, 4:], rtol=0, atol=1e-6)
    assert torch.equal(color_aligned(shown, torch.ones_like(shown)), shown)
