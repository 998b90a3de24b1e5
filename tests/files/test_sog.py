import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from files.clouds import random_cloud, sh_of
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import SplatFileError, read_splat_file, read_splats, write_splats
from splatlearn.files.sog import writer as sog_write
from splatlearn.files.sog.writer import codebook
from splatlearn.files.stored import morton_order


def webp(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(
        buffer, **({"format": "WEBP", "lossless": True, "exact": True} | options)
    )
    return buffer.getvalue()


def scene() -> dict[str, Any]:
    """One Gaussian of degree 1 packed by hand into images of 2 x 2 pixels."""

    def pixel(*channels: int) -> bytes:
        image = np.zeros((2, 2, 4), np.uint8)
        image[0, 0] = channels
        return webp(image)

    centroids = np.zeros((1, 192, 3), np.uint8)
    centroids[0, 3 * 5 : 3 * 6] = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]  # entry 5
    book = (np.arange(256) / 64 - 2).tolist()
    meta = {
        "version": 2,
        "count": 1,
        "means": {"mins": [-1, -2, 0], "maxs": [1, 2, 3], "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": (np.arange(256) / 32 - 8).tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": book, "files": ["sh0.webp"]},
        "shN": {"count": 6, "bands": 1, "codebook": book, "files": ["shN_centroids.webp", "shN_labels.webp"]},
    }
    return {
        "meta.json": meta,
        "means_l.webp": pixel(255, 0, 1, 255),
        "means_u.webp": pixel(255, 0, 2, 255),
        "scales.webp": pixel(0, 64, 255, 255),
        "quats.webp": pixel(255, 127, 30, 254),
        "sh0.webp": pixel(0, 128, 255, 51),
        "shN_centroids.webp": webp(centroids),
        "shN_labels.webp": pixel(5, 0, 0, 255),
    }


def bundle(files: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content) if isinstance(content, dict) else content)
    return buffer.getvalue()


def read(files: dict[str, Any] | bytes, tmp_path: Path) -> Gaussians:
    path = tmp_path / "scene.sog"
    path.write_bytes(bundle(files) if isinstance(files, dict) else files)
    return read_splats(path)


def test_a_gaussian_packed_by_hand(tmp_path: Path) -> None:
    cloud = read(scene(), tmp_path)
    z = math.expm1(3 * 513 / 65535)
    torch.testing.assert_close(cloud.means, torch.tensor([[math.expm1(1), -math.expm1(2), z]]))
    torch.testing.assert_close(cloud.scales.log(), torch.tensor([[-8.0, -6.0, 255 / 32 - 8]]))
    w, x, z = (value / 127.5 - 1 for value in (255, 127, 30))
    y = math.sqrt(max(0, 1 - (w * w + x * x + z * z) / 2))
    expected = torch.tensor([[w / math.sqrt(2), x / math.sqrt(2), y, z / math.sqrt(2)]])
    torch.testing.assert_close(cloud.quaternions, torch.nn.functional.normalize(expected, dim=-1))
    torch.testing.assert_close(sh_of(cloud)[0, 0], torch.tensor([0.0, 128.0, 255.0]) / 64 - 2)
    high = torch.tensor([[10.0, 20, 30], [40, 50, 60], [70, 80, 90]])
    torch.testing.assert_close(sh_of(cloud)[0, 1:], high / 64 - 2)
    assert cloud.opacities.item() == pytest.approx(51 / 255)


def test_folders_and_their_description(tmp_path: Path) -> None:
    for name, content in scene().items():
        (tmp_path / name).write_bytes(json.dumps(content).encode() if isinstance(content, dict) else content)
    for path in (tmp_path, tmp_path / "meta.json"):
        assert read_splats(path).count == 1


