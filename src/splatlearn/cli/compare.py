"""`splatlearn compare RUN RUN ...`."""

from __future__ import annotations

import tyro

from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError


def compare_command(
    runs: tyro.conf.Positional[tuple[str, ...]], out: str = "comparison.html", overwrite: bool = False
) -> int:
    """Compare evaluated runs, paired by seed, and show which differences exceed the noise.

    Args:
        runs: Folders of runs that `splatlearn evaluate` has evaluated; runs that differ only in their seeds count as
            one.
        out: The HTML page to write.
        overwrite: Replace the file if it exists.
    """
    from rich.console import Console

    from splatlearn.cli.evaluating import print_table
    from splatlearn.evaluation import compare_runs, read_run
    from splatlearn.report.evaluation_comparison import RULE, cells, columns, write_comparison

    if not runs:
        raise InputError("runs: expected the folders of runs, got none")
    read = [read_run(run) for run in runs]
    path = output_file(out, overwrite, example="comparison.html")
    comparisons = compare_runs(read)
    page = write_comparison(path, comparisons, read)
    for comparison in comparisons:
        print_table(comparison.title, columns(comparison), [cells(row) for row in comparison.rows])
        print()
    Console(soft_wrap=True).print(RULE, highlight=False, markup=False)
    print(f"{page}: {len(read)} run{'' if len(read) == 1 else 's'}")
    return 0
