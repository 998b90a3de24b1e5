"""Listing: links, loops, hidden files and other endings; whatever is no picture is counted with a reason."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image, features

from data.image_sets.test_folder import touch
from data.pictures import array, encode, save
from splatlearn.data import labelled_parts, open_labelled, open_source
from splatlearn.images import DataError, LeftOut, left_out_of, listing
from splatlearn.images.listing import IMAGE_EXTENSIONS, files_below, images_in

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"


def test_every_file_is_taken_or_counted(tmp_path: Path):
    touch(
        tmp_path, "a.jpg", "B.PNG", "._a.jpg", ".DS_Store", ".cache/b.jpg", "__MACOSX/c.jpg", "notes.txt", "README",
        "1.HEIC", "sub/2.heic", "sub/3.jxl", "sub/d.jpg",
    )  # fmt: skip
    files, left_out = files_below(tmp_path, IMAGE_EXTENSIONS)
    assert files == ["B.PNG", "a.jpg", "sub/d.jpg"]
    convert = "which are to be converted to JPEG or PNG"
    assert left_out.counts == {
        "hidden files": 2,
        "hidden folders": 1,
        "folders whose names begin with __": 1,
        "files ending in .txt": 1,
        "files without an ending": 1,
        f"files ending in .heic, {convert}": 2,
        f"files ending in .jxl, {convert}": 1,
    }
    assert left_out.examples[f"files ending in .heic, {convert}"] == "1.HEIC"
    assert "hidden files: 2, such as .DS_Store" in str(left_out) and str(left_out).endswith("; other files: 1")


def test_a_folder_of_its_own_and_what_lies_inside(tmp_path: Path):
    touch(tmp_path, "b.jpg", "a.webp", "sub/c.jpg", "x.jpg/d.jpg", "e.HEIC")
    files, left_out = images_in(tmp_path)
    assert [file.name for file in files] == ["a.webp", "b.jpg"]
    assert left_out.counts == {
        "files ending in .heic, which are to be converted to JPEG or PNG": 1,
        "folders inside, which are read if they are named": 2,
    }
    # Below, the name of a folder says nothing.
    assert files_below(tmp_path, IMAGE_EXTENSIONS)[0] == ["a.webp", "b.jpg", "sub/c.jpg", "x.jpg/d.jpg"]


def test_links_are_followed_wherever_they_lead_but_upwards(tmp_path: Path):
    touch(tmp_path, "photos/a.jpg", "photos/deep/below/c.jpg", "elsewhere/b.jpg")
    photos = tmp_path / "photos"
    for name, target in {
        "linked": "../elsewhere", "linked again": "../elsewhere", "itself": "../photos", "b.jpg": "../elsewhere/b.jpg",
        "deep/up": "../../photos", "deep/below/sibling": "../../../elsewhere", "lost.jpg": "nowhere", "round": "round",
    }.items():  # fmt: skip
        os.symlink(target, photos / name)
    os.symlink("../photos/deep", tmp_path / "elsewhere" / "deep")
    files, left_out = files_below(photos, (".jpg",))
    assert {"a.jpg", "b.jpg", "linked/b.jpg", "linked again/b.jpg", "deep/below/c.jpg"} <= set(files)
    assert {"linked/deep/below/c.jpg", "deep/below/sibling/b.jpg"} <= set(files)
    assert left_out.counts["links to nothing"] == 1
    assert left_out.counts["files without an ending"] == 1  # the link that leads to itself
    assert left_out.counts["links to a folder above them"] >= 3
    assert not any("itself" in file or "up/" in file for file in files)


def test_a_pipe_is_no_picture(tmp_path: Path):
    os.mkfifo(tmp_path / "a.jpg")
    files, left_out = files_below(tmp_path, IMAGE_EXTENSIONS)
    assert files == [] and left_out.counts == {"pipes and devices": 1}


def test_folders_that_cannot_be_read_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", refusing)
    files, left_out = files_below(tmp_path, IMAGE_EXTENSIONS)
    assert files == ["a.jpg"] and left_out.counts == {"folders that cannot be read": 1}
    with pytest.raises(PermissionError):
        files_below(tmp_path / "locked", IMAGE_EXTENSIONS)


def test_names_that_are_no_text(tmp_path: Path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    with pytest.raises(DataError, match="expected file names in UTF-8, got"):
        files_below(tmp_path, IMAGE_EXTENSIONS)


def test_avif_is_read_where_pillow_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert (".avif" in IMAGE_EXTENSIONS) == ("avif" in features.modules and features.check("avif") is True)
    touch(tmp_path, "a.avif", "b.jpg")
    without = tuple(ending for ending in IMAGE_EXTENSIONS if ending != ".avif")
    files, left_out = files_below(tmp_path, without)
    assert files == ["b.jpg"]
    assert str(left_out) == "files ending in .avif, which are to be converted to JPEG or PNG: 1, such as a.avif"


class TestClassFoldersThatAreLinks:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for name in ("cat", "dog"):
            for seed in range(3):
                save(tmp_path / "all" / name / f"{seed}.png", seed)
            for split in ("train", "val"):
                (tmp_path / split).mkdir(exist_ok=True)
                os.symlink(f"../all/{name}", tmp_path / split / name)
        return tmp_path

    def test_both_splits_have_all_images(self, root: Path):
        labelled = open_labelled(root)
        assert labelled.classes == ("cat", "dog")
        for part in (labelled.train, labelled.val):
            assert part.labels.tolist() == [0, 0, 0, 1, 1, 1]
            assert all(part[index].image.size == (16, 12) for index in range(6))
        counts = left_out_of(labelled.train, labelled.val).counts
        assert counts == {"files beside the folders of the splits, train, val": 6}

    def test_a_file_that_is_a_link_has_the_class_of_the_link(self, root: Path):
        (root / "by file" / "pets").mkdir(parents=True)
        (root / "by file" / "others").mkdir()
        os.symlink(root / "all" / "cat" / "0.png", root / "by file" / "pets" / "a.png")
        os.symlink(root / "all" / "cat" / "1.png", root / "by file" / "others" / "b.png")
        source = open_source(root / "by file")
        assert source.class_names == ["others", "pets"]
        assert [source[index].name for index in range(2)] == ["others/b.png", "pets/a.png"]


def tar(path: Path, names: list[str]) -> Path:
    content = encode(Image.fromarray(array(0)))
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            body = name[:1].encode() if name.endswith(".cls") else content
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


def test_pictures_of_a_tar_shard_that_are_no_samples_are_counted_with_the_rule(tmp_path: Path):
    path = tar(
        tmp_path / "a.tar",
        ["a.png", "a.cls", "a.json", "2023.05.02 beach.png", "b.png", "b.webp", "c.seg.png", "._b.png", "d.heic"],
    )
    for _ in range(2):  # the second time from the cache
        source = open_source(path)
        assert len(source) == 2
        counts = left_out_of(source).counts
        assert sorted(counts.values()) == [1, 1, 1, 2]
        (rule,) = (reason for reason, count in counts.items() if count == 2)
        assert "a sample's name ends at its first dot" in rule
        assert left_out_of(source).examples[rule] == "2023.05.02 beach.png"
    with pytest.raises(DataError, match="got none in .*; left out: images whose names have more dots"):
        open_source(tar(tmp_path / "dots.tar", ["1.2.png"]))


def test_what_lies_beside_shards_is_counted_once(tmp_path: Path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        tar(tmp_path / split / "0.tar", ["a.png", "b.c.png"])
    touch(tmp_path, "README.md")
    sources = [open_source(tmp_path, split) for split in ("train", "val")]
    counts = left_out_of(*sources).counts
    assert counts["files ending in .md"] == 1


def test_samples_without_a_label_are_counted(tmp_path: Path):
    names = [f"{label}{number}{ending}" for label in "01" for number in range(3) for ending in (".png", ".cls")]
    labelled = labelled_parts(open_source(tar(tmp_path / "a.tar", [*names, "x.png", "y.png"])))
    assert len(labelled.train) + len(labelled.val) == 6
    counts = left_out_of(labelled.train, labelled.val)
    assert str(counts) == "images without a label: 2, such as a.tar/x.png"


def test_counts_add_up_and_are_stored():
    first, second = LeftOut(), LeftOut()
    first.add("hidden files", "a", 2)
    second.add("hidden files", "b")
    second.add_file("notes.TXT")
    first.update(second)
    assert first.counts == {"hidden files": 3, "files ending in .txt": 1}
    assert first.examples == {"hidden files": "a", "files ending in .txt": "notes.TXT"}
    assert LeftOut.from_json(first.as_json()) == first
    assert not LeftOut() and bool(first)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_the_tar_of_the_report():
    source = open_source(CASES / "06_dots.tar")
    assert len(source) == 3
    (count,) = left_out_of(source).counts.values()
    assert count == 3
