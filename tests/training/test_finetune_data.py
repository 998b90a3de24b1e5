from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.pictures import save, truncated_jpeg
from splatlearn.data import ImageList, PretrainingLoader, RandomResizedCrop, resize_center_crop
from splatlearn.data.labelled import open_labelled
from splatlearn.images import DataError
from splatlearn.training import AugmentOptions
from splatlearn.training.finetuning.data import FinetuneDataset, LabelledBatch
from splatlearn.training.finetuning.validation import ValidationImages
from training.small_finetune import two_classes

CROP = RandomResizedCrop(8, 12)


def batches(workers: int, epoch: int = 0, augment: AugmentOptions | None = None) -> list[LabelledBatch]:
    dataset = FinetuneDataset(two_classes(10), CROP, augment or AugmentOptions(), seed=3)
    return list(PretrainingLoader(dataset, 3, workers).batches(epoch))


def same(one: LabelledBatch, other: LabelledBatch) -> bool:
    names = ("images", "labels", "operations", "strengths", "boxes", "indices")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def test_batches_do_not_depend_on_workers_and_change_with_the_epoch() -> None:
    here, there = batches(0), batches(2)
    assert len(here) == 3 and all(same(one, other) for one, other in zip(here, there, strict=True))
    assert not same(here[0], batches(0, epoch=1)[0])


def test_labels_are_those_of_the_images() -> None:
    for batch in batches(0):
        assert torch.equal(batch.labels, batch.indices % 2)
        assert batch.images.shape == (3, 3, 8, 12) and batch.operations.shape == (3, 2) and batch.boxes.shape == (3, 4)


def test_nothing_is_drawn_without_rand_augment() -> None:
    assert batches(0, augment=AugmentOptions(rand_augment=0.0))[0].operations.shape == (3, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five pictures in each part, of which one training and one validation picture is torn."""
    for part in ("train", "val"):
        for index in range(10):
            save(tmp_path / part / "ab"[index % 2] / f"{index}.png", seed=index)
    (tmp_path / "train" / "a" / "2.jpg").write_bytes(truncated_jpeg())
    (tmp_path / "val" / "b" / "3.jpg").write_bytes(truncated_jpeg())
    return tmp_path


def test_an_unreadable_image_is_replaced_with_its_label(folder: Path) -> None:
    data = open_labelled(folder)
    dataset = FinetuneDataset(data.train, CROP, AugmentOptions(), seed=0)
    examples = [dataset[0, index] for index in range(len(data.train))]
    named = [bad for example in examples for bad in example.unreadable]
    assert [name for name, _ in named] == ["train/a/2.jpg"]
    place = next(index for index, example in enumerate(examples) if example.unreadable)
    assert examples[place].label == examples[place + 1].label


def test_validation_images_are_whole_and_in_order() -> None:
    source = two_classes(7)
    read = list(ValidationImages(source, (8, 8), 1.0, 0.1).batches(3, 2))
    assert [len(labels) for _, labels in read] == [3, 3, 1]
    assert torch.cat([labels for _, labels in read]).tolist() == [0, 1, 0, 1, 0, 1, 0]
    expected = np.stack([resize_center_crop(source[index].image, 8, 8) for index in range(7)])
    assert np.array_equal(torch.cat([images for images, _ in read]), expected)


def test_a_share_of_the_centre() -> None:
    """Half of the side of a picture whose outer half is black and whose centre is white."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[8:24, 16:32] = 255
    source = ImageList([pixels], ["a"], [1])
    ((whole, _),) = ValidationImages(source, (8, 8), 1.0, 0.1).batches(4, 1)
    ((centre, _),) = ValidationImages(source, (8, 8), 0.5, 0.1).batches(4, 1)
    assert 0.2 < (whole > 127).float().mean() < 0.3 and (centre > 127).all()


def test_validation_leaves_out_and_counts_what_cannot_be_read(folder: Path) -> None:
    data = open_labelled(folder)
    validation = ValidationImages(data.val, (8, 8), 1.0, 0.2)
    assert sum(len(labels) for _, labels in validation.batches(4, 2)) == 10 and len(validation.unreadable) == 1
    with pytest.raises(DataError, match="at most 1.0% of samples to be unreadable, got 1 of 11"):
        list(ValidationImages(data.val, (8, 8), 1.0, 0.01).batches(4, 2))


class Constant(torch.nn.Module):
    """Says class 1 with logits (0, 1) of every image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([0.0, 1.0]).expand(len(images), 2)


def test_scores_by_hand() -> None:
    scores = ValidationImages(two_classes(5), (8, 8), 1.0, 0.1).score(Constant(), 2, torch.device("cpu"))
    assert (scores.top1, scores.images) == (pytest.approx(0.4), 5)
    assert scores.loss == pytest.approx((3 * np.log(1 + np.e) + 2 * np.log(1 + 1 / np.e)) / 5, rel=1e-6)


def test_a_label_is_needed() -> None:
    source = ImageList([Image.new("RGB", (16, 16))] * 4, list("abcd"))
    with pytest.raises(DataError, match="expected a label of every image, got none for a"):
        FinetuneDataset(source, CROP, AugmentOptions(), 0)[0, 0]
    with pytest.raises(DataError, match="expected a label of every image, got none for a"):
        list(ValidationImages(source, (8, 8), 1.0, 0.1).batches(2, 1))
