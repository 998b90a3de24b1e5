"""Run-time checks in the tests: types and array shapes of every function and dataclass of the package.

An import hook decorates them with beartype, in a context of jaxtyping's in which equal letters are equal sizes. It
checks what the hook of jaxtyping checks, at a quarter of the cost: that one binds the arguments of each call and checks
them twice. Functions inside functions, which would be decorated anew at every call, are left alone.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import marshal
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, jaxtyped

_THESE_CHECKS = sha256(Path(__file__).read_bytes()).digest()
CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Accepts int where float is annotated (PEP 484)."""


def install(package: str) -> None:
    """Check what is imported of a package from now on; raises RuntimeError if it has been imported."""
    if package in sys.modules:
        raise RuntimeError(f"{package}: expected to be imported after the checks are installed")
    sys.meta_path.insert(0, _Finder(package))


def checked(value: Any) -> Any:
    """A function that checks its arguments and result, or a dataclass that checks its fields."""
    if inspect.isclass(value):
        made_here = "__dataclass_fields__" in vars(value) and "__init__" in vars(value)
        if made_here and not hasattr(value.__init__, "__wrapped__"):
            value.__init__ = _checked_function(value.__init__)  # pyright: ignore[reportAttributeAccessIssue]
        return value
    return _checked_function(value)


def _checked_function(function: Callable) -> Callable:
    hints = {name: _resolved(hint, function) for name, hint in function.__annotations__.items()}
    arrays = [each for hint in hints.values() for each in _arrays(hint)]
    # Sizes that are given by arguments need those, and what generators yield is not looked at.
    if inspect.isgeneratorfunction(function) or any("{" in each.dim_str for each in arrays):
        return jaxtyped(function, typechecker=CHECK)
    twin = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    twin.__kwdefaults__, twin.__module__, twin.__qualname__ = (
        function.__kwdefaults__,
        function.__module__,
        function.__qualname__,
    )
    twin.__annotations__ = hints
    checking = CHECK(twin)
    if checking is twin:
        return function

    @functools.wraps(function)
    def plain(*args, **kwargs):
        __tracebackhide__ = True
        return (function if jaxtyping.config.jaxtyping_disable else checking)(*args, **kwargs)

    @functools.wraps(function)
    def with_shapes(*args, **kwargs):
        __tracebackhide__ = True
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        with jaxtyped("context"):
            return checking(*args, **kwargs)

    return with_shapes if arrays else plain


def _resolved(hint: Any, function: Callable) -> Any:
    """An annotation as an object; Any for one that names what is not there yet."""

    def holder(value) -> None: ...

    holder.__annotations__ = {"value": hint}
    try:
        return typing.get_type_hints(holder, function.__globals__, include_extras=True)["value"]
    except Exception:
        return Any


def _arrays(hint: Any) -> Iterator[type[AbstractArray]]:
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        yield hint
    for each in typing.get_args(hint):
        yield from _arrays(each)


class _Decorated(ast.NodeTransformer):
    """Decorates functions and classes outside of functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        # Triton reads the source of its kernels, which say `no_type_check`.
        if not any(isinstance(each, ast.Name) and each.id == "no_type_check" for each in node.decorator_list):
            # Innermost, because decorators often take annotations away.
            node.decorator_list.append(_decorator(node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        # Outermost, so that it finds a dataclass.
        node.decorator_list.insert(0, _decorator(node))
        return node


def _decorator(node: ast.AST) -> ast.expr:
    statement = ast.parse(f"__import__({__name__!r}).checked").body[0]
    assert isinstance(statement, ast.Expr)
    return ast.copy_location(statement.value, node)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> types.CodeType:
        # Bytecode with checks has a name of its own; it is that of this source, in this place, and of these checks.
        path = self.get_filename(fullname)
        source = self.get_data(path)
        stored = Path(cache_from_source(path, optimization="checked"))
        key = sha256(_THESE_CHECKS + path.encode() + source).digest()
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
            found = stored.read_bytes()
            if found.startswith(key):
                return marshal.loads(found[len(key) :])
        code = self.source_to_code(source, path)
        with contextlib.suppress(OSError):
            stored.parent.mkdir(exist_ok=True)
            beside = stored.with_name(f"{stored.name}.{os.getpid()}")
            beside.write_bytes(key + marshal.dumps(code))
            beside.replace(stored)
        return code

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> types.CodeType:  # pyright: ignore[reportIncompatibleMethodOverride]
        tree = ast.fix_missing_locations(_Decorated().visit(ast.parse(data, path)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


@dataclasses.dataclass
class _Finder(MetaPathFinder):
    package: str

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.package and not fullname.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
