"""All probes of one model on one labelled set, beside their controls."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from splatlearn.core.kinds import check_kind
from splatlearn.data import sample_order
from splatlearn.data.labelled import Labelled, LabelledImages, open_labelled
from splatlearn.evaluation.features.cache import FeatureStore, weights_digest
from splatlearn.evaluation.features.embedders import Embedder, EncoderFeatures, PixelFeatures, random_twin
from splatlearn.evaluation.features.extraction import Extraction, Features, Progress
from splatlearn.evaluation.features.reading import SeededCrop
from splatlearn.evaluation.options import EvaluationOptions
from splatlearn.evaluation.probes.diagnostics import alignment, effective_rank, uniformity
from splatlearn.evaluation.probes.probes import budgets_of, probe_scores
from splatlearn.evaluation.results import Evaluation, Subject
from splatlearn.models import load_model
from splatlearn.models.masked_autoencoder import MaskedAutoencoder

DIAGNOSED = 1000
"""Validation images whose views are compared."""


def evaluate(
    model: str | Path | MaskedAutoencoder,
    data: str | Path | Labelled,
    options: EvaluationOptions | None = None,
    extraction: Extraction | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Probe what a model's features know about labelled images.

    - `model`: a run, checkpoint or model folder, a Hub id, or a MAE or GMAE.
    - `data`: what `open_labelled` opens, or what it gave.
    - `cache`: folder that keeps features; None computes them anew.
    - `progress`: told what is being done.

    The same arguments give the same numbers, bit for bit on one device. Raises what loading and opening raise, and
    ValueError for options that do not fit the model or the data.
    """
    options = options or EvaluationOptions()
    extraction = extraction or Extraction()
    check_kind("model", model, str, Path, MaskedAutoencoder)
    loaded = load_model(model) if isinstance(model, str | Path) else model
    embedder = EncoderFeatures(loaded.encoder, options.pooling, options.block)
    labelled = data if isinstance(data, Labelled) else open_labelled(data)
    if "few-shot" in options.probes:
        # Known before the features are, which take long.
        budgets_of(torch.from_numpy(labelled.train.labels), labelled.classes, options)
    store = FeatureStore(cache, extraction, progress)
    embedders: dict[str, Embedder] = {"model": embedder}
    if options.controls:
        twin = random_twin(loaded)
        embedders["random weights"] = EncoderFeatures(twin.encoder, options.pooling, options.block)
        embedders["raw pixels"] = PixelFeatures(embedder.image_size)
    subjects: list[Subject] = []
    unreadable: dict[str, str] = {}
    counts = (0, 0)
    for name, each in embedders.items():
        features, failed = _features(each, labelled, store)
        unreadable.update(failed)
        counts = (len(features.train), len(features.val))
        scores = probe_scores(features.standardized(), options, name, progress)
        diagnostics = _diagnostics(each, labelled.val, features, store, options.seed) if options.diagnostics else {}
        subjects.append(Subject(name, features.train.shape[1], scores, diagnostics))
    members = torch.bincount(torch.from_numpy(labelled.val.labels))
    return Evaluation(
        data=labelled.train.source.description,
        split=labelled.split,
        contents="-".join(store.digest(part) for part in (labelled.train, labelled.val)),
        classes=labelled.classes,
        train_images=counts[0],
        val_images=counts[1],
        features=options.features_name,
        weights=weights_digest(loaded.encoder),
        chance=float(members.max() / members.sum()),
        seed=options.seed,
        subjects=tuple(subjects),
        unreadable=unreadable,
    )


def _features(embedder: Embedder, labelled: Labelled, store: FeatureStore) -> tuple[Features, dict[str, str]]:
    train, val = (store.features(embedder, part) for part in (labelled.train, labelled.val))
    labels = [
        torch.from_numpy(part.labels)[found.indices] for part, found in ((labelled.train, train), (labelled.val, val))
    ]
    features = Features(train.values, labels[0], val.values, labels[1], labelled.classes)
    return features, {**train.unreadable, **val.unreadable}


def _diagnostics(
    embedder: Embedder, images: LabelledImages, features: Features, store: FeatureStore, seed: int
) -> dict[str, float]:
    """Diagnostics of standardised features: the rank of validation images, the others of random crops."""
    order = sample_order(len(images), seed, 0)
    shown = images.part(order(np.arange(min(len(images), DIAGNOSED))))
    views = [store.features(embedder, shown, SeededCrop(*embedder.image_size, seed, draw)) for draw in (0, 1)]
    labels = torch.from_numpy(shown.labels)
    first, second = (
        dataclasses.replace(features, val=view.values, val_labels=labels[view.indices]).standardized().val
        for view in views
    )
    return {
        "effective rank": effective_rank(features.standardized().val),
        "alignment": alignment(first, second),
        "uniformity": uniformity(first),
    }
