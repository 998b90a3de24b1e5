"""Reading of other projects' weights and what they say of themselves, from files, folders and the Hub."""

from __future__ import annotations

import argparse
import pickle
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from splatlearn.core.atomic import read_object
from splatlearn.core.errors import InputError, MissingError
from splatlearn.models.exchange.choices import ImportOptions
from splatlearn.models.exchange.folders import CONFIG_NAME, WEIGHTS_NAME
from splatlearn.models.exchange.huggingface import PREPROCESSOR_NAME
from splatlearn.models.io import is_hub_id

_WEIGHTS = (WEIGHTS_NAME, "pytorch_model.bin")
_EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class Source:
    """Weights as they are named where they come from, what is known about them, and where that is."""

    weights: dict[str, Tensor]
    known: ImportOptions
    name: str


def read_source(source: str | Path, options: ImportOptions | None = None) -> Source:
    """Read the weights in a file, a folder or a Hub repository, and what the files beside them say.

    `options` win over what is stored. Nothing is unpickled but tensors and plain values. Raises FileNotFoundError
    where there are no weights, and ValueError for files that cannot be read and models of another build.
    """
    path = Path(source)
    if not path.exists():
        path = _download(str(source))
    told = ImportOptions()
    file = path
    if path.is_dir():
        told = _described(path)
        found = [path / name for name in _WEIGHTS if (path / name).is_file()]
        if not found:
            raise MissingError(f"{path}: expected a folder with {' or '.join(_WEIGHTS)}, found neither")
        file = found[0]
    weights, more = _tensors(file)
    known = _over(options or ImportOptions(), _over(told, more))
    return Source(weights, known, str(source))


def _download(hub_id: str) -> Path:
    if not is_hub_id(hub_id):
        raise MissingError(f"{hub_id}: expected an existing file, folder or Hub id owner/name, found no such file")
    try:
        return Path(
            huggingface_hub.snapshot_download(hub_id, allow_patterns=[CONFIG_NAME, PREPROCESSOR_NAME, *_WEIGHTS])
        )
    except OSError as error:  # what every failure of the Hub client is: offline, unknown, private
        raise MissingError(
            f"{hub_id}: expected a file, a folder or a Hub id, found no such file, and the Hub could not provide it "
            f"({type(error).__name__}); check the spelling and the network"
        ) from error


def _tensors(file: Path) -> tuple[dict[str, Tensor], ImportOptions]:
    """The tensors of a file, and what it says beside them."""
    if file.suffix == ".safetensors":
        try:
            return load_file(file), ImportOptions()
        except SafetensorError as error:
            raise InputError(f"{file}: expected a readable safetensors file, got {error}") from error
    try:
        # Official training checkpoints hold their command-line arguments, in nothing more than a namespace.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{file}: expected a PyTorch file of tensors and plain values alone, got {reason}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a dictionary of tensors, got {type(content).__name__}")
    arguments = content.get("args")
    told = ImportOptions()
    if isinstance(arguments, argparse.Namespace) and isinstance(getattr(arguments, "norm_pix_loss", None), bool):
        told = ImportOptions(target="patches" if arguments.norm_pix_loss else "colors")
    inside = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)), content)
    weights = {str(name).removeprefix("module."): value for name, value in inside.items() if isinstance(value, Tensor)}
    if not weights:
        raise InputError(
            f"{file}: expected a dictionary of tensors, got one of {', '.join(map(str, list(content)[:4]))}"
        )
    return weights, told


def _described(folder: Path) -> ImportOptions:
    """What `config.json` and `preprocessor_config.json` of a folder say."""
    config = read_object(folder / CONFIG_NAME)
    if "schema_version" in config:
        raise InputError(f"{folder}: expected another project's model, got one of splatlearn; read it with load_model")
    if "architecture" in config:
        return _of_timm(config)
    if "model_type" not in config:
        return ImportOptions()
    if config["model_type"] not in ("vit", "vit_mae"):
        raise InputError(f"{folder}: model_type: expected vit or vit_mae, got {config['model_type']!r}")
    for name, allowed in (("hidden_act", ("gelu",)), ("qkv_bias", (True,))):
        if config.get(name, allowed[0]) not in allowed:
            raise InputError(f"{folder}: {name}: expected {allowed[0]}, got {config[name]!r}; it cannot be imported")
    if not 0 <= config.get("layer_norm_eps", 1e-12) <= _EPSILON:
        raise InputError(f"{folder}: layer_norm_eps: expected at most {_EPSILON}, got {config['layer_norm_eps']!r}")
    preprocessor = read_object(folder / PREPROCESSOR_NAME)
    mean, std = preprocessor.get("image_mean"), preprocessor.get("image_std")
    if preprocessor.get("do_normalize") is False:
        channels = config.get("num_channels", 3)
        mean, std = [0.0] * channels, [1.0] * channels
    return ImportOptions(
        heads=config.get("num_attention_heads", 12),
        decoder_heads=config.get("decoder_num_attention_heads", 16),
        image_size=_size(config.get("image_size", 224)),
        input_mean=None if mean is None else tuple(mean),
        input_std=None if std is None else tuple(std),
        target="patches" if config.get("norm_pix_loss", False) else "colors",
    )


def _of_timm(config: dict[str, Any]) -> ImportOptions:
    arguments, images = config.get("model_args") or {}, config.get("pretrained_cfg") or {}
    size: Any = arguments.get("img_size") or (images.get("input_size") or [None])[1:] or None
    mean, std = images.get("mean"), images.get("std")
    return ImportOptions(
        heads=arguments.get("num_heads"),
        image_size=None if size is None else _size(size),
        input_mean=None if mean is None else tuple(mean),
        input_std=None if std is None else tuple(std),
    )


def _size(value: int | list[int]) -> tuple[int, int]:
    height, width = value if isinstance(value, list) else (value, value)
    return height, width


def _over(first: ImportOptions, second: ImportOptions) -> ImportOptions:
    """The first's choices, and the second's where the first has none."""
    given = {each.name: getattr(first, each.name) for each in fields(first)}
    return replace(second, **{name: value for name, value in given.items() if value is not None})
