"""glTF with KHR_gaussian_splatting: types of attributes, nodes, drafts, colour spaces, and files that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from files.builders import attributes_of, gltf
from files.clouds import picture, psnr, random_cloud, sh_of
from splatlearn.core.gaussians import Gaussians
from splatlearn.core.geometry.quaternions import quaternions_to_matrices
from splatlearn.files import SplatFileError, read_splat_file, read_splats, write_splats

C0 = 0.28209479177387814


def read(document: dict, folder: Path) -> Gaussians:
    """The Gaussians in the axes of the file."""
    path = folder / "scene.gltf"
    path.write_text(json.dumps(document))
    return read_splats(path, frame="LUF")


def assert_same(one: Gaussians, two: Gaussians, atol: float = 1e-6) -> None:
    for name, each in one.tensors().items():
        torch.testing.assert_close(each, two.tensors()[name], rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", ["scene.glb", "scene.gltf"])
@pytest.mark.parametrize("degree", [0, 3])
def test_nothing_is_lost(name: str, degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, degree=degree)
    write_splats(tmp_path / name, cloud)
    found = read_splat_file(tmp_path / name)
    assert (found.format, found.frame, found.degree, found.writer) == ("gltf", "LUF", degree, "splatlearn")
    assert_same(found.gaussians, cloud)
    assert {path.suffix for path in tmp_path.iterdir()} == ({".glb"} if name == "scene.glb" else {".gltf", ".bin"})


def test_the_document_is_what_the_extension_says(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 5, 1)
    write_splats(tmp_path / "scene.gltf", cloud, stored_frame="RDF")
    document = json.loads((tmp_path / "scene.gltf").read_text())
    primitive = document["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0 and document["extensionsUsed"] == ["KHR_gaussian_splatting"]
    numbers = (tmp_path / "scene.bin").read_bytes()
    assert document["buffers"] == [{"byteLength": len(numbers), "uri": "scene.bin"}]

    def values(name: str) -> np.ndarray:
        accessor = document["accessors"][primitive["attributes"][name]]
        view = document["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5121: "u1"}[accessor["componentType"]]
        part = numbers[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(part, kind).reshape(accessor["count"], -1)

    np.testing.assert_array_equal(values("POSITION"), cloud.means.numpy())
    accessor = document["accessors"][primitive["attributes"]["POSITION"]]
    assert accessor["min"] == cloud.means.amin(0).tolist() and accessor["max"] == cloud.means.amax(0).tolist()
    prefix = "KHR_gaussian_splatting:"
    np.testing.assert_allclose(values(prefix + "SCALE"), cloud.scales.numpy(), rtol=1e-6)
    np.testing.assert_allclose(values(prefix + "ROTATION"), cloud.quaternions.roll(-1, 1).numpy(), atol=1e-6)
    np.testing.assert_array_equal(values(prefix + "OPACITY")[:, 0], cloud.opacities.numpy())
    np.testing.assert_array_equal(values(prefix + "SH_DEGREE_1_COEF_2"), sh_of(cloud)[:, 3].numpy())
    assert values("COLOR_0").shape == (5, 4)


def test_integers_that_are_normalised(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 50, 0)
    given = attributes_of(cloud)
    given["ROTATION"] = np.rint(given["ROTATION"] * 32767).astype("<i2"), True
    given["OPACITY"] = np.rint(given["OPACITY"] * 255).astype("u1"), True
    given["SCALE"] = np.rint(given["SCALE"] * 65535).astype("<u2"), True
    found = read(gltf([{"attributes": given}], [{"mesh": 0}]), tmp_path)
    torch.testing.assert_close(found.opacities, cloud.opacities, rtol=0, atol=0.51 / 255)
    torch.testing.assert_close(found.scales, cloud.scales, rtol=0, atol=0.51 / 65535)
    one, two = (quaternions_to_matrices(each.quaternions) for each in (found, cloud))
    torch.testing.assert_close(one, two, rtol=0, atol=3e-4)


def test_nodes_turn_move_and_scale(tmp_path: Path, generator: torch.Generator) -> None:
    one, two = random_cloud(generator, 20, 1), random_cloud(generator, 30, 2)
    half = 0.5**0.5
    nodes = [
        {"children": [1, 2], "translation": [1.0, 2.0, 3.0]},
        {"mesh": 0, "rotation": [0.0, 0.0, half, half], "scale": [2.0, 2.0, 2.0]},
        # The same as a matrix, by columns.
        {"mesh": 1, "matrix": [0, 2, 0, 0, -2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]},
    ]
    found = read(gltf([{"attributes": attributes_of(each)} for each in (one, two)], nodes), tmp_path)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    both = Gaussians.cat([one.with_degree(2), two])
    wanted = both.transformed(turn, torch.tensor([1.0, 2.0, 3.0]), 2.0)
    assert_same(found, wanted, 2e-6)
    assert (found.count, found.degree) == (50, 2)


def test_scales_below_0_are_a_drafts_logarithms(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 20, 0)
    given = attributes_of(cloud)
    given["SCALE"] = np.log(given["SCALE"])
    assert_same(read(gltf([{"attributes": given}], [{"mesh": 0}]), tmp_path), cloud)


def test_linear_colours_become_a_displays(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 50, 1)
    space = {"colorSpace": "lin_rec709_display"}
    found = read(gltf([{"attributes": attributes_of(cloud), "extension": space}], [{"mesh": 0}]), tmp_path)
    linear = (sh_of(cloud)[:, 0].double() * C0 + 0.5).clamp_min(0).requires_grad_()
    shown = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)
    (slope,) = torch.autograd.grad(shown.sum(), linear)
    torch.testing.assert_close(sh_of(found)[:, 0].double() * C0 + 0.5, shown.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sh_of(found)[:, 1:].double(), sh_of(cloud)[:, 1:] * slope[:, None], rtol=1e-5, atol=1e-5)


def test_colours_without_harmonics(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 20, 0)
    given = attributes_of(cloud)
    colors = given.pop("SH_DEGREE_0_COEF_0") * C0 + 0.5
    given["COLOR_0"] = np.concatenate([colors, np.ones((20, 1))], axis=1).astype("<f4")
    assert_same(read(gltf([{"attributes": given}], [{"mesh": 0}]), tmp_path), cloud, 1e-5)
    given["COLOR_0"] = np.ascontiguousarray(given["COLOR_0"][:, :3])
    assert_same(read(gltf([{"attributes": given}], [{"mesh": 0}]), tmp_path), cloud, 1e-5)


def broken(change: str, cloud: Gaussians) -> dict:
    """A document in which one thing is wrong."""
    document = gltf([{"attributes": attributes_of(cloud)}], [{"mesh": 0}])
    primitive = document["meshes"][0]["primitives"][0]
    extension = primitive["extensions"]["KHR_gaussian_splatting"]
    attributes = primitive["attributes"]
    match change:
        case "no Gaussians":
            del primitive["extensions"]
        case "kernel":
            extension["kernel"] = "box"
        case "compressed":
            extension["extensions"] = {"KHR_gaussian_splatting_compression_spz_2": {"bufferView": 0}}
        case "no opacity":
            del attributes["KHR_gaussian_splatting:OPACITY"]
        case "rows":
            document["accessors"][attributes["KHR_gaussian_splatting:SCALE"]]["count"] = 3
        case "count":
            document["accessors"][0]["count"] = 1 << 31
        case "view":
            document["bufferViews"][0]["byteLength"] = 24
        case "buffer":
            document["buffers"][0]["byteLength"] += 1
        case "index":
            attributes["POSITION"] = 99
        case "circle":
            document["nodes"] = [{"children": [1]}, {"children": [0]}]
        case "stretch":
            document["nodes"] = [{"mesh": 0, "scale": [1, 2, 1]}]
        case "outside":
            document["buffers"][0]["uri"] = "../scene.bin"
        case "missing":
            document["buffers"][0]["uri"] = "scene.bin"
        case "version":
            document["asset"] = {"version": "1.0"}
    return document


@pytest.mark.parametrize(
    ("change", "message"),
    {
        "no Gaussians": "expected Gaussians by the extension KHR_gaussian_splatting, got a glTF file without them",
        "kernel": "got the kernel 'box'",
        "compressed": "without compression, got the extension KHR_gaussian_splatting_compression_spz_2",
        "no opacity": "expected the attribute KHR_gaussian_splatting:OPACITY, found none",
        "rows": "SCALE: expected 20 rows, as positions have, got 3",
        "count": "expected at most 20000000 Gaussians, got a count of 2147483648",
        "view": "accessor 0: expected 240 bytes within a view of 24",
        "buffer": r"buffers\[0\]: expected \d+ bytes, got \d+",
        "index": "accessors: expected an index below 5, got 99",
        "circle": "expected a tree of at most 100000 nodes, got one that comes twice",
        "stretch": "got one that stretches",
        "outside": r"expected names of files beside the .gltf file, got '../scene.bin'",
        "missing": "scene.bin: expected a file beside scene.gltf, found none",
        "version": "expected glTF 2, got version 1.0",
    }.items(),
)
def test_what_does_not_fit_is_named(change: str, message: str, tmp_path: Path, generator: torch.Generator) -> None:
    with pytest.raises(SplatFileError, match=message):
        read(broken(change, random_cloud(generator, 20, 0)), tmp_path)


def test_a_mesh_that_is_shown_too_often(tmp_path: Path) -> None:
    # A document of 400 kB would become Gaussians of 5 GB.
    document = gltf([{"attributes": {"POSITION": np.ones((3000, 3), "<f4")}}], [])
    document["nodes"] = [{"children": list(range(1, 6000))}, *({"mesh": 0} for _ in range(5999))]
    for name in ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0"):
        width = {"ROTATION": "VEC4", "OPACITY": "SCALAR"}.get(name, "VEC3")
        document["accessors"].append({"bufferView": 0, "componentType": 5126, "count": 2000, "type": width})
        key = f"KHR_gaussian_splatting:{name}"
        document["meshes"][0]["primitives"][0]["attributes"][key] = len(document["accessors"]) - 1
    document["accessors"][0]["count"] = 2000
    with pytest.raises(SplatFileError, match="glTF: expected at most 1024 bytes from each byte, got 671888000 from"):
        read(document, tmp_path)
    document["nodes"] = document["nodes"][:11]
    document["nodes"][0]["children"] = list(range(1, 11))
    assert read(document, tmp_path).count == 20_000


def test_axes_are_those_of_gltf(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 50, 1)
    write_splats(tmp_path / "scene.glb", cloud)
    raw = read_splats(tmp_path / "scene.glb", frame="LUF")
    # x left, y up, z front, of x right, y down, z front: half a turn about z.
    torch.testing.assert_close(raw.means, cloud.means * torch.tensor([-1.0, -1.0, 1.0]))
    assert psnr(picture(read_splats(tmp_path / "scene.glb")), picture(cloud)) > 100