def test_a_tag_that_names_no_entry_is_the_identity(tmp_path: Path) -> None:
    files = scene()
    image = np.zeros((2, 2, 4), np.uint8)
    image[..., 3] = 17
    assert read(files | {"quats.webp": webp(image)}, tmp_path).quaternions.tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_png_serves_too(tmp_path: Path) -> None:
    files = scene()
    image = Image.open(io.BytesIO(files["sh0.webp"]))
    assert read(files | {"sh0.webp": webp(np.asarray(image), format="PNG")}, tmp_path).count == 1


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("missing", [("bands", "count"), ("bands",), ("count",)])
def test_the_image_says_what_the_first_files_left_out(
    missing: tuple[str, ...], degree: int, tmp_path: Path, generator: torch.Generator
) -> None:
    path = tmp_path / "scene.sog"
    write_splats(path, random_cloud(generator, count=200, degree=degree))
    whole = read_splats(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(files["meta.json"])
    for name in missing:
        del meta["shN"][name]
    back = read(files | {"meta.json": meta}, tmp_path)
    assert (back.degree, back.count) == (degree, 200)
    assert torch.equal(sh_of(back), sh_of(whole))
    narrow = webp(np.zeros((4, 100, 4)))
    with pytest.raises(SplatFileError, match="shN_centroids.webp: expected "):
        read(files | {"meta.json": meta, "shN_centroids.webp": narrow}, tmp_path)


def test_other_versions_are_named(tmp_path: Path) -> None:
    files = scene()
    del files["meta.json"]["version"]
    with pytest.raises(SplatFileError, match="expected SOG of version 1 or 2, got a meta.json without a version"):
        read(files, tmp_path)
    files["meta.json"]["version"] = 3
    with pytest.raises(SplatFileError, match="expected SOG of version 1 or 2, got version 3"):
        read(files, tmp_path)
    del files["meta.json"]["version"]
    files["meta.json"]["means"] |= {"shape": 4}
    with pytest.raises(SplatFileError, match="meta.json: shape: expected two numbers, got 4"):
        read(files, tmp_path)


def test_folders_of_levels_of_detail_are_named(tmp_path: Path) -> None:
    (tmp_path / "lod-meta.json").write_text("{}")
    with pytest.raises(SplatFileError, match="expected a SOG scene with meta.json, got a streamed one with lod-meta"):
        read_splats(tmp_path)


@pytest.mark.parametrize("name", ["scene.sog", "meta.json"])
@pytest.mark.parametrize("degree", range(4))
def test_rounding(name: str, degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, count=400, degree=degree)
    write_splats(tmp_path / name, cloud, antialiased=True)
    found = read_splat_file(tmp_path / name)
    back = found.gaussians
    assert found.antialiased and found.degree == back.degree == degree
    order = torch.cdist(back.means, cloud.means).argmin(dim=1)
    assert len(order.unique()) == 400
    cloud = cloud.select(order)
    assert (back.means - cloud.means).abs().max() < 2 * math.log(2) / 65535 * 2
    assert (back.opacities - cloud.opacities).abs().max() < 0.5001 / 255
    assert ((back.quaternions * cloud.quaternions).sum(-1).abs() > 1 - 4e-5).all()
    # Clustered numbers: at most four times what 256 even steps would leave.
    assert (back.scales.log() - cloud.scales.log()).abs().max() < 2 * math.log(15) / 256
    assert (sh_of(back)[:, 0] - sh_of(cloud)[:, 0]).abs().max() < 2 * 3 / 256
    if degree:
        assert (sh_of(back)[:, 1:] - sh_of(cloud)[:, 1:]).abs().max() < 2 * 0.6 / 256


def test_a_palette_for_more_gaussians_than_it_holds(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sog_write, "LARGEST_PALETTE", 100)
    monkeypatch.setattr(sog_write, "CLUSTERS", 40)
    cloud = random_cloud(generator, count=300, degree=1)
    kinds = sh_of(cloud)[:40, 1:]
    sh_of(cloud)[:, 1:] = kinds[torch.arange(300) % 40]
    write_splats(tmp_path / "scene.sog", cloud)
    back = read_splats(tmp_path / "scene.sog")
    cloud = cloud.select(torch.cdist(back.means, cloud.means).argmin(dim=1))
    errors = (sh_of(back)[:, 1:] - sh_of(cloud)[:, 1:]).flatten(1).norm(dim=1)
    spread = (sh_of(cloud)[:, 1:] - sh_of(cloud)[:, 1:].mean(0)).flatten(1).norm(dim=1)
    assert errors.mean() < 0.2 * spread.mean()
    with zipfile.ZipFile(tmp_path / "scene.sog") as archive:
        assert json.loads(archive.read("meta.json"))["shN"]["count"] == 40


def test_codebooks_keep_few_values_exactly() -> None:
    values = np.array([[3.0, -1.5], [3.0, 0.25]], np.float32)
    book, places = codebook(values)
    assert book.shape == (256,) and places.dtype == np.uint8
    assert (book[places] == values).all() and (np.diff(book) >= 0).all()


def test_codebooks_spare_rare_values() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0, 0.1, 100_000), [9.0, -7.0]]).astype(np.float32)
    book, places = codebook(values)
    assert np.abs(book[places] - values).max() < 0.1
    assert np.abs(book[places] - values)[:-2].mean() < 0.01


