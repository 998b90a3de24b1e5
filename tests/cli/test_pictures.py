from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatlearn.cli.pictures import Pictures
from splatlearn.data import sample_photos
from splatlearn.images import decode, reduced


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_large_photographs_look_as_if_decoded_whole(
    tmp_path: Path, orientation: int, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"large.{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(sample_photos()[0].array).resize((800, 600))
    photo.save(file, exif=exif)
    whole = decode(file, "whole")
    size = (205, 154) if orientation == 1 else (154, 205)
    expected = np.asarray(whole.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0), dtype=float)

    # Pillow decodes large JPEG files at half their size, unless simplejpeg is there and the file is upright.
    monkeypatch.setattr(reduced, "simplejpeg", None)
    decoded: list[tuple[int, int]] = []
    convert = reduced.to_rgb
    monkeypatch.setattr(reduced, "to_rgb", lambda image: decoded.append(image.size) or convert(image))
    (batch,) = Pictures([str(file)], max_size=205)
    found = batch.images[0].permute(1, 2, 0).numpy() * 255
    assert decoded == [(400, 300) if ending == "jpg" else (800, 600)]
    assert found.shape == expected.shape and np.abs(found - expected).mean() < 0.9
    # Where nothing is shrunk every pixel is the file's.
    (batch,) = Pictures([str(file)], max_size=800)
    np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy() * 255, np.asarray(whole))


def test_files_that_are_too_small_or_broken_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (40, 3)).save(tmp_path / "flat.png")
    Image.fromarray(sample_photos()[0].array).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:5000])
    found = Pictures([str(tmp_path)], smallest=8, max_size=20)
    assert list(found) == []
    with pytest.raises(ValueError, match="2 of 2 could not be used"):
        found.finish()
    told = capsys.readouterr().err
    assert "flat.png: unreadable image: expected at least 8×8 pixels, one patch of the model, got 3×40" in told
    assert "cut.jpg: unreadable image" in told
