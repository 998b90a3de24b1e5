"""Reconstructions that are killed at any moment go on as if nothing had happened."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconstruction.small_captures import cameras_around, known_gaussians, write_capture
from splatlearn.runs.log import LOG

STEPS = 400
KILLS = 10


def losses(folder: Path) -> list[float]:
    entries = (json.loads(line) for line in (folder / LOG).read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


def command(photos: Path, out: Path, *more: str) -> list[str]:
    options = ["--steps", str(STEPS), "--max-gaussians", "300", "--checkpoint-every", "7", "--log-every", "1"]
    begin = [str(photos), *options] if not more else []
    return [sys.executable, "-m", "splatlearn", "reconstruct", *begin, "--out", str(out), *more]


@pytest.mark.large
@pytest.mark.parametrize("strategy", ["mcmc", "default"])
def test_killed_at_random_moments_it_repeats_every_loss(strategy: str, tmp_path: Path) -> None:
    photos = write_capture(tmp_path / "photos", known_gaussians(), cameras_around(9), points=100)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command(photos, whole), "--strategy", strategy], check=True, capture_output=True)
    expected = losses(whole)
    assert len(expected) == STEPS
    rng = random.Random(strategy)
    begun = [*command(photos, killed), "--strategy", strategy]
    ends = []
    for number in range(KILLS):
        resume = number > 0 and (killed / "recipe.json").exists()
        process = subprocess.Popen(
            command(photos, killed, "--resume") if resume else begun,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        # At any moment of its work: from the first steps on, growth and the writing of checkpoints included.
        known = len(losses(killed)) if (killed / LOG).exists() else 0
        target = known + rng.randrange(1, STEPS // KILLS)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if (killed / LOG).exists() and (killed / LOG).read_text().count('"loss"') >= target:
                break
            time.sleep(rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        ends.append(known)
    assert len(set(ends)) > KILLS // 2
    subprocess.run(command(photos, killed, "--resume"), check=True, capture_output=True)
    assert losses(killed) == expected
    assert (killed / "scene.ply").read_bytes() == (whole / "scene.ply").read_bytes()
