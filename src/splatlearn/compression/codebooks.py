"""Vector quantisation with residual codebooks: each stage codes what the stages before it left."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from splatlearn.core.errors import InputError
from splatlearn.core.numbers import check_whole
from splatlearn.files.sl3 import encoder

MOST_CODES = 256
"""Codes of a stage fill a byte."""
MOST_SAMPLES = 65_536
"""k-means sees at most this many rows, evenly chosen."""
ITERATIONS = 50


@dataclass(frozen=True, eq=False)
class ResidualCodes:
    """Rows [N, D] as the sum of one entry of each of S codebooks.

    - `codebooks` [S, C, D]; `labels` [N, S].
    """

    codebooks: Float[Tensor, "S C D"]
    labels: UInt8[Tensor, "N S"]

    def decoded(self, stages: int | None = None) -> Float[Tensor, "N D"]:
        """Return the rows that the first `stages` stages stand for, by default all of them."""
        count = len(self.codebooks) if stages is None else stages
        parts = [self.codebooks[stage][self.labels[:, stage].long()] for stage in range(count)]
        return torch.stack(parts).sum(dim=0)

    @property
    def size(self) -> int:
        """Size in bytes of the labels behind an entropy coder with its model, and of the codebooks in float16."""
        labels = self.labels.numpy()
        size = 2 * self.codebooks.numel()
        for stage in labels.T:
            counts = np.bincount(stage, minlength=self.codebooks.shape[1])
            model = encoder.fitted_model(stage[:, None], np.zeros(len(counts), np.uint8), [1])
            size += len(encoder.encode(stage[:, None], model)) + len(counts)
        return size


def residual_codes(rows: Float[Tensor, "N D"], stages: int, codes: int, seed: int = 0) -> ResidualCodes:
    """Fit residual codebooks to rows by k-means, stage by stage (Juang and Gray 1982; Compact3DGS for Gaussians).

    - `rows`: float, N at least 1; `stages`: number of codebooks S; `codes`: entries C of each, at most 256.
    - `seed`: of the first entries (k-means++).

    The squared residual never rises from one stage to the next. Raises InputError for numbers out of range.
    """
    check_whole("stages", stages, 1)
    check_whole("codes", codes, 1, MOST_CODES)
    if not len(rows):
        raise InputError("rows: expected at least one, got none")
    rest = rows.detach().double().cpu().numpy()
    books, labels = [], []
    for stage in range(stages):
        book = _codebook(rest, codes, seed + stage)
        chosen = _nearest(rest, book)
        rest = rest - book[chosen]
        books.append(np.pad(book, ((0, codes - len(book)), (0, 0))))
        labels.append(chosen)
    return ResidualCodes(
        torch.from_numpy(np.stack(books)).to(rows.dtype), torch.from_numpy(np.stack(labels, axis=1).astype(np.uint8))
    )


def _codebook(rows: Float[np.ndarray, "N D"], codes: int, seed: int) -> Float[np.ndarray, "C D"]:
    """At most `codes` entries; the first is zero, so that no row becomes longer by a stage."""
    # scikit-learn takes longer to import than all of this package.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    zero = np.zeros((1, rows.shape[1]))
    if codes == 1:
        return zero
    seen = rows[:: math.ceil(len(rows) / MOST_SAMPLES)]
    means = KMeans(min(codes - 1, len(seen)), n_init="auto", max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        # Rows that are the same need fewer entries than there are.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means.fit(seen)
    return np.concatenate([zero, means.cluster_centers_])


def _nearest(rows: Float[np.ndarray, "N D"], book: Float[np.ndarray, "C D"]) -> Int64[np.ndarray, " N"]:
    from sklearn.metrics import pairwise_distances_argmin

    return np.asarray(pairwise_distances_argmin(rows, book), np.int64)
