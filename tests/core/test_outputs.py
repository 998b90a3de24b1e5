"""What a command may replace: nothing without --overwrite, and nothing that splatlearn did not write."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from splatlearn.core.disk.outputs import MARKER, output_file, outputs_in, record, remove_listed, written_in
from splatlearn.core.errors import FormatError, InputError


def write(folder: Path, names: Sequence[str], text: str = "new", overwrite: bool = False) -> None:
    with outputs_in(folder, names, overwrite).writing() as made:
        for name in names:
            (made / name).write_text(text)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


class TestFolders:
    def test_new_names_go_beside_other_content(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        write(tmp_path, ["a.png", "b.png"])
        assert written_in(tmp_path) == {"a.png", "b.png"} and (tmp_path / "notes.txt").read_text() == "mine"
        write(tmp_path, ["c.png"])
        assert written_in(tmp_path) == {"a.png", "b.png", "c.png"}

    def test_listed_files_are_replaced_with_overwrite_alone(self, tmp_path: Path) -> None:
        write(tmp_path, ["a.png", "b.png"], "old")
        before = snapshot(tmp_path)
        with pytest.raises(InputError, match=r"out: .*a\.png exists \(and 1 more\); choose .* or give --overwrite"):
            outputs_in(tmp_path, ["a.png", "b.png"])
        assert snapshot(tmp_path) == before
        write(tmp_path, ["a.png", "b.png"], "new", overwrite=True)
        assert (tmp_path / "b.png").read_text() == "new"

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_what_is_not_listed_is_never_replaced(self, tmp_path: Path, overwrite: bool) -> None:
        write(tmp_path, ["a.png"])
        (tmp_path / "b.png").write_text("mine")
        before = snapshot(tmp_path)
        with pytest.raises(InputError, match=r"out: .*b\.png exists .*did not write it.* move the file away"):
            outputs_in(tmp_path, ["a.png", "b.png", "c.png"], overwrite)
        assert snapshot(tmp_path) == before

    def test_a_folder_s_own_names_need_no_overwrite(self, tmp_path: Path) -> None:
        (tmp_path / "report.html").write_text("old")
        found = outputs_in(tmp_path, ["report.html", "other"], owned=lambda name: name == "report.html")
        assert found.names == ("report.html", "other") and found.listed == ("other",)
        with found.writing():
            (tmp_path / "report.html").write_text("new")
        assert not (tmp_path / MARKER).exists()

    def test_links_inputs_and_folders_are_not_replaced(self, tmp_path: Path) -> None:
        out, photo = tmp_path / "out", tmp_path / "photo.png"
        write(out, ["link.png", "photo.png", "folder"])
        photo.write_text("photo")
        (out / "link.png").unlink()
        (out / "link.png").symlink_to(photo)
        with pytest.raises(InputError, match="link.png is a link"):
            outputs_in(out, ["link.png"], True)
        (out / "photo.png").unlink()
        os.link(photo, out / "photo.png")
        with pytest.raises(InputError, match="photo.png is an input of this command"):
            outputs_in(out, ["photo.png"], True, inputs=[photo])
        (out / "folder").unlink()
        (out / "folder").mkdir()
        with pytest.raises(InputError, match="expected a file or nothing at .*folder, got a folder"):
            outputs_in(out, ["folder"], True)
        assert photo.read_text() == "photo"

    def test_a_dangling_link_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
        with pytest.raises(InputError, match="a.png is a link"):
            outputs_in(tmp_path, ["a.png"], True)

    def test_a_link_to_a_folder_is_that_folder(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "there")
        write(tmp_path / "out", ["a.png"])
        assert written_in(tmp_path / "there") == {"a.png"}

    def test_case_that_the_file_system_ignores_is_ignored(self, tmp_path: Path) -> None:
        write(tmp_path, ["a.png"], "old")
        (tmp_path / "A.png").unlink(missing_ok=True)
        # A hard link stands for a file system on which both names lead to one file.
        os.link(tmp_path / "a.png", tmp_path / "A.png")
        assert outputs_in(tmp_path, ["A.png"], overwrite=True).names == ("A.png",)
        (tmp_path / "A.png").unlink()
        (tmp_path / "A.png").write_text("mine")
        with pytest.raises(InputError, match="did not write it"):
            outputs_in(tmp_path, ["A.png"], overwrite=True)

    @pytest.mark.parametrize(
        ("out", "message"),
        [
            ("", "expected the name of a folder, got an empty name"),
            ("file", "expected a folder, got the file"),
            ("file/below/it", "expected a folder, got the file"),
            ("nothing", "expected a folder, got a link to nothing"),
        ],
    )
    def test_a_folder_that_cannot_be(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").write_text("mine")
        (tmp_path / "nothing").symlink_to(tmp_path / "nowhere")
        with pytest.raises(InputError, match=f"out: {message}"):
            outputs_in(out, ["a.png"], True)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission(self, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(InputError, match="out: expected a writable folder"):
            outputs_in(tmp_path / "locked" / "new", ["a.png"])

    def test_a_failure_leaves_nothing_but_what_was_written(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError), outputs_in(tmp_path / "new" / "out", ["a.png"]).writing():
            raise KeyError
        assert not (tmp_path / "new").exists()
        with pytest.raises(KeyError), outputs_in(tmp_path / "out", ["a.png", "b.png"]).writing() as folder:
            (folder / "a.png").write_text("")
            raise KeyError
        assert written_in(tmp_path / "out") == {"a.png"}

    def test_files_of_a_killed_process_are_listed(self, tmp_path: Path) -> None:
        program = (
            "import os, sys\nfrom pathlib import Path\nfrom splatlearn.core.disk.outputs import outputs_in\n"
            "with outputs_in(sys.argv[1], ['a.png', 'b.png']).writing() as folder:\n"
            "    (folder / 'a.png').write_text('half an album')\n    os._exit(9)"
        )
        assert subprocess.run([sys.executable, "-c", program, str(tmp_path)]).returncode == 9
        write(tmp_path, ["a.png", "b.png"], "whole", overwrite=True)
        assert (tmp_path / "a.png").read_text() == "whole"

    def test_names_without_a_file_are_forgotten(self, tmp_path: Path) -> None:
        write(tmp_path, ["a.png", "b.png"])
        (tmp_path / "a.png").unlink()
        write(tmp_path, ["c.png"])
        (tmp_path / "a.png").write_text("mine")
        with pytest.raises(InputError, match="did not write it"):
            outputs_in(tmp_path, ["a.png"], overwrite=True)


class TestMarkers:
    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"files": "a"}', '{"files": [1]}', '{"files": ["../a"]}', '{"files": ["/a"]}']
    )
    def test_a_marker_that_cannot_be_right_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / MARKER).write_text(text)
        for reading in (lambda: outputs_in(tmp_path, ["b"], True), lambda: remove_listed(tmp_path)):
            with pytest.raises(FormatError, match=MARKER.replace(".", r"\.")):
                reading()

    @pytest.mark.parametrize("name", ["../a", "/a", "a/../b", "", "a\\b"])
    def test_a_name_that_leads_out_is_not_listed(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InputError, match="names: expected names inside"):
            record(tmp_path, [name])
        assert not (tmp_path / MARKER).exists()

    def test_names_of_many_scripts(self, tmp_path: Path) -> None:
        write(tmp_path, ["überblick-edges.png", "写真.ply", "a b.png"])
        assert "写真.ply" in json.loads((tmp_path / MARKER).read_text(encoding="utf-8"))["files"]


class TestRemoving:
    def test_listed_files_go_and_others_stay(self, tmp_path: Path) -> None:
        for name in ("a", "deep/er/b", "deep/er/mine", "other/c"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        record(tmp_path, ["a", "deep/er/b", "other/c"])
        assert remove_listed(tmp_path) == ["deep/er/mine"]
        assert snapshot(tmp_path) == {"deep/er/mine": b"deep/er/mine"} and not (tmp_path / "other").exists()

    def test_some_of_the_listed(self, tmp_path: Path) -> None:
        write(tmp_path, ["a", "b"])
        (tmp_path / "c").write_text("mine")
        assert remove_listed(tmp_path, ["a", "c"]) == ["b", "c"]
        assert written_in(tmp_path) == {"b"}

    def test_nothing_is_reached_through_a_link(self, tmp_path: Path) -> None:
        root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
        for folder in (root, elsewhere):
            folder.mkdir()
        (elsewhere / "a").write_text("mine")
        (root / "folder").symlink_to(elsewhere)
        (root / "b").symlink_to(elsewhere / "a")
        record(root, ["folder/a", "b", "folder"])
        remove_listed(root)
        assert (elsewhere / "a").read_text() == "mine" and elsewhere.is_dir() and not (root / "b").is_symlink()


class TestFiles:
    def test_a_file_is_replaced_with_overwrite_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "page.html"
        assert output_file(path) == path and not path.parent.exists()
        path.parent.mkdir()
        path.write_text("mine")
        with pytest.raises(InputError, match=r"out: .*page\.html exists; choose another .* or give --overwrite"):
            output_file(path)
        assert output_file(path, overwrite=True) == path

    def test_an_input_is_never_replaced(self, tmp_path: Path) -> None:
        photo = tmp_path / "photo.png"
        photo.write_text("photo")
        with pytest.raises(InputError, match="photo.png is an input of this command"):
            output_file(tmp_path / "." / "photo.png", True, inputs=[photo])

    def test_a_link_stands_for_its_file(self, tmp_path: Path) -> None:
        link, target = tmp_path / "link.html", tmp_path / "target.html"
        link.symlink_to(target)
        assert output_file(link) == target
        target.write_text("mine")
        with pytest.raises(InputError, match="target.html exists"):
            output_file(link)
        target.unlink()
        target.symlink_to(link)
        with pytest.raises(InputError, match="a link that leads to itself"):
            output_file(link, True)

    @pytest.mark.parametrize("out", ["", ".", "new/"])
    def test_a_folder_is_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"out: expected a file such as .*view\.html"):
            output_file(out, example="view.html")

    def test_no_file_lies_in_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="out: expected a folder, got the file"):
            output_file(tmp_path / "file" / "page.html")

    @pytest.mark.skipif(not os.path.exists(os.devnull), reason="the system has no such device")
    def test_a_device_is_no_file(self) -> None:
        with pytest.raises(InputError, match="got a device or a pipe"):
            output_file(os.devnull, True)
