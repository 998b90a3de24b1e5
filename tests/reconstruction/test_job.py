"""A reconstruction recovers a known scene, goes on to the bit, survives bad photographs, and refuses what cannot be."""

import json
import math
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.captures import load_capture
from splatlearn.core.errors import InputError
from splatlearn.files import read_splats, write_splats
from splatlearn.reconstruction import (
    CaptureOptions,
    ReconstructionError,
    SceneOptions,
    SceneRecipe,
    SceneRun,
    SceneRunOptions,
    reconstruct,
    run_recipe,
)
from splatlearn.rendering import render
from splatlearn.runs.folder import RunFolderError
from splatlearn.runs.log import LOG

QUICK: dict[str, Any] = {"steps": 24, "max_gaussians": 90, "evaluate_every": 12, "checkpoint_every": 8, "degree": 1}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of nine photographs, two of them held out, with 60 points."""
    return write_capture(tmp_path_factory.mktemp("capture") / "photos", known_gaussians(), cameras_around(9), points=60)


def quick(photos: Path, out: Path, **options):
    return reconstruct(photos, out, **{**QUICK, "start": "points", **options})


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def losses_of(folder: Path) -> list[float]:
    return [entry["loss"] for entry in log_of(folder) if "loss" in entry]


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_splats(folder / "scene.ply").tensors()


def test_a_run_leaves_a_scene_and_its_scores(photos: Path, tmp_path: Path) -> None:
    result = quick(photos, tmp_path / "run")
    folder = tmp_path / "run"
    assert (result.steps, result.total, result.done, result.interrupted) == (24, 24, 24, False)
    assert result.scores is not None and len(result.scores.views) == 2
    stored = json.loads((folder / "scores.json").read_text())
    assert stored["psnr"] == pytest.approx(result.scores.psnr)
    assert stored["gaussians"] == result.count == result.gaussians.count <= 90
    assert {each.name for each in folder.iterdir()} >= {"scene.ply", "scores.json", "snapshots", "recipe.json", LOG}
    assert [path.name for path in sorted((folder / "snapshots").iterdir())] == [
        "step-00000000.jpg", "step-00000012.jpg",
    ]  # fmt: skip
    losses = losses_of(folder)
    assert len(losses) == 24
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])


def test_the_scene_lies_in_the_captures_own_world(photos: Path, tmp_path: Path) -> None:
    """Moved far away and enlarged, the same photographs give the same scene there."""
    far = tmp_path / "far"
    shutil.copytree(photos, far)
    content = json.loads((far / "transforms.json").read_text())
    content.pop("ply_file_path")
    plain = json.loads(json.dumps(content))
    for frame in content["frames"]:
        for axis, shift in enumerate((3e5, -2e5, 100.0)):
            frame["transform_matrix"][axis][3] = 10 * frame["transform_matrix"][axis][3] + shift
    (far / "transforms.json").write_text(json.dumps(content))
    near = tmp_path / "near"
    shutil.copytree(photos, near)
    (near / "transforms.json").write_text(json.dumps(plain))
    options = {"start": "random", "random_start": 40, "strategy": "default", "steps": 4}
    first, result = (quick(each, tmp_path / f"run-{each.name}", **options) for each in (near, far))
    first, second = first.gaussians, result.gaussians
    moved = second.means.double() + torch.tensor(result.run.offset) - torch.tensor([3e5, -2e5, 100.0])
    torch.testing.assert_close(moved / 10, first.means.double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(second.scales / 10, first.scales, atol=1e-5, rtol=1e-3)


def test_stopped_and_resumed_it_is_the_same_to_the_bit(photos: Path, tmp_path: Path) -> None:
    quick(photos, tmp_path / "whole")
    for stop in (5, 8, 17):
        out = tmp_path / f"parts-{stop}"
        part = quick(photos, out, stop_after=stop)
        assert part.interrupted and part.steps == stop
        quick(photos, out, resume=True)
        assert losses_of(out) == losses_of(tmp_path / "whole")
        for name, value in tensors_of(out).items():
            assert torch.equal(value, tensors_of(tmp_path / "whole")[name]), name


@pytest.mark.parametrize("strategy", ["default", "absgrad"])
def test_every_strategy_resumes_to_the_bit(strategy: str, photos: Path, tmp_path: Path) -> None:
    options = {"strategy": strategy, "steps": 40, "start": "random", "random_start": 60}
    quick(photos, tmp_path / "whole", **options)
    quick(photos, tmp_path / "parts", stop_after=19, **options)
    quick(photos, tmp_path / "parts", resume=True, **options)
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")


def test_a_seed_repeats_everything_and_another_does_not(photos: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        quick(photos, tmp_path / name, seed=seed)
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b") != losses_of(tmp_path / "c")


def test_more_steps_extend_a_finished_run(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    quick(photos, out)
    before = losses_of(out)
    again = quick(photos, out, resume=True)
    assert again.done == 0 and losses_of(out) == before
    longer = quick(photos, out, resume=True, steps=30)
    assert (longer.done, longer.steps, longer.total) == (6, 30, 30)
    assert losses_of(out)[:24] == before and len(losses_of(out)) == 30
    assert SceneRun(out).recipe.scene.steps == 30
    assert SceneRun(out).recipe.schedule_steps == 24


def test_a_signal_ends_it_after_the_step_with_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def interrupt() -> None:
        while not (out / LOG).exists() or '"step": 10' not in (out / LOG).read_text():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = quick(photos, out, steps=100_000, log_every=1, evaluate_every=100_000)
    thread.join()
    assert result.interrupted and result.requeue and result.steps >= 10
    assert [int(each.name[5:]) for each in sorted((out / "checkpoints").iterdir())][-1] == result.steps
    assert (out / "scene.ply").is_file()


def test_two_runs_in_one_folder_are_refused(photos: Path, tmp_path: Path) -> None:
    quick(photos, tmp_path / "run", stop_after=3)
    with pytest.raises(RunFolderError, match="already holds a run .*--resume"):
        quick(photos, tmp_path / "run")
    with pytest.raises(RunFolderError, match="another recipe .*scene.ssim_weight: 0.2, 0.5"):
        quick(photos, tmp_path / "run", resume=True, ssim_weight=0.5)


def test_other_photographs_are_refused_on_resuming(photos: Path, tmp_path: Path) -> None:
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    quick(mine, tmp_path / "run", stop_after=3)
    content = json.loads((mine / "transforms.json").read_text())
    content["frames"][1]["transform_matrix"][0][3] += 0.5
    (mine / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match="fingerprint"):
        quick(mine, tmp_path / "run", resume=True)
    assert quick(mine, tmp_path / "run", resume=True, allow_other_data=True, stop_after=5).steps == 5


def test_a_photograph_that_breaks_is_named_and_left_out(photos: Path, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    capture = load_capture(mine)
    broken = mine / "images" / "photo-003.png"
    broken.write_bytes(broken.read_bytes()[:100])
    result = reconstruct(capture, tmp_path / "run", **QUICK)
    assert result.steps == 24
    said = capsys.readouterr().err
    assert said.count("photo-003.png cannot be read and is left out") == 1
    assert [entry["unreadable"] for entry in log_of(tmp_path / "run") if "unreadable" in entry] == [
        "images/photo-003.png"
    ]


def test_too_many_broken_photographs_end_it_with_what_there_is(photos: Path, tmp_path: Path) -> None:
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)
    capture = load_capture(mine)
    for number in (2, 3, 4):
        (mine / "images" / f"photo-00{number}.png").unlink()
    with pytest.raises(ReconstructionError, match="2 of 7 photographs cannot be read; the scene of step"):
        reconstruct(capture, tmp_path / "run", **QUICK)
    assert (tmp_path / "run" / "scene.ply").is_file()


def test_it_starts_from_any_scene(photos: Path, tmp_path: Path) -> None:
    """Fitted for one step from the truth, the truth stays: it lies in the capture's world and shows the photographs."""
    write_splats(tmp_path / "truth.ply", known_gaussians())
    result = quick(photos, tmp_path / "run", start_from=str(tmp_path / "truth.ply"), start="auto", steps=1)
    assert result.scores is not None and result.scores.psnr > 35
    torch.testing.assert_close(result.gaussians.means, known_gaussians().means, atol=1e-3, rtol=0)
    again = quick(photos, tmp_path / "again", start_from=str(tmp_path / "run"), start="auto", steps=1)
    assert again.scores is not None and again.scores.psnr > 35


