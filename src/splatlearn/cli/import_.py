"""`splatlearn import SOURCE --out FOLDER`: weights of timm, transformers or the official MAE as a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from splatlearn.models.exchange.choices import ImportOptions, Target

DECODERS = {
    "imported": "with its decoder, which predicts {}",
    "kept": "with the decoder of the model it went into",
    "fresh": "with a fresh decoder, which has learned nothing; the encoder is ready to be evaluated and fine-tuned",
}
TARGETS = {
    "colors": "colours in [0, 1]",
    "patches": "standardised patches of normalised images (normalized-patches, where it is exported)",
}


def import_command(
    source: tyro.conf.Positional[str],
    *,
    out: str,
    into: str | None = None,
    options: Annotated[ImportOptions, tyro.conf.arg(name="")] = ImportOptions(),  # noqa: B008
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Convert official MAE weights (.pth), a timm encoder, a ViTModel or a ViTMAEForPreTraining into a model folder.

    Args:
        source: A .pth, .bin or .safetensors file, a folder that timm or transformers wrote, or a Hub id.
        out: The model folder to write.
        into: A run or model folder from which the decoder is taken; the encoder is the imported one. Default: a new
            decoder, unless SOURCE has one.
        seed: Seed of the decoder's weights if SOURCE has no decoder.
        overwrite: Replace files that an earlier call wrote to the folder.
    """
    import torch

    from splatlearn.cli.export_model import MODEL_FILES
    from splatlearn.cli.written import model_outputs
    from splatlearn.models import load_model, save_model
    from splatlearn.models.exchange import import_model
    from splatlearn.models.folders.card import CardFacts
    from splatlearn.models.folders.io import model_folder

    folder = Path(out)
    read = [*_files(source), *([] if into is None or not Path(into).exists() else model_folder(into).iterdir())]
    outputs = model_outputs(folder, MODEL_FILES, overwrite, read)
    model = None if into is None else load_model(into)
    found = import_model(source, options, model, torch.Generator().manual_seed(seed))
    decoder = _with(found.decoder, found.target)
    with outputs.writing():
        save_model(found.model, folder, CardFacts(data=f"Imported from {source}, {decoder}."))
    print(f"{folder}: {source}, imported {decoder}")
    if found.left_out:
        print(f"left out: {', '.join(found.left_out)}")
    return 0


def _files(source: str) -> list[Path]:
    path = Path(source)
    return list(path.iterdir()) if path.is_dir() else [path]


def _with(decoder: str, target: Target | None) -> str:
    return DECODERS[decoder].format(TARGETS[target] if target else "")
