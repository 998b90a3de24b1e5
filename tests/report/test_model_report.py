"""Model reports: real models, whose numbers are checked against those computed directly."""

import matplotlib.figure
import numpy as np
import pytest
import torch

from splatlearn.evaluation import masked_psnr
from splatlearn.models import create_model, random_mask
from splatlearn.report import Figure, KeyValues, model_sections, write_page


@pytest.fixture
def images(generator):
    return torch.rand(2, 3, 16, 32, generator=generator)


@pytest.fixture
def mask(generator):
    return random_mask(2, (2, 4), 0.75, generator)


def tiny(kind):
    return create_model(f"{kind}_vit_tiny_patch8_32", seed=0, gaussians=16 if kind == "gmae" else None)


def picture(block):
    assert isinstance(block, Figure)
    return block


def scores(section):
    return next(block.values for block in section.blocks if isinstance(block, KeyValues))


@pytest.mark.parametrize(("kind", "titles"), [("gmae", ["Reconstruction", "Gaussians"]), ("mae", ["Reconstruction"])])
def test_sections_show_what_the_model_makes(kind, titles, images, mask, tmp_path):
    model = tiny(kind).train()
    sections = model_sections(model, images, mask, ["one & <two>", "$2"])
    assert [section.title for section in sections] == titles
    assert "sees 25%" in sections[0].intro
    expected = masked_psnr(model, images, mask)
    assert list(scores(sections[0]).values()) == [f"{value:.2f} dB" for value in expected.values()]
    assert model.training
    page = write_page(tmp_path / "page.html", "Model", "", sections).read_text(encoding="utf-8")
    assert "one &amp; &lt;two&gt;" in page
    assert "<two>" not in page


def test_gaussians_are_told_by_their_number_and_depth(images, mask):
    section = model_sections(tiny("gmae"), images, mask, ["a", "b"])[1]
    assert section.intro.startswith("Each photo as 16 Gaussians")
    assert len(section.blocks) == 3
    assert "nearest 2, 4, 8, 16 Gaussians" in picture(section.blocks[-1]).alt


def test_visible_patches_of_mae_are_those_of_the_photo(images, mask):
    section = model_sections(tiny("mae"), images, mask, ["a", "b"])[0]
    drawn = picture(section.blocks[1]).image
    assert isinstance(drawn, matplotlib.figure.Figure)
    seen, painted, original = drawn.axes[:3]
    visible = np.asarray(seen.images[0].get_array())[..., 3] == 1
    pasted, photo = (np.asarray(axes.images[0].get_array())[visible] for axes in (painted, original))
    np.testing.assert_array_equal(pasted, photo)
    assert visible.mean() == 0.25


def test_normalised_targets_are_mentioned(images, mask):
    section = model_sections(tiny("mae"), images, mask, ["a", "b"], normalized=True)[0]
    assert "taken from the photo" in picture(section.blocks[1]).caption
    expected = masked_psnr(tiny("mae"), images, mask, normalized=True)["masked_psnr_model"]
    assert scores(section)["PSNR on hidden pixels"] == f"{expected:.2f} dB"


def test_missing_names_are_named(images, mask):
    with pytest.raises(ValueError, match="names: expected 2, one for each image, got 1"):
        model_sections(tiny("mae"), images, mask, ["a"])
