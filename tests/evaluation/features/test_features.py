"""Features of images: what is pooled, what is left out, and what is kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.pictures import save, truncated_jpeg
from evaluation.planted import coloured, planted
from models.small_models import small_gmae, small_mae
from splatlearn.data import resize_center_crop
from splatlearn.data.labelled import open_labelled
from splatlearn.evaluation import (
    EncoderFeatures,
    Extraction,
    Features,
    FeatureStore,
    PixelFeatures,
    extract,
    random_twin,
)
from splatlearn.evaluation.features import cache
from splatlearn.evaluation.features.reading import SeededCrop
from splatlearn.images import DataError


@pytest.fixture
def embedder() -> EncoderFeatures:
    return EncoderFeatures(small_mae().eval().encoder)


def pixels(images) -> torch.Tensor:
    crops = [torch.from_numpy(resize_center_crop(images[i].image, 16, 24)) for i in range(len(images))]
    return torch.stack(crops).float() / 255


class TestEmbedders:
    def test_pooling_and_blocks(self):
        encoder = small_gmae().eval().encoder
        images = pixels(coloured(3))
        tokens = encoder(images)
        torch.testing.assert_close(EncoderFeatures(encoder)(images), tokens[:, 1:].mean(dim=1))
        torch.testing.assert_close(EncoderFeatures(encoder, "mean")(images), tokens[:, 1:].mean(dim=1))
        torch.testing.assert_close(EncoderFeatures(encoder, "cls", block=2)(images), tokens[:, 0])

    def test_an_earlier_block_is_normed_and_leaves_the_encoder_whole(self):
        encoder = small_mae().eval().encoder
        seen = {}
        encoder.blocks[0].register_forward_hook(lambda module, inputs, output: seen.update(first=output))
        images = pixels(coloured(2))
        encoder(images)
        torch.manual_seed(0)
        state = torch.random.get_rng_state()
        first = EncoderFeatures(encoder, "mean", block=1)(images)
        torch.testing.assert_close(first, encoder.norm(seen["first"])[:, 1:].mean(dim=1))
        assert len(encoder.blocks) == 2 and torch.equal(state, torch.random.get_rng_state())

    def test_wrong_choices_are_named(self, no_shape_checks):
        encoder = small_mae().encoder
        with pytest.raises(ValueError, match="block: expected a number from 1 to 2, the encoder's depth, got 3"):
            EncoderFeatures(encoder, block=3)
        with pytest.raises(ValueError, match="pooling: expected one of cls, mean, got 'max'"):
            EncoderFeatures(encoder, "max")  # pyright: ignore[reportArgumentType]

    def test_raw_pixels_are_box_means(self):
        images = torch.arange(2 * 3 * 64 * 32, dtype=torch.float32).reshape(2, 3, 64, 32)
        small = PixelFeatures((64, 32))(images).reshape(2, 3, 16, 16)
        torch.testing.assert_close(small[1, 2, 3, 5], images[1, 2, 12:16, 10:12].mean())
        assert PixelFeatures((8, 24))(images[..., :8, :24]).shape == (2, 3 * 8 * 16)

    def test_random_twin_is_fresh_and_always_the_same(self, no_shape_checks):
        model = small_gmae(seed=3)
        first, second = random_twin(model).state_dict(), random_twin(model).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not torch.equal(first["encoder.cls_token"], model.state_dict()["encoder.cls_token"])
        with pytest.raises(TypeError, match="model: expected a MAE or a GMAE, got"):
            random_twin(torch.nn.Linear(1, 1))  # pyright: ignore[reportArgumentType]


class TestExtraction:
    @pytest.mark.parametrize("batch_size", [1, 4, 64])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_features_come_in_order(self, embedder: EncoderFeatures, batch_size: int, workers: int):
        images = coloured(10)
        found = extract(embedder, images, Extraction(batch_size, workers=workers))
        torch.testing.assert_close(found.values, embedder(pixels(images)).detach(), atol=1e-5, rtol=1e-5)
        assert found.values.dtype == torch.float32 and not found.values.requires_grad
        assert found.indices.tolist() == list(range(10)) and found.unreadable == {}

    def test_bf16_is_near_and_comes_in_float32(self, embedder: EncoderFeatures):
        images = coloured(6)
        exact = extract(embedder, images).values
        rough = extract(embedder, images, Extraction(precision="bf16")).values
        assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
        torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.1)

    @pytest.mark.parametrize("training", [True, False])
    def test_the_model_stays_in_its_mode(self, training: bool):
        model = small_mae().train(training)
        extract(EncoderFeatures(model.encoder), coloured(2))
        assert all(module.training is training for module in model.modules())

    def test_corrupt_images_are_left_out_and_named(self, embedder: EncoderFeatures, tmp_path: Path):
        data = with_corrupt_image(tmp_path)
        found = extract(embedder, data.train, Extraction(batch_size=2, max_unreadable=0.5))
        (name,) = found.unreadable
        assert name == "train/b/bad.jpg" and "truncated" in found.unreadable[name]
        assert found.indices.tolist() == [0, 1, 2, 3, 4]
        with pytest.raises(DataError, match="at most 5.0% of samples to be unreadable, got 1 of 6 .train/b/bad.jpg"):
            extract(embedder, data.train)

    def test_nothing_readable(self, embedder: EncoderFeatures, tmp_path: Path):
        for name in ("train/a", "train/b", "val/a", "val/b"):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "x.png").write_bytes(b"x")
        with pytest.raises(DataError, match="unreadable, got 2 of 2"):
            extract(embedder, open_labelled(tmp_path).train, Extraction(max_unreadable=1.0))

    def test_progress_is_told(self, embedder: EncoderFeatures):
        told: list[tuple[str, int, int]] = []
        extract(embedder, coloured(5), Extraction(batch_size=2), progress=lambda *each: told.append(each))
        assert told == [("features", 2, 5), ("features", 4, 5), ("features", 5, 5)]

    def test_seeded_crops_depend_on_seed_draw_and_place(self):
        image = coloured(1)[0].image
        crops = [SeededCrop(8, 8, seed, draw)(image, index) for seed, draw, index in
                 ((0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]  # fmt: skip
        np.testing.assert_array_equal(crops[0], crops[1])
        assert all((crops[0] != other).any() for other in crops[2:])

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"batch_size": 0}, "batch_size: expected a positive number, got 0"),
            ({"workers": 0}, "workers: expected a positive number, got 0"),
            ({"precision": "fp16"}, "precision: expected one of fp32, bf16, got 'fp16'"),
            ({"max_unreadable": 2.0}, "max_unreadable: expected a number between 0 and 1, got 2.0"),
        ],
    )
    def test_numbers_out_of_range_are_named(self, wrong, message: str, no_shape_checks):
        with pytest.raises(ValueError, match=message):
            Extraction(**wrong)


class TestFeatures:
    def test_statistics_are_those_of_train(self):
        features = planted()
        features.train[:, 3] = 7.0
        features.val[:, 3] = 9.0
        done = features.standardized()
        others = [number for number in range(12) if number != 3]
        torch.testing.assert_close(done.train[:, others].mean(dim=0), torch.zeros(11), atol=1e-5, rtol=0)
        torch.testing.assert_close(done.train[:, others].std(dim=0, correction=0), torch.ones(11))
        expected = (features.val[:, 0] - features.train[:, 0].mean()) / features.train[:, 0].std(correction=0)
        torch.testing.assert_close(done.val[:, 0], expected)
        assert done.train[:, 3].abs().max() == 0 and (done.val[:, 3] == 2.0).all()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"train_labels": torch.tensor([0])}, r"train: expected features \[N, D\] and N labels, got"),
            ({"classes": ("a", "b")}, r"train_labels: expected class numbers in \[0, 2\), got 0 to 2"),
            ({"val": torch.full((60, 12), torch.nan)}, "val: expected finite features, got NaN or infinity"),
            ({"val": torch.zeros(60, 5)}, "val: expected features of 12 numbers like train, got 5"),
        ],
    )
    def test_what_does_not_fit_is_named(self, change, message: str, no_shape_checks):
        features = planted()
        parts = {name: getattr(features, name) for name in ("train", "train_labels", "val", "val_labels", "classes")}
        with pytest.raises(ValueError, match=message):
            Features(**{**parts, **change})


class TestStore:
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        calls: list[int] = []

        def extract_and_count(*arguments):
            calls.append(1)
            return extract(*arguments)

        monkeypatch.setattr(cache, "extract", extract_and_count)
        return calls

    def test_features_are_taken_from_disk(self, embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        calls = self.counted(monkeypatch)
        first = FeatureStore(tmp_path / "kept").features(embedder, coloured(5))
        second = FeatureStore(tmp_path / "kept").features(embedder, coloured(5))
        assert len(calls) == 1 and len(list((tmp_path / "kept").iterdir())) == 1
        assert torch.equal(first.values, second.values) and torch.equal(first.indices, second.indices)

    def test_anything_that_matters_makes_another_key(self, embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        calls = self.counted(monkeypatch)
        encoder = embedder.encoder
        store = FeatureStore(tmp_path)
        store.features(embedder, coloured(5))
        changes = [
            lambda: store.features(embedder, coloured(5, seed=1)),
            lambda: store.features(embedder, coloured(4)),
            lambda: store.features(embedder, coloured(5), SeededCrop(16, 24, 0, 0)),
            lambda: store.features(embedder, coloured(5), SeededCrop(16, 24, 0, 1)),
            lambda: store.features(EncoderFeatures(encoder, "cls"), coloured(5)),
            lambda: store.features(EncoderFeatures(encoder, block=1), coloured(5)),
            lambda: store.features(EncoderFeatures(small_mae(seed=1).eval().encoder), coloured(5)),
            lambda: FeatureStore(tmp_path, Extraction(precision="bf16")).features(embedder, coloured(5)),
        ]
        for number, change in enumerate(changes, start=2):
            change()
            assert len(calls) == number
            change()
            assert len(calls) == number
        FeatureStore(tmp_path, Extraction(batch_size=2, workers=2)).features(embedder, coloured(5))
        assert len(calls) == len(changes) + 1

    def test_a_changed_file_of_the_same_name_and_size_is_noticed(self, embedder, tmp_path: Path):
        from PIL import Image

        for name in ("train/a", "train/b", "val/a", "val/b"):
            (tmp_path / "photos" / name).mkdir(parents=True)
            Image.new("RGB", (24, 16), "red").save(tmp_path / "photos" / name / "x.bmp")
        data = open_labelled(tmp_path / "photos").train
        first = FeatureStore(tmp_path / "kept").features(embedder, data).values
        Image.new("RGB", (24, 16), "blue").save(tmp_path / "photos/train/a/x.bmp")
        second = FeatureStore(tmp_path / "kept").features(embedder, data).values
        assert not torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])

    @pytest.mark.parametrize("damage", ["torn", "empty", "altered", "other"])
    def test_a_damaged_file_is_made_anew(self, embedder, tmp_path: Path, damage: str):
        expected = FeatureStore(tmp_path).features(embedder, coloured(5)).values
        (path,) = tmp_path.iterdir()
        content = bytearray(path.read_bytes())
        content[-3] ^= 0x40
        damaged = {
            "torn": content[:-20],
            "empty": b"",
            "altered": content,
            "other": b"\x10" + bytes(7) + b'{"a": 1}       ',
        }
        path.write_bytes(damaged[damage])
        assert torch.equal(FeatureStore(tmp_path).features(embedder, coloured(5)).values, expected)
        assert torch.equal(FeatureStore(tmp_path).features(embedder, coloured(5)).values, expected)
        assert path.read_bytes()[-3] == content[-3] ^ 0x40

    def test_unreadable_images_are_remembered(self, embedder, tmp_path: Path):
        data = with_corrupt_image(tmp_path / "photos")
        store = FeatureStore(tmp_path / "kept", Extraction(max_unreadable=0.5))
        first, second = store.features(embedder, data.train), store.features(embedder, data.train)
        assert first.unreadable == second.unreadable and len(second.unreadable) == 1


def with_corrupt_image(folder: Path):
    for number in range(3):
        save(folder / f"train/a/{number}.png", number)
        save(folder / f"val/a/{number}.png", number)
        save(folder / f"val/b/{number}.png", number)
    for number in range(2):
        save(folder / f"train/b/{number}.png", number)
    (folder / "train/b/bad.jpg").write_bytes(truncated_jpeg())
    return open_labelled(folder)
