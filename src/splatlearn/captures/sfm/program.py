"""The program of the process that computes cameras: pycolmap alone, which brings an OpenMP runtime of its own.

It is run as a file, imports nothing of the package, and takes one argument, a file with a JSON object: `images`,
`names`, `work`, `camera_model`, `single_camera`, `matching`, `mapper`, `max_size`. It prints a line of JSON for each
event, and ends when its standard input does, that is, when the process that started it has ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pycolmap


def say(**event: object) -> None:
    """Print an event for the process that waits."""
    print(json.dumps(event), flush=True)


def end_with_the_caller() -> None:
    """Wait for the end of the standard input, and end this process."""
    # Not by sys.stdin, whose lock would be held when the interpreter shuts down.
    while os.read(0, 1):
        pass
    os._exit(1)


def run(job: dict) -> None:
    """Compute features, matches and cameras; models lie in `work/models/N` at the end."""
    work = Path(job["work"])
    database, models = work / "database.db", work / "models"
    models.mkdir()
    pycolmap.set_random_seed(0)
    reader = pycolmap.ImageReaderOptions(camera_model=job["camera_model"])
    extraction = pycolmap.FeatureExtractionOptions(max_image_size=job["max_size"])
    mode = pycolmap.CameraMode.SINGLE if job["single_camera"] else pycolmap.CameraMode.AUTO
    say(stage="features")
    pycolmap.extract_features(
        database,
        job["images"],
        image_names=job["names"],
        camera_mode=mode,
        reader_options=reader,
        extraction_options=extraction,
    )
    say(stage="matches")
    if job["matching"] == "exhaustive":
        pycolmap.match_exhaustive(database)
    else:
        pycolmap.match_sequential(database, pairing_options=pycolmap.SequentialPairingOptions(overlap=10))
    say(stage="cameras")
    if job["mapper"] == "global":
        found = pycolmap.global_mapping(database, job["images"], models)
    else:
        registered = [2]  # the first pair comes without a call

        def next_image() -> None:
            registered[0] += 1
            say(registered=registered[0])

        options = pycolmap.IncrementalPipelineOptions(random_seed=0)
        found = pycolmap.incremental_mapping(
            database,
            job["images"],
            models,
            options,
            initial_image_pair_callback=lambda: say(registered=2),
            next_image_callback=next_image,
        )
    for number, model in found.items():
        names = [model.image(each).name for each in model.reg_image_ids()]
        say(model=number, names=sorted(names), points=model.num_points3D())


if __name__ == "__main__":
    threading.Thread(target=end_with_the_caller, daemon=True).start()
    run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
