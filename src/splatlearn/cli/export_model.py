"""What `splatlearn export RUN --to timm|hf|hf-mae|onnx|onnx-gaussians|hub` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splatlearn.cli.choices import ModelFormat
from splatlearn.cli.which_model import described
from splatlearn.cli.written import model_outputs
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError
from splatlearn.models import GMAE, MAE, load_model
from splatlearn.models.exchange import ExportTarget, export_timm, export_vit, export_vit_mae
from splatlearn.models.folders.hub import push_to_hub
from splatlearn.models.folders.io import model_folder
from splatlearn.report.run_facts import hidden_share, predicted_target, run_facts, run_folder_of

FILES: dict[ModelFormat, str] = {"onnx": "-encoder.onnx", "onnx-gaussians": "-gaussians.onnx"}
"""How the names of the formats that are files end; the others are folders."""
MODEL_FILES = ("config.json", "model.safetensors", "README.md")
FOLDERS: dict[ModelFormat, tuple[str, ...]] = {
    "timm": MODEL_FILES,
    "hf": (*MODEL_FILES, "preprocessor_config.json"),
    "hf-mae": (*MODEL_FILES, "preprocessor_config.json"),
}
"""The files in the folders of the formats that are folders."""


@dataclass(frozen=True)
class ModelExport:
    """The options of an export, as the command line has them."""

    to: ModelFormat
    out: str | None = None
    target: ExportTarget | None = None
    license: str | None = None
    private: bool = False
    overwrite: bool = False


def export_model(run: str, options: ModelExport) -> str:
    """Write the model of a run, and say where and how to load it. Raises InputError for options that do not fit."""
    if options.to == "hub":
        return _push(run, options)
    if options.to in FILES:
        return _export_graph(run, options)
    path = _destination(run, options)
    inputs = model_folder(run).iterdir() if Path(run).exists() else ()
    outputs = model_outputs(path, FOLDERS[options.to], options.overwrite, inputs)
    model = load_model(run)
    facts = run_facts(run, options.license)
    with outputs.writing():
        if options.to == "timm":
            export_timm(model, path, facts)
            use = f'timm.create_model("local-dir:{path}", pretrained=True)'
        elif options.to == "hf":
            export_vit(model, path, facts)
            use = f'ViTModel.from_pretrained("{path}", add_pooling_layer=False)'
        else:
            export_vit_mae(model, path, _target(run, model, options), hidden_share(run), facts)
            use = f'ViTMAEForPreTraining.from_pretrained("{path}")'
    return f"{path}: {use}; model: {described(run)}"


def _export_graph(run: str, options: ModelExport) -> str:
    path = _destination(run, options)
    if path.is_dir():
        raise InputError(f"out: expected a file, got the folder {path}")
    path = output_file(path, options.overwrite)
    weights = path.with_name(f"{path.name}.data")
    if weights.exists():
        # Graphs above 2 GB keep their weights there.
        output_file(weights, options.overwrite)
    model = load_model(run)
    # PyTorch's exporter is slow to import.
    from splatlearn.models.exchange.onnx import OUTPUTS, export_onnx

    graph = "encoder" if options.to == "onnx" else "gaussians"
    away = export_onnx(model, path, graph)
    height, width = model.image_size
    return (
        f"{path}: images [batch, {model.config.encoder.channels}, {height}, {width}] in [0, 1] to "
        f"{', '.join(OUTPUTS[graph])}; onnxruntime differs by at most {away:.1g}; model: {described(run)}"
    )


def _push(run: str, options: ModelExport) -> str:
    if options.out is None:
        raise InputError("out: expected the Hub repository, owner/name, to push to, got none; name it with --out")
    model = load_model(run)
    address = push_to_hub(model, options.out, run_facts(run, options.license), options.private or None)
    return f'{address}: splatlearn.load_model("{options.out}"); model: {described(run)}'


def _destination(run: str, options: ModelExport) -> Path:
    """Where the export goes: `out`, or the run's name with the format's ending, in the current folder."""
    if options.out is not None:
        return Path(options.out)
    name = run_folder_of(run).resolve().name if Path(run).exists() else run.replace("/", "-")
    return Path(name + FILES.get(options.to, f"-{options.to}"))


def _target(run: str, model: MAE | GMAE, options: ModelExport) -> ExportTarget:
    known = options.target or predicted_target(run)
    if known is None and isinstance(model, MAE):
        raise InputError(
            f"target: expected colors or patches, got none, and {run} has no recipe.json that says what the MAE "
            "predicts; name it with --target"
        )
    return known or "colors"
