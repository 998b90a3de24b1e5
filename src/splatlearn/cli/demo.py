"""`splatlearn demo`: the whole story on sample photographs, in minutes on two CPU cores."""

from __future__ import annotations


def demo_command(
    out: str = "runs/demo",
    short: bool = False,
    seed: int = 0,
    device: str = "auto",
    scratch: bool = False,
    overwrite: bool = False,
) -> int:
    """Show what the packaged GMAE sees, pre-train it further on a few sample photographs, and reconstruct a scene.

    Args:
        out: Folder for report.html, scene.html, summary.json and the runs: a new folder, or with --overwrite the folder
            of an earlier demo.
        short: Run only a part of the training and a smaller scene, as a check that everything works.
        seed: Seed of fresh weights, crops, masks and the fit of the scene.
        device: The device: auto, cpu, cuda or mps.
        scratch: Start from fresh weights and train for longer.
        overwrite: Replace the files that an earlier demo wrote to the folder; other files are kept.
    """
    from splatlearn.cli.demo_run import demo

    return demo(out, short, seed, device, scratch, overwrite)
