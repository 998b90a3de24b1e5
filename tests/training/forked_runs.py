"""Runs in processes of their own, which may be killed: this one imports everything once and forks for each.

A script that tests start with the name of a scenario and a folder; it prints "ok" when all checks have passed.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # the first step of an optimiser loads it, which takes each fork seconds
from PIL import Image

from splatlearn.cli import main
from splatlearn.models import load_model, presets
from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.training import pretrain
from splatlearn.training.loop import engine
from splatlearn.training.loop.checkpoint import good_checkpoint
from training.small_run import losses, pictures, small_recipe

KILLS = 20
WRITES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


def fork(action: Callable[[], None], errors: Path | None = None) -> int:
    """Start an action in a process of its own; returns the process."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        if errors is not None:
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        action()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> int:
    """Wait for a process; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def train(out: Path, **run) -> None:
    pretrain(small_recipe(out, "mae", log_every=2, **run), pictures())


def watch_writes(folder: Path, act: Callable[[int], None]) -> None:
    """Call `act` with a running number before every change to a file below the folder."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event not in WRITES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wa+")):
            return
        count += 1
        act(count)

    sys.addaudithook(hook)


def killed_at_write(out: Path, number: int, **run) -> None:
    """Train until just before a file is changed for the so manieth time, and be killed there."""

    def act(count: int) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_writes(out, act)
    train(out, **run)


def check(out: Path, reference: dict[int, float]) -> None:
    """What a killed run left is whole, can be loaded, and says nothing but what an undisturbed run says."""
    newest, problems = good_checkpoint(out)
    assert not problems, problems
    if newest is not None:
        assert load_model(out).image_size == (16, 16)
    if (out / "log.jsonl").exists():
        lines = (out / "log.jsonl").read_text().split("\n")
        (out / "log.jsonl").write_text("".join(line + "\n" for line in lines[:-1]))
        found = losses(out)
        assert all(reference[step] == loss for step, loss in found.items()), (found, reference)


def kills(folder: Path) -> None:
    """Twenty kills: at random changes of files, many of them of a checkpoint, and at random moments."""
    rng = random.Random(0)
    began = time.monotonic()
    assert ended(fork(lambda: train(folder / "whole", checkpoint_every=1))) == 0
    duration = time.monotonic() - began
    reference = losses(folder / "whole")
    assert len(reference) == 9
    options = {"checkpoint_every": 1, "keep_checkpoints": 2, "resume": True}
    killed = torn = finished = 0
    out = folder / "run-0"
    while killed < KILLS:
        if killed % 3 < 2:
            number = rng.randrange(1, 40)
            process = fork(lambda out=out, number=number: killed_at_write(out, number, **options))
        else:
            process = fork(lambda out=out: train(out, **options))
            time.sleep(rng.uniform(0, duration))
            os.kill(process, signal.SIGKILL)
        code = ended(process)
        assert code in {0, -signal.SIGKILL}, code
        check(out, reference)
        killed += code != 0
        torn += any((out / "checkpoints").glob(".tmp-*"))
        if code == 0:
            assert losses(out) == reference
            finished += 1
            out = folder / f"run-{finished}"
    assert torn >= 3, f"of {killed} kills {torn} fell into the writing of a checkpoint"
    assert ended(fork(lambda: train(out, **options))) == 0
    assert losses(out) == reference
    one, other = load_model(folder / "whole").state_dict(), load_model(out).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def signals(folder: Path) -> None:
    """SIGTERM and SIGUSR1 leave a checkpoint of the step at hand and exit with 75, Ctrl-C with 130."""
    photos = folder / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(photos / f"{index}.png")
    command = ["pretrain", "mae", "--data", str(photos), "--model", "mae_vit_tiny_patch4_16", "--decoder-depth", "1"]
    command += ["--decoder-embed-dim", "32", "--decoder-num-heads", "2", "--batch-size", "4", "--epochs", "5000"]
    command += ["--device", "cpu", "--precision", "fp32", "--workers", "1", "--log-every", "1", "--trackers"]
    for number, expected in ((signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)):
        out = folder / f"run-{number}"
        process = fork(lambda out=out: main([*command, "--out", str(out)]))
        while not (out / "log.jsonl").exists() or not losses(out):
            assert os.waitpid(process, os.WNOHANG) == (0, 0), "the run ended before its first step"
            time.sleep(0.02)
        os.kill(process, number)
        code = ended(process)
        assert code == expected, (number, code)
        newest, problems = good_checkpoint(out)
        assert newest is not None and not problems
        step = max(losses(out))
        assert newest.name == f"step-{step:08d}"
    # All three are one run; the one that is resumed goes on as the one that came furthest did.
    runs = sorted((folder / f"run-{number}" for number in (15, 10, 2)), key=lambda out: max(losses(out)))
    shortest, longest = losses(runs[0]), losses(runs[-1])
    until = min(max(longest), max(shortest) + 3)
    resumed = ["pretrain", "mae", "--out", str(runs[0]), "--resume", "--stop-after", str(until)]
    if until > max(shortest):
        assert ended(fork(lambda: main(resumed))) == 0
    assert losses(runs[0]) == {step: loss for step, loss in longest.items() if step <= until}


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A file system of its own at the folder, where this process may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def refused(out: Path, errors: Path, reason: str, **run) -> str:
    """Train until the disk refuses; what was said. The checkpoints from before are whole, and nothing else is left."""

    def action() -> None:
        try:
            train(out, **run)
        except ValueError as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    assert ended(fork(action, errors)) == 2, errors.read_text()
    newest, problems = good_checkpoint(out)
    assert newest is not None and not problems
    said = " ".join(errors.read_text().split())
    assert reason in said and "--resume" in said and "Traceback" not in said, said
    return said


