"""The report of a reconstruction: what it says is what the run's folder holds, at any time of the run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from cli.commands import run
from evaluation.test_perceptual import weights_of, written
from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from report.test_page import Outline
from splatlearn.cli import scene_reports
from splatlearn.reconstruction.results.scene_run import SceneRun
from splatlearn.report.scenes.pictures import error_map, moving
from splatlearn.report.scenes.report import scene_sections, write_scene_report
from splatlearn.report.scenes.view import run_scene


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 steps with a held-out photograph, and its report."""
    folder = tmp_path_factory.mktemp("report")
    write_capture(folder / "photos", known_gaussians(), cameras_around(12), transparent=True, points=40)
    code = run("reconstruct", str(folder / "photos"), "--out", str(folder / "run"), "--preset", "fast", "--steps", "60",
               "--max-gaussians", "200", "--device", "cpu")  # fmt: skip
    assert code == 0
    return folder / "run"


def text_of(page: Path) -> str:
    return " ".join(Outline(page.read_text(encoding="utf-8")).text)


def test_a_run_leaves_a_report_of_what_it_reached(finished: Path) -> None:
    page = finished / "report.html"
    outline, said = Outline(page.read_text(encoding="utf-8")), text_of(page)
    scores = json.loads((finished / "scores.json").read_text())
    assert f"{scores['psnr']:.2f} dB at step 60" in said and "60 of 60" in said
    assert [float(each["psnr"]) for each in scores["views"]]
    # Held-out views worst first, as pictures and in the table.
    order = sorted(scores["views"], key=lambda each: each["psnr"])
    places = [said.index(f"{each['name']}: {each['psnr']:.2f} dB") for each in order]
    assert places == sorted(places) and len(order) == 2
    for shown in ("loss", "PSNR, dB", "SSIM", "Gaussians", "seconds in steps", "scene.max_gaussians", "Peak memory"):
        assert shown in said
    links = [*outline.values("src"), *outline.values("href")]
    assert all(link.startswith(("#", "data:image/")) for link in links)
    assert not list(finished.glob("*.tmp*"))


def test_edits_are_those_of_the_log(finished: Path) -> None:
    entries = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    said = text_of(finished / "report.html")
    for key, word in {"cloned": "cloned", "split": "split in two", "pruned": "pruned"}.items():
        total = sum(entry.get(key, 0) for entry in entries)
        assert (f"{word}, {total:,} in all" in said) == (total > 0)


@pytest.mark.parametrize("keep", ["nothing", "the first evaluation", "half a line", "no photographs"])
def test_there_is_a_report_at_any_time(keep: str, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    log = copy / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    for name in ("scores.json", "report.html"):
        (copy / name).unlink()
    if keep == "nothing":
        log.unlink()
        (copy / "scene.ply").unlink()
        shutil.rmtree(copy / "snapshots")
    elif keep == "the first evaluation":
        log.write_text("".join(lines[:1]))
        (copy / "scene.ply").unlink()
    elif keep == "half a line":
        log.write_text("".join(lines[:20]) + lines[20][:7])
    else:
        recipe = json.loads((copy / "recipe.json").read_text())
        recipe["capture"]["photos"] = str(tmp_path / "gone")
        (copy / "recipe.json").write_text(json.dumps(recipe))
    said = text_of(write_scene_report(copy))
    expected = {
        "nothing": "No step has been logged yet", "the first evaluation": "No step has been logged yet",
        "half a line": "has not reached its last step", "no photographs": "No pictures: ",
    }  # fmt: skip
    assert expected[keep] in said


def test_the_command_writes_it_anew(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "report.html").read_text(encoding="utf-8")
    assert run("report", str(finished)) == 0
    after = (finished / "report.html").read_text(encoding="utf-8")
    assert after.count("data:image") == before.count("data:image") > 2
    page = tmp_path / "page.html"
    assert run("report", finished, "--out", page) == 0 and page.is_file()
    assert run("report", finished, "--out", page) == 2
    assert run("report", str(finished), "photo.jpg") == 2
    assert "expected none beside the reconstruction" in " ".join(capsys.readouterr().err.split())


def test_while_it_runs_reports_come_now_and_then(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    page.unlink()
    now = [100.0]
    monkeypatch.setattr(scene_reports.time, "monotonic", lambda: now[0])
    write = scene_reports.reports_on_the_way()
    write(tmp_path / "run")
    assert "Curves" in text_of(page) and "Held-out views" not in text_of(page)
    # A browser follows the run, until its last report.
    assert '<meta http-equiv="refresh" content="30">' in page.read_text(encoding="utf-8")
    assert "refresh" not in (finished / "report.html").read_text(encoding="utf-8")
    page.unlink()
    now[0] += 10
    write(tmp_path / "run")
    assert not page.exists()
    now[0] += 30
    # What cannot be written is said once and ends nothing.
    page.mkdir()
    write(tmp_path / "run")
    now[0] += 60
    write(tmp_path / "run")
    assert capsys.readouterr().err.count("the report of") == 1


def test_errors_are_black_where_there_are_none() -> None:
    first, second = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)
    second[:, 0, 0], second[:, 1, 1] = 0.25, 1.0
    shown = error_map(first, second)
    assert shown[0, 1].max() < 5 and shown[0, 0].sum() > 600 and np.array_equal(shown[0, 0], shown[1, 1])


def test_evaluate_has_lpips_with_given_weights(
    finished: Path, tmp_path: Path, generator: torch.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    trunk, linear = written(tmp_path, *weights_of("alexnet", generator))
    capsys.readouterr()
    assert run("evaluate", folder, "--lpips-trunk", trunk, "--lpips-linear", linear) == 0
    scores = json.loads((folder / "scores.json").read_text())
    distances = [each["lpips"] for each in scores["views"]]
    assert scores["lpips"] == pytest.approx(sum(distances) / 2) and min(distances) > 0
    assert scores["lpips_network"] == "alexnet"
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("L1   LPIPS") and said[3].endswith(f"  {scores['lpips']:.4f}")
    assert ("Held out: LPIPS", f"{scores['lpips']:.3f}") in run_scene(SceneRun(folder)).facts
    # Without weights the scores have none, and none of an earlier call.
    assert run("evaluate", folder) == 0
    assert "lpips" not in json.loads((folder / "scores.json").read_text())
    assert run("evaluate", folder, "--lpips-trunk", trunk) == 2
    assert "lpips_linear: LPIPS needs the files of --lpips-trunk and" in " ".join(capsys.readouterr().err.split())


def test_an_orbit_moves(finished: Path) -> None:
    gaussians = SceneRun(finished).gaussians
    stored = moving(gaussians, cameras_around(5), "white")
    (finished / "orbit.webp").write_bytes(stored)
    with Image.open(finished / "orbit.webp") as image:
        assert sum(1 for _ in ImageSequence.Iterator(image)) == 5 and image.size == (40, 32)


def test_sections_name_photographs_that_were_left_out(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step_of_status": 60, "unreadable": "a.png", "reason": "it is <empty>"}) + "\n")
    page = write_scene_report(tmp_path / "run", with_views=False)
    assert "it is <empty>" in text_of(page) and "it is &lt;empty&gt;" in page.read_text()
    assert "Left out" in [each.title for each in scene_sections(SceneRun(tmp_path / "run"), False)]
