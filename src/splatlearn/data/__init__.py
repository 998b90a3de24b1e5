"""Images: reading, augmentation, order and batches."""

from splatlearn.data.augment import RandomResizedCrop, resize_center_crop
from splatlearn.data.batch import Batch, Example, UnreadableCounter
from splatlearn.data.dataset import PretrainingDataset, TrainingDataset
from splatlearn.data.images import UnreadableImage, decode
from splatlearn.data.labelled import Labelled, LabelledImages, labelled_parts, open_labelled
from splatlearn.data.left_out import LeftOut, left_out_of
from splatlearn.data.loader import PretrainingLoader
from splatlearn.data.order import KeyedPermutation, sample_order
from splatlearn.data.pack import PackOptions, pack_folder
from splatlearn.data.photos import HELD_OUT_PHOTOS, Photo, photo_crops, sample_photos, split_photos
from splatlearn.data.randomness import Purpose, generator
from splatlearn.data.samples import DataError, ImageList, ImageSource, Sample, StoredImage, StoredSource, StreamedSource
from splatlearn.data.source import open_source
from splatlearn.data.windows import StreamShape

__all__ = [
    "HELD_OUT_PHOTOS",
    "Batch",
    "DataError",
    "Example",
    "ImageList",
    "ImageSource",
    "KeyedPermutation",
    "Labelled",
    "LabelledImages",
    "LeftOut",
    "PackOptions",
    "Photo",
    "PretrainingDataset",
    "PretrainingLoader",
    "Purpose",
    "RandomResizedCrop",
    "Sample",
    "StoredImage",
    "StoredSource",
    "StreamShape",
    "StreamedSource",
    "TrainingDataset",
    "UnreadableCounter",
    "UnreadableImage",
    "decode",
    "generator",
    "labelled_parts",
    "left_out_of",
    "open_labelled",
    "open_source",
    "pack_folder",
    "photo_crops",
    "resize_center_crop",
    "sample_order",
    "sample_photos",
    "split_photos",
]
