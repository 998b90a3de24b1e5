"""How the weights of a fine-tuned classifier learn: rates that fall with depth, and their moving average."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from splatlearn.models import Classifier
from splatlearn.training.loop.parameter_groups import parameter_groups

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def layer_of(name: str, depth: int) -> int:
    """The layer of a classifier's parameter: 0 the embedding, 1 … depth the blocks, depth + 1 norms and head."""
    block = _BLOCK.match(name)
    if block is not None:
        return int(block[1]) + 1
    embedding = ("encoder.cls_token", "encoder.patch_embed.", "encoder.group_embed.", "encoder.places.")
    return 0 if name.startswith(embedding) else depth + 1


def layer_decay_groups(model: Classifier, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups with the factor of each layer's learning rate as `lr_scale`: layer_decay^(depth + 1 − layer).

    The head learns at the full rate, every layer below it at `layer_decay` times the rate of the one above. Biases,
    norms and tokens have no weight decay. Source: Clark et al. 2020 (ELECTRA), as in the official MAE fine-tuning code.
    """
    depth = len(model.encoder.blocks)
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for group in parameter_groups(model, weight_decay):
        for parameter in group["params"]:
            key = (layer_of(names[parameter], depth), group["weight_decay"])
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": layer_decay ** (depth + 1 - layer)}
        for (layer, decay), parameters in sorted(groups.items(), key=lambda each: each[0])
    ]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of a model that follows it as an exponential moving average: update it with `update_parameters(model)`.

    The decay after n updates is min(decay, (1 + n) / (10 + n)), so that the first steps' weights are soon forgotten
    (the warm-up of TensorFlow's ExponentialMovingAverage).
    """

    def follow(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        count = torch.as_tensor(updates, dtype=torch.float32, device=average.device)
        weight = 1.0 - torch.clamp((1.0 + count) / (10.0 + count), max=decay)
        return average.lerp(current, weight.to(average.dtype))

    average = AveragedModel(model, avg_fn=follow)
    average.eval().requires_grad_(False)
    return average
