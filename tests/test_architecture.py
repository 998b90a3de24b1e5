"""Imports only ever point down: the floors of docs/architecture.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import splatlearn

PACKAGE = Path(splatlearn.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "architecture.md"
WITHIN_A_FLOOR = {
    ("camera", "checks"),
    ("gaussians", "checks"),
    ("evaluation", "objectives"),
    ("report", "evaluation"),
    ("viewer", "evaluation"),
    ("zero_shot", "fitting"),
    ("zero_shot", "models"),
}


def floors() -> dict[str, int]:
    """Room to floor, from the table of the page."""
    rows = re.findall(r"^\| (\d) \| (.*?) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)/?`", rooms)}


def imports() -> Iterator[tuple[str, str, str]]:
    """Importing room, imported room, and the file that does it."""
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "splatlearn" and len(parts) > 1 and parts[1] != room:
                    yield room, parts[1], str(file.relative_to(PACKAGE))


def test_every_room_has_a_floor() -> None:
    rooms = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert rooms - {"__init__", "__pycache__", "py.typed"} == set(floors())


def test_imports_point_down() -> None:
    known = floors()
    found = list(imports())
    assert len(found) > 50
    wrong = [
        f"{file}: {room} imports {target}"
        for room, target, file in found
        if room != "__init__" and known[room] <= known[target] and (room, target) not in WITHIN_A_FLOOR
    ]
    assert not wrong
