"""Reading of other projects' weights and what they say of themselves, from files, folders and the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import huggingface_hub
from torch import Tensor

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import FormatError, InputError, MissingError, SplatlearnError
from splatlearn.core.kinds import check_path
from splatlearn.core.typed import build, shown
from splatlearn.models.exchange.choices import ImportOptions
from splatlearn.models.exchange.folders import CONFIG_NAME, WEIGHTS_NAME
from splatlearn.models.exchange.huggingface import PREPROCESSOR_NAME
from splatlearn.models.exchange.torch_file import read_torch_file
from splatlearn.models.folders.io import is_hub_id
from splatlearn.models.folders.safetensors_file import looks_like_safetensors, read_tensors

_WEIGHTS = (WEIGHTS_NAME, "pytorch_model.bin")
_EPSILON = 1e-5
_MOST_CHANNELS = 1024
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that wrappers add: distributed, compiled, sharded and checkpointed modules."""

Described = TypeVar("Described")


@dataclass(frozen=True, eq=False)
class Source:
    """Weights as they are named where they come from, what is known about them, and where that is."""

    weights: dict[str, Tensor]
    known: ImportOptions
    name: str


@dataclass(frozen=True)
class _TransformersConfig:
    """The fields that are read from a `config.json` of transformers, with its defaults."""

    model_type: str
    hidden_act: str = "gelu"
    qkv_bias: bool = True
    layer_norm_eps: float = 1e-12
    num_channels: int = 3
    num_attention_heads: int = 12
    decoder_num_attention_heads: int = 16
    image_size: int | tuple[int, int] = 224
    norm_pix_loss: bool = False


@dataclass(frozen=True)
class _Preprocessor:
    """The fields that are read from a `preprocessor_config.json` of transformers."""

    do_normalize: bool | None = None
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class _TimmArguments:
    """The arguments that are read from a `config.json` of timm."""

    img_size: int | tuple[int, int] | None = None
    num_heads: int | None = None


@dataclass(frozen=True)
class _TimmImages:
    """The fields about images that are read from a `config.json` of timm."""

    input_size: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class _TimmConfig:
    """The fields that are read from a `config.json` of timm."""

    model_args: _TimmArguments | None = None
    pretrained_cfg: _TimmImages | None = None


def read_source(source: str | Path, options: ImportOptions | None = None) -> Source:
    """Read the weights in a file, a folder or a Hub repository, and what the files beside them say.

    `options` win over what is stored. What wrappers added to names is taken away. Nothing is unpickled but tensors and
    plain values. Raises MissingError where there are no weights, and FormatError for files that cannot be read and
    models of another build.
    """
    check_path("source", source)
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
    elif not path.is_file():
        raise MissingError(f"{path}: expected a file or a folder, found something else")
    weights, more = _tensors(file)
    try:
        weights = unwrapped(weights)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    known = _over(options or ImportOptions(), _over(told, more))
    return Source(weights, known, str(source))


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without what wrappers and an outer module put into their names.

    Every part of a name that a wrapper adds goes, wherever and however often it stands; then the first part of all
    names, where they share it. Raises FormatError where two names become one.
    """
    named: dict[str, Tensor] = {}
    for name, value in weights.items():
        bare = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if bare in named:
            raise FormatError(
                f"{shown(name)}: expected one tensor of the name {bare!r} after {', '.join(sorted(WRAPPERS))} are "
                "removed from names, got two"
            )
        named[bare] = value
    while len(first := {name.partition(".")[0] for name in named}) == 1 and all("." in name for name in named):
        named = {name.removeprefix(f"{next(iter(first))}."): value for name, value in named.items()}
    return named


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
    if file.suffix == ".safetensors" or looks_like_safetensors(file):
        return read_tensors(file), ImportOptions()
    weights, arguments = read_torch_file(file)
    normalized = arguments.get("norm_pix_loss")
    if not isinstance(normalized, bool):
        return weights, ImportOptions()
    return weights, ImportOptions(target="patches" if normalized else "colors")


def _described(folder: Path) -> ImportOptions:
    """The contents of `config.json` and `preprocessor_config.json` of a folder."""
    path = folder / CONFIG_NAME
    config = read_object(path)
    if "schema_version" in config:
        raise InputError(f"{folder}: expected another project's model, got one of splatlearn; read it with load_model")
    if "architecture" in config:
        return _of_timm(_part(_TimmConfig, config, path))
    if "model_type" not in config:
        return ImportOptions()
    told = _part(_TransformersConfig, config, path)
    if told.model_type not in ("vit", "vit_mae"):
        raise FormatError(f"{path}: model_type: expected vit or vit_mae, got {shown(told.model_type)}")
    for name, found, allowed in (("hidden_act", told.hidden_act, "gelu"), ("qkv_bias", told.qkv_bias, True)):
        if found != allowed:
            raise FormatError(f"{path}: {name}: expected {allowed}, got {shown(found)}; it cannot be imported")
    if not 0 <= told.layer_norm_eps <= _EPSILON:
        raise FormatError(f"{path}: layer_norm_eps: expected at most {_EPSILON}, got {told.layer_norm_eps}")
    if not 1 <= told.num_channels <= _MOST_CHANNELS:
        raise FormatError(f"{path}: num_channels: expected 1 to {_MOST_CHANNELS}, got {told.num_channels}")
    images = _part(_Preprocessor, read_object(folder / PREPROCESSOR_NAME), folder / PREPROCESSOR_NAME)
    mean, std = images.image_mean, images.image_std
    if images.do_normalize is False:
        mean, std = (0.0,) * told.num_channels, (1.0,) * told.num_channels
    return ImportOptions(
        num_heads=told.num_attention_heads,
        decoder_num_heads=told.decoder_num_attention_heads,
        image_size=_size(told.image_size),
        input_mean=mean,
        input_std=std,
        target="patches" if told.norm_pix_loss else "colors",
    )


def _of_timm(config: _TimmConfig) -> ImportOptions:
    arguments, images = config.model_args or _TimmArguments(), config.pretrained_cfg or _TimmImages()
    size = arguments.img_size or (images.input_size and images.input_size[1:])
    return ImportOptions(
        num_heads=arguments.num_heads,
        image_size=None if size is None else _size(size),
        input_mean=images.mean,
        input_std=images.std,
    )


def _part(kind: type[Described], values: Mapping[str, object], path: Path) -> Described:
    """Read the known fields of a description by another program; raises FormatError naming the file."""
    try:
        return build(kind, values, extra=True)
    except SplatlearnError as error:
        raise FormatError(f"{path}: {error}") from error


def _size(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _over(first: ImportOptions, second: ImportOptions) -> ImportOptions:
    """The first's choices, and the second's where the first has none."""
    given = {each.name: getattr(first, each.name) for each in fields(first)}
    return replace(second, **{name: value for name, value in given.items() if value is not None})
