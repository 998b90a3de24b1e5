"""The build backend: scikit-build-core's, and a package without native/ where that cannot be compiled.

Such a package keeps the reason, which `splatlearn doctor` shows (`splatlearn.core.native` reads it). The build fails
instead if the environment has SPLATLEARN_NATIVE=required, as CI and the builds of published wheels do.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from scikit_build_core import build as scikit
from scikit_build_core.build import *  # noqa: F403

REPORT = Path("src/splatlearn/core/native_build.json")
ERROR = re.compile(r"^CMake Error|\berror:|^error\b|^ERROR\b|\bfatal error\b|\bcommand not found\b", re.IGNORECASE)
LONGEST = 500
STREAMS = {1: "stdout", 2: "stderr"}
"""File descriptors of a build's output, and the names of their copies."""

Settings = dict[str, list[str] | str] | None
Hook = Callable[[str, Settings, str | None], str]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    try:
        return _built(scikit.build_wheel, wheel_directory, config_settings, metadata_directory)
    finally:
        # The wheel has it; only an editable installation reads it here.
        REPORT.unlink(missing_ok=True)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    return _built(scikit.build_editable, wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    REPORT.unlink(missing_ok=True)
    return scikit.build_sdist(sdist_directory, config_settings)


def _built(hook: Hook, wheel_directory: str, settings: Settings, metadata_directory: str | None) -> str:
    REPORT.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        reached = Path(folder) / "reached"
        os.environ["SPLATLEARN_REACHED"] = str(reached)
        try:
            with _copied(Path(folder)):
                return hook(wheel_directory, settings, metadata_directory)
        except (Exception, SystemExit) as error:
            if os.environ.get("SPLATLEARN_NATIVE") == "required":
                raise
            _forget_compiler(reached)
            report = _reached(reached)
            # CMake complains on stderr, compilers below it on stdout.
            streams = STREAMS.values() if report["stage"] == "compile" else reversed(STREAMS.values())
            texts = [(Path(folder) / name).read_text(encoding="utf-8", errors="replace") for name in streams]
            report["error"] = next(filter(None, map(first_error, texts)), str(error)[:LONGEST])
        finally:
            del os.environ["SPLATLEARN_REACHED"]
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"splatlearn: native/ was not compiled ({report['error']}); building without it", file=sys.stderr)
    # The metadata that was prepared is that of a compiled wheel: it has another tag.
    return hook(wheel_directory, {**(settings or {}), "wheel.cmake": "false"}, None)


def first_error(output: str) -> str:
    """The first line of a build's output that tells of an error; for CMake's, the sentence below its heading."""
    lines = output.splitlines()
    for place, line in enumerate(lines):
        if ERROR.search(line):
            said = _sentence(lines[place + 1 :]) if line.startswith("CMake Error") else ""
            return (said or line.strip())[:LONGEST]
    return ""


def _sentence(lines: list[str]) -> str:
    """CMake's words below a heading, which are indented, up to a line that ends a sentence."""
    words = []
    for line in filter(str.strip, lines):
        if not line.startswith(" "):
            break
        words.append(line.strip())
        if line.endswith("."):
            break
    return " ".join(words)


def _reached(file: Path) -> dict[str, str]:
    """The stage at which the build failed, and the compiler; CMakeLists.txt writes them."""
    stage, compiler, _ = file.read_text(encoding="utf-8").splitlines() if file.exists() else ("cmake", "", "")
    return {"stage": stage, "compiler": compiler.strip()}


def _forget_compiler(reached: Path) -> None:
    """Remove what CMake remembers of a failed build: the next one may have another compiler."""
    if reached.exists():
        (Path(reached.read_text(encoding="utf-8").splitlines()[2]) / "CMakeCache.txt").unlink(missing_ok=True)


@contextlib.contextmanager
def _copied(folder: Path) -> Iterator[None]:
    """Copy what this process and its children write to stdout and stderr to a file of each as well.

    In one file, a line of the one could stand inside a sentence of the other.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in STREAMS}
    with contextlib.ExitStack() as files:
        threads = []
        for number, original in kept.items():
            file = files.enter_context((folder / STREAMS[number]).open("wb"))
            reader, writer = os.pipe()
            os.dup2(writer, number)
            os.close(writer)
            threads.append(threading.Thread(target=_pass_on, args=(reader, original, file)))
            threads[-1].start()
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in kept.items():
                os.dup2(original, number)
            for thread in threads:
                thread.join()
            for original in kept.values():
                os.close(original)


def _pass_on(reader: int, original: int, file) -> None:
    with os.fdopen(reader, "rb") as pipe:
        for line in pipe:
            os.write(original, line)
            file.write(line)
