"""Curves over the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from splatlearn.core.errors import InputError
from splatlearn.report.parts.style import TEXT, THEME, WIDTH, to_array

MOST_POINTS = 1500
"""Longer curves are thinned to about this many points; a screen shows no more."""


def loss_curve(
    steps: ArrayLike, losses: ArrayLike, validation: tuple[ArrayLike, ArrayLike] | None = None
) -> matplotlib.figure.Figure:
    """The loss of each step in pale, its running mean in full, and validation losses where there are any.

    - `steps`, `losses`: one number each a step; NaN leaves a gap.
    - `validation`: (steps, losses).

    The scale is logarithmic when the losses span more than a factor of four. Raises InputError when the lengths differ
    or there is nothing to draw.
    """
    x, y = _pair("steps", steps, "losses", losses)
    figure = matplotlib.figure.Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, x, y)
    if validation is not None:
        seen, scores = _pair("validation steps", validation[0], "validation losses", validation[1])
        axes.plot(
            seen,
            scores,
            color=THEME["second"],
            linewidth=1.2,
            marker="o",
            markersize=4,
            label="validation",
            clip_on=False,
        )
        y = np.concatenate([y, scores])
    known = y[np.isfinite(y)]
    if len(known) and known.min() > 0 and known.max() > 4 * known.min():
        _log_scale(axes)
    _along_steps(axes)
    axes.set_xlabel("step", color=THEME["muted"], fontsize=TEXT)
    axes.set_ylabel("loss", color=THEME["muted"], fontsize=TEXT)
    axes.legend(frameon=False, fontsize=TEXT, labelcolor=THEME["muted"], loc="upper right")
    return figure


def small_multiples(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], along: str = "step", least: Mapping[str, float] | None = None
) -> matplotlib.figure.Figure:
    """Quantities with units of their own, one above the other over the same range of steps.

    - `curves`: name (with its unit) to (steps, values), which may differ in their steps; NaN leaves a gap.
    - `along`: what the abscissa counts.
    - `least`: lower ends of ordinates that do not begin at 0, by name.

    Raises InputError when lengths differ or there is nothing to draw.
    """
    if not curves:
        raise InputError("curves: expected at least one curve, got none")
    figure = matplotlib.figure.Figure(figsize=(WIDTH, 0.45 + 1.25 * len(curves)), layout="constrained")
    rows = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, (steps, values)) in zip(rows, curves.items(), strict=True):
        x, y = _pair("steps", steps, name, values)
        _draw(axes, x, y)
        _along_steps(axes)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        low = min(0.0, float(np.nanmin(y))) if np.isfinite(y).any() else 0.0
        axes.set_ylim(bottom=(least or {}).get(name, low))
        axes.set_title(name, loc="left", color=THEME["ink"], fontsize=TEXT, parse_math=False)
    rows[-1].set_xlabel(along, color=THEME["muted"], fontsize=TEXT)
    return figure


def running_mean(values: ArrayLike, reach: int) -> NDArray[np.float64]:
    """The mean over `reach` neighbours on either side, fewer at the ends; NaN does not count."""
    series = np.asarray(values, dtype=np.float64)
    known = np.isfinite(series)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, series, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    first = np.maximum(np.arange(len(series)) - reach, 0)
    last = np.minimum(np.arange(len(series)) + reach + 1, len(series))
    number = counts[last] - counts[first]
    return np.where(number > 0, (sums[last] - sums[first]) / np.maximum(number, 1), np.nan)


def _draw(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """The values in full where they are few or smooth, else pale beneath their running mean."""
    thin = slice(None, None, -(-len(x) // MOST_POINTS))
    smooth = running_mean(y, len(y) // 50)
    noisy = len(x) > 20 and float(np.nansum(np.abs(y - smooth))) > 0.01 * float(np.nansum(np.abs(y)))
    line = axes.plot(x[thin], y[thin], color=THEME["accent"], linewidth=1.6, label="loss")[0]
    if noisy:
        line.set(linewidth=0.8, alpha=0.35, label="each step")
        axes.plot(x[thin], smooth[thin], color=THEME["accent"], linewidth=1.8, label="running mean")


def _plain(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def quiet_axes(axes: Axes) -> None:
    """Draw the bottom spine and faint horizontal lines alone, and write whole numbers along the abscissa."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(THEME["line"])
    axes.grid(axis="y", color=THEME["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=THEME["muted"])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _along_steps(axes: Axes) -> None:
    quiet_axes(axes)
    axes.margins(x=0.0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))


def _pair(x_name: str, x: ArrayLike, y_name: str, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    steps, values = to_array(x), to_array(y)
    if steps.ndim != 1 or steps.shape != values.shape or not len(steps):
        raise InputError(
            f"{x_name}, {y_name}: expected two lists of the same length, at least 1, "
            f"got shapes {list(steps.shape)} and {list(values.shape)}"
        )
    return steps, values