def test_noise_across_a_flat_scene_is_no_part_of_the_order(generator: torch.Generator) -> None:
    means = (torch.rand(2000, 3, generator=generator) * 2 - 1).numpy()
    plane, noise = np.array([1.0, 1.0, 0.0], np.float32), np.array([1.0, 1.0, 1e-8], np.float32)
    order = morton_order(means * plane)
    assert (morton_order(means * noise) == order).all()
    # Steps of 2 / √2000 would be ideal; a random order takes steps of 1.04 on average.
    steps = np.linalg.norm(np.diff(means[order, :2], axis=0), axis=1)
    assert steps.mean() < 2 * 2 / 2000**0.5
    # Nor do a few far Gaussians put the others into one cell.
    far = np.concatenate([means * plane, [[1e4, 1e4, 1e4]]]).astype(np.float32)
    near = morton_order(far)
    assert np.linalg.norm(np.diff(far[near[near < 2000], :2], axis=0), axis=1).mean() < 2 * 2 / 2000**0.5


def test_the_same_cloud_gives_the_same_file(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, degree=1)
    for name in ("a.sog", "b.sog"):
        write_splats(tmp_path / name, cloud)
    assert (tmp_path / "a.sog").read_bytes() == (tmp_path / "b.sog").read_bytes()


def changed(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(files: dict[str, Any]) -> None:
        part = files["meta.json"]
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value

    return change


def replaced(name: str, content: Any) -> Callable[[dict[str, Any]], None]:
    return lambda files: files.__setitem__(name, content)


EMPTY = np.zeros((2, 2, 4), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.pop("sh0.webp"), "sh0.webp: expected a member of the bundle, found none"),
        (
            lambda files: files.pop("meta.json"),
            "expected a SOG bundle with meta.json, got a ZIP archive of 'means_l.webp', 'means_u.webp', 'scales.webp'",
        ),
        (replaced("meta.json", b"{"), "meta.json: expected JSON, got JSONDecodeError"),
        (replaced("meta.json", b"[" * 100_000), "meta.json: expected JSON, got RecursionError"),
        (replaced("meta.json", b"[]"), "meta.json: expected an object, got list"),
        (replaced("meta.json", b" " * 2_000_000), "meta.json: expected at most 1048576 bytes, got more"),
        (replaced("sh0.webp", b"RIFF"), "sh0.webp: not a WebP or PNG image"),
        (replaced("sh0.webp", scene()["sh0.webp"][:-4]), "sh0.webp: "),
        (replaced("sh0.webp", webp(EMPTY, format="GIF")), "sh0.webp: not a WebP or PNG image"),
        (replaced("sh0.webp", webp(EMPTY[..., 0], format="PNG")), "expected RGB or RGBA with 8 bits, got the mode L"),
        (replaced("sh0.webp", webp(np.zeros((2000, 2000, 4)))), "sh0.webp: expected 1 to 262146 pixels, got 2000 x"),
        (replaced("shN_centroids.webp", webp(EMPTY)), "expected 192 to 262528 pixels in rows of 192, got 2 x 2"),
        (replaced("shN_labels.webp", webp(EMPTY + 7)), "shN_labels.webp: expected labels below 6, got 1799"),
        (
            changed("version", value=1),
            "expected SOG of version 1 or 2, got version 1",
        ),
        (changed("count", value=5), "expected 5 to 262154 pixels, got 2 x 2"),
        (changed("count", value=0), "expected at least one Gaussian, got a count of 0"),
        (changed("count", value=10**30), "expected at most 20000000 Gaussians"),
        (changed("count", value=1.5), "count: expected a whole number, got 1.5"),
        (changed("count", value=True), "count: expected a whole number, got True"),
        (changed("means", value=[]), "meta.json: means: expected an object, got list"),
        (changed("means", "mins", value=[1, 2]), "mins: expected 3 finite numbers, got [1, 2]"),
        (changed("means", "mins", value=[1, 2, math.nan]), "mins: expected 3 finite numbers, got [1, 2, nan]"),
        (changed("means", "maxs", value=[1, 2, 10**400]), "maxs: expected 3 finite numbers"),
        (
            changed("means", "maxs", value=[500, 500, 500]),
            "1 of 1 Gaussians cannot be used: 1 with NaN or infinite positions",
        ),
        (changed("scales", "codebook", value=[99.0] * 256), "1 with NaN or infinite scales"),
        (changed("scales", "codebook", value=[0] * 255), "codebook: expected 256 finite numbers"),
        (changed("sh0", "files", value=[]), "files: expected 1 names, got []"),
        (changed("sh0", "files", value=["../secret.webp"]), "expected names of files beside meta.json, got '../secr"),
        (changed("sh0", "files", value=["/etc/passwd"]), "expected names of files beside meta.json, got '/etc"),
        (changed("shN", "bands", value=4), "bands: expected 1, 2 or 3, got 4"),
        (changed("shN", "count", value=70_000), "shN: expected 1 to 65536 entries, got 70000"),
    ],
)
def test_errors(change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path) -> None:
    files = scene()
    change(files)
    with pytest.raises(SplatFileError) as caught:
        read(files, tmp_path)
    assert message in str(caught.value)