def after_first_checkpoint(action: Callable[[Path], object]) -> None:
    """Do something to the run's folder once its first checkpoint is there."""
    save, done = engine.save_checkpoint, []

    def first_save(run: Path, *arguments) -> Path:
        target = save(run, *arguments)
        if not done:
            done.append(True)
            action(run)
        return target

    engine.save_checkpoint = first_save


def disks(folder: Path) -> None:
    """A full disk and a folder that became read-only stop the run with a sentence; with room again it goes on."""
    assert ended(fork(lambda: train(folder / "whole"))) == 0
    reference, size = losses(folder / "whole"), checkpoint_size(folder / "whole")
    options = {"checkpoint_every": 2, "resume": True}

    # No file may grow beyond what is a third of the optimiser's, from the second checkpoint on.
    out = folder / "limited"
    limit = lambda run: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 6, resource.RLIM_INFINITY))  # noqa: E731
    with replaced_save(limit):
        said = refused(out, folder / "limited.txt", "File too large", **options)
    assert "cannot write the checkpoint of step 4" in said and "step-00000002, is as it was" in said, said
    assert not list((out / "checkpoints").glob(".tmp-*"))
    goes_on(out, reference)

    with small_disk(folder / "small", size * 5 // 2 // 1024) as mounted:
        if mounted:
            out = folder / "small" / "run"
            said = refused(out, folder / "full.txt", "No space left on device", **options)
            assert "cannot write the checkpoint of step 6" in said and "step-00000004, is as it was" in said, said
            subprocess.run(["mount", "-o", f"remount,size={8 * size}", str(folder / "small")], check=True)
            goes_on(out, reference)

    out = folder / "locked"
    saved = str(out / "checkpoints")
    if os.getuid():
        lock, unlock, reason = [["chmod", "a-w", saved]], ["chmod", "u+w", saved], "Permission denied"
    else:
        # Modes do not stop root; a second view of the folder that is read-only does.
        lock = [["mount", "--bind", saved, saved], ["mount", "-o", "remount,bind,ro", saved]]
        unlock, reason = ["umount", "-l", saved], "Read-only file system"
    if mounted or os.getuid():
        with replaced_save(lambda run: [subprocess.run(command, check=True) for command in lock]):
            try:
                refused(out, folder / "locked.txt", reason, **options)
            finally:
                subprocess.run(unlock, check=True)
        goes_on(out, reference)


@contextlib.contextmanager
def replaced_save(action: Callable[[Path], object]) -> Iterator[None]:
    save = engine.save_checkpoint
    after_first_checkpoint(action)
    try:
        yield
    finally:
        engine.save_checkpoint = save


def goes_on(out: Path, reference: dict[int, float]) -> None:
    assert ended(fork(lambda: train(out, resume=True))) == 0
    assert losses(out) == reference


def checkpoint_size(out: Path) -> int:
    return sum(path.stat().st_size for path in checkpoint_folders(out)[-1].iterdir())


if __name__ == "__main__":
    # Kills are many, and a checkpoint of the smallest named model takes a tenth of a second to write.
    presets.ENCODERS["tiny"] = (24, 2, 3)
    {"kills": kills, "signals": signals, "disks": disks}[sys.argv[1]](Path(sys.argv[2]))
    print("ok")
