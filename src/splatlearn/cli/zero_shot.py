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
    """Cut images into layers by depth: NAME-layer-01.png, the nearest, and so on, transparent, and NAME-rendering.png.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        count: Number of layers.
        rule: count: as many Gaussians in each; visible: as much of the picture; clusters: k-means of depths.
        refit_colors: Fit the Gaussians' colours anew within [0, 1], which PNG files hold, so that the layers put over
            one another stay close to the rendering. Without it, colours are clamped.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        overwrite: Replace files that an earlier call wrote into the folder.
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
    """Tell figure from ground: NAME-soft.png, NAME-mask.png (black and white) and NAME-figure.png (transparent ground).

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        method: mixtures: the Gaussians' colours inside a margin against those around; groups: clusters of Gaussians
            that do not touch the border; order: one cut of the depth order; depth: a cut of composited depth.
        side: Which side of a cut in depth is figure: the near one, or the one that holds less of the border.
        center: Weigh by how near the image's middle a pixel is.
        groups: Number of clusters.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        overwrite: Replace files that an earlier call wrote into the folder.
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
    """Find edges: NAME-edges.png, white on black, as strong as they are bright.

    Args:
        run: A run folder, checkpoint folder, model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files, or folders of them.
        out: Folder for the PNG files.
        method: soft: gradients of composited channels; index: the paper's jumps of the layer index.
        cues: Channels of soft: layers, depth, color, tokens. Default: the first three; after a fit color.
        sigma: Smoothing before the gradient, pixels.
        max_size: Pixels of the longer side that larger images are shrunk to, as are outputs; 0 for their own size.
        overwrite: Replace files that an earlier call wrote into the folder.
    """
    from splatlearn.cli.reading_out import Destination, EdgeOptions, edges_made, read_out

    made = edges_made(EdgeOptions(method, cues=cues, sigma=sigma))
    if method == "index":
        note_unused({"cues": cues is not None, "sigma": sigma != SIGMA}, "with --method index")
    return read_out(run, images, Destination(out, overwrite), max_size, reading, made)
