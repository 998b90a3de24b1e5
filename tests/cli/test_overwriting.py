"""No command replaces what it did not write, and says what it wrote and with which model."""

import json
from pathlib import Path

import pytest

from cli.commands import run
from cli.test_evaluate import QUICK, a_run, colours
from models.small_models import small_gmae, small_mae
from photos import noise_photos
from splatlearn.core.disk.outputs import MARKER, written_in
from splatlearn.models import load_model, save_model


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and two photographs."""
    monkeypatch.chdir(tmp_path)
    save_model(small_gmae(), "model")
    noise_photos(tmp_path / "photos", {"a.png": (16, 24), "b.png": (20, 20)})
    return tmp_path


FOLDERS = {
    "layers": (("layers", "model", "photos", "--count", "1", "--device", "cpu"), "b-layer-01.png"),
    "edges": (("edges", "model", "photos", "--device", "cpu"), "b-edges.png"),
    "segment": (("segment", "model", "photos", "--device", "cpu"), "b-mask.png"),
    "fit": (("fit", "photos", "--gaussians", "8", "--steps", "1", "--device", "cpu"), "fit.json"),
    "timm": (("export", "model", "--to", "timm"), "config.json"),
    "hf": (("export", "model", "--to", "hf"), "preprocessor_config.json"),
    "import": (("import", "exported"), "model.safetensors"),
}
FILES = {
    "view": ("view", "model", "photos/a.png", "--device", "cpu"),
    "ply": ("export", "model", "photos/a.png", "--to", "ply"),
    "report": ("report", "model", "photos/a.png", "--device", "cpu"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_results(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    command, file = FOLDERS[name]
    if name == "import":
        assert run("export", "model", "--to", "hf", "--out", "exported") == 0
        capsys.readouterr()
    (here / "out").mkdir()
    assert run(*command, "--out", "out") == 0
    told = capsys.readouterr().out
    assert "out: " in told and (name in ("fit", "import") or "model: model" in told)
    assert file in written_in(here / "out")
    before = (here / "out" / file).read_bytes()
    (here / "out" / file).write_bytes(b"old")
    assert run(*command, "--out", "out") == 2
    assert "exists" in (error := capsys.readouterr().err) and "--overwrite" in error and error.count("\n") == 1
    assert (here / "out" / file).read_bytes() == b"old"
    assert run(*command, "--out", "out", "--overwrite") == 0
    assert name == "fit" or (here / "out" / file).read_bytes() == before
    # A file that splatlearn did not write stays, and so do all others of that call.
    marker = json.loads((here / "out" / MARKER).read_text())
    (here / "out" / MARKER).write_text(json.dumps({"files": [each for each in marker["files"] if each != file]}))
    content = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    assert run(*command, "--out", "out", "--overwrite") == 2
    error = capsys.readouterr().err
    assert str(Path("out") / file) in error and "did not write it" in error and "--out" in error
    assert {path.name: path.read_bytes() for path in (here / "out").iterdir()} == content


@pytest.mark.parametrize("name", FILES)
def test_a_file(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    command, photo = FILES[name], here / "photos" / "a.png"
    (here / "page").write_bytes(b"mine")
    assert run(*command, "--out", "page") == 2
    assert "page exists; choose another with --out, or give --overwrite" in capsys.readouterr().err
    assert (here / "page").read_bytes() == b"mine"
    before = photo.read_bytes()
    assert run(*command, "--out", photo, "--overwrite") == 2
    assert "is an input of this command" in capsys.readouterr().err and photo.read_bytes() == before
    assert run(*command, "--out", "page", "--overwrite") == 0
    told = capsys.readouterr().out
    assert told.startswith("page") and "model: model" in told and (here / "page").stat().st_size > 100
    assert not (here / MARKER).exists()


def test_a_failure_before_the_first_file_leaves_no_folder(here: Path) -> None:
    save_model(small_mae(), "mae")
    assert run("edges", "mae", "photos", "--out", "new/out") == 2
    (here / "photos" / "c.png").write_bytes(b"nothing")
    assert run("edges", "model", "photos/c.png", "--out", "new/out") == 2
    assert not (here / "new").exists()


def test_outputs_of_images_whose_names_differ_in_case_alone(here: Path) -> None:
    noise_photos(here / "more", {"A.png": (16, 24)})
    assert run("edges", "model", "photos/a.png", "more/A.png", "--device", "cpu", "--out", "out") == 0
    assert written_in(here / "out") == {"a-edges.png", "A-2-edges.png"}


def test_a_model_is_not_exported_over_itself_nor_into_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_run(here / "run", "mae", 0)
    for run_or_model, message in (
        ("model", "is an input of this command"),
        ("run", "expected a folder for the model alone"),
    ):
        assert run("export", run_or_model, "--to", "timm", "--out", run_or_model, "--overwrite") == 2
        assert message in capsys.readouterr().err
    load_model("model")
    assert not (folder / "config.json").exists()
    (here / "out").mkdir()
    (here / "out" / "README.md").write_text("mine")
    assert run("export", "model", "--to", "timm", "--out", "out", "--overwrite") == 0
    assert (here / "out" / "README.md").read_text() == "mine" and "README.md" not in written_in(here / "out")


def test_a_run_owns_its_report_and_evaluations(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, photos = a_run(here / "run", "gmae", 0), colours(here / "labelled", classes=("red", "green"))
    evaluate = ("evaluate", "run", "--data", photos, *QUICK, "--probes", "knn")
    for _ in range(2):
        assert run("report", "run", "photos/a.png", "--device", "cpu") == 0
        assert run(*evaluate) == 0
        assert "model: run (step 1)" in capsys.readouterr().out
        assert run(*evaluate, "--out", "results") == 0
    assert not (folder / MARKER).exists()
    # Evaluations elsewhere are added to those that are there, and to nothing else.
    (here / "mine").mkdir()
    (here / "mine" / "evaluation.html").write_text("mine")
    assert run(*evaluate, "--out", "mine") == 2
    assert "evaluation.html exists" in capsys.readouterr().err
    (here / "mine" / "evaluation.json").write_text("{}")
    assert run(*evaluate, "--out", "mine") == 2
    assert "evaluation.json: expected a file of `splatlearn evaluate`" in capsys.readouterr().err
    assert (here / "mine" / "evaluation.html").read_text() == "mine"
    assert run(*evaluate, "--out", "mine/evaluation.json") == 2
    assert "out: expected a folder, got the file" in capsys.readouterr().err


def test_comparisons(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(here / "run", "gmae", 0)
    photos = colours(here / "labelled", classes=("red", "green"))
    assert run("evaluate", "run", "--data", photos, *QUICK, "--probes", "knn") == 0
    assert run("compare", "run") == 0 and "comparison.html: 1 run" in capsys.readouterr().out
    assert run("compare", "run") == 2 and "give --overwrite" in capsys.readouterr().err
    assert run("compare", "run", "--overwrite") == 0
    assert run("compare", "run", "--overwrite", "--out", ".") == 2


def test_a_report_is_of_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "photos" / "report.html").write_text("mine")
    assert run("report", "photos") == 2
    assert "run: expected the folder of a run, got photos, which holds no config.json" in capsys.readouterr().err
    assert (here / "photos" / "report.html").read_text() == "mine"
