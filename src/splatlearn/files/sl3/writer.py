"""Writing of .sl3; `reader` says what a file looks like."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from splatlearn.core.gaussians import Gaussians
from splatlearn.files.sl3 import coder, encoder, tokens
from splatlearn.files.sl3.header import HEAD, MAGIC, VERSION
from splatlearn.files.sl3.numbers import in_steps, parts_of
from splatlearn.files.sl3.quantising import Sensitivities, Table, quantised
from splatlearn.files.stored import morton_order, to_stored

FRAME = "RDF"


def sl3_bytes(
    gaussians: Gaussians,
    antialiased: bool = False,
    coarseness: float = 1.0,
    frame: str = FRAME,
    known: Sensitivities | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> bytes:
    """A file of Gaussians [K] with `sh`, which are in `frame`; they are put into the order of a Morton curve.

    - `coarseness`: multiplies all steps.
    - `known`: how much pictures change with the numbers of each Gaussian; steps then follow from it.
    - `told` is called with how much is done and how much there is.

    The numbers of all Gaussians are there once more while it works, as int32, and their tokens as bytes. Raises
    InputError as `to_stored` does.
    """
    stored = to_stored(gaussians)
    # Entropy coding takes most of the time; the parts before it are as steps of it.
    rows, columns = gaussians.count, sum(parts_of(gaussians.degree).values())
    length = -(-rows // coder.lanes_for(rows, columns))
    before = 1 + length // 4
    order = morton_order(stored.means)
    table = quantised(stored, coarseness, None if known is None else known.reordered(order), order)
    is_difference = _folded_differences(table)
    found, bits = encoder.tokens_of(table.all)
    steps, basis = table.features.steps, table.basis
    del table
    told(before, before + length)
    model = encoder.fitted_model(found, tokens.SIZES, [*parts_of(gaussians.degree).values()])
    content = basis.astype("<i2").tobytes() + model.thresholds.tobytes() + model.places.tobytes()
    sections = {
        "model": zlib.compress(content, 9),
        "tokens": encoder.encode(found, model, lambda done: told(before + done, before + length)),
        "bits": bits,
    }
    header = {
        "count": gaussians.count,
        "degree": gaussians.degree,
        "frame": frame,
        "antialiased": antialiased,
        "writer": "splatlearn",
        "steps": asdict(steps),
        "differences": "".join("01"[int(each)] for each in is_difference),
        "sections": {name: [len(each), zlib.crc32(each)] for name, each in sections.items()},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return HEAD.pack(MAGIC, VERSION, len(text)) + text + b"".join(sections.values())


def _folded_differences(table: Table) -> Bool[np.ndarray, " C"]:
    """Fold the numbers of a table in place, as differences where these take fewer bits; returns where that is."""
    lanes = coder.lanes_for(*table.all.shape)
    chosen: list[bool] = []
    for part, columns in table.numbers.items():
        shifts = table.features.shifts(part)
        for column in columns.T:
            exact = column.astype(np.int64)
            differences = exact - predicted(exact[:, None], shifts, lanes)[:, 0]
            folded = [encoder.folded(each) for each in (exact, differences)]
            chosen.append(bool(_bits_of(folded[1]) < _bits_of(folded[0])))
            column[:] = folded[chosen[-1]]
    return np.array(chosen)


def predicted(
    numbers: Int64[np.ndarray, "K P"], shifts: Int64[np.ndarray, " K"], lanes: int
) -> Int64[np.ndarray, "K P"]:
    """The number above each one in its lane, in the steps of its own row; 0 in the first row of a lane."""
    found = np.zeros_like(numbers)
    found[1:] = in_steps(numbers[:-1] << shifts[:-1, None], shifts[1:])
    found[:: -(-len(numbers) // lanes)] = 0
    return found


def _bits_of(folded: Shaped[np.ndarray, " K"]) -> int:
    """About the number of bits of a column: the entropy of its tokens, and the bits beside them."""
    symbols, rest = encoder.tokens_of(folded)
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / len(folded)
    return int(-len(folded) * float((shares * np.log2(shares)).sum()) + 8 * len(rest))
