import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from splatlearn.models import GMAE, MAE, DecoderConfig, GMAEConfig, MAEConfig, ViTConfig, load_model, random_mask
from splatlearn.runs.checkpoint_store import Retention, checkpoint_folders, checksum
from splatlearn.runs.processes import Processes
from splatlearn.training import pretrain
from splatlearn.training.loop.checkpoint import (
    CheckpointError,
    Progress,
    Training,
    good_checkpoint,
    load_checkpoint,
    read_progress,
    save_checkpoint,
)
from splatlearn.training.loop.checkpoint_migrations import SCHEMA
from splatlearn.training.loop.state import optimizer_tensors
from splatlearn.training.pretraining.recipe import Recipe
from training.small_run import losses, pictures, small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder")

ENCODER = ViTConfig(embed_dim=12, depth=1, num_heads=1, patch_size=4, image_size=(8, 8))
STORED = Path(__file__).parent / "stored"
STORED_FILES = {"model.safetensors": "36b6d84c4355b54b", "optimizer.safetensors": "fe1db1e0bea2488b"}
"""The first digits of the SHA-256 sums of the files of the stored checkpoint."""
STORED_LOSS = 0.86506994
"""The loss of the stored model; computed in float64."""
PROCESSES = Processes(torch.device("cpu"))
KEEP_ALL = Retention(9)


def fresh(seed: int = 0, kind: str = "mae") -> tuple[nn.Module, torch.optim.Optimizer]:
    decoder, generator = DecoderConfig(8, 1, 1), torch.Generator().manual_seed(seed)
    if kind == "mae":
        model: MAE | GMAE = MAE(MAEConfig(ENCODER, decoder), generator)
    else:
        model = GMAE(GMAEConfig(ENCODER, decoder, gaussians=4), generator)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 1) -> float:
    """Take steps on the same two images; returns the loss before the last."""
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = torch.tensor(torch.nan)
    for _ in range(steps):
        mask = random_mask(2, (2, 2), 0.5, torch.Generator().manual_seed(0))
        loss = model(images, mask).image.square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def saved(run: Path, *steps: int, keep: Retention = KEEP_ALL) -> Path:
    """Checkpoints of these steps; returns the folder of the last."""
    model, optimizer = fresh()
    folder = run
    for step in steps:
        learn(model, optimizer)
        progress = Progress(step, {"a.jpg": "truncated"}, 14, 7)
        folder = save_checkpoint(run, Training(model, optimizer, {}, '{"a": 1}'), progress, keep, PROCESSES)
    return folder


def test_everything_comes_back(tmp_path: Path) -> None:
    model, optimizer = fresh()
    learn(model, optimizer)
    progress = Progress(7, {"a.jpg": "truncated"}, images_per_step=14, images_per_pass=7)
    folder = save_checkpoint(tmp_path, Training(model, optimizer, {}, "{}"), progress, Retention(2), PROCESSES)
    other, other_optimizer = fresh(1)
    assert load_checkpoint(folder, other, other_optimizer) == progress
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    before, after = optimizer_tensors(model, optimizer), optimizer_tensors(other, other_optimizer)
    assert len(before) == 3 * len(list(model.parameters()))
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_a_checkpoint_says_what_wrote_it(tmp_path: Path) -> None:
    pretrain(small_recipe(tmp_path / "run", stop_after=1), pictures())
    (folder,) = checkpoint_folders(tmp_path / "run")
    state = json.loads((folder / "training.json").read_text())
    assert state["schema"] == SCHEMA.newest and state["splatlearn"]
    assert Recipe.read(folder / "recipe.json") == Recipe.read(tmp_path / "run" / "recipe.json")
    assert (state["images_per_step"], state["images_per_pass"]) == (8, 8)
    kept = {path.name for path in folder.iterdir() if path.suffix in {".json", ".safetensors"}}
    assert set(state["files"]) == kept - {"training.json"} and "optimizer.safetensors" in kept


def test_every_second_checkpoint_of_a_run_stays(tmp_path: Path) -> None:
    pretrain(small_recipe(tmp_path / "run", checkpoint_every=2, keep_checkpoints=1, keep_every=2), pictures())
    assert [int(path.name[5:]) for path in checkpoint_folders(tmp_path / "run")] == [4, 8, 9]


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    folder = saved(tmp_path, 3)
    with pytest.raises(
        CheckpointError, match="is a checkpoint of another model: expected .*, got missing: anchors, query_embed"
    ):
        load_checkpoint(folder, *fresh(kind="gmae"))


