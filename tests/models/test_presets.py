import dataclasses
import typing

import pytest
import torch

from splatlearn.core.errors import FormatError
from splatlearn.core.typed import build
from splatlearn.models import (
    GMAE,
    MAE,
    DecoderConfig,
    GMAEConfig,
    MAEConfig,
    ModelOptions,
    complete_options,
    create_model,
    model_config,
    named_model,
)
from splatlearn.models.options import GaussianOptions, Rotation
from splatlearn.models.presets import DEFAULT_DECODERS, Preset


@pytest.mark.parametrize(
    ("size", "encoder", "decoder"),
    [
        ("micro", (128, 6, 2), (128, 2, 2)),
        ("tiny", (192, 12, 3), (192, 4, 3)),
        ("small", (384, 12, 6), (256, 4, 8)),
        ("base", (768, 12, 12), (512, 8, 16)),
        ("large", (1024, 24, 16), (512, 8, 16)),
        ("huge", (1280, 32, 16), (512, 8, 16)),
    ],
)
def test_sizes(size: str, encoder: tuple[int, int, int], decoder: tuple[int, int, int]) -> None:
    for kind in ("mae", "gmae"):
        config = model_config(f"{kind}_vit_{size}_patch14_224")
        assert (config.encoder.embed_dim, config.encoder.depth, config.encoder.num_heads) == encoder
        assert config.encoder.patch_size == 14 and config.encoder.image_size == (224, 224)
        blocks = 1 if kind == "gmae" and size in DEFAULT_DECODERS else decoder[1]
        assert config.decoder == DecoderConfig(decoder[0], blocks, decoder[2])
        paper = model_config(f"{kind}_vit_{size}_patch14_224", "paper")
        assert paper.decoder == DecoderConfig(512, 8, 16) and paper.encoder == config.encoder


def test_the_paper_s_choices() -> None:
    paper = model_config("gmae_vit_base_patch16_224", "paper")
    assert isinstance(paper, GMAEConfig)
    assert (paper.gaussians, paper.gaussians_per_query, paper.scale_limit) == (256, 1, 1.0)
    assert (paper.rotation, paper.background) == ("uniform", "white")
    default = model_config("gmae_vit_base_patch16_224")
    assert (paper.color, paper.initial_scale, paper.layout) == ("bounded", 0.5, "free")
    assert isinstance(default, GMAEConfig) and default.rotation == "quaternion"
    assert (default.gaussians, default.gaussians_per_query, default.color) == (512, 8, "linear")
    assert isinstance(model_config("mae_vit_base_patch16_224", "paper"), MAEConfig)


def test_options_and_keywords() -> None:
    options = ModelOptions(image_size=(16, 24), decoder_depth=1, gaussians=64, background="black")
    model = create_model("gmae_vit_tiny_patch8_16", "default", 0, options, gaussians=32, gaussians_per_query=4)
    assert isinstance(model, GMAE)
    config = model.config
    assert config.encoder.image_size == (16, 24) and config.decoder == DecoderConfig(192, 1, 3)
    assert (config.gaussians, config.gaussians_per_query, config.background) == (32, 4, "black")
    narrow = create_model("mae_vit_tiny_patch8_16", decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=2)
    assert isinstance(narrow, MAE) and narrow.config.decoder == DecoderConfig(32, 1, 2)


def test_options_stand_once() -> None:
    """Options leave open what a configuration has, by the same names and with the same values allowed."""
    complete, partial = typing.get_type_hints(GMAEConfig), typing.get_type_hints(ModelOptions)
    names = [each.name for each in dataclasses.fields(GaussianOptions)]
    assert [each.name for each in dataclasses.fields(GMAEConfig)] == ["encoder", "decoder", *names]
    assert [each.name for each in dataclasses.fields(ModelOptions)][-len(names) :] == names
    assert all(partial[name] == complete[name] | None for name in names)
    assert complete["gaussians"] is int and complete["rotation"] == Rotation
    assert set(dataclasses.astuple(ModelOptions())) == {None} and ModelOptions().given() == {}
    assert GMAEConfig(gaussians=3).gaussians_per_query == 1 and None not in dataclasses.astuple(GMAEConfig())


