"""`splatlearn convert`: what it keeps, where it puts it, and what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli.commands import run
from files.clouds import covariances, random_cloud, sh_of
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.frames import frame_matrix
from splatlearn.core.memory import shown_bytes
from splatlearn.files import read_splat_file, read_splats, write_splats


@pytest.fixture
def cloud(tmp_path: Path, generator: torch.Generator) -> Gaussians:
    made = random_cloud(generator, 200, 2)
    write_splats(tmp_path / "scene.ply", made)
    return made


def assert_same(one: Gaussians, two: Gaussians) -> None:
    # A rotation has two quaternions.
    torch.testing.assert_close(covariances(one), covariances(two), rtol=1e-4, atol=1e-6)
    for name in ("means", "opacities", "sh"):
        torch.testing.assert_close(one.tensors()[name], two.tensors()[name], rtol=1e-5, atol=1e-5)


def test_a_box_in_the_coordinates_of_the_file(tmp_path: Path, cloud: Gaussians, capsys) -> None:
    # x right, y front, z up: what is high in the file has a small y here.
    write_splats(tmp_path / "up.ply", cloud, stored_frame="RFU")
    box = ("--crop", -9, -9, 0.25, 9, 9, 9)
    assert run("convert", tmp_path / "up.ply", tmp_path / "out.ply", "--stored-frame", "RFU", *box) == 0
    kept = cloud.means[:, 1] <= -0.25
    assert_same(read_splats(tmp_path / "out.ply"), cloud.select(kept))
    assert f"{int((~kept).sum())} of 200 Gaussians are left out" in capsys.readouterr().err


def test_axes_and_lengths(tmp_path: Path, cloud: Gaussians) -> None:
    assert run("convert", tmp_path / "scene.ply", tmp_path / "out.glb", "--scale", 2.5, "--frame", "RFU") == 0
    raw = read_splats(tmp_path / "out.glb", stored_frame="RFU", frame="RFU")
    assert_same(raw, cloud.transformed(frame_matrix("RDF", "RFU"), scale=2.5))


def test_several_scenes_become_one(tmp_path: Path, cloud: Gaussians) -> None:
    other = replace(cloud.with_degree(0), means=cloud.means + 3)
    write_splats(tmp_path / "other.glb", other)
    assert run("convert", tmp_path / "scene.ply", tmp_path / "both.ply", "--merge", tmp_path / "other.glb") == 0
    assert_same(read_splats(tmp_path / "both.ply"), Gaussians.cat([cloud, other.with_degree(2)]))


def test_conditions(tmp_path: Path, cloud: Gaussians) -> None:
    conditions = ("--min-opacity", 0.5, "--max-scale", 0.1)
    assert run("convert", tmp_path / "scene.ply", tmp_path / "out.ply", *conditions) == 0
    kept = (cloud.opacities >= 0.5) & (cloud.scales.amax(1) <= 0.1)
    assert_same(read_splats(tmp_path / "out.ply"), cloud.select(kept))
    assert run("convert", tmp_path / "scene.ply", tmp_path / "none.ply", "--max-scale", 1e-6) == 2
    assert not (tmp_path / "none.ply").exists()


def test_floaters_are_left_out(tmp_path: Path, cloud: Gaussians) -> None:
    alone = replace(cloud.select(slice(3)), means=torch.tensor([[40.0, 0, 0], [0, -50, 0], [0, 9, 60]]))
    alone = replace(alone, scales=0.01 * torch.ones(3, 3))
    write_splats(tmp_path / "dirty.ply", Gaussians.cat([cloud, alone]))
    assert run("convert", tmp_path / "dirty.ply", tmp_path / "clean.ply", "--remove-floaters") == 0
    assert_same(read_splats(tmp_path / "clean.ply"), cloud)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path, cloud: Gaussians, capsys) -> None:
    assert run("convert", tmp_path / "scene.ply", tmp_path / "out.splat") == 0
    assert "out.splat holds harmonics up to degree 0: those above it are left out" in capsys.readouterr().err
    found = read_splat_file(tmp_path / "out.splat")
    assert (found.count, found.degree) == (200, 0)
    # Asked for, it is no surprise.
    assert run("convert", tmp_path / "scene.ply", tmp_path / "out.splat", "--degree", 0, "--overwrite") == 0
    assert capsys.readouterr().err == ""


def test_the_mark_of_antialiasing(tmp_path: Path, cloud: Gaussians, capsys) -> None:
    write_splats(tmp_path / "marked.ply", cloud, antialiased=True)
    assert run("convert", tmp_path / "marked.ply", tmp_path / "out.spz") == 0
    assert read_splat_file(tmp_path / "out.spz").antialiased
    assert run("convert", tmp_path / "marked.ply", tmp_path / "both.spz", "--merge", tmp_path / "scene.ply") == 0
    assert not read_splat_file(tmp_path / "both.spz").antialiased
    assert "some inputs are antialiased and others are not" in " ".join(capsys.readouterr().err.split())


def test_numbers_beside_a_gltf_count(tmp_path: Path, cloud: Gaussians, capsys) -> None:
    assert run("convert", tmp_path / "scene.ply", tmp_path / "out.gltf") == 0
    size = (tmp_path / "out.gltf").stat().st_size + (tmp_path / "out.bin").stat().st_size
    assert shown_bytes(size) in capsys.readouterr().out
    assert sh_of(read_splats(tmp_path / "out.gltf")).shape == (200, 9, 3)


@pytest.mark.parametrize(("name", "beside"), [("out.gltf", "out.bin"), ("meta.json", "quats.webp")])
def test_files_that_belong_to_the_output_are_not_replaced_unasked(
    name: str, beside: str, tmp_path: Path, cloud: Gaussians, capsys
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / beside).write_bytes(b"mine")
    assert run("convert", tmp_path / "scene.ply", folder / name) == 2
    assert f"{beside} exists; choose another with --out, or give --overwrite" in " ".join(
        capsys.readouterr().err.split()
    )
    assert [each.name for each in folder.iterdir()] == [beside] and (folder / beside).read_bytes() == b"mine"
    assert run("convert", tmp_path / "scene.ply", folder / name, "--overwrite") == 0
    assert read_splats(folder / name).count == 200


@pytest.mark.parametrize("name", ["scene.gltf", "meta.json"])
def test_an_input_is_never_replaced(name: str, tmp_path: Path, cloud: Gaussians, capsys) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    write_splats(folder / name, cloud)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    for scene in {"scene.gltf": [folder / name], "meta.json": [folder / name, folder]}[name]:
        assert run("convert", scene, folder / name, "--overwrite", "--degree", 0) == 2
        assert "is an input of this command" in " ".join(capsys.readouterr().err.split())
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before


def test_all_images_of_a_scene_count(tmp_path: Path, cloud: Gaussians, capsys) -> None:
    folder = tmp_path / "sog"
    assert run("convert", tmp_path / "scene.ply", folder / "meta.json") == 0
    size = sum(each.stat().st_size for each in folder.iterdir())
    assert f"{size / 200:.1f} bytes each" in capsys.readouterr().out
