import json
from pathlib import Path

import pytest
import torch

from splatlearn.models import create_model, random_mask
from splatlearn.training.checkpoint import (
    CheckpointError,
    Progress,
    checkpoint_folders,
    load_checkpoint,
    optimizer_tensors,
    save_checkpoint,
)


def trained(name: str = "mae_vit_tiny_patch4_8") -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = create_model(name, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model(images, random_mask(2, (2, 2), 0.5, torch.Generator().manual_seed(0))).image.square().mean().backward()
    optimizer.step()
    return model, optimizer


def test_everything_comes_back(tmp_path: Path) -> None:
    model, optimizer = trained()
    progress = Progress(step=7, samples=14, unreadable={"a.jpg": "truncated"})
    folder = save_checkpoint(tmp_path, model, optimizer, progress, keep=2)
    other = create_model("mae_vit_tiny_patch4_8", seed=1)
    other_optimizer = torch.optim.AdamW(other.parameters(), fused=True)
    assert load_checkpoint(folder, other, other_optimizer) == progress
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    saved, read = optimizer_tensors(model, optimizer), optimizer_tensors(other, other_optimizer)
    assert saved.keys() == read.keys() and all(torch.equal(saved[key], read[key]) for key in saved)


def test_a_folder_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    model, optimizer = trained()
    save_checkpoint(tmp_path, model, optimizer, Progress(3, 3, {}), keep=2)
    half = tmp_path / "checkpoints" / ".tmp-step-00000009"
    half.mkdir()
    (half / "config.json").write_text("{")
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["step-00000003"]
    save_checkpoint(tmp_path, model, optimizer, Progress(4, 4, {}), keep=2)
    assert not half.exists()


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    model, optimizer = trained()
    folder = save_checkpoint(tmp_path, model, optimizer, Progress(3, 3, {}), keep=2)
    other = create_model("gmae_vit_tiny_patch4_8", seed=1)
    with pytest.raises(CheckpointError, match="is a checkpoint of another model"):
        load_checkpoint(folder, other, torch.optim.AdamW(other.parameters()))


def test_a_newer_schema(tmp_path: Path) -> None:
    model, optimizer = trained()
    folder = save_checkpoint(tmp_path, model, optimizer, Progress(3, 3, {}), keep=2)
    state = json.loads((folder / "training.json").read_text()) | {"schema": 99}
    (folder / "training.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match="expected checkpoint schema 1"):
        load_checkpoint(folder, model, optimizer)
