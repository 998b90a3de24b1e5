"""A page that sets runs side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
from matplotlib.ticker import FuncFormatter

from splatlearn.evaluation.comparison import Comparison, Difference, Row, Run
from splatlearn.report.parts.page import Block, Figure, Section, Table, write_page
from splatlearn.report.parts.style import TEXT, THEME, WIDTH

RULE = (
    "Differences are paired by seed; ± is half the 95 % interval of their mean, by Student's t over the pairs. A "
    "difference exceeds the noise where that interval leaves out 0; one pair cannot tell. The interval is that of the "
    "training seeds on these very validation images. Rows are not corrected for being many: of twenty without a "
    "difference, one is expected to look like one."
)


def write_comparison(path: str | Path, comparisons: Sequence[Comparison], runs: Sequence[Run]) -> Path:
    """Write an HTML page about comparisons and the runs behind them, and return its path."""
    listed = Table(
        ["run", "seed", "evaluations"],
        [[str(run.folder), run.seed, "; ".join(each.title for each in run.evaluations)] for run in runs],
    )
    sections = [comparison_section(each) for each in comparisons]
    sections.append(Section("Runs", "The folders that were compared.", [listed]))
    return write_page(path, "splatlearn compare", RULE, sections)


def comparison_section(comparison: Comparison) -> Section:
    """A table of all arms and, where there are several, the differences from the first with their intervals."""
    intro = (
        f"Accuracy or mean IoU on {comparison.val_images:,} validation images, mean ± standard deviation over seeds."
    )
    caption = "Percent and percentage points; differences with half the width of their 95 % intervals."
    blocks: list[Block] = [Table(columns(comparison), [cells(row) for row in comparison.rows], caption=caption)]
    if len(comparison.arms) > 1:
        blocks.append(
            Figure(
                difference_plot(comparison),
                alt=f"Differences of {', '.join(comparison.arms[1:])} from {comparison.arms[0]}",
                caption=f"Difference from {comparison.arms[0]} in points, with 95 % intervals; pale where 0 is inside.",
            )
        )
    return Section(comparison.title, intro, blocks)


def columns(comparison: Comparison) -> list[str]:
    """The heads of the table: a column for each arm, and two for each difference from the first."""
    first, *others = comparison.arms
    pairs = [name for other in others for name in (f"{other} − {first}", "verdict")]
    return ["probe", *comparison.arms, *pairs]


def cells(row: Row) -> list[str]:
    """A row of the table."""
    arms = [_mean(list(values.values())) for values in row.values]
    return [row.key, *arms, *(text for each in row.differences for text in (_interval(each), each.verdict))]


def difference_plot(comparison: Comparison) -> matplotlib.figure.Figure:
    """For each row, the difference of each arm from the first with its interval, in points."""
    others = comparison.arms[1:]
    count = len(comparison.rows)
    height = 0.7 + 0.27 * count * max(1.0, 0.6 * len(others)) + 0.25 * (len(others) > 1)
    figure = matplotlib.figure.Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(others):
        color = (THEME["accent"], THEME["second"], THEME["muted"])[place % 3]
        for line, row in enumerate(comparison.rows):
            each = row.differences[place]
            if not each.pairs:
                continue
            height_of_line = line + 0.5 * (place - (len(others) - 1) / 2) / max(len(others) - 1, 1)
            alpha = 1.0 if each.exceeds_noise else 0.45
            if each.low is not None and each.high is not None:
                bounds = [100 * each.low, 100 * each.high]
                axes.plot(bounds, [height_of_line] * 2, color=color, linewidth=1.4, alpha=alpha)
            axes.plot(
                100 * each.mean, height_of_line, "o", color=color, markersize=4.5, alpha=alpha,
                label=name if not line else None,
            )  # fmt: skip
    axes.axvline(0, color=THEME["muted"], linewidth=1.0)
    axes.set_yticks(range(count), [row.key for row in comparison.rows])
    axes.set_ylim(count - 0.4, -0.6)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.grid(axis="x", color=THEME["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=THEME["muted"])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.3g}" if value else "0"))
    if len(others) > 1:
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=TEXT, labelcolor=THEME["muted"])
    return figure


def _mean(values: Sequence[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{deviation}"


def _interval(difference: Difference) -> str:
    if not difference.pairs:
        return "–"
    if difference.low is None or difference.high is None:
        return f"{100 * difference.mean:+.1f}"
    return f"{100 * difference.mean:+.1f} ± {50 * (difference.high - difference.low):.1f}"
