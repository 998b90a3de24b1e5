"""Zip archives: unpacked once, and nothing of a hostile one reaches the disk outside of the cache."""

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from captures.synthetic import (
    synthetic,
    write_blender,
    write_colmap_binary,
    write_colmap_text,
    write_nerfstudio,
    write_photographs,
)
from splatlearn.captures import Lens, load_capture
from splatlearn.captures.finding import archives
from splatlearn.captures.finding.archives import is_archive, unpacked
from splatlearn.core.disk.caches import user_cache
from splatlearn.core.errors import FormatError, InputError

NAMES = tuple(
    f"{split}/r {index}.png" for split, count in (("train", 6), ("val", 2), ("test", 2)) for index in range(count)
)


def packed(folder: Path, archive: Path, inside: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, inside + path.relative_to(folder).as_posix())
    return archive


def written(kind: str, folder: Path) -> Path:
    made = synthetic(Lens.pinhole(48, 32, 40, 40, 24, 16), NAMES)
    write_photographs(folder if kind == "blender" else folder / "images", NAMES)
    match kind:
        case "binary":
            write_colmap_binary(folder / "sparse" / "0", made)
        case "text":
            write_colmap_text(folder / "sparse", made)
        case "nerfstudio":
            write_nerfstudio(folder, made)
        case _:
            write_blender(folder, made)
    return folder


@pytest.mark.parametrize("inside", ["", "my scene/", "a/b/c/"])
@pytest.mark.parametrize("kind", ["binary", "text", "nerfstudio", "blender"])
def test_an_archive_is_the_folder_in_it(kind: str, inside: str, tmp_path: Path) -> None:
    folder = written(kind, tmp_path / "folder")
    archive = packed(folder, tmp_path / "scene.zip", inside)
    plain, capture = load_capture(folder), load_capture(archive, cache=tmp_path / "cache")
    assert capture.problems == plain.problems == ()
    assert [view.name for view in capture.views] == [view.name for view in plain.views]
    assert [view.lens for view in capture.views] == [view.lens for view in plain.views]
    assert (capture.world_to_camera == plain.world_to_camera).all()
    assert all(view.path.is_relative_to(tmp_path / "cache") for view in capture.views)


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    archive = packed(written("text", tmp_path / "folder"), tmp_path / "scene.zip")
    first = unpacked(archive, tmp_path / "cache")
    marked = first / "sparse" / "cameras.txt"
    marked.write_text("marked")
    assert unpacked(archive, tmp_path / "cache") == first and marked.read_text() == "marked"
    # Another content of the same name is another copy.
    os.utime(archive, (1, 1))
    assert unpacked(archive, tmp_path / "cache") != first
    assert not [each for each in (tmp_path / "cache").iterdir() if each.name.startswith(".")]


