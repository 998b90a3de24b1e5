import pytest
import torch
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from splatlearn.models.nn.positions import Positioned, gather_tokens, scatter_tokens, sincos_positions


@pytest.mark.parametrize(("grid", "width"), [((14, 14), 768), ((3, 7), 64), ((1, 1), 4)])
def test_the_table_is_transformers(grid: tuple[int, int], width: int) -> None:
    theirs = build_2d_sinusoidal_position_embedding(*grid, width, cls_token=True)
    # Theirs is rows first; their ViTMAE swaps the halves, as the released weights need.
    theirs = torch.cat([theirs[:, width // 2 :], theirs[:, : width // 2]], dim=1)
    torch.testing.assert_close(sincos_positions(grid, width), theirs, atol=1e-7, rtol=0)


def test_class_token_row_is_zero_and_patches_differ() -> None:
    table = sincos_positions((4, 5), 16)
    assert table.dtype == torch.float32 and (table[0] == 0).all()
    assert table.unique(dim=0).shape[0] == 21


def test_other_grids_follow_the_module() -> None:
    module = Positioned((2, 2), 8).double()
    assert torch.equal(module.positions((2, 2)), module.pos_embed)
    other = module.positions((3, 1))
    torch.testing.assert_close(other, sincos_positions((3, 1), 8).unsqueeze(0).double())
    assert module.positions((3, 1)) is other and module.float().positions((3, 1)).dtype == torch.float32
    assert module.state_dict() == {}


def test_width_must_divide() -> None:
    with pytest.raises(ValueError, match="embed_dim: expected a multiple of 4 for 2D sin-cos positions, got 6"):
        sincos_positions((2, 2), 6)


def test_gather_tokens_takes_rows_image_by_image(generator: torch.Generator) -> None:
    tokens = torch.rand(2, 4, 3, generator=generator)
    index = torch.tensor([[3, 0], [1, 1]])
    gathered = gather_tokens(tokens, index)
    assert torch.equal(gathered[0], tokens[0, [3, 0]]) and torch.equal(gathered[1], tokens[1, [1, 1]])
    assert torch.equal(gather_tokens(tokens[:1], index)[1], tokens[0, [1, 1]])


def test_scattering_undoes_gathering(generator: torch.Generator) -> None:
    tokens = torch.rand(2, 4, 3, generator=generator)
    index = torch.tensor([[3, 0], [1, 2]])
    scattered = scatter_tokens(gather_tokens(tokens, index), index, 4)
    expected = tokens.clone()
    expected[0, [1, 2]] = expected[1, [0, 3]] = 0.0
    assert torch.equal(scattered, expected)
