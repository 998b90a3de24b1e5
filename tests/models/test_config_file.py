import json
from dataclasses import asdict

import pytest

from splatlearn.models import DecoderConfig, GMAEConfig, ViTConfig
from splatlearn.models.config_file import config_from_dict


def test_round_trip_through_json() -> None:
    config = GMAEConfig(ViTConfig(24, 2, 3, 4, (16, 24)), DecoderConfig(16, 1, 2), 12, 3, background=(0.0, 0.5, 1.0))
    assert config_from_dict(GMAEConfig, json.loads(json.dumps(asdict(config)))) == config


def test_missing_keys_take_defaults_and_integers_serve_as_numbers() -> None:
    assert config_from_dict(DecoderConfig, {"width": 64, "mlp_ratio": 2}) == DecoderConfig(64, mlp_ratio=2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": {"widht": 3}}, "Unknown key: 'config.encoder.widht'; expected one of width, depth"),
        ({"decoder": {"width": "wide"}}, "config.decoder.width: expected an integer, got 'wide'"),
        ({"decoder": {"depth": 1.5}}, "config.decoder.depth: expected an integer, got 1.5"),
        ({"scale_limit": None}, "config.scale_limit: expected a number, got None"),
        ({"encoder": [1]}, r"config.encoder: expected an object, got \[1\]"),
    ],
)
def test_errors(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_dict(GMAEConfig, values)
