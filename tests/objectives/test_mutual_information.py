"""The terms of MI-MAE: what they compute, where their gradients go, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.small_models import small_gmae, small_mae
from objectives.correlated import CorrelatedGaussians
from splatlearn.models import GMAE, MAE, join_masks, orthogonal_masks, patchify
from splatlearn.models.classifier import Pooling
from splatlearn.objectives import MaximizeTerm, MinimizeTerm, create_estimator, frozen_bound, info_nce
from splatlearn.objectives.estimators import Estimator, EstimatorName, two_layers
from splatlearn.objectives.mutual_information import pool_latent, pool_visible

NAMES: tuple[EstimatorName, ...] = ("club", "leave-one-out", "mine")


def by_hand(latents: Tensor, temperature: float) -> float:
    """InfoNCE with loops over masks, images and candidates."""
    masks, images, _ = latents.shape
    losses = []
    for m in range(masks):
        for n in range(masks):
            for i in range(images):
                if m == n:
                    continue
                scores = [F.cosine_similarity(latents[m, i], latents[n, k], dim=0).item() for k in range(images)]
                sums = sum(math.exp(score / temperature) for score in scores)
                losses.append(math.log(sums) - scores[i] / temperature)
    return sum(losses) / len(losses)


class TestInfoNCE:
    @pytest.mark.parametrize(("masks", "images", "temperature"), [(2, 2, 0.07), (3, 5, 0.07), (4, 3, 1.0)])
    def test_equals_loops(self, masks: int, images: int, temperature: float, generator: torch.Generator) -> None:
        latents = torch.randn(masks, images, 6, generator=generator, dtype=torch.float64)
        assert info_nce(latents, temperature).item() == pytest.approx(by_hand(latents, temperature), rel=1e-12)

    def test_masks_and_images_have_no_order(self, generator: torch.Generator) -> None:
        latents = torch.randn(3, 5, 6, generator=generator, dtype=torch.float64)
        value = info_nce(latents)
        torch.testing.assert_close(info_nce(latents[[2, 0, 1]]), value)
        torch.testing.assert_close(info_nce(latents[:, [4, 2, 0, 1, 3]]), value)

    def test_two_masks_are_alike(self, generator: torch.Generator) -> None:
        latents = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(info_nce(latents), latents)
        (mirrored,) = torch.autograd.grad(info_nce(latents.flip(0)), latents)
        torch.testing.assert_close(mirrored, gradient)

    def test_lengths_do_not_count(self, generator: torch.Generator) -> None:
        latents = torch.randn(3, 5, 6, generator=generator)
        lengths = torch.rand(3, 5, 1, generator=generator) + 0.1
        torch.testing.assert_close(info_nce(latents * lengths), info_nce(latents), rtol=1e-4, atol=1e-5)

    def test_equal_images_are_negatives_of_each_other(self, generator: torch.Generator) -> None:
        apart = torch.eye(8).expand(2, -1, -1)
        assert info_nce(apart).item() < 1e-4
        pairs = apart[:, [0, 0, 1, 1, 2, 2, 3, 3]].clone().requires_grad_()
        loss = info_nce(pairs)
        assert loss.item() == pytest.approx(math.log(2), abs=1e-4)
        same = torch.randn(6, generator=generator).expand(3, 8, 6)
        assert info_nce(same).item() == pytest.approx(math.log(8), rel=1e-5)
        (gradient,) = torch.autograd.grad(loss, pairs)
        assert torch.isfinite(gradient).all()

    def test_latents_of_zero_are_no_division_by_zero(self) -> None:
        latents = torch.zeros(2, 3, 4, requires_grad=True)
        loss = info_nce(latents)
        loss.backward()
        assert loss.item() == pytest.approx(math.log(3)) and latents.grad is not None
        assert torch.isfinite(latents.grad).all()

    def test_autocast_is_computed_in_float32(self, generator: torch.Generator) -> None:
        latents = torch.randn(3, 5, 6, generator=generator).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            value = info_nce(latents)
        assert value.dtype == torch.float32 and torch.equal(value, info_nce(latents.float()))

    @pytest.mark.parametrize("pair", [CorrelatedGaussians(2, 0.8), CorrelatedGaussians(1, 0.0)], ids=str)
    def test_a_trained_projector_comes_near_the_information_from_below(self, pair: CorrelatedGaussians) -> None:
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            projector = two_layers(pair.dimensions, 64, 16)
        optimizer = torch.optim.Adam(projector.parameters(), lr=5e-3)
        for _ in range(150):
            optimizer.zero_grad()
            info_nce(projector(pair.sample(128, generator))).backward()
            optimizer.step()
        with torch.no_grad():
            values = [math.log(256) - info_nce(projector(pair.sample(256, generator))) for _ in range(16)]
        bounds = torch.stack(values)
        error = bounds.std().item() / 4
        assert bounds.mean().item() <= pair.information + 4 * error + 1e-5
        assert bounds.mean().item() >= 0.85 * pair.information - 4 * error - 1e-2

    @pytest.mark.usefixtures("no_shape_checks")
    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="latents: expected at least 2 masks of each image to compare, got 1"):
            info_nce(torch.zeros(1, 4, 3))
        with pytest.raises(ValueError, match="at least 2 candidates per sample, got 1; other images are the negatives"):
            info_nce(torch.zeros(4, 1, 3))
        with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
            info_nce(torch.zeros(2, 2, 3), 0.0)


def experienced(name: EstimatorName, sizes: tuple[int, int], generator: torch.Generator) -> Estimator:
    """An estimator with weights of some size."""
    estimator = create_estimator(name, sizes, hidden=16, generator=generator)
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return estimator


def fitted(name: EstimatorName, inputs: Tensor, latents: Tensor, generator: torch.Generator) -> Estimator:
    """An estimator that has seen the batch a few times."""
    estimator = create_estimator(name, (inputs.shape[2], latents.shape[2]), hidden=16, generator=generator)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        (-estimator(inputs, latents.detach()).fit).backward()
        optimizer.step()
    optimizer.zero_grad()
    return estimator


class TestFrozenBound:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_encoder_gets_the_bounds_gradient_and_the_estimator_none(
        self, name: EstimatorName, generator: torch.Generator
    ) -> None:
        inputs = torch.randn(2, 12, 5, generator=generator)
        latents = (inputs[..., :3] + 0.1 * torch.randn(2, 12, 3, generator=generator)).requires_grad_()
        estimator = fitted(name, inputs, latents, generator)
        bound = frozen_bound(estimator, inputs, latents)
        bound.backward()
        assert latents.grad is not None and latents.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in estimator.parameters())
        said = estimator(inputs, latents)
        assert said.fit > 0 and torch.equal(said.bound.detach(), bound.detach())
        torch.testing.assert_close(torch.autograd.grad(said.bound, latents)[0], latents.grad)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_estimators_step_leaves_the_encoder_alone(
        self, name: EstimatorName, generator: torch.Generator
    ) -> None:
        encoder = nn.Linear(5, 3)
        inputs = torch.randn(2, 12, 5, generator=generator)
        before = [parameter.clone() for parameter in encoder.parameters()]
        fitted(name, inputs, encoder(inputs), generator)
        assert all(parameter.grad is None for parameter in encoder.parameters())
        assert all(torch.equal(one, other) for one, other in zip(before, encoder.parameters(), strict=True))

    @pytest.mark.parametrize("scale", [30.0, 1e20, float("nan")])
    def test_a_network_that_diverged_has_no_say(self, scale: float, generator: torch.Generator) -> None:
        inputs = torch.randn(2, 6, 5, generator=generator)
        latents = torch.randn(2, 6, 3, generator=generator).requires_grad_()
        estimator = experienced("club", (5, 3), generator)
        with torch.no_grad():
            for parameter in estimator.parameters():
                parameter.mul_(scale)
        assert not estimator(inputs, latents).fit > 0
        bound = frozen_bound(estimator, inputs, latents)
        (bound + latents.sum()).backward()
        assert bound.item() == 0 and latents.grad is not None
        assert torch.equal(latents.grad, torch.ones_like(latents))

    def test_an_untrained_network_has_no_say(self, generator: torch.Generator) -> None:
        inputs, latents = torch.randn(2, 6, 5, generator=generator), torch.randn(2, 6, 3, generator=generator)
        estimator = create_estimator("club", (5, 3), generator=generator)
        assert frozen_bound(estimator, inputs, latents).item() == pytest.approx(0.0, abs=1e-5)

    def test_without_a_gradient(self, generator: torch.Generator) -> None:
        inputs, latents = torch.randn(2, 6, 5, generator=generator), torch.randn(2, 6, 3, generator=generator)
        estimator = fitted("club", inputs, latents, generator)
        assert frozen_bound(estimator, inputs, latents).item() == estimator(inputs, latents).bound.item()


def test_pooling(generator: torch.Generator) -> None:
    latent = torch.randn(4, 6, 8, generator=generator)
    assert torch.equal(pool_latent(latent, "cls"), latent[:, 0])
    torch.testing.assert_close(pool_latent(latent, "mean"), latent[:, 1:].sum(1) / 5)


def test_pooled_input_is_of_visible_patches_alone(generator: torch.Generator) -> None:
    images = torch.rand(3, 3, 8, 12, generator=generator)
    mask = orthogonal_masks(3, (2, 3), 2, generator)[0]
    expected = [patchify(images, 4)[i, mask.visible[i]].mean(0) * 4 - 2 for i in range(3)]
    torch.testing.assert_close(pool_visible(images, mask, 4), torch.stack(expected))
    hidden = mask.hidden_pixels(4).unsqueeze(1)
    assert torch.equal(pool_visible(images.masked_fill(hidden, 0.0), mask, 4), pool_visible(images, mask, 4))


@pytest.mark.parametrize("model", [small_mae(), small_gmae()], ids=["mae", "gmae"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
class TestTerms:
    def test_masks_go_through_the_encoder_as_one_batch(
        self, model: MAE | GMAE, pooling: Pooling, generator: torch.Generator
    ) -> None:
        images = torch.rand(3, 3, 16, 24, generator=generator)
        masks = orthogonal_masks(3, (4, 6), 4, generator)
        together = model(images.repeat(4, 1, 1, 1), join_masks(masks))
        projector = two_layers(24, 16, 16)
        term = MaximizeTerm(4, 0.07, pooling, projector)
        apart = torch.stack([projector(pool_latent(model(images, mask).latent, pooling)) for mask in masks])
        torch.testing.assert_close(term(together, images.repeat(4, 1, 1, 1)), info_nce(apart), rtol=1e-3, atol=1e-4)
        estimator = experienced("club", (48, 24), generator)
        inputs, latents = MinimizeTerm(4, 4, pooling, estimator).samples(together, images.repeat(4, 1, 1, 1))
        expected = torch.stack([pool_visible(images, mask, 4) for mask in masks])
        torch.testing.assert_close(inputs, expected)
        assert latents.shape == (4, 3, 24)

    def test_terms_reach_the_encoder_and_not_the_decoder(
        self, model: MAE | GMAE, pooling: Pooling, generator: torch.Generator
    ) -> None:
        images = torch.rand(3, 3, 16, 24, generator=generator).repeat(4, 1, 1, 1)
        made = model(images, join_masks(orthogonal_masks(3, (4, 6), 4, generator)))
        term = MinimizeTerm(4, 4, pooling, create_estimator("club", (48, 24), 16, generator))
        inputs, latents = term.samples(made, images)
        term = MinimizeTerm(4, 4, pooling, fitted("club", inputs, latents, generator))
        for value in (term(made, images), MaximizeTerm(4, 0.07, pooling, nn.Identity())(made, images)):
            gradients = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
            reached = {
                name
                for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True)
                if gradient is not None and gradient.abs().sum() > 0
            }
            assert "encoder.patch_embed.proj.weight" in reached and "encoder.blocks.0.attn.qkv.weight" in reached
            assert all(name.startswith("encoder.") for name in reached)
