"""Models as ONNX graphs, each compared with the model itself before it gets its name."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splatlearn.core.errors import InputError
from splatlearn.models.exchange.folders import written_beside
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE

Graph = Literal["encoder", "gaussians"]

TOLERANCE = 1e-4
"""Largest difference from the model, beside as much of the largest number."""
CHECKED_BATCHES = (1, 3)
OPSET = 18
OUTPUTS: dict[str, tuple[str, ...]] = {
    "encoder": ("tokens",),
    "gaussians": ("means", "scales", "quaternions", "colors", "opacities"),
}
"""Names of a graph's outputs, in their order; its input is `images`."""


class _Encoder(nn.Module):
    def __init__(self, model: MAE | GMAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "B C H W"]) -> tuple[Tensor, ...]:
        return (self.model.encode(images),)


class _Gaussians(nn.Module):
    def __init__(self, model: GMAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Float[Tensor, "B C H W"]) -> tuple[Tensor, ...]:
        found = self.model.gaussians(images)
        return found.means, found.scales, found.quaternions, found.fixed_colors(), found.opacities


def export_onnx(model: MAE | GMAE, path: str | Path, graph: Graph = "encoder") -> float:
    """Write an ONNX graph of a model, for any number of images of its native size, and compare it with the model.

    - `path`: the file. Graphs above 2 GB keep their weights in a file beside it.
    - `graph`: `"encoder"`, `images` [B, C, H, W] in [0, 1] to `tokens` [B, 1+N, D]; or `"gaussians"`, to `means`,
      `scales`, `quaternions`, `colors` and `opacities` [B, K, …] as `Gaussians` holds them (GMAE). Normalisation is
      part of the graph.

    Returns the largest difference that onnxruntime made on random images, in batches of several sizes. Nothing is
    written where that exceeds 1e-4. Raises InputError for that, for a MAE that is asked for Gaussians, an unknown
    graph, a path that is a folder, and where the extra `onnx` is not installed.
    """
    path = Path(path)
    if graph not in get_args(Graph):
        raise InputError(f"graph: expected one of {', '.join(get_args(Graph))}, got {graph!r}")
    if path.is_dir():
        raise InputError(f"path: expected a file such as {path / 'model.onnx'}, got the folder {path}")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _installed(package)
    wrapped = _wrapped(model, graph)
    channels, (height, width) = model.config.encoder.channels, model.image_size
    device = next(model.parameters()).device
    example = torch.zeros(2, channels, height, width, device=device)
    with written_beside(path.parent) as beside, _without_warnings():
        program = torch.onnx.export(
            wrapped, (example,), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["images"], output_names=list(OUTPUTS[graph]),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )  # fmt: skip
        assert program is not None
        program.save(beside / path.name)
        difference = _difference(wrapped, beside / path.name, example)
    return difference


def _wrapped(model: MAE | GMAE, graph: Graph) -> nn.Module:
    if graph == "encoder":
        return _Encoder(model).eval()
    if not isinstance(model, GMAE):
        raise InputError("model: expected a GMAE, which predicts Gaussians, got a MAE; export its encoder")
    return _Gaussians(model).eval()


def _difference(wrapped: nn.Module, file: Path, example: Tensor) -> float:
    """The largest difference of any output; raises InputError where it is too large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for batch in CHECKED_BATCHES:
        images = torch.rand(batch, *example.shape[1:], generator=generator)
        with torch.no_grad():
            expected = wrapped(images.to(example.device))
        for output, value, wanted in zip(
            session.get_outputs(), session.run(None, {"images": images.numpy()}), expected, strict=True
        ):
            found, wanted = torch.from_numpy(value), wanted.float().cpu()
            if found.shape != wanted.shape:
                raise InputError(f"{output.name}: expected shape {list(wanted.shape)}, got {list(found.shape)}")
            away = float((found - wanted).abs().max())
            if not away <= TOLERANCE * (1.0 + float(wanted.abs().max())):
                raise InputError(
                    f"{output.name}: expected the model's values within {TOLERANCE}, got a difference of {away:.2g}"
                )
            worst = max(worst, away)
    return worst


def _installed(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"graph: ONNX needs {package}, which is not installed; pip install 'splatlearn[onnx]'"
        ) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """PyTorch's exporter warns of its own parts, which nobody who exports can change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
