"""`splatlearn evaluate RUN --data SPLATS` of a model of splat sets."""

from __future__ import annotations

import json
from pathlib import Path

from splatlearn.cli.choices import Machine
from splatlearn.core.device import choose_device
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.errors import InputError
from splatlearn.data import open_labelled_splats
from splatlearn.evaluation.options import EvaluationOptions


def evaluate_splats(run: str, data: str | None, out: Path, options: EvaluationOptions, machine: Machine) -> int:
    """Probe features of labelled splat sets, print the scores, and write evaluation.json and robustness.json."""
    from splatlearn.cli.evaluating import print_evaluation, write_report
    from splatlearn.cli.notes import note_left_out
    from splatlearn.cli.progress import progress_bar
    from splatlearn.evaluation import save_evaluation
    from splatlearn.evaluation.sets.features import SetExtraction
    from splatlearn.evaluation.sets.suite import evaluate_sets, robustness_of
    from splatlearn.images import left_out_of
    from splatlearn.models import load_splat_model

    if data is None:
        raise InputError("data: expected a folder of labelled splat files (--data), got none")
    device = choose_device(machine.device)
    model = load_splat_model(run, device)
    labelled = open_labelled_splats(data)
    note_left_out(data, left_out_of(labelled.train, labelled.val))
    extraction = SetExtraction(machine.batch_size, device, max_unreadable=machine.max_unreadable)
    with progress_bar() as told:
        evaluation = evaluate_sets(model, labelled, options, extraction, told)
    save_evaluation(out, evaluation)
    print_evaluation(evaluation, "splat set")
    found = robustness_of(model, labelled.val, extraction)
    write_whole(out / "robustness.json", json.dumps(found, indent=2) + "\n")
    recall = ", ".join(f"{float(share):.0%}: {value:.1%}" for share, value in found["recall"].items())
    print(f"drift between two draws {found['drift']:.3f}; own object found with Gaussians removed: {recall}")
    if "completion" in found:
        made = found["completion"]
        print(
            f"completion of hidden groups: Chamfer {made['chamfer']:.4f}, {made['psnr']:.2f} dB; copies of the nearest "
            f"visible group: {made['copied_chamfer']:.4f}, {made['copied_psnr']:.2f} dB"
        )
    print(f"done: {out / 'evaluation.json'}, {write_report(out)}")
    return 0
