"""The verbs of the command line, grouped by what one has, and the page that `splatlearn --help` shows."""

from __future__ import annotations

import ast
import importlib
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

GROUPS = {
    "A photograph": {
        "fit": ("fit", "fit_command"),
        "view": ("view", "view_command"),
        "layers": ("zero_shot", "layers_command"),
        "edges": ("zero_shot", "edges_command"),
        "segment": ("zero_shot", "segment_command"),
    },
    "Photographs of a scene": {
        "reconstruct": ("reconstruct", "reconstruct_command"),
        "inspect": ("inspect", "inspect_command"),
        "sfm": ("sfm", "sfm_command"),
    },
    "Shapes of objects": {
        "objects": ("objects", "objects_command"),
    },
    "A scene": {
        "render": ("render", "render_command"),
        "mesh": ("mesh", "mesh_command"),
        "convert": ("convert", "convert_command"),
        "compress": ("compress", "compress_command"),
    },
    "Training images": {
        "pretrain": ("pretrain", "pretrain_command"),
        "finetune": ("finetune", "finetune_command"),
        "pack": ("pack", "pack_command"),
    },
    "A run or a model": {
        "report": ("report", "report_command"),
        "evaluate": ("evaluate", "evaluate_command"),
        "compare": ("compare", "compare_command"),
        "benchmark": ("benchmark", "benchmark_command"),
        "export": ("export", "export_command"),
        "import": ("import_", "import_command"),
        "replay": ("replay", "replay_command"),
        "consolidate": ("consolidate", "consolidate_command"),
    },
    "No input": {
        "demo": ("demo", "demo_command"),
        "doctor": ("doctor", "doctor"),
    },
}
"""What one has, and the verbs for it: the module and the function of each. Other verbs' modules are not loaded."""
VERBS = {verb: home for verbs in GROUPS.values() for verb, home in verbs.items()}
RESUMED = {"pretrain", "finetune", "reconstruct", "objects"}
"""Verbs whose function is made for the arguments, because a resumed run supplies its own defaults."""
WIDEST = 100
"""Columns of the page, on wider terminals too."""


def command(verb: str, arguments: Sequence[str]) -> Callable[..., int | None]:
    """Return the function of a verb."""
    module, name = VERBS[verb]
    found = getattr(importlib.import_module(f"splatlearn.cli.{module}"), name)
    return found(arguments) if verb in RESUMED else found


def overview() -> str:
    """Return the page that lists all verbs in their groups, as wide as the terminal at most."""
    width = min(WIDEST, shutil.get_terminal_size().columns)
    indent = max(map(len, VERBS)) + 4
    lines = ["usage: splatlearn [-h] [--version] VERB ...", "", "Learning with Gaussians, on the machine you have.", ""]
    for title, verbs in GROUPS.items():
        lines.append(f"{title}:")
        for verb in verbs:
            text = f"  {verb}".ljust(indent) + summary(verb)
            lines.append(textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False))
        lines.append("")
    last = "`splatlearn VERB --help` explains the options of a verb, and `splatlearn --version` prints the version."
    return "\n".join((*lines, textwrap.fill(last, width, break_on_hyphens=False)))


def summary(verb: str) -> str:
    """Return the first paragraph of the docstring of a verb's function, read without loading its module."""
    module, name = VERBS[verb]
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if verb in RESUMED:
        functions = [
            node for each in functions if each.name == name for node in each.body if isinstance(node, ast.FunctionDef)
        ]
        name = "command"
    text = next(ast.get_docstring(node) for node in functions if node.name == name)
    return " ".join((text or "").partition("\n\n")[0].split())
