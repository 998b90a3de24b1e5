"""One family of errors, which alone the command line prints as a sentence."""

import ast
from pathlib import Path

import pytest

import splatlearn
from splatlearn import cli
from splatlearn.core.errors import (
    BackendError,
    FormatError,
    InputError,
    MissingError,
    SplatlearnError,
    first_line,
    some_of,
)

PACKAGE = Path(splatlearn.__file__).parent


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InputError, ValueError),
        (FormatError, ValueError),
        (BackendError, RuntimeError),
        (MissingError, FileNotFoundError),
    ],
)
def test_each_is_of_the_family_and_of_the_usual_kind(kind: type[Exception], builtin: type[Exception]):
    assert issubclass(kind, SplatlearnError) and issubclass(kind, builtin)
    assert str(kind("scales: expected 3, got 2")) == "scales: expected 3, got 2"


def test_the_library_raises_no_bare_value_or_runtime_error():
    bare = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
        if node.exc.func.id in {"ValueError", "RuntimeError", "Exception"}
    ]
    assert not bare


def _failing(error: Exception):
    def command(verb: str, arguments: list[str]):
        def fails() -> None:
            raise error

        return fails

    return command


@pytest.mark.parametrize(
    "error",
    [
        InputError("out: taken"),
        BackendError("device: none"),
        PermissionError(13, "Permission denied", "/somewhere"),
    ],
)
def test_the_command_line_prints_these_as_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(cli, "command", _failing(error))
    monkeypatch.delenv("SPLATLEARN_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"splatlearn: {error}\n"


@pytest.mark.parametrize(("error", "reason"), [(MemoryError(), ""), (MemoryError("64 GB"), " (64 GB)")])
def test_too_little_memory_is_a_sentence(
    error: MemoryError, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(cli, "command", _failing(error))
    monkeypatch.delenv("SPLATLEARN_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor"])
    assert stopped.value.code == 2
    assert f"splatlearn: out of memory{reason}; use fewer" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("a defect"), RuntimeError("a defect"), KeyError("a defect")])
def test_every_other_error_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "command", _failing(error))
    with pytest.raises(type(error), match="a defect"):
        cli.main(["doctor"])


def test_the_first_line_of_a_message() -> None:
    assert first_line(ValueError("\n one\ntwo")) == "one" and first_line(KeyError()) == "KeyError"


def test_names_are_cut_short() -> None:
    assert some_of(["a", "b"]) == "a, b"
    assert some_of(iter("abcdef"), 2) == "a, b and 4 more"
