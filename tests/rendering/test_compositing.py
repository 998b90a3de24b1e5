from dataclasses import replace

import pytest
import torch

from rendering.brute_force import composite_brute_force
from rendering.finite_differences import assert_gradients
from rendering.thresholds import clear_of_thresholds
from scenes import random_splats
from splatlearn.rendering import Splats, composite
from splatlearn.rendering.backends.torch import pieces
from splatlearn.rendering.backends.torch.blend import blend_pixels
from splatlearn.rendering.compositing import mean_depths

BACKGROUND = [0.2, 0.7, 0.4]


def tensors(splats: Splats) -> tuple[torch.Tensor, ...]:
    return splats.means2d, splats.conics, splats.opacities, splats.colors


@pytest.mark.parametrize("seed", range(50))
def test_equals_a_brute_force_loop_over_pixels(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Opaque scenes too: every fifth scene has many wide splats, so that the stop test matters.
    wide = seed % 5 == 0
    exact = random_splats(
        generator, (9, 11), batch=1, count=60 if wide else 10, sigma=(6.0, 20.0) if wide else (0.6, 6.0)
    )
    single = Splats(*(getattr(exact, name).float() for name in ("means2d", "conics", "depths", "colors", "opacities")))
    rounded = Splats(
        *(getattr(single, name).double() for name in ("means2d", "conics", "depths", "colors", "opacities"))
    )
    expected_color, expected_left = composite_brute_force(rounded, 9, 11, BACKGROUND)

    color64, left64 = composite(rounded, 9, 11, BACKGROUND, backend="torch")
    torch.testing.assert_close(color64, expected_color, atol=1e-12, rtol=0)
    torch.testing.assert_close(left64, expected_left, atol=1e-12, rtol=0)

    color, left = composite(single, 9, 11, BACKGROUND, backend="torch")
    decided = clear_of_thresholds(rounded.means2d, rounded.conics, rounded.opacities, (9, 11))
    assert decided.double().mean() > 0.95
    assert (color - expected_color).abs().amax(1)[decided].max() <= 1e-6
    assert (left - expected_left).abs()[decided].max() <= 1e-6


def test_gradients_in_float64(generator: torch.Generator) -> None:
    splats = random_splats(generator, (6, 5), batch=2, count=5, sigma=(3.0, 8.0))
    background = torch.tensor([BACKGROUND, BACKGROUND], dtype=torch.float64)

    def function(means2d, conics, opacities, colors, background):
        return composite(Splats(means2d, conics, splats.depths, colors, opacities), 6, 5, background, backend="torch")

    # A wide splat has α above the skip threshold everywhere here, so finite differences meet no jump.
    assert_gradients(function, [*tensors(splats), background], eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["ellipses", "any conics"])
def test_backward_equals_autograd_through_the_formula(generator: torch.Generator, kind: str) -> None:
    splats = random_splats(generator, (7, 9), batch=2, count=20)
    if kind == "any conics":
        # Some powers are negative, and clamped: no gradient comes from there.
        splats = replace(splats, conics=0.1 * torch.randn(splats.conics.shape, generator=generator).double())
    background = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(7) + 0.5, torch.arange(9) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).reshape(-1, 2).double()
    weight = torch.randn(2, 3, 63, generator=generator, dtype=torch.float64)
    weight_left = torch.randn(2, 63, generator=generator, dtype=torch.float64)

    direct = [t.clone().requires_grad_() for t in (*tensors(splats), background)]
    color, left = blend_pixels(direct[0], direct[1], direct[2], direct[3], direct[4], pixels)
    ((color * weight).sum() + (left * weight_left).sum()).backward()

    through = [t.clone().requires_grad_() for t in (*tensors(splats), background)]
    moved = Splats(through[0], through[1], splats.depths, through[3], through[2])
    color, left = composite(moved, 7, 9, through[4], backend="torch")
    ((color.flatten(2) * weight).sum() + (left.flatten(1) * weight_left).sum()).backward()
    for one, other in zip(direct, through, strict=True):
        torch.testing.assert_close(other.grad, one.grad, atol=1e-12, rtol=1e-10)


