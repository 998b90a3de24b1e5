"""`splatlearn doctor`: what is installed, which backends work and why one does not."""

from __future__ import annotations

import os


def doctor() -> int:
    """Show versions, the device, and the state of every rendering backend."""
    import torch
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from splatlearn.core.device import choose_device, choose_precision
    from splatlearn.fitting import compiled
    from splatlearn.models.nn import layers
    from splatlearn.rendering import available_backends
    from splatlearn.rendering.backends.cpu.support import instruction_set, instruction_sets
    from splatlearn.runs.folder import environment

    console = Console()
    facts = environment()
    device = choose_device("auto")
    table = Table(show_header=False, box=None, pad_edge=False)
    versions = facts["versions"]
    assert isinstance(versions, dict)
    for package, version in {"python": facts["python"], **versions}.items():
        table.add_row(package, str(version))
    table.add_row("system", str(facts["system"]))
    table.add_row("processor", f"{facts['processor']}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    table.add_row("vector unit", torch.backends.cpu.get_cpu_capability())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    table.add_row("device", f"{name} (precision auto: {choose_precision('auto', device)})")
    for backend, state in available_backends().items():
        # As text: square brackets, as in the name of an extra, are no markup.
        table.add_row(f"backend {backend}", Text(state))
    table.add_row("layers", "compiled" if layers.native is not None else Text(f"PyTorch's: {layers.MISSING}"))
    table.add_row("fitting", "compiled" if compiled.native is not None else Text(f"PyTorch's: {compiled.MISSING}"))
    if instruction_sets():
        table.add_row("kernel", f"{instruction_set()} (compiled for {', '.join(instruction_sets())} of this CPU)")
    console.print(table)
    return 0
