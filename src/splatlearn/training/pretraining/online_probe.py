"""Probes during pre-training: what the encoder knows about labelled images, every few epochs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from splatlearn.core.randomness import Purpose, generator
from splatlearn.data.image_sets.samples import ImageSource
from splatlearn.data.labelled import Labelled, LabelledImages, labelled_parts, open_labelled
from splatlearn.evaluation.choices import NEIGHBOURS
from splatlearn.evaluation.features.embedders import EncoderFeatures
from splatlearn.evaluation.features.extraction import Extraction, Features, extract
from splatlearn.evaluation.probes.knn import knn_scores
from splatlearn.evaluation.probes.linear import logistic_scores
from splatlearn.models.masked_autoencoder import MaskedAutoencoder
from splatlearn.training.pretraining.probe_options import ProbeOptions


class OnlineProbe:
    """Two probes on a fixed choice of labelled images: weighted kNN and logistic regression.

    - `options`: with `probe_every` above 0.
    - `default`: what is read where the options name no data.

    The images are chosen once, by a keyed order: they are the same at every probe, in every run and after resuming.
    Raises DataError for data without labels.
    """

    def __init__(self, options: ProbeOptions, default: str | ImageSource) -> None:
        self.options = options
        labelled = _open(options.probe_data or default)
        self.train = _balanced(labelled.train, options.probe_images)
        self.val = _balanced(labelled.val, options.probe_images)
        self.classes = labelled.classes

    def __call__(self, model: MaskedAutoencoder, extraction: Extraction) -> dict[str, float]:
        """Accuracies `probe_knn` and `probe_linear` in [0, 1]; the model is left as it was."""
        embedder = EncoderFeatures(model.encoder, self.options.probe_pooling)
        train, val = (extract(embedder, part, extraction) for part in (self.train, self.val))
        features = Features(
            train.values.cpu(),
            torch.from_numpy(self.train.labels)[train.indices],
            val.values.cpu(),
            torch.from_numpy(self.val.labels)[val.indices],
            self.classes,
        ).standardized()
        neighbours = min(NEIGHBOURS, len(features.train))
        return {
            "probe_knn": _accuracy(knn_scores(features, neighbours), features),
            "probe_linear": _accuracy(logistic_scores(features).scores, features),
        }


def _open(data: str | ImageSource) -> Labelled:
    return open_labelled(data) if isinstance(data, str) else labelled_parts(data)


def _balanced(images: LabelledImages, count: int) -> LabelledImages:
    """At most `count` images, in turn one of each class."""
    if len(images) <= count:
        return images
    order = generator(0, 0, 0, Purpose.SPLIT).permutation(len(images))
    turn = np.empty(len(images), dtype=np.int64)
    for label in np.unique(images.labels):
        members = order[images.labels[order] == label]
        turn[members] = np.arange(len(members))
    chosen = order[np.argsort(turn[order], kind="stable")][:count]
    return images.part(np.sort(chosen))


def _accuracy(scores: Tensor, features: Features) -> float:
    return float((scores.argmax(dim=1) == features.val_labels).double().mean())
