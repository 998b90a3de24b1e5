"""The reader of packs, on a pack made here and on those beside the checkout, and the benchmark of extraction."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from benchmark_commands import run_benchmark
from data.pictures import array, encode
from models.small_models import small_mae
from splatlearn.data import ImageSource
from splatlearn.evaluation import EvaluationOptions, evaluate
from splatlearn.images import DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packs_reader", ROOT / "benchmarks" / "packs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_pack(folder: Path) -> Path:
    """A pack of nine pictures of three classes to learn from and three to be judged on."""
    (folder / "cifar10").mkdir()
    for part, count in (("train", 9), ("test", 3)):
        files = [encode(Image.fromarray(array(number))) for number in range(count)]
        np.savez(
            folder / "cifar10" / f"{part}.npz",
            data=np.frombuffer(b"".join(files), np.uint8),
            offsets=np.cumsum([0, *map(len, files)]),
            labels=(np.arange(count) % 3).astype(np.int16),
            filenames=np.array([f"{part}/{number}.png" for number in range(count)]),
        )
    (folder / "cifar10" / "classes.json").write_text(json.dumps(["a", {"wnid": "n1", "name": "b"}, "c"]))
    return folder


def test_a_pack_is_read_as_it_was_written(packs: ModuleType, tmp_path: Path):
    data = packs.labelled_pack("cifar10", train_images=6, folder=make_pack(tmp_path))
    assert data.classes == ("a", "b", "c") and data.split == "test"
    assert isinstance(data.train.source, ImageSource) and (len(data.train), len(data.val)) == (6, 3)
    np.testing.assert_array_equal(np.asarray(data.train[4].image), array(4))
    assert (data.train[4].label, data.train[4].name) == (1, "train/4.png")
    assert data.train.source.description == "6 images of cifar10, train"


def test_packs_that_are_not_there(packs: ModuleType, tmp_path: Path):
    with pytest.raises(DataError, match="name: expected one of cifar10, tiny_imagenet50, imagenette224, got 'mnist'"):
        packs.labelled_pack("mnist", folder=tmp_path)
    with pytest.raises(DataError, match="name, part: expected a pack in .*, got 'cifar10' and 'train': no file"):
        packs.labelled_pack("cifar10", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "side", "counts"),
    [("cifar10", 32, (50_000, 10_000)), ("tiny_imagenet50", 64, (17_500, 1_500)), ("imagenette224", 224, (2_000, 500))],
)
def test_packs_beside_the_checkout(packs: ModuleType, name: str, side: int, counts: tuple[int, int]):
    if not (packs.FOLDER / name).is_dir():
        pytest.skip(f"no pack {name} beside the checkout")
    data = packs.labelled_pack(name)
    assert (len(data.train), len(data.val)) == counts
    assert len(set(np.bincount(data.train.labels))) == 1 and len(data.classes) == len(set(data.classes))
    assert data.train[7].image.size == (side, side)


def test_colours_of_real_photographs_tell_classes_apart(packs: ModuleType):
    """Raw pixels of CIFAR-10 are known to tell its classes better than chance, and a random encoder's tokens too."""
    if not (packs.FOLDER / "cifar10").is_dir():
        pytest.skip("no pack cifar10 beside the checkout")
    data = packs.labelled_pack("cifar10", 300, 150)
    evaluation = evaluate(small_mae(), data, EvaluationOptions(probes=("knn", "naive-bayes"), pooling="mean"))
    for subject in evaluation.subjects:
        assert max(score.value for score in subject.scores) > 0.15 > evaluation.chance


def test_the_benchmark_of_extraction_runs(tmp_path: Path):
    file = tmp_path / "features.json"
    arguments = ["--models", "mae_vit_tiny_patch16_32", "--images", "6", "--rounds", "2", "--batch-size", "4"]
    printed = run_benchmark("features", *arguments, "--device", "cpu", "--json-file", file)
    (result,) = json.loads(file.read_text())["results"]
    speeds = result["images_per_second"]
    assert result["share_of_forward"] == pytest.approx(speeds["extraction"] / speeds["forward"])
    assert len(result["all_rounds"]["forward"]) == 2 and "mae_vit_tiny_patch16_32" in printed
