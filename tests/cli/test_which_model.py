from pathlib import Path

import pytest

from models.small_models import small_gmae
from photos import noise_photos
from splatlearn.cli import main
from splatlearn.cli.which_model import model_and_images
from splatlearn.models import save_model
from splatlearn.models.folders import packaged

SIZES = {"a.png": (16, 24), "b.jpg": (20, 20)}


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "weights")
    save_model(small_gmae(0), tmp_path / "weights" / "gmae-tiny")
    return tmp_path


def test_an_image_first_means_the_packages_model(packed: Path) -> None:
    photos = noise_photos(packed / "photos", SIZES)
    image = str(photos / "a.png")
    assert model_and_images(image, ()) == ("gmae-tiny", (image,))
    assert model_and_images(image, ("b.png",)) == ("gmae-tiny", (image, "b.png"))
    assert model_and_images(str(photos), ()) == ("gmae-tiny", (str(photos),))
    assert model_and_images("missing.jpg", ()) == ("gmae-tiny", ("missing.jpg",))


@pytest.mark.parametrize("first", ["gmae-tiny", "me/birds", "runs/mine"])
def test_anything_else_is_the_model(packed: Path, first: str) -> None:
    assert model_and_images(first, ("a.png",)) == (first, ("a.png",))


def test_runs_and_models_are_not_folders_of_images(packed: Path) -> None:
    run = noise_photos(packed / "run", SIZES)
    (run / "recipe.json").write_text("{}")
    model = packed / "weights" / "gmae-tiny"
    assert model_and_images(str(run), ())[0] == str(run)
    assert model_and_images(str(model), ())[0] == str(model)


def test_without_weights_the_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "nothing")
    with pytest.raises(ValueError, match="run: expected a run folder, .* got a.jpg; .*name a model"):
        model_and_images("a.jpg", ())


def test_edges_of_a_photo_alone(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = noise_photos(packed / "photos", SIZES)
    image = photos / "a.png"
    with pytest.raises(SystemExit) as stopped:
        main(["edges", str(image), "--out", str(packed / "out")])
    assert stopped.value.code == 0, capsys.readouterr().err
    assert (packed / "out" / f"{image.stem}-edges.png").is_file()


def test_splats_of_a_photo_alone(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = noise_photos(packed / "photos", SIZES)
    out = packed / "photo.ply"
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(photos / "a.png"), "--to", "ply", "--out", str(out)])
    assert stopped.value.code == 0, capsys.readouterr().err
    assert out.is_file()
