"""Photographs under names that are not quite theirs, turned ones, masks, and those without a camera or a file."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captures.synthetic import lens_of, synthetic, write_colmap_text, write_nerfstudio, write_photographs
from splatlearn.captures import Capture, Lens, load_capture
from splatlearn.captures.finding.headers import Header, fitted
from splatlearn.captures.finding.masks import MaskIndex
from splatlearn.captures.finding.names import parts_of
from splatlearn.captures.finding.photographs import PictureIndex, best_root
from splatlearn.core.errors import FormatError, InputError, MissingError

SIX = tuple(f"{number}.png" for number in range(6))


def capture_of(folder: Path, names: tuple[str, ...] = SIX, lens: Lens | None = None) -> Path:
    """A COLMAP capture without photographs."""
    write_colmap_text(folder / "sparse" / "0", synthetic(lens or lens_of("PINHOLE"), names))
    return folder


def names_in(capture: Capture) -> list[str]:
    return [view.name for view in capture.views]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/b.png", ("a", "b.png")),
        ("./a//b.png", ("a", "b.png")),
        ("../../etc/passwd", ("etc", "passwd")),
        ("a/../../b", ("b",)),
        ("/home/me/a.png", ("home", "me", "a.png")),
        ("C:\\me\\a.png", ("me", "a.png")),
        ("", ()),
        ("..", ()),
    ],
)
def test_names_never_lead_out(name: str, parts: tuple[str, ...]) -> None:
    assert parts_of(name) == parts


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/x.jpg", "a/x.jpg"),
        ("A/X.JPG", "a/x.jpg"),
        ("a/x", "a/x.jpg"),
        ("a/x.png", "a/x.jpg"),
        ("/home/me/photos/a/x.jpg", "a/x.jpg"),
        ("photos\\a\\x.jpg", "a/x.jpg"),
        ("b/x.jpg", None),  # another folder's x.jpg is another photograph
        ("x.jpg", "a/x.jpg"),
        ("y.jpg", None),  # two of them
        ("z.jpg", None),  # z.jpg.png is its mask
        ("z.jpg.png", "c/z.jpg.png"),
        ("", None),
        ("a", None),
        ("a/x.jpg\0", None),
    ],
)
def test_inexact_names(name: str, found: str | None, tmp_path: Path) -> None:
    write_photographs(tmp_path, ("a/x.jpg", "a/y.jpg", "b/y.jpg", "c/z.jpg.png"))
    assert PictureIndex(tmp_path).find(name) == found


def test_no_photograph_is_taken_for_another(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", ("a.png", "b.jpg"))
    _, found = best_root([tmp_path / "images"], ["A.jpg", "a.png", "b.png", "B.PNG"])
    assert found == [None, "a.png", "b.jpg", None]


def test_a_mask_is_no_photograph(tmp_path: Path) -> None:
    """Also where the photograph of its name is missing, and the whole folder is searched for it."""
    write_photographs(tmp_path / "images", ("0.jpg", "1.jpg"))
    write_photographs(tmp_path / "masks", ("0.png", "1.png", "2.png"))
    write_photographs(tmp_path / "depth", ("2.jpg",))
    capture = load_capture(capture_of(tmp_path, ("0.jpg", "1.jpg", "2.jpg")))
    assert names_in(capture) == ["0.jpg", "1.jpg"] and capture.missing == ("2.jpg",)
    write_photographs(tmp_path / "more", ("2.jpg",))
    assert names_in(load_capture(tmp_path)) == ["images/0.jpg", "images/1.jpg", "more/2.jpg"]


def test_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(InputError, match=f"path: cannot read {tmp_path}: .*Permission denied"):
        load_capture(tmp_path)


def test_the_folder_with_most_photographs_is_taken(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX[:2])
    write_photographs(tmp_path / "input", SIX)
    capture = load_capture(capture_of(tmp_path))
    assert len(capture) == 6 and capture.views[0].path == tmp_path / "input" / "0.png"


def test_a_folder_of_reduced_photographs(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX)
    write_photographs(tmp_path / "images_2", SIX, (24, 17))
    capture = load_capture(capture_of(tmp_path), images="images_2")
    lens = capture.views[0].lens
    assert capture.problems == () and (lens.width, lens.height) == (24, 17)
    # Each axis is scaled by its own ratio.
    assert lens.params == pytest.approx((40 / 2, 42 * 17 / 32, 23 / 2, 17 * 17 / 32))
    with pytest.raises(MissingError, match="images_4"):
        load_capture(tmp_path, images="images_4")


def test_what_is_missing_is_named_and_counted(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", (*SIX[:4], "more.png", "nested/other.png"))
    capture = load_capture(capture_of(tmp_path))
    assert capture.missing == ("4.png", "5.png") and capture.unposed == ("more.png",)
    assert capture.problems == (
        "2 views of the capture have no photograph on disk and are left out: 4.png, 5.png.",
        f"1 of 5 photographs below {tmp_path / 'images'} have no camera and are left out: more.png; the tool that "
        "computed the cameras did not register them.",
    )


def test_no_photograph_at_all(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="6 views of the capture have no photograph on disk"):
        load_capture(capture_of(tmp_path))


def test_unreadable_and_foreign_photographs_are_left_out(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX[:3])
    (tmp_path / "images" / "3.png").write_bytes(b"no picture")
    (tmp_path / "images" / "4.png").write_bytes(b"")
    write_photographs(tmp_path / "images", ("5.png",), (40, 40))
    capture = load_capture(capture_of(tmp_path))
    assert names_in(capture) == list(SIX[:3])
    told = " ".join(capture.problems)
    assert "3.png" in told and "4.png" in told and "cannot be read" in told
    assert "40 x 40 pixels, its camera 48 x 32, which is another shape" in told


def test_photographs_listed_twice(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX)
    capture = load_capture(capture_of(tmp_path, (*SIX, "0.png", "./1.png")))
    assert names_in(capture) == list(SIX)
    assert capture.problems == (
        "2 views left out (0.png, 1.png): the view is listed more than once; the first pose is taken.",
    )


@pytest.mark.parametrize(
    ("size", "turn", "camera", "expected"),
    [
        ((40, 30), 1, (40, 30), (40, 30, 1)),
        ((40, 30), 6, (40, 30), (40, 30, 1)),  # pixels count as they are stored
        ((40, 30), 3, (40, 30), (40, 30, 1)),
        ((40, 30), 6, (30, 40), (30, 40, 6)),  # unless only the turned picture fits
        ((40, 30), 1, (30, 40), None),
        ((40, 30), 3, (30, 40), None),
        ((40, 30), 6, (300, 400), (30, 40, 6)),
        ((4032, 3024), 1, (1008, 756), (4032, 3024, 1)),
        ((1008, 757), 1, (4032, 3025), (1008, 757, 1)),
        ((1013, 756), 1, (4032, 3024), None),
        ((30, 30), 6, (30, 30), (30, 30, 1)),
        ((100, 101), 6, (101, 100), (101, 100, 6)),  # exact sizes come first
    ],
)
def test_orientation(
    size: tuple[int, int], turn: int, camera: tuple[int, int], expected: tuple[int, int, int] | None
) -> None:
    assert fitted(Header(*size, orientation=turn), *camera) == expected


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_turned_photographs(suffix: str, tmp_path: Path) -> None:
    names = tuple(f"{number}.{suffix}" for number in range(3))
    write_photographs(tmp_path / "images", names, (32, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 48)).save(tmp_path / "images" / names[0], exif=exif)
    capture = load_capture(capture_of(tmp_path, names))
    assert names_in(capture) == [names[0]] and capture.views[0].orientation == 6
    assert (capture.views[0].lens.width, capture.views[0].lens.height) == (48, 32)
    assert f"are turned (1): {names[0]}." in " ".join(capture.problems)


@pytest.mark.parametrize("named", ["{stem}.png", "{name}.png", "{stem}.jpg", "{STEM}.PNG"])
@pytest.mark.parametrize("folder", ["masks", "images/../mask"])
def test_masks_beside_photographs(named: str, folder: str, tmp_path: Path) -> None:
    names = ("a/x 1.jpg", "a/y.jpg", "b/y.jpg")
    write_photographs(tmp_path / "images", names)
    masks = {name: named.format(name=name, stem=name[:-4], STEM=name[:-4].upper()) for name in names}
    write_photographs(tmp_path / folder, tuple(masks.values()))
    capture = load_capture(capture_of(tmp_path, names))
    assert capture.problems == ()
    for view in capture.views:
        assert view.mask_path is not None and view.mask_path.samefile(tmp_path / folder / masks[view.name])


def test_masks_that_are_missing_or_fit_two(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", ("a/x.png", "b/x.png", "b/z.png"))
    write_photographs(tmp_path / "masks", ("x.png",))
    capture = load_capture(capture_of(tmp_path, ("a/x.png", "b/x.png", "b/z.png")))
    assert not any(view.mask_path for view in capture.views)
    assert capture.problems == (
        "More than one photograph would use the same mask, which is not used: x.png; put masks into folders as their "
        "photographs are.",
    )
    write_photographs(tmp_path / "masks", ("a/x.png", "b/x.png"))
    (tmp_path / "masks" / "x.png").unlink()
    capture = load_capture(tmp_path)
    assert [view.mask_path is not None for view in capture.views] == [True, True, False]
    assert capture.problems == ("1 of 3 views have no mask: b/z.png.",)


def test_masks_that_frames_name(tmp_path: Path) -> None:
    import json

    made = synthetic(lens_of("PINHOLE"), SIX)
    write_photographs(tmp_path / "images", SIX)
    write_photographs(tmp_path / "somewhere", SIX[:5])
    write_nerfstudio(tmp_path, made)
    document = json.loads((tmp_path / "transforms.json").read_text())
    for index, frame in enumerate(document["frames"]):
        frame["mask_path"] = f"somewhere/{index}.png"
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    capture = load_capture(tmp_path)
    assert capture.views[2].mask_path == tmp_path / "somewhere" / "2.png"
    assert capture.views[5].mask_path is None
    assert "Masks that frames name are not there (1): somewhere/5.png." in capture.problems
    assert capture.unposed == ()


def test_no_masks() -> None:
    assert not MaskIndex([]) and MaskIndex([]).find("a.png") is None


def test_alpha_channels(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX)
    Image.new("RGBA", (48, 32)).save(tmp_path / "images" / "1.png")
    Image.new("LA", (48, 32)).save(tmp_path / "images" / "2.png")
    Image.fromarray(np.zeros((32, 48), np.uint8)).save(tmp_path / "images" / "3.png", transparency=0)
    assert [view.has_alpha for view in load_capture(capture_of(tmp_path)).views] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_links_that_lead_to_themselves(tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX[:5])
    os.symlink("5.png", tmp_path / "images" / "5.png")
    os.symlink(tmp_path, tmp_path / "images" / "again")
    capture = load_capture(capture_of(tmp_path))
    assert names_in(capture) == list(SIX[:5]) and capture.missing == ("5.png",)


def test_what_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="found nothing at"):
        load_capture(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected a capture \(sparse/0 \(COLMAP\), transforms.json"):
        load_capture(tmp_path)
    write_photographs(tmp_path / "images", SIX)
    with pytest.raises(InputError, match="found 6 photographs without any in .*; compute them first"):
        load_capture(tmp_path)
    with pytest.raises(InputError, match="expected a folder, a zip archive or a transforms file"):
        load_capture(tmp_path / "images" / "0.png")
    with pytest.raises(InputError, match="path: expected a name"):
        load_capture("")


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("keyframes/corrected_cameras/1.json", "Polycam's raw data: `ns-process-data polycam` writes transforms.json"),
        ("database.db", "a database of COLMAP without a model"),
        ("cameras.xml", "perhaps Metashape's cameras: export the cameras from there in COLMAP's format"),
    ],
)
def test_layouts_that_are_not_read(name: str, way: str, tmp_path: Path) -> None:
    write_photographs(tmp_path / "images", SIX)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        load_capture(tmp_path)
    assert "found 6 photographs without any" in str(caught.value) and way in str(caught.value)


@pytest.mark.usefixtures("no_shape_checks")
def test_an_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layout: expected one of colmap, transforms, rgbd, got 'nerf'"):
        load_capture(tmp_path, layout="nerf")  # pyright: ignore[reportArgumentType]
