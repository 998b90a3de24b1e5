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
    """Show what the package's GMAE sees, pre-train it further on a few sample photographs, and show what it learned.

    Args:
        out: Folder for report.html, summary.json and the run: a new one, or with --overwrite that of an earlier demo.
        short: A part of the training, to see that everything works.
        seed: Fixes fresh weights, crops and masks.
        device: auto, cpu, cuda, mps.
        scratch: Start from fresh weights instead, and train for longer.
        overwrite: Replace what an earlier demo wrote into the folder; other files in it stay.
    """
    from splatlearn.cli.demo_run import demo

    return demo(out, short, seed, device, scratch, overwrite)
