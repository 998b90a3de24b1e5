import pytest
import torch
from torch import nn

from models.small_models import ENCODER, small_mae
from splatlearn.models import Classifier, ClassifierConfig, classifier_from
from splatlearn.training.finetuning.weights import layer_decay_groups, layer_of, moving_average


@pytest.fixture
def classifier() -> Classifier:
    """Two blocks of width 24, and three classes."""
    return classifier_from(small_mae(), ("a", "b", "c"), generator=torch.Generator().manual_seed(0))


def rates(classifier: Classifier, layer_decay: float) -> dict[str, tuple[float, float]]:
    """The rate's factor and the weight decay of every parameter, by name."""
    names = {parameter: name for name, parameter in classifier.named_parameters()}
    groups = layer_decay_groups(classifier, 0.05, layer_decay)
    return {names[p]: (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_rates_by_hand(classifier: Classifier) -> None:
    found = rates(classifier, 0.65)
    assert found.keys() == dict(classifier.named_parameters()).keys()
    expected = {
        "encoder.cls_token": (0.274625, 0.0),  # 0.65³
        "encoder.patch_embed.proj.weight": (0.274625, 0.05),
        "encoder.patch_embed.proj.bias": (0.274625, 0.0),
        "encoder.blocks.0.attn.qkv.weight": (0.4225, 0.05),  # 0.65²
        "encoder.blocks.0.norm1.weight": (0.4225, 0.0),
        "encoder.blocks.1.mlp.fc2.weight": (0.65, 0.05),
        "encoder.blocks.1.mlp.fc2.bias": (0.65, 0.0),
        "fc_norm.weight": (1.0, 0.0),
        "head.weight": (1.0, 0.05),
        "head.bias": (1.0, 0.0),
    }
    for name, (scale, decay) in expected.items():
        assert found[name] == (pytest.approx(scale), decay), name


def test_no_decay_means_one_rate(classifier: Classifier) -> None:
    assert {scale for scale, _ in rates(classifier, 1.0).values()} == {1.0}


def test_the_norm_behind_the_class_token_learns_with_the_head() -> None:
    found = rates(Classifier(ClassifierConfig(("a", "b"), ENCODER, "cls")), 0.5)
    assert found["encoder.norm.weight"] == (1.0, 0.0)


def test_blocks_with_two_digits_are_told_apart() -> None:
    assert layer_of("encoder.blocks.1.norm1.weight", 12) == 2
    assert layer_of("encoder.blocks.11.norm1.weight", 12) == 12


def test_one_step_moves_a_layer_by_its_share_of_the_rate(classifier: Classifier) -> None:
    """The first step of AdamW without weight decay moves every weight by the learning rate, whatever the gradient."""
    optimizer = torch.optim.AdamW(layer_decay_groups(classifier, 0.0, 0.5), lr=0.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["lr_scale"]
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: (before[name] - value).mean() for name, value in classifier.state_dict().items()}
    assert float(moved["head.weight"]) == pytest.approx(0.01, rel=1e-3)
    assert float(moved["encoder.blocks.0.mlp.fc1.weight"]) == pytest.approx(0.0025, rel=1e-3)
    assert float(moved["encoder.cls_token"]) == pytest.approx(0.00125, rel=1e-3)


def test_the_average_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = moving_average(layer, 0.25)
    expected = None
    for update, value in enumerate([3.0, -1.0, 4.0, 1.0, 5.0]):
        nn.init.constant_(layer.weight, value)
        average.update_parameters(layer)
        decay = min(0.25, (1 + update) / (10 + update))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert float(average.state_dict()["module.weight"]) == pytest.approx(expected, rel=1e-6)


def test_the_average_is_a_copy_that_does_not_learn() -> None:
    layer = nn.Linear(2, 2).train()
    average = moving_average(layer, 0.9)
    assert not average.training and not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad for p in layer.parameters())
    with torch.no_grad():
        layer.weight.zero_()
    assert average.state_dict()["module.weight"].any()
