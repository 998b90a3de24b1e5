"""A fit of one picture by hand: parameters, render, loss, optimiser, and an edit on the way."""

import torch
from torch import Tensor

from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.fitting import GaussianAdam, photometric_loss, psnr
from splatlearn.rendering import render

RATES = {"means": 0.02, "log_scales": 0.05, "quaternions": 0.02, "colors": 0.03, "logits": 0.1}
CAMERA = Camera.gmae(24, 32)


def gaussians(parameters: dict[str, Tensor]) -> Gaussians:
    return Gaussians(
        means=parameters["means"].unsqueeze(0),
        scales=parameters["log_scales"].exp().unsqueeze(0),
        quaternions=parameters["quaternions"].unsqueeze(0),
        opacities=parameters["logits"].sigmoid().unsqueeze(0),
        colors=parameters["colors"].unsqueeze(0),
    )


def start(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        "means": 2.0 * torch.rand(count, 3, generator=generator) - 1.0,
        "log_scales": torch.full((count, 3), -1.5),
        "quaternions": torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        "colors": torch.rand(count, 3, generator=generator),
        "logits": torch.zeros(count),
    }


def test_a_fit_gets_closer_and_goes_on_after_an_edit(generator: torch.Generator) -> None:
    rows, columns = torch.linspace(0, 1, 24)[:, None], torch.linspace(0, 1, 32)
    picture = torch.stack([rows * columns, (rows - 0.5).abs() + 0 * columns, ((rows + columns) > 1).float()])
    target = (255 * picture).to(torch.uint8).unsqueeze(0)
    adam = GaussianAdam(start(80, generator), RATES, selective=True)
    qualities = []
    for step in range(60):
        rendering = render(gaussians(adam.parameters), CAMERA, background="white")
        qualities.append(float(psnr(rendering.color.detach(), target)))
        photometric_loss(rendering.color, target, "white").backward()
        adam.step()
        adam.zero_grad()
        if step == 29:
            adam.gather(adam.parameters["logits"].detach().sigmoid() > 0.3)
            assert 20 < adam.count < 80
            adam.append(start(20, generator))
    assert qualities[29] > qualities[0] + 5
    assert qualities[59] > qualities[29] + 2