def test_zip_tricks(tmp_path: Path) -> None:
    whole = bundle(scene())
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("meta.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("meta.json", "{}")
    encrypted = bytearray(whole)
    directory = whole.index(b"PK\x01\x02")
    encrypted[6], encrypted[directory + 8] = 1, 1
    unknown = bytearray(whole)
    unknown[8], unknown[directory + 10] = 99, 99
    overlapping = bytearray(whole)
    second = whole.index(b"PK\x01\x02", directory + 1)
    overlapping[directory + 42 : directory + 46] = overlapping[second + 42 : second + 46]
    for data, message in [
        (whole[:-30], "bundle: File is not a zip file"),
        (whole[:4] + bytes(100), "bundle: File is not a zip file"),
        (twice.getvalue(), "bundle: expected at most 64 members of different names, got 2"),
        (bundle({str(number): b"" for number in range(65)}), "bundle: expected at most 64 members"),
        (bundle({"word/document.xml": b""}), "with meta.json, got a ZIP archive of 'word/document.xml'"),
        (bundle({}), "with meta.json, got a ZIP archive of nothing"),
        (bytes(encrypted), "meta.json: File 'meta.json' is encrypted, password required"),
        (bytes(unknown), "meta.json: expected a member that is stored or deflated, got method 99"),
        (bytes(overlapping), "meta.json: "),
    ]:
        with pytest.raises(SplatFileError) as caught:
            read(data, tmp_path)
        assert message in str(caught.value)


def test_a_member_that_unpacks_to_a_large_one(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in scene().items():
            archive.writestr(name, json.dumps(content) if isinstance(content, dict) else content)
    assert read(buffer.getvalue(), tmp_path).count == 1
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (scene() | {"sh0.webp": bytes(100_000_000)}).items():
            archive.writestr(name, json.dumps(content) if isinstance(content, dict) else content)
    with pytest.raises(SplatFileError, match="sh0.webp: expected at most 4194336 bytes, got more"):
        read(buffer.getvalue(), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_all_at_once(method: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("meta.json", bytes(1_000_000))
    with pytest.raises(SplatFileError, match=f"meta.json: expected a member that is stored or .* got method {method}"):
        read(buffer.getvalue(), tmp_path)
