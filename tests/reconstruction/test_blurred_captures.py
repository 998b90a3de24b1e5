"""Reconstructions of blurred photographs: the models of exposures and lenses are options, and resume to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import Photographs, load_capture
from splatlearn.core.errors import InputError
from splatlearn.core.gaussians import Gaussians
from splatlearn.reconstruction import reconstruct
from splatlearn.reconstruction.running.view_models import typical_depths
from splatlearn.runs.folder import RunFolderError
from splatlearn.runs.log import LOG

QUICK: dict[str, Any] = {
    "steps": 16, "max_gaussians": 80, "evaluate_every": 8, "checkpoint_every": 5, "degree": 0, "start": "points",
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("capture") / "photos", known_gaussians(), cameras_around(9), points=60)


def losses_of(folder: Path) -> list[float]:
    entries = (json.loads(line) for line in (folder / LOG).read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


@pytest.mark.parametrize(
    "options",
    [
        {"shake": "spline", "exposures": 3},
        {"defocus": True, "filter": "mip"},
        {"defocus": True, "defocus_by": "gaussians", "strategy": "default"},
        pytest.param({"shake": "linear", "exposures": 2, "poses": "refined"}, marks=pytest.mark.large),
    ],
    ids=["spline", "defocus", "widths", "both"],
)
def test_stopped_and_resumed_it_is_the_same_to_the_bit(options: dict, photos: Path, tmp_path: Path, capsys) -> None:
    reconstruct(photos, tmp_path / "whole", **QUICK, **options)
    said = capsys.readouterr().err
    reconstruct(photos, tmp_path / "parts", **QUICK, **options, stop_after=7)
    reconstruct(photos, tmp_path / "parts", resume=True)
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")
    assert (tmp_path / "parts" / "scene.ply").read_bytes() == (tmp_path / "whole" / "scene.ply").read_bytes()
    scores = json.loads((tmp_path / "whole" / "scores.json").read_text())
    if "shake" in options:
        assert "during exposures cameras turned by" in said
        assert scores["shake"]["degrees_most"] >= scores["shake"]["degrees"] > 0
        with pytest.raises(RunFolderError, match="views.exposures"):
            reconstruct(photos, tmp_path / "parts", resume=True, exposures=9)
    elif "defocus_by" in options:
        assert "photographs are blurred by widths of the Gaussians times" in said
        assert scores["own_widths"]["factor_most"] >= scores["own_widths"]["factor"] > 0
    else:
        assert "photographs blur what is far away by" in said
        assert scores["defocus"]["focus"] > 0


def test_one_exposure_is_the_plain_run(photos: Path, tmp_path: Path) -> None:
    reconstruct(photos, tmp_path / "plain", **QUICK)
    reconstruct(photos, tmp_path / "one", **QUICK, shake="linear", exposures=1)
    assert losses_of(tmp_path / "one") == losses_of(tmp_path / "plain")
    assert (tmp_path / "one" / "scene.ply").read_bytes() == (tmp_path / "plain" / "scene.ply").read_bytes()
    with pytest.raises(InputError, match="exposures: expected a number above 0, got 0"):
        reconstruct(photos, tmp_path / "none", **QUICK, exposures=0)


def test_depths_of_photographs_are_those_of_what_they_show(photos: Path) -> None:
    capture = load_capture(photos)
    with Photographs(capture.views, frame=capture.to_unit) as photographs:
        middle = torch.from_numpy(capture.to_unit.points(torch.zeros(1, 3).double().numpy())).float()
        points = middle + torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0, 0.01, 0], [50.0, 50, 50]])
        scene = Gaussians(points, torch.full((4, 3), 0.1), torch.eye(4), torch.ones(4), colors=torch.ones(4, 3))
        distances = torch.stack([photographs.camera(index).centers - middle[0] for index in range(9)]).norm(dim=1)
        torch.testing.assert_close(typical_depths(scene, photographs), distances, atol=0.02, rtol=0)
