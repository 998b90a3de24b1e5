"""Whether a run has learned to paint at all yet, to be said wherever its pictures are seen."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from splatlearn.core.disk.atomic import read_object
from splatlearn.core.errors import SplatlearnError
from splatlearn.evaluation.masked.reconstruction import masked_psnr
from splatlearn.models import GMAE, MAE, random_mask
from splatlearn.models.channels import fit_channels
from splatlearn.models.folders.io import model_folder
from splatlearn.report.run_facts import hidden_share, predicted_target, run_folder_of
from splatlearn.report.run_report import read_log


def hardly_trained(run: str | Path, model: MAE | GMAE, images: Float[Tensor, "B C H W"]) -> str | None:
    """Say that a run is hardly trained, and its step, if its model paints hidden pixels worse than their mean colour.

    - `run`: where the model is from; models that are not of a run here are not judged.
    - `images`: in [0, 1], of any size; they are seen at the model's.

    Returns None for a model that paints better than that.
    """
    steps = _steps(run)
    if steps is None:
        return None
    height, width = model.image_size
    device = next(model.parameters()).device
    shown = fit_channels(images.to(device).float(), model.encoder.config.channels)
    shown = F.interpolate(shown, (height, width), mode="bilinear", antialias=True).clamp(0.0, 1.0)
    grid = (height // model.patch_size, width // model.patch_size)
    mask = random_mask(len(shown), grid, hidden_share(run), torch.Generator().manual_seed(0)).to(device)
    scores = masked_psnr(model, shown, mask, isinstance(model, MAE) and predicted_target(run) == "patches")
    painted, mean = scores["masked_psnr_model"], scores["masked_psnr_mean"]
    if painted >= mean:
        return None
    return f"hardly trained: {steps} (hidden pixels {painted:.1f} dB, in their mean colour {mean:.1f} dB)"


def _steps(run: str | Path) -> str | None:
    """How far the checkpoint of a run has come, "step 38 of 600"; None for what is no run here."""
    if not Path(run).is_dir():
        return None
    try:
        done = read_object(model_folder(run) / "training.json").get("step")
        folder = run_folder_of(run)
        epochs = read_object(folder / "recipe.json").get("optimizer", {}).get("epochs")
        log = folder / "log.jsonl"
        lines = [each for each in (read_log(log) if log.is_file() else []) if each.get("step") and each.get("epoch")]
    except SplatlearnError:
        return None
    if not isinstance(done, int):
        return None
    if not lines or not isinstance(epochs, int):
        return f"step {done}"
    # A line says how many epochs lay before its step.
    return f"step {done} of {round((lines[-1]['step'] - 1) / lines[-1]['epoch']) * epochs}"
