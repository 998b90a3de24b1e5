"""LPIPS against torchvision's layout of the networks and the formula in NumPy, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.evaluation.views.perceptual import Lpips, read_lpips

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of torchvision's configuration D; 0 is a pooling."""
COMPARED = {"alexnet": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}
"""Places of the last layers of `lpips`'s slices in torchvision's `features`."""
CHANNELS = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}


def alexnet() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip


def vgg16() -> list[nn.Module]:
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in VGG16:
        layers += [nn.MaxPool2d(2, 2)] if not outputs else [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        inputs = outputs or inputs
    return layers


def features_of(network: str, generator: torch.Generator) -> nn.Sequential:
    """The `features` of torchvision's network, with random weights that keep the size of what passes."""
    made = nn.Sequential(*(alexnet() if network == "alexnet" else vgg16()))
    with torch.no_grad():
        for layer in made:
            if isinstance(layer, nn.Conv2d):
                bound = (3 / layer.weight[0].numel()) ** 0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                assert layer.bias is not None
                layer.bias.uniform_(-0.1, 0.1, generator=generator)
    return made


def weights_of(network: str, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state dicts of a network with a classifier, and of its linear layers."""
    trunk = {f"features.{name}": value for name, value in features_of(network, generator).state_dict().items()}
    linear = {
        f"lin{index}.model.1.weight": torch.rand(1, count, 1, 1, generator=generator)
        for index, count in enumerate(CHANNELS[network])
    }
    return {**trunk, "classifier.1.weight": torch.zeros(2, 2)}, linear


def written(
    folder: Path, trunk: dict[str, Tensor], linear: dict[str, Tensor], ending: str = "pth"
) -> tuple[Path, Path]:
    paths = folder / f"trunk.{ending}", folder / f"linear.{ending}"
    for path, tensors in zip(paths, (trunk, linear), strict=True):
        (save_file if ending == "safetensors" else torch.save)(tensors, path)
    return paths


def expected(network: str, trunk: dict[str, Tensor], linear: dict[str, Tensor], pair: Tensor) -> float:
    """The formula of Zhang et al. in float64, over features of torchvision's layers."""
    layers = features_of(network, torch.Generator())
    layers.load_state_dict({name.removeprefix("features."): each for name, each in trunk.items() if "feat" in name})
    layers.double()
    normal = (pair.double() * 2 - 1).numpy()
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    current = torch.from_numpy((normal - shift[:, None, None]) / scale[:, None, None])
    total, level = 0.0, 0
    for index, layer in enumerate(layers):
        if index > COMPARED[network][-1]:
            break
        current = layer(current).detach()
        if index in COMPARED[network]:
            found = current.numpy()
            found = found / (np.sqrt((found**2).sum(axis=1, keepdims=True)) + 1e-10)
            shares = linear[f"lin{level}.model.1.weight"].double().numpy().ravel()
            total += float(((found[0] - found[1]) ** 2 * shares[:, None, None]).sum(axis=0).mean())
            level += 1
    assert level == 5
    return total


@pytest.mark.parametrize(
    ("network", "ending", "size"), [("alexnet", "pth", (37, 42)), ("vgg16", "safetensors", (18, 21))]
)
def test_distance_is_that_of_the_formula(
    network: str, ending: str, size: tuple[int, int], tmp_path: Path, generator
) -> None:
    trunk, linear = weights_of(network, generator)
    lpips = read_lpips(*written(tmp_path, trunk, linear, ending))
    pair = torch.rand(2, 3, *size, generator=generator)
    assert lpips.network == network
    assert lpips(pair[0], pair[1]) == pytest.approx(expected(network, trunk, linear, pair), rel=1e-4)
    assert lpips(pair[1], pair[0]) == pytest.approx(lpips(pair[0], pair[1]), rel=1e-5)
    assert lpips(pair[0], pair[0]) == 0


@pytest.fixture
def lpips(tmp_path: Path, generator: torch.Generator) -> Lpips:
    return read_lpips(*written(tmp_path, *weights_of("alexnet", generator)))


def test_pixels_that_a_mask_leaves_out_make_no_difference(lpips: Lpips, generator) -> None:
    first, target = torch.rand(2, 3, 40, 40, generator=generator)
    weights = torch.ones(40, 40)
    weights[:, 20:] = 0
    other = first.clone()
    other[:, :, 20:] = torch.rand(3, 40, 20, generator=generator)
    assert lpips(first, target, weights) == lpips(other, target, weights) < lpips(first, target)
    assert lpips(first, target, torch.zeros(40, 40)) == 0


def test_small_pictures_are_refused_with_the_least_size(lpips: Lpips) -> None:
    picture = torch.zeros(3, 31, 31)
    assert lpips(picture, picture) == 0
    with pytest.raises(InputError, match="sides of at least 31 pixels, got 30 x 40"):
        lpips(torch.zeros(3, 40, 30), torch.zeros(3, 40, 30))


def test_files_that_lack_a_tensor_are_refused_by_its_name(tmp_path: Path, generator) -> None:
    trunk, linear = weights_of("alexnet", generator)
    others = {
        r"features\.3\.weight of shape \[192, 64, 5, 5\], got none; .* torchvision's alexnet or vgg16": (
            {name: each for name, each in trunk.items() if name != "features.3.weight"},
            linear,
        ),
        r"features\.0\.weight of shape \[64, 3, 11, 11\], got none": ({"conv1.weight": torch.zeros(3)}, linear),
        r"features\.0\.bias of shape \[64\], got float32 of shape \[63\]": (
            {**trunk, "features.0.bias": torch.zeros(63)},
            linear,
        ),
        r"lin1\.model\.1\.weight of shape \[1, 192, 1, 1\], got float32 of shape \[1, 128, 1, 1\]; .* for alexnet": (
            trunk,
            weights_of("vgg16", generator)[1] | {"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)},
        ),
    }
    for message, tensors in others.items():
        with pytest.raises(FormatError, match=message):
            read_lpips(*written(tmp_path, *tensors))
    with pytest.raises(MissingError, match="lpips_linear: expected a file of weights, found none at .*nowhere.pth"):
        read_lpips(written(tmp_path, trunk, linear)[0], tmp_path / "nowhere.pth")
