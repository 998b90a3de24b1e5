"""Frozen features in few bytes: bytes against the accuracy of nearest neighbours.

    python -m benchmarks.feature_codes [--model mae-tiny] [--train 50000] [--val 10000] [--features FILE]
        [--json-file benchmarks/results/feature_codes.json]

A packaged model's features of CIFAR-10 are packed by `compression.pack_features`; the training features alone are, as
an index of neighbours would hold them. Stated are sizes beside float32, accuracies before and after, and what a
mixture of priors saves over one prior. Features are kept in `--features`, if it is given.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

from benchmarks.common import table
from benchmarks.packs import FOLDER, Pack
from splatlearn.compression import pack_features, unpack_features
from splatlearn.evaluation import EncoderFeatures, Extraction, Features, extract, knn_scores
from splatlearn.evaluation.probes.probes import accuracy
from splatlearn.models import load_model
from splatlearn.runs.folder import environment

PARTS = (96, 48, 32, 24, 16)
"""Parts of a row, each with a codebook of its own; of 192 numbers."""
COMPONENTS = (1, 4, 16)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Options:
    """What is packed."""

    model: str = "mae-tiny"
    """A packaged model."""
    train: int = 50_000
    """Number of images whose features are packed."""
    val: int = 10_000
    """Number of images whose neighbours are found."""
    parts: tuple[int, ...] = PARTS
    """Numbers of parts of a row."""
    codes: int = 256
    """Entries of each codebook; fewer where there are few images, since codebooks are packed too."""
    components: tuple[int, ...] = COMPONENTS
    """Numbers of components of the mixture of priors."""
    seeds: tuple[int, ...] = SEEDS
    """Of codebooks."""
    folder: Path = FOLDER
    """Folder of the packs."""
    features: Path | None = None
    """File in which features are kept from run to run."""
    json_file: Path | None = None
    """File for all numbers."""


def main(options: Options) -> None:
    """Pack, unpack and score, and print a table and JSON."""
    features = features_of(options)
    whole = 100 * accuracy(knn_scores(features), features)
    size = 4 * features.train.numel()
    print(f"float32: {size:,} bytes, {whole:.2f} %", flush=True)
    rows, found = [], []
    for parts in options.parts:
        for components in options.components:
            for seed in options.seeds:
                begun = time.process_time()
                content = pack_features(features.train, parts, options.codes, components=components, seed=seed)
                packed = time.process_time()
                seen = replace(features, train=unpack_features(content))
                unpacked = time.process_time()
                right = 100 * accuracy(knn_scores(seen), seen)
                each = {"parts": parts, "components": components, "seed": seed, "bytes": len(content)}
                each |= {"knn": right, "pack": packed - begun, "unpack": unpacked - packed}
                found.append(each)
                numbers = (f"{size / len(content):.1f}", f"{right:.2f}", f"{right - whole:+.2f}")
                rows.append((str(parts), str(components), str(seed), *numbers))
                print("  ".join(rows[-1]), flush=True)
    print(table(("parts", "components", "seed", "times smaller", "kNN %", "change"), rows))
    result = {"environment": environment() | {"command": "benchmarks.feature_codes"}, "model": options.model}
    result |= {
        "train": len(features.train),
        "val": len(features.val),
        "codes": options.codes,
        "bytes": size,
        "knn": whole,
        "results": found,
    }
    print(json.dumps(result))
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(result, indent=1) + "\n")


def features_of(options: Options) -> Features:
    """The features of both parts of CIFAR-10, computed where the file has none."""
    packs = [
        Pack("cifar10", part, count, options.folder)
        for part, count in (("train", options.train), ("test", options.val))
    ]
    if options.features is not None and options.features.is_file():
        stored = load_file(options.features)
    else:
        embedder = EncoderFeatures(load_model(options.model).encoder)
        extraction = Extraction(64, "cpu", "fp32", 1)
        stored = {
            name: extract(embedder, pack, extraction).values for name, pack in zip(("train", "val"), packs, strict=True)
        }
        if options.features is not None:
            save_file(stored, options.features)
    labels = [torch.from_numpy(pack.labels) for pack in packs]
    return Features(stored["train"], labels[0], stored["val"], labels[1], tuple(packs[0].class_names))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
