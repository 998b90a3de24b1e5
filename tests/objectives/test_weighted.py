import pytest
import torch

from splatlearn.models.masked_autoencoder import MaskedOutput
from splatlearn.models.masking import random_mask
from splatlearn.objectives import WeightedSum


def test_sums_weighted_terms_and_reports_them_unweighted(generator: torch.Generator) -> None:
    image = torch.rand(2, 3, 4, 4, generator=generator).requires_grad_()
    reconstruction = MaskedOutput(image, random_mask(2, (2, 2), 0.5, generator), torch.zeros(2, 3, 8))
    objective = WeightedSum(
        {"l2": (2.0, lambda made, target: (made.image - target).square().mean()),
         "l1": (0.5, lambda made, target: (made.image - target).abs().mean())}
    )  # fmt: skip
    value = objective(reconstruction, torch.zeros(2, 3, 4, 4))
    l2, l1 = image.detach().square().mean(), image.detach().abs().mean()
    torch.testing.assert_close(value.loss.detach(), 2 * l2 + 0.5 * l1)
    assert {name: part.item() for name, part in value.parts.items()} == pytest.approx(
        {"l2": l2.item(), "l1": l1.item()}
    )
    assert value.loss.requires_grad and not value.parts["l2"].requires_grad


def test_needs_a_term() -> None:
    with pytest.raises(ValueError, match="terms: expected at least one with a weight other than 0"):
        WeightedSum({"l2": (0.0, lambda made, target: made.image.mean())})
