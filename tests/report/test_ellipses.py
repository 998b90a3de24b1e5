"""Ellipses of Gaussians against covariances whose axes are known."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from splatlearn.report.parts.ellipses import add_ellipses


@pytest.mark.parametrize("degrees", [0.0, 30.0, 135.0])
def test_axes_are_those_of_the_covariance(degrees: float) -> None:
    turn = np.radians(degrees)
    long = np.array([np.cos(turn), np.sin(turn)])
    short = np.array([-long[1], long[0]])
    inverse = np.outer(long, long) / 5.0**2 + np.outer(short, short) / 2.0**2
    conics = np.array([[inverse[0, 0], inverse[0, 1], inverse[1, 1]]])
    drawn = add_ellipses(Figure().subplots(), np.array([[3.0, 4.0]]), conics)
    width, height, angle = (
        float(np.asarray(each)[0]) for each in (drawn.get_widths(), drawn.get_heights(), drawn.get_angles())
    )
    assert sorted([width, height]) == pytest.approx([4.0, 10.0])
    apart = (angle + (0.0 if width > height else 90.0) - degrees) % 180.0
    assert min(apart, 180.0 - apart) == pytest.approx(0.0, abs=1e-6)
    assert np.asarray(drawn.get_offsets()).tolist() == [[3.0, 4.0]]
