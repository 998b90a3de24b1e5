"""Which parameters decay."""

from torch import nn

from splatlearn.models import create_model
from splatlearn.training.loop.parameter_groups import parameter_groups


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
