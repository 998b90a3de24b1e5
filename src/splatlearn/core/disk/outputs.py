"""One rule for what a command may replace.

A command names its outputs before it does any work, and these functions refuse what would be lost:

- A file that exists is replaced only with `--overwrite`.
- A folder of results holds a marker, `.splatlearn.json`, that lists the files which splatlearn wrote there.
  `--overwrite` replaces listed files and the one file that `--out` names. Every other file stays as it is.
- Nothing is removed that the marker does not list. A folder with other content takes files of new names.
"""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from splatlearn.core.disk.atomic import read_object, write_whole
from splatlearn.core.errors import FormatError, InputError

MARKER = ".splatlearn.json"
"""Name of the file in which a folder of results lists the files that splatlearn wrote there."""
NOTE = "splatlearn wrote the files listed here. --overwrite replaces these and no others."

Inputs = Iterable[str | Path]


@dataclass(frozen=True)
class Outputs:
    """The files that a command is about to write into a folder, checked by `outputs_in`.

    `listed`: those that the marker will list; a folder's own files need no entry.
    """

    folder: Path
    names: tuple[str, ...]
    listed: tuple[str, ...]

    def written(self) -> list[str]:
        """The names of the files that are there."""
        return [name for name in self.names if (self.folder / name).exists()]

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Make the folder, list the files in its marker, and yield the folder.

        The names are listed before the files are written, so that those of a killed process are known too. At the end
        the marker forgets names without a file, and a folder that was made in vain is removed.
        """
        made = _make(self.folder)
        try:
            record(self.folder, self.listed)
            yield self.folder
        finally:
            _forget(self.folder)
            for each in made:
                with contextlib.suppress(OSError):
                    each.rmdir()


def outputs_in(
    out: str | Path,
    names: Iterable[str],
    overwrite: bool = False,
    *,
    inputs: Inputs = (),
    owned: Callable[[str], bool] = lambda name: False,
) -> Outputs:
    """Check that a command may write files of these names into the folder `out`; nothing is changed.

    - `overwrite`: whether files that the folder's marker lists are replaced.
    - `inputs`: files that the command reads; none of them is ever replaced.
    - `owned`: returns True for names that the folder itself owns, such as `report.html` in a run folder. These are
      replaced without `overwrite`.

    Raises InputError when `out` is no folder, cannot be written, or holds a file that must not be replaced.
    """
    folder, wanted = Path(out), tuple(names)
    _check_folder(folder, str(out))
    known, read = written_in(folder), list(inputs)
    refused: list[tuple[str, bool]] = []
    for name in wanted:
        path = folder / name
        if not os.path.lexists(path) or owned(name):
            continue
        if path.is_dir():
            raise InputError(f"out: expected a file or nothing at {path}, got a folder; choose another folder")
        if any(_same(path, each) for each in read):
            raise InputError(f"out: {path} is an input of this command; choose another folder with --out")
        listed = _lists(known, folder, name) and not path.is_symlink()
        if not (listed and overwrite):
            refused.append((name, listed))
    if refused:
        raise InputError(_refusal(folder, refused))
    return Outputs(folder, wanted, tuple(name for name in wanted if not owned(name)))


def output_file(out: str | Path, overwrite: bool = False, *, inputs: Inputs = (), example: str = "FILE") -> Path:
    """Check that a command may write the single file `out`, and return its path; nothing is changed.

    - `overwrite`: whether a file of that name is replaced.
    - `inputs`: files that the command reads; none of them is ever replaced.
    - `example`: a file name to suggest when `out` is a folder.

    A link stands for the file that it leads to. Raises InputError for a folder, a file that must not be replaced, and
    a place that cannot be written.
    """
    path = Path(out)
    if not str(out).strip() or path.is_dir() or str(out).endswith(("/", os.sep)):
        raise InputError(f"out: expected a file such as {path / example}, got {_folder_name(out)}")
    if path.is_symlink():
        path = Path(os.path.realpath(path))
        if path.is_symlink():
            raise InputError(f"out: expected a file or nothing at {out}, got a link that leads to itself")
    _check_folder(path.parent, str(path.parent))
    if not path.exists():
        return path
    if any(_same(path, each) for each in inputs):
        raise InputError(f"out: {path} is an input of this command; choose another file with --out")
    if not path.is_file():
        raise InputError(
            f"out: expected a file or nothing at {path}, got a device or a pipe; choose another with --out"
        )
    if not overwrite:
        raise InputError(f"out: {path} exists; choose another with --out, or give --overwrite")
    return path


def check_folder(out: str | Path, name: str = "out") -> None:
    """Raise InputError, naming the argument, unless `out` is a folder, or can be made, and can be written."""
    _check_folder(Path(out), str(out), name)


def written_in(folder: str | Path) -> frozenset[str]:
    """The names, with forward slashes, of the files that the folder's marker lists; none without a marker.

    Raises FormatError when the marker cannot be read or lists something outside of the folder.
    """
    path = Path(folder) / MARKER
    names = read_object(path).get("files", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and _inside(name) for name in names):
        raise FormatError(f"{path}: files: expected a list of names inside the folder, got {str(names)[:80]}")
    return frozenset(names)


def record(folder: str | Path, names: Iterable[str]) -> None:
    """Add names, relative to the folder, to its marker. Raises InputError for a name that leads out of the folder."""
    added = [PurePosixPath(Path(name).as_posix()).as_posix() for name in names]
    for name in added:
        if not _inside(name):
            raise InputError(f"names: expected names inside {folder}, got {name!r}")
    with _alone(Path(folder)):
        _store(Path(folder), written_in(folder) | set(added))


def remove_listed(folder: str | Path, names: Collection[str] | None = None) -> list[str]:
    """Remove the files that the marker lists, or those of `names` that it lists, with folders that become empty.

    Returns the names of the files that remain, in order. Links are removed, never what they lead to, and no file is
    reached through a folder that is a link.
    """
    root = Path(folder)
    with _alone(root):
        known = written_in(root)
        for name in sorted(known if names is None else known & set(names)):
            path = root / name
            parents = [each for each in path.parents if root in each.parents]
            if any(each.is_symlink() for each in parents) or (path.is_dir() and not path.is_symlink()):
                continue
            path.unlink(missing_ok=True)
            for each in parents:
                with contextlib.suppress(OSError):
                    each.rmdir()
        _store(root, _still_there(root, known))
    left = (each.relative_to(root).as_posix() for each in root.rglob("*") if each.is_symlink() or not each.is_dir())
    return sorted(name for name in left if name != MARKER)


def _refusal(folder: Path, refused: list[tuple[str, bool]]) -> str:
    """One sentence about the first file that is in the way, and about the way on."""
    foreign = [name for name, listed in refused if not listed]
    name = foreign[0] if foreign else refused[0][0]
    path, more = folder / name, len(refused) - 1
    others = f" (and {more} more)" if more else ""
    if not foreign:
        return f"out: {path} exists{others}; choose another folder with --out, or give --overwrite"
    if path.is_symlink():
        return f"out: {path} is a link{others}, which splatlearn does not replace; choose another folder with --out"
    return (
        f"out: {path} exists{others} and splatlearn did not write it, as {MARKER} there does not list it; choose "
        "another folder with --out, or move the file away"
    )


def _check_folder(folder: Path, given: str, name: str = "out") -> None:
    """Raise InputError unless the folder is there, or can be made, and can be written."""
    if not given.strip():
        raise InputError(f"{name}: expected the name of a folder, got an empty name")
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        what = "a link to nothing" if there.is_symlink() and not there.exists() else "the file"
        raise InputError(f"{name}: expected a folder, got {what} {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{name}: expected a writable folder, got {there}, for which you have no write permission")


def _folder_name(out: str | Path) -> str:
    return f"the folder {out}" if str(out).strip() else "an empty name"


def _make(folder: Path) -> list[Path]:
    """Make a folder; returns the folders that were missing, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _inside(name: str) -> bool:
    """Return whether a relative name stays inside its folder on every system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and not {"..", ""} & set(parts) and not set(name) & {"\\", "\0"}


def _lists(known: frozenset[str], folder: Path, name: str) -> bool:
    """Return whether the marker lists a file of the folder, whatever the case that the file system ignores."""
    if name in known:
        return True
    alike = [each for each in known if _key(each) == _key(name)]
    return any(_same(folder / each, folder / name) for each in alike)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _same(path: str | Path, other: str | Path) -> bool:
    """Return whether two names lead to one file."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def _forget(folder: Path) -> None:
    """Take names without a file off the marker; an empty marker is removed."""
    with contextlib.suppress(OSError, FormatError), _alone(folder):
        _store(folder, _still_there(folder, written_in(folder)))


def _still_there(folder: Path, names: Iterable[str]) -> set[str]:
    return {name for name in names if os.path.lexists(folder / name)}


def _store(folder: Path, names: Collection[str]) -> None:
    path = folder / MARKER
    if not names:
        path.unlink(missing_ok=True)
    elif names != written_in(folder):
        write_whole(path, json.dumps({"about": NOTE, "files": sorted(names)}, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the marker at the same time, where the file system can lock a folder."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
