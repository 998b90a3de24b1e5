"""The blocks of a stream that are in memory, and the threads that fetch those that come next."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Content = TypeVar("Content")

THREADS = 4
LEAST = 8
"""Blocks that are kept where nobody announces any."""


class BlockCache(Generic[Content]):
    """Contents of blocks by number, the latest used; those announced are fetched by threads of this process.

    `load` reads one block, in any thread; what it raises is raised where the block is asked for.
    """

    def __init__(self, load: Callable[[int], Content]) -> None:
        self._load = load
        self._clear()

    def _clear(self) -> None:
        self._process = os.getpid()
        self._held: OrderedDict[int, Future[Content]] = OrderedDict()
        self._announced: deque[Sequence[int]] = deque()
        self._threads: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, block: int) -> Content:
        self._check_process()
        found = self._held.get(block)
        if found is None:
            found = Future()
            found.set_result(self._load(block))
        self._hold(block, found)
        self._trim()
        try:
            return found.result()
        except Exception:
            del self._held[block]  # asked for again, it is read again
            raise

    def announce(self, blocks: Sequence[int], announcements: int) -> None:
        """Fetch blocks that will be needed soon; what the last so many announcements named is kept."""
        self._check_process()
        self._announced.append(tuple(blocks))
        while len(self._announced) > announcements:
            self._announced.popleft()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blocks")
        for block in blocks:
            self._hold(block, self._held.get(block) or self._threads.submit(self._load, block))
        self._trim()

    def _hold(self, block: int, content: Future[Content]) -> None:
        self._held[block] = content
        self._held.move_to_end(block)

    def _trim(self) -> None:
        most = max(LEAST, len({block for blocks in self._announced for block in blocks}) + 1)
        while len(self._held) > most:
            self._held.popitem(last=False)[1].cancel()

    def _check_process(self) -> None:
        if self._process != os.getpid():  # threads do not survive a fork
            self._clear()
