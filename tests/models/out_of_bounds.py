"""A small GMAE whose colours leave [0, 1] on both sides, as unbounded ones do once they are trained."""

from __future__ import annotations

import torch

from models.small_models import small_gmae
from splatlearn.models import GMAE, GMAEConfig
from splatlearn.models.heads.gaussian_head import JointHead

FIRST_COLOR = 10


def vivid_gmae(gain: float = 6.0) -> GMAE:
    """Linear colours around grey, with the weights that they come from enlarged by `gain`."""
    config = GMAEConfig(gaussians=60, gaussians_per_query=12, color="linear", background="learned", initial_scale=2.0)
    model = small_gmae(0, config)
    assert isinstance(model.head, JointHead)
    before = model.head.weight.detach().clone()
    model.head.scale_weights(gain)
    others = torch.ones(len(before), dtype=torch.bool).reshape(-1, 14)
    others[:, FIRST_COLOR : FIRST_COLOR + 3] = False
    with torch.no_grad():
        model.head.weight[others.flatten()] = before[others.flatten()]
    return model.eval()
