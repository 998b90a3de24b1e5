import copy
from pathlib import Path

import pytest
import torch

from models.small_models import ENCODER, small_gmae, small_mae
from splatlearn.models import (
    Classifier,
    ClassifierConfig,
    ViTConfig,
    classifier_from,
    load_classifier,
    load_model,
    save_model,
)
from splatlearn.models.nn.block import Block

CLASSES = ("cat", "dog", "owl")


def images(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 3, 16, 24, generator=generator)


@pytest.mark.parametrize("model", [small_mae(), small_gmae()])
def test_the_class_token_is_the_pretrained_one(model, generator: torch.Generator) -> None:
    classifier = classifier_from(model, CLASSES, "cls", generator)
    pictures = images(generator)
    expected = model.encode(pictures)[:, 0] @ classifier.head.weight.T + classifier.head.bias
    torch.testing.assert_close(classifier(pictures), expected)


def test_the_mean_is_taken_before_the_norm(generator: torch.Generator) -> None:
    model = small_mae()
    classifier = classifier_from(model, CLASSES, "mean", generator)
    assert isinstance(classifier.fc_norm, torch.nn.LayerNorm)
    with torch.no_grad():
        classifier.fc_norm.weight.copy_(torch.rand(24, generator=generator))
        classifier.head.weight.copy_(torch.rand(3, 24, generator=generator))
    pictures = images(generator)
    plain = copy.deepcopy(model.encoder)
    plain.register_module("norm", torch.nn.Identity())
    mean = plain(pictures)[:, 1:].mean(dim=1)
    standardised = (mean - mean.mean(1, keepdim=True)) / (mean.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    expected = (standardised * classifier.fc_norm.weight) @ classifier.head.weight.T
    torch.testing.assert_close(classifier(pictures), expected, atol=1e-5, rtol=1e-4)


def test_the_pretrained_model_is_left_alone(generator: torch.Generator) -> None:
    model = small_mae()
    classifier = classifier_from(model, CLASSES, generator=generator)
    with torch.no_grad():
        classifier.encoder.cls_token.fill_(7.0)
    assert not (model.encoder.cls_token == 7.0).any()
    assert isinstance(model.encoder.norm, torch.nn.LayerNorm)


def test_all_classes_start_alike_and_the_head_follows_its_generator(generator: torch.Generator) -> None:
    model, before = small_mae(), torch.random.get_rng_state()
    heads = [classifier_from(model, CLASSES, generator=torch.Generator().manual_seed(seed)).head for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(heads[0].weight, heads[1].weight) and not torch.equal(heads[0].weight, heads[2].weight)
    logits = classifier_from(small_mae(), CLASSES, generator=generator)(images(generator))
    torch.testing.assert_close(logits.softmax(1), torch.full((2, 3), 1 / 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_names_are_those_of_timm(pooling) -> None:
    names = set(Classifier(ClassifierConfig(CLASSES, ENCODER, pooling)).state_dict())
    heads = {"head.weight", "head.bias"} | ({"fc_norm.weight", "fc_norm.bias"} if pooling == "mean" else set())
    norms = {"encoder.norm.weight", "encoder.norm.bias"}
    assert heads <= names and (norms <= names) == (pooling == "cls")
    assert "encoder.blocks.1.attn.qkv.weight" in names and not any("decoder" in name for name in names)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_round_trip(pooling, tmp_path: Path, generator: torch.Generator) -> None:
    classifier = classifier_from(small_mae(), CLASSES, pooling, generator)
    save_model(classifier, tmp_path)
    loaded = load_classifier(tmp_path)
    assert loaded.config == classifier.config and not loaded.training
    pictures = images(generator)
    assert torch.equal(loaded(pictures), classifier.eval()(pictures))


def test_errors(tmp_path: Path, no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match=r"classes: expected at least two, got \['cat'\]"):
        ClassifierConfig(("cat",))
    with pytest.raises(ValueError, match="pooling: expected one of mean, cls, got 'max'"):
        ClassifierConfig(CLASSES, pooling="max")  # pyright: ignore[reportArgumentType]
    save_model(small_mae(), tmp_path / "mae")
    with pytest.raises(ValueError, match="expected a classifier, got a masked autoencoder; read it with load_model"):
        load_classifier(tmp_path / "mae")
    save_model(classifier_from(small_mae(), CLASSES), tmp_path / "classifier")
    with pytest.raises(ValueError, match="expected a MAE or a GMAE, got a classifier; read it with load_classifier"):
        load_model(tmp_path / "classifier")


def test_drop_path_skips_branches_in_training_alone() -> None:
    classifier = Classifier(ClassifierConfig(CLASSES, ViTConfig(24, 3, 3, 4, (16, 24))))
    classifier.set_drop_path(0.5)
    blocks = classifier.encoder.blocks
    assert [block.drop_path for block in blocks if isinstance(block, Block)] == [0.0, 0.25, 0.5]
    block, tokens = blocks[2], torch.randn(400, 2, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        kept = block(tokens)
        assert torch.equal(block.eval()(tokens), block(tokens))
    untouched = (kept == tokens).flatten(1).all(1).double().mean().item()
    # Both branches skip with 0.5·0.5; five standard deviations of 400 draws.
    assert untouched == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 400) ** 0.5)
    with pytest.raises(ValueError, match="drop_path: expected a rate of at least 0 and below 1, got 1.0"):
        classifier.set_drop_path(1.0)
