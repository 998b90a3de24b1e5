"""Memory within the limits of containers."""

from pathlib import Path

import pytest

from splatlearn.core import memory
from splatlearn.core.memory import bytes_in


@pytest.mark.parametrize(
    ("folder", "limit", "used", "cached"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_a_container_s_limit_counts_and_files_that_were_read_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, limit: str, used: str, cached: str
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    free = memory.available_memory()
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    (place / limit).write_text("5000\n")
    (place / used).write_text("4900\n")
    assert memory.available_memory() == 100 < free
    (place / "memory.stat").write_text(f"anon 900\n{cached} 3000\nslab 5\n")
    assert memory.available_memory() == 3100
    (place / limit).write_text("max\n")
    assert memory.available_memory() > 5000


@pytest.mark.parametrize(
    ("text", "count"), [("2MB", 2_000_000), ("1.5 kB", 1500), ("700", 700), (900, 900), ("3 b", 3)]
)
def test_budgets_in_words(text: str | int, count: int) -> None:
    assert bytes_in(text) == count
