import pytest
import torch

from scenes import random_gaussians
from splatlearn.core.gaussians import Gaussians


def test_shape_views(generator: torch.Generator) -> None:
    gaussians = random_gaussians(generator, (2, 3), 5)
    assert gaussians.batch_shape == (2, 3) and gaussians.count == 5
    assert gaussians.reshape_batch(6).means.shape == (6, 5, 3)
    assert gaussians[1].colors.shape == (3, 5, 3)
    assert gaussians.select(slice(2)).opacities.shape == (2, 3, 2)
    assert gaussians.to(torch.float64).scales.dtype == torch.float64
    with pytest.raises(IndexError, match="without a batch dimension"):
        gaussians[0][0][0]


@pytest.mark.usefixtures("no_shape_checks")
class TestErrors:
    def fields(self) -> dict[str, torch.Tensor]:
        return dict(vars(random_gaussians(torch.Generator().manual_seed(0), (2,), 4)))

    def test_shape(self) -> None:
        fields = self.fields() | {"opacities": torch.ones(2, 4, 1)}
        with pytest.raises(ValueError, match=r"opacities: expected shape \[2, 4\], got \[2, 4, 1\]"):
            Gaussians(**fields)

    def test_dtype(self) -> None:
        fields = self.fields() | {"colors": torch.ones(2, 4, 3, dtype=torch.uint8)}
        with pytest.raises(TypeError, match="colors: expected a floating-point tensor, got torch.uint8"):
            Gaussians(**fields)

    def test_device(self) -> None:
        fields = self.fields() | {"scales": torch.ones(2, 4, 3, device="meta")}
        with pytest.raises(ValueError, match="scales: expected a tensor on cpu like means, got one on meta"):
            Gaussians(**fields)
