"""Formats and versions that are only read: .ksplat, SPZ 1 and SOG 1."""

from pathlib import Path

import pytest
import torch

from files.builders import first_sog, first_spz, ksplat
from files.clouds import picture, psnr, random_cloud, sh_of
from splatlearn.files import SplatFileError, read_splat_file


@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_ksplat(compression: int, degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 61, degree)
    path = tmp_path / "scene.ksplat"
    path.write_bytes(ksplat(cloud, compression, side=4.0))
    found = read_splat_file(path)
    assert (found.format, found.frame, found.count, found.degree) == ("ksplat", "RDF", 61, degree)
    near = {0: 0.0, 1: 2.0 / 32767, 2: 2.0 / 32767}[compression]
    assert (found.gaussians.means - cloud.means).abs().max() <= near
    torch.testing.assert_close(found.gaussians.scales, cloud.scales, rtol=1e-3, atol=0)
    torch.testing.assert_close(found.gaussians.opacities, cloud.opacities, rtol=0, atol=0.5 / 255 + 1e-6)
    high, wanted = sh_of(found.gaussians)[:, 1:], sh_of(cloud)[:, 1:].clone()
    # The second section has colours of degree 0 alone.
    wanted[30:] = 0
    torch.testing.assert_close(high, wanted, rtol=1e-3, atol=1.01 / 255 if compression == 2 else 1e-4)


def test_sections_that_do_not_add_up(tmp_path: Path, generator: torch.Generator) -> None:
    good = bytearray(ksplat(random_cloud(generator, 61, 1), 1))
    path = tmp_path / "scene.ksplat"
    for offset, value, message in [
        (16, 60, r"expected 60 Gaussians, got sections with \[30, 31\]"),
        (16, 0, "expected a splat file, got a file that begins with"),
        (4096, 31, "section 0: expected at most 30 Gaussians up to byte"),
        (4100, 1 << 31, "section 0: expected at most 2147483648 Gaussians up to byte"),
        (4096 + 40, 3, "section 0: expected harmonics of degree 0 to 2, got 3"),
        (4096 + 32, 9, "section 0: expected at most 5 buckets of 12 bytes and a finite side, got 9 full"),
        (4096 + 8, 1, "expected buckets of 30 Gaussians, got 4 and 2"),
    ]:
        broken = bytearray(good)
        broken[offset : offset + 4] = value.to_bytes(4, "little")
        path.write_bytes(broken)
        with pytest.raises(SplatFileError, match=message):
            read_splat_file(path)


@pytest.mark.parametrize("degree", [0, 3])
def test_spz_of_version_1(degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 200, degree)
    (tmp_path / "scene.spz").write_bytes(first_spz(cloud))
    found = read_splat_file(tmp_path / "scene.spz")
    assert (found.format, found.frame, found.degree) == ("spz", "RUB", degree)
    back = found.gaussians
    flip = torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(back.means * flip, cloud.means, rtol=6e-4, atol=1e-6)
    torch.testing.assert_close(back.scales.log(), cloud.scales.log(), rtol=0, atol=0.5 / 16 + 1e-5)
    # Without the axes of the file it is the scene that was stored, within bytes of rotations.
    same = read_splat_file(tmp_path / "scene.spz", frame="RUB").gaussians
    assert psnr(picture(same), picture(cloud)) > 40


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_sog_of_version_1(degree: int, tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 200, degree)
    (tmp_path / "scene.sog").write_bytes(first_sog(cloud))
    found = read_splat_file(tmp_path / "scene.sog")
    assert (found.format, found.count, found.degree) == ("sog", 200, degree)
    torch.testing.assert_close(found.gaussians.means, cloud.means, rtol=0, atol=4e-5)
    wide = torch.log(cloud.scales.amax(0) / cloud.scales.amin(0)).max()
    torch.testing.assert_close(found.gaussians.scales.log(), cloud.scales.log(), rtol=0, atol=0.51 * float(wide) / 255)
    torch.testing.assert_close(found.gaussians.opacities, cloud.opacities, rtol=0, atol=0.006)
    torch.testing.assert_close(sh_of(found.gaussians), sh_of(cloud), rtol=0, atol=0.51 * 3.0 / 255)
    assert psnr(picture(found.gaussians), picture(cloud)) > 40
