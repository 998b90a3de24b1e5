"""How the help shows options: a word for each value, what happens without it, and lines of the terminal's width."""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import shutil
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

LONGEST_WORD = 64
"""Largest number of letters of listed alternatives; longer lists are left to the text of the option."""
WORDS = {
    "to": "FORMAT",
    "images": "IMAGE",
    "image": "IMAGE",
    "runs": "RUN",
    "into": "RUN",
    "start_from": "RUN",
    "probe_data": "DATA",
    "image_column": "COLUMN",
    "label_column": "COLUMN",
    "cache": "FOLDER",
    "segmentation": "FOLDER",
    "lpips_trunk": "FILE",
    "lpips_linear": "FILE",
    "trackers": "TRACKER",
}
"""What stands for the text of an option; others have their own name in capitals."""
GROUPS = {"options": "model", "mutual": "mutual information"}
"""Titles of groups of a recipe's options that are not its own names."""
NUMBERS = {int: "INT", float: "FLOAT"}
WIDEST = 100
"""Columns of paragraphs, on wider terminals too."""

registry = ConstructorRegistry()
_busy = False


def presented(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with annotations that say how its options are shown."""
    inner = inspect.unwrap(function)
    hints = typing.get_type_hints(inner, include_extras=True)
    helps = _documented(inner.__doc__ or "")
    for name, parameter in inspect.signature(inner).parameters.items():
        default = tyro.MISSING if parameter.default is parameter.empty else parameter.default
        hints[name] = _shown(name, hints[name], default, helps.get(name))
    inner.__annotations__ = hints
    return function


def description(function: Callable[..., Any]) -> str:
    """The paragraphs of a function's docstring before its arguments."""
    return (inspect.getdoc(function) or "").partition("\nArgs:")[0].strip()


@contextmanager
def wrapped_help() -> Iterator[None]:
    """Print what is written meanwhile with lines that fit the terminal.

    tyro fits what stands in boxes and leaves the paragraphs above them as long as they are.
    """
    stream, written = sys.stdout, io.StringIO()
    sys.stdout = _Collected(stream, written)
    try:
        yield
    finally:
        sys.stdout = stream
        width = min(WIDEST, shutil.get_terminal_size().columns)
        for line in re.sub(r"\n{3,}", "\n\n", written.getvalue()).splitlines():
            fits = len(line) <= width or not line[0].isalnum()
            print(line if fits else textwrap.fill(line, width, break_on_hyphens=False))


class _Collected:
    """A stream that keeps what is written and says of itself what another one does."""

    def __init__(self, stream: Any, written: io.StringIO) -> None:
        self._stream, self.write, self.flush = stream, written.write, written.flush

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@registry.struct_rule
def _fields_shown(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The fields of a dataclass as tyro finds them, each with how it is shown."""
    global _busy
    if _busy or not dataclasses.is_dataclass(info.type):
        return None
    _busy = True
    try:
        spec = ConstructorRegistry.get_struct_spec(info)
    finally:
        _busy = False
    if not isinstance(spec, StructConstructorSpec):
        return None
    return dataclasses.replace(spec, fields=tuple(map(_field_shown, spec.fields)))


def _field_shown(field: StructFieldSpec) -> StructFieldSpec:
    text = field.helptext() if callable(field.helptext) else field.helptext
    shown = _shown(field.name, field.type, field.default, " ".join((text or "").split()) or None)
    if field.name in GROUPS:
        shown = Annotated[shown, tyro.conf.arg(name=GROUPS[field.name])]
    return dataclasses.replace(field, type=shown)


def _shown(name: str, hint: Any, default: Any, text: str | None) -> Any:
    plain, positional = _stripped(hint)
    if dataclasses.is_dataclass(plain):
        return hint
    flag = plain is bool and default is not tyro.MISSING
    # A model given by its place is one that exists; `--model` is the name of a new one.
    meant = "runs" if positional and name == "model" else name
    word = None if flag else _word(meant, plain, positional and default is not tyro.MISSING)
    several = get_origin(plain) is tuple and get_args(plain)[-1:] == (...,)
    said = "" if positional and several else _without(default)
    return Annotated[hint, tyro.conf.arg(metavar=word, help=text, help_behavior_hint=said)]


def _without(default: Any) -> str | None:
    """What the help says of an option that is left out; nothing where its text says so itself, or tyro does."""
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"(default: {'yes' if default else 'no'})"
    return None


def _stripped(hint: Any) -> tuple[Any, bool]:
    """A type without annotations, and whether it is of a positional argument."""
    positional = False
    while get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        positional = positional or tyro.conf.Positional in extras
    return hint, positional


def _word(name: str, hint: Any, optional: bool) -> str:
    """What stands for the value of an option: choices, a kind of number, or a word."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        known = [part for part in parts if part is not type(None)]
        word = "|".join(_word(name, part, False) for part in known)
        if len(word) > LONGEST_WORD:
            word = WORDS.get(name) or name.upper().replace("_", "-")
        return f"[{word}]" if optional else word
    if origin is Literal:
        return "{" + ",".join(str(part) for part in parts if part is not None) + "}"
    if origin is tuple and parts[-1:] == (...,):
        word = _word(name, parts[0], False)
        return f"[{word} ...]"
    if origin is tuple:
        return " ".join(_word(name, part, False) for part in parts)
    if hint is bool:
        return "{True,False}"
    word = NUMBERS.get(hint) or WORDS.get(name) or name.upper().replace("_", "-")
    return f"[{word}]" if optional else word


def _documented(text: str) -> dict[str, str]:
    """What the `Args:` of a docstring say of each argument, each in one line."""
    arguments = inspect.cleandoc(text).partition("\nArgs:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", arguments, flags=re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}
