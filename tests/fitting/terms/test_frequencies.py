"""The frequency-modulated loss: which pixels count when, and what the term adds up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fitting.terms.test_terms import inputs_of
from fitting.test_scene_fit import scene
from fitting.test_scene_parameters import orbit
from splatlearn.core.errors import InputError
from splatlearn.fitting.terms.frequencies import FrequencyModulation, _blurred, frequency_mask


def bar(size: int = 60) -> torch.Tensor:
    """A picture that is black but for a white bar."""
    picture = torch.zeros(1, 3, size, size)
    picture[..., 28:33] = 1.0
    return picture


def test_blur_is_that_of_scipy(generator: torch.Generator) -> None:
    picture = torch.rand(1, 1, 30, 20, generator=generator, dtype=torch.float64)
    for deviation in (0.4, 1.0, 3.3):
        expected = gaussian_filter(picture[0, 0].numpy(), deviation, mode="nearest", radius=round(3 * deviation))
        np.testing.assert_allclose(_blurred(picture, deviation)[0, 0].numpy(), expected, atol=1e-12)


def test_flat_parts_count_first_and_details_at_the_end() -> None:
    picture = bar()
    first, last = (frequency_mask(picture, done)[0] for done in (0.1, 0.9))
    # Both have the band of two steps that lie as far from the middle: what counts first does not count at the end.
    assert torch.equal(first, 1.0 - last)
    columns = last.mean(0)
    assert float(columns[:22].max()) == 0.0 and float(columns[29:32].min()) == 1.0 and float(columns[39:].max()) == 0.0
    # The widest band is in the middle of the fit.
    middle = frequency_mask(picture, 0.5)[0]
    assert float(middle.mean()) > float(last.mean())
    assert bool(frequency_mask(torch.full((1, 3, 8, 8), 0.3), 0.9).isfinite().all())


def test_the_term_is_the_mean_over_what_counts(generator: torch.Generator) -> None:
    cameras, pictures = orbit(2, 20), torch.rand(2, 3, 20, 20, generator=generator)
    term, gaussians = FrequencyModulation(steps=100), scene(generator, 6)
    late = replace(inputs_of(gaussians, cameras, pictures, None), number=90)
    counts = frequency_mask(pictures, 0.9)
    assert 0.05 < float(counts.mean()) < 0.95
    expected = ((late.rendering.color - pictures).abs() * counts[:, None]).mean()
    torch.testing.assert_close(term(late), expected)
    masked = replace(late, masks=torch.zeros_like(counts))
    assert float(term(masked)) == 0.0
    assert term(late).requires_grad == late.rendering.color.requires_grad
    with pytest.raises(InputError, match="steps"):
        FrequencyModulation(steps=0)
