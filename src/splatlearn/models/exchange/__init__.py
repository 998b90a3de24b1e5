"""Models under other projects' names: timm, Hugging Face transformers, the official MAE code, ONNX."""

from splatlearn.models.exchange.huggingface import export_vit, export_vit_mae
from splatlearn.models.exchange.importing import Imported, import_model
from splatlearn.models.exchange.layout import Target, standardized_picture
from splatlearn.models.exchange.sources import ImportOptions
from splatlearn.models.exchange.timm import export_timm

__all__ = [
    "ImportOptions",
    "Imported",
    "Target",
    "export_timm",
    "export_vit",
    "export_vit_mae",
    "import_model",
    "standardized_picture",
]
