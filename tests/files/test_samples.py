"""Real files beside the checkout: they read, agree with one another, and render, or are named."""

from pathlib import Path

import pytest
import torch

from files.clouds import covariances, psnr
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import SplatFileError, read_splat_file, read_splats
from splatlearn.rendering import render

SHARED = Path(__file__).parents[3] / "shared" / "data"
SAMPLES = SHARED / "scenes3d" / "gaussians"
WRITERS = SHARED / "splat_files"
CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no shared data beside the checkout")

SCENES = {
    "guitar.ply": (90_854, 0, (0.1, -2.0, -7.0), (0.1, -2.0, 0.2)),
    "guitar.compressed.ply": (90_854, 0, (0.1, -2.0, -7.0), (0.1, -2.0, 0.2)),
    "biker.compressed.ply": (152_746, 0, (-0.1, -1.6, -6.0), (-0.1, -1.6, 0.0)),
    "biker.spz": (152_746, 0, (-0.1, -1.6, -6.0), (-0.1, -1.6, 0.0)),
    "playbot/playbot_8k.ply": (8_406, 2, (1.5, -1.2, -2.2), (0.0, -0.4, 0.0)),
    "playbot/sog_8k": (8_406, 2, (1.5, -1.2, -2.2), (0.0, -0.4, 0.0)),
    "playbot/sog_31k": (31_000, 2, (1.5, -1.2, -2.2), (0.0, -0.4, 0.0)),
}


def show(name: str, cloud: Gaussians) -> torch.Tensor:
    _, _, eye, target = SCENES[name]
    camera = Camera.look_at(eye, target, 96, 96, 42.0)
    return render(cloud, camera).color


@pytest.mark.parametrize("name", SCENES)
def test_it_reads_and_shows_its_object_in_the_middle(name: str) -> None:
    count, degree, _, _ = SCENES[name]
    found = read_splat_file(SAMPLES / name)
    assert (found.count, found.degree, found.frame) == (count, degree, "RUB" if name.endswith("spz") else "RDF")
    ink = 1 - show(name, found.gaussians).mean(0)
    assert ink[36:60, 36:60].mean() > 0.1 and ink[:8].mean() < 0.1


@pytest.mark.parametrize(
    ("first", "second", "lowest"),
    [
        # Decoded from the file beside it: equal to rounding.
        ("guitar.ply", "guitar.compressed.ply", 100),
        ("playbot/playbot_8k.ply", "playbot/sog_8k", 100),
        # Quantised twice: 8-bit logarithms of scales against 11 bits.
        ("biker.compressed.ply", "biker.spz", 50),
    ],
)
def test_the_same_scene_in_two_formats(first: str, second: str, lowest: float) -> None:
    one, two = read_splats(SAMPLES / first), read_splats(SAMPLES / second)
    assert (one.means - two.means).abs().max() < 2e-4
    assert (one.opacities - two.opacities).abs().max() < 1e-5
    spread = covariances(one) - covariances(two)
    assert spread.flatten(1).norm(dim=1).median() < 0.05 * covariances(one).flatten(1).norm(dim=1).median()
    assert psnr(show(first, one), show(first, two)) > lowest


def test_colours_of_degree_2_depend_on_the_view() -> None:
    name = "playbot/playbot_8k.ply"
    cloud = read_splats(SAMPLES / name)
    assert psnr(show(name, cloud), show(name, cloud.with_degree(0))) < 30
    assert psnr(show(name, cloud), show(name, cloud.with_degree(4))) > 100


