"""What reads an .sl3 file: few lines, and nothing that stands above the room of files."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

from splatlearn.files.sl3 import reader

FOLDER = Path(reader.__file__).parent
STORED = Path(__file__).parent / "stored" / "grid.sl3"
MOST_LINES = 300


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by their whole names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def decoder() -> list[Path]:
    """The modules of the format that reading needs, found from the reader on."""
    found, waiting = [], [Path(reader.__file__)]
    while waiting:
        path = waiting.pop()
        found.append(path)
        near = [FOLDER / f"{name.rsplit('.', 1)[1]}.py" for name in imported(path) if ".files.sl3." in name]
        waiting += {each for each in near if each.is_file() and each not in found and each not in waiting}
    return sorted(found)


def lines_of_code(path: Path) -> int:
    """Lines with code: neither blank nor comments, docstrings or imports."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and (is_text or isinstance(node, ast.Import | ast.ImportFrom)):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in ignored:
            found |= set(range(token.start[0], token.end[0] + 1))
    return len(found - left_out)


def test_the_decoder_is_short() -> None:
    assert [each.stem for each in decoder()] == ["coder", "header", "numbers", "reader", "tokens"]
    assert sum(lines_of_code(each) for each in decoder()) <= MOST_LINES


def test_the_decoder_needs_little() -> None:
    parts = {name.split(".")[0] for path in decoder() for name in imported(path)}
    assert parts - set(sys.stdlib_module_names) == {"splatlearn", "numpy", "torch", "jaxtyping"}
    rooms = {name.split(".")[1] for path in decoder() for name in imported(path) if name.startswith("splatlearn.")}
    assert rooms <= {"core", "files"}


def test_reading_loads_no_room_above_files() -> None:
    script = (
        "import sys, splatlearn.files as files; files.read_splats(sys.argv[1]); "
        "print(*sorted({name.split('.')[1] for name in sys.modules if name.startswith('splatlearn.')}))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(STORED)], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"core", "images", "files"}
