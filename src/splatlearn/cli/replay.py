"""`splatlearn replay RUN/nonfinite/step-…`."""

from __future__ import annotations

from typing import Annotated

import tyro

from splatlearn.training.options import Precision


def replay_command(
    folder: Annotated[str, tyro.conf.Positional], device: str = "auto", precision: Precision | None = None
) -> int:
    """Run a step again that was skipped for a loss or gradient that was not finite, and say where it begins.

    Exits with 0 when the step is not finite this time either, with 1 when it is.

    Args:
        folder: A folder that a run left under nonfinite/.
        device: auto, cpu, cuda, cuda:1, mps.
        precision: fp32 or bf16. Default: the run's.
    """
    from splatlearn.training.replay import replay

    again = replay(folder, device, precision)
    before = ", ".join(f"{name} {value:g}" for name, value in again.before.items())
    print(f"step {again.step} in the run: {before}")
    print(f"step {again.step} again: loss {again.loss:g}, gradient norm {again.grad_norm:g}")
    if again.finite:
        print("all is finite here: the device or the precision of the run made the difference")
        return 1
    where = f"the output of {again.module}" if again.module else "no module's output: the renderer, the loss or later"
    print(f"first not finite: {where}")
    if again.parameters:
        print(f"gradients that are not finite: {len(again.parameters)}, {', '.join(again.parameters[:5])}")
    return 0
