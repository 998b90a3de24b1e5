import math

import pytest
from torch import nn

from splatlearn.models import create_model
from splatlearn.runs.schedule import CosineSchedule
from splatlearn.training.loop.parameter_groups import parameter_groups


def test_warms_up_linearly_and_ends_at_the_minimum() -> None:
    schedule = CosineSchedule(peak=1.0, warmup=10, total=110, minimum=0.1)
    assert [schedule(step) for step in (0, 5, 10)] == pytest.approx([0.0, 0.5, 1.0])
    assert schedule(60) == pytest.approx(0.55)
    assert schedule(110) == pytest.approx(0.1)
    assert schedule(35) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_no_warm_up() -> None:
    assert CosineSchedule(peak=2.0, warmup=0.0, total=4)(0) == 2.0


def test_vectors_tokens_and_queries_do_not_decay() -> None:
    model = create_model("gmae_vit_tiny_patch4_16", seed=0)
    decayed, rest = parameter_groups(model, 0.05)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.ndim >= 2 for p in decayed["params"])
    kept = {names[id(p)] for p in rest["params"]}
    assert any("cls_token" in name for name in kept) and any("quer" in name for name in kept)
    assert len(decayed["params"]) + len(rest["params"]) == len(names)


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(layer, 0.1)] == [1, 0]
