"""Features of splat sets: the pooled tokens of an encoder, and controls.

Letters in shapes: N sets, K Gaussians of a set, D numbers of a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from splatlearn.core.numbers import check_number, check_whole
from splatlearn.data import UnreadableCounter, UnreadableSplats
from splatlearn.data.image_sets.samples import SampleSource
from splatlearn.data.labelled import Labelled, LabelledImages
from splatlearn.data.splat_sets.dataset import Drawing, SplatDataset
from splatlearn.evaluation.features.extraction import Features, Progress
from splatlearn.evaluation.masked.reconstruction import evaluating
from splatlearn.models.splats.presets import SplatModel, model_of

RANDOM_SEED = 0
"""Seed of the random weights that a trained encoder is compared with."""


@dataclass(frozen=True)
class SetExtraction:
    """Options of the extraction of features of sets.

    - `batch_size`: sets of one forward pass; `device`: where.
    - `seed`, `draw`: of the Gaussians that are drawn of each set; other draws are independent of one another.
    - `max_unreadable`: share of the sets that may be unreadable; those are left out.
    - `keep`: fraction of a set's Gaussians that are there, on one side of a random plane.
    """

    batch_size: int = 64
    device: str | torch.device = "cpu"
    seed: int = 0
    draw: int = 0
    max_unreadable: float = 0.05
    keep: float = 1.0

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size, 1)
        check_whole("draw", self.draw, 0)
        check_number("keep", self.keep, above=0, most=1)


@dataclass(frozen=True, eq=False)
class SetFeatures:
    """Features [N, D] of the readable sets at `indices` [N] of a source; the others by name, with the reason."""

    values: Float[Tensor, "N D"]
    indices: Int64[Tensor, " N"]
    unreadable: dict[str, str]


def pooled(tokens: Float[Tensor, "B T D"]) -> Float[Tensor, "B 2*D"]:
    """The mean and the maximum of a set's group tokens, side by side; the class token is left out."""
    return torch.cat([tokens[:, 1:].mean(dim=1), tokens[:, 1:].amax(dim=1)], dim=1)


def sets_of(
    source: SampleSource | LabelledImages, count: int, extraction: SetExtraction, unreadable: UnreadableCounter
) -> list[tuple[int, Float[Tensor, "K 14"]]]:
    """The attributes of all readable sets, with their indices: placed, then drawn, by index-keyed randomness."""
    dataset = SplatDataset(source, Drawing(count, keep=extraction.keep), seed=extraction.seed)  # pyright: ignore[reportArgumentType]
    found: list[tuple[int, Tensor]] = []
    for index in range(len(source)):
        try:
            found.append((index, torch.from_numpy(dataset.attributes(extraction.draw, index))))
        except UnreadableSplats as error:
            unreadable.add([(error.name, error.reason)])
    unreadable.check(extraction.max_unreadable, len(source))
    return found


@torch.no_grad()
def set_features(
    model: SplatModel,
    source: SampleSource | LabelledImages,
    extraction: SetExtraction | None = None,
    progress: Progress | None = None,
) -> SetFeatures:
    """Features of all sets of a source, in its order; the same arguments give the same bits on one device.

    Raises DataError when more sets are unreadable than allowed.
    """
    extraction = extraction or SetExtraction()
    counter = UnreadableCounter()
    sets = sets_of(source, model.config.encoder.draw, extraction, counter)
    made: list[Tensor] = []
    with evaluating(model):
        for start in range(0, len(sets), extraction.batch_size):
            batch = torch.stack([each for _, each in sets[start : start + extraction.batch_size]])
            made.append(pooled(model.encode(batch.to(extraction.device))).float().cpu())
            if progress is not None:
                progress("features", min(len(sets), start + extraction.batch_size), len(sets))
    return SetFeatures(torch.cat(made), torch.tensor([index for index, _ in sets]), counter.reasons)


def labelled_features(
    embed: Callable[[LabelledImages], SetFeatures], labelled: Labelled
) -> tuple[Features, dict[str, str]]:
    """The features of both parts of labelled sets, and what of them could not be read."""
    found = [embed(part) for part in (labelled.train, labelled.val)]
    labels = [
        torch.from_numpy(part.labels)[each.indices]
        for part, each in zip((labelled.train, labelled.val), found, strict=True)
    ]
    features = Features(found[0].values, labels[0], found[1].values, labels[1], labelled.classes)
    return features, {**found[0].unreadable, **found[1].unreadable}


def statistics(
    source: SampleSource | LabelledImages, count: int, extraction: SetExtraction | None = None
) -> SetFeatures:
    """Mean and standard deviation of each attribute of a set, 28 numbers: what no learning at all gives."""
    extraction = extraction or SetExtraction()
    counter = UnreadableCounter()
    sets = sets_of(source, count, extraction, counter)
    values = [torch.cat([each.mean(dim=0), each.std(dim=0, correction=0)]) for _, each in sets]
    return SetFeatures(torch.stack(values), torch.tensor([index for index, _ in sets]), counter.reasons)


def random_set_twin(model: SplatModel, seed: int = RANDOM_SEED) -> SplatModel:
    """A model of the same configuration with fresh weights: the control that says what training added."""
    with torch.random.fork_rng(devices=[]):
        return model_of(model.config, torch.Generator().manual_seed(seed)).eval()


def part_of(extraction: SetExtraction, keep: float, draw: int) -> SetExtraction:
    """The same of partial views, and of other draws."""
    return replace(extraction, keep=keep, draw=draw)