@pytest.mark.skipif(not WRITERS.is_dir(), reason="no files of other writers beside the checkout")
@pytest.mark.parametrize(
    ("name", "count", "degree"),
    [
        ("inria_7000_sh3.ply", 9_080, 3),
        ("misnamed_scene.compressed.ply", 20_000, 0),
        ("jsplat_unit_cube_ascii.ply", 20, 0),
        ("metalsplatter/train_3points.ply", 3, 3),
        ("metalsplatter/train_3points.spz", 3, 3),
        ("spz_v2_sh3.spz", 78_567, 3),
        ("splat_transform_fixtures/minimal-raw.spz", 4, 0),
        ("splat_transform_fixtures/minimal-v2.spz", 4, 0),
        ("splat_transform_fixtures/minimal-v3.spz", 4, 0),
        ("splat_transform_fixtures/minimal-v4.spz", 4, 0),
        ("gs_dynamics_rope.splat", 8_957, 0),
        ("radegs_airplane.splat", 29_911, 0),
        ("mesh2splat_lucy_10k.splat", 10_000, 0),
        ("metalsplatter/train_3points.splat", 3, 0),
        ("splat_transform_fixtures/minimal.splat", 4, 0),
        ("splat_transform_fixtures/minimal.ksplat", 4, 0),
        ("khr_gaussian_splatting/khr_conformance_matrix.glb", 15, 3),
        ("khr_gaussian_splatting/khr_conformance_matrix.gltf", 15, 3),
        ("sog_v1_logo", 307_128, 0),
    ],
)
def test_files_of_other_writers(name: str, count: int, degree: int) -> None:
    found = read_splat_file(WRITERS / name)
    assert (found.count, found.degree, found.dropped) == (count, degree, 0)


@pytest.mark.skipif(not WRITERS.is_dir(), reason="no files of other writers beside the checkout")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("khr_gaussian_splatting/khr_extensible_fallback.gltf", "the kernel 'customShape'"),
        ("not_splats/html_404.ply", "an HTML page"),
        ("not_splats/text_404.splat", "a text that begins with '404: Not Found'"),
    ],
)
def test_other_formats_are_named(name: str, kind: str) -> None:
    with pytest.raises(SplatFileError, match=f"got {kind}"):
        read_splats(WRITERS / name)


@pytest.mark.skipif(not WRITERS.is_dir(), reason="no files of other writers beside the checkout")
def test_the_same_gaussians_by_other_writers() -> None:
    # Numbers of a third program: its rows of .splat are the three Gaussians of its PLY.
    one, two = (read_splats(WRITERS / f"metalsplatter/train_3points.{kind}") for kind in ("ply", "splat"))
    assert (one.means - two.means).abs().max() < 1e-6
    torch.testing.assert_close(one.scales, two.scales, rtol=1e-5, atol=0)
    assert (one.opacities - two.opacities).abs().max() < 1.01 / 255
    assert (covariances(one) - covariances(two)).abs().max() < 0.03 * covariances(one).abs().max()
    one, two = (read_splats(WRITERS / f"splat_transform_fixtures/minimal.{kind}") for kind in ("ksplat", "splat"))
    for name, each in one.tensors().items():
        torch.testing.assert_close(each, two.tensors()[name])


@pytest.mark.skipif(not CASES.is_dir(), reason="no cases beside the checkout")
def test_cases() -> None:
    flat = read_splats(CASES / "16_2dgs_no_scale_2.ply")
    assert flat.count == 40 and (flat.scales[:, 2] < 1e-6 * flat.scales[:, :2].amin(dim=1)).all()
    first = read_splats(CASES / "23_sog2_without_bands_and_count.sog")
    assert (first.count, first.degree) == (200, 2)
    for name, degree in [("0", 0), ("1_reads", 1)]:
        cloud = read_splats(CASES / f"32_gsplat_compressed_degree_{name}.ply")
        assert (cloud.count, cloud.degree) == (300, degree)
    for name, kept, dropped in [("18_nan_rows.ply", 56, 4), ("19_zero_rows.ply", 1, 49)]:
        with pytest.raises(SplatFileError, match=rf"{dropped} of \d+ Gaussians cannot be used: .*drop_invalid=True"):
            read_splats(CASES / name)
        found = read_splat_file(CASES / name, drop_invalid=True)
        assert (found.count, found.dropped) == (kept, dropped)
