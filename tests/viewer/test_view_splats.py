"""`splatlearn view FILE`: a splat file in, a page to walk around in out."""

import re
from pathlib import Path

import pytest

from splatlearn.cli import main
from splatlearn.files import SPLAT_FORMATS, read_splat_file, write_splats
from splatlearn.files.choices import SPLAT_ENDINGS
from splatlearn.files.formats import WRITERS
from viewer.browser import Visit
from viewer.walked import scene_gaussians, settled


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["view", *arguments])
    return int(stop.value.code or 0)


def test_the_endings_are_those_of_the_formats():
    assert all(ending.endswith(SPLAT_ENDINGS) for writer in WRITERS.values() for ending in writer.endings)


@pytest.mark.parametrize("name", ["leaf.ply", "leaf.spz", "leaf.sog", "leaf.compressed.ply", "folder/meta.json"])
def test_a_page_of_each_format(name, tmp_path: Path, capsys, generator):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write_splats(path, scene_gaussians(generator, 40, 1))
    out = tmp_path / "page.html"
    source = str(path.parent) if name.endswith("meta.json") else str(path)
    assert run(source, "--out", str(out)) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 40 Gaussians, ")
    text = out.read_text()
    assert "degree 1" in text
    assert read_splat_file(source).format in SPLAT_FORMATS


def test_the_page_draws_with_the_filter_of_the_file(tmp_path: Path, generator):
    for antialiased in (False, True):
        write_splats(tmp_path / "leaf.spz", scene_gaussians(generator, 9, 0), antialiased=antialiased)
        assert run(str(tmp_path / "leaf.spz"), "--out", str(tmp_path / "page.html"), "--overwrite") == 0
        text = (tmp_path / "page.html").read_text()
        found = re.search(r'"filter":\s*"(\w+)"', text)
        assert found is not None and found[1] == ("mip" if antialiased else "point")


def test_the_page_draws(tmp_path: Path, browser, generator):
    write_splats(tmp_path / "leaf.ply", scene_gaussians(generator, 40, 4))
    out = tmp_path / "page.html"
    assert run(str(tmp_path / "leaf.ply"), "--out", str(out)) == 0
    page = Visit(browser, out)
    settled(page)
    assert page.text("h1") == "leaf.ply"
    assert page.picture().std() > 0.05
    assert page.complaints == []
    page.close()


def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path, capsys, generator):
    path = tmp_path / "leaf.ply"
    write_splats(path, scene_gaussians(generator, 4, 0))
    assert run(str(path), "photo.jpg") == 2
    assert "expected none beside the splat file" in capsys.readouterr().err
    assert run(str(path), "--out", str(path), "--overwrite") == 2
    assert "is an input of this command" in capsys.readouterr().err
    assert run(str(tmp_path / "none.spz")) != 0
    assert "none.spz" in capsys.readouterr().err
    (tmp_path / "cut.ply").write_bytes(path.read_bytes()[:-3])
    assert run(str(tmp_path / "cut.ply")) != 0
    assert not (tmp_path / "view.html").exists()


def test_options_of_models_have_no_effect(tmp_path: Path, capsys, generator):
    path = tmp_path / "leaf.ply"
    write_splats(path, scene_gaussians(generator, 4, 0))
    assert run(str(path), "--out", str(tmp_path / "page.html"), "--groups", "3", "--fit-steps", "2") == 0
    assert "--groups, --fit-steps have no effect with the splat file" in capsys.readouterr().err
