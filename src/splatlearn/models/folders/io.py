"""Models on disk: a folder of `config.json`, `model.safetensors` and a model card."""

from __future__ import annotations

import importlib.metadata
import json
import re
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from splatlearn.core.device import choose_device
from splatlearn.core.disk.atomic import read_object, replacing, write_whole
from splatlearn.core.errors import FormatError, InputError, MissingError, SplatlearnError
from splatlearn.core.kinds import check_path
from splatlearn.core.typed import build, shown
from splatlearn.models.classifier import Classifier, ClassifierConfig, SplatClassifierConfig
from splatlearn.models.folders.card import CARD_NAME, CardFacts, may_write_card, model_card
from splatlearn.models.folders.migrations import SCHEMA_VERSION, migrate
from splatlearn.models.folders.packaged import packaged_models
from splatlearn.models.folders.safetensors_file import read_shapes, read_weights
from splatlearn.models.folders.weight_shapes import ModelConfig, check_memory, check_shapes, weight_shapes
from splatlearn.models.gmae import GMAE
from splatlearn.models.gmae_config import GMAEConfig
from splatlearn.models.mae import MAE, MAEConfig
from splatlearn.models.splats.config import SplatJEPAConfig, SplatMAEConfig
from splatlearn.models.splats.presets import SplatConfig, SplatModel, model_of

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

