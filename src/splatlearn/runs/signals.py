"""Interruptions end a run between two steps, with a checkpoint, in all of its processes at the same step."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from splatlearn.runs.processes import Processes

ASKED_BY_SCHEDULER = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that schedulers send before they end a job."""


class StopRequest:
    """Inside the `with` block, the signal that asked the run to stop: Ctrl-C, SIGTERM or SIGUSR1; 0 before.

    `say` is called with the first of them, in a thread: a handler may interrupt a print, and must not print itself. A
    second Ctrl-C interrupts at once. Outside the main thread, where Python delivers no signals, the signal stays 0.
    """

    def __init__(self, say: Callable[[int], None] | None = None) -> None:
        self.signal = 0
        self._previous: dict[int, Any] = {}
        self._say = say
        # The one queue whose `put` a handler may call.
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._speaker = threading.Thread(target=self._speak, name="stop", daemon=True)

    def _speak(self) -> None:
        number = self._asked.get()
        if number and self._say is not None:
            self._say(number)

    def __enter__(self) -> StopRequest:
        self._speaker.start()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ASKED_BY_SCHEDULER):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._asked.put(0)
        self._speaker.join()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        self._asked.put(number)


class SharedStop:
    """A request to stop that any process may have got and that all of them hear at the same step.

    Each step asks what was said a step ago, so that no process waits for the others; where there is one process, it
    hears at once.
    """

    def __init__(self, request: StopRequest, processes: Processes) -> None:
        self._request = request
        self._processes = processes
        self._word = torch.zeros(1, dtype=torch.int64)
        self._work: Any = None

    def heard(self) -> int:
        """The signal to stop for, or 0; every process calls it once a step."""
        if self._processes.count == 1:
            return self._request.signal
        heard = self._listen()
        if not heard:
            self._word = torch.tensor([self._request.signal])
            self._work = dist.all_reduce(self._word, dist.ReduceOp.MAX, group=self._processes.control, async_op=True)
        return heard

    def close(self) -> None:
        """Let the last word come to an end."""
        self._listen()

    def _listen(self) -> int:
        if self._work is not None:
            self._work.wait()
            self._work = None
        return int(self._word)
