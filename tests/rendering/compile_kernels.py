"""Compiles the Triton kernels for a GPU that need not be there; run as a script, for the interpreter must be off.

Prints one line of JSON: for each kernel the bytes of its machine code and the bytes of stack that a thread needs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from splatlearn.rendering.backends.triton import blend as triton_blend
from splatlearn.rendering.backends.triton import blend_kernels, project_kernels

FLOATS = {"fx", "fy", "cx", "cy", "near", "limit_x", "limit_y", *"abcdefghijkm"}
WHOLE = {*blend_kernels.SIZES, "view_stride"}
LONG = {"order": "*i64", "order_out": "*i32"}


def compiled(kernel, warps: int, backward: bool = False, **constants: int) -> bytes:
    """Machine code for compute capability 9.0 from the types that a launch has."""
    types = {}
    for name in kernel.arg_names:
        if name in constants:
            types[name] = "constexpr"
        elif name in WHOLE:
            types[name] = "i32"
        elif name in FLOATS:
            types[name] = "fp32"
        else:
            types[name] = "*i32" if backward and name == "order" else LONG.get(name, "*fp32")
    source = ASTSource(fn=kernel, signature=types, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps}).asm["cubin"]


def stack_bytes(code: bytes) -> int:
    """What a thread keeps outside registers, as the disassembler that Triton brings reports it."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        done = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"STACK:(\d+)", done.stdout + done.stderr)
    assert found is not None, done.stdout
    return int(found[1])


def main() -> None:
    results = {}
    for channels in (3, 16):
        cut = triton_blend.tiling(256, 256, channels, (224, 224))
        sizes = {"CHANNELS": channels, "PADDED": cut.padded}
        tile = {**sizes, "ROWS": cut.rows, "COLUMNS": triton_blend.COLUMNS}
        codes = {
            "composite_forward": compiled(blend_kernels.composite_forward, 1, False, **tile),
            "composite_backward": compiled(blend_kernels.composite_backward, 1, False, **tile),
        }
        if channels == 3:
            codes["gradients_of_sums"] = compiled(blend_kernels.gradients_of_sums, 4, False, **sizes, BLOCK=128)
            codes["find_poison"] = compiled(blend_kernels.find_poison, 4, CHANNELS=channels, BLOCK=1024)
            codes["write_view"] = compiled(
                project_kernels.write_view,
                4,
            )
            codes["depths_of"] = compiled(project_kernels.depths_of, 4, BLOCK=128)
            lens = {**sizes, "MODEL": "gmae", "BLOCK": 128}
            codes["project_forward"] = compiled(project_kernels.project_forward, 4, **lens)
            codes["project_backward"] = compiled(project_kernels.project_backward, 4, backward=True, **lens)
        for name, code in codes.items():
            results[f"{name} {channels}"] = {"bytes": len(code), "stack": stack_bytes(code)}
    print(json.dumps(results))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder
        main()