def test_transparent_photographs_are_fitted_over_random_colours(tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), transparent=True, points=60)
    result = quick(photos, tmp_path / "run", steps=200, evaluate_every=200)
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["background"] == "white"
    camera = cameras_around(9)[0]
    # Where nothing is, nothing was put: over any background the corner shows the background.
    shown = render(result.gaussians, camera, (0.0, 1.0, 0.0))
    assert float(shown.alpha[:3, :3].max()) < 0.2


def test_a_capture_without_points_starts_at_random_places(tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9))
    result = quick(photos, tmp_path / "run", start="auto", random_start=50, stop_after=1)
    assert result.count == 50
    with pytest.raises(InputError, match="start: expected a capture with points"):
        quick(photos, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps: expected a number above 0, got 0"),
        ({"steps": 3, "minutes": 1.0}, "steps, minutes: expected one of the two"),
        ({"degree": 4}, "degree: expected 0, 1, 2 or 3, got 4"),
        ({"hold_out": 1}, "hold_out: expected 0, or a number from 2"),
        ({"colour": 1}, "options: expected some of .*got colour"),
    ],
)
def test_what_cannot_work_is_refused_before_a_folder_is_made(options, said, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        reconstruct(photos, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_minutes_choose_the_steps(photos: Path, tmp_path: Path) -> None:
    result = reconstruct(photos, tmp_path / "run", minutes=1.0, max_gaussians=80, stop_after=2)
    assert result.total >= 100
    recipe = SceneRun(tmp_path / "run").recipe
    assert recipe.scene.steps == recipe.schedule_steps == result.total
    assert reconstruct(photos, tmp_path / "run", resume=True, minutes=1.0, max_gaussians=80, stop_after=4).steps == 4


@pytest.mark.large
def test_a_known_scene_is_recovered(tmp_path: Path) -> None:
    """Measured: 49 dB. MCMC's noise and regularisers end at 32 dB."""
    photos = write_capture(tmp_path / "photos", known_gaussians(count=40), cameras_around(24, 64, 48), points=40)
    options = {"strategy": "default", "max_gaussians": 200, "degree": 0, "coarse": 0.0, "start": "points"}
    result = reconstruct(photos, tmp_path / "run", steps=3_000, **options)
    assert result.scores is not None and result.scores.psnr >= 40


def test_a_recipe_is_read_as_it_was_written(photos: Path) -> None:
    recipe = SceneRecipe(CaptureOptions(str(photos)), SceneRunOptions("out"), SceneOptions(steps=7)).resolved()
    assert SceneRecipe.from_dict(json.loads(recipe.to_json())) == recipe
    assert recipe.resolved() == recipe
    assert math.isclose(recipe.scene.position_rate or 0, 4e-4)
    assert run_recipe.__doc__ and replace(recipe, preset="paper").preset == "paper"
