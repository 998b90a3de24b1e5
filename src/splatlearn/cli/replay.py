"""`splatlearn replay RUN/nonfinite/step-…`."""

from __future__ import annotations

from typing import Annotated

import tyro

from splatlearn.training.training_recipe import Precision


def replay_command(
    folder: Annotated[str, tyro.conf.Positional], device: str = "auto", precision: Precision | None = None
) -> int:
    """Repeat a step that was skipped because of a non-finite loss or gradient, and show where the first non-finite
    value appears.

    The exit code is 0 if the step is non-finite again, and 1 if it is finite.

    Args:
        folder: A folder that a run saved under nonfinite/.
        device: The device: auto, cpu, cuda, cuda:1 or mps.
        precision: fp32 or bf16. Default: the run's.
    """
    from splatlearn.training.replay import replay

    again = replay(folder, device, precision)
    before = ", ".join(f"{name} {value:g}" for name, value in again.before.items())
    print(f"step {again.step} in the run: {before}")
    print(f"step {again.step} again: loss {again.loss:g}, gradient norm {again.grad_norm:g}")
    if again.finite:
        print("all values are finite here: the device or the precision of the run made the difference")
        return 1
    where = f"the output of {again.module}" if again.module else "no module's output: the renderer, the loss or later"
    print(f"first not finite: {where}")
    if again.parameters:
        print(f"gradients that are not finite: {len(again.parameters)}, {', '.join(again.parameters[:5])}")
    return 0
