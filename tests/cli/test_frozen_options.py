"""The words of the command line, frozen: a change of an option is a change of `options.txt` too.

python tests/cli/test_frozen_options.py > tests/cli/options.txt
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

from splatlearn.cli import main
from splatlearn.cli.verbs import VERBS

LIST = Path(__file__).with_name("options.txt")
ENTRY = re.compile(r"  (--?\w.*?|\[?(?:[A-Z]{2}|\{).*?)(?:  +|$)")
"""An option or a positional argument, at the left of its box. A stream that is no terminal shows no frames."""


def options_of(verb: str) -> str:
    """The verb with its positional arguments and options, in the order of the help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([verb, "--help"])
    lines = text.getvalue().splitlines()
    entries = [match.group(1) for line in lines if (match := ENTRY.match(line))]
    return " | ".join((verb, *entries))


def listed() -> str:
    """One line a verb."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        return "\n".join(map(options_of, VERBS)) + "\n"
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)


def test_options_are_those_listed() -> None:
    assert listed() == LIST.read_text(encoding="utf-8")


if __name__ == "__main__":
    print(listed(), end="")
