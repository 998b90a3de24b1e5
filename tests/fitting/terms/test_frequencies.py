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


def edge(size: int = 60) -> torch.Tensor:
    """A picture that is black at the left and white at the right."""
    picture = torch.zeros(1, 3, size, size)
    picture[..., size // 2 :] = 1.0
    return picture


def test_blur_is_that_of_scipy(generator: torch.Generator) -> None:
    picture = torch.rand(1, 1, 30, 20, generator=generator, dtype=torch.float64)
    for deviation in (0.4, 1.0, 3.3):
        expected = gaussian_filter(picture[0, 0].numpy(), deviation, mode="nearest", radius=round(3 * deviation))
        np.testing.assert_allclose(_blurred(picture, deviation)[0, 0].numpy(), expected, atol=1e-12)


def test_flat_parts_count_first_and_edges_at_the_end() -> None:
    picture = edge()
    last = frequency_mask(picture, 0.98)[0]
    # The bright side of the edge stands out of its surroundings, in a band as narrow as the finest Gaussians.
    columns = last.mean(0)
    assert float(columns[:25].max()) == 0.0 and float(columns[30:36].max()) == 1.0 and float(columns[45:].max()) == 0.0
    assert 0.02 < float(last.mean()) < 0.3
    first = frequency_mask(picture, 0.02)[0]
    assert float(first[:, :20].min()) == 1.0 or float(first[:, 45:].min()) == 1.0
    assert float((first * last).mean()) < 0.02
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
