"""Pictures of what a model sees and paints.

Figures are made through `matplotlib.figure.Figure`, so that no global plotting state is touched. Images are arrays or
tensors [..., 3, H, W] in [0, 1]; values beyond are clipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.figure
import numpy as np
import torch
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from splatlearn.core.errors import InputError
from splatlearn.evaluation.masked.reconstruction import hidden_psnr
from splatlearn.report.parts.ellipses import add_ellipses
from splatlearn.report.parts.style import TEXT, THEME, WIDTH, check_size, to_array

ENLARGE_TO = 256
"""Smaller images are enlarged to at least this many pixels before the browser sizes them."""
HIDDEN_ALPHA = 0.15
"""How grey a hidden patch is: enough to be told from a dark or a light photo."""


def reconstruction_grid(
    originals: ArrayLike, hidden: ArrayLike, reconstructions: ArrayLike, names: Sequence[str]
) -> matplotlib.figure.Figure:
    """A row for each photo: what the model sees, what it paints, and the photo.

    - `originals`, `reconstructions`: [B, 3, H, W] in [0, 1].
    - `hidden`: bool [B, H, W], true where the model saw nothing; a faint veil in the first column.
    - `names`: B names, set beside the PSNR on hidden pixels (dB) of the reconstruction.

    Raises InputError when the shapes differ.
    """
    photos, painted = _images("originals", originals), _images("reconstructions", reconstructions)
    unseen = np.asarray(to_array(hidden), dtype=bool)
    check_size("reconstructions", painted.shape, photos.shape)
    check_size("hidden", unseen.shape, (photos.shape[0], *photos.shape[2:]))
    check_size("names", (len(names),), (photos.shape[0],))
    scores = hidden_psnr(torch.from_numpy(painted), torch.from_numpy(photos), torch.from_numpy(unseen))
    veiled = np.where(unseen[:, None], 0.5, photos)
    seen = np.concatenate([veiled, np.where(unseen, HIDDEN_ALPHA, 1.0)[:, None]], axis=1).astype(np.float32)
    columns = {"seen by the model": seen, "reconstruction": painted, "original": photos}
    notes = [
        (_shortened(name, WIDTH / 3), f"{score:.1f} dB", "") for name, score in zip(names, scores.tolist(), strict=True)
    ]
    return _image_table(list(columns.values()), list(columns), notes)


def depth_prefix_strip(
    images: Sequence[ArrayLike], counts: Sequence[int | str], names: Sequence[str]
) -> matplotlib.figure.Figure:
    """A row for each photo: what its nearest Gaussians alone paint, more of them from column to column.

    - `images`: for each entry of `counts`, images [B, 3, H, W] painted with that many of the nearest Gaussians.
    - `counts`: numbers, or a word such as "all".
    - `names`: B names.

    Raises InputError when the lengths or shapes differ or there is nothing to draw.
    """
    check_size("counts", (len(counts),), (len(images),))
    if not len(images):
        raise InputError("images: expected at least one column, got none")
    columns = [_images("images", each) for each in images]
    for column in columns:
        check_size("images", column.shape, columns[0].shape)
    check_size("names", (len(names),), (columns[0].shape[0],))
    titles = [f"nearest {count}" if isinstance(count, int) else count for count in counts]
    blanks = ("",) * (len(counts) - 1)
    return _image_table(columns, titles, [(_shortened(name, WIDTH), *blanks) for name in names])


def zero_shot_strip(
    images: ArrayLike,
    figure: ArrayLike,
    edges: ArrayLike,
    layers: Sequence[ArrayLike],
    names: Sequence[str],
) -> matplotlib.figure.Figure:
    """A row for each photo: the photo, what stands out from its ground, its edges, and its layers from near to far.

    - `images`: [B, 3, H, W] in [0, 1]; `figure`: [B, H, W] in [0, 1], figure = 1; `edges`: [B, H, W] in [0, 1].
    - `layers`: for each slab, images [B, 4, H, W] with transparency; `names`: B names.

    Raises InputError when the shapes differ.
    """
    photos = _images("images", images)
    count, _, height, width = photos.shape
    soft, lines = to_array(figure), to_array(edges)
    check_size("figure", soft.shape, (count, height, width))
    check_size("edges", lines.shape, (count, height, width))
    check_size("names", (len(names),), (count,))
    slabs = [np.clip(to_array(layer), 0.0, 1.0).astype(np.float32) for layer in layers]
    for slab in slabs:
        check_size("layers", slab.shape, (count, 4, height, width))
    cut = np.concatenate([photos, np.clip(soft, 0.0, 1.0)[:, None]], axis=1).astype(np.float32)
    drawn = np.repeat(1.0 - np.clip(lines, 0.0, 1.0)[:, None], 3, axis=1).astype(np.float32)
    titles = ["photo", "figure", "edges", *(f"layer {number}" for number in range(1, len(slabs) + 1))]
    blanks = ("",) * (len(titles) - 1)
    return _image_table([photos, cut, drawn, *slabs], titles, [(_shortened(name, WIDTH), *blanks) for name in names])


def gaussian_map(
    image: ArrayLike, means2d: ArrayLike, conics: ArrayLike, colors: ArrayLike, opacities: ArrayLike
) -> matplotlib.figure.Figure:
    """Where the Gaussians of one image sit: their centres on the photo in grey, and their outlines at one sigma.

    - `image`: [3, H, W] in [0, 1].
    - `means2d`: [K, 2], pixels, x then y; `conics`: [K, 3], (a, b, c) of the inverse covariance, px⁻².
    - `colors`: [K, 3] in [0, 1]; `opacities`: [K], drawn as such in the outlines.

    Order is near to far; near ones are drawn above far ones. Raises InputError when the shapes differ.
    """
    photo = _images("image", np.asarray(to_array(image))[None])[0]
    points, inverse = to_array(means2d)[::-1], to_array(conics)[::-1]
    count = len(points)
    check_size("means2d", points.shape, (count, 2))
    check_size("conics", inverse.shape, (count, 3))
    paint, alpha = np.clip(to_array(colors)[::-1], 0.0, 1.0), np.clip(to_array(opacities)[::-1], 0.0, 1.0)
    check_size("colors", paint.shape, (count, 3))
    check_size("opacities", alpha.shape, (count,))

    height, width = photo.shape[1:]
    figure = matplotlib.figure.Figure(figsize=(WIDTH, WIDTH / 2 * height / width + 0.35))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.0, right=1.0, bottom=0.0, top=1.0 - 0.3 / figure.get_figheight(), wspace=0.04)
    grey = np.broadcast_to(0.35 + 0.5 * photo.mean(axis=0), photo.shape)
    left.imshow(_enlarged(grey), extent=(0, width, height, 0), interpolation="none")
    left.scatter(points[:, 0], points[:, 1], s=13, c=paint, edgecolors="white", linewidths=0.5)
    # On white whatever the page's colour: dark Gaussians would vanish on a dark page.
    right.add_patch(Rectangle((0, 0), width, height, facecolor="white"))
    outlines = add_ellipses(
        right, points, inverse,
        facecolors=np.column_stack([paint, 0.5 * alpha]), edgecolors=np.column_stack([paint, alpha]), linewidths=0.8,
    )  # fmt: skip
    # Thousands of outlines make a heavier page as shapes than as a picture.
    outlines.set_rasterized(count > 1500)
    for axes, title in ((left, "centres"), (right, "outlines at 1 σ")):
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_color(THEME["line"])
        axes.set_title(title, loc="left", fontsize=TEXT, color=THEME["muted"])
    return figure


def _image_table(
    columns: Sequence[NDArray[np.float32]], titles: Sequence[str], notes: Sequence[Sequence[str]]
) -> matplotlib.figure.Figure:
    """Columns of images [B, 3 or 4, H, W] under titles, with a note below each image."""
    count, _, height, width = columns[0].shape
    side = WIDTH / len(columns)
    row = side * height / width + 0.3
    figure = matplotlib.figure.Figure(figsize=(WIDTH, row * count + 0.25))
    for index in range(count):
        for place, column in enumerate(columns):
            top = 1.0 - (0.25 + row * index) / figure.get_figheight()
            share = (row - 0.3) / figure.get_figheight()
            axes = figure.add_axes((place / len(columns), top - share, 0.97 / len(columns), share))
            axes.imshow(_enlarged(column[index]), interpolation="none")
            axes.set(xticks=[], yticks=[], anchor="NW")
            axes.spines[:].set_color(THEME["line"])
            axes.spines[:].set_linewidth(0.6)
            axes.set_xlabel(notes[index][place], loc="left", fontsize=TEXT, color=THEME["muted"], parse_math=False)
            if index == 0:
                axes.set_title(titles[place], loc="left", fontsize=TEXT, color=THEME["ink"])
    return figure


def _shortened(name: str, inches: float) -> str:
    """A name with its middle left out where it would run into its neighbour, also in the larger text of a phone."""
    most = int(inches * 72 / (0.8 * TEXT))
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def _images(name: str, values: ArrayLike) -> NDArray[np.float32]:
    images = to_array(values)
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"{name}: expected shape [B, 3, H, W], got {list(images.shape)}")
    return np.clip(np.nan_to_num(images), 0.0, 1.0).astype(np.float32)


def _enlarged(image: NDArray[np.float32]) -> NDArray[np.float32]:
    factor = -(-ENLARGE_TO // max(image.shape[1:]))
    return image.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
