import pytest
import torch

from splatlearn.models.nn.patches import patchify, unpatchify
from splatlearn.models.nn.sizes import grid_of


def test_a_patch_is_row_column_channel() -> None:
    images = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6).float()
    patches = patchify(images, 2)
    assert patches.shape == (1, 6, 8)
    # Second row, third column of patches.
    assert torch.equal(patches[0, 5], images[0, :, 2:4, 4:6].permute(1, 2, 0).flatten())


def test_unpatchify_is_the_inverse(generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 8, 12, generator=generator)
    assert torch.equal(unpatchify(patchify(images, 4), 4, (2, 3)), images)


@pytest.mark.parametrize(
    ("height", "width", "nearest"),
    [(225, 224, "224×224 or 240×224"), (230, 230, "224×224 or 240×240"), (5, 32, "16×32"), (0, 16, "16×16")],
)
def test_sizes_that_do_not_divide(height: int, width: int, nearest: str) -> None:
    message = f"images: .* by the patch size of 16 px, got {height}×{width}; the nearest sizes that work: {nearest}$"
    with pytest.raises(ValueError, match=message):
        grid_of(height, width, 16)


def test_patches_of_another_grid() -> None:
    with pytest.raises(ValueError, match=r"patches: expected shape \[B, 6, 16·C\] for a 2×3 grid .* got \[1, 4, 48\]"):
        unpatchify(torch.zeros(1, 4, 48), 4, (2, 3))
