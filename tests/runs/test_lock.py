"""The lock of a run's folder: one process at a time, and none is left behind."""

import errno
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from splatlearn.runs.lock import HOLDER, LOCK, RunFolderError, RunLock


@contextmanager
def holder(folder: Path, worker: bool) -> Iterator[int]:
    """A process that holds the lock of a folder, with a process forked since if asked; both end with the test."""
    read, write = os.pipe()
    process = os.fork()
    if not process:
        lock = RunLock(folder)
        lock.acquire()
        forked = os.fork() if worker else 0
        if forked or not worker:
            os.write(write, f"{forked}\n".encode())
        time.sleep(60)
        os._exit(0)
    forked = int(os.read(read, 20))
    try:
        yield process
    finally:
        for each in (process, forked):
            with suppress(ProcessLookupError):
                os.kill(each or process, signal.SIGKILL)
        os.close(read)
        os.close(write)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("worker", [False, True], ids=["alone", "with a worker"])
def test_a_killed_process_leaves_no_lock(tmp_path: Path, worker: bool) -> None:
    with holder(tmp_path, worker) as process:
        with pytest.raises(RunFolderError, match=f"process {process} on "):
            RunLock(tmp_path).acquire()
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        with RunLock(tmp_path):
            assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()


def test_another_host_may_be_gone(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        (tmp_path / HOLDER).write_text(json.dumps({"host": "elsewhere", "process": 7, "since": "noon"}))
        with pytest.raises(RunFolderError, match=r"process 7 on elsewhere \(since noon\) .* for good, remove .*\.lock"):
            RunLock(tmp_path).acquire()
        (tmp_path / HOLDER).write_text("[")
        with pytest.raises(RunFolderError, match="out: another process is working in"):
            RunLock(tmp_path).acquire()


def test_it_says_who_holds_it_and_goes_with_its_block(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert not lock.holds(tmp_path)
    with lock:
        assert lock.holds(tmp_path) and not lock.holds(tmp_path / "other") and not lock.lost()
        told = json.loads((tmp_path / HOLDER).read_text())
        assert (told["host"], told["process"]) == (socket.gethostname(), os.getpid())
    assert not lock.holds(tmp_path) and {path.name for path in tmp_path.iterdir()} <= {LOCK}
    lock.release()
    with RunLock(tmp_path):
        pass


def test_one_that_was_removed_is_lost_and_leaves_the_next_holder_s_word(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.acquire()
    (tmp_path / LOCK).unlink()
    assert lock.lost() and not lock.holds(tmp_path)
    with RunLock(tmp_path):
        lock.release()
        assert (tmp_path / HOLDER).exists()
    shutil.rmtree(tmp_path)


def test_a_file_system_without_locks_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(self: object, *arguments: object, **options: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", unable)
    lock = RunLock(tmp_path)
    lock.acquire()
    assert lock.unsupported is not None and "Operation not supported" in lock.unsupported
    assert not lock.holds(tmp_path) and not lock.lost()
    lock.release()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: object, *arguments: object, **options: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    with pytest.raises(RunFolderError, match="out: cannot write into .*: Permission denied"):
        RunLock(tmp_path).acquire()
