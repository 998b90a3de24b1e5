"""The house of docs/architecture.md: imports point down and make no circles; folders and files stay small."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

import splatlearn

PACKAGE = Path(splatlearn.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "architecture.md"
LONGEST_FILE = 400
"""Lines."""
MOST_FILES = 12
"""Modules of a folder, its `__init__` not counted."""
FLAT_LISTS = {"cli"}
"""Folders of siblings of one kind (verbs, formats), which may be longer."""

# What is not yet as the page has it. These lists may only shrink: an entry that holds no longer fails its test.
UPWARD: set[tuple[str, str]] = set()
CIRCLES: list[set[str]] = []
FULL_FOLDERS: dict[str, int] = {}

HIDDEN_MODULES: set[str] = set()


def tables() -> tuple[dict[str, int], dict[str, list[str]], set[tuple[str, str]]]:
    """Room to floor, room to its sub-rooms from the lowest up, and the pairs that one floor allows."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.*?) \|", text, flags=re.MULTILINE)
    floors = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)/`", rooms)}
    rows = re.findall(r"^\| `([\w/]+)/` \| (.*?) \|", text, flags=re.MULTILINE)
    order = {room: re.findall(r"`(\w+)/`", rooms) for room, rooms in rows}
    return floors, order, set(re.findall(r"`(\w+)/` may import `(\w+)/`", text))


FLOORS, ORDER, NEIGHBOURS = tables()


def module_of(file: Path) -> str:
    """The dotted name below `splatlearn`; a package's `__init__` has the package's name."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {module_of(file): file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE}


def homes() -> dict[tuple[str, str], str]:
    """Package and name to the module that its stub takes the name from."""
    found = {}
    for stub in PACKAGE.rglob("__init__.pyi"):
        package = module_of(stub.with_suffix(".py"))
        for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                source = ".".join(part for part in (package if node.level else "", node.module) if part)
                for each in node.names:
                    found[package, each.name] = source.removeprefix("splatlearn.")
    return found


HOMES = homes()


def targets(tree: ast.AST) -> Iterator[str]:
    """What a module imports of the package, as the modules in which the names stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "splatlearn":
            package = (node.module or "").partition(".")[2]
            for each in node.names:
                inner = f"{package}.{each.name}".lstrip(".")
                yield inner if inner in MODULES else HOMES.get((package, each.name), package)
        elif isinstance(node, ast.Import):
            yield from (each.name.partition(".")[2] for each in node.names if each.name.startswith("splatlearn."))


def graph() -> networkx.DiGraph:
    """Module to imported module."""
    edges = networkx.DiGraph()
    for name, file in MODULES.items():
        edges.add_node(name)
        edges.add_edges_from((name, target) for target in targets(ast.parse(file.read_text(encoding="utf-8"))))
    return edges


GRAPH = graph()


def points_down(importer: str, target: str) -> bool:
    """Whether the floors, and within a room the order of its sub-rooms, allow the import."""
    here, there = importer.split("."), target.split(".")
    if here[0] != there[0]:
        return FLOORS[here[0]] > FLOORS[there[0]] or (here[0], there[0]) in NEIGHBOURS
    for depth in range(1, min(len(here), len(there))):
        if here[depth] != there[depth]:
            order = ORDER.get("/".join(here[:depth]), [])
            inside = here[depth] in order, there[depth] in order
            return not all(inside) or order.index(here[depth]) > order.index(there[depth])
    return True


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms == set(FLOORS)
    assert not [path.name for path in PACKAGE.glob("*.py") if path.name not in ("__init__.py", "__main__.py")], (
        "a module without a room"
    )


def test_every_sub_room_has_its_place_in_the_order() -> None:
    found: dict[str, set[str]] = {}
    for package in PACKAGE.rglob("__init__.py"):
        folder = package.parent
        if folder != PACKAGE and folder.parent != PACKAGE:
            found.setdefault(str(folder.parent.relative_to(PACKAGE)), set()).add(folder.name)
    assert found == {room: set(order) for room, order in ORDER.items()}


def test_imports_point_down() -> None:
    assert GRAPH.number_of_edges() > 500
    assert {(a, b) for a, b in GRAPH.edges if not points_down(a, b)} == UPWARD


def test_imports_make_no_circles() -> None:
    circles = [each for each in networkx.strongly_connected_components(GRAPH) if len(each) > 1]
    assert sorted(map(sorted, circles)) == sorted(map(sorted, CIRCLES))


def test_sub_rooms_make_no_circles() -> None:
    """A room's sub-rooms and its own files, each taken as one."""
    for room in ORDER:
        below = room.replace("/", ".") + "."
        inside = networkx.DiGraph()
        for a, b in GRAPH.edges:
            if any({a, b} <= circle for circle in CIRCLES):
                continue
            if a.startswith(below) and b.startswith(below):
                ends = [".".join(each.split(".")[: below.count(".") + 1]) for each in (a, b)]
                if ends[0] != ends[1]:
                    inside.add_edge(*ends)
        assert networkx.is_directed_acyclic_graph(inside), networkx.find_cycle(inside)


def test_no_name_hides_a_module() -> None:
    """A package that exports a function or class named like one of its modules leaves two things under one name."""
    hidden = set()
    for file in PACKAGE.rglob("__init__.py*"):
        package = module_of(file.with_suffix(".py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                hidden |= {f"{package}.{each.asname or each.name}".lstrip(".") for each in node.names}
    assert hidden & {*MODULES, *FLOORS} == HIDDEN_MODULES


def test_folders_stay_small() -> None:
    files = Counter(str(f.parent.relative_to(PACKAGE)) for f in MODULES.values() if f.name != "__init__.py")
    assert {
        room: count for room, count in files.items() if count > MOST_FILES and room not in FLAT_LISTS
    } == FULL_FOLDERS


def test_files_stay_short() -> None:
    root = PACKAGE.parents[1]
    kinds = {PACKAGE: "*.py", root / "native": "*.[ch]*", root / "tests": "*.py", root / "benchmarks": "*.py"}
    sources = itertools.chain.from_iterable(folder.rglob(kind) for folder, kind in kinds.items())
    assert not [str(f) for f in sources if len(f.read_text(encoding="utf-8").splitlines()) > LONGEST_FILE]


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("cli.fit", "fitting.descent", True),
        ("rendering.backends", "models.nn.encoder", False),
        ("images.listing", "core.errors", True),
        ("core.errors", "images.listing", False),
        ("data.pack", "models.nn.encoder", False),
    ],
)
def test_the_rule_itself(importer: str, target: str, allowed: bool) -> None:
    assert points_down(importer, target) is allowed


def code_lines(file: Path) -> int:
    """Lines that are neither empty nor comments, docstrings or imports."""
    text = file.read_text(encoding="utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and type(node.value.value) is str
        if isinstance(node, ast.stmt) and (is_text or isinstance(node, ast.Import | ast.ImportFrom)):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(map(str.strip, text.splitlines()), start=1)
    return sum(bool(line) and not line.startswith("#") and number not in left_out for number, line in lines)


def test_mae_is_read_in_250_lines() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Reading MAE")[1].split("The loss is")[0]
    files = [PACKAGE / "models" / name for name in re.findall(r"`([\w/]+\.py)`", section)]
    assert len(files) == 10 and sum(map(code_lines, files)) <= 250


def test_what_the_page_says_to_be_somewhere_is_there() -> None:
    """The table of questions names a file, and a name that stands in it."""
    text = PAGE.read_text()
    rows = re.findall(r"^\| [^|]+ \| `([^`|]+)` \| `([^`|]+)` \|$", text[text.index("## Where is") :], re.MULTILINE)
    assert len(rows) >= 15
    missing = [(file, name) for file, name in rows if name not in (PAGE.parents[1] / file).read_text()]
    assert not missing
