"""Folders of splat files, in class folders and splits as folders of images are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from splatlearn.core.errors import SplatlearnError
from splatlearn.core.kinds import check_path
from splatlearn.core.numbers import evenly_spaced
from splatlearn.data.image_sets.folder import Listing, splits_of
from splatlearn.data.labelled import VAL_SPLITS, Labelled, labelled_parts
from splatlearn.data.splat_sets.samples import SplatSample, UnreadableSplats
from splatlearn.files import read_splats
from splatlearn.images.errors import DataError, UnknownSplitError
from splatlearn.images.listing import files_below

ENDINGS = (".ply", ".spz", ".sog", ".sl3", ".glb", ".gltf", ".ksplat", ".rad", ".splat")
"""Endings of splat files, in lower case."""
OF_FOLDERS = ("meta.json", "splats.json")
"""Files that make a folder one of SOG or of tensors."""
COMPARED, HEAD = 32, 2**20
"""Number of files of which content tells folders apart, and its bytes."""


class SplatFolder:
    """The splat files of one split of a folder, read when they are asked for; a SplatSource.

    - `left_out`: what else lies in the folder.

    Gaussians come in the library's frame. Those with numbers that are not finite, or without a rotation, are left out.
    Raises UnreadableSplats on reading a broken or empty file.
    """

    def __init__(self, listing: Listing, split: str) -> None:
        files = listing.splits[split]
        self.root = listing.root
        self.file_names = files
        self.class_names = listing.classes()
        numbers = {name: number for number, name in enumerate(self.class_names or ())}
        self.labels = [numbers.get(listing.class_of(file)) if numbers else None for file in files]
        self.left_out = (listing.left_out,) if listing.left_out else ()
        self.description = f"{len(files)} splat files in {listing.root}" + (f", split {split}" if listing.named else "")

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int, /) -> SplatSample:
        name = self.file_names[index]
        try:
            gaussians = read_splats(self.root / name, drop_invalid=True)
        except (SplatlearnError, OSError) as error:
            raise UnreadableSplats(name, str(error)) from error
        if not gaussians.count:
            raise UnreadableSplats(name, "it holds no Gaussians")
        return SplatSample(gaussians, name, self.labels[index])

    def outline(self) -> Iterator[bytes]:
        """What tells this folder from others: names and sizes of all files, and the content of some."""
        read = set(evenly_spaced(len(self), COMPARED))
        for index, name in enumerate(self.file_names):
            path = self.root / name
            yield name.encode(errors="surrogateescape")
            try:
                yield str(path.stat().st_size).encode()
                if index in read:
                    with path.open("rb") as file:
                        yield file.read(HEAD)
            except OSError:
                yield b""


def open_splats(data: str | Path, split: str = "train") -> SplatFolder:
    """Open a folder of splat files for reading in a fixed order.

    - `data`: a folder. Its sub-folders train, val and test are splits, and the folders below them classes.
    - `split`: as for `open_source`.

    Any format that `read_splats` reads counts: PLY, compressed PLY, SPZ, SOG, .sl3, glTF, .ksplat, .rad, .splat. Raises
    DataError for what is no folder, for one without splat files, and for a split that it does not have.
    """
    check_path("data", data)
    root = Path(data).expanduser()
    if not root.is_dir():
        kind = "a file" if root.exists() else "not there"
        raise DataError(f"data: expected a folder of splat files, got {root}, which is {kind}")
    listing = list_splats(root.resolve())
    return SplatFolder(listing, listing.split(split))


def open_labelled_splats(data: str | Path) -> Labelled:
    """Open labelled splat sets: a folder class/*.ply, with or without train and val or test above.

    Without a split val (or test) a fifth of each class is held out, the same at every call. Raises DataError as
    `open_splats` and `labelled_parts` do.
    """
    train = open_splats(data)
    for split in VAL_SPLITS:
        try:
            return labelled_parts(train, open_splats(data, split), f"split {split}")
        except UnknownSplitError:
            continue
    return labelled_parts(train)


def list_splats(root: Path) -> Listing:
    """List the splat files of a folder, in an order that is the same on every machine. Raises DataError for none."""
    names, left_out = files_below(root, (*ENDINGS, ".json"))
    files: list[str] = []
    for name in names:
        if not name.lower().endswith(".json") or PurePosixPath(name).name in OF_FOLDERS:
            files.append(name)
        else:
            left_out.add_file(name)
    if not files:
        found = f"found only {left_out}" if left_out else "it is empty"
        raise DataError(
            f"data: expected splat files in {root}, {found}; files are read that end in {' '.join(ENDINGS)}, and "
            f"folders with a {' or '.join(OF_FOLDERS)}"
        )
    splits, named = splits_of(files, left_out)
    return Listing(root, splits, named, "splats", left_out)
