"""The benchmarks that are meant for GPUs run on a CPU too; their times are not looked at."""

import json
from pathlib import Path

import pytest
import torch

from benchmark_commands import run_benchmark
from benchmarks import step_memory, training_rate
from benchmarks.render_cuda import SCENES, floors, gaussians_of, pairs_of
from benchmarks.step_contenders import Options, least_per_query
from splatlearn.rendering import Splats
from training.small_run import pictures


def test_pictures(tmp_path: Path) -> None:
    file = tmp_path / "render.json"
    printed = run_benchmark("render_cuda", "--device", "cpu", "--scenes", "tiny", "--rounds", 2, "--json-file", file)
    results = json.loads(file.read_text())
    rows = {row["contender"]: row for row in results["rows"]}
    assert rows.keys() == {"composite", "render"} and not results["gsplat"]
    assert "gsplat was not measured" in printed
    for row in rows.values():
        assert 0 < row["pairs"] <= 2 * 12 * 20 * 4 and row["times_floor"] > 0
        assert all(len(times) == 2 and min(times) > 0 for times in row["milliseconds"].values())


def test_scenes(tmp_path: Path) -> None:
    file = tmp_path / "scenes.json"
    printed = run_benchmark(
        "render_scenes_cuda", "--device", "cpu", "--rows", "tiny", "--rounds", 2, "--json-file", file
    )
    rows = {row["contender"]: row for row in json.loads(file.read_text())["rows"]}
    assert rows.keys() == {"scene", "few"} and "gsplat was not measured" in printed
    for row in rows.values():
        assert 0 < row["visible"] <= row["intersections"] and row["pairs"] > row["visible"]
        assert all(len(times) == 2 and min(times) > 0 for times in row["milliseconds"].values())
    assert 0 < rows["few"]["difference"]["color"] < 1e-4, "the same picture by another way"


def test_pairs_and_floors_are_counted() -> None:
    scene = SCENES["tiny"]
    opacities = torch.tensor([0.5, 0.5, 0.0, 0.003]).expand(2, 4)
    everywhere = Splats(torch.zeros(2, 4, 2), torch.zeros(2, 4, 3), torch.ones(2, 4), torch.ones(2, 4, 3), opacities)
    assert pairs_of(everywhere, scene) == 2 * 12 * 20 * 2
    limits = floors(scene, 1000, {"float32_per_second": 2e9, "bytes_per_second": 1e9})
    assert limits["arithmetic_ms"] == pytest.approx(1e-3 * (16 + 32))
    assert limits["memory_ms"] == pytest.approx(1e-6 * (3 * 2 * 4 * 9 * 4 + 3 * 2 * 12 * 20 * 4 * 4))


def test_gaussians_of_the_scenes_fill_the_view() -> None:
    gaussians, camera = gaussians_of(SCENES["tiny"], 0, "cpu")
    assert gaussians.means.shape == (2, 4, 3) and gaussians.means.requires_grad
    assert (camera.width, camera.height, camera.model) == (20, 12, "pinhole")


@pytest.mark.parametrize(("gaussians", "per_query"), [(147, 1), (256, 1), (1024, 4), (4096, 16), (257, 257)])
def test_gaussians_of_a_query(gaussians: int, per_query: int) -> None:
    assert least_per_query(gaussians) == per_query


def test_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = step_memory.step_megabytes

    # Each measurement has a process of its own; one of them stands for all here.
    def once(contender: str, batch: int, options: Options) -> float:
        return measured(contender, batch, options) if contender == "gmae-8" else 1.0

    monkeypatch.setattr(step_memory, "step_megabytes", once)
    file = tmp_path / "step.json"
    sizes = ("--model", "vit_tiny_patch16_32", "--batches", "2", "--gaussians", "8", "--rounds", "1")
    run_benchmark("train_step", "--device", "cpu", "--precision", "fp32", *sizes, "--json-file", file)
    rows = {row["contender"]: row for row in json.loads(file.read_text())["rows"]}
    assert rows.keys() == {"mae", "ViTMAE (transformers)", "gmae-8"}
    assert rows["mae"]["times_mae"] == pytest.approx(1.0)
    assert all(row["step_megabytes_per_image"] > 0.1 for row in rows.values())
    assert rows["gmae-8"]["renderer_share"] > 0 and rows["gmae-8"]["images_per_second"] > 0


def test_rate_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(training_rate, "Pack", lambda _data, _part, images: pictures(images))
    file = tmp_path / "rate.json"
    training_rate.main(
        "gmae_vit_micro_patch8_16", 8, 2, 1, batch=2, steps=30, threads=1, precision="fp32", json_file=file
    )
    found = json.loads(file.read_text())
    assert len(found["images_per_second"]) == 3 and all(rate > 0 for rate in found["images_per_second"])
    assert 0 <= found["data_wait"] <= 1 and found["environment"]["precision"] == "fp32"
    assert "fp32, 1 threads" in capsys.readouterr().out


def test_transformers_model_keeps_its_own_precision() -> None:
    options = Options("vit_tiny_patch16_32", "cpu", "bf16", 1, None, theirs_precision="fp32")
    for theirs, dtype in ((False, torch.bfloat16), (True, torch.float32)):
        with options.autocast(theirs):
            assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == dtype
