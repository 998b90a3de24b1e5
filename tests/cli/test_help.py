"""What the command line says of itself, on a terminal of 80 columns."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.commands import run
from splatlearn.cli.streams import BROKEN_PIPE
from splatlearn.cli.verbs import VERBS


def entries(text: str) -> list[str]:
    """What the boxes say of each option or argument, in one line."""
    return [" ".join(entry.split()) for entry in re.split(r"\n(?= {2}\S)|\n[ -]*\n", text)]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_and_names_values_and_defaults(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*verb.split(), "--help") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for wrong in ("None", "STR", "options options", "(default: )", "True)", "False)"):
        assert wrong not in text
    options = [entry for entry in entries(text) if re.match(r"--\w", entry)]
    assert options or verb in ("", "doctor")
    for entry in options:
        assert "(required)" in entry or "efault" in entry, entry


def test_the_group_of_the_model_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pretrain", "--help") == 0
    text = capsys.readouterr().out
    for title in ("model options", "mutual information options", "data options"):
        assert f"\n {title} " in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("edges", "a.jpg"), ("Missing from splatlearn edges", "--out OUT")),
        (("import",), ("SOURCE", "--out OUT")),
        (("evaluate",), ("Missing from splatlearn evaluate", "RUN")),
        (("pretrain", "--data", "x", "--out", "y"), ("{gmae,mae,mi-gmae,mi-mae,splat-mae,splat-jepa}",)),
        (("edges", "a.jpg", "--out", "x", "--sigma", "much"), ("--sigma", "'much'")),
        (("edges", "a.jpg", "--out", "x", "--sigmo", "3"), ("--sigmo", "Perhaps you meant", "--sigma FLOAT")),
    ],
    ids=" ".join,
)
def test_what_is_missing_or_wrong_is_named(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "STR" not in error and all(word in error for word in words)


@pytest.mark.parametrize(("verb", "near"), [("edgs", "edges"), ("pretain", "pretrain"), ("evalute", "evaluate")])
def test_a_near_verb_is_suggested(verb: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "x") == 2
    error = capsys.readouterr().err
    assert f"got '{verb}'; did you mean {near}?" in error and error.count("\n") == 1


def test_no_verb_is_near_a_photograph(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("photo.jpg") == 2
    assert "verb: expected one of fit, view" in (error := capsys.readouterr().err) and "did you mean" not in error


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"splatlearn {importlib.metadata.version('splatlearn')}\n"


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "splatlearn", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"splatlearn {importlib.metadata.version('splatlearn')}\n"


@pytest.mark.parametrize("broken", ["stdout", "stderr"])
def test_output_that_nobody_reads_is_no_traceback(broken: str) -> None:
    """As in `splatlearn --help | head -1`, with a reader that is gone from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["--help"] if broken == "stdout" else ["edges"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, broken: writer}
    done = subprocess.run([sys.executable, "-m", "splatlearn", *arguments], **streams)  # type: ignore[call-overload]
    os.close(writer)
    assert done.returncode == (BROKEN_PIPE if broken == "stdout" else 2)
    assert not (done.stderr if broken == "stdout" else done.stdout)


def test_a_command_finishes_when_nobody_reads_its_output(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, splatlearn.cli as cli\n"
        "def work(arguments):\n"
        "    for _ in range(100): print('x' * 10000)\n"
        "    pathlib.Path(sys.argv[1]).write_text('done')\n"
        "cli._run = work\ncli.main([])"
    )
    reader, writer = os.pipe()
    os.close(reader)
    path = tmp_path / "result"
    done = subprocess.run([sys.executable, "-c", program, str(path)], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == BROKEN_PIPE and not done.stderr and path.read_text() == "done"


def test_no_help_needs_pytorch() -> None:
    program = (
        "import contextlib, io, sys\n"
        "class Refusing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] not in {'torch', 'datasets', 'sklearn', 'matplotlib'}, name\n"
        "sys.meta_path.insert(0, Refusing())\n"
        "from splatlearn.cli import main\n"
        "for arguments in (['--version'], ['--help'], *([verb, '--help'] for verb in sys.argv[1:])):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as text:\n"
        "        try:\n"
        "            main(arguments)\n"
        "        except SystemExit as stopped:\n"
        "            assert not stopped.code and text.getvalue(), arguments\n"
        "print('all')"
    )
    done = subprocess.run([sys.executable, "-c", program, *VERBS], capture_output=True, text=True)
    assert done.stdout == "all\n", done.stderr


def test_an_interruption_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("splatlearn.cli._run", interrupted)
    assert run("edges") == 130 and capsys.readouterr().err == "splatlearn: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("edges", ""), "arguments"), (("view", "a.png", "--out", " "), "out"), (("edges", "a.png", "--out="), "out")],
)
def test_an_empty_argument_is_not_this_folder(
    arguments: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err == f"splatlearn: {name}: expected a value, got an empty one\n"
