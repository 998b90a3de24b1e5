"""LPIPS, the learned perceptual distance of Zhang et al. 2018 (arXiv 1801.03924), version 0.1.

The package has none of its weights. The caller gives two files: the state dict of torchvision's AlexNet or VGG-16, and
the linear layers for it, which the Python package `lpips` contains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from splatlearn.core.errors import FormatError, InputError, MissingError
from splatlearn.models.exchange.torch_file import read_torch_file
from splatlearn.models.folders.safetensors_file import looks_like_safetensors, read_tensors

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of ImageNet's colours in [-1, 1]."""
LEAST_NORM = 1e-10
"""Added to the norm of a pixel's features."""


@dataclass(frozen=True)
class Convolution:
    """A convolution of a trunk, with what stands between it and its neighbours; a ReLU follows it.

    - `index`: in torchvision's `features`; `inputs`, `outputs`: channels; `kernel`, `stride`, `padding`: pixels.
    - `pool`: the side of the max pooling before it, whose stride is 2; 0 for none.
    - `is_compared`: whether LPIPS compares the features after its ReLU.
    """

    index: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0
    is_compared: bool = False


ALEXNET = (
    Convolution(0, 3, 64, kernel=11, stride=4, padding=2, is_compared=True),
    Convolution(3, 64, 192, kernel=5, padding=2, pool=3, is_compared=True),
    Convolution(6, 192, 384, pool=3, is_compared=True),
    Convolution(8, 384, 256, is_compared=True),
    Convolution(10, 256, 256, is_compared=True),
)
VGG16 = (
    Convolution(0, 3, 64),
    Convolution(2, 64, 64, is_compared=True),
    Convolution(5, 64, 128, pool=2),
    Convolution(7, 128, 128, is_compared=True),
    Convolution(10, 128, 256, pool=2),
    Convolution(12, 256, 256),
    Convolution(14, 256, 256, is_compared=True),
    Convolution(17, 256, 512, pool=2),
    Convolution(19, 512, 512),
    Convolution(21, 512, 512, is_compared=True),
    Convolution(24, 512, 512, pool=2),
    Convolution(26, 512, 512),
    Convolution(28, 512, 512, is_compared=True),
)
TRUNKS = {"alexnet": ALEXNET, "vgg16": VGG16}
"""Convolutions by torchvision's name of the network."""
LEAST_SIDE = {"alexnet": 31, "vgg16": 16}
"""Pixels of the shorter side from which on the last features have a pixel."""


@dataclass(frozen=True, eq=False)
class Lpips:
    """LPIPS with the weights of a network.

    - `network`: "alexnet" or "vgg16"; `weights`: its tensors by torchvision's names.
    - `linear`: one weight for each channel [C] of the features that are compared, in the order of the network.
    """

    network: str
    weights: Mapping[str, Tensor]
    linear: tuple[Float[Tensor, " _"], ...]

    @torch.no_grad()
    def __call__(
        self,
        picture: Float[Tensor, "3 H W"],
        target: Float[Tensor, "3 H W"],
        weights: Float[Tensor, "H W"] | None = None,
    ) -> float:
        """Return the distance of two pictures, 0 for equal ones.

        - `picture`, `target`: RGB in [0, 1].
        - `weights`: of pixels, in [0, 1]. The target takes the place of the picture where a weight is 0, so that such
          a pixel shows no difference of its own.

        Raises InputError for pictures that are too small for the network.
        """
        least = LEAST_SIDE[self.network]
        if min(picture.shape[1:]) < least:
            raise InputError(
                f"picture: LPIPS of {self.network} expects sides of at least {least} pixels, got "
                f"{picture.shape[2]} x {picture.shape[1]}"
            )
        if weights is not None:
            picture = torch.lerp(target, picture, weights)
        total = picture.new_zeros(())
        pairs = self._features(torch.stack([picture, target]))
        for (first, second), linear in zip(pairs, self.linear, strict=True):
            total = total + torch.einsum("chw,c->hw", (first - second).square(), linear.to(picture)).mean()
        return float(total)

    def _features(self, pictures: Float[Tensor, "B 3 H W"]) -> Iterator[Float[Tensor, "B _ _ _"]]:
        """The features that are compared, of length 1 in each pixel."""
        shift, scale = (pictures.new_tensor(each)[:, None, None] for each in (SHIFT, SCALE))
        current = (2 * pictures - 1 - shift) / scale
        for layer in TRUNKS[self.network]:
            if layer.pool:
                current = functional.max_pool2d(current, layer.pool, stride=2)
            weight, bias = (self.weights[f"features.{layer.index}.{name}"].to(current) for name in ("weight", "bias"))
            current = functional.conv2d(current, weight, bias, layer.stride, layer.padding).relu()
            if layer.is_compared:
                yield current / (torch.linalg.vector_norm(current, dim=1, keepdim=True) + LEAST_NORM)


def read_lpips(trunk: Path, linear: Path) -> Lpips:
    """Read the weights of LPIPS.

    - `trunk`: the state dict of torchvision's `alexnet` or `vgg16`, a file of `torch.save` or .safetensors, with the
      tensors `features.N.weight` and `features.N.bias`; other tensors in it, such as the classifier's, are not read.
    - `linear`: the linear layers, `lin0.model.1.weight` to `lin4.model.1.weight` of shape [1, C, 1, 1], such as
      `weights/v0.1/alex.pth` or `vgg.pth` of the package `lpips`.

    Raises MissingError for files that do not exist, and FormatError for files that lack a tensor or whose tensors have
    other shapes.
    """
    tensors = _tensors("lpips_trunk", trunk)
    network = _network(tensors)
    layers = TRUNKS[network]
    weights: dict[str, Tensor] = {}
    for layer in layers:
        shapes = {"weight": (layer.outputs, layer.inputs, layer.kernel, layer.kernel), "bias": (layer.outputs,)}
        for name, shape in shapes.items():
            key = f"features.{layer.index}.{name}"
            weights[key] = _tensor(trunk, tensors, key, shape, "a state dict of torchvision's alexnet or vgg16")
    tensors = _tensors("lpips_linear", linear)
    channels = [layer.outputs for layer in layers if layer.is_compared]
    source = f"the linear layers of LPIPS for {network}"
    rows = [
        _tensor(linear, tensors, f"lin{index}.model.1.weight", (1, count, 1, 1), source).reshape(count)
        for index, count in enumerate(channels)
    ]
    return Lpips(network, weights, tuple(rows))


def _network(tensors: Mapping[str, Tensor]) -> str:
    """The network whose first convolution a state dict has; AlexNet's tensors are missed in one that has neither."""
    first = tensors.get("features.0.weight")
    return "vgg16" if first is not None and first.shape[-1] == VGG16[0].kernel else "alexnet"


def _tensors(option: str, path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise MissingError(f"{option}: expected a file of weights, found none at {path}")
    return read_tensors(path) if looks_like_safetensors(path) else read_torch_file(path)[0]


def _tensor(path: Path, tensors: Mapping[str, Tensor], key: str, shape: tuple[int, ...], source: str) -> Tensor:
    found = tensors.get(key)
    if found is None or found.shape != shape or not found.is_floating_point():
        came = "none" if found is None else f"{found.dtype} of shape {list(found.shape)}".removeprefix("torch.")
        raise FormatError(
            f"{path}: expected the tensor {key} of shape {list(shape)}, got {came}; this file must be {source}"
        )
    return found.float()
