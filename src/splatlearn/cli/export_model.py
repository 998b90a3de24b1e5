"""What `splatlearn export RUN --to timm|hf|hf-mae|onnx|onnx-gaussians|hub` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from splatlearn.core.errors import InputError
from splatlearn.models import GMAE, MAE, load_model
from splatlearn.models.exchange import Target, export_timm, export_vit, export_vit_mae
from splatlearn.models.hub import push_to_hub
from splatlearn.report.run_facts import hidden_share, predicted_target, run_facts, run_folder_of

ModelFormat = Literal["timm", "hf", "hf-mae", "onnx", "onnx-gaussians", "hub"]

FILES: dict[ModelFormat, str] = {"onnx": "-encoder.onnx", "onnx-gaussians": "-gaussians.onnx"}
"""How the names of the formats that are files end; the others are folders."""


@dataclass(frozen=True)
class ModelExport:
    """The options of an export, as the command line has them."""

    to: ModelFormat
    out: str | None = None
    target: Target | None = None
    licence: str | None = None
    private: bool = False
    overwrite: bool = False


def export_model(run: str, options: ModelExport) -> str:
    """Write the model of a run, and say where and how to load it. Raises InputError for options that do not fit."""
    if options.to == "hub":
        return _push(run, options)
    path = _free_path(run, options)
    model = load_model(run)
    if options.to == "onnx" or options.to == "onnx-gaussians":
        # PyTorch's exporter is slow to import.
        from splatlearn.models.exchange.onnx import OUTPUTS, export_onnx

        graph = "encoder" if options.to == "onnx" else "gaussians"
        away = export_onnx(model, path, graph)
        height, width = model.image_size
        return (
            f"{path}: images [batch, {model.config.encoder.channels}, {height}, {width}] in [0, 1] to "
            f"{', '.join(OUTPUTS[graph])}; onnxruntime differs by at most {away:.1g}"
        )
    facts = run_facts(run, options.licence)
    if options.to == "timm":
        export_timm(model, path, facts)
        return f'{path}: timm.create_model("local-dir:{path}", pretrained=True)'
    if options.to == "hf":
        export_vit(model, path, facts)
        return f'{path}: ViTModel.from_pretrained("{path}", add_pooling_layer=False)'
    export_vit_mae(model, path, _target(run, model, options), hidden_share(run), facts)
    return f'{path}: ViTMAEForPreTraining.from_pretrained("{path}")'


def _push(run: str, options: ModelExport) -> str:
    if options.out is None:
        raise InputError("out: expected the Hub repository, owner/name, to push to, got none; name it with --out")
    model = load_model(run)
    address = push_to_hub(model, options.out, run_facts(run, options.licence), options.private or None)
    return f'{address}: splatlearn.load("{options.out}")'


def _free_path(run: str, options: ModelExport) -> Path:
    name = run_folder_of(run).resolve().name if Path(run).exists() else run.replace("/", "-")
    path = Path(options.out if options.out is not None else name + FILES.get(options.to, f"-{options.to}"))
    taken = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if taken and not options.overwrite:
        raise InputError(f"out: {path} exists; choose another with --out, or give --overwrite")
    if path.exists() and path.is_dir() == (options.to in FILES):
        raise InputError(f"out: expected a {'file' if options.to in FILES else 'folder'}, got {path}, which is not one")
    return path


def _target(run: str, model: MAE | GMAE, options: ModelExport) -> Target:
    known = options.target or predicted_target(run)
    if known is None and isinstance(model, MAE):
        raise InputError(
            f"target: expected colors or patches, for {run} has no recipe.json that says what the MAE predicts; "
            "name it with --target"
        )
    return known or "colors"
