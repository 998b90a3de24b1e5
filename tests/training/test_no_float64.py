"""A step asks its device for nothing that Apple's GPUs lack: no float64, and no optimiser that skips steps itself.

There is no such GPU here. Tensors on the device "meta", which compute shapes and types alone, take its place: what is
asked of them is what would be asked of a GPU that is neither a CPU nor CUDA's.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental import _config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from splatlearn.data.loading.batch import Batch
from splatlearn.models import GMAE, load_model
from splatlearn.models.classifier import classifier_from
from splatlearn.rendering.backends.torch import blend as torch_blend
from splatlearn.runs.processes import Processes
from splatlearn.training import AugmentOptions, MutualInformationOptions, ObjectiveOptions, Recipe
from splatlearn.training.finetuning.cost import FinetuneCost
from splatlearn.training.finetuning.data import LabelledBatch
from splatlearn.training.finetuning.weights import moving_average
from splatlearn.training.loop.guard import FiniteGuard
from splatlearn.training.loop.update_ratio import UpdateRatio
from splatlearn.training.pretraining.cost import PretrainingCost
from splatlearn.training.pretraining.gaussian_measures import gaussian_measures
from splatlearn.training.pretraining.starting import new_model
from training.small_finetune import pretrained, small_finetuning
from training.small_run import small_recipe

pytestmark = pytest.mark.usefixtures("small_encoder", "other_device")

META = torch.device("meta")


class Watch(TorchDispatchMode):
    """Notes the operations that make or take float64 on the device; numbers that are asked of it are 0."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.doubles: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = any(each.is_meta for each in tensors)
        if function is torch.ops.aten._local_scalar_dense.default and there:
            return 0.0
        if function is torch.ops.aten._to_copy.default and there and kwargs.get("device") == torch.device("cpu"):
            found: Any = torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        else:
            found = function(*args, **kwargs)
        made = [each for each in tree_leaves(found) if isinstance(each, Tensor)]
        on_device = [each for each in [*tensors, *made] if each.is_meta]
        self.operations += bool(on_device)
        self.doubles += [str(function) for each in on_device if each.dtype in (torch.float64, torch.complex128)]
        return found


class NoAutocast(torch.autocast):
    """For any device, none."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("cpu", torch.bfloat16, enabled=False)


@pytest.fixture
def other_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the device compute in whatever precision, and take every entry of a condition for true."""
    monkeypatch.setattr(torch, "autocast", NoAutocast)
    with _config.patch(meta_nonzero_assume_all_nonzero=True):  # pyright: ignore[reportAttributeAccessIssue]
        yield


def take_step(model: nn.Module) -> None:
    """What the loop does between two backward passes."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=False)
    guard, ratio = FiniteGuard(META), UpdateRatio(Processes(torch.device("cpu")))
    guard.clip(model.parameters(), optimizer, 1.0)
    with ratio.of(model):
        guard.step(optimizer)
    assert ratio.measured()["update_ratio"].dtype == torch.float64
    assert not guard.look()


def recipe(method: str, depth: str | None = None) -> Recipe:
    found = small_recipe(Path("run"), method.removeprefix("mi-"))
    if method.startswith("mi-"):
        mutual = MutualInformationOptions(
            projector=8, estimator_width=16, estimator_steps=1, minimize_weight=0.01, maximize_weight=0.1
        )
        found = dataclasses.replace(found, method=method, mutual=mutual, objective=ObjectiveOptions(0.75))  # type: ignore[arg-type]
    return dataclasses.replace(found, options=dataclasses.replace(found.options, depth=depth)).resolved()


@pytest.mark.parametrize(
    ("method", "depth"), [("mae", None), ("gmae", None), ("gmae", "soft-order"), ("mi-mae", None), ("mi-gmae", None)]
)
def test_pretraining(method: str, depth: str | None) -> None:
    with Watch() as seen:
        model = new_model(recipe(method, depth)).to(META)
        cost = PretrainingCost(recipe(method, depth), model, META, "fp32")
        batch = Batch(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.rand(4, 16), torch.arange(4))
        cost.at(0.5, 3)
        cost(model, batch, 0, 0).loss.backward()
        take_step(model)
        if isinstance(model, GMAE):
            assert cost.gaussians is not None
            gaussian_measures(cost.gaussians, model.camera(16, 16), model.config.largest_scale)
    assert seen.operations > 200 and seen.doubles == []


def test_compositing_in_pytorch() -> None:
    """Its operations stand behind the one that the models call."""
    with Watch() as seen:
        shapes = ((2, 5, 2), (2, 5, 3), (2, 5), (2, 5, 3), (2, 3))
        inputs: Any = tuple(torch.empty(shape, device="meta") for shape in shapes)
        outputs = torch_blend.forward(*inputs, size=(8, 8))
        torch_blend.backward(inputs, outputs, outputs)
    assert seen.operations > 50 and seen.doubles == []


def test_finetuning(tmp_path: Path) -> None:
    found = small_finetuning(pretrained(tmp_path / "model"), tmp_path / "run", AugmentOptions(rand_augment=0.0))
    classes = ("dark", "bright")
    with Watch() as seen:
        generator = torch.Generator().manual_seed(0)
        model = classifier_from(load_model(tmp_path / "model"), classes, "mean", generator).to(META)
        cost = FinetuneCost(found.resolved(2), model, META, "fp32")
        nothing = torch.zeros(4, 0)
        images, boxes = torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.int64)
        batch = LabelledBatch(images, torch.arange(4) % 2, nothing.long(), nothing, boxes, torch.arange(4))
        cost(model, batch, 0, 0).loss.backward()
        take_step(model)
        moving_average(model, 0.9).update_parameters(model)
    assert seen.operations > 100 and seen.doubles == []


def test_the_watch_sees_what_it_is_for() -> None:
    with Watch() as seen:
        torch.ones(3, device="meta").double().sum()
        torch.ones(3, device="meta").cpu().double().sum()
    assert seen.doubles and all("copy" in each or "sum" in each for each in seen.doubles) and len(seen.doubles) == 3
