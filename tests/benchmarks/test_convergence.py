"""The comparison at equal cost: steps by pixels and by time, runs that are kept, and tables that are the runs'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import convergence, reconstruct
from benchmarks.convergence import ARMS, Arm, Options, equal_steps, main, pixels_of
from benchmarks.convergence_page import PAGE, page, stored, tables
from splatlearn.reconstruction.recipes.presets import PRESETS


def test_pixels_are_those_of_the_schedule() -> None:
    coarse = PRESETS["fast"].coarse
    whole = coarse / 2 / 16 + coarse / 2 / 4 + (1 - coarse)
    assert pixels_of("fast", {}) == pytest.approx(whole, rel=1e-3)
    assert pixels_of("fast", {"views_per_step": 3}) == pytest.approx(3 * whole, rel=1e-3)
    assert pixels_of("fast", {"stride": 2, "coarse": 0.0}) == pytest.approx(1 / 4)
    assert equal_steps(ARMS["views-2"], ARMS["fast"], 1_000) == 500
    assert equal_steps(ARMS["stride-2"], ARMS["fast"], 1_000) == pytest.approx(
        1_000 * whole / (whole - 0.75 * (1 - coarse)), abs=2
    )


def run_of(capture: str, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "capture": Path(capture).name, "seed": options["seed"], "gaussians": 100, "steps": options["steps"],
        "seconds": seconds, "wall": seconds, "cpu": 2 * seconds,
        "psnr": 20.0 + options["seed"] + options["steps"] / 1_000,
        "ssim": 0.9, "waited": 0.01, "peak_mb": 1, "curve": [],
    }  # fmt: skip


def test_arms_are_made_equal_and_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def run(capture: str, preset: str, options: dict[str, Any], targets: tuple[float, ...]) -> dict[str, Any]:
        made.append((options["seed"], options["steps"]))
        # Each step of several views takes three times as long.
        return run_of(capture, options, options["steps"] * (3.0 if "views_per_step" in options else 1.0))

    monkeypatch.setattr(convergence, "run_apart", run)
    given = Options(("a/lego",), tmp_path / "out.json", ("fast", "views-2", "colors"), (0,), 600)
    main(given)
    # 300 steps of two views take 900 s in place of 600, so that 200 take the same; growth by colours takes no longer.
    assert made == [(0, 600), (0, 300), (0, 200), (0, 600)]
    main(given)
    assert len(made) == 4, "what is stored is not repeated"
    # The other seeds make the steps of the first one, however long they take.
    monkeypatch.setattr(convergence, "run_apart", lambda *arguments: {**run(*arguments), "seconds": 7.0})
    main(Options(("a/lego",), tmp_path / "out.json", ("fast", "views-2"), (0, 1), 600))
    assert made[4:] == [(1, 600), (1, 300), (1, 200)]
    monkeypatch.setattr(convergence, "run_apart", run)
    content = json.loads((tmp_path / "out.json").read_text())
    assert [each["photographs"] for each in content["runs"][:3]] == pytest.approx(
        [600 * pixels_of("fast", {}), 600 * pixels_of("fast", {}), 400 * pixels_of("fast", {})]
    )
    strided = Options(("a/lego",), tmp_path / "out.json", ("fast", "stride-2"), (0,), 600, budgets=("steps", "seconds"))
    main(strided)
    assert made[7:] == [(0, 600), (0, 600)], "the first arm's own steps are not those of equal pixels"
    with pytest.raises(ValueError, match="clock: expected wall"):
        main(Options(("a/lego",), tmp_path / "out.json", ("fast",), (0,), 600, clock="cpu"))


def test_no_run_begins_after_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []
    monkeypatch.setattr(convergence, "run_apart", lambda *arguments: begun.append(arguments))
    main(Options(("a/lego",), tmp_path / "out.json", minutes=0.0))
    assert begun == [] and not (tmp_path / "out.json").exists()


def test_tables_say_means_spreads_and_differences_of_the_same_seeds() -> None:
    runs = [
        {**run_of("lego", {"seed": seed, "steps": steps}, 30.0), "arm": arm, "budget": budget, "of_steps": 600,
         "clock_seconds": 30.0, "psnr": psnr}
        for arm, budget, steps, seed, psnr in (
            ("fast", "pixels", 600, 0, 20.0), ("fast", "pixels", 600, 1, 22.0),
            ("views-2", "pixels", 300, 0, 20.5), ("views-2", "pixels", 300, 1, 22.1),
            ("views-2", "seconds", 200, 0, 19.0),
        )
    ]  # fmt: skip
    said = {"fast": "the preset `fast`", "views-2": "2 photographs a step"}
    content = {"clock": "wall", "base": "fast", "said": said, "runs": runs}
    made = tables(content)
    assert "**lego**, beside 600 steps of `fast`; seeds 0, 1" in made
    assert "| the preset `fast` | 600 | 30 | 100 | 21.00 ± 1.41 |  |" in made
    assert "| 2 photographs a step, equal pixels | 300 | 30 | 100 | 21.30 ± 1.13 | +0.30 ± 0.28 |" in made
    assert "| 2 photographs a step, equal seconds | 200 | 30 | 100 | 19.00 | −1.00 |" in made


def test_the_page_has_the_numbers_of_the_stored_runs() -> None:
    text, contents = PAGE.read_text(encoding="utf-8"), stored()
    assert contents and page(text, contents) == text, "python -m benchmarks.convergence_page writes the tables"
    assert all({run["arm"] for run in content["runs"]} <= {*content["said"]} for content in contents)


def test_a_true_run_has_all_that_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reconstruction.small_captures import cameras_around, known_gaussians, write_capture

    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=60)
    small = {"max_gaussians": 70, "degree": 0}
    monkeypatch.setitem(ARMS, "small", Arm("small", "a small one", small))
    monkeypatch.setitem(ARMS, "strided", Arm("strided", "every second pixel", {**small, "stride": 2}))
    # In this process; the test of `benchmarks.reconstruct` has one of its own.
    monkeypatch.setattr(convergence, "run_apart", reconstruct._run)
    options = Options((str(photos),), tmp_path / "out.json", ("small", "strided"), (0,), 4, clock="cpu")
    main(options)
    runs = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert [run["arm"] for run in runs[:2]] == ["small", "strided"]
    assert runs[1]["steps"] == equal_steps(ARMS["strided"], ARMS["small"], 4) > 4
    assert all(0 <= run["waited"] <= 1 and run["clock_seconds"] == run["cpu"] for run in runs)
    assert "photos small seed 0, equal pixels" in capsys.readouterr().out
