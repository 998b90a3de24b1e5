"""Values that steps report, collected over steps and processes, and written at intervals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from splatlearn.data import PretrainingLoader, UnreadableCounter
from splatlearn.runs.log import Logbook
from splatlearn.runs.processes import Processes


class StepLog:
    """Numbers of steps stay on the device until `flush` writes them; it is the one place that waits for the device.

    - `images_per_step`: over all processes; `max_unreadable`: share of unreadable images above which `flush` raises.
    """

    def __init__(
        self,
        logbook: Logbook,
        loader: PretrainingLoader[Any],
        processes: Processes,
        images_per_step: int,
        max_unreadable: float,
    ) -> None:
        self.logbook, self.loader, self.processes = logbook, loader, processes
        self.images_per_step = images_per_step
        self.max_unreadable = max_unreadable
        self.unreadable = UnreadableCounter()
        self.note = ""  # what else the bar says
        self.steps: list[dict[str, Tensor]] = []
        self.seconds, self.last_loss = 0.0, logbook.last_loss
        self._clock, self._waited = time.perf_counter(), 0.0
        self._fresh: list[tuple[str, str]] = []
        self._enlarged: set[str] = set()
        self._told_of_enlarged = False

    def start(self) -> None:
        """Start measuring time."""
        self._clock, self._waited = time.perf_counter(), 0.0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out the time spent inside the block when the speed of training is measured."""
        began = time.perf_counter()
        yield
        self._clock += time.perf_counter() - began

    def next(self, batches: Iterator[Any]) -> Any:
        """The next batch, with the time it took and what could not be read."""
        began = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - began
        self._fresh += batch.unreadable
        self._enlarged.update(batch.enlarged)
        return batch

    def rows(self) -> tuple[list[str], list[list[float]]]:
        """Names of the numbers of the steps since the last flush, and the numbers; means over processes."""
        names = list(self.steps[0])
        rows = torch.stack([torch.stack([entry[name].float() for name in names]) for entry in self.steps])
        return names, self.processes.mean(rows.cpu()).tolist()

    def flush(self, step: int, status: dict[str, float], per_step: dict[int, dict[str, float]]) -> None:
        """Write the lines of the steps up to this one, and a status; every process must call it.

        `per_step` has more numbers of steps, counted from 0. Raises DataError where too many images are unreadable.
        """
        names, rows = self.rows()
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        self.seconds += elapsed
        first = step - len(rows)
        for number, row in enumerate(rows, first):
            entry = dict(zip(names, row, strict=True))
            self.logbook.write({"step": number + 1, **entry, **per_step[number]})
        speed = len(rows) * self.images_per_step / elapsed
        share = float(self.processes.mean(torch.tensor([self._waited / elapsed], dtype=torch.float64)))
        self.last_loss = sum(row[0] for row in rows) / len(rows)
        self.logbook.write({"step_of_status": step, "images_per_second": speed, "data_wait": share, **status})
        self._report_images(step)
        line = f"loss {self.last_loss:.4f} · {speed:.0f} {self.loader.dataset.unit}s/s · data wait {share:.0%}"
        self.logbook.flush(step, line + self.note)
        self.steps, self._waited = [], 0.0
        # A share of very few images says little: one bad file in the first batch is not a bad data set.
        sure = min(len(self.loader.dataset), 1000)
        seen = min(len(self.loader.dataset), max(sure, step * self.images_per_step))
        self.unreadable.check(self.max_unreadable, seen)

    def _report_images(self, step: int) -> None:
        """Name the images met since the last flush that cannot be read, and once one that is small."""
        met = self.processes.gather((self._fresh, min(self._enlarged, default=None)))
        for name, reason in self.unreadable.add(bad for fresh, _ in met for bad in fresh):
            self.logbook.write({"step_of_status": step, "unreadable": name, "reason": reason})
            self.logbook.say(f"skipped an unreadable {self.loader.dataset.unit}: {name} ({reason})")
        self._fresh = []
        small = [name for _, name in met if name is not None]
        if small and not self._told_of_enlarged:
            size = " × ".join(map(str, self.loader.dataset.large.shape[-2:]))
            self.logbook.write({"step_of_status": step, "enlarged": min(small)})
            self.logbook.say(
                f"some images are smaller than the crop of {size} px and are enlarged, {min(small)} for one; a model "
                "of a smaller image size would see them as they are"
            )
            self._told_of_enlarged = True
