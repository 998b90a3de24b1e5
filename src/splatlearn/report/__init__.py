"""Self-contained HTML reports of runs and models."""

from splatlearn.report.model_report import model_sections
from splatlearn.report.parts.curves import loss_curve, small_multiples
from splatlearn.report.parts.figures import depth_prefix_strip, gaussian_map, reconstruction_grid
from splatlearn.report.parts.page import Code, Figure, KeyValues, Section, Table, write_page
from splatlearn.report.run_report import read_log, run_sections
from splatlearn.report.write import write_run_report

__all__ = [
    "Code",
    "Figure",
    "KeyValues",
    "Section",
    "Table",
    "depth_prefix_strip",
    "gaussian_map",
    "loss_curve",
    "model_sections",
    "read_log",
    "reconstruction_grid",
    "run_sections",
    "small_multiples",
    "write_page",
    "write_run_report",
]
