"""Checks of tensor arguments whose messages name the argument, what was expected and what came.

Types, shapes and devices are always compared. Values are looked at where that costs little, see `sees_values`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import Parameter

from splatlearn.core.errors import FormatError, InputError
from splatlearn.core.operation import has_transforms, is_recorded

IMAGE_LIMITS = (-1.0, 2.0)
"""Values beyond these are no colours in [0, 1] that resizing or augmentation overshot."""

_state = {"values": True}


@contextlib.contextmanager
def unchecked_values() -> Iterator[None]:
    """Inside, no check looks at values."""
    before, _state["values"] = _state["values"], False
    try:
        yield
    finally:
        _state["values"] = before


def sees_values(*tensors: Tensor) -> bool:
    """Whether the values of tensors may be looked at: on a CPU, outside of tracing, transforms and `unchecked_values`.

    A look at a GPU's values would wait for the GPU.
    """
    return (
        _state["values"]
        and not is_recorded()
        and not has_transforms()
        and all(type(each) in (Tensor, Parameter) and each.device.type == "cpu" for each in tensors)
    )


def check_shape(name: str, value: Tensor, expected: tuple[int | str, ...], leading: tuple[int, ...] = ()) -> None:
    """Raise InputError unless `value` has the leading shape followed by `expected` (a letter fits any size)."""
    shape = tuple(value.shape)
    wanted = (*leading, *expected)
    fits = len(shape) == len(wanted) and all(
        isinstance(want, str) or size == want for size, want in zip(shape, wanted, strict=True)
    )
    if not fits:
        text = ", ".join(str(size) for size in wanted)
        raise InputError(f"{name}: expected shape [{text}], got {list(shape)}")


def check_floating(name: str, value: Tensor) -> None:
    """Raise TypeError unless `value` is a floating-point tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a floating-point tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {value.dtype}; convert it with .float()")


def check_images(images: Tensor, channels: int, raw: bool = False) -> None:
    """Check images [B, channels, H, W] in [0, 1]: the one place for all functions that take images.

    `raw`: numbers that were normalised already, which may be anything finite. Raises TypeError unless they are
    floating-point, and InputError for another shape, NaN or infinity, and values far outside of [0, 1].
    """
    if isinstance(images, Tensor) and not images.is_floating_point():
        to_floats = ".float() / 255" if images.dtype == torch.uint8 else ".float()"
        raise TypeError(
            f"images: expected a floating-point tensor in [0, 1], got {images.dtype}; convert it with {to_floats}"
        )
    check_floating("images", images)
    if images.ndim != 4 or images.shape[1] != channels:
        raise InputError(f"images: expected shape [B, {channels}, H, W], got {list(images.shape)}")
    if not images.numel() or not sees_values(images):
        return
    low, high = (float(value) for value in images.detach().aminmax())
    if not -float("inf") < low <= high < float("inf"):
        check_finite("look at how the images were made", images=images.detach())
    if not raw and not IMAGE_LIMITS[0] <= low <= high <= IMAGE_LIMITS[1]:
        raise InputError(
            f"images: expected values in [0, 1], got {low:.4g} to {high:.4g}; divide 0…255 by 255, and leave the mean "
            "and standard deviation of a data set to the model"
        )


def check_gaussians(means: Tensor, scales: Tensor, quaternions: Tensor, opacities: Tensor, **seen: Tensor) -> None:
    """Raise InputError for values that no Gaussian has, naming the tensor: NaN, infinity, negative scales, opacities
    outside of [0, 1], and quaternions of zeros.

    - `seen`: `colors` or `sh`, and `shapes` if there are some.
    """
    check_finite(means=means, scales=scales, quaternions=quaternions, opacities=opacities, **seen)
    if not means.numel():
        return
    if (smallest := float(scales.min())) < 0.0:
        raise InputError(
            f"scales: expected standard deviations of at least 0, got {smallest:.4g}; log-scales need .exp()"
        )
    low, high = (float(value) for value in opacities.aminmax())
    if low < 0.0 or high > 1.0:
        raise InputError(f"opacities: expected [0, 1], got {low:.4g} to {high:.4g}; logits need .sigmoid()")
    if zeros := int((quaternions == 0).all(dim=-1).sum()):
        raise InputError(
            f"quaternions: expected rotations, got {zeros} of {opacities.numel()} that are zero; "
            "the identity rotation is (1, 0, 0, 0)"
        )


def check_same_device(reference_name: str, reference: Tensor, **others: Tensor) -> None:
    """Raise InputError unless all tensors lie on the device of the reference."""
    for name, value in others.items():
        if value.device != reference.device:
            raise InputError(
                f"{name}: expected a tensor on {reference.device} like {reference_name}, got one on {value.device}; "
                f"move it with .to({str(reference.device)!r})"
            )


def check_finite(
    advice: str = "a learning rate that is too high is the usual cause in training", /, **values: Tensor
) -> None:
    """Raise InputError when a tensor holds NaN or infinity, naming the tensor and how many entries are bad."""
    for name, value in values.items():
        finite = torch.isfinite(value)
        if not bool(finite.all()):
            bad = int((~finite).sum())
            raise InputError(
                f"{name}: expected finite values, got {bad} of {value.numel()} that are NaN or infinite; {advice}"
            )


def check_stored(name: str, value: Tensor) -> None:
    """Raise FormatError naming a stored tensor of floating-point numbers that are not all finite in float32."""
    # Eight-bit numbers have no isfinite; float64 may hold more than float32 does.
    exact = value if value.dtype in (torch.float32, torch.float16, torch.bfloat16) else value.float()
    wrong = int(exact.numel() - torch.isfinite(exact).sum())
    if wrong:
        raise FormatError(
            f"{name}: expected finite float32 numbers, got {wrong:,} of {exact.numel():,} that are NaN or infinite; "
            "the file is damaged or its training diverged: fetch it again, or take an earlier checkpoint"
        )