CONFIGS = {
    "mae": MAEConfig,
    "gmae": GMAEConfig,
    "classifier": ClassifierConfig,
    "splat-mae": SplatMAEConfig,
    "splat-jepa": SplatJEPAConfig,
    "splat-classifier": SplatClassifierConfig,
}
"""Kinds of models on disk, and their configurations."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CHECKPOINT = re.compile(r"step-(\d+)")


def save_model(
    model: nn.Module, folder: str | Path, facts: CardFacts | None = None, dtype: torch.dtype | None = None
) -> None:
    """Write a MAE, a GMAE, a model of splat sets, or a classifier into a folder, made when missing, with a model card.

    `facts`: what the card says beside the model's sizes; a README.md of a person's own stays. `dtype`: of the stored
    weights, the model's own by default; loading brings them back to float32. Each file is written
    beside and renamed, `config.json` last, so that a folder that has it is complete. Raises TypeError for other
    modules, such as a model still wrapped for distributed training, and InputError for a `dtype` in which a finite
    weight would become infinite.
    """
    if not isinstance(model, MAE | GMAE | Classifier | SplatModel):
        raise TypeError(f"model: expected a MAE or a GMAE, got {type(model).__name__}; unwrap it first")
    check_path("folder", folder)
    folder = Path(folder)
    description = {
        "schema_version": SCHEMA_VERSION,
        "splatlearn_version": importlib.metadata.version("splatlearn"),
        "kind": next(kind for kind, config in CONFIGS.items() if type(model.config) is config),
        "config": asdict(model.config),
    }
    weights = {name: _stored(name, value, dtype) for name, value in model.state_dict().items()}
    with replacing(folder / WEIGHTS_NAME) as beside:
        save_file(weights, beside, metadata={"format": "pt"})
    if may_write_card(folder):
        write_whole(folder / CARD_NAME, model_card(model, facts))
    write_whole(folder / CONFIG_NAME, json.dumps(description, indent=2) + "\n")


def _stored(name: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    stored = value.detach().to(dtype=dtype).contiguous()
    if stored.dtype != value.dtype and not torch.equal(stored.float().isfinite(), value.isfinite()):
        raise InputError(
            f"dtype: expected one that holds every weight, got {dtype}, in which numbers of {name} become infinite; "
            "use torch.bfloat16 or torch.float32"
        )
    return stored


def load_model(path_or_hub_id: str | Path, device: str | torch.device = "cpu") -> MAE | GMAE:
    """Load a model, in evaluation mode, without ever unpickling.

    `path_or_hub_id`: a folder that `save_model` wrote, a checkpoint folder, a run folder (its newest complete
    checkpoint), the name of weights that come with the package, or the id `owner/name` of a Hub repository. Raises
    FileNotFoundError when there is no model there, and ValueError for a schema, configuration or weights that do not
    fit this version, and for a classifier.
    """
    place = choose_device(str(device))
    folder = model_folder(path_or_hub_id)
    config = _read_config(folder)
    if isinstance(config, ClassifierConfig | SplatClassifierConfig):
        raise InputError(f"{folder}: expected a MAE or a GMAE, got a classifier; read it with load_classifier")
    if isinstance(config, SplatConfig):
        raise InputError(f"{folder}: expected a model of images, got one of splat sets; read it with load_splat_model")
    _check_stored(config, folder)
    with torch.random.fork_rng(devices=[]):
        model = MAE(config) if isinstance(config, MAEConfig) else GMAE(config)
    load_weights(model, folder)
    return model.to(place).eval()


def load_classifier(path_or_hub_id: str | Path, device: str | torch.device = "cpu") -> Classifier:
    """Load a classifier, in evaluation mode; finds it and raises as `load_model` does."""
    place = choose_device(str(device))
    folder = model_folder(path_or_hub_id)
    config = _read_config(folder)
    if not isinstance(config, ClassifierConfig | SplatClassifierConfig):
        raise InputError(f"{folder}: expected a classifier, got a masked autoencoder; read it with load_model")
    _check_stored(config, folder)
    with torch.random.fork_rng(devices=[]):
        model = Classifier(config)
    load_weights(model, folder)
    return model.to(place).eval()


def load_splat_model(path_or_hub_id: str | Path, device: str | torch.device = "cpu") -> SplatModel:
    """Load a splat-mae or splat-jepa, in evaluation mode; finds it and raises as `load_model` does."""
    place = choose_device(str(device))
    folder = model_folder(path_or_hub_id)
    config = _read_config(folder)
    if not isinstance(config, SplatConfig):
        got = "a classifier" if isinstance(config, ClassifierConfig | SplatClassifierConfig) else "one of images"
        raise InputError(f"{folder}: expected a masked model of splat sets, got {got}")
    _check_stored(config, folder)
    with torch.random.fork_rng(devices=[]):
        model = model_of(config)
    load_weights(model, folder)
    return model.to(place).eval()


def is_of_splats(path_or_hub_id: str | Path) -> bool:
    """Whether a stored model, which is found as `load_model` does, is one of splat sets."""
    return isinstance(_read_config(model_folder(path_or_hub_id)), SplatConfig | SplatClassifierConfig)


def load_weights(model: nn.Module, folder: str | Path) -> None:
    """Put the weights of a model folder into a model of the same configuration.

    Raises MissingError without `model.safetensors` in the folder, and FormatError for a file that cannot be read, and
    naming weights that are missing, unexpected, of another shape, no floating-point numbers, NaN or infinite.
    """
    path = _weights_of(Path(folder))
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    _check_file(wanted, path)
    model.load_state_dict(read_weights(path))


def _check_stored(config: ModelConfig, folder: Path) -> None:
    """Compare a configuration with the header of the weights, before a model of its sizes is built."""
    path = _weights_of(folder)
    _check_file(weight_shapes(config), path)
    try:
        check_memory(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_file(wanted: dict[str, tuple[int, ...]], path: Path) -> None:
    found = read_shapes(path)
    try:
        check_shapes(wanted, found)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _weights_of(folder: Path) -> Path:
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise MissingError(f"{folder}: expected a folder with {WEIGHTS_NAME}, found none")
    return path


def is_hub_id(name: str) -> bool:
    """Whether a name could be that of a Hub repository, `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None


def model_folder(path_or_hub_id: str | Path) -> Path:
    """The folder with `config.json` and `model.safetensors` that `load_model` reads; a model of the Hub is downloaded.

    Raises FileNotFoundError when there is none.
    """
    check_path("path_or_hub_id", path_or_hub_id)
    path = Path(path_or_hub_id)
    if not path.exists() and (packaged := packaged_models().get(str(path_or_hub_id))):
        return packaged
    if path.is_file():
        raise MissingError(f"{path}: expected a folder or a Hub id, got a file; give the folder it lies in")
    if not path.exists():
        return _download(path_or_hub_id)
    checkpoints = sorted(
        (int(match[1]), folder)
        for folder in (path / "checkpoints").glob("step-*")
        if (match := _CHECKPOINT.fullmatch(folder.name)) and _holds_model(folder)
    )
    if _holds_model(path):
        return path
    if checkpoints:
        return checkpoints[-1][1]
    raise MissingError(
        f"{path}: expected a folder with {CONFIG_NAME} and {WEIGHTS_NAME}, or a run with a complete checkpoint under "
        "checkpoints/step-…, found neither; a run writes its first checkpoint when --checkpoint-every steps are done"
    )


def _holds_model(folder: Path) -> bool:
    return (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file()


def _download(hub_id: str | Path) -> Path:
    if not isinstance(hub_id, str) or not is_hub_id(hub_id):
        raise MissingError(f"{hub_id}: expected an existing folder or a Hub id owner/name, found no such folder")
    try:
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME]))
    except OSError as error:  # what every failure of the Hub client is: offline, unknown, private
        raise MissingError(
            f"{hub_id}: expected a folder or a Hub id, found no such folder, and the Hub could not provide it "
            f"({type(error).__name__}); check the spelling and the network"
        ) from error


def _read_config(folder: Path) -> ModelConfig:
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise MissingError(f"{folder}: expected a model folder with {CONFIG_NAME}, found none")
    description = read_object(path)
    if "schema_version" not in description:
        raise FormatError(
            f"{path}: expected a model saved by splatlearn, got a file without a schema_version; "
            "`splatlearn import` reads models of timm and transformers"
        )
    try:
        description = migrate(description)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    kind = description.get("kind")
    if not isinstance(kind, str) or kind not in CONFIGS:
        raise FormatError(f"{path}: kind: expected one of {', '.join(CONFIGS)}, got {shown(kind)}")
    try:
        return build(CONFIGS[kind], description.get("config"), "config")
    except SplatlearnError as error:
        raise FormatError(f"{path}: {error}") from error