def test_a_copy_that_another_process_made_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process may be reading it."""
    archive, cache = packed(written("text", tmp_path / "folder"), tmp_path / "scene.zip"), tmp_path / "cache"
    first = unpacked(archive, cache)
    (first / "theirs.txt").write_text("theirs")
    aside = first.rename(tmp_path / "aside")
    real = archives._unpack

    def slow(*arguments: object) -> None:
        if aside.exists():
            aside.rename(first)
        real(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(archives, "_unpack", slow)
    assert unpacked(archive, cache) == first and (first / "theirs.txt").read_text() == "theirs"
    assert os.listdir(cache) == [first.name]


def test_what_killed_processes_unpacked_is_removed_after_a_while(tmp_path: Path) -> None:
    archive, cache = packed(written("text", tmp_path / "folder"), tmp_path / "scene.zip"), tmp_path / "cache"
    for name in (f"{archives.UNFINISHED}old", f"{archives.UNFINISHED}fresh", "holiday"):
        (cache / name / "images").mkdir(parents=True)
        (cache / name / "images/a.png").write_bytes(b"a")
        for path in (cache / name / "images/a.png", cache / name / "images", cache / name):
            os.utime(path, (1, 1))
    os.utime(cache / f"{archives.UNFINISHED}fresh/images/a.png")
    made = unpacked(archive, cache)
    assert sorted(os.listdir(cache)) == sorted([f"{archives.UNFINISHED}fresh", "holiday", made.name])


def test_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPLATLEARN_CACHE", str(tmp_path / "here"))
    archive = packed(written("text", tmp_path / "folder"), tmp_path / "scene.zip")
    assert load_capture(archive).folder.is_relative_to(tmp_path / "here" / "captures")
    monkeypatch.delenv("SPLATLEARN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert user_cache("captures") == tmp_path / "there" / "splatlearn" / "captures"


def test_what_is_no_photograph_stays_packed(tmp_path: Path) -> None:
    folder = written("text", tmp_path / "folder")
    for name in ("database.db", "run.sh", ".hidden.png", "__MACOSX/._x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    found = unpacked(packed(folder, tmp_path / "scene.zip"), tmp_path / "cache")
    assert {path.name for path in found.iterdir()} == {"images", "sparse"}


def hostile(archive: Path, name: str, content: bytes = b"x", mode: int = 0) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        file.writestr(member, content)
    return archive


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/x.png", "..\\x.png", "C:/x.png", "\\x.png", "a/..\\..\\x.png"]
)
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    archive = hostile(tmp_path / "a.zip", name)
    with pytest.raises(FormatError, match="leads out of the archive"):
        load_capture(archive, cache=tmp_path / "inner" / "cache")
    assert not list(tmp_path.rglob("x.png"))


def test_links_are_refused(tmp_path: Path) -> None:
    archive = hostile(tmp_path / "a.zip", "images", b"/etc", stat.S_IFLNK | 0o777)
    with pytest.raises(FormatError, match="images is a link"):
        load_capture(archive, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SPARE", 1000)
    archive = hostile(tmp_path / "a.zip", "images/x.png", bytes(10_000_000))
    with pytest.raises(FormatError, match="expected to unpack at most"):
        load_capture(archive, cache=tmp_path / "cache")


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """What the table says is all that is unpacked, and the checksum then tells."""
    archive = hostile(tmp_path / "a.zip", "images/x.png", bytes(10_000_000))
    data = archive.read_bytes()
    archive.write_bytes(data.replace(struct.pack("<I", 10_000_000), struct.pack("<I", 1000)))
    with pytest.raises(FormatError, match="damaged"):
        load_capture(archive, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    """Members that share their compressed bytes unpack to more than the archive could hold."""
    content = bytes(60_000_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images/0.png", content)
        first = file.infolist()[0]
        for number in range(1, 40):
            copy = zipfile.ZipInfo(f"images/{number}.png")
            copy.compress_type, copy.CRC = first.compress_type, first.CRC
            copy.compress_size, copy.file_size, copy.header_offset = first.compress_size, first.file_size, 0
            file.filelist.append(copy)
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(FormatError, match=r"at most|damaged"):
        load_capture(tmp_path / "a.zip", cache=tmp_path / "cache")


def test_encrypted_and_unusual_archives(tmp_path: Path) -> None:
    archive = hostile(tmp_path / "a.zip", "x.png")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(FormatError, match="encrypted"):
        unpacked(archive, tmp_path / "cache")
    folder = written("text", tmp_path / "folder")
    with pytest.raises(FormatError, match="not deflated"):
        unpacked(packed(folder, tmp_path / "b.zip", method=zipfile.ZIP_LZMA), tmp_path / "cache")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(written("text", tmp_path / "folder"), tmp_path / "scene.zip")
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="has room for 10"):
        unpacked(archive, tmp_path / "cache")


def test_what_is_an_archive(tmp_path: Path) -> None:
    for content, expected in ((b"PK\3\4", True), (b"PK", False), (b"", False), (b"{}", False)):
        (tmp_path / "x").write_bytes(content)
        assert is_archive(tmp_path / "x") == expected
    (tmp_path / "x").write_bytes(b"PK\3\4 and nothing else")
    with pytest.raises(FormatError, match="expected a zip archive, got a damaged one"):
        load_capture(tmp_path / "x", cache=tmp_path / "cache")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    archive = packed(written("text", tmp_path / "folder"), tmp_path / "scene.zip")
    data = archive.read_bytes()
    place = data.rindex(b"sparse/points3D.txt")
    lengths = data.rindex(b"PK\1\2", 0, place) + 28
    shorter = data[:lengths] + struct.pack("<HH", 0, 19) + data[lengths + 4 :]  # the name is taken for an extra field
    archive.write_bytes(shorter)
    with pytest.raises(FormatError):
        load_capture(archive, cache=tmp_path / "cache")
    (tmp_path / "empty.zip").write_bytes(hostile(tmp_path / "a.zip", "x").read_bytes().replace(b"x", b"\0"))
    with pytest.raises(InputError, match="expected a capture"):
        load_capture(tmp_path / "empty.zip", cache=tmp_path / "cache")
