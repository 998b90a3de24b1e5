"""Pictures survive each format within its quantisation; names, frames and files that exist are respected."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from files.clouds import picture, psnr, random_cloud
from scenes import random_gaussians
from splatlearn.core.cameras import Camera
from splatlearn.core.geometry.frames import frame_matrix
from splatlearn.files import SPLAT_FORMATS, SplatFileError, read_splats, to_pinhole, write_splats
from splatlearn.files.formats import WRITERS, files_beside
from splatlearn.files.spz.container import SpzVersion
from splatlearn.rendering import render

# dB; measured 139, 51, 46, 52, 52, 61 and 61 for the scenes below.
LOWEST: dict[tuple[str, SpzVersion], float] = {
    ("a.ply", 3): 120,
    ("a.compressed.ply", 3): 47,
    ("a.spz", 2): 43,
    ("a.spz", 3): 48,
    ("a.spz", 4): 48,
    ("a.sog", 3): 57,
    ("meta.json", 3): 57,
    ("a.glb", 3): 120,
    ("a.gltf", 3): 120,
    ("a.sl3", 3): 36,
}


@pytest.mark.parametrize(("name", "version"), LOWEST)
@pytest.mark.parametrize("degree", [0, 3])
def test_pictures_survive(name: str, version: SpzVersion, degree: int, tmp_path: Path) -> None:
    cloud = random_cloud(torch.Generator().manual_seed(degree), degree=degree)
    write_splats(tmp_path / name, cloud, spz_version=version)
    assert psnr(picture(cloud), picture(read_splats(tmp_path / name))) > LOWEST[name, version]


@pytest.mark.parametrize(("name", "version"), LOWEST)
def test_writing_again_changes_next_to_nothing(name: str, version: SpzVersion, tmp_path: Path) -> None:
    cloud = random_cloud(torch.Generator().manual_seed(1), degree=1)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_splats(first / name, cloud, spz_version=version)
    once = read_splats(first / name)
    write_splats(second / name, once, spz_version=version)
    # Numbers already lie on the format's steps, but for SOG's codebook of the many harmonics, and .sl3's own steps of
    # each scene.
    assert psnr(picture(once), picture(read_splats(second / name))) > (40 if name == "a.sl3" else 90)


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz", "a.sog"])
def test_a_baked_picture_survives(name: str, tmp_path: Path, generator: torch.Generator) -> None:
    gaussians, camera = random_gaussians(generator, (), 80), Camera.gmae(48, 64)
    baked, pinhole = to_pinhole(gaussians, camera)
    write_splats(tmp_path / name, baked)
    shown = render(read_splats(tmp_path / name), pinhole).color
    assert psnr(shown, render(gaussians, camera).color) > LOWEST[name, 3]


@pytest.mark.parametrize("format", SPLAT_FORMATS)
def test_the_format_may_be_named(format, tmp_path: Path, generator: torch.Generator) -> None:
    degree = min(1, WRITERS[format].highest_degree)
    cloud = random_cloud(generator, count=10, degree=degree)
    # .splat is known by its name alone, and tensors lie in a folder.
    name = {"splat": "anything.splat", "tensors": "splats.json"}.get(format, "anything")
    write_splats(tmp_path / name, cloud, format=format)
    back = read_splats(tmp_path / name)
    beside = [path.name for path in files_beside(tmp_path / name, format)]
    assert back.count == 10 and back.degree == degree and {path.name for path in tmp_path.iterdir()} == {name, *beside}


@pytest.mark.parametrize(("name", "version"), [*LOWEST, ("a.splat", 3), ("splats.json", 3)])
def test_pictures_survive_in_every_frame_and_degree(name: str, version: SpzVersion, tmp_path: Path) -> None:
    """Eight frames with each axis in each place and both hands: two for each degree, one where encoding takes long."""
    each = 1 if name in ("a.sl3", "a.sog", "meta.json") else 2
    frames = iter(("RDF", "RUB", "LUF", "BRU", "FLD", "URB", "DFL", "UBR"))
    for degree in range(4):
        cloud = random_cloud(torch.Generator().manual_seed(degree), count=60, degree=degree)
        if name == "a.splat":
            cloud = cloud.with_degree(0)
        shown, lowest = picture(cloud, 32), LOWEST.get((name, version), 20 if name == "a.splat" else 120)
        for frame in (next(frames), next(frames))[:each]:
            write_splats(tmp_path / name, cloud, spz_version=version, stored_frame=frame)
            back = read_splats(tmp_path / name, stored_frame=frame)
            assert psnr(shown, picture(back, 32)) > lowest - 3, (degree, frame)


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz", "a.sog", "a.glb"])
def test_scenes_of_any_frame_are_written_in_the_format_s(name: str, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=50, degree=2)
    write_splats(tmp_path / name, cloud)
    turned = cloud.transformed(frame_matrix("RDF", "LUF"))
    write_splats(tmp_path / f"2{name}", turned, frame="LUF")
    one, two = read_splats(tmp_path / name), read_splats(tmp_path / f"2{name}")
    assert psnr(picture(one), picture(two)) > 45
    raw = read_splats(tmp_path / name, frame="BRU")
    torch.testing.assert_close(raw.means, one.means @ frame_matrix("RDF", "BRU").T)
    assert psnr(picture(raw.transformed(frame_matrix("BRU", "RDF"))), picture(one)) > 100


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, degree=4)
    path = tmp_path / "scene.sog"
    write_splats(path, cloud.with_degree(3))
    before = path.read_bytes()
    for broken, message in [
        (cloud, r"gaussians: expected harmonics of degree 3 at most for sog, got 4; write gaussians.with_degree\(3\)"),
        (replace(cloud.with_degree(1), means=cloud.means / 0), "means: expected finite values, got 900 of 900"),
        (replace(cloud.with_degree(1), scales=-cloud.scales), "scales: expected standard deviations above 0, got -0"),
        (replace(cloud.with_degree(1), opacities=cloud.opacities + 1), r"opacities: expected numbers in \[0, 1\], got"),
        (cloud.with_degree(1).select(slice(0)), "gaussians: expected at least one Gaussian, got none"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_splats(path, broken)
        assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_every_name_has_a_writer() -> None:
    assert set(WRITERS) == set(SPLAT_FORMATS)


@pytest.mark.usefixtures("no_shape_checks")
def test_arguments(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=3)
    with pytest.raises(
        ValueError, match=r"path: expected a name that ends in splats\.json, \.compressed\.ply, .*got 'scene.obj'"
    ):
        write_splats(tmp_path / "scene.obj", cloud)
    with pytest.raises(
        ValueError, match="format: expected one of ply, compressed-ply, spz, sog, splat, gltf, sl3, tensors, got 'obj'"
    ):
        write_splats(tmp_path / "scene.obj", cloud, format="obj")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="path: expected a folder's splats.json for tensors, got .*scene"):
        write_splats(tmp_path / "scene", cloud, format="tensors")
    with pytest.raises(ValueError, match=r"gaussians: expected one set, .* got \[2, 12, 3\]; index the batch"):
        write_splats(tmp_path / "scene.ply", random_gaussians(generator))
    with pytest.raises(ValueError, match="gaussians: expected 3 colour channels, got 5"):
        write_splats(tmp_path / "scene.ply", random_gaussians(generator, (), channels=5))
    with pytest.raises(TypeError, match="path: expected a str or a PathLike, got Gaussians"):
        write_splats(cloud, tmp_path / "scene.ply")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="frame: expected the directions of x, y and z"):
        write_splats(tmp_path / "scene.ply", cloud, frame="ABC")
    with pytest.raises(ValueError, match="stored_frame: expected the directions of x, y and z"):
        write_splats(tmp_path / "scene.ply", cloud, stored_frame="ABC")
    with pytest.raises(FileNotFoundError, match="none.ply: expected a splat file, found none"):
        read_splats(tmp_path / "none.ply")
    with pytest.raises(ValueError, match="stored_frame: expected the directions of x, y and z"):
        read_splats(tmp_path / "none.ply", stored_frame="ABC")
    with pytest.raises(SplatFileError, match="meta.json: expected a file in the folder, found none"):
        read_splats(tmp_path)
    (tmp_path / "scene.ply").write_bytes(b"solid cube")
    with pytest.raises(SplatFileError, match="expected a splat file, got an STL mesh$"):
        read_splats(tmp_path / "scene.ply")
    with pytest.raises(SplatFileError, match="/dev/null: unreadable splat file: expected a regular file"):
        read_splats("/dev/null")
