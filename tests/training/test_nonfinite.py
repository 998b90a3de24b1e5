import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from splatlearn.cli import main
from splatlearn.core.errors import FormatError
from splatlearn.models import load_model, presets
from splatlearn.runs.checkpoint_store import checkpoint_folders
from splatlearn.training import MutualInformationOptions, NonFiniteError, ObjectiveOptions, Recipe, finetune, pretrain
from splatlearn.training.loop.guard import FiniteGuard
from splatlearn.training.loop.nonfinite import MOST
from splatlearn.training.replay import ReplayError, replay
from training.small_finetune import PLAIN, labelled, pretrained, small_finetuning
from training.small_run import losses, pictures, small_recipe
from training.two_trainers import SMALL

pytestmark = pytest.mark.usefixtures("small_encoder")


def exploding(out: Path, **run) -> Recipe:
    """Its second step throws the weights so far that every later one is not finite."""
    recipe = small_recipe(out, "mae", **run)
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, base_learning_rate=1e36))


def take_for_bad(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the guard skip a step, counted from 1, whatever its gradient."""
    clip, calls = FiniteGuard.clip, []

    def pretended(
        self: FiniteGuard, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer, limit: float
    ) -> torch.Tensor:
        norm = clip(self, parameters, optimizer, limit)
        calls.append(norm)
        if len(calls) == step:
            self._flag = (torch.ones(()), None)
            optimizer.found_inf = self._flag[0]  # type: ignore[attr-defined]
        return norm

    monkeypatch.setattr(FiniteGuard, "clip", pretended)


def entries(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class TestDiverging:
    def test_steps_are_skipped_saved_and_the_run_stops_after_several(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(NonFiniteError, match="for 3 steps in a row up to step 5"):
            pretrain(exploding(tmp_path / "run", max_skipped=3, checkpoint_every=2, log_every=4), pictures())
        assert [path.name for path in (tmp_path / "run" / "nonfinite").iterdir()] == ["step-00000003"]
        said = " ".join(capsys.readouterr().err.split())
        assert "step 3 was skipped: loss nan" in said and "splatlearn replay" in said
        # Every step has its line, and the weights are those before the first bad step.
        found = losses(tmp_path / "run")
        assert list(found) == [1, 2, 3, 4, 5] and all(found[step] is None for step in (3, 4, 5))
        before, after = (load_model(path).state_dict() for path in checkpoint_folders(tmp_path / "run"))
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert [entry["skipped_steps"] for entry in entries(tmp_path / "run") if "skipped_steps" in entry][-1] == 3

    def test_what_the_folder_holds_runs_again(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(NonFiniteError):
            pretrain(exploding(tmp_path / "run", max_skipped=2), pictures())
        folder = tmp_path / "run" / "nonfinite" / "step-00000003"
        again = replay(folder)
        assert not again.finite and again.step == 3
        assert again.module is not None and again.module.startswith("encoder.")
        assert again.parameters and again.parameters[0] in dict(load_model(folder).named_parameters())
        with pytest.raises(SystemExit) as stop:
            main(["replay", str(folder), "--device", "cpu"])
        assert not stop.value.code
        out = capsys.readouterr().out
        assert "step 3 again: loss nan" in out and f"first not finite: the output of {again.module}" in out

    def test_going_on_after_it(self, tmp_path: Path) -> None:
        with pytest.raises(NonFiniteError):
            pretrain(exploding(tmp_path / "run", max_skipped=4, checkpoint_every=1, log_every=1), pictures())
        with pytest.raises(NonFiniteError):
            pretrain(exploding(tmp_path / "run", max_skipped=4, resume=True, log_every=1), pictures())
        assert 1 <= len(list((tmp_path / "run" / "nonfinite").iterdir())) <= MOST


@pytest.mark.parametrize("method", ["mae", "mi-mae"])
def test_an_optimiser_that_cannot_skip_steps_itself_is_kept_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """As on GPUs whose AdamW is not fused; the estimator of mutual information has an optimiser of its own."""
    adam, made = torch.optim.AdamW, []

    def not_fused(*arguments: Any, **options: Any) -> torch.optim.AdamW:
        made.append(adam(*arguments, **{**options, "fused": False}))
        return made[-1]

    monkeypatch.setattr(torch.optim, "AdamW", not_fused)
    recipe = exploding(tmp_path / "run", max_skipped=3, checkpoint_every=2, log_every=4)
    if method != "mae":
        mutual = MutualInformationOptions(projector=8, estimator_width=16, minimize_weight=0.01, maximize_weight=0.1)
        recipe = dataclasses.replace(recipe, method="mi-mae", mutual=mutual, objective=ObjectiveOptions(0.75))
    with pytest.raises(NonFiniteError, match="for 3 steps in a row up to step 5"):
        pretrain(recipe, pictures())
    assert len(made) == (1 if method == "mae" else 2) and not any(hasattr(each, "found_inf") for each in made)
    before, after = (load_model(path).state_dict() for path in checkpoint_folders(tmp_path / "run"))
    assert all(torch.equal(before[name], after[name]) and bool(before[name].isfinite().all()) for name in before)


class TestReplay:
    """A step that went well, saved as if it had not, gives the loss of the log again, bit for bit."""

    @pytest.mark.parametrize("method", ["gmae", "mi-gmae"])
    @pytest.mark.parametrize(("step", "accumulate"), [(2, 1), (6, 2)])
    def test_pretraining(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, step: int, accumulate: int
    ) -> None:
        recipe = small_recipe(tmp_path / "run", method.removeprefix("mi-"))
        optimizer = dataclasses.replace(recipe.optimizer, batch_size=8 // accumulate, accumulate=accumulate)
        recipe = dataclasses.replace(recipe, method=method, optimizer=optimizer)  # type: ignore[arg-type]
        if method != "gmae":
            mutual = MutualInformationOptions(
                projector=8, estimator_width=16, estimator_steps=2, minimize_weight=0.01, maximize_weight=0.1
            )
            recipe = dataclasses.replace(recipe, mutual=mutual, objective=ObjectiveOptions(0.75))
        take_for_bad(monkeypatch, step)
        pretrain(recipe, pictures())
        (folder,) = (tmp_path / "run" / "nonfinite").iterdir()
        again = replay(folder, "cpu")
        assert again.finite and again.module is None and again.parameters == []
        assert again.loss == losses(tmp_path / "run")[step]
        if method == "gmae":
            assert again.grad_norm == pytest.approx(again.before["grad_norm"], rel=1e-6)

    def test_finetuning(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        augment = dataclasses.replace(PLAIN, erase=0.5, mixup=0.8, cutmix=1.0)
        model = pretrained(tmp_path / "model")
        take_for_bad(monkeypatch, 3)
        recipe = small_finetuning(model, tmp_path / "run", augment)
        recipe = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, epochs=1, drop_path=0.3))
        finetune(recipe, labelled())
        (folder,) = (tmp_path / "run" / "nonfinite").iterdir()
        assert replay(folder, "cpu").loss == losses(tmp_path / "run")[3]
        path = folder / "batch-00000-00000.safetensors"
        tensors = load_file(path)
        tensors["strengths"], tensors["operations"] = torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.int64)
        for name, value in (("labels", 2), ("labels", -1), ("operations", 99), ("operations", -2)):
            save_file({**tensors, name: torch.full_like(tensors[name], value)}, path)
            with pytest.raises(ReplayError, match=f"{name}: expected numbers from"):
                replay(folder, "cpu")

    def test_a_step_that_is_finite_here_is_said_to_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        take_for_bad(monkeypatch, 1)
        pretrain(small_recipe(tmp_path / "run", "mae", stop_after=2), pictures())
        with pytest.raises(SystemExit) as stop:
            main(["replay", str(tmp_path / "run" / "nonfinite" / "step-00000001"), "--precision", "fp32"])
        assert stop.value.code == 1 and "all values are finite here" in capsys.readouterr().out

    def test_another_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ReplayError, match="expected a step that a run saved under nonfinite/, got a folder"):
            replay(tmp_path)
        with pytest.raises(
            FileNotFoundError, match=r"such as RUN/nonfinite/step-00000042, got .*none, which is not there"
        ):
            replay(tmp_path / "none")
        (tmp_path / "file").touch()
        with pytest.raises(ReplayError, match="which is a file"):
            replay(tmp_path / "file")
        (tmp_path / "run" / "nonfinite" / "step-00000003").mkdir(parents=True)
        with pytest.raises(ReplayError, match=r"got a folder without a step\.json; it has .*step-00000003"):
            replay(tmp_path / "run")
        (tmp_path / "step.json").write_text('{"schema": 7}')
        with pytest.raises(ReplayError, match="expected schema 1, got 7; update splatlearn"):
            replay(tmp_path)

    def test_a_batch_that_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        take_for_bad(monkeypatch, 1)
        pretrain(small_recipe(tmp_path / "run", "mae", stop_after=2), pictures())
        folder = tmp_path / "run" / "nonfinite" / "step-00000001"
        (folder / "batch-00000-00000.safetensors").unlink()
        with pytest.raises(ReplayError, match="expected the batch batch-00000-00000 of the step"):
            replay(folder)

    @pytest.mark.parametrize(
        ("name", "change", "said"),
        [
            ("images", lambda each: each.float(), r"images: expected uint8 \[B, 3, H=16, W=16\], got float32"),
            ("images", lambda each: each[:, :1].contiguous(), r"images: expected uint8 .*, got uint8 \[8, 1, 16, 16\]"),
            ("images", lambda each: each[:, :, :8].contiguous(), r"images: expected .*, got uint8 \[8, 3, 8, 16\]"),
            (
                "noise",
                lambda each: each[:, 0].contiguous(),
                r"noise: expected float32 \[B=8, N=16\], got float32 \[8\]",
            ),
            ("noise", lambda each: each.double(), r"noise: expected float32 .*, got float64"),
            ("noise", lambda each: each[:5].contiguous(), r"noise: expected float32 .*, got float32 \[5, 16\]"),
            ("noise", lambda each: each / 0, "noise: expected finite"),
            ("indices", lambda each: None, r"indices: expected int64 \[B=8\], got none"),
        ],
    )
    def test_a_batch_of_other_tensors(self, name: str, change: Any, said: str, stopped: Path, tmp_path: Path) -> None:
        shutil.copytree(stopped, tmp_path / "step")
        path = tmp_path / "step" / "batch-00000-00000.safetensors"
        tensors = load_file(path)
        changed = change(tensors.pop(name))
        save_file(tensors if changed is None else {**tensors, name: changed}, path)
        with pytest.raises((ReplayError, FormatError), match=said):
            replay(tmp_path / "step")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step that a run saved."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.ENCODERS, "tiny", SMALL)
        take_for_bad(patch, 1)
        pretrain(small_recipe(run, "mae", stop_after=2), pictures())
    return run / "nonfinite" / "step-00000001"
