"""What Gaussians are worth, and the search for the best file."""

from pathlib import Path

import pytest
import torch

from files.clouds import random_cloud
from splatlearn.compression import (
    Compressed,
    compress,
    kept_share,
    search,
    significance,
    surrounding,
    surrounding_cameras,
)
from splatlearn.core.cameras import Camera
from splatlearn.core.gaussians import Gaussians
from splatlearn.files import read_splat_file
from splatlearn.rendering import render


def small_cameras(cloud: Gaussians) -> list[Camera]:
    return [Camera.look_at((1.5, -1.2, -3.5), (0.0, 0.0, 0.0), 40, 48, 50.0), *surrounding_cameras(cloud, 2)]


def test_scores_are_the_sums_of_weights(generator: torch.Generator) -> None:
    # The gradient of the sum of a picture with respect to a colour is the sum of the Gaussian's weights.
    cloud = random_cloud(generator, 60, 0)
    camera = small_cameras(cloud)[0]
    colors = torch.rand(60, 1, generator=generator, dtype=torch.float64).requires_grad_()
    shapes = (cloud.means, cloud.scales, cloud.quaternions, cloud.opacities)
    exact = Gaussians(*(each.double() for each in shapes), colors=colors)
    picture = render(exact, camera, (0.0,), backend="torch").color
    (wanted,) = torch.autograd.grad(picture.sum(), colors)
    torch.testing.assert_close(significance(cloud, [camera]).double(), wanted[:, 0], rtol=2e-4, atol=2e-3)


def test_what_an_opaque_one_hides_is_worth_nothing() -> None:
    camera = Camera.look_at((0.0, 0.0, -4.0), (0.0, 0.0, 0.0), 32, 32, 40.0)
    means = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, -0.9], [0.0, 0.0, -0.8], [0.0, 0.0, -0.7], [0.0, 0.0, 0.5]])
    scales = torch.tensor([1.5, 1.5, 1.5, 1.5, 0.05])[:, None].expand(5, 3)
    scene = Gaussians(
        means, scales, torch.tensor([[1.0, 0, 0, 0]]).expand(5, 4), torch.full((5,), 0.999), colors=torch.rand(5, 3)
    )
    with_it = significance(scene, [camera])
    without = significance(scene.select(slice(4)), [camera])
    assert float(with_it[4]) < 1e-3 * float(with_it[:4].max())
    torch.testing.assert_close(with_it[:4], without)


def test_scores_do_not_depend_on_threads(generator: torch.Generator, threads) -> None:
    cloud = random_cloud(generator, 3000, 0)
    cameras = small_cameras(cloud)
    threads(1)
    one = significance(cloud, cameras)
    threads(2)
    assert torch.equal(significance(cloud, cameras), one)


def test_large_volumes_count_more_up_to_a_limit(generator: torch.Generator) -> None:
    cloud = random_cloud(generator, 200, 0)
    cameras = small_cameras(cloud)
    factor = significance(cloud, cameras, 0.5) / significance(cloud, cameras)
    seen = factor.isfinite()
    volumes = cloud.scales.prod(dim=1)
    limit = volumes.double().quantile(0.9)
    torch.testing.assert_close(factor[seen], (volumes / limit).clamp(max=1).sqrt()[seen].float(), rtol=1e-4, atol=1e-5)


def test_the_best_are_kept_in_their_order() -> None:
    cloud = random_cloud(torch.Generator().manual_seed(0), 10, 0)
    scores = torch.tensor([5.0, 1, 9, 2, 8, 3, 7, 4, 6, 0])
    torch.testing.assert_close(kept_share(cloud, scores, 0.5).means, cloud.means[[0, 2, 4, 6, 8]])
    assert kept_share(cloud, scores, 0.01).count == 1


