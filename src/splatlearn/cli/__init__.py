"""The command line: one command per verb, each a few lines over the library."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise

import tyro

from splatlearn.cli.presentation import description, presented, registry, wrapped_help
from splatlearn.cli.streams import BROKEN_PIPE, outlived_streams
from splatlearn.cli.verbs import VERBS, command, overview
from splatlearn.core.errors import InputError, SlowBackendWarning, SplatlearnError

CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs)

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Exits with 2 for wrong arguments or input, 130 for an interruption, 75 to be queued again, and 141 when nobody reads
    its output any more.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with outlived_streams() as streams:
        code = _exit_code(arguments)
    sys.exit(BROKEN_PIPE if any(stream.broken for stream in streams) and not code else code)


def _exit_code(arguments: list[str]) -> int:
    """Run a command; what is wrong with its input is one sentence on stderr."""
    try:
        with warnings.catch_warnings():
            _print_own_warnings_as_sentences()
            return _run(arguments) or 0
    except SystemExit as stopped:  # after --help, or for wrong options
        return stopped.code if isinstance(stopped.code, int) else 2 if stopped.code else 0
    except KeyboardInterrupt:
        print("splatlearn: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (SplatlearnError, OSError) as error:
        # What the operating system refuses (a full disk, a folder without permission) names its file itself.
        if os.environ.get("SPLATLEARN_DEBUG"):
            raise
        print(f"splatlearn: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        if os.environ.get("SPLATLEARN_DEBUG"):
            raise
        said = f" ({error})" if str(error) else ""
        print(
            f"splatlearn: out of memory{said}; use fewer or smaller images, or fewer Gaussians",
            file=sys.stderr,
        )
        return 2


def _print_own_warnings_as_sentences() -> None:
    """Print the library's own warnings once, without the place in the source, and of several processes in the first."""
    show = warnings.showwarning
    said: set[str] = set()

    def showwarning(message, category, *place, **more) -> None:
        if not issubclass(category, SlowBackendWarning):
            show(message, category, *place, **more)
        elif os.environ.get("RANK", "0") == "0" and str(message) not in said:
            # Python forgets what it has shown whenever some library changes its filters.
            said.add(str(message))
            print(f"splatlearn: {message}", file=sys.stderr)

    warnings.showwarning = showwarning


def _run(arguments: list[str]) -> int | None:
    verb = arguments[0] if arguments else ""
    if verb in VERBS:
        _check_not_empty(arguments)
        function = presented(command(verb, arguments))
        with wrapped_help() if {"-h", "--help"} & set(arguments) else contextlib.nullcontext():
            return tyro.cli(
                function,
                prog=f"splatlearn {verb}",
                description=description(function),
                args=arguments[1:],
                config=CONFIG,
                registry=registry,
            )
    if arguments in (["--version"], ["-V"]):
        print(f"splatlearn {importlib.metadata.version('splatlearn')}")
        return 0
    if verb and not verb.startswith("-"):
        near = difflib.get_close_matches(verb, VERBS, n=1)
        raise InputError(
            f"verb: expected one of {', '.join(VERBS)}, got {verb!r}{f'; did you mean {near[0]}?' if near else ''}"
        )
    if {"-h", "--help"} & set(arguments):
        print(overview())
        return 0
    if not verb:
        print(overview(), file=sys.stderr)
        return 2
    raise InputError(f"verb: expected one of {', '.join(VERBS)} before the option {verb}")


def _check_not_empty(arguments: list[str]) -> None:
    """Raise InputError for an empty argument, as a script with an unset variable gives: it would mean this folder."""
    for before, argument in pairwise(arguments):
        option, equals, value = argument.partition("=")
        if not argument.strip():
            where = before.removeprefix("--") if before.startswith("--") else "arguments"
            raise InputError(f"{where}: expected a value, got an empty one")
        if option.startswith("--") and equals and not value.strip():
            raise InputError(f"{option.removeprefix('--')}: expected a value, got an empty one")
