import json
from pathlib import Path

import pytest
import torch
from torch import nn

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.models import load_model
from splatlearn.rendering import render
from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.runs.processes import Processes
from splatlearn.training import pretrain
from splatlearn.training.loop.update_ratio import UpdateRatio
from splatlearn.training.pretraining.gaussian_measures import gaussian_measures, pixel_weights
from training.small_run import pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")

CAMERA = Camera.gmae(16, 16)
NAMES = ("clamped_gaussians", "visible_gaussians", "mean_opacity")


def some(count: int, opacity: float = 0.9, scale: float = 0.5) -> Gaussians:
    """Gaussians in a row, far enough from each other not to overlap; two images of them."""
    x = torch.linspace(-0.75, 0.75, count)
    means = torch.stack([x, torch.zeros(count), torch.zeros(count)], dim=-1)
    return Gaussians(
        means=means.expand(2, count, 3).clone(),
        scales=torch.full((2, count, 3), scale),
        quaternions=torch.eye(4)[0].expand(2, count, 4).clone(),
        colors=torch.full((2, count, 3), 0.5),
        opacities=torch.full((2, count), opacity),
    )


def test_alike_gaussians_all_count() -> None:
    measures = gaussian_measures(some(4), CAMERA, largest_scale=1.0)
    assert float(measures["visible_gaussians"]) == pytest.approx(4, rel=1e-2)
    assert float(measures["mean_opacity"]) == pytest.approx(0.9)
    assert float(measures["clamped_gaussians"]) == 0


def test_transparent_and_hidden_ones_do_not_count() -> None:
    faint = some(4)
    faint.opacities[:, 2:] = 1e-4
    assert float(gaussian_measures(faint, CAMERA, 1.0)["visible_gaussians"]) == pytest.approx(2, rel=1e-2)
    behind = some(2, opacity=0.999, scale=2.0)
    behind.means[:] = torch.tensor([[0.0, 0, -0.5], [0.0, 0, 0.5]])
    assert float(gaussian_measures(behind, CAMERA, 3.0)["visible_gaussians"]) < 1.7


def test_a_scale_at_its_bound_is_clamped() -> None:
    gaussians = some(4)
    gaussians.scales[0, 0, 2] = 0.995
    gaussians.scales[1, 3] = 0.98
    assert float(gaussian_measures(gaussians, CAMERA, 1.0)["clamped_gaussians"]) == pytest.approx(1 / 8)


def test_weights_are_what_the_pixels_got() -> None:
    """Against finite differences of the picture's sum by each colour, in which it is linear."""
    gaussians = some(3, scale=1.5)
    weights = pixel_weights(gaussians, CAMERA)
    assert weights.shape == (2, 3) and not weights.requires_grad
    for index in range(3):
        brighter = gaussians.map(torch.clone)
        brighter.fixed_colors()[:, index, 0] += 0.25
        sums = [render(each, CAMERA, "black").color[:, 0].sum(dim=(1, 2)) for each in (brighter, gaussians)]
        torch.testing.assert_close((sums[0] - sums[1]) / 0.25, weights[:, index], rtol=1e-3, atol=1e-3)


def test_the_ratio_of_a_step() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
    ratio = UpdateRatio(Processes(torch.device("cpu")))
    assert ratio.measured() == {}
    with ratio.of(layer), torch.no_grad():
        layer.weight.sub_(torch.tensor([[0.3, 0.4]]))
    assert float(ratio.measured()["update_ratio"]) == pytest.approx(0.1)
    assert ratio.measured() == {}


def test_they_are_in_the_log_and_true(tmp_path: Path) -> None:
    run = tmp_path / "run"
    pretrain(small_recipe(run, checkpoint_every=1, keep_checkpoints=9), pictures())
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    status = {line["step_of_status"]: line for line in lines if "update_ratio" in line}
    assert list(status) == [3, 6, 9] and all("grad_norm" in line for line in lines if "loss" in line)
    for line in status.values():
        assert 0 <= line["clamped_gaussians"] <= 1 and 1 <= line["visible_gaussians"] <= 16
        assert 0 < line["mean_opacity"] < 1
    folders = checkpoint_folders(run)
    before, after = (
        torch.cat([p.detach().flatten() for p in load_model(folders[step]).parameters()]) for step in (4, 5)
    )
    assert status[6]["update_ratio"] == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-4)


def test_a_model_without_gaussians_has_no_measures_of_them(tmp_path: Path) -> None:
    pretrain(small_recipe(tmp_path / "run", "mae", stop_after=3), pictures())
    text = (tmp_path / "run" / "log.jsonl").read_text()
    assert "update_ratio" in text and not any(name in text for name in NAMES)
