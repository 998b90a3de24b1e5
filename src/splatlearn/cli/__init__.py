"""The command line: one command per verb, each a few lines over the library."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import tyro

from splatlearn.cli.benchmark import benchmark_command
from splatlearn.cli.compare import compare_command
from splatlearn.cli.consolidate import consolidate_command
from splatlearn.cli.demo import demo
from splatlearn.cli.doctor import doctor
from splatlearn.cli.evaluate import evaluate_command
from splatlearn.cli.export import export_command
from splatlearn.cli.finetune import finetune_command
from splatlearn.cli.fit import fit_command
from splatlearn.cli.import_ import import_command
from splatlearn.cli.pack import pack_command
from splatlearn.cli.pretrain import pretrain_command
from splatlearn.cli.replay import replay_command
from splatlearn.cli.report import report_command
from splatlearn.cli.view import view_command
from splatlearn.cli.zero_shot import edges_command, layers_command, segment_command
from splatlearn.training import NonFiniteError

CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs)


def commands(arguments: Sequence[str]) -> dict[str, Callable]:
    """The verbs; the arguments are needed because a resumed run supplies its own defaults."""
    return {
        "demo": demo,
        "pack": pack_command,
        "pretrain": pretrain_command(arguments),
        "finetune": finetune_command(arguments),
        "consolidate": consolidate_command,
        "replay": replay_command,
        "evaluate": evaluate_command,
        "compare": compare_command,
        "report": report_command,
        "export": export_command,
        "import": import_command,
        "layers": layers_command,
        "segment": segment_command,
        "edges": edges_command,
        "fit": fit_command,
        "benchmark": benchmark_command,
        "view": view_command,
        "doctor": doctor,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 2 for wrong arguments or input, 130 for an interruption, 75 to be queued again."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            commands(arguments), prog="splatlearn", description=__doc__, args=arguments, config=CONFIG
        )
    except (ValueError, OSError, NonFiniteError) as error:
        if os.environ.get("SPLATLEARN_DEBUG"):
            raise
        print(f"splatlearn: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code or 0)
