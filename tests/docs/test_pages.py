"""The documentation: every code block runs, page by page, and the site builds without a warning."""

from __future__ import annotations

import runpy
import shlex
import sys
from pathlib import Path

import pytest
from sphinx.cmd.build import main as build_site
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

from splatlearn.cli import main
from splatlearn.compression import search, surrounding
from splatlearn.models import presets
from training.two_trainers import SMALL

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "experiments" not in path.parts)
SHORTER = {
    "pretrain": ["--stop-after", "2", "--device", "cpu"],
    # One probe of each evaluation: the tests of the command have the others.
    "evaluate": ["--device", "cpu", "--draws", "1", "--probes", "knn", "--no-diagnostics"],
}
"""What is added to a command, so that a page does not take as long as for its reader."""


def run_commands(example: Example) -> None:
    """Run each line of a block of commands in this process."""
    for line in str(example.parsed).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "splatlearn", f"blocks of other programs are `console`, got {line!r}"
        with pytest.raises(SystemExit) as ended:
            main([*words[1:], *SHORTER.get(words[1], [])])
        assert ended.value.code == 0, line


BLOCKS = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="bash", evaluator=run_commands)], encoding="utf-8"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT / "docs")))
@pytest.mark.filterwarnings("default")
def test_every_code_block_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Models that are trained there are smaller than they say, and files are judged by small pictures.
    monkeypatch.setitem(presets.ENCODERS, "tiny", SMALL)
    monkeypatch.setattr(search, "SHARES", (1.0, 0.55))
    monkeypatch.setattr(search, "TRIES", 2)
    monkeypatch.setattr(surrounding, "HEIGHT", 60)
    monkeypatch.setattr(surrounding, "WIDTH", 80)
    # A block that fails raises; one that no parser took would not be seen to run.
    text = page.read_text(encoding="utf-8")
    ran = 0
    for example in BLOCKS.parse(page).examples():
        example.evaluate()
        ran += 1
    assert ran == sum(line.startswith(("```python", "```bash")) for line in text.splitlines())


def test_pages_of_the_tutorial_and_the_concepts_have_blocks_to_run() -> None:
    for page in PAGES:
        if page.parent.name in ("concepts",) or page.name == "tutorial.md":
            assert list(BLOCKS.parse(page).examples()), page


# The whole check builds the site by `make docs`.
@pytest.mark.large
@pytest.mark.filterwarnings("default")
def test_site_builds_without_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = build_site(["-q", "-W", "--keep-going", "-b", "html", str(ROOT / "docs"), str(tmp_path)])
    assert code == 0, capsys.readouterr().err[-3000:]
    assert "<h1>The renderer" in (tmp_path / "concepts" / "renderer.html").read_text(encoding="utf-8")


def test_pictures_are_those_that_the_pages_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_pictures.py", "--out", str(tmp_path)])
    runpy.run_path(str(ROOT / "docs" / "make_pictures.py"), run_name="__main__")
    made = {path.name for path in tmp_path.glob("*.png")}
    shown = {path.name for path in (ROOT / "docs" / "images" / "concepts").glob("*.png")}
    assert made == shown
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "concepts").glob("*.md"))
    assert all(f"images/concepts/{name}" in text for name in made)
