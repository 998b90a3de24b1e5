"""`.splat`: what its bytes are, what they lose, and what is no such file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from files.clouds import covariances, random_cloud, sh_of
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import SplatFileError, read_splat_file, read_splats, write_splats

C0 = 0.28209479177387814


def test_a_row_is_what_the_format_says(tmp_path: Path) -> None:
    path = tmp_path / "one.splat"
    half = 0.5**0.5
    one = Gaussians(
        means=torch.tensor([[1.0, -2.0, 3.5]]),
        scales=torch.tensor([[0.5, 0.25, 2.0]]),
        quaternions=torch.tensor([[half, 0.0, -half, 0.0]]),
        opacities=torch.tensor([0.6]),
        sh=(torch.tensor([[[1.0, 0.4, -0.2]]]) - 0.5) / C0,
    )
    write_splats(path, one)
    data = path.read_bytes()
    assert len(data) == 32
    np.testing.assert_array_equal(np.frombuffer(data[:24], "<f4"), [1.0, -2.0, 3.5, 0.5, 0.25, 2.0])
    assert list(data[24:28]) == [255, 102, 0, 153]
    # Of the two quaternions of a rotation, the one whose largest entry is negative.
    assert list(data[28:]) == [128 - round(128 * half), 128, 128 + round(128 * half), 128]


def test_rows_begin_with_what_covers_most(tmp_path: Path, generator: torch.Generator) -> None:
    path = tmp_path / "scene.splat"
    write_splats(path, random_cloud(generator, degree=0))
    found = read_splats(path)
    cover = found.scales.prod(dim=1) * found.opacities
    # Opacities are rounded after the sort.
    assert (cover[1:] <= cover[:-1] * 1.1).all() and cover[0] > 100 * cover[-1]


def test_errors_are_within_half_a_step(tmp_path: Path, generator: torch.Generator) -> None:
    cloud = random_cloud(generator, degree=0)
    path = tmp_path / "scene.splat"
    write_splats(path, cloud)
    found = read_splat_file(path)
    order = torch.cdist(cloud.means, found.gaussians.means).argmin(dim=1)
    back = found.gaussians.select(order)
    assert (found.format, found.frame, found.degree) == ("splat", "RDF", 0)
    torch.testing.assert_close(back.means, cloud.means, rtol=0, atol=0)
    torch.testing.assert_close(back.scales, cloud.scales, rtol=1e-6, atol=0)
    assert (back.opacities - cloud.opacities).abs().max() <= 0.5 / 255 + 1e-6
    colors = (sh_of(cloud)[:, 0] * C0 + 0.5).clamp(0, 1)
    assert (sh_of(back)[:, 0] * C0 + 0.5 - colors).abs().max() <= 0.5 / 255 + 1e-6
    turned = (covariances(back) - covariances(cloud)).flatten(1).norm(dim=1)
    assert (turned <= 4 * 0.5 * 4**0.5 / 128 * covariances(cloud).flatten(1).norm(dim=1)).all()


def test_harmonics_are_refused_by_name(tmp_path: Path, generator: torch.Generator) -> None:
    message = r"expected harmonics of degree 0 at most for splat, got 1; write gaussians.with_degree\(0\)"
    with pytest.raises(ValueError, match=message):
        write_splats(tmp_path / "scene.splat", random_cloud(generator, degree=1))


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file of 0 bytes"),
        (bytes(33), "a file that begins with .* of 33 bytes"),
        (b"404: Not Found\n" * 32, "a text that begins with '404"),
    ],
)
def test_what_is_no_row(content: bytes, got: str, tmp_path: Path) -> None:
    (tmp_path / "scene.splat").write_bytes(content)
    with pytest.raises(SplatFileError, match=f"expected rows of 32 bytes, got {got}"):
        read_splats(tmp_path / "scene.splat")


def test_the_content_of_other_formats_wins_over_the_name(tmp_path: Path, generator: torch.Generator) -> None:
    write_splats(tmp_path / "scene.splat", random_cloud(generator), format="spz")
    assert read_splat_file(tmp_path / "scene.splat").format == "spz"
