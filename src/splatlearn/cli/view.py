"""`splatlearn view`: a page of what a model paints of images, or of the scene in a splat file."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path

from splatlearn.cli.choices import MAX_SIZE, Images, Read, Reading, Run
from splatlearn.cli.notes import changed, note, note_unused
from splatlearn.cli.scene_input import is_reconstruction, is_splat_file
from splatlearn.cli.view_scene import view_reconstruction, view_splats
from splatlearn.core.disk.outputs import output_file
from splatlearn.core.errors import InputError

READING = Reading()
GROUPS = 8


def view_command(
    run: Run = None,
    images: Images = (),
    *,
    out: str = "view.html",
    max_size: int = MAX_SIZE,
    groups: int = GROUPS,
    overwrite: bool = False,
    reading: Read = READING,
) -> int:
    """Write an HTML page of Gaussians: of images, to tilt, peel off and compare; of a scene, to walk around in.

    Args:
        run: A scene: a splat file or a run of reconstruct. Or the model of the images: a run folder, checkpoint folder,
            model folder or Hub id of a GMAE. Default: the package's gmae-tiny.
        images: Image files or folders of images; several images become a gallery.
        out: HTML page to write. It needs no network and no other files.
        max_size: Longer side, in pixels, to which larger images are shrunk. 0 keeps the original size.
        groups: Number of clusters by which the Gaussians are coloured, 2 to 10.
        overwrite: Replace the file if it exists.
    """
    from splatlearn.cli.pictures import Pictures
    from splatlearn.cli.progress import progress_bar
    from splatlearn.cli.reading_out import part_of, read_options
    from splatlearn.cli.which_model import described, load_gmae, model_and_images
    from splatlearn.core.device import choose_device
    from splatlearn.report.hardly_trained import hardly_trained
    from splatlearn.viewer import viewed_images, write_view
    from splatlearn.viewer.contents import FEWEST_GROUPS, MOST_GROUPS
    from splatlearn.zero_shot import gaussians_of
    from splatlearn.zero_shot.reading import check_options

    if run is not None and (is_splat_file(run) or is_reconstruction(run)):
        what = "the splat file" if is_splat_file(run) else "the reconstruction"
        if images:
            raise InputError(f"images: expected none beside {what} {run}, got {images[0]}")
        chosen = {"max_size": max_size != MAX_SIZE, "groups": groups != GROUPS}
        note_unused({**chosen, **changed(reading, *(field.name for field in fields(reading)))}, f"with {what}")
        path = output_file(out, overwrite, inputs=[Path(run)], example="view.html")
        print(view_splats(run, path) if is_splat_file(run) else view_reconstruction(run, path, overwrite))
        return 0
    if not FEWEST_GROUPS <= groups <= MOST_GROUPS:
        raise InputError(f"groups: expected {FEWEST_GROUPS} to {MOST_GROUPS} clusters, got {groups}")
    options = read_options(reading)
    run, images = model_and_images(run, images)
    pictures = Pictures(images, reading.batch_size, max_size=max_size)
    path = output_file(out, overwrite, inputs=pictures.files, example="view.html")
    on = choose_device(reading.device)
    model = load_gmae(run, on)
    pictures.at_least(model.patch_size)
    check_options(model, options)
    found = []
    hardly = None
    with progress_bar() as told:
        for batch in pictures:
            before = len(found) + pictures.failed
            at_hand = partial(part_of, told, "view", before, len(batch.names), len(pictures.files))
            hardly = hardly if found else hardly_trained(run, model, batch.images)
            read = gaussians_of(model, batch.images.to(on), options, at_hand)
            found += viewed_images(read, batch.images, batch.names, groups)
            told("view", len(found) + pictures.failed, len(pictures.files))
    if found:
        lead = "What the model paints of whole images, nothing hidden. Drag the picture to tilt it."
        if hardly:
            lead = f"The model is {hardly}. {lead}"
            note(f"{run} is {hardly}")
        write_view(path, f"Gaussians of {_title(run)}", lead, found)
        images_read = f"{len(found)} image{'s' if len(found) > 1 else ''}"
        print(f"{path}: {images_read}, {path.stat().st_size / 1e6:.1f} MB; model: {described(run)}")
    pictures.finish()
    return 0


def _title(run: str) -> str:
    return Path(run).resolve().name if Path(run).exists() else run
