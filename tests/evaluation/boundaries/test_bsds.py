"""The boundary benchmark against brute force, scipy's assignment, and its own published results."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import skimage.morphology
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from splatlearn.evaluation.boundaries.data import open_bsds, read_boundaries, score_edges
from splatlearn.evaluation.boundaries.matching import match_boundaries
from splatlearn.evaluation.boundaries.scores import (
    BoundaryCounts,
    boundary_counts,
    boundary_scores,
    map_counts,
    thresholds,
)
from splatlearn.evaluation.boundaries.thinning import thin
from splatlearn.images import DataError

DATA = Path(__file__).parents[4] / "shared" / "data" / "bsds500"
REFERENCE = DATA / "reference_eval" / "five_images"
FIVE = (2018, 3063, 5096, 6046, 8068)
has_data = pytest.mark.skipif(not REFERENCE.is_dir(), reason="BSDS500 is not here")


@given(seed=st.integers(0, 10_000), density=st.floats(0.02, 0.5), tolerance=st.floats(0.0, 0.15))
def test_as_many_pixels_are_matched_as_an_assignment_can(seed, density, tolerance):
    rng = np.random.default_rng(seed)
    predicted, annotated = rng.random((2, 12, 9)) < density
    first, second = np.argwhere(predicted), np.argwhere(annotated)
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    allowed = distance <= tolerance * np.hypot(12, 9)
    rows, columns = linear_sum_assignment(~allowed)
    matched = match_boundaries(predicted, annotated, tolerance)
    assert matched.sum() == allowed[rows, columns].sum()
    assert not (matched & ~predicted).any()
    assert matched[tuple(first[~allowed.any(axis=1)].T)].sum() == 0


@given(seed=st.integers(0, 10_000), density=st.floats(0.0, 1.0), smooth=st.floats(0.0, 3.0))
def test_lines_are_thinned_as_scikit_image_does(seed, density, smooth):
    noise = gaussian_filter(np.random.default_rng(seed).random((23, 31)), smooth)
    mask = noise <= np.quantile(noise, density)
    np.testing.assert_array_equal(thin(mask), skimage.morphology.thin(mask))


def test_a_shifted_line_is_found_within_the_tolerance_only():
    line, shifted = np.zeros((2, 60, 80), dtype=bool)
    line[:, 40], shifted[:, 43] = True, True
    assert match_boundaries(line, shifted, 0.03).sum() == 60
    assert match_boundaries(line, shifted, 0.0299).sum() == 0


def test_two_predicted_lines_do_not_share_an_annotated_one():
    truth = np.zeros((40, 40), dtype=bool)
    truth[:, 20] = True
    double = np.zeros((40, 40), dtype=bool)
    double[:, [19, 21]] = True
    counts = map_counts([double], [truth], tolerance=0.05)
    assert counts.recall[0] == 1.0
    assert counts.precision[0] == 0.5


def test_perfect_edges_score_one_and_none_score_zero():
    truth = np.zeros((30, 40), dtype=bool)
    truth[10, 3:30] = True
    perfect = boundary_scores([boundary_counts(truth.astype(float), [truth, truth])])
    assert (perfect.ods.f, perfect.ois.f, perfect.ods.recall) == (1.0, 1.0, 1.0)
    empty = boundary_scores([boundary_counts(np.zeros((30, 40)), [truth])])
    assert (empty.ods.f, empty.ois.f, empty.ap) == (0.0, 0.0, 0.0)


def test_each_threshold_counts_what_it_keeps():
    truth = np.zeros((30, 40), dtype=bool)
    truth[10], truth[20] = True, True
    edges = np.where(truth, 0.9, 0.0)
    edges[20] = 0.45
    edges[25] = 0.2
    counts = boundary_counts(edges, [truth], thresholds(9))
    np.testing.assert_allclose(counts.recall, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(counts.precision, [2 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1])


def reference_maps(number: int, test: int) -> list[np.ndarray]:
    if test == 1:
        strengths = scipy.io.loadmat(REFERENCE / "ucm2" / f"{number}.mat")["ucm2"][2::2, 2::2]
    elif test == 2:
        strengths = np.asarray(Image.open(REFERENCE / "png" / f"{number}.png")) / 255.0
    else:
        cells = scipy.io.loadmat(REFERENCE / "segs" / f"{number}.mat")["segs"]
        return [segment_borders(cells[0, index].astype(int)) for index in range(5)]
    return [strengths >= level for level in thresholds(5)]


def segment_borders(labels: np.ndarray) -> np.ndarray:
    """Pixels at whose lower right corner labels differ."""
    grown = np.pad(labels, ((0, 1), (0, 1)), mode="edge")
    corners = [grown[y : y + labels.shape[0], x : x + labels.shape[1]] for y in (0, 1) for x in (0, 1)]
    return np.max(corners, axis=0) != np.min(corners, axis=0)


@has_data
@pytest.mark.parametrize("test", [1, 2, 3, 4])
def test_the_published_results_are_reproduced(test):
    images = {image.name: image for image in open_bsds(DATA)}
    counts = [map_counts(reference_maps(each, test), read_boundaries(images[str(each)].annotations)) for each in FIVE]
    scores = boundary_scores(counts, thresholds(5))
    folder = REFERENCE / f"test_{test}"
    overall = np.loadtxt(folder / "eval_bdry.txt")
    ods, ois = scores.ods, scores.ois
    mine = [ods.recall, ods.precision, ods.f, ois.recall, ois.precision, ois.f, scores.ap]
    np.testing.assert_allclose(mine, overall[1:], atol=0.003)
    each = [(image.recall, image.precision, image.f) for image in scores.images]
    np.testing.assert_allclose(each, np.loadtxt(folder / "eval_bdry_img.txt")[:, 2:], atol=0.003)
    curve = [(point.recall, point.precision, point.f) for point in scores.curve]
    np.testing.assert_allclose(curve, np.loadtxt(folder / "eval_bdry_thr.txt")[:, 1:], atol=0.003)


@has_data
def test_published_curves_give_the_published_ods_and_area():
    folder = DATA / "reference_eval" / "gpb_ucm_test200"
    level, recall, precision, _ = np.loadtxt(folder / "eval_bdry_thr.txt").T
    pixels = np.full(len(level), 1e6)
    scores = boundary_scores([BoundaryCounts(recall * 1e6, pixels, precision * 1e6, pixels)], level)
    published = np.loadtxt(folder / "eval_bdry.txt")
    np.testing.assert_allclose([scores.ods.threshold, scores.ods.f, scores.ap], published[[0, 3, 7]], atol=5e-4)


@pytest.fixture
def bsds(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in (12, 7):
        for folder in ("images", "groundTruth"):
            (tmp_path / folder / "test").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "test" / f"{number}.png")
        truth = np.zeros((24, 32), dtype=np.uint8)
        truth[number] = 1
        annotations = np.empty((1, 2), dtype=object)
        for index in range(2):
            annotations[0, index] = {"Boundaries": truth, "Segmentation": truth.astype(np.uint16)}
        scipy.io.savemat(tmp_path / "groundTruth" / "test" / f"{number}.mat", {"groundTruth": annotations})
    return tmp_path


def panels_of_bsds() -> list[dict[str, np.ndarray]]:
    """Edges for both images: noise with their one line, and none."""
    edges = np.random.default_rng(1).random((2, 24, 32))
    edges[0, 12], edges[1, 7] = 0.97, 0.8
    return [{"noisy": each, "empty": 0 * each} for each in edges]


def test_images_are_scored_in_their_order(bsds: Path):
    images = open_bsds(bsds)
    assert [image.name for image in images] == ["12", "7"]
    scores = score_edges(panels_of_bsds(), images, 9)
    assert scores["noisy"].ods.f > 0.3 and scores["empty"].ods.f == 0


# Each process imports the library anew.
@pytest.mark.large
def test_processes_change_nothing(bsds: Path):
    images, panels = open_bsds(bsds), panels_of_bsds()
    alone = score_edges(panels, images, 9)
    together = score_edges(panels, images, 9, processes=2)
    assert {name: each.summary() for name, each in alone.items()} == {
        name: each.summary() for name, each in together.items()
    }


def test_wrong_data_is_named(bsds: Path):
    images = open_bsds(bsds, limit=1)
    with pytest.raises(ValueError, match=r"edges: expected 24×32 pixels for 12, got \[32, 24\]"):
        score_edges([{"edges": np.zeros((32, 24))}], images)
    with pytest.raises(DataError, match="expected BSDS500 with images/val and groundTruth/val"):
        open_bsds(bsds, "val")
    (bsds / "groundTruth" / "test" / "7.mat").write_bytes(b"not a file of MATLAB")
    with pytest.raises(DataError, match=r"7\.mat: expected annotations of BSDS500"):
        read_boundaries(bsds / "groundTruth" / "test" / "7.mat")
    (bsds / "groundTruth" / "test" / "7.mat").unlink()
    with pytest.raises(DataError, match="got none for 7"):
        open_bsds(bsds)


def test_wrong_arrays_are_named(no_shape_checks):
    truth = np.zeros((4, 5), dtype=bool)
    with pytest.raises(ValueError, match="annotations: expected at least one"):
        boundary_counts(np.zeros((4, 5)), [])
    with pytest.raises(ValueError, match="edges: expected finite strengths"):
        boundary_counts(np.full((4, 5), np.nan), [truth])
    with pytest.raises(ValueError, match="predicted: expected shape"):
        match_boundaries(truth, truth[:3])
    with pytest.raises(ValueError, match="thresholds: expected at least 1, got 0"):
        thresholds(0)