class TestSchemas:
    def test_a_newer_one(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 3)
        state = json.loads((folder / "training.json").read_text()) | {"schema": 99}
        (folder / "training.json").write_text(json.dumps(state))
        for read in (lambda: load_checkpoint(folder, *fresh()), lambda: good_checkpoint(tmp_path)):
            with pytest.raises(
                CheckpointError, match=f"expected checkpoint schema {SCHEMA.newest} or older, got 99; update"
            ):
                read()

    def test_each_older_one_has_a_migration_that_leaves_its_argument_alone(self) -> None:
        assert sorted(SCHEMA.migrations) == list(range(1, SCHEMA.newest))
        first = {"schema": 1, "step": 5, "samples": 40, "unreadable": {"a": "b"}}
        before = json.dumps(first)
        now = SCHEMA.migrate(first)
        assert json.dumps(first) == before
        assert (now["schema"], now["step"], now["unreadable"], now["images_per_step"]) == (
            SCHEMA.newest,
            5,
            {"a": "b"},
            8,
        )
        assert SCHEMA.migrate({**first, "step": 0, "samples": 0})["images_per_step"] == 0

    def test_a_stored_checkpoint_of_schema_1(self) -> None:
        folder = STORED / "checkpoint_schema_1"
        model, optimizer = fresh(5, "gmae")
        assert load_checkpoint(folder, model, optimizer) == Progress(3, {"a.jpg": "truncated"}, 8, 0)
        for name, sum_of_bytes in STORED_FILES.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest().startswith(sum_of_bytes), name
        stored = load_file(folder / "model.safetensors")
        assert all(torch.equal(each, stored.pop(name)) for name, each in model.state_dict().items()) and not stored
        moments = load_file(folder / "optimizer.safetensors")
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state[parameter].items():
                assert torch.equal(value, moments.pop(f"{key}.{name}")), f"{name}.{key}"
        assert not moments and {float(state["step"]) for state in optimizer.state.values()} == {3.0}
        assert load_model(folder).config == model.config == fresh(0, "gmae")[0].config

    def test_training_goes_on_from_a_stored_checkpoint_of_schema_1(self) -> None:
        model, optimizer = fresh(5, "gmae")
        load_checkpoint(STORED / "checkpoint_schema_1", model, optimizer)
        # One forward pass, so that rounding is not amplified as it is by the first steps of Adam from a fresh model.
        assert learn(model, optimizer) == pytest.approx(STORED_LOSS, rel=1e-4)
        assert {float(state["step"]) for state in optimizer.state.values()} == {4.0}
        assert learn(model, optimizer, 5) < 0.96 * STORED_LOSS < 0.9 * learn(*fresh(0, "gmae"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


class TestDamage:
    def test_a_run_says_so_and_trains_as_if_it_had_never_stopped(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pretrain(small_recipe(tmp_path / "whole"), pictures())
        pretrain(small_recipe(tmp_path / "run", checkpoint_every=2, stop_after=6), pictures())
        newest = checkpoint_folders(tmp_path / "run")[-1]
        cut(newest / "optimizer.safetensors")
        pretrain(small_recipe(tmp_path / "run", resume=True), pictures())
        assert losses(tmp_path / "run") == losses(tmp_path / "whole")
        said = " ".join(capsys.readouterr().err.split())
        assert "optimizer.safetensors: expected the bytes that were written" in said
        assert "renamed it to damaged-step-00000006 and went on from step 4" in said
        assert newest.with_name("damaged-step-00000006").is_dir()

    def test_a_mistake_in_the_recipe_renames_nothing(self, tmp_path: Path) -> None:
        pretrain(small_recipe(tmp_path / "run", checkpoint_every=1, stop_after=2), pictures())
        newest = checkpoint_folders(tmp_path / "run")[-1]
        cut(newest / "model.safetensors")
        with pytest.raises(ValueError, match="another recipe"):
            pretrain(small_recipe(tmp_path / "run", resume=True, seed=5), pictures())
        assert newest.is_dir()


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class TestPickles:
    @pytest.mark.parametrize("write", [pickle.dump, torch.save])
    @pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "training.json"])
    def test_a_malicious_one_does_not_run(self, tmp_path: Path, name: str, write: Callable) -> None:
        mark = tmp_path / "it ran"
        folder = saved(tmp_path / "run", 3)
        with (folder / name).open("wb") as file:
            write(Bomb(mark), file)
        if name != "training.json":
            state = json.loads((folder / "training.json").read_text())
            state["files"][name] = checksum(folder / name)
            (folder / "training.json").write_text(json.dumps(state))
        for read in (lambda: load_checkpoint(folder, *fresh()), lambda: good_checkpoint(tmp_path / "run")):
            with pytest.raises(CheckpointError, match=name):
                read()
        if name == "model.safetensors":
            with pytest.raises(ValueError, match=name):
                load_model(folder)
        assert not mark.exists()
        # The bomb itself works.
        pickle.loads(pickle.dumps(Bomb(mark)))
        assert mark.exists()

    def test_one_beside_the_others_is_never_looked_at(self, tmp_path: Path) -> None:
        folder = saved(tmp_path / "run", 3)
        for name in ("pytorch_model.bin", "optimizer.bin", "random_states_0.pkl", "scheduler.bin"):
            with (folder / name).open("wb") as file:
                pickle.dump(Bomb(tmp_path / "it ran"), file)
        assert good_checkpoint(tmp_path / "run")[0] == folder
        assert load_checkpoint(folder, *fresh()).step == 3
        assert not (tmp_path / "it ran").exists()


def test_progress_without_a_field(tmp_path: Path) -> None:
    folder = saved(tmp_path, 3)
    state = json.loads((folder / "training.json").read_text())
    del state["step"]
    (folder / "training.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match="training.json: Missing key: 'step'"):
        read_progress(folder)


def test_progress_is_what_is_stored() -> None:
    names = {field.name for field in dataclasses.fields(Progress)}
    assert names == {"step", "unreadable", "images_per_step", "images_per_pass"}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    folder = saved(tmp_path, 1)
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][:3] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"step-00000001: model: head\.bias: expected finite .* got 3 of 48"):
        load_checkpoint(folder, *fresh())