@pytest.fixture(autouse=True)
def few_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer files are tried, which takes less time."""
    monkeypatch.setattr(search, "SHARES", (1.0, 0.55))


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    return random_cloud(torch.Generator().manual_seed(0), 60, 1)


@pytest.fixture
def small_scene(monkeypatch: pytest.MonkeyPatch) -> Gaussians:
    """One without harmonics above degree 0, with fewer tries and smaller pictures."""
    monkeypatch.setattr(search, "TRIES", 4)
    monkeypatch.setattr(surrounding, "HEIGHT", 60)
    monkeypatch.setattr(surrounding, "WIDTH", 80)
    return random_cloud(torch.Generator().manual_seed(0), 36, 0)


def test_within_a_budget(scene: Gaussians, tmp_path: Path) -> None:
    cameras = small_cameras(scene)
    previous = 0.0
    for budget in (1_200, 2_000):
        found = compress(scene, budget, cameras=cameras, antialiased=True)
        assert 0.85 * budget < found.bytes <= budget
        assert found.psnr > previous
        previous = found.psnr
    found.write(tmp_path / "scene.sl3")
    back = read_splat_file(tmp_path / "scene.sl3")
    assert back.antialiased and back.count == found.gaussians.count
    assert (tmp_path / "scene.sl3").stat().st_size == found.bytes
    assert all(torch.equal(each, back.gaussians.tensors()[name]) for name, each in found.gaussians.tensors().items())

    def picture(gaussians: Gaussians, camera: Camera) -> torch.Tensor:
        return render(gaussians, camera, "black", filter="mip").color.clamp(0, 1)

    errors = [picture(back.gaussians, camera) - picture(scene, camera) for camera in cameras]
    mean = torch.cat([each.flatten() for each in errors]).double().square().mean()
    assert float(-10 * mean.log10()) == pytest.approx(found.psnr, abs=0.01)


def test_recovery_makes_more_of_a_budget() -> None:
    scene = random_cloud(torch.Generator().manual_seed(0), 200, 1)
    cameras = small_cameras(scene)[:2]
    plain, recovered = (compress(scene, 1_700, cameras=cameras, degree=0, recover=steps) for steps in (0, 30))
    # Lower harmonics cost quality, not the scale by which it is measured.
    assert plain.gaussians.degree == recovered.gaussians.degree == 0
    assert recovered.bytes <= 1_700 and recovered.psnr > plain.psnr + 0.5


def test_of_a_quality(small_scene: Gaussians) -> None:
    cameras = small_cameras(small_scene)
    sizes = []
    for psnr in (28.0, 36.0):
        found = compress(small_scene, psnr=psnr, cameras=cameras)
        assert psnr <= found.psnr < psnr + 4
        sizes.append(found.bytes)
    assert sizes[0] < sizes[1]
    # Gaussians that no camera sees cost nothing: half of these are behind it.
    behind = Gaussians.cat([small_scene, small_scene.transformed(translation=torch.tensor([0.0, 0.0, -90.0]))])
    again = compress(behind, psnr=28.0, cameras=cameras[:1])
    assert again.share < 1


def test_targets_that_cannot_be_met(small_scene: Gaussians) -> None:
    for arguments, message in [
        ({}, "budget, psnr: expected one of the two, got neither"),
        ({"budget": 100, "psnr": 30.0}, "budget, psnr: expected one of the two, got both"),
        ({"budget": 100}, "budget: expected at least the smallest file of this scene, got 100 bytes"),
        ({"budget": "2 parsecs"}, "budget: expected bytes, such as 2000000, 2MB or 500kB, got '2 parsecs'"),
        ({"budget": 0}, "budget: expected at least one byte"),
        ({"psnr": 99.0}, "psnr: expected a quality that the finest steps reach, got 99.0 dB"),
        ({"psnr": -1.0}, "psnr: expected a finite number above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            compress(small_scene.select(slice(12)), cameras=small_cameras(small_scene)[:1], **arguments)
    with pytest.raises(ValueError, match="cameras: expected at least one, got none"):
        compress(small_scene, 10_000, cameras=[])


def test_a_result_knows_its_size(scene: Gaussians) -> None:
    assert Compressed(b"1234", scene, 1.0, 1.0, 30.0).bytes == 4
