"""`splatlearn benchmark bsds500|figure-ground RUN --data DIR`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import tyro

from splatlearn.cli.choices import BenchmarkInput, Reading
from splatlearn.cli.notes import changed, note_unused
from splatlearn.core.disk.atomic import write_whole
from splatlearn.core.disk.outputs import outputs_in
from splatlearn.core.errors import InputError


def benchmark_command(
    name: tyro.conf.Positional[Literal["bsds500", "figure-ground"]],
    run: tyro.conf.Positional[str],
    given: Annotated[BenchmarkInput, tyro.conf.arg(name="")],
    reading: Annotated[Reading, tyro.conf.arg(name="")] = Reading(),  # noqa: B008
) -> int:
    """Score a GMAE's zero-shot edges on BSDS500, or its figures on photographs with masks, against simple methods.

    Args:
        name: bsds500: ODS, OIS and AP of edges; figure-ground: IoU, max F, accuracy, CorLoc and boundary F of masks.
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE.
    """
    from splatlearn.cli import scoring as work
    from splatlearn.cli.reading_out import read_options
    from splatlearn.cli.which_model import described, load_gmae
    from splatlearn.cli.written import is_run
    from splatlearn.core.device import choose_device
    from splatlearn.evaluation.boundaries.contenders import READ_OUTS, USUAL, gmae_edges, plain_edges
    from splatlearn.evaluation.saliency.contenders import gmae_figures, plain_figures
    from splatlearn.zero_shot.reading import check_options

    if given.out is None and not Path(run).is_dir():
        raise InputError(
            f"out: expected a folder for the results, because {run} is not a folder on this machine, got none; name one"
        )
    out = Path(run if given.out is None else given.out)
    result = f"benchmark-{name}.json"
    outputs = outputs_in(out, [result], given.overwrite, owned=lambda _: given.out is None or is_run(out))
    options = read_options(reading)
    if name == "figure-ground":
        note_unused(changed(given, "thresholds", "every"), "on figure-ground, which scores masks")
    note_unused(changed(reading, "batch_size"), "here, where images are read one by one")
    model = load_gmae(run, choose_device(reading.device))
    check_options(model, options)
    if name == "bsds500":
        edges = gmae_edges(model, options=options, read_outs=READ_OUTS if given.every else USUAL)
        tables = work.edge_tables([edges, *(plain_edges() if given.baselines == "yes" else [])], given)
    else:
        baselines = [] if given.baselines == "no" else plain_figures()
        tables = work.figure_tables([gmae_figures(model, options=options), *baselines], given)
    with outputs.writing():
        write_whole(out / result, json.dumps(tables, indent=2) + "\n")
    for title, rows in tables.items():
        work.print_table(title, rows)
    print(f"{out / result}; model: {described(run)}")
    return 0
