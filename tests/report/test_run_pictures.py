"""Sections of pictures: what they say of colours that pictures do not hold."""

import re

import pytest
import torch

from models.out_of_bounds import vivid_gmae
from models.small_models import small_gmae
from splatlearn.report.parts.page import Figure
from splatlearn.report.run_pictures import LAYERS, zero_shot_section
from splatlearn.zero_shot import gaussians_of, layers_of


def caption(model, images) -> str:
    (figure,) = zero_shot_section(model, images, ["one", "two"]).blocks
    assert isinstance(figure, Figure)
    return figure.caption


def test_clamped_layers_are_said_to_be(generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 16, 24, generator=generator)
    assert "clamped" not in caption(small_gmae(), images)
    text = caption(vivid_gmae(), images)
    (stated,) = re.findall(r"layers would differ from the model's picture by up to (\d\.\d{3}) \(PSNR", text)
    read = gaussians_of(vivid_gmae(), images)
    assert isinstance(read.background, torch.Tensor)
    picture = read.background[None, :, None, None]
    for layer in layers_of(read, LAYERS).clamp(0, 1).flip(1).unbind(1):
        picture = layer[:, :3] * layer[:, 3:] + picture * (1 - layer[:, 3:])
    error = (picture.clamp(0, 1) - read.rendering.color.clamp(0, 1)).abs().max()
    assert float(stated) == pytest.approx(float(error), abs=0.01) and float(error) > 0.1
