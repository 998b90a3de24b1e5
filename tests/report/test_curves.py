"""Curves: what is drawn is what was given."""

import numpy as np
import pytest
import torch

from splatlearn.report import loss_curve, small_multiples
from splatlearn.report.parts.curves import MOST_POINTS, running_mean


def test_running_mean_is_the_mean_of_the_neighbours():
    values = np.random.default_rng(0).normal(size=50)
    values[7] = np.nan
    expected = [np.nanmean(values[max(0, i - 3) : i + 4]) for i in range(50)]
    np.testing.assert_allclose(running_mean(values, 3), expected)
    assert np.isnan(running_mean([np.nan, np.nan, 1.0], 1)[0])


def test_loss_curve_draws_losses_their_mean_and_validation():
    steps, losses = np.arange(100), np.random.default_rng(0).uniform(1, 2, 100)
    axes = loss_curve(torch.from_numpy(steps), losses, ([50, 99], [1.5, 1.2])).axes[0]
    raw, smooth, validation = axes.lines
    np.testing.assert_array_equal(raw.get_xydata(), np.column_stack([steps, losses]))
    assert np.ptp(np.asarray(smooth.get_ydata())) < np.ptp(losses)
    np.testing.assert_array_equal(validation.get_ydata(), [1.5, 1.2])
    assert axes.get_yscale() == "linear"


def test_scale_is_logarithmic_over_wide_ranges_only():
    assert loss_curve([0, 1, 2], [1.0, 0.1, 0.01]).axes[0].get_yscale() == "log"
    assert loss_curve([0, 1, 2], [1.0, 0.5, 0.4]).axes[0].get_yscale() == "linear"
    assert loss_curve([0, 1, 2], [1.0, 0.1, -0.5]).axes[0].get_yscale() == "linear"


def test_losses_may_be_missing():
    figure = loss_curve([0, 1, 2], [float("nan"), 1.0, float("nan")])
    figure.draw_without_rendering()
    assert len(figure.axes[0].lines) == 1


def test_long_runs_are_thinned():
    count = 10 * MOST_POINTS
    line = small_multiples({"a": (np.arange(count), np.linspace(0, 1, count))}).axes[0].lines[0]
    assert len(np.asarray(line.get_xdata())) <= MOST_POINTS


def test_small_multiples_share_their_range_and_keep_their_names():
    curves = {"learning rate": ([1, 2, 9], [1e-4, 1e-5, 0.0]), "50% $ of data": ([4, 8], [-1.0, 1.0])}
    figure = small_multiples(curves)
    figure.draw_without_rendering()
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(curves)
    for axes, (steps, values) in zip(figure.axes, curves.values(), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.column_stack([steps, values]))
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (1, 9)
    assert figure.axes[0].get_ylim()[0] == 0.0
    assert figure.axes[1].get_ylim()[0] == -1.0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"steps, losses: expected two lists of the same length.*\[2\] and \[1\]"):
        loss_curve([1, 2], [1.0])
    with pytest.raises(ValueError, match="steps, losses: .*at least 1"):
        loss_curve([], [])
    with pytest.raises(ValueError, match="curves: expected at least one curve"):
        small_multiples({})
