"""What happens to runs that are killed, told to stop, or find no room; see `forked_runs` for what is done to them."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatlearn.images import DataError
from splatlearn.runs.folder import UNFINISHED
from splatlearn.training import RunFolderError, pretrain
from training.small_run import pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")

TESTS = Path(__file__).parents[1]
LARGE = pytest.mark.large


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
@pytest.mark.parametrize("scenario", ["signals", *(pytest.param(each, marks=LARGE) for each in ("kills", "disks"))])
def test_runs_survive(tmp_path: Path, scenario: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    command = [sys.executable, str(TESTS / "training" / "forked_runs.py"), scenario, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[-1] == "ok", done.stdout + done.stderr


class TestCorruptImages:
    """One image of a hundred is torn."""

    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        rng = np.random.default_rng(0)
        for index in range(100):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{index:02d}.jpg")
        (folder / "37.jpg").write_bytes((folder / "37.jpg").read_bytes()[:200])
        return folder

    def run(self, photos: Path, out: Path, share: float) -> list[dict]:
        recipe = small_recipe(out, "mae")
        recipe = dataclasses.replace(
            recipe,
            data=dataclasses.replace(recipe.data, data=str(photos), max_unreadable=share),
            optimizer=dataclasses.replace(recipe.optimizer, epochs=1, batch_size=50),
        )
        assert pretrain(recipe).steps == 2
        return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]

    def test_they_are_skipped_counted_and_named(self, photos: Path, tmp_path: Path) -> None:
        entries = self.run(photos, tmp_path / "run", 0.01)
        (named,) = [entry for entry in entries if "unreadable" in entry]
        assert "37.jpg" in named["unreadable"] and named["reason"]
        checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002" / "training.json"
        assert list(json.loads(checkpoint.read_text())["unreadable"]) == [named["unreadable"]]

    def test_above_the_share_the_run_stops(self, photos: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"at most 0.9% of samples to be unreadable, got 1 of 100 \(37.jpg: "):
            self.run(photos, tmp_path / "run", 0.009)


class TestFolders:
    def test_a_run_that_was_killed_as_it_began_can_begin_again(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / UNFINISHED).write_text('{"method": "ma')
        assert pretrain(small_recipe(tmp_path / "run", "mae", stop_after=1), pictures()).steps == 1

    def test_something_beside_it_is_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / UNFINISHED).write_text("{")
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(RunFolderError, match="thesis.tex and no run"):
            pretrain(small_recipe(tmp_path, "mae"), pictures())