def test_pieces_change_nothing(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    splats = random_splats(generator, (13, 17), count=9)
    inputs = [t.clone().requires_grad_() for t in tensors(splats)]
    whole = composite(splats, 13, 17, backend="torch")
    monkeypatch.setattr(pieces, "CHUNK_ELEMENTS", {"cpu": 1})
    chunked = composite(Splats(inputs[0], inputs[1], splats.depths, inputs[3], inputs[2]), 13, 17, backend="torch")
    assert torch.equal(chunked[0], whole[0]) and torch.equal(chunked[1], whole[1])
    chunked[0].sum().backward()
    in_chunks = [t.grad.clone() for t in inputs if t.grad is not None]
    monkeypatch.undo()
    for tensor in inputs:
        tensor.grad = None
    composite(Splats(inputs[0], inputs[1], splats.depths, inputs[3], inputs[2]), 13, 17, backend="torch")[
        0
    ].sum().backward()
    for tensor, chunk in zip(inputs, in_chunks, strict=True):
        torch.testing.assert_close(tensor.grad, chunk, atol=1e-12, rtol=1e-10)


def test_a_face_on_gaussian_has_the_closed_form_image() -> None:
    center, sigma, opacity = (5.5, 4.5), 2.0, 0.8
    splats = Splats(
        means2d=torch.tensor([[center]]),
        conics=torch.tensor([[[1 / sigma**2, 0.0, 1 / sigma**2]]]),
        depths=torch.tensor([[8.0]]),
        colors=torch.tensor([[[1.0, 0.5, 0.0]]]),
        opacities=torch.tensor([[opacity]]),
    )
    color, left = composite(splats, 9, 11, "black")
    for row in range(9):
        for column in range(11):
            distance = (column + 0.5 - center[0]) ** 2 + (row + 0.5 - center[1]) ** 2
            alpha = opacity * 2.718281828459045 ** (-distance / 2 / sigma**2)
            alpha = alpha if alpha >= 1 / 255 else 0.0
            assert left[0, row, column] == pytest.approx(1 - alpha, abs=1e-6)
            assert color[0, :, row, column].tolist() == pytest.approx([alpha, alpha / 2, 0.0], abs=1e-6)


def test_the_gradient_through_a_clamped_alpha_is_zero() -> None:
    opacity = torch.tensor([[3.0]], requires_grad=True)
    splats = Splats(
        torch.tensor([[[0.5, 0.5]]]),
        torch.tensor([[[1.0, 0.0, 1.0]]]),
        torch.ones(1, 1),
        torch.ones(1, 1, 1),
        opacity,
    )
    color, left = composite(splats, 1, 1)
    assert left.item() == pytest.approx(0.001, rel=1e-4)
    color.sum().backward()
    assert opacity.grad is not None and opacity.grad.item() == 0.0


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_few_splats_and_other_channels(generator: torch.Generator, count: int, channels: int) -> None:
    splats = random_splats(generator, (4, 3), count=count, channels=channels)
    color, left = composite(splats, 4, 3, [0.25] * channels)
    expected = composite_brute_force(splats, 4, 3, [0.25] * channels)
    torch.testing.assert_close(color, expected[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(left, expected[1], atol=1e-12, rtol=0)


def test_the_operation_is_one_node_with_consistent_registrations(generator: torch.Generator) -> None:
    splats = random_splats(generator, (5, 4), count=3)
    inputs = tuple(t.clone().requires_grad_() for t in (*tensors(splats), torch.zeros(2, 3, dtype=torch.float64)))
    torch.library.opcheck(torch.ops.splatlearn.composite.default, (*inputs, 5, 4, "torch", [2, 1, 0], "gaussian"))


@pytest.mark.usefixtures("no_shape_checks")
class TestErrors:
    def splats(self) -> Splats:
        return random_splats(torch.Generator().manual_seed(0), (4, 4), dtype=torch.float32)

    def test_non_finite(self) -> None:
        splats = self.splats()
        splats.conics[0, 0, 0] = float("nan")
        with pytest.raises(ValueError, match="conics: expected finite values, got 1 of 72"):
            composite(splats, 4, 4)

    def test_size(self) -> None:
        with pytest.raises(ValueError, match="expected at least 1 pixel each, got 0 × 4"):
            composite(self.splats(), 0, 4)

    def test_backend(self) -> None:
        with pytest.raises(ValueError, match="backend: expected 'auto' or one of .*got 'cuda'"):
            composite(self.splats(), 4, 4, backend="cuda")

    @pytest.mark.parametrize("background", ["grey", [0.0, 1.0], torch.zeros(3, 3)])
    def test_background(self, background) -> None:
        with pytest.raises(ValueError, match="background: expected"):
            composite(self.splats(), 4, 4, background)

    def test_shape(self) -> None:
        good = self.splats()
        with pytest.raises(ValueError, match=r"conics: expected shape \[2, 12, 3\], got \[2, 12, 2\]"):
            Splats(good.means2d, good.means2d, good.depths, good.colors, good.opacities)


def plain_mean_depths(image: torch.Tensor, transmittance: torch.Tensor) -> tuple[torch.Tensor, ...]:
    alpha = 1.0 - transmittance
    return image[:, :-1], alpha, image[:, -1] / alpha.clamp_min(torch.finfo(alpha.dtype).eps)


def composited(generator: torch.Generator, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Channels and transmittances as `composite` makes them: where nothing is seen, there is no depth."""
    transmittance = torch.rand(2, 5, 4, generator=generator, dtype=dtype)
    transmittance[:, 0] = 1.0
    image = torch.randn(2, 4, 5, 4, generator=generator, dtype=dtype)
    image[:, -1] *= 1.0 - transmittance
    return image.requires_grad_(), transmittance.requires_grad_()


@pytest.mark.parametrize("used", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_depths_have_the_gradients_of_their_formula(
    generator: torch.Generator, used: list[int], dtype: torch.dtype
) -> None:
    inputs = composited(generator, dtype)
    results, expected = mean_depths(*inputs), plain_mean_depths(*inputs)
    for one, other in zip(results, expected, strict=True):
        assert torch.equal(one, other)
    upstream = [torch.randn(results[i].shape, generator=generator, dtype=dtype) for i in used]
    found = torch.autograd.grad([results[i] for i in used], inputs, upstream, allow_unused=True)
    wanted = torch.autograd.grad([expected[i] for i in used], inputs, upstream, allow_unused=True)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.zeros(()) if one is None else one, torch.zeros(()) if other is None else other)


def test_mean_depths_have_derivatives_of_higher_order(generator: torch.Generator) -> None:
    inputs = composited(generator, torch.float64)
    assert torch.autograd.gradgradcheck(mean_depths, [each[:, ..., 1:, :] for each in inputs])
    results = mean_depths(*inputs)
    batch = [torch.randn(3, *each.shape, generator=generator, dtype=torch.float64) for each in results]
    together = torch.autograd.grad(results, inputs, batch, is_grads_batched=True, retain_graph=True)
    alone = [torch.autograd.grad(results, inputs, [each[i] for each in batch], retain_graph=True) for i in range(3)]
    for k, each in enumerate(together):
        torch.testing.assert_close(each, torch.stack([one[k] for one in alone]))


def test_the_graph_of_mean_depths_is_that_of_their_formula(generator: torch.Generator) -> None:
    inputs = composited(generator, torch.float64)
    vmapped = torch.func.vmap(lambda image, left: mean_depths(image[None], left[None])[2][0])(*inputs)
    torch.testing.assert_close(vmapped, mean_depths(*inputs)[2])
