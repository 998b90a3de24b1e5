"""The loss of a softly ordered rendering."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from splatlearn import create_model, random_mask
from splatlearn.models import GMAE, MaskedOutput
from splatlearn.objectives import SoftOrder, masked_mse
from splatlearn.objectives.soft_order import COLD, WARM, lattice


def reconstruction() -> tuple[GMAE, MaskedOutput, torch.Tensor]:
    model = create_model("gmae_vit_tiny_patch8_32", seed=0, gaussians=16, decoder_depth=1, depth="soft-order")
    assert isinstance(model, GMAE)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 32, 32, generator=generator)
    return model, model(images, random_mask(2, (4, 4), 0.75, generator)), images


def test_lattices_of_all_turns_make_up_the_image() -> None:
    for side in (7, 16, 32, 50):
        step = max(1, side // 16)
        places = torch.cat([lattice(side, turn) for turn in range(step)])
        assert sorted(places.tolist()) == list(range(side))


def test_cold_loss_over_all_turns_is_the_masked_error_of_the_rendering() -> None:
    model, made, images = reconstruction()
    term = SoftOrder(model.config)
    values = []
    for turn in range(4):  # 2 × 2 lattices of 16 × 16 pixels
        term.at(1.0, turn)
        term.softness = 1e-6
        values.append(term(made, images))
    expected = masked_mse(made.image, images, made.mask, 8)
    torch.testing.assert_close(torch.stack(values).mean(), expected, rtol=1e-4, atol=1e-6)


def test_depth_has_a_gradient_that_the_hard_rendering_lacks() -> None:
    model, made, images = reconstruction()
    assert made.gaussians is not None
    means = made.gaussians.means.detach().requires_grad_()
    term = SoftOrder(replace(model.config, depth="orthographic"))  # in which depth does nothing but sort
    term.at(0.0, 0)
    term(replace(made, gaussians=replace(made.gaussians, means=means)), images).backward()
    assert means.grad is not None
    assert bool((means.grad[..., 2].abs() > 0).any())


def test_softness_falls_geometrically() -> None:
    term = SoftOrder(reconstruction()[0].config)
    found = []
    for done in (0.0, 0.5, 1.0):
        term.at(done, 0)
        found.append(term.softness)
    assert found[0] == WARM
    assert found[1] == pytest.approx((WARM * COLD) ** 0.5)
    assert found[2] == pytest.approx(COLD)


def test_refuses_a_reconstruction_without_gaussians() -> None:
    model, made, images = reconstruction()
    with pytest.raises(ValueError, match="expected one of a GMAE"):
        SoftOrder(model.config)(replace(made, gaussians=None), images)
