"""All read-outs of one model of splat sets, beside its controls."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from splatlearn.data import identify
from splatlearn.data.image_sets.samples import SampleSource
from splatlearn.data.labelled import Labelled
from splatlearn.evaluation.features.cache import weights_digest
from splatlearn.evaluation.features.extraction import Progress
from splatlearn.evaluation.options import EvaluationOptions
from splatlearn.evaluation.probes.diagnostics import effective_rank
from splatlearn.evaluation.probes.probes import budgets_of, probe_scores
from splatlearn.evaluation.results import Evaluation, Subject
from splatlearn.evaluation.sets.completion import completion
from splatlearn.evaluation.sets.features import (
    SetExtraction,
    labelled_features,
    random_set_twin,
    set_features,
    statistics,
)
from splatlearn.evaluation.sets.robustness import robustness
from splatlearn.models.splats.presets import SplatModel
from splatlearn.models.splats.splat_mae import SplatMAE


def evaluate_sets(
    model: SplatModel,
    labelled: Labelled,
    options: EvaluationOptions | None = None,
    extraction: SetExtraction | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Probe what a model's features know about labelled splat sets; the probes are those of images.

    Features are the mean and the maximum of the group tokens. Controls: the same of random weights, and statistics of
    the attributes. Raises what reading raises, and InputError for options that do not fit the data.
    """
    options, extraction = options or EvaluationOptions(), extraction or SetExtraction()
    if "few-shot" in options.probes:
        budgets_of(torch.from_numpy(labelled.train.labels), labelled.classes, options)
    embedders = {"model": partial(set_features, model, extraction=extraction, progress=progress)}
    if options.controls:
        twin = random_set_twin(model).to(extraction.device)
        embedders["random weights"] = partial(set_features, twin, extraction=extraction, progress=progress)
        embedders["statistics"] = partial(statistics, count=model.config.encoder.draw, extraction=extraction)
    subjects: list[Subject] = []
    unreadable: dict[str, str] = {}
    counts = (0, 0)
    for name, embed in embedders.items():
        features, failed = labelled_features(embed, labelled)
        unreadable.update(failed)
        counts = (len(features.train), len(features.val))
        ready = features.standardized()
        diagnostics = {"effective rank": effective_rank(ready.val)} if options.diagnostics else {}
        subjects.append(
            Subject(name, features.train.shape[1], probe_scores(ready, options, name, progress), diagnostics)
        )
    members = torch.bincount(torch.from_numpy(labelled.val.labels))
    return Evaluation(
        data=labelled.train.source.description,
        split=labelled.split,
        contents="-".join(identify(part).fingerprint for part in (labelled.train, labelled.val)),
        classes=labelled.classes,
        train_images=counts[0],
        val_images=counts[1],
        features="mean and maximum of group tokens",
        weights=weights_digest(model.encoder),
        chance=float(members.max() / members.sum()),
        seed=options.seed,
        subjects=tuple(subjects),
        unreadable=unreadable,
    )


def robustness_of(model: SplatModel, source: SampleSource, extraction: SetExtraction | None = None) -> dict[str, Any]:
    """Drift, retrieval of partial views, and completion where the model can; as JSON has them."""
    found = robustness(model, source, extraction=extraction)
    told: dict[str, Any] = {"drift": found.drift, "recall": {str(key): each for key, each in found.recall.items()}}
    told["recall_area"] = found.area
    if isinstance(model, SplatMAE) and model.config.encoder.scale_numbers == "log":
        told["completion"] = asdict(completion(model, source, extraction=extraction))
    return told