def test_an_option_that_no_model_has() -> None:
    with pytest.raises(TypeError, match="gausians"):
        create_model("gmae_vit_tiny_patch8_16", gausians=4)  # pyright: ignore[reportCallIssue]
    with pytest.raises(
        FormatError, match=r"Unknown key: 'config\.gausians'; expected one of encoder, decoder, gaussians"
    ):
        build(GMAEConfig, {"gausians": 4}, "config")
    with pytest.raises(FormatError, match="config.gaussians: expected an integer, got None"):
        build(GMAEConfig, {"gaussians": None}, "config")


@pytest.mark.parametrize(("gaussians", "per_query"), [(64, 8), (100, 4), (7, 1)])
def test_any_number_of_gaussians_can_be_asked_for_alone(gaussians: int, per_query: int) -> None:
    config = model_config("gmae_vit_tiny_patch8_16", options=ModelOptions(gaussians=gaussians))
    assert isinstance(config, GMAEConfig)
    assert (config.gaussians, config.gaussians_per_query) == (gaussians, per_query)
    with pytest.raises(ValueError, match="gaussians: expected a positive multiple of gaussians_per_query, got 512"):
        model_config("gmae_vit_tiny_patch8_16", options=ModelOptions(gaussians_per_query=3))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_complete_options_say_all_and_keep_what_was_given(preset: Preset) -> None:
    given = ModelOptions(background=(0.1, 0.2, 0.3), image_size=(16, 24))
    found = complete_options("gmae_vit_tiny_patch8_16", preset, given)
    assert (found.background, found.image_size) == (given.background, given.image_size)
    assert None not in dataclasses.astuple(found)
    assert model_config("gmae_vit_tiny_patch8_16", "default", found) == model_config(
        "gmae_vit_tiny_patch8_16", preset, given
    )
    assert complete_options("mae_vit_tiny_patch8_16", preset).gaussians is None


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, other = (create_model("gmae_vit_tiny_patch8_16", seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "closest"),
        [
            ("gmae_vit_bas_patch16_224", "gmae_vit_base_patch16_224"),
            ("gmae-vit-tiny", "gmae_vit_tiny_patch16_224"),
            ("maevit_large_patch14_518", "mae_vit_large_patch14_518"),
            ("mae_vit_huge_patch0_224", "mae_vit_huge_patch16_224"),
            ("mae_vit_small_patch16_224x", "mae_vit_small_patch16_224"),
        ],
    )
    def test_names(self, name: str, closest: str) -> None:
        with pytest.raises(ValueError, match=r"name: expected \{mae\|gmae\}_vit_\{micro\|.*\|huge\}_patch") as caught:
            create_model(name)
        assert str(caught.value).endswith(f"got {name!r}; did you mean {closest!r}?")

    def test_sizes_that_do_not_divide(self) -> None:
        with pytest.raises(ValueError, match="image_size: .* got 225×225; the nearest sizes that work: 224×224"):
            create_model("mae_vit_tiny_patch16_225")
        with pytest.raises(ValueError, match="embed_dim, depth, num_heads: .* got embed_dim 192, depth 4, num_heads 5"):
            create_model("mae_vit_tiny_patch16_224", decoder_num_heads=5)

    def test_gaussians_of_a_mae(self) -> None:
        with pytest.raises(ValueError, match="gaussians, rotation: expected no options about Gaussians"):
            create_model("mae_vit_tiny_patch16_224", gaussians=4, rotation="uniform")

    @pytest.mark.usefixtures("no_shape_checks")
    def test_preset(self) -> None:
        with pytest.raises(ValueError, match="preset: expected one of default, paper, got 'best'"):
            create_model("mae_vit_tiny_patch16_224", "best")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mae_vit_micro_patch4_32", ModelOptions(decoder_depth=3)),
        (
            "gmae_vit_tiny_patch8_64",
            ModelOptions(gaussians=64, gaussians_per_query=4, color="residual", initial_scale=0.7),
        ),
        ("gmae_vit_base_patch16_224", ModelOptions(image_size=(224, 160), background=(0.5, 0.0, 1.0))),
    ],
)
def test_a_configuration_has_a_name_and_options(preset: str, name: str, options: ModelOptions) -> None:
    config = model_config(name, preset, options)  # type: ignore[arg-type]
    found, all_options = named_model(config)
    assert found == name and model_config(found, options=all_options) == config


def test_a_configuration_without_a_name() -> None:
    config = model_config("mae_vit_tiny_patch8_64")
    encoder = dataclasses.replace(config.encoder, depth=11)
    with pytest.raises(ValueError, match="config: expected the sizes of an encoder vit_"):
        named_model(dataclasses.replace(config, encoder=encoder))
