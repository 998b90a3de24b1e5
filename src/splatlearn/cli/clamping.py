"""What commands say about colours that files and viewers do not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from splatlearn.files.formats import SHOWN_COLORS, SplatFormat
from splatlearn.fitting import PictureError, clamping_error, picture_error, refit_colors
from splatlearn.rendering.compositing import background_colors
from splatlearn.zero_shot import ImageGaussians
from splatlearn.zero_shot.layer_reading import are_clamped, layers_error

IN_BYTES = (0.0, 1.0)
"""The colours that viewers with a byte for each channel show."""


def refitted(read: ImageGaussians) -> ImageGaussians:
    """The Gaussians with colours in [0, 1] that come closest to its own picture as screens show it."""
    picture = read.rendering.color.clamp(*IN_BYTES)
    return replace(read, gaussians=refit_colors(read.gaussians, picture, read.camera, read.background))


def to_write(read: ImageGaussians, to: SplatFormat, refit: bool) -> tuple[ImageGaussians, str]:
    """Gaussians for a splat file, and sentences on what its colours lose there; empty where nothing of it is seen.

    With `refit`, colours that viewers would clamp are fitted anew.
    """
    note = clamping_note(read, to)
    if not (note and refit):
        return read, note
    shown = refitted(read)
    error = picture_error(shown.rendering.color, read.rendering.color)
    clamped = clamping_error(read.gaussians, read.camera, read.background, IN_BYTES)
    return shown, (
        f"Colours were fitted anew within [0, 1]: pixels differ from the picture by {error}; with clamped colours they "
        f"would by {clamped}."
    )


def clamping_note(read: ImageGaussians, to: SplatFormat) -> str:
    """Sentences on what viewers of a splat file change in a picture; empty where nothing of it is seen."""
    smallest, largest = (float(value) for value in read.gaussians.fixed_colors().aminmax())
    if IN_BYTES[0] <= smallest and largest <= IN_BYTES[1]:
        return ""
    low, high = SHOWN_COLORS[to]
    here = clamping_error(read.gaussians, read.camera, read.background, (low, high))
    in_bytes = clamping_error(read.gaussians, read.camera, read.background, IN_BYTES)
    text = ""
    if here.is_visible:
        held = f", and {to} holds none above {high:.2f}" if largest > high else ""
        text += f"Viewers show no colour below 0{held}: pixels differ from the picture by {here}. "
    if largest > IN_BYTES[1] and in_bytes.is_visible:
        text += f"In viewers with a byte for each channel, which show none above 1, they differ by {in_bytes}. "
    return f"{text}--refit-colors lowers this." if text else ""


class LayerLoss:
    """What layers lose as PNG files: the largest error, over all images, of putting them back over one another."""

    def __init__(self) -> None:
        self.worst: tuple[PictureError, str, str] | None = None
        self.is_clamped = False
        self.images = 0

    def measure(self, names: Sequence[str], layers: Float[Tensor, "B L 4 H W"], read: ImageGaussians) -> None:
        """Take in the layers of images with names."""
        behind = background_colors(read.background, read.gaussians.fixed_colors()).tolist()
        self.is_clamped |= are_clamped(layers)
        self.images += len(names)
        for name, error, color in zip(names, layers_error(read, layers), behind, strict=True):
            if self.worst is None or error.largest > self.worst[0].largest:
                self.worst = error, name, ", ".join(f"{value:.3g}" for value in color)

    def said(self) -> str:
        """A sentence on the image that loses most; empty without an image."""
        if self.worst is None:
            return ""
        error, name, behind = self.worst
        of = f", the worst of {self.images} images," if self.images > 1 else ""
        why = ", because PNG files hold no colour outside of [0, 1]; --refit-colors lowers this"
        return (
            f"Put over one another and over the background ({behind}), the layers of {name}{of} differ from its "
            f"rendering by {error}{why if self.is_clamped else ''}."
        )
