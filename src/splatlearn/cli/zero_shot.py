"""`splatlearn layers|segment|edges RUN IMAGE... --out DIR`."""

from __future__ import annotations

from splatlearn.cli.choices import MAX_SIZE, Images, Read, Reading, Run
from splatlearn.cli.notes import note_unused
from splatlearn.zero_shot.choices import SIGMA, Cue, EdgeMethod, FigureMethod, Rule, Side

READING = Reading()


def layers_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    count: int = 8,
    rule: Rule = "count",
    refit_colors: bool = False,
    max_size: int = MAX_SIZE,
    overwrite: bool = False,
    reading: Read = READING,
) -> int:
    """Split images into transparent layers by depth: NAME-layer-01.png (the nearest) and so on, and NAME-rendering.png.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files or folders of images.
        out: Folder for the PNG files.
        count: Number of layers.
        rule: count: the same number of Gaussians in each layer; visible: the same share of the picture in each layer;
            clusters: k-means of depths.
        refit_colors: Refit the Gaussians' colours within [0, 1], the range of PNG files, so that the composited layers
            stay close to the rendering. Without this option, colours are clamped.
        max_size: Longer side, in pixels, to which larger images are shrunk; outputs have the same size. 0 keeps the
            original size.
        overwrite: Replace files that an earlier call wrote to the folder.
    """
    from splatlearn.cli.reading_out import Destination, layers_made, read_out

    made = layers_made(count, rule, refit_colors, reading.sizing)
    return read_out(run, images, Destination(out, overwrite), max_size, reading, made)


def segment_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    method: FigureMethod = "mixtures",
    side: Side = "near",
    center: bool = False,
    groups: int = 8,
    max_size: int = MAX_SIZE,
    overwrite: bool = False,
    reading: Read = READING,
) -> int:
    """Separate figure from ground: NAME-soft.png, NAME-mask.png (binary) and NAME-figure.png (transparent ground).

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files or folders of images.
        out: Folder for the PNG files.
        method: mixtures: colour mixtures of the Gaussians inside a margin and of those outside; groups: clusters of
            Gaussians that do not touch the border; order: one cut in the depth order; depth: one threshold on
            composited depth.
        side: Which side of a cut in depth is the figure: the nearer one (near), or the one with less of the image's
            border (border).
        center: Give pixels near the centre of the image more weight.
        groups: Number of clusters.
        max_size: Longer side, in pixels, to which larger images are shrunk; outputs have the same size. 0 keeps the
            original size.
        overwrite: Replace files that an earlier call wrote to the folder.
    """
    from splatlearn.cli.reading_out import Destination, FigureOptions, figures_made, read_out

    made = figures_made(FigureOptions(method, side, center, groups=groups))
    note_unused({"side": side != "near" and method not in ("order", "depth")}, f"with --method {method}")
    note_unused({"groups": groups != 8 and method != "groups"}, "without --method groups")
    return read_out(run, images, Destination(out, overwrite), max_size, reading, made)


def edges_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str,
    method: EdgeMethod = "soft",
    cues: tuple[Cue, ...] | None = None,
    sigma: float = SIGMA,
    max_size: int = MAX_SIZE,
    overwrite: bool = False,
    reading: Read = READING,
) -> int:
    """Detect edges: NAME-edges.png, white on black; the brightness is the strength of the edge.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files or folders of images.
        out: Folder for the PNG files.
        method: soft: gradients of composited channels; index: jumps of the layer index, as in the paper.
        cues: Channels of the method soft: layers, depth, color, tokens. Default: layers, depth and color; color alone
            after --fit-steps.
        sigma: Standard deviation of the smoothing before the gradient, in pixels.
        max_size: Longer side, in pixels, to which larger images are shrunk; outputs have the same size. 0 keeps the
            original size.
        overwrite: Replace files that an earlier call wrote to the folder.
    """
    from splatlearn.cli.reading_out import Destination, EdgeOptions, edges_made, read_out

    made = edges_made(EdgeOptions(method, cues=cues, sigma=sigma))
    if method == "index":
        note_unused({"cues": cues is not None, "sigma": sigma != SIGMA}, "with --method index")
    return read_out(run, images, Destination(out, overwrite), max_size, reading, made)
