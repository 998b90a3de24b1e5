"""`splatlearn objects SHAPES... --out DIR`: meshes, points and voxels to a folder of splat files in classes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Annotated

import tyro

from splatlearn.cli.resuming import resumed_recipe
from splatlearn.reconstruction.objects.recipe import ObjectsRecipe

INTERRUPTED, REQUEUE = 130, 75
"""Exit codes after Ctrl-C, and after a scheduler's signal (EX_TEMPFAIL of sysexits.h)."""
SURFACED = {"voxels": "grids of voxels, whose surfaces were found first", "points": "sets of points, made into discs"}


def objects_command(arguments: Sequence[str]) -> Callable[..., int]:
    """The command; what the run's recipe says with `--resume` is the default of every option."""
    stored = resumed_recipe("objects", ObjectsRecipe, arguments)

    def command(recipe: Annotated[ObjectsRecipe, tyro.conf.arg(name="")]) -> int:
        """Fit splats to meshes, points and voxels of single objects, and write them as splat files in class folders.

        Each object is put into the ball of radius 1, pictures of it are rendered from all around, splats are laid on
        the surface that they show, and are fitted to the pictures. A shape that cannot be used is named and left out.
        Ctrl-C, SIGTERM and SIGUSR1 end the run after the objects at hand; --resume continues it.
        """
        from splatlearn.core.memory import shown_bytes
        from splatlearn.reconstruction.objects.job import run_objects
        from splatlearn.reconstruction.objects.summary import SUMMARY

        result = run_objects(recipe)
        call = result.call
        if result.done:
            print(
                f"{result.folder}: {result.done:,} objects, {shown_bytes(result.total_bytes)}; medians of an object: "
                f"{shown_bytes(round(result.bytes))}, {result.seconds:.2f} s in its process, {result.psnr:.2f} dB on "
                f"held-out views (worst {result.worst_psnr:.2f})"
            )
        for kind, said in SURFACED.items():
            if result.shapes.get(kind):
                print(f"{result.shapes[kind]:,} of them are {said}")
        if call.tried:
            rate = call.seconds / call.tried
            of = f"{call.tried:,} objects in {call.seconds:.0f} s with {call.processes} processes"
            print(f"this call: {of}, {rate:.2f} s an object")
        if result.failed:
            print(f"{result.failed:,} shapes failed; {SUMMARY} names them")
        if result.left:
            out = shlex.quote(str(result.folder))
            print(f"{result.left:,} are left; continue with: splatlearn objects --out {out} --resume")
        if call.signal:
            return REQUEUE if result.requeue else INTERRUPTED
        return 0 if result.done else 1

    if stored is not None:
        default = stored

        def resumed(recipe: Annotated[ObjectsRecipe, tyro.conf.arg(name="")] = default) -> int:
            return command(recipe)

        resumed.__doc__ = command.__doc__
        return resumed
    return command
